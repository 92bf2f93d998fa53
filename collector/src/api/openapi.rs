//! `GET /v1/openapi.json`: what this API takes and gives, in OpenAPI's words. A test holds it against the router.

use axum::Json;
use utoipa::OpenApi;

use super::query::{Nothing, Query};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Afferent collector",
        description = "The unified log: every event that the agents have sent, immutable, ordered and replayable. In \
                       JSON a whole number beyond 2^53 is a string of its digits, as most readers keep numbers as \
                       doubles; `valuetype` is `integer` beside such a `value` of a sample. An offset is always such a \
                       string, and so is the attribute `sequence` of an event. The `data` of a posted event is \
                       returned as it was written."
    ),
    components(schemas(super::problem::ProblemDocument)),
    paths(
        super::agents::agents,
        super::agents::replace_key,
        super::agents::retire,
        super::certificate::certificate,
        super::events::events,
        super::forwards::list,
        super::forwards::pause,
        super::forwards::replay_dead,
        super::forwards::resume,
        super::forwards::rewind,
        super::forwards::show,
        super::health::healthz,
        super::metrics::metrics,
        super::models::diff,
        super::models::list,
        super::models::recompute,
        super::models::state,
        super::models::what_if,
        openapi,
        super::publish::publish,
        super::stream::stream,
        super::subscriptions::commit,
        super::subscriptions::create,
        super::subscriptions::delete,
        super::subscriptions::fetch,
        super::subscriptions::list,
        super::subscriptions::reset,
        super::subscriptions::show,
    )
)]
pub(super) struct Document;

/// The document of this version.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "about",
    responses((status = 200, description = "This document", body = Object)))]
pub(super) async fn openapi(_: Query<Nothing>) -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
