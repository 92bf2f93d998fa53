//! What an answer means for the events of a request.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_ANSWER_CHARS_MAX};

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The destination has the events.
    Taken,
    /// Not now.
    Later { reason: String, remedy: &'static str, after: Option<Duration> },
    /// It will never take one of them.
    Never(String),
}

/// The outcome by the status, as RFC 9110 and RFC 6585 define them. Only statuses that are about the content of the
/// request are final: a wrong address or login is for the operator to correct.
pub(super) async fn outcome(answer: Response) -> Outcome {
    let (status, after) = (answer.status(), retry_after(answer.headers()));
    if status.is_success() {
        return Outcome::Taken;
    }
    if status.is_redirection() {
        let reason = format!("it answers {status}, a redirect, which is not followed");
        return Outcome::Later { reason, remedy: "set `url` to the final address", after: None };
    }
    let is_final =
        matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY);
    let said = beginning(answer).await;
    let reason = if said.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {said}") };
    if is_final {
        return Outcome::Never(reason);
    }
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check the login: `bearer`, `headers`, `secret`",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => "check `url`",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "check `mode` and `content_type`",
        _ => "see the destination's own log",
    };
    Outcome::Later { reason, remedy, after }
}

/// The beginning of an answer's body, on one line, for people. Never reads more than a bound.
async fn beginning(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < WEBHOOK_ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        let left = WEBHOOK_ANSWER_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(left)]);
    }
    let text = String::from_utf8_lossy(&bytes);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(WEBHOOK_ANSWER_CHARS_MAX).collect()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "it is over");
        let left = after("Wed, 06 Nov 2999 08:49:37 GMT").unwrap();
        assert!(left > Duration::from_secs(365 * 86_400), "{left:?}");
        for text in ["", "soon", "-1"] {
            assert_eq!(after(text), None, "{text}");
        }
    }
}
