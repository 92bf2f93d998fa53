//! `GET /v1/events`: a part of the log as NDJSON.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::pages::{Pages, blocking};
use super::problem::Problem;
use super::query::{Limit, Query};
use super::state::Api;
use crate::subscribe::{Format, Page, Reading, Start};

/// The oldest offset that is kept.
pub const FIRST_OFFSET: HeaderName = HeaderName::from_static("afferent-first-offset");
/// The durable end when the request came; the answer does not go beyond it.
pub const END_OFFSET: HeaderName = HeaderName::from_static("afferent-end-offset");
/// Where to go on after this answer. Not there with a filter: then it is the offset of the last line plus one, or the
/// end offset when fewer than `limit` lines came.
pub const NEXT_OFFSET: HeaderName = HeaderName::from_static("afferent-next-offset");

/// Answers with the events from `from` (default: the first) up to the durable end of this moment, `limit` (default:
/// 1000; `all` for no limit) at most. The answer is rendered as fast as the client takes it, and no faster.
pub(super) async fn events(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), Limit::Taken)?;
    let log = api.log();
    let start = query.from.unwrap_or(Start::First);
    let (from, kept) = blocking({
        let log = Arc::clone(&log);
        move || start.resolve(&*log).map(|from| (from, log.kept()))
    })
    .await??;
    // What was appended since the start was looked up is left for the next request.
    let end = kept.end.max(from);
    let reading = Reading::part(from, end, query.limit, query.filter, Format::Lines);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(FIRST_OFFSET, kept.start.get().into());
    headers.insert(END_OFFSET, end.get().into());
    if !reading.is_filtered() {
        headers.insert(NEXT_OFFSET, from.get().saturating_add(query.limit).min(end.get()).into());
    }
    let body = futures_util::stream::unfold(Some(Pages::new(log, reading)), |pages| async {
        let mut pages = pages?;
        loop {
            match pages.next().await {
                Ok((bytes, Page::More)) if bytes.is_empty() => {}
                Ok((bytes, Page::More)) => return Some((Ok(bytes), Some(pages))),
                Ok((bytes, _)) if bytes.is_empty() => return None,
                Ok((bytes, _)) => return Some((Ok::<Bytes, Problem>(bytes), None)),
                // The answer has begun: all that is left is to break it off, so that nobody takes it for whole.
                Err(problem) => return Some((Err(problem), None)),
            }
        }
    });
    Ok((headers, Body::from_stream(body)).into_response())
}
