//! `GET /v1/certificate`: what the log proves about a source or a machine in a span of time.

use std::ops::ControlFlow;
use std::sync::Arc;

use afferent_protocol::event::Kind;
use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::sign::PublicKey;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::budget::Client;
use super::budget::computing::Computation;
use super::problem::Problem;
use super::state::Api;
use crate::certificate::{About, Certificate, CertificateError, Evidence, Means, Span, by_extracts, text};
use crate::data_directory::parse_public_key as public_key;
use crate::log::events::{Hole, Part, Walk};
use crate::log::{Kinds, NameHash, ReadLog, Trust, Wanted};
use crate::models::runner::{Cancel, ReplayError};

/// Whether the proof is complete: `true` or `false`, as in the certificate.
pub const COMPLETE: HeaderName = HeaderName::from_static("afferent-complete");
/// The verdict: `complete`, `incomplete` or `refuted`.
pub const VERDICT: HeaderName = HeaderName::from_static("afferent-verdict");

/// Of whom, and of which span.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read elsewhere")]
pub(super) struct CertificateQuery {
    /// The agent that it is about; or `machine`.
    source: Option<String>,
    /// The machine that it is about, the first level of subjects; or `source`.
    machine: Option<String>,
    /// The first instant by the source's clock (RFC 3339).
    from: String,
    /// The first instant after it.
    until: String,
    /// The collector's public key, hexadecimal, if it is to be held to one that the reader knows.
    key: Option<String>,
}

/// Answers with the certificate, as JSON, or as text for whoever accepts `text/plain`. What is unusual
/// takes reading the whole log.
#[utoipa::path(get, path = "/v1/certificate", tag = "sources", params(CertificateQuery),
    responses((status = 200, description = "What the log proves", content(
        (Object = "application/json"), (String = "text/plain")), headers(("afferent-complete" = bool), ("afferent-verdict" = String))),
        super::openapi::Refusals))]
pub(super) async fn certificate(
    State(api): State<Api>,
    client: Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { about, span, keys } = parse(query.as_deref())?;
    let (own, key) = api.state.own;
    let trust = if keys.is_empty() { Trust::Answering(key) } else { Trust::Named(keys) };
    let means = Means { trust, ..Means::default() };
    let evidence = Evidence::new(about.clone(), span, own, means.clone()).map_err(Problem::from)?;
    let log = api.log();
    let made = move |cancel: &Cancel| match by_extracts(&*log, &about, span, own, &means) {
        Some(certificate) => certificate.map_err(Problem::from),
        None => by_entries(&log, evidence, cancel),
    };
    let certificate = api.budgets.computed(Computation::Certificate, &client, made).await?;
    let certificate = certificate.with_rings(&api.held().sources.borrow().clone());
    let wants_text = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    let complete = HeaderValue::from_static(if certificate.complete { "true" } else { "false" });
    let verdict = HeaderValue::from_static(certificate.verdict.name());
    let mut answer =
        if wants_text { text::text(&certificate).into_response() } else { Json(certificate).into_response() };
    answer.headers_mut().insert(COMPLETE, complete);
    answer.headers_mut().insert(VERDICT, verdict);
    Ok(answer)
}

/// By all of the log.
fn by_entries(log: &Arc<dyn ReadLog>, mut evidence: Evidence, cancel: &Cancel) -> Result<Certificate, Problem> {
    look_ahead(log, &mut evidence, cancel)?;
    let walked = Walk::over(&**log, log.kept()).run(&mut Vec::new(), &mut |part| {
        match part {
            Part::Entry(entry) => evidence.batch(entry.head, entry.batch),
            Part::Hole(Hole { addresses, .. }) => evidence.hole(addresses.offsets.start, addresses.offsets.end),
            // Evidence itself sees whether it had begun before that.
            Part::Removed(_) => {}
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
    let sources = log.own().iter().map(|own| NameHash::source(own.as_str())).collect();
    let wanted = Wanted { kinds: Kinds::of_type(Kind::LifeCycle.type_name()), sources, ..Wanted::default() };
    let walked = Walk::over(&**log, log.kept()).wanting(&wanted).run(&mut Vec::new(), &mut |part| {
        if let Part::Entry(entry) = part {
            evidence.ahead(entry.head, entry.batch);
        }
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if walked.is_break() || cancel.is_cancelled() {
        return Err(ReplayError::Cancelled.into());
    }
    Ok(())
}

/// What a query asks for.
struct Asked {
    about: About,
    span: Span,
    keys: Vec<PublicKey>,
}

fn parse(query: Option<&str>) -> Result<Asked, Problem> {
    let refused = |detail: String| {
        let remedy =
            "write ?source=press-88 or ?machine=88-C, and &from=2021-09-13T00:00:00Z&until=2021-09-14T00:00:00Z";
        Problem::new(StatusCode::BAD_REQUEST, detail, remedy)
    };
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default())
        .map_err(|error| refused(format!("the query cannot be read: {error}")))?;
    let (mut about, mut from, mut until, mut keys) = (None, None, None, Vec::new());
    for (name, value) in pairs {
        let shown: String = value.chars().take(64).collect();
        let time = || {
            let time: Result<jiff::Timestamp, _> = value.replace(' ', "+").parse();
            let time = time.map_err(|_| refused(format!("`{name}`: {shown:?} is not a time")))?;
            Ok::<_, Problem>(Some(Timestamp::clamped(time.as_microsecond())))
        };
        match name.as_str() {
            "source" | "machine" if about.is_some() => {
                return Err(refused("there is more than one `source` or `machine`".to_owned()));
            }
            "source" => {
                let source = SourceId::new(&value);
                let source = source.map_err(|error| refused(format!("`source`: {shown:?}: {error}")))?;
                about = Some(About::Source(source));
            }
            "machine" if !value.is_empty() && !value.contains('/') => about = Some(About::Machine(value)),
            "machine" => return Err(refused(format!("`machine`: {shown:?} is not the first level of a subject"))),
            "from" => from = time()?,
            "until" => until = time()?,
            "key" => {
                let key = public_key(&value).map_err(|error| refused(format!("`key`: {error}")))?;
                keys.push(key);
            }
            _ => {
                let name: String = name.chars().take(64).collect();
                return Err(refused(format!("the parameter {name:?} is not known here")));
            }
        }
    }
    let about = about.ok_or_else(|| refused("`source` or `machine` is missing".to_owned()))?;
    let from = from.ok_or_else(|| refused("`from` is missing".to_owned()))?;
    let until = until.ok_or_else(|| refused("`until` is missing".to_owned()))?;
    Ok(Asked { about, span: Span { from, until }, keys })
}

impl From<CertificateError> for Problem {
    fn from(error: CertificateError) -> Self {
        let (status, remedy) = match error {
            CertificateError::Unknown(_) => (StatusCode::NOT_FOUND, "look at /v1/agents for who is there"),
            CertificateError::Span => (StatusCode::BAD_REQUEST, "give `from` before `until`"),
        };
        Self::new(status, error.to_string(), remedy)
    }
}
