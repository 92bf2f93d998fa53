//! Refusals as `application/problem+json` (RFC 9457): what is wrong, where, and what to do.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::log::ReadLogError;
use crate::subscribe::{FilterError, StartError, StartTextError};
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
    /// Which event of the request it is about, from 1 on, where it is about one.
    pub event: Option<u64>,
    /// Seconds after which it may be asked again, where it is refused for now only.
    pub retry_after_s: Option<u64>,
}

/// A refusal as it is written.
#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    remedy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
}

impl Problem {
    /// A refusal.
    pub fn new(status: StatusCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
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

    /// `until` says no place.
    pub(super) fn of_until(error: StartTextError) -> Self {
        let remedy = "give `until` as one of these; in a URL write + as %2B";
        Self::new(StatusCode::BAD_REQUEST, format!("`until`: {error}"), remedy)
    }

    /// The JSON document.
    pub fn json(&self) -> Vec<u8> {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let Self { status, detail, remedy, event, .. } = self;
        let document = Document { title, status: status.as_u16(), detail, remedy, event: *event };
        serde_json::to_vec(&document).expect("texts and a number")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = self.json();
        let kind = HeaderValue::from_static("application/problem+json");
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

impl From<StartTextError> for Problem {
    fn from(error: StartTextError) -> Self {
        let remedy = "give `from` as one of these; in a URL write + as %2B";
        Self::new(StatusCode::BAD_REQUEST, format!("`from`: {error}"), remedy)
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        let remedy =
            "give `subject` as 88-C/**, `type` as breakdown,alarm, `source` as press-88, and `severity` as warning..";
        Self::new(StatusCode::BAD_REQUEST, error.to_string(), remedy)
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = format!("`from`: {error}");
        match error {
            StartError::Gone { kept, .. } => {
                Self::new(StatusCode::GONE, detail, format!("begin with from={} or from=first", kept.start))
            }
            StartError::Beyond { kept, .. } => {
                let remedy =
                    format!("begin with from={} or from=end; if the log was replaced, with from=first", kept.end);
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, detail, remedy)
            }
            StartError::Lost { error, .. } => lost(detail, &error),
            StartError::Log(error) => error.into(),
        }
    }
}

/// A place does not hold: what happened, and where to go on.
pub(super) fn lost(detail: String, error: &PlaceError) -> Problem {
    let remedy = match error {
        PlaceError::OtherLog => "this log was started over: begin with from=first, or from a time".to_owned(),
        PlaceError::OtherPartition { of, .. } => format!("ask for partition={of}"),
        PlaceError::LostTerm { .. } => {
            "what you have from that term on is not in this log: begin with from=first, or from a time before it"
                .to_owned()
        }
        PlaceError::Beyond { until, .. } => format!(
            "what you have from offset {until} on is not in this log; agents send again what they hold of it: go on with \
             from={until}"
        ),
        PlaceError::Forgotten => "begin with from=first".to_owned(),
    };
    Problem::new(StatusCode::CONFLICT, detail, remedy)
}

impl From<ReadLogError> for Problem {
    fn from(error: ReadLogError) -> Self {
        let remedy =
            "look at the collector's log and at its disk; `afferent-collector log verify` tells what is damaged";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), remedy)
    }
}
