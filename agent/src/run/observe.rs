//! What the outside sees of the agent: metrics, and whether it is healthy.
//!
//! Healthy means that everything that the configuration asks for is captured and becomes durable at the collector, and
//! nothing less: an agent that runs and ships nothing is not.

use std::sync::Arc;

use afferent_protocol::ids::Stream;
use tokio::sync::watch;

use crate::http::{Health, HealthProbe};
use crate::identity::KEY_FILE;
use crate::limits::STALLED_MS_MAX;
use crate::mailbox::LinkState;
use crate::metrics::Registry;
use crate::trouble::Troubles;
use crate::writer::Status;

/// Whether events are becoming durable at the collector, or why not and what to do.
pub fn health(status: &Status, link: &LinkState) -> Health {
    if let Some(trouble) = &status.trouble {
        return Health::Unhealthy(format!("the ring log cannot be written, and the agent accepts nothing: {trouble}"));
    }
    let unacked: u64 = Stream::ALL.into_iter().map(|stream| status.unacked(stream)).sum();
    let kept = format!("{unacked} events wait in the ring log");
    match link {
        LinkState::Starting => Health::Unhealthy(format!("not connected yet; {kept}")),
        LinkState::Down(reason) => Health::Unhealthy(format!("not connected: {reason}; {kept}")),
        LinkState::Untrusted(reason) => {
            Health::Unhealthy(format!("connected, but nothing is shipped: {reason}; {kept}"))
        }
        LinkState::Refused => Health::Unhealthy(format!(
            "connected, but the other side accepts nothing under this agent's name: the collector knows a different \
             key for it, or the broker's access rules a different login. Give this agent a unique name, or restore the \
             key of its name as {KEY_FILE} in its data directory; {kept}"
        )),
        LinkState::Up if !status.streaming => Health::Unhealthy(format!(
            "connected, but no collector has answered; is it running behind the broker? {kept}"
        )),
        LinkState::Up if status.stalled_ms > STALLED_MS_MAX => Health::Unhealthy(format!(
            "connected, but the collector has acknowledged nothing for {} s; {kept}; check the collector's log",
            status.stalled_ms / 1000
        )),
        LinkState::Up if status.held_events() > 0 && status.stalled_former_ms > STALLED_MS_MAX => {
            Health::Unhealthy(format!(
                "{} events that were accepted under a former name are held ({}): allow this agent to write and read \
                 that name's topics at the broker until they have arrived",
                status.held_events(),
                status.held_former.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ")
            ))
        }
        LinkState::Up => Health::Healthy,
    }
}

/// [`health`] as the HTTP server asks for it, and everything else that goes wrong.
pub fn probe(status: watch::Receiver<Status>, link: watch::Receiver<LinkState>, troubles: Troubles) -> HealthProbe {
    Arc::new(move || {
        let mut reasons = troubles.texts();
        if let Health::Unhealthy(reason) = health(&status.borrow(), &link.borrow()) {
            reasons.insert(0, reason);
        }
        if reasons.is_empty() { Health::Healthy } else { Health::Unhealthy(reasons.join("\n")) }
    })
}

