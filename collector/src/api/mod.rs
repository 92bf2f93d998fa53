//! What readers get over HTTP.

mod state;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

pub use state::ApiState;

use crate::shutdown::Stopping;

/// Serves until the collector stops.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, state: ApiState, mut stopping: Stopping) -> std::io::Result<()> {
    let router = Router::new().route("/healthz", get(healthz)).with_state(state);
    axum::serve(listener, router).with_graceful_shutdown(async move { stopping.wait().await }).await
}

async fn healthz(State(state): State<ApiState>) -> (StatusCode, String) {
    match state.health.verdict() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
