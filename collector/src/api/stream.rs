//! `GET /v1/stream`: the log as server-sent events, history first and then what comes.
//!
//! There is no seam between the two: both are read from the log at the reader's own place. A reader that is slower than
//! the plant reads from disk what was appended meanwhile; nothing is queued for it and nothing dropped. At the end, all
//! share what is rendered ([`super::tail`]).

use std::sync::Arc;
use std::time::Duration;

use afferent_host::clock;
use afferent_host::stop::Stop;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::blocking::blocking;
use super::budget::{Client, Share};
use super::pages::Pages;
use super::problem::Problem;
use super::query::filter::{FilterTexts, types_schema};
use super::query::values::{WholeNumber, optional};
use super::query::{Parameters, Query, refused};
use super::state::Api;
use crate::limits::{CLOCK_LOOK_TIME, KEEP_ALIVE_TIME};
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::subscribe::{Filter, Format, Page, Reading, Start};

/// What a browser sends when it comes back: the `id` of the last event that it has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The first bytes: the stream is open. They end no block, which some readers take for an event.
const OPENING: &[u8] = b": afferent\n";
/// Before the first event, in its block: come back after a second when the stream breaks.
const RETRY: &[u8] = b"retry: 1000\n";

/// Which events to follow.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// Start: an offset (not checked), a place (`OFFSET@TERM.LOG`; the `id` of an event is its place), a time (RFC
    /// 3339), `first` or `end`; the end by default. The stream waits for a time in the future.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    from: Option<Start>,
    /// The partition of the log; by default that of the place in `from`, or the first one.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
    /// Only these subjects: `*` matches one level, `**` any number.
    subject: Option<String>,
    /// Only these types, separated by commas; `breakdown` means `afferent.breakdown.v1`.
    #[param(schema_with = types_schema)]
    r#type: Option<String>,
    /// Only these sources, separated by commas.
    source: Option<String>,
    /// Only these severities, as `error` or `warning..`.
    severity: Option<String>,
    /// Seconds of silence (1 to 15) after which an event named `heartbeat` is sent, with the collector's time in its
    /// data. Without it a comment is sent every 15 s, which browsers do not pass on to scripts.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 15)]
    heartbeat: Option<WholeNumber<1, { KEEP_ALIVE_TIME.as_secs() }>>,
}

impl Parameters for StreamQuery {
    const EXAMPLE: &'static str =
        "/v1/stream?from=end&subject=88-C/**&type=breakdown,alarm&severity=warning..&heartbeat=15";
}

impl StreamQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        let (subject, types) = (self.subject.as_deref(), self.r#type.as_deref());
        let (sources, severity) = (self.source.as_deref(), self.severity.as_deref());
        FilterTexts { subject, types, sources, severity }.filter().map_err(|error| refused::<Self>(&error))
    }
}

/// Streams every event from `from` (default: the end) on, without end. `Last-Event-ID` overrides `from`.
#[utoipa::path(get, path = "/v1/stream", tag = "events",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header,
        description = "The `id` of the last event that the reader has, which is refused if the log was restored to an \
                       earlier state since; or an offset, which is not checked. Overrides `from`")),
    responses(
        (status = 200, description = "Server-sent events, without end", content_type = "text/event-stream",
            body = String), Problem))]
pub(super) async fn stream(
    State(api): State<Api>,
    client: Client,
    Query { asked, .. }: Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = asked.filter()?;
    let share = api.budgets.stream(&client)?;
    let start = last_event(&headers)?.or(asked.from).unwrap_or(Start::End);
    let begins = start.to_come(now());
    let held = api.held_by(asked.partition, Some(start))?.clone();
    let place = Beginning { start, filter, log: held.reader.clone_reader(), api: api.clone(), client };
    let follower = StreamFollower {
        pages: place.pages().await?,
        begins: begins.map(|begins| (begins, place)),
        durable: held.durable,
        stopping: api.stopping,
        opened: false,
        has_begun: false,
        heartbeat: asked.heartbeat.map(|WholeNumber(seconds)| Duration::from_secs(seconds)),
        spoken: Instant::now(),
        _share: share,
    };
    let body = futures_util::stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some(follower))),
            Err(problem) => Some((Err(problem), None)),
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Where a reader that comes back goes on.
fn last_event(headers: &HeaderMap) -> Result<Option<Start>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let last: Option<Start> = value.to_str().ok().and_then(|text| text.parse().ok());
    let behind = |offset: Offset| offset.get().checked_add(1).map(Offset::new);
    let next = match last {
        Some(Start::Offset(last)) => behind(last).map(Start::Offset),
        Some(Start::Place(last)) => behind(last.offset).map(|offset| Start::Place(Place { offset, ..last })),
        _ => None,
    };
    let next = next.ok_or_else(|| {
        let detail = format!("`Last-Event-ID`: {value:?} is neither an `id` of this stream nor an offset");
        Problem::new(StatusCode::BAD_REQUEST, detail, "send the `id` of the last event, or leave the header out")
    })?;
    Ok(Some(next))
}

