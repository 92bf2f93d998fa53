//! HTTP: the log for programs and people.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/events?from=&limit=&subject=&type=&source=` | a part of the log, one CloudEvent a line (NDJSON) |
//! | `GET /v1/stream?from=&subject=&type=&source=` | the same as server-sent events, for ever |
//! | `GET /v1/agents` | every source: state, lag, losses, gaps (JSON) |
//! | `GET /metrics` | figures for Prometheus |
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
mod stream;

use std::sync::Arc;

use afferent_protocol::ids::Offset;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::intake::Health;
use crate::sources::SourceView;
use crate::subscribe::ReadLog;
use problem::Problem;

/// What the API reads.
#[derive(Clone)]
pub struct Api {
    /// The log.
    pub log: Arc<dyn ReadLog>,
    /// Its durable end; a change wakes those who follow it.
    pub durable: watch::Receiver<Offset>,
    /// The sources, as they were a moment ago.
    pub sources: watch::Receiver<Arc<Vec<SourceView>>>,
    /// How the collector is.
    pub health: Arc<Health>,
    /// Becomes true when the collector stops.
    pub stopping: watch::Receiver<bool>,
}

impl Api {
    /// All paths.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/events", get(events::events))
            .route("/v1/stream", get(stream::stream))
            .route("/v1/agents", get(agents::agents))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(health::healthz))
            .method_not_allowed_fallback(async || {
                let remedy = "this API is for reading: use GET";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not taken here", remedy)
            })
            .fallback(async |uri: Uri| {
                let path: String = uri.path().chars().take(64).collect();
                let remedy = "there are /v1/events, /v1/stream, /v1/agents, /metrics and /healthz";
                Problem::new(StatusCode::NOT_FOUND, format!("there is no {path:?}"), remedy)
            })
            .with_state(self)
    }

    /// Serves the API on `listener` until `stopping` says so.
    pub async fn serve(self, listener: TcpListener) {
        let stopping = self.stopping.clone();
        server::serve(listener, self.router(), stopping).await;
    }
}

#[cfg(test)]
mod tests;
