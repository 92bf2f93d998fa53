//! HTTP: the log for programs and people.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/events?from=&limit=&subject=&type=&source=` | a part of the log, one CloudEvent a line (NDJSON) |
//! | `GET /v1/stream?from=&subject=&type=&source=` | the same as server-sent events, for ever |
//! | `GET /v1/agents` | every source: state, lag, losses, gaps (JSON) |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /`, `/assets/*` | the page for people ([`crate::web`]) |
//! | `GET /healthz` | 200 while events become durable and agents have a way in, else 503 that says why |
//!
//! Refusals are `application/problem+json` ([`problem`]). Nothing here writes: the API can read the log and no more.

pub mod agents;
pub mod events;
mod health;
mod metrics;
mod pages;
pub mod problem;
mod query;
mod server;
mod state;
mod stream;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::shutdown::Stopping;
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
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .merge(crate::web::router())
        .method_not_allowed_fallback(async || {
            let remedy = "this API is for reading: use GET";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not taken here", remedy)
        })
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(64).collect();
            let remedy =
                "there are /v1/events, /v1/stream, /v1/agents, /metrics and /healthz, and / is the page for people";
            Problem::new(StatusCode::NOT_FOUND, format!("there is no {path:?}"), remedy)
        })
        .with_state(api)
}

#[cfg(test)]
mod tests;
