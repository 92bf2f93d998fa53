//! `GET /healthz`: whether events become durable here.

use std::collections::BTreeMap;

use afferent_host::clock;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::Api;
use crate::forward::status::{ForwardView, Phase};
use crate::models::not_shown::words;

/// Whether events become durable. Other problems follow in lines after `degraded`: of the log, of readers and posters
/// that were refused a moment ago because others use all there is, or of models that have no room for everything that a
/// source reports.
#[utoipa::path(get, path = "/healthz", tag = "about",
    responses((status = 200, content_type = "text/plain", body = String,
        description = "Events become durable: `ok`, or `degraded` and a line for each other problem"), Problem))]
pub(super) async fn healthz(State(api): State<Api>) -> Response {
    if api.stopping.is_requested() {
        let remedy = "retry once the collector has started again";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the collector is stopping", remedy).into_response();
    }
    match api.state.health.verdict() {
        Ok(()) => {
            let mut lines = api.state.health.warnings();
            lines.extend(api.state.health.refused.recent().into_iter().map(|(kind, why)| (kind.name(), why)));
            let shortages = api.state.models.shortages();
            let now = clock::wall();
            lines.extend(words(&shortages, now).map(|words| ("not-shown", words)));
            lines.extend(undelivered(&api.state.forwards.views()).map(|text| ("forwards", text)));
            healthy_text(&lines).into_response()
        }
        Err(why) => {
            let remedy = "see the collector's log; agents keep their events and send them later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, remedy).into_response()
        }
    }
}

/// The forwards that cannot deliver, in one line.
fn undelivered(views: &[ForwardView]) -> Option<String> {
    let is_failing = |view: &&ForwardView| matches!(view.phase, Phase::Retrying | Phase::Stuck);
    let names: Vec<&str> = views.iter().filter(is_failing).map(|view| view.name.as_str()).collect();
    let text = || format!("{} cannot deliver; see `afferent-collector forward list`", names.join(", "));
    (!names.is_empty()).then(text)
}

fn healthy_text(warnings: &BTreeMap<&'static str, String>) -> String {
    let lines = warnings.iter().map(|(kind, text)| format!("{kind}: {text}\n"));
    std::iter::once(if warnings.is_empty() { "ok\n" } else { "degraded\n" }.to_owned()).chain(lines).collect()
}
