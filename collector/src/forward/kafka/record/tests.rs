use std::cell::RefCell;
use std::collections::BTreeMap;

use afferent_protocol::batch::{ClockReading, Header};
use afferent_protocol::event::{Body, Breakdown, Derived, Event, Quality, Sample, Severity, Value as Measured};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;
use rdkafka::message::Headers;

use super::super::super::event::Content;
use super::*;
use crate::cloud_event::EventRenderer;
use crate::cloud_event::type_of;
use crate::log::address::{EventAddress, Partition};

/// A record with what a reader sees of it.
struct Seen {
    key: String,
    headers: BTreeMap<String, String>,
    value: Option<String>,
    timestamp_ms: Option<i64>,
}

fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros).unwrap()
}

/// Puts an event with this body; `document` is that of a posted event.
fn put_one(body: Body<'_>, document: Option<&str>, mode: Mode) -> (Seen, Value) {
    let event = Event { time: time(1_631_577_271_000_000), subject: Subject::new("88-C/Öl").unwrap(), body };
    let header = Header {
        crc: 0,
        signature: [0; 64],
        codec: 1,
        stream: event.stream(),
        body_len: 0,
        decoded_len: 0,
        count: 10,
        first: Sequence::new(40),
        epoch: Epoch::new(0xa1),
        time_first: event.time,
        time_last: event.time,
        clock: ClockReading { wall: time(1_631_577_271_100_000), ..ClockReading::default() },
        previous: [0; 32],
        source: SourceId::new("press-88").unwrap(),
    };
    let ingest = time(1_631_577_271_200_999);
    let mut renderer = EventRenderer::new();
    renderer.set_own(document.is_some());
    renderer.entry(Partition::EMBEDDED, &EntryHead::new(&header, 1040, 0, ingest), &header);
    let renderer = RefCell::new(renderer);
    let record = Record { sequence: Sequence::new(42), event };
    let (stream, epoch) = (header.stream, header.epoch);
    let id = format!("{}-{epoch}-42", stream.name());
    let content = match document {
        Some(document) => Content::Posted { record: &record, renderer: &renderer, document },
        None => Content::Record { record: &record, renderer: &renderer },
    };
    let event = ForwardEvent {
        address: EventAddress { partition: Partition::EMBEDDED, offset: Offset::new(1042) },
        source: "press-88",
        id: &id,
        kind: type_of(&record.event.body),
        subject: Some("88-C/Öl"),
        time: Some(record.event.time),
        corrected: None,
        recorded: Some(header.clock.wall),
        ingest: Some(ingest),
        lane: document.is_none().then_some((stream, epoch, record.sequence)),
        severity: record.event.body.severity().number(),
        content,
    };
    let mut part = RecordPart::default();
    put(&mut part, &event, mode).unwrap();
    let mut json = Vec::new();
    event.put_json(&mut json);
    let record = part.get(0);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = record.headers.as_borrowed().iter();
    let seen = Seen {
        key: text(record.key),
        headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect(),
        value: record.value.map(text),
        timestamp_ms: record.timestamp_ms,
    };
    (seen, serde_json::from_slice(&json).unwrap())
}

fn sample(value: Measured<'_>) -> Body<'_> {
    Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good })
}

#[test]
fn in_binary_mode_the_headers_are_the_attributes_of_the_same_event_in_json() {
    let breakdown = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "Riß\n" });
    for body in [sample(Measured::Float(81.4)), breakdown] {
        let (seen, json) = put_one(body, None, Mode::Binary);
        let mut expected = BTreeMap::new();
        for (name, value) in json.as_object().unwrap() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match name.as_str() {
                "data" => assert_eq!(serde_json::from_str::<Value>(seen.value.as_deref().unwrap()).unwrap(), *value),
                "datacontenttype" => _ = expected.insert(CONTENT_TYPE.to_owned(), text),
                _ => _ = expected.insert(format!("ce_{name}"), text),
            }
        }
        assert_eq!(seen.headers, expected);
        assert_eq!(seen.headers["ce_offset"], "1042");
        assert_eq!((&*seen.key, seen.timestamp_ms), ("88-C", Some(1_631_577_271_200)));
    }
}

#[test]
fn in_structured_mode_the_value_is_the_event_in_json() {
    let (seen, json) = put_one(sample(Measured::Bool(true)), None, Mode::Structured);
    assert_eq!(serde_json::from_str::<Value>(seen.value.as_deref().unwrap()).unwrap(), json);
    assert_eq!(seen.headers, BTreeMap::from([(CONTENT_TYPE.to_owned(), EVENT_JSON.to_owned())]));
    assert_eq!(seen.key, "88-C");
}

#[test]
fn texts_and_binary_data_are_values_as_they_are() {
    let derived = |json| Body::Derived(Derived { kind: "k", json });
    let (seen, _) = put_one(derived("no \"JSON\"\n"), None, Mode::Binary);
    assert_eq!((seen.value.as_deref(), &*seen.headers[CONTENT_TYPE]), (Some("no \"JSON\"\n"), "text/plain"));
    for (document, value, content_type) in [
        (r#"{"id":"1","source":"erp","x":7,"data":{"a":1.50}}"#, Some(r#"{"a":1.50}"#), Some("application/json")),
        (r#"{"id":"1","source":"erp","x":7,"data":"a\n"}"#, Some(r#""a\n""#), Some("application/json")),
        (r#"{"id":"1","source":"erp","x":7,"datacontenttype":"text/csv","data":"a\n"}"#, Some("a\n"), Some("text/csv")),
        (r#"{"id":"1","source":"erp","x":7,"datacontenttype":"a/b","data_base64":"aGk="}"#, Some("hi"), Some("a/b")),
        (r#"{"id":"1","source":"erp","x":7}"#, None, None),
    ] {
        let (seen, _) = put_one(derived(document), Some(document), Mode::Binary);
        assert_eq!(seen.value.as_deref(), value, "{document}");
        assert_eq!(seen.headers.get(CONTENT_TYPE).map(String::as_str), content_type, "{document}");
        let header = |name: &str| seen.headers[name].as_str();
        assert_eq!((header("ce_id"), header("ce_source"), header("ce_x")), ("1", "erp", "7"), "{document}");
        assert_eq!((header("ce_type"), header("ce_subject"), header("ce_offset")), ("k", "88-C/Öl", "1042"));
    }
}

#[test]
fn json_is_told_by_its_subtype() {
    for json in ["application/json", "application/json; charset=utf-8", "Text/JSON", "application/vnd.x+json"] {
        assert!(is_json(json), "{json}");
    }
    for other in ["text/plain", "application/jsonl", "", "json/x"] {
        assert!(!is_json(other), "{other}");
    }
}

#[test]
fn the_stream_of_a_sample_is_an_attribute() {
    let (seen, _) = put_one(sample(Measured::Integer(i64::MIN)), None, Mode::Binary);
    assert_eq!(seen.headers["ce_stream"], Stream::Samples.name());
    assert_eq!(seen.headers["ce_sequence"], "00000000000000000042");
    assert!(seen.value.unwrap().contains("\"-9223372036854775808\""), "beyond 2^53 it is a text");
}
