//! `GET /metrics`: figures in Prometheus' text format, version 0.0.4.

use afferent_host::clock;
use afferent_host::metrics::{CONTENT_TYPE, Text};
use afferent_protocol::ids::Timestamp;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::agents::AgentReport;
use super::state::Api;
use crate::forward::status::{ForwardView, Phase};
use crate::intake::Counters;
use crate::models::{ModelId, Shortage};
use crate::sources::LinkState;
use crate::supervise::PartReport;

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "about",
    responses((status = 200, description = "Figures", content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut text = Text::new();
    log(&mut text, &api);
    counters(&mut text, &api.state.health.counters);
    text.head("afferent_refused_total", "counter", "Refused clients and messages, by kind.");
    for (kind, count) in api.state.health.refused.counts() {
        text.sample("afferent_refused_total", &[("kind", kind.name())], count);
    }
    text.head("afferent_http_held", "gauge", "What HTTP clients use of the limits that they share.");
    for (what, held) in api.budgets.held() {
        text.sample("afferent_http_held", &[("what", what)], held);
    }
    let now = clock::wall();
    models(&mut text, &api.state.models.shortages(), now);
    forwards(&mut text, &api.state.forwards.views());
    let sources = api.held().sources.all();
    let help = "Names that have delivered nothing; they have no series of their own.";
    text.single("afferent_names_new", "gauge", help, sources.iter().filter(|view| view.is_new).count());
    // Strangers make up as many names as they like: each would be a dozen series in who scrapes this.
    let known: Vec<_> = sources.iter().filter(|view| !view.is_new).collect();
    let reports: Vec<AgentReport> = known.iter().map(|view| AgentReport::of(view, now)).collect();
    let online: Vec<bool> = known.iter().map(|view| view.link == LinkState::Online).collect();
    agents(&mut text, &reports, &online);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.finish()).into_response()
}

const LAG_HELP: &str = "Age of the agent's newest message in the log: the age of its last batch on arrival, growing \
                        while the agent is not connected or silent. Absent until its clock is measured.";

fn log(text: &mut Text, api: &Api) {
    let kept = api.held().reader.kept();
    text.single("afferent_log_first_offset", "gauge", "Oldest kept offset.", kept.start);
    text.single("afferent_log_end_offset", "gauge", "Durable end of the log.", kept.end);
    let read = api.held().reader.bytes_read_by_all();
    text.single("afferent_log_read_bytes_total", "counter", "Bytes of the log read by readers.", read);
    let healthy = u8::from(api.state.health.verdict().is_ok());
    text.head("afferent_log_warning", "gauge", "1 while the log has a problem of this kind.");
    for kind in api.state.health.warnings().into_keys() {
        text.sample("afferent_log_warning", &[("kind", kind)], 1);
    }
    parts(text, &api.state.health.parts.reports());
    text.single("afferent_healthy", "gauge", "1 while events become durable and agents can connect.", healthy);
}

fn parts(text: &mut Text, reports: &[PartReport]) {
    text.head(
        "afferent_part_running",
        "gauge",
        "1 while this task or thread of the collector runs without a recent restart.",
    );
    for report in reports {
        text.sample("afferent_part_running", &[("part", report.part.name())], u8::from(report.is_well));
    }
    text.head("afferent_part_restarts_total", "counter", "Restarts of this task or thread after a failure.");
    for report in reports {
        text.sample("afferent_part_restarts_total", &[("part", report.part.name())], report.restarts);
    }
}

fn models(text: &mut Text, shortages: &[(ModelId, Shortage)], now: Timestamp) {
    /// A figure of a model.
    type Figure = fn(&Shortage, Timestamp) -> u64;
    let figures: [(&str, &str, &str, Figure); 3] = [
        (
            "afferent_model_not_shown",
            "gauge",
            "1 while the model has no room for all entries of this kind.",
            |shortage, now| u64::from(shortage.lasts(now)),
        ),
        (
            "afferent_model_not_shown_events_total",
            "counter",
            "Events for which the model had no room.",
            |shortage, _| shortage.events,
        ),
        ("afferent_model_gave_way_total", "counter", "Kept entries that were dropped to make room.", |shortage, _| {
            shortage.gave_way
        }),
    ];
    for (name, kind, help, figure) in figures {
        text.head(name, kind, help);
        for (model, shortage) in shortages {
            let labels = [("model", &*model.to_string()), ("what", shortage.what)];
            text.sample(name, &labels, figure(shortage, now));
        }
    }
}

