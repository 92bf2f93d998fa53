//! Golden events: what a consumer reads. Do not change an expected line; add one for what is new.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, ClockStep, Derived, Event, LifeCycle, Loss, LossReason, MachineState,
    PreviousStop, Progress, Quality, Recovery, Sample, Severity, State, Ticks, Value,
};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject};

use super::*;

fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros).unwrap()
}

fn header(stream: Stream) -> Header {
    Header {
        crc: 0,
        signature: [0; 64],
        codec: 1,
        stream,
        body_len: 0,
        decoded_len: 0,
        count: 10,
        first: Sequence::new(40),
        epoch: Epoch::new(0xa1),
        time_first: time(1_631_577_271_000_000),
        time_last: time(1_631_577_271_000_000),
        clock: ClockReading { wall: time(1_631_577_271_100_000), ..ClockReading::default() },
        previous: [0; 32],
        source: SourceId::new("press-88").unwrap(),
    }
}

fn json(body: Body<'_>) -> String {
    let event = Event { time: time(1_631_577_271_000_000), subject: Subject::new("88-C/\"Öl\"").unwrap(), body };
    let batch = header(event.stream());
    let mut writer = Writer::new();
    writer.entry(&EntryHead::new(&batch, 1040, 0, time(1_631_577_271_200_000)), &batch);
    let mut out = Vec::new();
    writer.put(&mut out, &Record { sequence: Sequence::new(42), event });
    String::from_utf8(out).unwrap()
}

fn golden(kind: &str, stream: &str, severity: u8, data: &str) -> String {
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{stream}-00000000000000a1-42","source":"press-88","subject":"88-C/\"Öl\"","#,
            r#""time":"2021-09-13T23:54:31.000000Z","type":"{kind}","datacontenttype":"application/json","#,
            r#""sequence":"00000000000000000042","epoch":"00000000000000a1","stream":"{stream}","#,
            r#""recordedtime":"2021-09-13T23:54:31.100000Z","ingesttime":"2021-09-13T23:54:31.200000Z","#,
            r#""offset":"1042","severitynumber":{severity},"data":{data}}}"#
        ),
        kind = kind,
        stream = stream,
        severity = severity,
        data = data
    )
}

