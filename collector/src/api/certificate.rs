//! `GET /v1/certificate`: what the log proves about a source or a machine in a span of time.

use std::ops::ControlFlow;
use std::sync::Arc;

use afferent_protocol::event::Kind;
use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::sign::PublicKey;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::accept::{self, Offer};
use super::budget::Client;
use super::budget::computing::{Computation, JSON};
use super::problem::Problem;
use super::query::values::{MachineName, list, optional, required};
use super::query::{Parameters, Query, QueryError, refused};
use super::state::Api;
use crate::certificate::{About, Certificate, CertificateError, CheckMaterial, Evidence, Span, by_extracts, text};
use crate::log::address::Partition;
use crate::log::events::{Hole, Walk, WalkItem};
use crate::log::{Kinds, NameHash, ReadLog, Trust, Wanted};
use crate::models::runner::{Cancel, ReplayError};

/// Whether the certificate is complete: `true` or `false`.
pub const COMPLETE: HeaderName = HeaderName::from_static("afferent-complete");
/// The verdict: `complete`, `incomplete` or `refuted`.
pub const VERDICT: HeaderName = HeaderName::from_static("afferent-verdict");

/// The subject and the span of the certificate.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CertificateQuery {
    /// The agent to certify; exclusive with `machine`.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    source: Option<SourceId>,
    /// The machine to certify, the first level of its subjects; exclusive with `source`.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    machine: Option<MachineName>,
    /// Start of the span, inclusive, by the source's clock (RFC 3339).
    #[serde(deserialize_with = "required")]
    #[param(value_type = String)]
    from: Timestamp,
    /// End of the span, exclusive (RFC 3339).
    #[serde(deserialize_with = "required")]
    #[param(value_type = String)]
    until: Timestamp,
    /// The partition of the log; the first one by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
    /// The collector's public key, hexadecimal, if the reader knows it; repeated for each key.
    #[serde(default, deserialize_with = "list")]
    #[param(value_type = Vec<String>, required = false)]
    key: Vec<PublicKey>,
}

impl Parameters for CertificateQuery {
    const EXAMPLE: &'static str =
        "/v1/certificate?source=press-88&from=2021-09-13T00:00:00Z&until=2021-09-14T00:00:00Z";
}

impl CertificateQuery {
    fn about(&self) -> Result<About, Problem> {
        match (self.source, &self.machine) {
            (Some(source), None) => Ok(About::Source(source)),
            (None, Some(MachineName(machine))) => Ok(About::Machine(machine.clone())),
            (None, None) => Err(refused::<Self>(&QueryError::Missing("source` or `machine"))),
            (Some(_), Some(_)) => Err(refused::<Self>(&QueryError::Together("source", "machine"))),
        }
    }
}

/// The format of a certificate.
#[derive(Clone, Copy)]
enum CertificateFormat {
    Json,
    Text,
}

const FORMS: [Offer<CertificateFormat>; 2] = [
    Offer { media: JSON, alias: None, answer: CertificateFormat::Json },
    Offer { media: "text/plain", alias: None, answer: CertificateFormat::Text },
];

/// Returns the certificate, as JSON, or as text if `Accept` prefers `text/plain`. Unusual questions make the collector
/// read the whole log.
#[utoipa::path(get, path = "/v1/certificate", tag = "sources", params(CertificateQuery),
    responses((status = 200, description = "The certificate", content(
        (Certificate = "application/json"), (String = "text/plain")),
        headers(("afferent-complete" = bool), ("afferent-verdict" = String))), Problem))]
pub(super) async fn certificate(
    State(api): State<Api>,
    client: Client,
    Query { asked, .. }: Query<CertificateQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = accept::choose(&headers, &FORMS)?;
    let (about, span) = (asked.about()?, Span { from: asked.from, until: asked.until });
    let (own, key) = api.state.own;
    let trust = if asked.key.is_empty() { Trust::Answering(key) } else { Trust::Named(asked.key) };
    let means = CheckMaterial { trust, ..CheckMaterial::default() };
    let evidence = Evidence::new(about.clone(), span, own, means.clone()).map_err(Problem::from)?;
    let held = api.held_by(asked.partition, None)?.clone();
    let log = held.reader.clone_reader();
    let made = move |cancel: &Cancel| match by_extracts(&*log, &about, span, own, &means) {
        Some(certificate) => certificate.map_err(Problem::from),
        None => by_entries(&log, evidence, cancel),
    };
    let certificate = api.budgets.computed(Computation::Certificate, &client, made).await?;
    let certificate = certificate.with_rings(&held.sources.all());
    let complete = HeaderValue::from_static(if certificate.complete { "true" } else { "false" });
    let verdict = HeaderValue::from_static(certificate.verdict.name());
    let mut answer = match form {
        CertificateFormat::Json => Json(certificate).into_response(),
        CertificateFormat::Text => text::text(&certificate).into_response(),
    };
    answer.headers_mut().insert(COMPLETE, complete);
    answer.headers_mut().insert(VERDICT, verdict);
    Ok(answer)
}

/// By all of the log.
fn by_entries(log: &Arc<dyn ReadLog>, mut evidence: Evidence, cancel: &Cancel) -> Result<Certificate, Problem> {
    look_ahead(log, &mut evidence, cancel)?;
    let walked = Walk::over(&**log, log.kept()).run(&mut Vec::new(), &mut |part| {
        match part {
            WalkItem::Entry(entry) => evidence.batch(entry.head, entry.batch),
            WalkItem::Hole(Hole { addresses, .. }) => evidence.hole(addresses.offsets.start, addresses.offsets.end),
            // Evidence itself sees whether it had begun before that.
            WalkItem::Removed(_) => {}
        }
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if walked.is_break() || cancel.is_cancelled() {
        return Err(ReplayError::Cancelled.into());
    }
    evidence.certificate().map_err(Problem::from)
}

/// Which names belong together stands behind what they had sent; and where the beginning is not kept, so do keys.
fn look_ahead(log: &Arc<dyn ReadLog>, evidence: &mut Evidence, cancel: &Cancel) -> Result<(), Problem> {
    let sources = log.collector_name().iter().map(|own| NameHash::source(own.as_str())).collect();
    let wanted = Wanted { kinds: Kinds::of_type(Kind::LifeCycle.type_name()), sources, ..Wanted::default() };
    let walked = Walk::over(&**log, log.kept()).wanting(&wanted).run(&mut Vec::new(), &mut |part| {
        if let WalkItem::Entry(entry) = part {
            evidence.ahead(entry.head, entry.batch);
        }
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if walked.is_break() || cancel.is_cancelled() {
        return Err(ReplayError::Cancelled.into());
    }
    Ok(())
}

impl From<CertificateError> for Problem {
    fn from(error: CertificateError) -> Self {
        let (status, remedy) = match error {
            CertificateError::Unknown(_) => (StatusCode::NOT_FOUND, "GET /v1/agents lists the sources"),
            CertificateError::Span => (StatusCode::BAD_REQUEST, "give `from` before `until`"),
        };
        Self::new(status, error.to_string(), remedy)
    }
}
