//! `GET /healthz`: whether events become durable here.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::Api;

/// Whether events become durable here.
#[utoipa::path(get, path = "/healthz", tag = "about",
    responses((status = 200, description = "They do", content_type = "text/plain", body = String), super::openapi::Refusals))]
pub(super) async fn healthz(State(api): State<Api>) -> Response {
    if api.stopping.is_said() {
        let remedy = "wait for the next start";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the collector stops", remedy).into_response();
    }
    match api.state.health.verdict() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => {
            let remedy = "agents keep their events meanwhile and send them later; see the collector's log";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, remedy).into_response()
        }
    }
}
