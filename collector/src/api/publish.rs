//! `POST /v1/events`: CloudEvents from producers, and from consumers that feed back.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::budget::Sent;
use super::problem::Problem;
use super::query::{Nothing, Query};
use super::state::Api;
use crate::intake::Intake;
use crate::limits::{POST_BYTES_MAX, POST_EVENTS_MAX};
use crate::posted::{Amended, EventRefusal, NewEvent, PostRefusal, PostedAt, PostedJson, check, look};

const ONE: &str = "application/cloudevents+json";
/// The header by which a CloudEvent in binary mode is known.
const SPECVERSION: &str = "ce-specversion";
/// What stands before the name of an attribute in a header.
pub(super) const ATTRIBUTE: &str = "ce-";

/// The offsets of the events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    events: Vec<PublishedEvent>,
}

/// The offset of one event.
#[derive(Debug, Serialize, ToSchema)]
struct PublishedEvent {
    /// Its source.
    source: String,
    /// Its identifier within the source.
    id: String,
    /// Its partition of the log.
    partition: u32,
    /// Its offset in the partition, decimal.
    offset: String,
    /// Whether it was in the log already, and was not appended again.
    duplicate: bool,
}

/// Appends events. Answers once all of them are on disk; if one of them is refused, none is appended. An event whose
/// `source` and `id` are already in the log is not appended again; the answer has its offset. An amendment
/// (`afferent.amendment.v1`) names its author, and is refused with 409 if it cannot change the event that it refers to.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(description = "CloudEvents 1.0 in the JSON format: one, an array, or one per line", content(
        (Object = "application/cloudevents+json"), (Vec<Object> = "application/cloudevents-batch+json"),
        (String = "application/x-ndjson"))),
    responses((status = 200, description = "The events are on disk", body = Published), Problem))]
pub(super) async fn publish(
    State(api): State<Api>,
    _: Query<Nothing>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Json<Published>, Problem> {
    let kind = kind_of(&headers)?;
    let body = body.taken(POST_BYTES_MAX).await?;
    let events = if kind == BodyKind::Binary { vec![binary(&headers, &body)?] } else { read(kind, &body)? };
    let names = api.held().sources.all();
    let (own, partition) = (api.held().reader.collector_name(), api.held().reader.partition().get());
    // A name that has delivered nothing is anybody's: it takes no maker's name away.
    let agents = names.iter().filter(|view| !view.is_new).map(|view| view.source).chain(own);
    let agents: HashSet<String> = agents.map(|agent| look(agent.as_str())).collect();
    let is_agent = |name: &str| agents.contains(&look(name));
    let mut amended = Vec::new();
    let events: Vec<NewEvent> = (events.into_iter().enumerate())
        .map(|(at, event)| {
            let about = Amended::of(&event).map_err(|refusal| of_refusal(at, &refusal))?;
            amended.extend(about.map(|about| (at as u64 + 1, about)));
            check(event, is_agent).map_err(|refusal| of_refusal(at, &refusal))
        })
        .collect::<Result<_, _>>()?;
    let _share = body.into_share();
    super::amend::check(&api, amended).await?;
    let named: Vec<(String, String)> = events.iter().map(|event| (event.source.clone(), event.id.clone())).collect();
    let places = if events.is_empty() { Vec::new() } else { append_events(&api, events).await? };
    let told = |((source, id), place): ((String, String), PostedAt)| {
        let PostedAt { offset, duplicate } = place;
        PublishedEvent { source, id, partition, offset: offset.to_string(), duplicate }
    };
    Ok(Json(Published { events: named.into_iter().zip(places).map(told).collect() }))
}

/// How the events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    One,
    Array,
    Lines,
    /// One whose attributes are headers, and whose data is the body.
    Binary,
}

/// The media type of a body without its parameters, in lower case; empty where there is none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn kind_of(headers: &HeaderMap) -> Result<BodyKind, Problem> {
    match media_type(headers).as_str() {
        _ if headers.contains_key(SPECVERSION) => Ok(BodyKind::Binary),
        ONE => Ok(BodyKind::One),
        super::events::BATCH => Ok(BodyKind::Array),
        super::events::NDJSON => Ok(BodyKind::Lines),
        _ => {
            let detail = "events cannot be posted with this content type";
            let remedy = format!(
                "send {ONE}, {} or {}; or put the attributes into headers whose names begin with `ce-`",
                super::events::BATCH,
                super::events::NDJSON
            );
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, remedy))
        }
    }
}

