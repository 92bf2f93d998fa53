//! HTTP: the log for programs and people.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/events?from=&until=&time=&limit=&cursor=&subject=&type=&source=&severity=` | a part of the log: NDJSON or a CloudEvents batch |
//! | `POST /v1/events` | appends CloudEvents, each of them once |
//! | `GET /v1/stream?from=&subject=&type=&source=&severity=&heartbeat=` | the same as server-sent events, forever |
//! | `/v1/subscriptions/NAME` | PUT, GET, DELETE; `POST …/fetch`, `…/commit`, `…/reset`: places that are kept here |
//! | `GET /v1/agents` | every source: state, lag, losses, gaps (JSON) |
//! | `POST /v1/agents/NAME/retire`, `…/key` | an operator's decision about a source: an event of the log |
//! | `GET /v1/forwards`, `POST /v1/forwards/NAME/pause`, `…/resume`, `…/rewind`, `…/replay-dead` | the log in other systems |
//! | `GET /v1/certificate?source=|machine=&from=&until=` | what is there of that span, proved (JSON or text) |
//! | `GET /v1/models`, `/v1/models/NAME@V?as_of=`, `/v1/models/diff?left=&right=&as_of=` | states that are folded from the log ([`models`]) |
//! | `POST /v1/models/NAME@V/recompute?from=`, `POST /v1/what-if?from=&until=` | a state made again; alternatives to what happened |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /`, `/assets/*` | the page for people ([`crate::web`]) |
//! | `GET /v1/openapi.json` | all of this for programs |
//! | `GET /healthz` | 200 while events become durable and agents have a way in, else 503 with the reason |
//!
//! Refusals are `application/problem+json` ([`problem`]). What one client can take from others is bounded (`budget`).
//! Nothing here writes the log: what is posted goes to the writer through the same bounded queue as agents' messages.

mod accept;
pub mod agents;
mod amend;
mod blocking;
mod budget;
mod certificate;
mod cursor;
pub mod events;
pub mod forwards;
mod health;
mod metrics;
pub mod models;
mod openapi;
mod origin;
mod pages;
pub mod problem;
mod publish;
mod query;
mod server;
mod state;
mod stream;
pub mod subscriptions;
mod tail;
mod written;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use afferent_host::stop::Stop;
use budget::Budgets;
pub use origin::AllowedHosts;
use problem::Problem;
use state::Api;
pub use state::{ApiState, CollectorIdentity};

/// Serves the API on `listener` until the collector stops; then answers have a moment to end.
/// What goes wrong with one connection does not end the others.
/// So many connections are served at a time, and each client has its share of them and of all else (`budget`).
/// It answers to `names` and to those of loopback.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    names: AllowedHosts,
    connections_max: usize,
    stopping: Stop,
) {
    let budgets = Arc::new(Budgets::new(connections_max, Arc::clone(&state.health)));
    let api = Api { state, stopping: stopping.clone(), tail: Arc::default(), budgets: Arc::clone(&budgets) };
    server::serve(listener, router(api, names), budgets, stopping).await;
}

/// Every path and what it takes: the OpenAPI document is held against these in a test, and so is what depends on
/// `Accept`.
fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/healthz", get(health::healthz)),
        ("/metrics", get(metrics::metrics)),
        ("/v1/agents", get(agents::agents)),
        ("/v1/agents/{name}/key", post(agents::replace_key)),
        ("/v1/agents/{name}/retire", post(agents::retire)),
        ("/v1/certificate", get(certificate::certificate).route_layer(map_response(accept::vary))),
        ("/v1/events", get(events::events).route_layer(map_response(accept::vary)).post(publish::publish)),
        ("/v1/forwards", get(forwards::list)),
        ("/v1/forwards/{name}", get(forwards::show)),
        ("/v1/forwards/{name}/pause", post(forwards::pause)),
        ("/v1/forwards/{name}/replay-dead", post(forwards::replay_dead)),
        ("/v1/forwards/{name}/resume", post(forwards::resume)),
        ("/v1/forwards/{name}/rewind", post(forwards::rewind)),
        ("/v1/models", get(models::list)),
        ("/v1/models/diff", get(models::diff)),
        ("/v1/models/{name}", get(models::state)),
        ("/v1/models/{name}/recompute", post(models::recompute)),
        ("/v1/openapi.json", get(openapi::openapi)),
        ("/v1/stream", get(stream::stream)),
        ("/v1/subscriptions", get(subscriptions::list)),
        ("/v1/subscriptions/{name}", get(subscriptions::show).put(subscriptions::create).delete(subscriptions::delete)),
        ("/v1/subscriptions/{name}/commit", post(subscriptions::commit)),
        ("/v1/subscriptions/{name}/fetch", post(subscriptions::fetch)),
        ("/v1/subscriptions/{name}/reset", post(subscriptions::reset)),
        ("/v1/what-if", post(models::what_if)),
    ]
}

fn router(api: Api, names: AllowedHosts) -> Router {
    let health = api.state.health.clone();
    let keep_reserve = axum::middleware::from_fn_with_state(Arc::clone(&api.budgets), budget::reserve::keep);
    let keep_origin = (Arc::new(names), Arc::clone(&api.budgets));
    let keep_origin = axum::middleware::from_fn_with_state(keep_origin, origin::keep);
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, route)| router.route(path, route))
        .merge(crate::web::router())
        .method_not_allowed_fallback(async || {
            let remedy = "/v1/openapi.json lists the methods of every path";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support the method", remedy)
        })
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(64).collect();
            let remedy = "/v1/openapi.json lists all paths; the web page is at /";
            Problem::new(StatusCode::NOT_FOUND, format!("there is no {path:?}"), remedy)
        })
        .with_state(api)
        .layer(map_response(move |answer: Response| {
            if answer.status().is_client_error() {
                health.counters.requests_refused.count();
            }
            std::future::ready(answer)
        }))
        .layer(keep_reserve)
        .layer(keep_origin)
        // Streams of server-sent events stay as they are: every event is to go out at once.
        .layer(CompressionLayer::new())
}

#[cfg(test)]
mod tests;