#[test]
fn a_sample_is_written_as_ever() {
    let sample = |value| Body::Sample(Sample { value, unit: "Cel", quality: Quality::Uncertain });
    for (value, text) in [
        (Value::Float(81.4), "81.4"),
        (Value::Float(81.0), "81.0"),
        (Value::Float(1e300), "1e+300"),
        (Value::Integer(i64::MIN), "-9223372036854775808"),
        (Value::Bool(true), "true"),
        (Value::Text("a\n\u{1}\"\\"), r#""a\n\u0001\"\\""#),
    ] {
        let data = format!(r#"{{"value":{text},"unit":"Cel","quality":"uncertain"}}"#);
        assert_eq!(json(sample(value)), golden("afferent.sample.v1", "samples", 9, &data));
    }
}

#[test]
fn breakdown_recovery_state_and_alarm_are_written_as_ever() {
    let breakdown = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "Belt torn" });
    let data = r#"{"code":"E42","severity":"error","message":"Belt torn"}"#;
    assert_eq!(json(breakdown), golden("afferent.breakdown.v1", "critical", 17, data));

    let recovery = Body::Recovery(Recovery { code: "E42", message: "" });
    assert_eq!(json(recovery), golden("afferent.recovery.v1", "critical", 9, r#"{"code":"E42","message":""}"#));

    let state = Body::State(State { state: MachineState::OutOfService, reason: "maintenance" });
    let data = r#"{"state":"out_of_service","reason":"maintenance"}"#;
    assert_eq!(json(state), golden("afferent.state.v1", "critical", 9, data));

    let transition = AlarmTransition::Raised;
    let alarm = Body::Alarm(Alarm { condition: "oil", transition, priority: 700, message: "low" });
    let data = r#"{"condition":"oil","transition":"raised","priority":700,"message":"low"}"#;
    assert_eq!(json(alarm), golden("afferent.alarm.v1", "critical", 17, data));
}

#[test]
fn loss_progress_and_clock_step_are_written_as_ever() {
    let loss = |chain| {
        Body::Loss(Loss {
            stream: Stream::Samples,
            epoch: Epoch::new(7),
            first: Sequence::new(5),
            end: Sequence::new(9),
            reason: LossReason::TornTail,
            chain,
        })
    };
    let range = r#"{"stream":"samples","epoch":"0000000000000007","first":5,"end":9,"reason":"torn_tail","chain":"#;
    let data = format!("{range}null}}");
    assert_eq!(json(loss([0; 32])), golden("afferent.loss.v1", "critical", 17, &data));
    let data = format!(r#"{range}"{}"}}"#, "ab".repeat(32));
    assert_eq!(json(loss([0xab; 32])), golden("afferent.loss.v1", "critical", 17, &data));

    let (stream, epoch, end) = (Stream::Critical, Epoch::new(7), Sequence::new(5));
    let boot = format!(r#"{{"events":3,"boot":"{}","offset_us":-2}}"#, "0c".repeat(16));
    let ticks = Ticks { events: 3, boot: [0x0c; 16], offset_us: -2 };
    for (ticks, ticks_json) in [(None, "null"), (Some(ticks), &*boot)] {
        let progress = Progress { stream, epoch, end, check: 0xab, ticks };
        let begin = r#"{"stream":"critical","epoch":"0000000000000007","end":5,"check":"00000000000000ab""#;
        let data = format!(r#"{begin},"ticks":{ticks_json}}}"#);
        assert_eq!(json(Body::Progress(progress)), golden("afferent.progress.v1", "critical", 9, &data));
    }

    let step = Body::ClockStep(ClockStep { before: time(2_000_000), after: time(500_000) });
    let data = r#"{"before":"1970-01-01T00:00:02.000000Z","after":"1970-01-01T00:00:00.500000Z","step_us":-1500000}"#;
    assert_eq!(json(step), golden("afferent.clockstep.v1", "critical", 13, data));
}

#[test]
fn every_change_of_the_life_cycle_is_written_as_ever() {
    let key = format!(r#"{{"change":"key_pinned","source":"a","key":"{}"}}"#, "01".repeat(32));
    let gap = LifeCycle::Gap {
        source: "a",
        stream: Stream::Critical,
        epoch: Epoch::new(1),
        first: Sequence::new(2),
        end: Sequence::new(3),
    };
    let gap_data = r#"{"change":"gap","source":"a","stream":"critical","epoch":"0000000000000001","first":2,"end":3}"#;
    let started = LifeCycle::Started { previous: PreviousStop::PowerLoss, version: "0.1", repairs: "" };
    for (change, severity, data) in [
        (started, 13, r#"{"change":"started","previous":"power_loss","version":"0.1","repairs":""}"#),
        (LifeCycle::Stopped { reason: "signal" }, 9, r#"{"change":"stopped","reason":"signal"}"#),
        (LifeCycle::LinkUp { peer: "c" }, 9, r#"{"change":"link_up","peer":"c"}"#),
        (LifeCycle::LinkDown { peer: "c", reason: "eof" }, 13, r#"{"change":"link_down","peer":"c","reason":"eof"}"#),
        (LifeCycle::KeyPinned { source: "a", key: [1; 32] }, 9, &key),
        (LifeCycle::Refused { source: "a", reason: "key" }, 17, r#"{"change":"refused","source":"a","reason":"key"}"#),
        (gap, 17, gap_data),
        (LifeCycle::DiskTrouble { message: "EIO" }, 17, r#"{"change":"disk_trouble","message":"EIO"}"#),
    ] {
        assert_eq!(json(Body::LifeCycle(change)), golden("afferent.lifecycle.v1", "critical", severity, data));
        assert!(data.contains(names::life_cycle(&change)), "the names agree");
    }
}

#[test]
fn a_derived_event_has_the_type_and_the_json_of_its_maker() {
    let derived = |kind, json| Body::Derived(Derived { kind, json });
    let expected = golden("com.example.wear.v1", "critical", 9, r#"{"wear": [1, 2]}"#);
    assert_eq!(json(derived("com.example.wear.v1", r#"{"wear": [1, 2]}"#)), expected);
    assert_eq!(json(derived("", "1")), golden("afferent.derived.v1", "critical", 9, "1"));
}

#[test]
fn a_derived_event_never_breaks_its_line_or_its_envelope() {
    let spread = json(Body::Derived(Derived { kind: "a\"\n", json: "{\n\t\"a\":\r\n1}" }));
    assert!(!spread.contains('\n'), "{spread}");
    let read: serde_json::Value = serde_json::from_str(&spread).unwrap();
    assert_eq!((&read["type"], &read["data"]["a"]), (&"a\"\n".into(), &1.into()));

    for text in ["", "{", "1}", "1,2", "\"}", "1e999", "{\"a\":1}}", "nul"] {
        let line = json(Body::Derived(Derived { kind: "x", json: text }));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["datacontenttype"], &read["data"]), (&"text/plain".into(), &text.into()), "{line}");
    }
}

#[test]
fn a_batch_that_cannot_be_decoded_is_an_event_with_another_id() {
    let batch = header(Stream::Critical);
    let mut writer = Writer::new();
    writer.entry(&EntryHead::new(&batch, 1040, 0, time(0)), &batch);
    let mut out = Vec::new();
    writer.put_unreadable(&mut out, &batch, 2, "codec 9 is not known here");
    let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(read["id"], "critical-00000000000000a1-42-unreadable");
    assert_eq!((&read["offset"], &read["type"]), (&"1042".into(), &UNREADABLE.into()));
    assert_eq!(read["data"], serde_json::json!({"count": 8, "reason": "codec 9 is not known here"}));
}
