//! `GET /v1/agents`: the state of every source; `POST /v1/agents/NAME/retire` and `…/key`: an operator's
//! decisions about one.
//!
//! The same shapes are read by the command line, so they are written and read here.

use afferent_host::clock;
use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::limits::TEXT_BYTES_MAX;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::budget::{Client, Sent};
use super::problem::Problem;
use super::query::{Nothing, Query};
use super::state::Api;
use crate::cloud_event::{names, put_rfc3339};
use crate::core::{NotOperated, Operation};
use crate::data_directory::parse_public_key;
use crate::intake::Intake;
use crate::limits::HTTP_DOCUMENT_BYTES_MAX;
use crate::refused;
use crate::sources::{LaneView, LinkState, SourceView};
use crate::whole;

/// The log, its warnings, all sources, and the refused clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentsReport {
    /// The range of the log's offsets.
    pub log: LogReport,
    /// Problems of the log, as sentences: it was restored to an earlier state, or is damaged.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// All sources by name, including the collector itself.
    pub agents: Vec<AgentReport>,
    /// Clients and messages refused since the collector started, newest first, including clients that never became a
    /// source.
    #[serde(default)]
    pub refused: Vec<RefusedReport>,
}

/// A client or a message that was refused, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedReport {
    /// `login`, `certificate`, `publish`, `other-key` and so on.
    pub kind: String,
    /// The client's name or claimed name, or its address.
    pub name: String,
    /// The user name of its last attempt.
    pub user: Option<String>,
    /// The topic of its last attempt.
    pub topic: Option<String>,
    /// The address of its last attempt.
    pub peer: Option<String>,
    /// The reason of the last refusal.
    pub why: String,
    /// What to do.
    pub remedy: String,
    /// Number of refusals.
    pub count: u64,
    /// Time of the first refusal, by the collector's clock (RFC 3339).
    pub first: String,
    /// Time of the last refusal.
    pub last: String,
}

impl RefusedReport {
    fn of(entry: refused::RefusalEntry) -> Self {
        Self {
            kind: entry.kind.name().to_owned(),
            remedy: entry.kind.remedy().to_owned(),
            name: entry.name,
            user: entry.user,
            topic: entry.topic,
            peer: entry.peer,
            why: entry.why,
            count: entry.count,
            first: text(entry.first),
            last: text(entry.last),
        }
    }
}

/// The log's bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogReport {
    /// The partition.
    #[serde(default)]
    pub partition: u32,
    /// The oldest kept offset, decimal.
    #[serde(serialize_with = "as_text", deserialize_with = "whole::deserialize")]
    #[schema(value_type = String)]
    pub first: u64,
    /// The offset after the last durable event, decimal.
    #[serde(serialize_with = "as_text", deserialize_with = "whole::deserialize")]
    #[schema(value_type = String)]
    pub end: u64,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentReport {
    /// Its name.
    pub name: String,
    /// `online`, `offline`, `unknown`, or `refused: other key`: a client that uses this name is refused, see
    /// `other_key`.
    pub state: String,
    /// Time since which it has this state, by the collector's clock.
    pub state_since: Option<String>,
    /// The source's public key, hexadecimal; the collector refuses any other.
    pub key: Option<String>,
    /// The key of the last refused client that used this name, until the source itself proves its key or an operator
    /// replaces the key.
    #[serde(default)]
    pub other_key: Option<String>,
    /// Time at which its last batch was appended, by the collector's clock.
    pub last_ingest: Option<String>,
    /// Age of the source's newest message in the log, in seconds, by the collector's clock: the age of its last batch
    /// on arrival, or, while the source is not connected or silent for longer than two heartbeats, the time since that
    /// batch was made. Independent of errors of the source's clock. `null` until the collector has measured that clock.
    pub lag_s: Option<f64>,
    /// Seconds to add to the source's clock to get the collector's time, as measured when its last batch arrived;
    /// `null` until the collector has measured it.
    #[serde(default)]
    pub clock_offset_s: Option<f64>,
    /// Events in the log.
    pub events: u64,
    /// Events that the source declared lost.
    pub lost_events: u64,
    /// Missing events that the source has not declared lost.
    pub missing_events: u64,
    /// Batches received more than once since the collector started.
    pub duplicate_batches: u64,
    /// Batches received before their predecessor since the collector started.
    pub early_batches: u64,
    /// Messages refused since the collector started.
    pub refused: u64,
    /// Refusals by reason.
    pub refused_by_reason: std::collections::BTreeMap<String, u64>,
    /// Whether the source has delivered nothing yet; such names are dropped when there are too many of them.
    #[serde(default)]
    pub new: bool,
    /// Its streams, one entry per epoch.
    pub lanes: Vec<LaneReport>,
}

