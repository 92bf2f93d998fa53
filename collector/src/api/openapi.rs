//! `GET /v1/openapi.json`: what this API takes and gives, in OpenAPI's words. A test holds it against the router.

use axum::Json;
use serde::Deserialize;
use utoipa::{IntoParams, IntoResponses, OpenApi, ToSchema};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Afferent collector",
        description = "One unified, immutable, replayable log of what all agents sent. In JSON a whole number beyond 2^53 is a \
            text of its digits, as most readers keep numbers as doubles; `valuetype` is `integer` beside such a `value` of a \
            sample. An offset is always such a text, and so is the attribute `sequence` of an event. The `data` of a posted \
            event is given back as it was written."
    ),
    paths(
        super::agents::agents,
        super::agents::replace_key,
        super::agents::retire,
        super::certificate::certificate,
        super::events::events,
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
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written elsewhere")]
pub(super) struct ProblemDocument {
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong, and where.
    detail: String,
    /// What to do.
    remedy: String,
    /// Which event of the request it is about, from 1 on, where it is about one.
    event: Option<u64>,
}

/// What any request can be answered with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what is written elsewhere")]
pub(super) enum Refusals {
    /// The request cannot be read, or contradicts itself.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] ProblemDocument),
    /// A page of another origin asks for a change.
    #[response(status = 403, content_type = "application/problem+json")]
    OtherOrigin(#[to_schema] ProblemDocument),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(#[to_schema] ProblemDocument),
    /// It is not to be had in what `Accept` names.
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(#[to_schema] ProblemDocument),
    /// The body did not come, or too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(#[to_schema] ProblemDocument),
    /// It contradicts what is there.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] ProblemDocument),
    /// The place is not kept any more.
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(#[to_schema] ProblemDocument),
    /// More than is taken.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemDocument),
    /// A body in something else than what is taken.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(#[to_schema] ProblemDocument),
    /// The place is not written yet.
    #[response(status = 416, content_type = "application/problem+json")]
    Beyond(#[to_schema] ProblemDocument),
    /// `Host` is no name of this collector.
    #[response(status = 421, content_type = "application/problem+json")]
    OtherHost(#[to_schema] ProblemDocument),
    /// It can be read and cannot be taken.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemDocument),
    /// Too much of one client address at the same time; `Retry-After` says when to ask again.
    #[response(status = 429, content_type = "application/problem+json", headers(("retry-after" = u64)))]
    TooMany(#[to_schema] ProblemDocument),
    /// The log cannot be read.
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(#[to_schema] ProblemDocument),
    /// Not now: it stops, begins, its disk refuses, or clients have taken all there is; then `Retry-After` says when to ask
    /// again.
    #[response(status = 503, content_type = "application/problem+json")]
    NotNow(#[to_schema] ProblemDocument),
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read elsewhere")]
pub(super) struct EventsQuery {
    /// Where to begin: an offset, a place (`OFFSET@TERM.LOG`), a time (RFC 3339), `first` or `end`. The oldest event by
    /// default. A plain offset is not checked: in a log that was put back to an earlier state it means another event than
    /// before. A place is, and refused with 409 when it does not hold any more. Nothing that was ingested before a time is
    /// given, also when it is still to come.
    #[param(example = "first")]
    from: Option<String>,
    /// Where to end, as `from`; what is there is not given any more. The log's end of this moment by default. Before an
    /// ingest time comes everything that was appended before it, also when the collector's clock was set meanwhile.
    until: Option<String>,
    /// Which time `from` and `until` mean: `ingest`, when the collector appended it, or `event`, when it happened.
    #[param(inline)]
    time: Option<Time>,
    /// How many events at most, from 1 on; 1000 by default; `all` for all of them.
    #[param(example = "1000")]
    limit: Option<String>,
    /// The header `afferent-next-cursor` of the page before, with the same other parameters. Refused with 409 when the log
    /// was put back to an earlier state meanwhile, so that it does not hold any more.
    cursor: Option<String>,
    /// Only these subjects: `*` stands for one level, `**` for several.
    #[param(example = "88-C/**")]
    subject: Option<String>,
    /// Only these types, with commas; `breakdown` for `afferent.breakdown.v1`.
    r#type: Option<String>,
    /// Only these sources, with commas.
    source: Option<String>,
    /// Only these severities, as `error` or `warning..`.
    #[param(example = "warning..")]
    severity: Option<String>,
}

/// The two times.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Time {
    Ingest,
    Event,
}

/// Which events to follow.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read elsewhere")]
pub(super) struct StreamQuery {
    /// Where to begin: an offset (not checked), a place (`OFFSET@TERM.LOG`; the `id` of an event is its place), a time
    /// (RFC 3339), `first` or `end`. After the newest event by default. A time to come is waited for.
    from: Option<String>,
    /// Only these subjects: `*` stands for one level, `**` for several.
    subject: Option<String>,
    /// Only these types, with commas; `breakdown` for `afferent.breakdown.v1`.
    r#type: Option<String>,
    /// Only these sources, with commas.
    source: Option<String>,
    /// Only these severities, as `error` or `warning..`.
    severity: Option<String>,
    /// Whenever nothing was sent for so many seconds (1 to 15), an event named `heartbeat` comes, with the collector's
    /// time in its data. Without it a comment comes every 15 s, which browsers pass on to nobody.
    #[param(minimum = 1, maximum = 15)]
    heartbeat: Option<u64>,
}
