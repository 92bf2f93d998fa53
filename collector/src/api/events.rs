//! `GET /v1/events`: a part of the log, as NDJSON or as a batch of CloudEvents.

use std::sync::Arc;

use afferent_protocol::ids::{Offset, Timestamp};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::accept::{self, Offer};
use super::blocking::blocking;
use super::budget::{Client, PageBytes, Share};
use super::cursor::PageCursor;
use super::pages::Pages;
use super::problem::Problem;
use super::query::Query;
use super::query::part::{EventsQuery, EventsRequest};
use super::state::Api;
use crate::limits::{EVENTS_PAGED_BYTES_MAX, EVENTS_PAGED_MAX};
use crate::log::ReadLog;
use crate::subscribe::{Format, Page, Reading, Start, StartError};

/// The partition of all offsets.
pub const PARTITION: HeaderName = HeaderName::from_static("afferent-partition");
/// The oldest kept offset.
pub const FIRST_OFFSET: HeaderName = HeaderName::from_static("afferent-first-offset");
/// The durable end when the request arrived; the answer ends there at the latest.
pub const END_OFFSET: HeaderName = HeaderName::from_static("afferent-end-offset");
/// The first offset that was not searched; absent if it is unknown before the answer has been read to its end.
pub const NEXT_OFFSET: HeaderName = HeaderName::from_static("afferent-next-offset");
/// The value of `cursor` for the next page, with otherwise the same query; absent if the answer reaches `until` or is
/// not paged.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("afferent-next-cursor");
/// Bytes of the log read for this answer, including the search for its start and end; absent if it is not paged.
pub const BYTES_READ: HeaderName = HeaderName::from_static("afferent-bytes-read");

/// The media type of lines.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// The media type of a JSON array of CloudEvents.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// Returns the events from `from` (default: the first) up to `until` (default: the present durable end), at most
/// `limit` (default: 1000; `all` for no limit).
///
/// An answer of up to [`EVENTS_PAGED_MAX`] events is a page: it is rendered before it is sent, and its headers say
/// where the next page starts. It may have fewer events than `limit` if they are large. A longer answer is rendered as
/// the client reads it.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventsQuery), responses(
    (status = 200, description = "Events, one CloudEvent per line, or an array of CloudEvents", content(
        (String = "application/x-ndjson"), (Vec<Object> = "application/cloudevents-batch+json")),
        headers(("afferent-partition" = u32), ("afferent-first-offset" = String), ("afferent-end-offset" = String),
            ("afferent-next-offset" = String), ("afferent-next-cursor" = String), ("afferent-bytes-read" = String))),
    Problem
))]
pub(super) async fn events(
    State(api): State<Api>,
    client: Client,
    query: Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.part()?;
    let format = accept::choose(&headers, &FORMATS)?;
    let log = api.held_by(query.partition, query.start())?.reader.clone_reader();
    let part = blocking({
        let (log, query) = (Arc::clone(&log), query.clone());
        move || ScanRange::find(&*log, &query)
    })
    .await??;
    let mut headers = HeaderMap::new();
    let kind = if format == Format::Elements { BATCH } else { NDJSON };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(PARTITION, log.partition().get().into());
    headers.insert(FIRST_OFFSET, part.first.get().into());
    headers.insert(END_OFFSET, part.durable_end.get().into());
    let reading = Reading::part(part.from, part.end, query.limit, query.filter.clone(), format);
    let reading = match part.ingested {
        Some((from, until)) => reading.ingested(from, until),
        None => reading,
    };
    if query.limit <= EVENTS_PAGED_MAX {
        let pages = Pages::new(Arc::clone(&log), reading, &api, &client);
        return page(&log, pages, &api.budgets.room, &part, &query, headers).await;
    }
    let share = api.budgets.long_answer(&client)?;
    if !reading.is_filtered() {
        headers.insert(NEXT_OFFSET, part.from.get().saturating_add(query.limit).min(part.end.get()).into());
    }
    let pages = Pages::new(log, reading, &api, &client).reading_ahead();
    Ok((headers, long(pages, share, format)).into_response())
}

/// The offsets that a request scans.
struct ScanRange {
    from: Offset,
    end: Offset,
    first: Offset,
    durable_end: Offset,
    /// Ingest times to look for between the offsets.
    ingested: Option<(Timestamp, Timestamp)>,
    /// Events that are not written yet may belong to it.
    is_open: bool,
}

