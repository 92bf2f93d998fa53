//! `/v1/forwards`: how far other systems have the log, and the operator's orders.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::blocking::blocking;
use super::budget::Sent;
use super::problem::Problem;
use super::query::{Nothing, Query};
use super::state::Api;
use super::subscriptions::json;
use crate::forward::status::ForwardView;
use crate::forward::{Order, OrderError};
use crate::subscribe::Start;

/// A forward.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForwardReport {
    /// Its name.
    pub name: String,
    /// The kind of its destination, as `webhook`.
    pub sink: String,
    /// The destination, without secrets.
    pub target: String,
    /// Its partition of the log.
    pub partition: u32,
    /// `starting`, `running`, `retrying` (the last try failed), `paused`, or `stuck` (it needs an order).
    pub state: String,
    /// The first offset that is not delivered, decimal; null before its first start.
    pub offset: Option<String>,
    /// The same as a place (`OFFSET@TERM.LOG`).
    pub place: Option<String>,
    /// Offsets from there to the log's end, decimal.
    pub lag: String,
    /// Seconds since the oldest event that is not delivered was appended; 0 if all are delivered, null if unknown.
    pub lag_s: Option<f64>,
    /// Events delivered since the collector's start.
    pub delivered: u64,
    /// Events that the destination refused for good, since the collector's start.
    pub dead_letters: u64,
    /// Failed tries since the collector's start.
    pub failures: u64,
    /// The last failure since the collector's start, and what to do.
    pub last_error: Option<String>,
    /// Its time (RFC 3339).
    pub last_error_time: Option<String>,
    /// Seconds until the next try, while it is `retrying`.
    pub next_try_s: Option<f64>,
}

impl From<ForwardView> for ForwardReport {
    fn from(view: ForwardView) -> Self {
        let (last_error, at) = view.last_failure.map(|failure| (failure.text, failure.at)).unzip();
        Self {
            name: view.name,
            sink: view.sink.to_owned(),
            target: view.target,
            partition: view.partition.get(),
            state: view.phase.name().to_owned(),
            offset: view.checkpoint.map(|checkpoint| checkpoint.next().to_string()),
            place: view.checkpoint.map(|checkpoint| checkpoint.place.to_string()),
            lag: view.lag.to_string(),
            lag_s: view.lag_s,
            delivered: view.delivered,
            dead_letters: view.dead,
            failures: view.failures,
            last_error,
            last_error_time: at.map(super::agents::text),
            next_try_s: view.next_try_s,
        }
    }
}

/// A new place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rewind {
    /// An offset (not checked), a place (`OFFSET@TERM.LOG`), a time (RFC 3339), `first` or `end`.
    to: String,
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let (status, remedy) = match error {
            // Only a rewind has a place.
            OrderError::Start(error) => return Self::of_place("to", error),
            OrderError::Unknown(_) => (StatusCode::NOT_FOUND, "GET /v1/forwards lists all of them"),
            OrderError::File(_) => (StatusCode::INTERNAL_SERVER_ERROR, "nothing was changed; retry the request"),
        };
        Self::new(status, error.to_string(), remedy)
    }
}

/// All forwards: how far they are, and their last errors.
#[utoipa::path(get, path = "/v1/forwards", tag = "forwards",
    responses((status = 200, description = "All forwards, in the order of the configuration",
        body = Vec<ForwardReport>), Problem))]
pub(super) async fn list(State(api): State<Api>, _: Query<Nothing>) -> Json<Vec<ForwardReport>> {
    Json(api.state.forwards.views().into_iter().map(ForwardReport::from).collect())
}

/// One forward.
#[utoipa::path(get, path = "/v1/forwards/{name}", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, description = "The forward", body = ForwardReport), Problem))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<Json<ForwardReport>, Problem> {
    Ok(Json(api.state.forwards.view(&name)?.into()))
}

/// Stops deliveries until the forward is resumed, also across restarts.
#[utoipa::path(post, path = "/v1/forwards/{name}/pause", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, description = "The forward is paused", body = ForwardReport), Problem))]
pub(super) async fn pause(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<Json<ForwardReport>, Problem> {
    order(api, name, Order::Pause).await
}

/// Resumes deliveries, from the first event that is not delivered; a forward that waits for its next try tries at once.
#[utoipa::path(post, path = "/v1/forwards/{name}/resume", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, description = "The forward delivers", body = ForwardReport), Problem))]
pub(super) async fn resume(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<Json<ForwardReport>, Problem> {
    order(api, name, Order::Resume).await
}

/// Sends the events of all dead letters of the forward again, before newer events.
#[utoipa::path(post, path = "/v1/forwards/{name}/replay-dead", tag = "forwards", params(("name" = String, Path)),
    responses((status = 200, description = "The dead letters will be sent again", body = ForwardReport), Problem))]
pub(super) async fn replay_dead(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<Json<ForwardReport>, Problem> {
    order(api, name, Order::ReplayDead).await
}

/// Moves the forward: it delivers again from this place on, or skips what is before it.
#[utoipa::path(post, path = "/v1/forwards/{name}/rewind", tag = "forwards", params(("name" = String, Path)),
    request_body = Rewind, responses(
        (status = 200, description = "The forward delivers from there", body = ForwardReport), Problem))]
pub(super) async fn rewind(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
    body: Sent,
) -> Result<Json<ForwardReport>, Problem> {
    let Rewind { to } = json(body).await?;
    let to: Start = to.parse().map_err(|error| Problem::of_place_text("to", &error))?;
    order(api, name, Order::Rewind(to)).await
}

async fn order(api: Api, name: String, order: Order) -> Result<Json<ForwardReport>, Problem> {
    let forwards = api.state.forwards;
    let view = blocking(move || forwards.order(&name, order)).await??;
    Ok(Json(view.into()))
}