/// A CloudEvent in binary mode (CloudEvents 1.0, HTTP protocol binding, section 3.1): its attributes are headers,
/// percent-encoded where they are not plain, and the body is its data.
fn binary<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<PostedJson<'b>, Problem> {
    let refused =
        |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail, "correct the event, and send it again");
    let mut given = PostedJson::default();
    for (name, value) in headers {
        let name = name.as_str();
        let Some(attribute) = name.strip_prefix(ATTRIBUTE) else { continue };
        let text = value.to_str().ok().and_then(|text| percent_encoding::percent_decode_str(text).decode_utf8().ok());
        let text = text.ok_or_else(|| refused(format!("the header `{name}` is not a percent-encoded text")))?;
        // The one that is a number in the log.
        let value = match text.parse::<u8>() {
            Ok(severity) if attribute == "severitynumber" => severity.into(),
            _ => Value::from(text.into_owned()),
        };
        if given.attributes.insert(attribute.to_owned(), value).is_some() {
            return Err(refused(format!("the header `{name}` occurs twice")));
        }
    }
    if body.is_empty() {
        return Ok(given);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || media.ends_with("+json") {
        let data = serde_json::from_slice(body).map_err(|error| refused(format!("the body is not JSON: {error}")))?;
        given.data = Some(data);
    } else {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(body);
        given.attributes.insert("data_base64".to_owned(), text.into());
    }
    given.attributes.insert("datacontenttype".to_owned(), kind.into());
    Ok(given)
}

fn read<'b>(kind: BodyKind, body: &'b [u8]) -> Result<Vec<PostedJson<'b>>, Problem> {
    let malformed = |at: String, error: serde_json::Error| {
        let detail = format!("{at} is not valid JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail, "send CloudEvents in the JSON format, nested 100 deep at most")
    };
    let events = match kind {
        BodyKind::Binary => unreachable!("it is read out of headers"),
        BodyKind::One => vec![serde_json::from_slice(body).map_err(|error| malformed("the event".to_owned(), error))?],
        BodyKind::Array => serde_json::from_slice(body).map_err(|error| malformed("the array".to_owned(), error))?,
        BodyKind::Lines => {
            let lines = body.split(|byte| *byte == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
            let event = |(at, line): (usize, &'b [u8])| {
                serde_json::from_slice(line).map_err(|error| malformed(format!("line {}", at + 1), error))
            };
            lines.take(POST_EVENTS_MAX + 1).map(event).collect::<Result<_, _>>()?
        }
    };
    if events.len() > POST_EVENTS_MAX {
        let detail = format!("the body has more than {POST_EVENTS_MAX} events");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "send fewer events per request"));
    }
    Ok(events)
}

fn of_refusal(at: usize, refusal: &EventRefusal) -> Problem {
    let status = match refusal {
        EventRefusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let remedy = "correct this event; nothing of the request was appended";
    Problem::new(status, format!("event {}: {refusal}", at + 1), remedy).of_event(at as u64 + 1)
}

/// Has the writer append them, and waits until they are on disk.
async fn append_events(api: &Api, events: Vec<NewEvent>) -> Result<Vec<PostedAt>, Problem> {
    let remedy = "send the same events again later: events that are on disk by then are answered as duplicates";
    let post = async move |intake: Intake| intake.post(events).await;
    super::written::written(api, post, remedy).await?.map_err(|refusal| match refusal {
        PostRefusal::NotReady { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), "send the same events again later")
        }
        PostRefusal::Broken(_) => {
            let remedy = "check the collector's log messages and its disk; a restart rebuilds the index";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), remedy)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const LEAST: [(&str, &str); 5] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/wear"),
        ("ce-type", "com.example.wear.v1"),
        ("ce-subject", "88-C/%C3%96l%20%22a%22"),
    ];

    fn taken(more: &[(&'static str, &'static str)], body: &[u8]) -> NewEvent {
        let headers = headers(&[&LEAST[..], more].concat());
        assert_eq!(kind_of(&headers).unwrap(), BodyKind::Binary);
        check(binary(&headers, body).unwrap(), |_| false).unwrap()
    }

    #[test]
    fn a_cloud_event_in_binary_mode_is_the_one_that_it_is_in_json() {
        let data = r#"{"z":1.10,"a":18446744073709551616}"#;
        let event = taken(&[("content-type", "application/json"), ("ce-severitynumber", "17")], data.as_bytes());
        let json = format!(
            r#"{{"specversion":"1.0","id":"7","source":"/wear","type":"com.example.wear.v1","subject":"88-C/Öl \"a\"",
            "severitynumber":17,"datacontenttype":"application/json","data":{data}}}"#
        );
        assert_eq!(event, check(serde_json::from_str(&json).unwrap(), |_| false).unwrap());
        let event = taken(&[("content-type", "image/png")], &[0xFF, 0, 1]);
        assert!(
            event.json.contains(r#""datacontenttype":"image/png""#) && event.json.contains(r#""data_base64":"/wAB""#)
        );
        assert!(!taken(&[], b"").json.contains("data"));
    }

    #[test]
    fn faults_of_an_event_in_binary_mode_are_reported() {
        for (more, body, why) in [
            (&[("ce-id", "8")][..], &b""[..], "occurs twice"),
            (&[("ce-note", "%FF")], b"", "not a percent-encoded text"),
            (&[("content-type", "application/json")], b"{", "the body is not JSON"),
        ] {
            let refused = binary(&headers(&[&LEAST[..], more].concat()), body).unwrap_err();
            assert!(format!("{refused:?}").contains(why), "{refused:?}");
        }
    }
}