impl ScanRange {
    fn find(log: &dyn ReadLog, query: &EventsRequest) -> Result<Self, StartError> {
        let start = query.start().unwrap_or(Start::First);
        // A cursor that was given before the time came at which the part begins does not lead to what lies before it.
        let begins = match query.from {
            Some(Start::Time(time)) if query.cursor.is_some() => log.at_time(time).map_err(StartError::Log)?,
            _ => Offset::ZERO,
        };
        let from = start.resolve(log)?.max(begins);
        let kept = log.kept();
        let until = match query.until {
            // What is not written yet is left for the next request.
            Some(Start::Offset(until)) => Some(until),
            Some(Start::Time(until)) => Some(log.end_at_time(until).map_err(StartError::Log)?),
            Some(until) => Some(until.resolve(log)?),
            None => None,
        };
        let ingested = match (query.from, query.until) {
            (Some(Start::Time(from)), Some(Start::Time(until))) => Some((from, until)),
            (_, Some(Start::Time(until))) => Some((Timestamp::default(), until)),
            _ => None,
        };
        // What was appended since the start was looked up is left for the next request.
        let durable_end = kept.end.max(from);
        let end = until.unwrap_or(durable_end).min(durable_end).max(from);
        // An ingest time that has not come may be reached by later events.
        let is_open = until.is_none_or(|until| until >= durable_end);
        Ok(Self { from, end, first: kept.start, durable_end, ingested, is_open })
    }
}

/// Lines, unless an array is wanted more.
const FORMATS: [Offer<Format>; 2] = [
    Offer { media: NDJSON, alias: None, answer: Format::Lines },
    Offer { media: BATCH, alias: Some("application/json"), answer: Format::Elements },
];

/// Renders the whole answer; its headers have the place where the next one begins.
async fn page(
    log: &Arc<dyn ReadLog>,
    mut pages: Pages,
    room: &PageBytes,
    part: &ScanRange,
    query: &EventsRequest,
    mut headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_array = headers[header::CONTENT_TYPE] == BATCH;
    let mut body = if is_array { b"[".to_vec() } else { Vec::new() };
    loop {
        let (bytes, page) = pages.next().await?;
        body.extend_from_slice(&bytes);
        let is_some = body.len() > usize::from(is_array);
        if page != Page::More || body.len() >= EVENTS_PAGED_BYTES_MAX || (is_some && room.is_short()) {
            break;
        }
    }
    if is_array {
        body.extend_from_slice(b"]\n");
    }
    let next = pages.place().unwrap_or(part.end);
    headers.insert(NEXT_OFFSET, next.get().into());
    headers.insert(BYTES_READ, log.bytes_read().into());
    if part.is_open || next < part.end {
        let cursor = PageCursor::new(log.terms().place(next), &query.pairs).text();
        headers.insert(NEXT_CURSOR, HeaderValue::from_str(&cursor).expect("digits, dots and an @"));
    }
    Ok((headers, Body::from(room.hold(body))).into_response())
}

/// A body that is rendered while it is sent, and has its share until then.
fn long(pages: Pages, share: Share, format: Format) -> Body {
    let (opening, closing): (&[u8], &[u8]) = if format == Format::Elements { (b"[", b"]\n") } else { (b"", b"") };
    let middle = futures_util::stream::unfold(Some((pages, share)), |state| async {
        let (mut pages, share) = state?;
        loop {
            match pages.next().await {
                Ok((bytes, Page::More)) if bytes.is_empty() => {}
                Ok((bytes, Page::More)) => return Some((Ok(bytes), Some((pages, share)))),
                Ok((bytes, _)) if bytes.is_empty() => return None,
                Ok((bytes, _)) => return Some((Ok::<Bytes, Problem>(bytes), None)),
                // The answer has begun: all that is left is to break it off, so that nobody takes it for whole.
                Err(problem) => return Some((Err(problem), None)),
            }
        }
    });
    let one = |bytes: &'static [u8]| futures_util::stream::iter([Ok::<Bytes, Problem>(Bytes::from_static(bytes))]);
    use futures_util::StreamExt;
    Body::from_stream(one(opening).chain(middle).chain(one(closing)))
}