/// Registers the agent's own numbers; they are read when somebody asks.
pub fn metrics(registry: &Registry, status: watch::Receiver<Status>, link: watch::Receiver<LinkState>) {
    let per_stream = |name, help| Stream::ALL.map(|stream| registry.gauge(name, help, &[("stream", stream.name())]));
    let unacked = per_stream("afferent_agent_unacked_events", "Events on this disk and not yet on the collector's");
    let held = registry.gauge("afferent_agent_held_events", "Events held under names that the agent had before", &[]);
    let commits = Stream::ALL.map(|stream| {
        let help = "Group commits since the start";
        registry.counter("afferent_agent_commits_total", help, &[("stream", stream.name())])
    });
    let segments = per_stream("afferent_ring_segments", "Segments of the ring log in use");
    let gauge = |name, help| registry.gauge(name, help, &[]);
    let counter = |name, help| registry.counter(name, help, &[]);
    let connected = gauge("afferent_agent_link_up", "1 while the connection is up");
    let streaming = gauge("afferent_agent_streaming", "1 while a collector answers and batches flow");
    let stalled = gauge("afferent_agent_stalled_seconds", "How long events have waited without any getting through");
    let writable = gauge("afferent_ring_writable", "1 while the disk takes what is written");
    let pool = gauge("afferent_ring_pool_bytes", "Size of the ring log");
    let files = gauge(
        "afferent_ring_file_bytes",
        "Size of the ring log's files: less than the pool until that was needed, or while the disk has no room",
    );
    let used = gauge("afferent_ring_used_bytes", "Bytes of the ring log in use");
    let written = counter("afferent_ring_written_bytes_total", "Bytes written to the ring log");
    let evicted = counter("afferent_ring_evicted_events_total", "Events given up because the ring was full");
    let corrupt = counter("afferent_ring_corrupt_events_total", "Events declared lost because the disk damaged them");
    let refused = counter("afferent_ring_refused_writes_total", "Writes that the disk refused");
    let trusted = gauge("afferent_agent_collector_trusted", "0 while a collector answers whose key is not trusted");
    let resealed =
        counter("afferent_agent_resealed_total", "Lanes sealed again because the collector had something else");
    let rewound = counter("afferent_agent_rewound_total", "Lanes sent again because the collector's log was put back");
    let ignored = ["undecodable", "untrusted", "stale"].map(|cause| {
        let help = "Messages on this agent's topic that did not count";
        registry.counter("afferent_agent_ignored_total", help, &[("cause", cause)])
    });
    registry.before_text(move || {
        let status = status.borrow().clone();
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            unacked[at].set(status.unacked(stream) as f64);
            commits[at].set(status.commits[at]);
            segments[at].set(status.ring.segments[at] as f64);
        }
        held.set(status.held_events() as f64);
        connected.set(f64::from(*link.borrow() == LinkState::Up));
        streaming.set(f64::from(status.streaming));
        stalled.set(status.stalled_ms as f64 / 1000.0);
        writable.set(f64::from(status.trouble.is_none()));
        pool.set(status.ring.pool_bytes as f64);
        files.set(status.ring.file_bytes as f64);
        used.set(status.ring.used_bytes as f64);
        written.set(status.ring.counters.written_bytes);
        evicted.set(status.ring.counters.evicted_events);
        corrupt.set(status.ring.counters.corrupt_events);
        refused.set(status.ring.counters.refused_writes);
        trusted.set(f64::from(status.stranger.is_none()));
        resealed.set(status.resealed);
        rewound.set(status.rewound);
        ignored[0].set(status.ignored.undecodable);
        ignored[1].set(status.ignored.untrusted);
        ignored[2].set(status.ignored.stale);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_healthy(status: &Status, link: &LinkState) -> bool {
        health(status, link) == Health::Healthy
    }

    #[test]
    fn an_agent_that_runs_and_ships_nothing_is_not_healthy() {
        let flowing = Status { streaming: true, ..Status::default() };
        assert!(is_healthy(&flowing, &LinkState::Up));
        assert!(!is_healthy(&flowing, &LinkState::Starting));
        assert!(!is_healthy(&flowing, &LinkState::Down("refused".into())));
        assert!(!is_healthy(&flowing, &LinkState::Refused));
        assert!(!is_healthy(&flowing, &LinkState::Untrusted("add a line".into())));
        assert!(!is_healthy(&Status { streaming: false, ..flowing.clone() }, &LinkState::Up));
        assert!(!is_healthy(&Status { stalled_ms: STALLED_MS_MAX + 1, ..flowing.clone() }, &LinkState::Up));
        assert!(!is_healthy(&Status { trouble: Some("no space".into()), ..flowing }, &LinkState::Up));
    }
}