/// Where a stream begins.
struct Beginning {
    start: Start,
    filter: Filter,
    log: Arc<dyn ReadLog>,
    api: Api,
    client: Client,
}

impl Beginning {
    async fn pages(&self) -> Result<Pages, Problem> {
        let (start, log) = (self.start, Arc::clone(&self.log));
        let from = blocking(move || start.resolve(&*log)).await??;
        let reading = Reading::follow(from, self.filter.clone(), Format::ServerSent);
        Ok(Pages::following(Arc::clone(&self.log), reading, &self.api, &self.client))
    }
}

/// The collector's clock, by which events are ingested.
pub(super) fn now() -> Timestamp {
    clock::wall()
}

struct StreamFollower {
    /// The time to come at which it begins, and then looks up where.
    begins: Option<(Timestamp, Beginning)>,
    pages: Pages,
    durable: watch::Receiver<Offset>,
    stopping: Stop,
    opened: bool,
    /// An event was sent.
    has_begun: bool,
    /// The longest silence before a heartbeat; without it a comment keeps the connection open.
    heartbeat: Option<Duration>,
    /// When something was sent last.
    spoken: Instant,
    /// One of so many streams.
    _share: Share,
}

/// What ended a wait.
enum Woken {
    Grown,
    Quiet,
    Stopped,
}

impl StreamFollower {
    /// The next bytes, as soon as there are any; `None` when the collector stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let bytes = self.next_bytes().await;
        self.spoken = Instant::now();
        bytes
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Problem> {
        let quiet = self.spoken + self.heartbeat.unwrap_or(KEEP_ALIVE_TIME);
        if !self.opened {
            self.opened = true;
            return Ok(Some(Bytes::from_static(OPENING)));
        }
        loop {
            if self.stopping.is_requested() {
                return Ok(None);
            }
            if let Some((begins, place)) = &self.begins {
                let left = Duration::from_micros(u64::try_from(begins.micros() - now().micros()).unwrap_or(0));
                if left.is_zero() {
                    self.pages = place.pages().await?;
                    self.begins = None;
                    continue;
                }
                // The clock may be set meanwhile: what it says is looked at again.
                tokio::select! {
                    () = self.stopping.requested() => return Ok(None),
                    () = tokio::time::sleep(left.min(CLOCK_LOOK_TIME)) => continue,
                    () = tokio::time::sleep_until(quiet) => return Ok(Some(self.keep_alive())),
                }
            }
            // Before the page is read, so that what is appended after it wakes the wait below.
            self.durable.borrow_and_update();
            let (bytes, page) = self.pages.next().await?;
            if !bytes.is_empty() {
                let is_first = !std::mem::replace(&mut self.has_begun, true);
                return Ok(Some(if is_first { [RETRY, &bytes].concat().into() } else { bytes }));
            }
            // A log may grow all the time by what this stream leaves out.
            if Instant::now() >= quiet {
                return Ok(Some(self.keep_alive()));
            }
            if page == Page::More {
                continue;
            }
            let woken = tokio::select! {
                () = self.stopping.requested() => Woken::Stopped,
                grown = self.durable.changed() => grown.map_or(Woken::Stopped, |()| Woken::Grown),
                () = tokio::time::sleep_until(quiet) => Woken::Quiet,
            };
            match woken {
                Woken::Grown | Woken::Quiet => {}
                Woken::Stopped => return Ok(None),
            }
        }
    }

    /// A comment, or an event. Behind a filter also how far the log was looked through: a return does not do it again.
    fn keep_alive(&self) -> Bytes {
        let alive = match self.heartbeat {
            None => ": alive\n".to_owned(),
            Some(_) => {
                format!("event: heartbeat\ndata: {}\n", serde_json::json!({ "time": crate::models::time(now()) }))
            }
        };
        // One that has not begun has no place: a return is to wait for its time as well.
        let place = self.pages.filtered_place().filter(|_| self.begins.is_none());
        match place.and_then(|next| next.checked_sub(1)) {
            Some(last) => format!("{alive}id: {last}{}\n\n", self.pages.term_of(last)).into(),
            None => format!("{alive}\n").into(),
        }
    }
}
