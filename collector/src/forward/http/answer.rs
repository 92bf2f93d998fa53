//! What an answer says, and what follows for the events of a request.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::super::sink::Unavailable;
use crate::limits::{HTTP_ANSWER_BYTES_MAX, HTTP_ANSWER_CHARS_MAX};

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Outcome {
    /// The destination has the events.
    Taken,
    /// Not now. The reason does not name the destination.
    Later(Unavailable),
    /// It will never take one of them.
    Never(String),
}

/// An answer, read as far as people need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Answer {
    pub status: StatusCode,
    /// How long it asks to wait.
    pub after: Option<Duration>,
    /// The beginning of its body, unless it is a success.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer; never more of its body than a bound.
    pub async fn read(mut response: Response) -> Self {
        let (status, after) = (response.status(), retry_after(response.headers()));
        let mut body = Vec::new();
        while !status.is_success()
            && body.len() < HTTP_ANSWER_BYTES_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            let left = HTTP_ANSWER_BYTES_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        }
        Self { status, after, body }
    }

    /// The answer for people, on one line.
    pub fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let said: String = words.collect::<Vec<_>>().join(" ").chars().take(HTTP_ANSWER_CHARS_MAX).collect();
        let status = self.status;
        if said.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {said}") }
    }

    /// A redirect is not followed: it may lead to where no request may go.
    pub fn redirect(&self) -> Option<Outcome> {
        let reason = format!("it answers {}, a redirect, which is not followed", self.status);
        let is_redirect = self.status.is_redirection();
        is_redirect.then(|| Outcome::Later(Unavailable::new(reason, "set `url` to the final address")))
    }

    /// The destination cannot take the events now.
    pub fn later(&self, remedy: &str) -> Outcome {
        Outcome::Later(Unavailable { after: self.after, ..Unavailable::new(self.reason(), remedy) })
    }
}

/// Names the destination in an error.
pub(in crate::forward) fn at(target: &str, error: Unavailable) -> Unavailable {
    Unavailable { reason: format!("{target}: {}", error.reason), ..error }
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
