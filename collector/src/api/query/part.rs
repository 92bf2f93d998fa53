//! The query of `/v1/events`: which part of the log, and which events of it.

use afferent_protocol::ids::Timestamp;
use axum::http::StatusCode;
use serde::Deserialize;

use super::filter::{FilterTexts, types_schema};
use super::values::{Limit, optional};
use super::{Pairs, Parameters, Query, refused};
use crate::api::cursor::PageCursor;
use crate::api::problem::Problem;
use crate::limits::EVENTS_DEFAULT;
use crate::log::TimeKind;
use crate::log::address::Partition;
use crate::subscribe::{Filter, Start};

/// Which events.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// Start: an offset, a place (`OFFSET@TERM.LOG`), a time (RFC 3339), `first` or `end`; the oldest event by default.
    /// A plain offset is not checked: in a log that was restored to an earlier state it may be another event than
    /// before. A place is checked, and refused with 409 if it no longer exists. With a time, events that were ingested
    /// before it are left out, also if it is in the future.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>, example = "first")]
    from: Option<Start>,
    /// The partition of the log; by default that of the place in `from`, or the first one.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
    /// End, exclusive, in the same forms as `from`; the present end of the log by default. An ingest time ends after
    /// everything that was appended before it, even if the collector's clock was set meanwhile.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    until: Option<Start>,
    /// The time that `from` and `until` mean: `ingest`, when the collector appended the event, or `event`, when it
    /// happened.
    #[param(inline)]
    time: Option<TimeKind>,
    /// The largest number of events, from 1 on, or `all`; 1000 by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>, example = "1000")]
    limit: Option<Limit>,
    /// The header `afferent-next-cursor` of the previous page, with otherwise the same parameters. Refused with 409 if
    /// the log was restored to an earlier state since, so that it no longer holds.
    cursor: Option<String>,
    /// Only these subjects: `*` matches one level, `**` any number.
    #[param(example = "88-C/**")]
    subject: Option<String>,
    /// Only these types, separated by commas; `breakdown` means `afferent.breakdown.v1`.
    #[param(schema_with = types_schema)]
    r#type: Option<String>,
    /// Only these sources, separated by commas.
    source: Option<String>,
    /// Only these severities, as `error` or `warning..`.
    #[param(example = "warning..")]
    severity: Option<String>,
}

impl Parameters for EventsQuery {
    const EXAMPLE: &'static str =
        "/v1/events?from=first&limit=1000&subject=88-C/**&type=breakdown,alarm&severity=warning..";
}

/// Which part of the log is asked for, and which events of it.
#[derive(Clone, Debug)]
pub(in crate::api) struct EventsRequest {
    pub partition: Option<Partition>,
    pub from: Option<Start>,
    pub until: Option<Start>,
    pub limit: u64,
    pub filter: Filter,
    pub cursor: Option<PageCursor>,
    /// Everything that was asked, as it was asked.
    pub pairs: Pairs,
}

impl Query<EventsQuery> {
    /// What is asked for, as far as that can be known without the log.
    pub(in crate::api) fn part(self) -> Result<EventsRequest, Problem> {
        let Self { asked, pairs } = self;
        let chosen = FilterTexts {
            subject: asked.subject.as_deref(),
            types: asked.r#type.as_deref(),
            sources: asked.source.as_deref(),
            severity: asked.severity.as_deref(),
        };
        let filter = chosen.filter().map_err(|error| refused::<EventsQuery>(&error))?;
        let cursor = asked.cursor.map(|text| PageCursor::read(&text, &pairs)).transpose()?;
        let limit = asked.limit.map_or(EVENTS_DEFAULT, |Limit(limit)| limit);
        let partition = asked.partition;
        let part = EventsRequest { partition, from: asked.from, until: asked.until, limit, filter, cursor, pairs };
        part.check_order()?;
        Ok(if asked.time == Some(TimeKind::Event) { part.with_event_time() } else { part })
    }
}

impl EventsRequest {
    /// Where to begin in the log: what comes next of a query, or where it begins.
    pub(in crate::api) fn start(&self) -> Option<Start> {
        self.cursor.map(|cursor| Start::Place(cursor.place)).or(self.from)
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
            let detail = "`until` is before `from`";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail, "give the earlier place as `from`"));
        }
        Ok(())
    }

    /// Event times are no places in the log: they choose among all its events.
    fn with_event_time(mut self) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn part(query: &str) -> Result<EventsRequest, Problem> {
        Query::<EventsQuery>::read(query)?.part()
    }

    #[test]
    fn a_query_says_where_how_many_and_which() {
        let query = part("from=42&limit=all&subject=88-C%2F**&type=alarm").unwrap();
        assert_eq!(query.from, Some("42".parse().unwrap()));
        assert_eq!(query.limit, u64::MAX);
        assert!(query.filter.takes_event("88-C/a", "afferent.alarm.v1"));
        assert_eq!(part("").unwrap().limit, EVENTS_DEFAULT);
    }

    #[test]
    fn a_wrong_parameter_of_a_query_is_refused_by_name() {
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
            let problem = part(query).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.detail.contains(named), "{query}: {}", problem.detail);
        }
    }
}
