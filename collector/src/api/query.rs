//! The query of `/v1/events` and `/v1/stream`: every name and value is checked, and none is passed over in silence.

use std::time::Duration;

use afferent_protocol::ids::Timestamp;
use axum::http::StatusCode;

use super::cursor::Cursor;
use super::problem::Problem;
use crate::limits::{EVENTS_DEFAULT, KEEP_ALIVE_TIME};
use crate::log::TimeKind;
use crate::subscribe::{Filter, Start};

/// What a reader asks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) from: Option<Start>,
    pub(super) until: Option<Start>,
    /// Which time is meant where `from` or `until` is one.
    pub(super) time: TimeKind,
    pub(super) limit: u64,
    pub(super) filter: Filter,
    pub(super) cursor: Option<Cursor>,
    /// How often a stream says that it is alive in an event of its own, instead of in comments.
    pub(super) heartbeat: Option<Duration>,
    /// Everything that was asked, as it was asked.
    pub(super) pairs: Vec<(String, String)>,
}

/// Whether a part of the log is asked for, or everything from somewhere on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Part,
    Stream,
}

impl Query {
    /// Reads a query, as it stands behind the `?`.
    pub(super) fn parse(query: Option<&str>, asked: Asked) -> Result<Self, Problem> {
        let pairs = pairs(query)?;
        let is_part = asked == Asked::Part;
        let (mut from, mut until, mut time, mut limit) = (None, None, TimeKind::Ingest, EVENTS_DEFAULT);
        let (mut subject, mut types, mut sources) = (None, None, None);
        let (mut severity, mut cursor, mut heartbeat) = (None, None, None);
        for (at, (name, value)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(before, _)| before == name) {
                let detail = format!("the parameter {:?} is given twice", shortened(name));
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail, "give it once; lists have commas"));
            }
            match name.as_str() {
                "from" => from = Some(value.parse()?),
                "until" if is_part => until = Some(value.parse().map_err(Problem::of_until)?),
                "time" if is_part => time = parse_time(value)?,
                "limit" if is_part => limit = parse_limit(value)?,
                "cursor" if is_part => cursor = Some(Cursor::read(value, &pairs)?),
                "heartbeat" if !is_part => heartbeat = Some(parse_heartbeat(value)?),
                "subject" => subject = Some(value.as_str()),
                "type" => types = Some(value.as_str()),
                "source" => sources = Some(value.as_str()),
                "severity" => severity = Some(value.as_str()),
                _ => return Err(unknown(name, asked)),
            }
        }
        let mut filter = Filter::new(subject, types, sources)?;
        if let Some(severity) = severity {
            filter = filter.with_severity(severity)?;
        }
        let query = Self { from, until, time, limit, filter, cursor, heartbeat, pairs };
        query.check_order()?;
        Ok(query.with_event_time())
    }

    /// Two places of the same kind must stand in order.
    fn check_order(&self) -> Result<(), Problem> {
        let offset = |start: Start| match start {
            Start::Offset(offset) => Some(offset),
            Start::Place(place) => Some(place.offset),
            _ => None,
        };
        let is_wrong = match (self.from, self.until) {
            (Some(Start::Time(from)), Some(Start::Time(until))) => until < from,
            (Some(from), Some(until)) => offset(from).zip(offset(until)).is_some_and(|(from, until)| until < from),
            _ => false,
        };
        if is_wrong {
            let detail = "`until` lies before `from`";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail, "give the earlier place as `from`"));
        }
        Ok(())
    }

    /// Event times are no places in the log: they choose among all its events.
    fn with_event_time(mut self) -> Self {
        if self.time == TimeKind::Ingest {
            return self;
        }
        let time = |place: &mut Option<Start>| match *place {
            Some(Start::Time(time)) => {
                *place = None;
                Some(time)
            }
            _ => None,
        };
        let (from, until) = (time(&mut self.from), time(&mut self.until));
        if from.is_some() || until.is_some() {
            let end = Timestamp::clamped(i64::MAX);
            self.filter = self.filter.with_event_time(from.unwrap_or_default(), until.unwrap_or(end));
        }
        self
    }
}

/// Names and values of a query, as it stands behind the `?`.
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    serde_urlencoded::from_str(query.unwrap_or_default()).map_err(|e| {
        let remedy = "write it as name=value&name=value, in UTF-8, with % escapes";
        Problem::new(StatusCode::BAD_REQUEST, format!("the query cannot be read: {e}"), remedy)
    })
}

fn parse_time(value: &str) -> Result<TimeKind, Problem> {
    match value {
        "ingest" => Ok(TimeKind::Ingest),
        "event" => Ok(TimeKind::Event),
        _ => {
            let detail = format!("`time`: {:?} is neither of the two times", shortened(value));
            let remedy = "give `ingest`, when the collector appended it, or `event`, when it happened";
            Err(Problem::new(StatusCode::BAD_REQUEST, detail, remedy))
        }
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

fn parse_heartbeat(value: &str) -> Result<Duration, Problem> {
    let seconds = value.parse().ok().filter(|seconds| (1..=KEEP_ALIVE_TIME.as_secs()).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let detail = format!("`heartbeat`: {:?} is not a number of seconds", shortened(value));
        let remedy = format!("give a whole number from 1 to {}", KEEP_ALIVE_TIME.as_secs());
        Problem::new(StatusCode::BAD_REQUEST, detail, remedy)
    })
}

fn unknown(name: &str, asked: Asked) -> Problem {
    let known = match asked {
        Asked::Part => "from, until, time, limit, cursor, subject, type, source and severity",
        Asked::Stream => "from, subject, type, source, severity and heartbeat",
    };
    let detail = format!("the parameter {:?} is not known here", shortened(name));
    Problem::new(StatusCode::BAD_REQUEST, detail, format!("known are {known}"))
}

/// As much of a text as an answer repeats.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_where_how_many_and_which() {
        let query = Query::parse(Some("from=42&limit=all&subject=88-C%2F**&type=alarm"), Asked::Part).unwrap();
        assert_eq!(query.from, Some("42".parse().unwrap()));
        assert_eq!(query.limit, u64::MAX);
        assert!(query.filter.takes_event("88-C/a", "afferent.alarm.v1"));
        assert_eq!(Query::parse(None, Asked::Part).unwrap().limit, EVENTS_DEFAULT);
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
            ("until=x", "`until`"),
            ("from=5&until=4", "`until`"),
            ("time=now", "`time`"),
            ("severity=17", "severity"),
            ("cursor=1042", "`cursor`"),
            ("from=1&from=2", "twice"),
        ] {
            let problem = Query::parse(Some(query), Asked::Part).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
        assert!(Query::parse(Some("limit=1"), Asked::Stream).is_err(), "a stream has no limit");
    }
}
