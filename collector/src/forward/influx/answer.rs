//! What an answer means for the events of a request.

use reqwest::{Response, StatusCode};

use super::super::http::answer::{Answer, Outcome};

/// What InfluxDB answers about points that are older than the bucket's retention: it has written all others.
const BEYOND_RETENTION: &str = "points beyond retention policy";

/// A successful answer that took less than all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped(pub String);

/// The outcome by the status. Final is only what the destination itself says of the content of a request.
pub(super) async fn outcome(response: Response) -> (Outcome, Option<Dropped>) {
    outcome_of(&Answer::read(response).await)
}

fn outcome_of(answer: &Answer) -> (Outcome, Option<Dropped>) {
    if answer.status.is_success() {
        return (Outcome::Taken, None);
    }
    if let Some(redirect) = answer.redirect() {
        return (redirect, None);
    }
    let is_about_content = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if is_about_content && answer.reason().contains(BEYOND_RETENTION) {
        return (Outcome::Taken, Some(Dropped(answer.reason())));
    }
    // A proxy on the way answers with a page.
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
    if (is_about_content && is_json) || answer.status == StatusCode::PAYLOAD_TOO_LARGE {
        return (Outcome::Never(answer.reason()), None);
    }
    let remedy = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "check `token`, or `user` and `password`, and that they may write there"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            "check `url`, `org`, `bucket` and `database`; create what is missing"
        }
        _ if is_about_content => "it does not answer as InfluxDB does; check `url`, and what is between",
        _ => "see the destination's own log",
    };
    (answer.later(remedy), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> (Outcome, Option<Dropped>) {
        let status = StatusCode::from_u16(status).unwrap();
        outcome_of(&Answer { status, after: None, body: body.into() })
    }

    #[test]
    fn only_the_destinations_word_on_the_content_is_final() {
        assert_eq!(of(204, "").0, Outcome::Taken);
        let conflict = r#"{"error":"partial write: field type conflict: input field \"value\" dropped=1"}"#;
        for status in [400, 422] {
            assert!(matches!(of(status, conflict).0, Outcome::Never(reason) if reason.contains("field type conflict")));
            let page = of(status, "<html>The plain HTTP request was sent to HTTPS port</html>").0;
            assert!(matches!(page, Outcome::Later(error) if error.remedy.contains("check `url`")));
        }
        assert!(matches!(of(413, "<html>").0, Outcome::Never(_)));
        for (status, remedy) in [(401, "`token`"), (403, "`user`"), (404, "`bucket`"), (500, "log"), (301, "`url`")] {
            let later = of(status, r#"{"error":"x"}"#).0;
            assert!(matches!(later, Outcome::Later(error) if error.remedy.contains(remedy)), "{status}");
        }
    }

    #[test]
    fn what_is_older_than_the_retention_is_not_refused() {
        let (outcome, dropped) = of(400, r#"{"error":"partial write: points beyond retention policy dropped=3"}"#);
        assert_eq!(outcome, Outcome::Taken);
        assert!(dropped.is_some_and(|Dropped(said)| said.contains("dropped=3")));
    }
}
