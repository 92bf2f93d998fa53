//! Refusals as `application/problem+json` (RFC 9457): what is wrong, where, and what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{IntoResponses, ToSchema};

use crate::log::ReadLogError;
use crate::partitions::NotHeld;
use crate::subscribe::{StartError, StartTextError};
use crate::terms::PlaceError;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}; {remedy}")]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What is wrong, and where.
    pub detail: String,
    /// What to do.
    pub remedy: String,
    /// The number of the event in the request, from 1 on, if the problem is about one event.
    pub event: Option<u64>,
    /// Seconds after which the request may be repeated, if it is refused only for now.
    pub retry_after_s: Option<u64>,
}

/// The media type of refusals.
const PROBLEM: &str = "application/problem+json";

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemDocument<'a> {
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What is wrong, and where.
    detail: &'a str,
    /// What to do.
    remedy: &'a str,
    /// The number of the event in the request, from 1 on, if the problem is about one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event: Option<u64>,
}

/// Every status of a refusal, and when it is given.
const STATUSES: [(StatusCode, &str); 16] = [
    (StatusCode::BAD_REQUEST, "The request cannot be read or contradicts itself"),
    (StatusCode::FORBIDDEN, "A page of another origin requested a change"),
    (StatusCode::NOT_FOUND, "The resource does not exist"),
    (StatusCode::METHOD_NOT_ALLOWED, "The path does not support this method"),
    (StatusCode::NOT_ACCEPTABLE, "`Accept` lists no media type of the answer"),
    (StatusCode::REQUEST_TIMEOUT, "The body did not arrive, or too slowly"),
    (StatusCode::CONFLICT, "The request contradicts the log or the collector's state"),
    (StatusCode::GONE, "Retention has removed the place"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body or an event in it is larger than the limit"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The path does not accept a body of this media type"),
    (StatusCode::RANGE_NOT_SATISFIABLE, "The place is beyond the log's end"),
    (StatusCode::MISDIRECTED_REQUEST, "`Host` is not a name of this collector"),
    (StatusCode::UNPROCESSABLE_ENTITY, "The request can be read, but its values are refused"),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests of one client address at once; `Retry-After` is the number of seconds to wait",
    ),
    (StatusCode::INTERNAL_SERVER_ERROR, "The log cannot be read"),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Not now: the collector is starting or stopping, its disk fails, or clients use everything there is; then \
         `Retry-After` is the number of seconds to wait",
    ),
];

impl IntoResponses for Problem {
    /// What any request can be answered with, if its path has the method.
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let of = |(status, description): (StatusCode, &str)| {
            let schema = Ref::from_schema_name(ProblemDocument::name());
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new().description(description).content(PROBLEM, content);
            let is_for_now = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            let retry_after = HeaderBuilder::new().schema(seconds).build();
            let response = if is_for_now { response.header("retry-after", retry_after) } else { response };
            (status.as_u16().to_string(), response.build().into())
        };
        let has_method = STATUSES.into_iter().filter(|(status, _)| *status != StatusCode::METHOD_NOT_ALLOWED);
        has_method.map(of).collect()
    }
}

impl Problem {
    /// A refusal, with one of the statuses that the OpenAPI document has.
    pub fn new(status: StatusCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        assert!(STATUSES.iter().any(|(known, _)| *known == status), "the document does not have {status}");
        Self { status, detail: detail.into(), remedy: remedy.into(), event: None, retry_after_s: None }
    }

    /// This refusal, of one event of a request that posts several.
    pub(super) fn of_event(self, number: u64) -> Self {
        Self { event: Some(number), ..self }
    }

    /// This refusal, which holds for so long only.
    pub(super) fn again_in(self, wait: Duration) -> Self {
        Self { retry_after_s: Some(wait.as_secs().max(1)), ..self }
    }

    /// The member `name` of a body is no place.
    pub(super) fn of_place_text(name: &str, error: &StartTextError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("`{name}`: {error}"), format!("give `{name}` in one of these forms"))
    }

    /// The place that `name` gives does not hold in this log.
    pub(super) fn of_place(name: &str, error: StartError) -> Self {
        let detail = format!("`{name}`: {error}");
        match error {
            StartError::Gone { kept, .. } => {
                Self::new(StatusCode::GONE, detail, format!("start with {name}={} or {name}=first", kept.start))
            }
            StartError::Beyond { kept, .. } => {
                let remedy =
                    format!("start with {name}={} or {name}=end; if the log was replaced, with {name}=first", kept.end);
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, detail, remedy)
            }
            StartError::Lost { error, .. } => lost(name, detail, &error),
            StartError::Log(error) => error.into(),
        }
    }

    /// The JSON document.
    pub fn json(&self) -> Vec<u8> {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let Self { status, detail, remedy, event, .. } = self;
        let document = ProblemDocument { title, status: status.as_u16(), detail, remedy, event: *event };
        serde_json::to_vec(&document).expect("texts and a number")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = self.json();
        let kind = HeaderValue::from_static(PROBLEM);
        let mut answer = (self.status, [(header::CONTENT_TYPE, kind)], json).into_response();
        if let Some(seconds) = self.retry_after_s {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is not waited for.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        Self::of_place("from", error)
    }
}

/// A place does not hold: what happened, and where to go on.
pub(super) fn lost(name: &str, detail: String, error: &PlaceError) -> Problem {
    let remedy = match error {
        PlaceError::OtherLog => format!("this is a new log: start with {name}=first, or at a time"),
        PlaceError::OtherPartition { of, .. } => format!("use partition={of}"),
        PlaceError::LostTerm { .. } => format!(
            "the events that you have since that term are not in this log: start with {name}=first, or at a time before \
             it"
        ),
        PlaceError::Beyond { until, .. } => format!(
            "the events that you have from offset {until} on are not in this log; agents send again what they still \
             have: continue with {name}={until}"
        ),
        PlaceError::Forgotten => format!("start with {name}=first"),
    };
    Problem::new(StatusCode::CONFLICT, detail, remedy)
}

impl From<NotHeld> for Problem {
    fn from(error: NotHeld) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("`partition`: {error}"), "use one of these, or leave `partition` out")
    }
}

impl From<ReadLogError> for Problem {
    fn from(error: ReadLogError) -> Self {
        let remedy =
            "check the collector's log messages and its disk; `afferent-collector log verify` lists the damage";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), remedy)
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Offset;

    use super::*;

    #[test]
    fn a_remedy_speaks_of_the_parameter_that_was_given() {
        let (from, kept) = (Offset::new(3), Offset::new(10)..Offset::new(20));
        let lost = [
            PlaceError::OtherLog,
            PlaceError::LostTerm { term: 1 },
            PlaceError::Beyond { term: 1, until: Offset::new(15), offset: Offset::new(16) },
            PlaceError::Forgotten,
        ];
        let lost = lost.map(|error| StartError::Lost { from, error, kept: kept.clone() });
        let more = [StartError::Gone { from, kept: kept.clone() }, StartError::Beyond { from, kept: kept.clone() }];
        for error in more.into_iter().chain(lost) {
            let Problem { detail, remedy, .. } = Problem::of_place("to", error);
            assert!(detail.starts_with("`to`: ") && remedy.contains("to=") && !remedy.contains("from="), "{remedy}");
        }
    }
}
