use afferent_protocol::ids::SourceId;

use super::part::EventsQuery;
use super::values::{Limit, WholeNumber, list, optional, required};
use super::*;
use crate::api::certificate::CertificateQuery;
use crate::api::models::{DiffQuery, RecomputeQuery, StateQuery, WhatIfQuery};
use crate::api::stream::StreamQuery;
use crate::api::subscriptions::Fetch;
use crate::log::TimeKind;

/// One parameter of each kind.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Every {
    #[serde(deserialize_with = "required")]
    source: SourceId,
    #[serde(default, deserialize_with = "optional")]
    count: Option<WholeNumber<2, 9>>,
    #[serde(default, deserialize_with = "optional")]
    limit: Option<Limit>,
    time: Option<TimeKind>,
    text: Option<String>,
    #[serde(default, deserialize_with = "list")]
    other: Vec<SourceId>,
}

impl Parameters for Every {
    const EXAMPLE: &'static str = "/?source=a&count=2";
}

fn every(query: &str) -> Result<Every, Problem> {
    Ok(Query::<Every>::read(query)?.asked)
}

#[test]
fn a_query_is_read_to_the_type_of_its_handler() {
    let name = |name| SourceId::new(name).unwrap();
    let read = every("text=%C3%96l+%26%20Gas&other=b&count=9&source=a&limit=all&time=event&other=c").unwrap();
    let expected = Every {
        source: name("a"),
        count: Some(WholeNumber(9)),
        limit: Some(Limit(u64::MAX)),
        time: Some(TimeKind::Event),
        text: Some("Öl & Gas".to_owned()),
        other: vec![name("b"), name("c")],
    };
    assert_eq!(read, expected);
    let least = Every { count: None, limit: None, time: None, text: None, other: Vec::new(), ..expected };
    assert_eq!(every("source=a").unwrap(), least);
    assert!(Query::<Nothing>::read("").is_ok());
}

#[test]
fn a_refusal_names_the_parameter_its_value_and_what_is_allowed() {
    for (query, detail) in [
        ("source=", "`source`: \"\" is not the name of a source (letters, digits, `.`, `_` and `-`, 63 at most)"),
        ("source=a&count=1", "`count`: \"1\" is not a whole number from 2 to 9"),
        ("source=a&count=10", "`count`: \"10\" is not a whole number from 2 to 9"),
        ("source=a&count=-3", "`count`: \"-3\" is not a whole number from 2 to 9"),
        ("source=a&count=", "`count`: \"\" is not a whole number from 2 to 9"),
        ("source=a&limit=0", "`limit`: \"0\" is not a whole number of events from 1 on, or `all`"),
        ("source=a&time=now", "`time`: \"now\" is not `ingest` or `event`"),
        ("source=a&other=b&other=%2F", "`other`: \"/\" is not the name of a source"),
        ("count=2", "`source` is missing"),
        ("", "`source` is missing"),
        ("source=a&source=b", "the parameter \"source\" is given twice"),
        ("source=a&text=b&text=b", "the parameter \"text\" is given twice"),
        ("source=a&time=event&time=event", "the parameter \"time\" is given twice"),
        ("source=a&cuont=2", "this path has no parameter \"cuont\""),
        ("source=a&=", "this path has no parameter \"\""),
    ] {
        let problem = every(query).unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(problem.detail.starts_with(detail), "{query}: {}", problem.detail);
        let remedy = match problem.detail.starts_with("this path has no parameter") {
            true => "the parameters are source, count, limit, time, text, other",
            false => "write it as /?source=a&count=2; in a URL write + as %2B",
        };
        assert_eq!(problem.remedy, remedy, "{query}");
    }
}

#[test]
fn a_refusal_repeats_a_long_value_in_part() {
    let (name, value) = ("n".repeat(5000), "v".repeat(5000));
    for query in [format!("source={value}"), format!("source=a&count={value}"), format!("{name}=1&source=a")] {
        let detail = every(&query).unwrap_err().detail;
        assert!(detail.len() < 200, "{detail}");
    }
}

#[test]
fn the_query_that_a_refusal_shows_is_right() {
    fn check<T: Parameters>() {
        let (path, query) = T::EXAMPLE.split_once('?').unwrap();
        assert!(path.starts_with("/v1/"), "{path}");
        Query::<T>::read(query).unwrap_or_else(|problem| panic!("{}: {problem}", T::EXAMPLE));
        Query::<T>::read(&format!("{query}&nonsense=1")).map(|_| ()).expect_err("the control");
    }
    check::<EventsQuery>();
    check::<StreamQuery>();
    check::<CertificateQuery>();
    check::<StateQuery>();
    check::<DiffQuery>();
    check::<RecomputeQuery>();
    check::<WhatIfQuery>();
    check::<Fetch>();
}

#[test]
fn a_question_about_a_model_names_what_is_wrong_with_it() {
    for (query, named) in [
        ("from=yesterday", "`from`: \"yesterday\" is not a time"),
        ("from=100", "`from`: \"100\" is not a time"),
        ("until=first", "`until`: \"first\" is not a time"),
        ("limit=0", "`limit`: \"0\" is not a whole number from 1 to 100000"),
        ("limit=-1", "`limit`"),
        ("limit=1e3", "`limit`"),
        ("intervals=all", "`intervals`: \"all\" is not a whole number from 0 to 100000"),
        ("as_of=soon", "`as_of`: \"soon\" is not an offset (as 1042), a place (OFFSET@TERM.LOG), a time"),
    ] {
        let Err(problem) = Query::<StateQuery>::read(query) else { panic!("{query} was read") };
        assert!(problem.detail.starts_with(named), "{query}: {}", problem.detail);
    }
}

#[test]
fn a_stream_has_no_limit_and_a_heartbeat_of_1_to_15_seconds() {
    let read = |query| Query::<StreamQuery>::read(query).map(|_| ());
    assert!(read("heartbeat=1").is_ok() && read("heartbeat=15").is_ok());
    for query in ["limit=1", "until=5", "heartbeat=0", "heartbeat=16", "heartbeat=x"] {
        assert!(read(query).is_err(), "{query}");
    }
}
