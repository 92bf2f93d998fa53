//! Golden events: the lines that a consumer reads. Do not change an expected line; add one for a new event.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, ClockStep, Derived, Event, FilePlace, FilePlaces, Followed, LifeCycle,
    Loss, LossReason, MachineState, PreviousStop, Progress, Quality, Recovery, Sample, Severity, State, Ticks, Value,
};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject};
use afferent_protocol::limits::FOLLOWED_BYTES_MAX;
use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::log::address::Partition;

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
    let mut writer = EventRenderer::new();
    writer.entry(Partition::EMBEDDED, &EntryHead::new(&batch, 1040, 0, time(1_631_577_271_200_000)), &batch);
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
            r#""partition":0,"offset":"1042","severitynumber":{severity},"data":{data}}}"#
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
        (Value::Integer(-(1 << 53)), "-9007199254740992"),
        (Value::Bool(true), "true"),
        (Value::Text("a\n\u{1}\"\\"), r#""a\n\u0001\"\\""#),
    ] {
        let data = format!(r#"{{"value":{text},"unit":"Cel","quality":"uncertain"}}"#);
        assert_eq!(json(sample(value)), golden("afferent.sample.v1", "samples", 9, &data));
    }
    let data = r#"{"value":"-9223372036854775808","unit":"Cel","quality":"uncertain","valuetype":"integer"}"#;
    assert_eq!(json(sample(Value::Integer(i64::MIN))), golden("afferent.sample.v1", "samples", 9, data));
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
fn a_table_of_files_is_written_as_ever() {
    let place = FilePlace {
        number: 3,
        device: 2049,
        inode: u64::MAX,
        born_us: 5,
        known: 1024,
        fingerprint: [0xab; 8],
        end: 500,
        other_end: 400,
        is_finished: true,
        name: "press.log",
    };
    let mut bytes = [0; FOLLOWED_BYTES_MAX];
    let files = FilePlaces::write(&[place], &mut bytes).unwrap();
    let body = Body::Followed(Followed {
        stream: Stream::Samples,
        input: "press",
        number: 4,
        horizon: time(2_000_000),
        files,
    });
    let file = concat!(
        r#"{"number":3,"device":2049,"inode":"18446744073709551615","born_us":5,"known":1024,"fingerprint":"abababababababab","#,
        r#""end":500,"other_end":400,"finished":true,"name":"press.log"}"#
    );
    let data = format!(
        r#"{{"stream":"samples","input":"press","number":4,"horizon":"1970-01-01T00:00:02.000000Z","files":[{file}]}}"#
    );
    assert_eq!(json(body), golden("afferent.followed.v1", "samples", 9, &data));
    let unread = LifeCycle::Unread { file: "a.log", from: 500, bytes_least: 7, reason: "truncated" };
    let data = r#"{"change":"unread","file":"a.log","from":500,"bytes_least":7,"reason":"truncated"}"#;
    assert_eq!(json(Body::LifeCycle(unread)), golden("afferent.lifecycle.v1", "critical", 13, data));
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
        assert!(data.contains(change.kind().name()), "the names agree");
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
    let mut writer = EventRenderer::new();
    writer.entry(Partition::EMBEDDED, &EntryHead::new(&batch, 1040, 0, time(0)), &batch);
    let mut out = Vec::new();
    writer.put_unreadable(&mut out, &batch, 2, "codec 9 is not known here");
    let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(read["id"], "critical-00000000000000a1-42-unreadable");
    assert_eq!((&read["offset"], &read["type"]), (&"1042".into(), &UNREADABLE.into()));
    assert_eq!(read["data"], serde_json::json!({"count": 8, "reason": "codec 9 is not known here"}));
}

/// An event as the library writes it from the names of its fields.
#[derive(Serialize)]
struct Plain<'a, D> {
    specversion: &'a str,
    id: String,
    source: &'a str,
    subject: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correctedtime: Option<String>,
    r#type: &'a str,
    datacontenttype: &'a str,
    sequence: String,
    epoch: String,
    stream: &'a str,
    recordedtime: String,
    ingesttime: String,
    partition: u32,
    offset: String,
    severitynumber: u8,
    data: D,
}

#[derive(Serialize)]
struct PlainSample<'a> {
    value: serde_json::Value,
    unit: &'a str,
    quality: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valuetype: Option<&'static str>,
}

