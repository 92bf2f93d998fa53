//! Work that blocks, on threads that may.

use axum::http::StatusCode;
use tokio::task::JoinError;

use super::problem::Problem;

/// Runs work that blocks, and returns what it returns.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}

pub(super) fn panicked(error: JoinError) -> Problem {
    tracing::error!(%error, "reading the log failed with a panic");
    let remedy = "report it with the collector's log; retry the request";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "reading the log failed", remedy)
}
