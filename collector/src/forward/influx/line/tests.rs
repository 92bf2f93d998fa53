use std::cell::RefCell;

use afferent_protocol::batch::{ClockReading, Header};
use afferent_protocol::event::{Breakdown, Derived, Event, Recovery, Severity};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Subject, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;

use super::super::super::event::Content;
use super::*;
use crate::cloud_event::{EventRenderer, type_of};
use crate::log::address::{Addresses, EventAddress, Partition};

const WITH_TEXTS: LineStyle = LineStyle { prefix: String::new(), texts: true };

/// Calls `with` with an event that the log has lost.
pub(in super::super) fn with_event<T>(with: impl FnOnce(ForwardEvent<'_>) -> T) -> T {
    let addresses = Addresses { partition: Partition::EMBEDDED, offsets: Offset::new(7)..Offset::new(9) };
    with(ForwardEvent {
        address: addresses.first(),
        source: "log",
        id: "hole-7",
        kind: "afferent.unreadable.v1",
        subject: None,
        time: None,
        corrected: None,
        recorded: None,
        ingest: None,
        lane: None,
        severity: 17,
        content: Content::Hole { addresses: &addresses, reason: "lost" },
    })
}

/// The line of an event of a machine.
fn line(style: &LineStyle, subject: &str, body: Body<'_>) -> String {
    let time = |micros| Timestamp::new(micros).unwrap();
    let event = Event { time: time(1_631_577_271_000_042), subject: Subject::new(subject).unwrap(), body };
    let header = Header {
        crc: 0,
        signature: [0; 64],
        codec: 1,
        stream: event.stream(),
        body_len: 0,
        decoded_len: 0,
        count: 10,
        first: Sequence::new(12_340),
        epoch: Epoch::new(0xa1),
        time_first: event.time,
        time_last: event.time,
        clock: ClockReading { wall: event.time, ..ClockReading::default() },
        previous: [0; 32],
        source: SourceId::new("press-88").unwrap(),
    };
    let mut renderer = EventRenderer::new();
    renderer.entry(Partition::EMBEDDED, &EntryHead::new(&header, 1040, 0, time(1_631_577_271_200_999)), &header);
    let renderer = RefCell::new(renderer);
    let record = Record { sequence: Sequence::new(12_345), event };
    let event = ForwardEvent {
        address: EventAddress { partition: Partition::EMBEDDED, offset: Offset::new(1042) },
        source: "press-88",
        id: "critical-a1-12345",
        kind: type_of(&record.event.body),
        subject: Some(subject),
        time: Some(record.event.time),
        corrected: None,
        recorded: None,
        ingest: None,
        lane: Some((header.stream, header.epoch, record.sequence)),
        severity: record.event.body.severity().number(),
        content: Content::Record { record: &record, renderer: &renderer },
    };
    let mut out = b"before\n".to_vec();
    put(&mut out, style, &event).unwrap();
    String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned()
}

fn sample(value: Value<'_>, unit: &str, quality: Quality) -> String {
    line(&WITH_TEXTS, "88-C/a b", Body::Sample(Sample { value, unit, quality }))
}

#[test]
fn each_type_of_value_has_its_own_field() {
    let series = r"sample,machine=88-C,quality=good,source=press-88,subject=88-C/a\ b";
    let at = "1631577271000042345\n";
    for (value, fields) in [
        (Value::Float(81.4), "value=81.4"),
        (Value::Float(-0.0), "value=-0.0"),
        (Value::Float(5e-324), "value=5e-324"),
        (Value::Float(f64::MAX), "value=1.7976931348623157e+308"),
        (Value::Integer(i64::MIN), "value=-9.223372036854776e+18,wholevalue=-9223372036854775808i"),
        (Value::Integer(0), "value=0.0,wholevalue=0i"),
        (Value::Bool(true), "boolean=true"),
        (Value::Text(""), r#"text="""#),
        (Value::Text("a \"b\"\n"), r#"text="a \"b\"␊""#),
    ] {
        assert_eq!(sample(value, "", Quality::Good), format!("{series} {fields} {at}"));
    }
    let uncertain = sample(Value::Float(1.5), "mm/s", Quality::Uncertain);
    let tags = r"machine=88-C,quality=uncertain,source=press-88,subject=88-C/a\ b,unit=mm/s";
    assert_eq!(uncertain, format!("sample,{tags} value=1.5 {at}"));
}

#[test]
fn a_number_that_is_not_finite_is_a_bad_text() {
    for (value, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let line = sample(Value::Float(value), "", Quality::Good);
        assert!(line.contains("quality=bad") && line.contains(&format!(" text=\"{text}\" ")), "{line}");
    }
}

#[test]
fn what_differs_from_event_to_event_is_a_field() {
    let body = Body::Breakdown(Breakdown { code: "E 42", severity: Severity::Error, message: "Riß, \"x\"" });
    assert_eq!(
        line(&WITH_TEXTS, "88-C", body),
        "breakdown,code=E\\ 42,machine=88-C,source=press-88,subject=88-C severity=\"error\",message=\"Riß, \\\"x\\\"\",\
         severitynumber=17i,offset=1042i,id=\"critical-a1-12345\" 1631577271000042345\n"
    );
    let style = LineStyle { prefix: "afferent_".to_owned(), texts: false };
    assert_eq!(
        line(&style, "88-C", body),
        "afferent_breakdown,code=E\\ 42,machine=88-C,source=press-88,subject=88-C severitynumber=17i,offset=1042i \
         1631577271000042345\n"
    );
    let recovery = line(&WITH_TEXTS, "88-C", Body::Recovery(Recovery { code: "", message: "" }));
    assert!(
        recovery.starts_with("recovery,machine=88-C,source=press-88,subject=88-C severitynumber=9i,"),
        "{recovery}"
    );
    let state = Body::State(State { state: MachineState::Executing, reason: "" });
    let state = line(&WITH_TEXTS, "88-C/x", state);
    let written = "state,machine=88-C,source=press-88,subject=88-C/x state=\"executing\",statenumber=3i,severity";
    assert!(state.starts_with(written), "{state}");
    let alarm = |transition| {
        let alarm = Alarm { condition: "hot", transition, priority: 700, message: "" };
        line(&WITH_TEXTS, "88-C", Body::Alarm(alarm))
    };
    let tags = "alarm,condition=hot,machine=88-C,source=press-88,subject=88-C transition=";
    for (transition, fields) in [
        (AlarmTransition::Raised, "\"raised\",active=true,priority=700i,"),
        (AlarmTransition::Cleared, "\"cleared\",active=false,priority=700i,"),
        (AlarmTransition::Shelved, "\"shelved\",priority=700i,"),
    ] {
        assert!(alarm(transition).starts_with(&format!("{tags}{fields}")), "{}", alarm(transition));
    }
    let derived = Body::Derived(Derived { kind: "com.example.wear v1", json: r#"{"wear":0.7}"# });
    let derived = line(&WITH_TEXTS, "88-C", derived);
    let written = r#"com.example.wear\ v1,machine=88-C,source=press-88,subject=88-C data="{\"wear\":0.7}","#;
    assert!(derived.starts_with(written), "{derived}");
}

#[test]
fn an_event_without_a_field_has_no_line() {
    let style = LineStyle { prefix: String::new(), texts: false };
    let text = Body::Sample(Sample { value: Value::Text("x"), unit: "", quality: Quality::Good });
    assert_eq!(line(&style, "88-C", text), "");
    assert_ne!(line(&WITH_TEXTS, "88-C", text), "");
}

#[test]
fn what_the_destination_cannot_hold_is_refused_and_leaves_nothing() {
    let mut out = b"before\n".to_vec();
    let long: &'static str = "x".repeat(INFLUX_KEY_BYTES_MAX).leak();
    let refused = with_event(|mut event| {
        (event.source, event.time) = (long, Some(Timestamp::default()));
        put(&mut out, &WITH_TEXTS, &event)
    });
    assert!(refused.unwrap_err().0.contains("InfluxDB takes 65535 at most"));
    let lost = with_event(|event| put(&mut out, &WITH_TEXTS, &event));
    assert!(lost.unwrap_err().0.contains("has no time"));
    assert_eq!(out, b"before\n");
}
