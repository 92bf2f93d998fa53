//! `POST /v1/events`: CloudEvents from producers, and from consumers that feed back.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::state::Api;
use crate::limits::{POST_BYTES_MAX, POST_EVENTS_MAX};
use crate::posted::{EventRefusal, Given, NewEvent, Placed, PostRefusal, check};

const ONE: &str = "application/cloudevents+json";

/// Where the events stand.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    events: Vec<PublishedEvent>,
}

/// Where one event stands.
#[derive(Debug, Serialize, ToSchema)]
struct PublishedEvent {
    /// Its maker.
    source: String,
    /// Its maker's name for it.
    id: String,
    /// Its offset, decimal.
    offset: String,
    /// It was there before, and was not appended again.
    duplicate: bool,
}

/// Appends events. Answered once all of them are on disk; none is appended when one of them is refused. An event whose
/// `source` and `id` are in the log already, since whenever, is not appended again: its offset is told.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(description = "CloudEvents 1.0 in the JSON format: one, an array, or one a line", content(
        (Object = "application/cloudevents+json"), (Vec<Object> = "application/cloudevents-batch+json"),
        (String = "application/x-ndjson"))),
    responses((status = 200, description = "They are on disk", body = Published), super::openapi::Refusals))]
pub(super) async fn publish(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Published>, Problem> {
    let kind = media_type(&headers)?;
    let body = taken(body).await?;
    let events = read(kind, &body)?;
    let names = api.state.sources.borrow().clone();
    let own = api.state.reader.own();
    let is_agent = |name: &str| {
        own.is_some_and(|own| own.as_str() == name) || names.iter().any(|view| view.source.as_str() == name)
    };
    let events: Vec<NewEvent> = (events.into_iter().enumerate())
        .map(|(at, event)| check(event, is_agent).map_err(|refusal| of_refusal(at, &refusal)))
        .collect::<Result<_, _>>()?;
    let named: Vec<(String, String)> = events.iter().map(|event| (event.source.clone(), event.id.clone())).collect();
    let places = if events.is_empty() { Vec::new() } else { place(&api, events).await? };
    let told = |((source, id), place): ((String, String), Placed)| {
        let Placed { offset, duplicate } = place;
        PublishedEvent { source, id, offset: offset.to_string(), duplicate }
    };
    Ok(Json(Published { events: named.into_iter().zip(places).map(told).collect() }))
}

/// How the events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Array,
    Lines,
}

fn media_type(headers: &HeaderMap) -> Result<Kind, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        ONE => Ok(Kind::One),
        super::events::BATCH => Ok(Kind::Array),
        super::events::NDJSON => Ok(Kind::Lines),
        _ => {
            let detail = "the content type is not one that events are taken in";
            let remedy = format!("send {ONE}, {} or {}", super::events::BATCH, super::events::NDJSON);
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, remedy))
        }
    }
}

/// A body of at most [`POST_BYTES_MAX`] bytes.
pub(super) async fn taken(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, POST_BYTES_MAX).await.map_err(|error| {
        let is_length =
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("length limit"));
        if is_length {
            let detail = format!("the body has more than {POST_BYTES_MAX} bytes");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "send fewer events at a time");
        }
        Problem::new(StatusCode::BAD_REQUEST, "the body cannot be read to its end", "send it whole")
    })
}

fn read<'b>(kind: Kind, body: &'b [u8]) -> Result<Vec<Given<'b>>, Problem> {
    let malformed = |at: String, error: serde_json::Error| {
        let detail = format!("{at} cannot be read as JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail, "send CloudEvents in the JSON format, nested 100 deep at most")
    };
    let events = match kind {
        Kind::One => vec![serde_json::from_slice(body).map_err(|error| malformed("the event".to_owned(), error))?],
        Kind::Array => serde_json::from_slice(body).map_err(|error| malformed("the array".to_owned(), error))?,
        Kind::Lines => {
            let lines = body.split(|byte| *byte == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
            let event = |(at, line): (usize, &'b [u8])| {
                serde_json::from_slice(line).map_err(|error| malformed(format!("line {}", at + 1), error))
            };
            lines.take(POST_EVENTS_MAX + 1).map(event).collect::<Result<_, _>>()?
        }
    };
    if events.len() > POST_EVENTS_MAX {
        let detail = format!("there are more than {POST_EVENTS_MAX} events");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "send fewer events at a time"));
    }
    Ok(events)
}

fn of_refusal(at: usize, refusal: &EventRefusal) -> Problem {
    let status = match refusal {
        EventRefusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let remedy = "mend this event; nothing of the request was appended";
    Problem::new(status, format!("event {}: {refusal}", at + 1), remedy).of_event(at as u64 + 1)
}

/// Has the writer append them, and waits until they are on disk.
async fn place(api: &Api, events: Vec<NewEvent>) -> Result<Vec<Placed>, Problem> {
    let gone = || {
        let remedy = "send the same events again once it runs: those that are there are told as duplicates";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the collector stops", remedy)
    };
    let intake = api.state.intake.upgrade().map_err(|_| gone())?;
    let placed = intake.post(events).await.map_err(|_| gone())?;
    // Nobody who waits for an answer keeps the writer from ending.
    drop(intake);
    placed.await.map_err(|_| gone())?.map_err(|refusal| match refusal {
        PostRefusal::NotReady { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), "send the same events again in a while")
        }
        PostRefusal::Broken(_) => {
            let remedy = "look at the collector's log and its disk; a restart makes the index anew";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), remedy)
        }
    })
}