/// One epoch of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneReport {
    /// `critical` or `samples`.
    pub stream: String,
    /// The epoch.
    pub epoch: String,
    /// The sequence after the last one in the log.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub end: u64,
    /// The sequence after the last durable one.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub durable_end: u64,
    /// Batches in the log.
    pub batches: u64,
    /// Events in the log.
    pub events: u64,
    /// Events that the source declared lost.
    pub lost_events: u64,
    /// Missing sequences that the source has not declared lost.
    pub gaps: Vec<RangeReport>,
    /// The newest declared losses.
    pub losses: Vec<LossReport>,
}

/// Sequences from `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RangeReport {
    /// The first sequence.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub first: u64,
    /// The sequence after the last one.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub end: u64,
}

/// A loss that the source declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LossReport {
    /// The first lost sequence.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub first: u64,
    /// The sequence after the last lost one.
    #[serde(with = "whole")]
    #[schema(schema_with = whole::schema)]
    pub end: u64,
    /// Why.
    pub reason: String,
    /// Time of the declaration, by the source's clock.
    pub declared: String,
}

/// Every source: state, lag, losses, gaps.
#[utoipa::path(get, path = "/v1/agents", tag = "sources",
    responses((status = 200, description = "All sources", body = AgentsReport), Problem))]
pub(super) async fn agents(State(api): State<Api>, client: Client, _: Query<Nothing>) -> Result<Response, Problem> {
    let sources = api.held().sources.all();
    let reader = &api.held().reader;
    let kept = reader.kept();
    let log = LogReport { partition: reader.partition().get(), first: kept.start.get(), end: kept.end.get() };
    let warnings = api.state.health.warnings().into_values().collect();
    let now = clock::wall();
    let refused = api.state.health.refused.entries().into_iter().map(RefusedReport::of).collect();
    let agents = sources.iter().map(|view| AgentReport::of(view, now)).collect();
    api.budgets.json(&client, &AgentsReport { log, warnings, agents, refused })
}

/// An operator's statement that a source sends no more events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retirement {
    /// The operator's name; the collector does not verify it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Another key for a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewKey {
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// The operator's name; the collector does not verify it.
    pub who: String,
    /// Why.
    #[serde(default)]
    pub why: String,
}

/// Retires a source: certificates name the operator, and no longer wait for its events. Answers once the event is on
/// disk.
#[utoipa::path(post, path = "/v1/agents/{name}/retire", tag = "sources", params(("name" = String, Path)),
    request_body = Retirement,
    responses((status = 204, description = "The event is on disk"), Problem))]
pub(super) async fn retire(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
    headers: HeaderMap,
    body: Sent,
) -> Result<StatusCode, Problem> {
    let Retirement { who, why } = read(&headers, body).await?;
    for (field, text) in [("who", &who), ("why", &why)] {
        check_text(field, text)?;
    }
    operate(&api, Operation::Retire { source: named(&name)?, who, why }).await
}

/// Replaces the key of a source: from now on the collector refuses what the old key signs; what it has signed before
/// stays valid. Answers once the event is on disk.
#[utoipa::path(post, path = "/v1/agents/{name}/key", tag = "sources", params(("name" = String, Path)),
    request_body = NewKey,
    responses((status = 204, description = "The event is on disk"), Problem))]
pub(super) async fn replace_key(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
    headers: HeaderMap,
    body: Sent,
) -> Result<StatusCode, Problem> {
    let NewKey { key, who, why } = read(&headers, body).await?;
    check_text("who", &who)?;
    check_text("why", &why)?;
    check_text("who and why", &format!("{who}\n{why}"))?;
    // The event has one text for both: the reason is its second line.
    let who = format!("{}\n{why}", who.replace('\n', " "));
    let key = parse_public_key(&key).map_err(|_| {
        let remedy = "give the key that the agent's refusal names, as 64 hexadecimal digits";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "`key` is not a public key", remedy)
    })?;
    operate(&api, Operation::ReplaceKey { source: named(&name)?, key, who }).await
}