#[derive(Serialize)]
struct PlainBreakdown<'a> {
    code: &'a str,
    severity: &'a str,
    message: &'a str,
}

fn plain_time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros()).unwrap().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The library's rendering of a sample, a breakdown, or a derived event that is not JSON.
fn plain(head: &EntryHead, batch: &Header, record: &Record<'_>) -> String {
    let (sequence, event, stream) = (record.sequence.get(), &record.event, batch.stream.name());
    let quality = ["good", "uncertain", "bad"];
    let severity = ["debug", "info", "warning", "error", "fatal"];
    let (corrected, correction) = corrected(event.time, batch, head.stamp, head.clock_offset_us());
    let corrected = (correction != Correction::None).then(|| plain_time(corrected));
    fn to_json<D: Serialize>(plain: Plain<'_, D>) -> String {
        serde_json::to_string(&plain).unwrap()
    }
    macro_rules! plain {
        ($kind:expr, $content_type:expr, $number:expr, $data:expr) => {
            to_json(Plain {
                specversion: "1.0",
                id: format!("{stream}-{}-{sequence}", batch.epoch),
                source: batch.source.as_str(),
                subject: event.subject.as_str(),
                time: plain_time(event.time),
                correctedtime: corrected.clone(),
                r#type: $kind,
                datacontenttype: $content_type,
                sequence: format!("{sequence:020}"),
                epoch: batch.epoch.to_string(),
                stream,
                recordedtime: plain_time(batch.clock.wall),
                ingesttime: plain_time(head.stamp),
                partition: 0,
                offset: (head.ordinal + sequence - batch.first.get()).to_string(),
                severitynumber: $number,
                data: $data,
            })
        };
    }
    match event.body {
        Body::Sample(Sample { value, unit, quality: of }) => {
            let is_large = matches!(value, Value::Integer(value) if value.unsigned_abs() > 1 << 53);
            let value = match value {
                Value::Float(value) => value.into(),
                Value::Integer(value) if is_large => value.to_string().into(),
                Value::Integer(value) => value.into(),
                Value::Bool(value) => value.into(),
                Value::Text(value) => value.into(),
            };
            let valuetype = is_large.then_some("integer");
            let data = PlainSample { value, unit, quality: quality[of as usize], valuetype };
            plain!("afferent.sample.v1", "application/json", 9, data)
        }
        Body::Breakdown(Breakdown { code, severity: of, message }) => {
            let data = PlainBreakdown { code, severity: severity[of as usize], message };
            plain!("afferent.breakdown.v1", "application/json", of.number(), data)
        }
        Body::Derived(Derived { kind, json }) => plain!(kind, "text/plain", 9, json),
        _ => unreachable!("the others are left to the golden ones"),
    }
}

/// Texts that must be escaped, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/-]{0,40}", "[\u{0}-\u{22}\\\\/\u{7f}-\u{a0}\u{2028}\u{fffe}]{0,40}", any::<String>()]
}

fn float() -> impl Strategy<Value = f64> {
    let special =
        [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324];
    let short = (any::<i32>(), -12..12).prop_map(|(digits, exponent)| f64::from(digits) * 10_f64.powi(exponent));
    prop_oneof![prop::sample::select(special.to_vec()), short, any::<f64>()]
}

/// Micros up to the last instant of the library that writes the expected times.
const MICROS: Range<i64> = 0..253_402_207_200_000_000;

