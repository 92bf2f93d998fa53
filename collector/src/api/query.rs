//! The query of `/v1/events` and `/v1/stream`: every name and value is checked, and none is passed over in silence.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::limits::EVENTS_DEFAULT;
use crate::subscribe::{Filter, Start};

/// What a reader asks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) from: Option<Start>,
    pub(super) limit: u64,
    pub(super) filter: Filter,
}

/// Whether `limit` makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Taken,
    Refused,
}

impl Query {
    /// Reads a query, as it stands behind the `?`.
    pub(super) fn parse(query: Option<&str>, takes_limit: Limit) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|e| {
            let remedy = "write it as name=value&name=value, in UTF-8, with % escapes";
            Problem::new(StatusCode::BAD_REQUEST, format!("the query cannot be read: {e}"), remedy)
        })?;
        let (mut from, mut limit) = (None, EVENTS_DEFAULT);
        let (mut subject, mut types, mut sources) = (None, None, None);
        for (name, value) in &pairs {
            match name.as_str() {
                "from" => from = Some(value.parse()?),
                "limit" if takes_limit == Limit::Taken => limit = parse_limit(value)?,
                "subject" => subject = Some(value.as_str()),
                "type" => types = Some(value.as_str()),
                "source" => sources = Some(value.as_str()),
                _ => return Err(unknown(name, takes_limit)),
            }
        }
        Ok(Self { from, limit, filter: Filter::new(subject, types, sources)? })
    }
}

fn parse_limit(value: &str) -> Result<u64, Problem> {
    match value {
        "all" => Ok(u64::MAX),
        _ => value.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| {
            let detail = format!("`limit`: {:?} is not a number of events", shortened(value));
            Problem::new(StatusCode::BAD_REQUEST, detail, "give a whole number from 1 on, or `all`")
        }),
    }
}

fn unknown(name: &str, takes_limit: Limit) -> Problem {
    let known = match takes_limit {
        Limit::Taken => "from, limit, subject, type and source",
        Limit::Refused => "from, subject, type and source",
    };
    let detail = format!("the parameter {:?} is not known here", shortened(name));
    Problem::new(StatusCode::BAD_REQUEST, detail, format!("known are {known}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_where_how_many_and_which() {
        let query = Query::parse(Some("from=42&limit=all&subject=88-C%2F**&type=alarm"), Limit::Taken).unwrap();
        assert_eq!(query.from, Some("42".parse().unwrap()));
        assert_eq!(query.limit, u64::MAX);
        assert!(query.filter.takes_event("88-C/a", "afferent.alarm.v1"));
        assert_eq!(Query::parse(None, Limit::Taken).unwrap().limit, EVENTS_DEFAULT);
    }

    #[test]
    fn what_a_query_says_wrong_is_refused_by_name() {
        for (query, named) in [
            ("from=x", "`from`"),
            ("limit=0", "`limit`"),
            ("limit=-1", "`limit`"),
            ("limit=99999999999999999999", "`limit`"),
            ("form=1", "\"form\""),
            ("subject=%5B", "subject pattern"),
        ] {
            let problem = Query::parse(Some(query), Limit::Taken).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
        assert!(Query::parse(Some("limit=1"), Limit::Refused).is_err(), "a stream has no limit");
    }
}