/// A page of another site can make a browser post, but not as JSON.
async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Sent) -> Result<T, Problem> {
    let remedy = "send a JSON object as application/json";
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !given.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        let detail = "the content type is not application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, remedy));
    }
    let body = body.taken(HTTP_DOCUMENT_BYTES_MAX).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"), remedy))
}

fn check_text(field: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        let detail = format!("`{field}` is empty or longer than {TEXT_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail, "write one sentence"));
    }
    Ok(())
}

fn named(name: &str) -> Result<SourceId, Problem> {
    SourceId::new(name).map_err(|error| {
        let name: String = name.chars().take(64).collect();
        Problem::new(StatusCode::NOT_FOUND, format!("{name:?}: {error}"), "GET /v1/agents lists the sources")
    })
}

async fn operate(api: &Api, operation: Operation) -> Result<StatusCode, Problem> {
    let remedy = "check with GET /v1/agents later whether the change was made, and send it again if not";
    let operate = async move |intake: Intake| intake.operate(operation).await;
    super::written::written(api, operate, remedy).await?.map_err(|refusal| {
        let (status, remedy) = match refusal {
            NotOperated::Unknown(_) => (StatusCode::NOT_FOUND, "GET /v1/agents lists the sources"),
            NotOperated::NoKey => (StatusCode::UNPROCESSABLE_ENTITY, "give the agent's own public key"),
            NotOperated::Own(_) | NotOperated::SameKey(_) | NotOperated::Nowhere => {
                (StatusCode::CONFLICT, "nothing was changed")
            }
        };
        Problem::new(status, refusal.to_string(), remedy)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

impl AgentReport {
    /// The report of a source at this time of the collector's clock.
    pub fn of(view: &SourceView, now: Timestamp) -> Self {
        let lanes: Vec<LaneReport> = view.lanes.iter().map(LaneReport::of).collect();
        let missing = |lane: &LaneReport| lane.gaps.iter().map(|gap| gap.end.saturating_sub(gap.first)).sum::<u64>();
        Self {
            name: view.source.as_str().into(),
            state: state_name(view).into(),
            state_since: view.link_since.map(text),
            key: view.key.map(|key| key.to_string()),
            other_key: view.other_key.map(|key| key.to_string()),
            last_ingest: view.last_ingest.map(text),
            lag_s: view.lag_us(now).map(|micros| micros as f64 / 1e6),
            clock_offset_s: view.clock_offset_us.map(|micros| micros as f64 / 1e6),
            events: lanes.iter().map(|lane| lane.events).sum(),
            lost_events: lanes.iter().map(|lane| lane.lost_events).sum(),
            missing_events: lanes.iter().map(missing).sum(),
            duplicate_batches: view.duplicates,
            early_batches: view.early,
            refused: view.refused.iter().map(|(_, count)| count).sum(),
            refused_by_reason: view.refused.iter().map(|(reason, count)| ((*reason).into(), *count)).collect(),
            new: view.is_new,
            lanes,
        }
    }
}

impl LaneReport {
    fn of(view: &LaneView) -> Self {
        let gaps = view.gaps.iter().map(|gap| RangeReport { first: gap.first.get(), end: gap.end.get() });
        let losses = view.losses.iter().map(|loss| LossReport {
            first: loss.first.get(),
            end: loss.end.get(),
            reason: names::loss_reason(loss.reason).into(),
            declared: text(loss.declared),
        });
        Self {
            stream: view.stream.name().into(),
            epoch: view.epoch.to_string(),
            end: view.end.get(),
            durable_end: view.durable_end.get(),
            batches: view.batches,
            events: view.events,
            lost_events: view.lost_events,
            gaps: gaps.collect(),
            losses: losses.collect(),
        }
    }
}

/// The state of a source in a word or two. Whoever has proved the right key is online, whoever else comes in its name.
fn state_name(view: &SourceView) -> &'static str {
    match view.link {
        LinkState::Online => link_name(view.link),
        _ if view.other_key.is_some() => "refused: other key",
        link => link_name(link),
    }
}

/// `online`, `offline`, `unknown`.
pub(super) fn link_name(link: LinkState) -> &'static str {
    match link {
        LinkState::Unknown => "unknown",
        LinkState::Online => "online",
        LinkState::Offline => "offline",
    }
}

fn as_text<S: serde::Serializer>(offset: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(offset)
}

/// A time for readers.
pub(super) fn text(time: Timestamp) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}
