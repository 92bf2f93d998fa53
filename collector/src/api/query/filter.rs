//! The parameters that choose events, which several paths have in common.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::QueryError;
use crate::kinds;
use crate::subscribe::{Filter, FilterError};

/// What a list of types is, for the document: it names all types of ours.
pub(in crate::api) fn types_schema() -> Object {
    let known = kinds::short_names().join(", ");
    let words = format!("Separated by commas. The log's own types are {known}. Write a type of your own in full.");
    ObjectBuilder::new().schema_type(Type::String).description(Some(words)).build()
}

/// The texts of the filter parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::api) struct FilterTexts<'q> {
    /// A pattern of subjects.
    pub subject: Option<&'q str>,
    /// Types, with commas.
    pub types: Option<&'q str>,
    /// Sources, with commas.
    pub sources: Option<&'q str>,
    /// Severities, as `warning..`.
    pub severity: Option<&'q str>,
}

impl FilterTexts<'_> {
    /// The filter of all of them; a refusal names the one that it is about.
    pub(in crate::api) fn filter(self) -> Result<Filter, QueryError> {
        let Self { subject, types, sources, severity } = self;
        let of = |name: &'static str| {
            move |error: FilterError| QueryError::Because { name: name.to_owned(), why: error.to_string() }
        };
        Filter::new(subject, None, None).map_err(of("subject"))?;
        Filter::new(None, types, None).map_err(of("type"))?;
        let filter = Filter::new(subject, types, sources).map_err(of("source"))?;
        match severity {
            Some(severity) => filter.with_severity(severity).map_err(of("severity")),
            None => Ok(filter),
        }
    }
}
