//! What an answer means for the events of a request.

use reqwest::{Response, StatusCode};

use super::super::http::answer::{Answer, Outcome};

/// The outcome by the status, as RFC 9110 and RFC 6585 define them. Only statuses that are about the content of the
/// request are final: a wrong address or login is for the operator to correct.
pub(super) async fn outcome(response: Response) -> Outcome {
    let answer = Answer::read(response).await;
    if answer.status.is_success() {
        return Outcome::Taken;
    }
    if let Some(redirect) = answer.redirect() {
        return redirect;
    }
    let remedy = match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            return Outcome::Never(answer.reason());
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check the login: `bearer`, `headers`, `secret`",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => "check `url`",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "check `mode` and `content_type`",
        _ => "see the destination's own log",
    };
    answer.later(remedy)
}
