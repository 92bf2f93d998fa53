//! Queries: each handler has one type for its parameters, which serde reads and utoipa documents. Every name and value
//! is checked.
//!
//! - `text`: names and values as serde reads them, and what is wrong with one ([`QueryError`])
//! - [`values`]: what a value can be
//! - [`filter`]: the parameters that choose events; [`part`]: those that choose a part of the log
//!
//! A refusal names the parameter, its value, what is allowed, and a query that is right. What is not known is refused,
//! and so is a parameter that is given twice, unless its type is a list.

pub(super) mod filter;
pub(super) mod part;
mod text;
pub(super) mod values;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::limits::REFUSED_TEXT_CHARS_MAX;
pub(super) use text::QueryError;

/// Names and values as they were given, decoded.
pub(super) type Pairs = Vec<(String, String)>;

/// The parameters of a handler.
pub(super) trait Parameters: DeserializeOwned {
    /// A query that is right, for the remedy of a refusal; empty where there are no parameters.
    const EXAMPLE: &'static str;
}

/// The query of a request.
pub(super) struct Query<T> {
    /// What it asks for.
    pub asked: T,
    /// The same as it was written; a cursor belongs to that.
    pub pairs: Pairs,
}

impl<S: Sync, T: Parameters> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(parts.uri.query().unwrap_or_default())
    }
}

impl<T: Parameters> Query<T> {
    /// Reads what stands behind the `?`.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let pairs = pairs(query).map_err(|error| refused::<T>(&error))?;
        let asked = text::read(&pairs).map_err(|error| refused::<T>(&error))?;
        Ok(Self { asked, pairs })
    }
}

/// A query that cannot be answered as it stands.
pub(super) fn refused<T: Parameters>(error: &QueryError) -> Problem {
    let remedy = match (error, T::EXAMPLE) {
        (_, "") => "leave the query out".to_owned(),
        (QueryError::Unknown { known, .. }, _) => format!("the parameters are {}", known.join(", ")),
        (_, example) => format!("write it as {example}; in a URL write + as %2B"),
    };
    Problem::new(StatusCode::BAD_REQUEST, error.to_string(), remedy)
}

fn pairs(query: &str) -> Result<Pairs, QueryError> {
    serde_urlencoded::from_str(query).map_err(|error| QueryError::Unreadable(error.to_string()))
}

/// As much of a text as an answer repeats.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(REFUSED_TEXT_CHARS_MAX).collect()
}

/// The query of a handler without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl Parameters for Nothing {
    const EXAMPLE: &'static str = "";
}

#[cfg(test)]
mod tests;