proptest! {
    #[test]
    fn every_byte_is_what_the_library_would_write(
        (kind, choice) in (0..6_u8, 0..15_usize),
        (one, other, unit, float, integer) in (text(), text(), text(), float(), any::<i64>()),
        subjects in prop::collection::vec(text(), 1..4),
        times in prop::collection::vec((MICROS, 0..2_000_000_i64), 1..4),
        (first, offset, shift) in (0..u64::MAX / 2, 0..u64::MAX / 2, 0..63_u32),
    ) {
        let (first, offset) = (first >> shift, offset >> shift);
        let value = match kind {
            0 | 1 => Value::Float(float),
            2 => Value::Integer(integer >> shift),
            3 => Value::Bool(integer < 0),
            _ => Value::Text(&one),
        };
        let quality = [Quality::Good, Quality::Uncertain, Quality::Bad][choice % 3];
        let severity = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal][choice % 5];
        let json = format!("}}{other}");
        let bodies = [
            Body::Sample(Sample { value, unit: &unit, quality }),
            Body::Breakdown(Breakdown { code: &one, severity, message: &other }),
            Body::Derived(Derived { kind: "com.example/\"\n", json: &json }),
        ];
        let mut writer = EventRenderer::new();
        let (mut written, mut expected) = (Vec::new(), String::new());
        for ((at, body), (micros, step)) in (0_u64..).zip(bodies).zip(times.iter().cycle()) {
            let mut batch = header(body_stream(&body));
            batch.first = Sequence::new(first);
            batch.clock.wall = time(*micros);
            let head = EntryHead::new(&batch, offset, 0, time(micros / 2));
            writer.entry(Partition::EMBEDDED, &head, &batch);
            for (number, micros) in [*micros, (micros + step).min(MICROS.end - 1), *micros].into_iter().enumerate() {
                let subject = subjects.iter().cycle().nth(number).expect("there is one");
                let Ok(subject) = Subject::new(subject) else { continue };
                let event = Event { time: time(micros), subject, body };
                let record = Record { sequence: Sequence::new(first + at * 99 + number as u64), event };
                writer.put(&mut written, &record);
                let plain = plain(&head, &batch, &record);
                let ends = [("\u{85}", "\\u0085"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")];
                expected.push_str(&ends.iter().fold(plain, |text, (end, escape)| text.replace(end, escape)));
            }
        }
        prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

proptest! {
    #[test]
    fn every_finite_number_reads_back_bit_by_bit(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let written = json(Body::Sample(Sample { value: Value::Float(value), unit: "", quality: Quality::Good }));
        let event: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(event["data"]["value"].as_f64().map(f64::to_bits), Some(bits), "{}", written);
        // And with a second parser.
        let text = written.split(r#""value":"#).nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits, "{}", written);
    }
}

#[test]
fn a_line_has_no_character_that_some_reader_takes_for_its_end() {
    let json = format!(r#"{{"text":"a{0}b{1}c{2}"}}"#, '\u{85}', '\u{2028}', '\u{2029}');
    let text = "\u{85}\u{2028}\u{2029}\u{b}\u{c}ä";
    let sample = Body::Sample(Sample { value: Value::Text(text), unit: "", quality: Quality::Good });
    for body in [Body::Derived(Derived { kind: "com.example.v1", json: &json }), sample] {
        let written = self::json(body);
        let ends = |character: char| matches!(character, '\u{a}'..='\u{d}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        assert!(!written.contains(ends), "{written:?}");
        let event: serde_json::Value = serde_json::from_str(&written).unwrap();
        let told = if event["data"]["text"].is_string() { &event["data"]["text"] } else { &event["data"]["value"] };
        assert!([text, "a\u{85}b\u{2028}c\u{2029}"].contains(&told.as_str().unwrap()), "{written}");
    }
}

fn body_stream(body: &Body<'_>) -> Stream {
    if matches!(body, Body::Sample(_)) { Stream::Samples } else { Stream::Critical }
}

#[test]
fn a_time_that_is_not_believed_stands_beside_the_corrected_one_and_no_other_does() {
    let hour = 3_600_000_000;
    let wall = 1_631_577_271_100_000;
    let event = |micros: i64| {
        let body = Body::Recovery(Recovery { code: "E42", message: "" });
        Event { time: time(micros), subject: Subject::new("88-C").unwrap(), body }
    };
    let shown = |micros: i64, ingest: i64, clock_offset_us: Option<i64>| {
        let batch = header(Stream::Critical);
        let head = EntryHead::new(&batch, 1040, 0, time(ingest)).with_clock_offset_us(clock_offset_us);
        let mut writer = EventRenderer::new();
        writer.entry(Partition::EMBEDDED, &head, &batch);
        let mut out = Vec::new();
        writer.put(&mut out, &Record { sequence: Sequence::new(42), event: event(micros) });
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["time"], text_of(micros), "what the source says stays");
        json["correctedtime"].as_str().map(str::to_owned)
    };
    assert_eq!(shown(wall, wall + 10, None), None);
    assert_eq!(shown(wall - 100_000 * hour, wall + 10, Some(5)), None, "history");
    assert_eq!(shown(wall + hour, wall + 10, None), Some(text_of(wall + 10)), "ahead of its clock");
    assert_eq!(shown(wall - 5, wall + 2 * hour, Some(hour)), Some(text_of(wall - 5 + hour)), "measured off");
}

fn text_of(micros: i64) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time(micros));
    String::from_utf8(text).unwrap()
}