fn forwards(text: &mut Text, views: &[ForwardView]) {
    /// A figure of a forward, if it is known.
    type Figure = fn(&ForwardView) -> Option<f64>;
    let figures: [(&str, &str, &str, Figure); 6] = [
        ("afferent_forward_running", "gauge", "1 while the forward delivers, or has delivered everything.", |view| {
            Some(f64::from(u8::from(view.phase == Phase::Running)))
        }),
        ("afferent_forward_lag_events", "gauge", "Offsets from the forward's place to the log's end.", |view| {
            Some(view.lag as f64)
        }),
        (
            "afferent_forward_lag_seconds",
            "gauge",
            "Seconds since the oldest undelivered event was appended; missing while unknown.",
            |view| view.lag_s,
        ),
        ("afferent_forward_delivered_total", "counter", "Delivered events.", |view| Some(view.delivered as f64)),
        ("afferent_forward_dead_letters_total", "counter", "Events that the destination refused for good.", |view| {
            Some(view.dead as f64)
        }),
        ("afferent_forward_failures_total", "counter", "Failed tries to deliver.", |view| Some(view.failures as f64)),
    ];
    for (name, kind, help, figure) in figures {
        text.head(name, kind, help);
        for view in views {
            if let Some(value) = figure(view) {
                text.sample(name, &[("forward", &view.name), ("sink", view.sink)], value);
            }
        }
    }
}

fn counters(text: &mut Text, counters: &Counters) {
    text.single("afferent_connections", "gauge", "Open MQTT connections.", counters.connections.get());
    for (name, help, counter) in [
        ("connections_taken", "Accepted MQTT connections.", &counters.connections_taken),
        ("connections_refused", "MQTT connections refused because of the limit.", &counters.connections_refused),
        ("handshakes_failed", "Handshakes that failed or took too long.", &counters.handshakes_failed),
        ("logins_refused", "Connections refused because of their identity.", &counters.logins_refused),
        ("taken_over", "Connections closed because another client used the same name.", &counters.taken_over),
        ("slow_readers", "Connections closed because the client did not read.", &counters.slow_readers),
        ("protocol_errors", "Connections closed because of a protocol error.", &counters.protocol_errors),
        ("publishes_refused", "Publishes refused because of their topic.", &counters.publishes_refused),
        ("subscriptions_refused", "Refused subscriptions.", &counters.subscriptions_refused),
        ("messages", "Messages handed to the writer.", &counters.messages),
        ("message_bytes", "Bytes of these.", &counters.message_bytes),
        ("events_posted", "Events posted over HTTP.", &counters.events_posted),
        ("requests_refused", "Refused HTTP requests.", &counters.requests_refused),
        ("messages_refused", "Messages that were refused in whole or in part.", &counters.messages_refused),
        ("commits", "Successful commits.", &counters.commits),
        ("commits_failed", "Failed commits.", &counters.commits_failed),
        ("answers_signed", "Signed answers to agents.", &counters.answers_signed),
        ("answers_dropped", "Answers that could not be sent.", &counters.answers_dropped),
        ("segments_trimmed", "Segments of the log removed by retention.", &counters.segments_trimmed),
        ("bytes_trimmed", "Bytes of these.", &counters.bytes_trimmed),
        ("samples_emptied", "Samples removed by retention from segments that are kept.", &counters.samples_emptied),
        ("broker_connections", "Connections to the external broker.", &counters.broker_connections),
    ] {
        text.single(&format!("afferent_{name}_total"), "counter", help, counter.get());
    }
}

fn agents(text: &mut Text, reports: &[AgentReport], online: &[bool]) {
    text.head("afferent_agent_online", "gauge", "1 while the agent is connected.");
    for (report, online) in reports.iter().zip(online) {
        text.sample("afferent_agent_online", &[("agent", &report.name)], u8::from(*online));
    }
    text.head("afferent_agent_lag_seconds", "gauge", LAG_HELP);
    for report in reports {
        if let Some(lag) = report.lag_s {
            text.sample("afferent_agent_lag_seconds", &[("agent", &report.name)], lag);
        }
    }
    /// A figure of an agent.
    type Figure = fn(&AgentReport) -> u64;
    let figures: [(&str, &str, &str, Figure); 5] = [
        ("afferent_agent_lost_events", "gauge", "Events that their source declared lost.", |report| report.lost_events),
        (
            "afferent_agent_missing_events",
            "gauge",
            "Missing events that their source has not declared lost.",
            |report| report.missing_events,
        ),
        ("afferent_agent_duplicate_batches_total", "counter", "Batches received more than once.", |report| {
            report.duplicate_batches
        }),
        ("afferent_agent_early_batches_total", "counter", "Batches received before their predecessor.", |report| {
            report.early_batches
        }),
        ("afferent_agent_refused_total", "counter", "Refused messages, by reason.", |report| report.refused),
    ];
    for (name, kind, help, figure) in figures {
        text.head(name, kind, help);
        for report in reports {
            text.sample(name, &[("agent", &report.name)], figure(report));
        }
    }
    text.head("afferent_agent_events_total", "counter", "Events in the log.");
    for report in reports {
        for stream in ["critical", "samples"] {
            let events: u64 = report.lanes.iter().filter(|lane| lane.stream == stream).map(|lane| lane.events).sum();
            text.sample("afferent_agent_events_total", &[("agent", &report.name), ("stream", stream)], events);
        }
    }
}
