//! HTTP: the log for programs and people.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/events?from=&limit=&subject=&type=&source=` | a part of the log, one CloudEvent a line (NDJSON) |
//! | `GET /v1/stream?from=&subject=&type=&source=` | the same as server-sent events, for ever |
//! | `GET /v1/agents` | every source: state, lag, losses, gaps (JSON) |
//! | `GET /v1/certificate?source=|machine=&from=&until=` | what is there of that span, proved (JSON or text) |
//! | `GET /v1/models`, `/v1/models/NAME@V?as_of=`, `/v1/models/diff?left=&right=&as_of=` | states that are folded from the log ([`models`]) |
//! | `POST /v1/models/NAME@V/recompute?from=`, `POST /v1/what-if?from=&until=` | a state made again; alternatives to what happened |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /`, `/assets/*` | the page for people ([`crate::web`]) |
//! | `GET /healthz` | 200 while events become durable and agents have a way in, else 503 that says why |
//!
//! Refusals are `application/problem+json` ([`problem`]). Nothing here writes: the API can read the log and no more.

pub mod agents;
mod certificate;
pub mod events;
mod health;
mod metrics;
pub mod models;
mod pages;
pub mod problem;
mod query;
mod server;
mod state;
mod stream;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::shutdown::Stopping;
pub use certificate::Own;
use problem::Problem;
use state::Api;
pub use state::ApiState;

/// Serves the API on `listener` until the collector stops; then answers have a moment to end.
///
/// # Errors
/// None for now: what goes wrong with one connection does not end the others.
pub async fn serve(listener: TcpListener, state: ApiState, stopping: Stopping) -> std::io::Result<()> {
    let router = router(Api { state, stopping: stopping.clone() });
    server::serve(listener, router, stopping).await;
    Ok(())
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/events", get(events::events))
        .route("/v1/stream", get(stream::stream))
        .route("/v1/agents", get(agents::agents))
        .route("/v1/certificate", get(certificate::certificate))
        .route("/v1/models", get(models::list))
        .route("/v1/models/diff", get(models::diff))
        .route("/v1/models/{name}", get(models::state))
        .route("/v1/models/{name}/recompute", post(models::recompute))
        .route("/v1/what-if", post(models::what_if))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .merge(crate::web::router())
        .method_not_allowed_fallback(async || {
            let remedy = "this API is for reading: use GET";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not taken here", remedy)
        })
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(64).collect();
            let remedy = "there are /v1/events, /v1/stream, /v1/agents, /v1/certificate, /v1/models, /v1/what-if, /metrics \
                          and /healthz, and / is the page for people";
            Problem::new(StatusCode::NOT_FOUND, format!("there is no {path:?}"), remedy)
        })
        .with_state(api)
}

#[cfg(test)]
mod tests;
