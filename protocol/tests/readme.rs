//! Holds the tables and examples of `README.md` against the code: the specification cannot drift.

use afferent_protocol::batch::{self, Batch, BatchBuilder, CHAIN_START, ClockReading, Header, Lineage};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::Codec;
use afferent_protocol::codec::rows::Encoder;
use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::limits::*;
use afferent_protocol::segment::{self, EntryHead, LogKind, SegmentHeader};
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::Identity;
use afferent_protocol::topic::shard;
use afferent_protocol::version::{BATCH_VERSION, CONTROL_VERSION, SEGMENT_VERSION};

const README: &str = include_str!("../README.md");

/// The rows of the first table after `heading` whose first column is called `column`, as cells.
fn table(heading: &str, column: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let start = section.find(&format!("| {column} |")).unwrap_or_else(|| panic!("no table of {column}"));
    let lines = section[start..].lines().take_while(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Holds every row of a byte table against `bytes`, and the table against having holes.
fn check_layout(heading: &str, bytes: &[u8], fields: &[(&str, &[u8])]) {
    let mut at = 0;
    let rows = table(heading, "offset");
    for row in &rows {
        let (offset, len): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(offset, at, "{heading}: a hole before `{}`", row[2]);
        let value = if row[2] == "zeros" {
            vec![0; len]
        } else {
            let known = fields.iter().find(|(name, _)| *name == row[2]);
            known.unwrap_or_else(|| panic!("{heading}: `{}` is not in the code", row[2])).1.to_vec()
        };
        assert_eq!(value.len(), len, "{heading}: length of `{}`", row[2]);
        assert_eq!(&bytes[offset..offset + len], value, "{heading}: `{}` stands elsewhere", row[2]);
        at += len;
    }
    assert_eq!(at, bytes.len(), "{heading}: the table ends early");
    assert_eq!(rows.iter().filter(|row| row[2] != "zeros").count(), fields.len(), "{heading}: a field is missing");
}

fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros).unwrap()
}

fn header() -> Header {
    Header {
        crc: 0x0102_0304,
        signature: [0xA1; 64],
        codec: 0xC1,
        stream: Stream::Samples,
        body_len: 0x0403,
        decoded_len: 0x0506,
        count: 0x0708,
        first: Sequence::new(0x1112_1314_1516_1718),
        epoch: Epoch::new(0x2122_2324_2526_2728),
        time_first: time(0x0001_1111_1111_1111),
        time_last: time(0x0001_2222_2222_2222),
        clock: ClockReading {
            wall: time(0x0001_3333_3333_3333),
            monotonic_us: 0x4142_4344_4546_4748,
            synchronised: true,
            boot: [0xB1; 16],
        },
        previous: [0xB2; 32],
        source: SourceId::new("press-88").unwrap(),
    }
}

#[test]
fn the_batch_header_lies_as_the_table_says() {
    let header = header();
    let bytes = header.encode();
    let mut name = [0; 63];
    name[..8].copy_from_slice(b"press-88");
    check_layout(
        "### Batch header",
        &bytes,
        &[
            ("magic", b"AFB1"),
            ("crc", &header.crc.to_le_bytes()),
            ("signature", &[0xA1; 64]),
            ("version", &[1]),
            ("codec", &[0xC1]),
            ("stream", &[1]),
            ("synchronised", &[1]),
            ("body_len", &0x0403_u32.to_le_bytes()),
            ("decoded_len", &0x0506_u32.to_le_bytes()),
            ("count", &0x0708_u32.to_le_bytes()),
            ("first", &header.first.get().to_le_bytes()),
            ("epoch", &header.epoch.get().to_le_bytes()),
            ("time_first", &header.time_first.micros().to_le_bytes()),
            ("time_last", &header.time_last.micros().to_le_bytes()),
            ("monotonic", &header.clock.monotonic_us.to_le_bytes()),
            ("wall", &header.clock.wall.micros().to_le_bytes()),
            ("boot", &[0xB1; 16]),
            ("previous", &[0xB2; 32]),
            ("source_len", &[8]),
            ("source", &name),
        ],
    );
    assert_eq!(Header::decode(&bytes).unwrap(), header);
    assert!(README.contains("1048320"), "the longest body");
    assert_eq!(BATCH_BYTES_MAX - batch::HEADER_LEN, 1_048_320);
}

#[test]
fn the_codecs_are_those_of_the_code() {
    let rows = table("### Codecs", "codec");
    let told: Vec<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let known: Vec<u8> = (0..=u8::MAX).filter(|number| Codec::from_number(*number).is_some()).collect();
    assert_eq!(told, known);
    assert!(known.iter().all(|number| Codec::from_number(*number).unwrap().number() == *number));
    for row in rows {
        let heading = format!("### Codec {}: {}\n", row[0], row[1]);
        assert!(README.contains(&heading), "{heading}");
    }
}

#[test]
fn the_segment_header_lies_as_the_table_says() {
    let header = SegmentHeader {
        kind: LogKind::Unified,
        log_id: [0xC1; 16],
        generation: 0x0102_0304_0506_0708,
        stream: Stream::Samples,
        epoch: Epoch::new(0x1112_1314_1516_1718),
        first_ordinal: 0x2122_2324_2526_2728,
        begun: time(0x0001_3132_3334_3536),
    };
    let bytes = header.encode();
    for copy in [&bytes[..512], &bytes[512..]] {
        check_layout(
            "### Segment header",
            &copy[..72],
            &[
                ("magic", b"AFFSEG1\n"),
                ("version", &[1]),
                ("kind", &[1]),
                ("stream", &[1]),
                ("log_id", &[0xC1; 16]),
                ("generation", &header.generation.to_le_bytes()),
                ("epoch", &header.epoch.get().to_le_bytes()),
                ("first_ordinal", &header.first_ordinal.to_le_bytes()),
                ("begun", &header.begun.micros().to_le_bytes()),
                ("crc", &crc32c(&copy[..64]).to_le_bytes()),
            ],
        );
        assert!(copy[72..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(segment::SEGMENT_HEADER_LEN, 1024);
}

#[test]
fn the_head_of_an_entry_lies_as_the_table_says() {
    let segment = SegmentHeader {
        kind: LogKind::Ring,
        log_id: [0xC1; 16],
        generation: 9,
        stream: Stream::Samples,
        epoch: Epoch::new(1),
        first_ordinal: 0,
        begun: time(0),
    };
    let head = EntryHead {
        other: (Epoch::new(0), 0),
        batch_len: 0x0001_0203,
        batch_crc: 0x1112_1314,
        count: 0x2122_2324,
        ordinal: 0x3132_3334_3536_3738,
        acked_end: 0x4142_4344_4546_4748,
        stamp: time(0x0001_5152_5354_5556),
    };
    let bytes = head.encode(segment.seed());
    let seeded = [&[0xC1; 16][..], &9_u64.to_le_bytes(), &bytes[4..]].concat();
    check_layout(
        "### Entry",
        &bytes,
        &[
            ("crc", &crc32c(&seeded).to_le_bytes()),
            ("batch_len", &head.batch_len.to_le_bytes()),
            ("batch_crc", &head.batch_crc.to_le_bytes()),
            ("count", &head.count.to_le_bytes()),
            ("ordinal", &head.ordinal.to_le_bytes()),
            ("acked_end", &head.acked_end.to_le_bytes()),
            ("stamp", &head.stamp.micros().to_le_bytes()),
        ],
    );
    assert_eq!((segment::ENTRY_HEAD_LEN, segment::STOP_LEN, segment::ENTRY_ALIGN), (40, 40, 8));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let mut known = std::collections::BTreeMap::new();
    macro_rules! limits {
        ($($name:ident),*) => { $(known.insert(stringify!($name), i128::from($name as i64));)* };
    }
    limits!(SOURCE_BYTES_MAX, SUBJECT_BYTES_MAX, UNIT_BYTES_MAX, TEXT_BYTES_MAX, MESSAGE_BYTES_MAX, EVENT_BYTES_MAX);
    limits!(BATCH_COUNT_MAX, BATCH_BYTES_MAX, BATCH_DECODED_BYTES_MAX, BATCH_SUBJECTS_MAX, BATCH_UNITS_MAX);
    limits!(MESSAGE_PAYLOAD_BYTES_MAX, CONTROL_BYTES_MAX, LANES_MAX, WINDOW_BATCHES_MAX);
    limits!(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, TIME_MIN, TIME_MAX);
    let rows = table("## Limits", "limit");
    for row in &rows {
        assert_eq!(known.get(row[0]).copied(), row[1].parse().ok(), "{}", row[0]);
    }
    let source = include_str!("../src/limits.rs");
    assert_eq!(rows.len(), source.matches("\npub const ").count(), "a limit is missing in the table");
}

#[test]
fn the_versions_and_shards_are_those_of_the_code() {
    let versions: Vec<_> = table("## Versions", "format").iter().map(|row| (row[0], row[1])).collect();
    let version = |name, version: u8| assert!(versions.contains(&(name, &*version.to_string())), "{name} {version}");
    version("batch", BATCH_VERSION);
    version("segment", SEGMENT_VERSION);
    version("control", CONTROL_VERSION);
    let agents = table("## Topics", "name");
    assert_eq!(agents.len(), 2);
    for row in agents {
        assert_eq!(shard(&SourceId::new(row[0].trim_matches('`')).unwrap()).to_string(), row[1]);
    }
}

// The body's notation, written down again by hand.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value > 127 {
        bytes.push(value as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// Index of a name in the table of enums.
fn variant(name: &str, value: &str) -> Vec<u8> {
    let enums = table("### Codec 1: rows", "enum");
    let row = enums.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no enum {name}"));
    let at = row[1..].iter().position(|cell| *cell == value).unwrap_or_else(|| panic!("{name} has no {value}"));
    varint(at as u64)
}

/// Puts fields together in the order of a cell such as `code: text, message: text`.
fn in_order(cell: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let fields_of_cell = cell.split(", ").filter(|field| !field.is_empty());
    let names: Vec<_> = fields_of_cell.map(|field| field.split(": ").next().unwrap()).collect();
    assert_eq!(names.len(), fields.len(), "{cell}");
    let field =
        |name: &&str| fields.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}")).1.clone();
    names.iter().flat_map(field).collect()
}

/// What follows time and subject in the row of this event, in a batch of its own.
fn row_of(body: Body<'_>) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let subject = Subject::new("s").unwrap();
    encoder.push(&Event { time: time(0), subject, body }).unwrap();
    let mut out = vec![];
    encoder.finish(&mut out);
    let units = if let Body::Sample(sample) = body { [vec![1], text(sample.unit)].concat() } else { vec![0] };
    let head = [vec![1], text("s"), units, vec![0, 0]].concat();
    assert_eq!(out[..head.len()], head);
    out[head.len()..].to_vec()
}

/// The row that the table of bodies says.
fn row_by_table(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rows = table("### Codec 1: rows", "variant");
    let row = rows.iter().find(|row| row[1] == name).unwrap_or_else(|| panic!("no variant {name}"));
    [varint(row[0].parse().unwrap()), in_order(row[2], fields)].concat()
}

/// The same for a variant with a table of its own.
fn inner(of: &str, name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rows = table("### Codec 1: rows", of);
    let row = rows.iter().find(|row| row[1] == name).unwrap_or_else(|| panic!("no {of} {name}"));
    [varint(row[0].parse().unwrap()), in_order(row[2], fields)].concat()
}

#[test]
fn samples_lie_in_their_rows_as_the_tables_say() {
    let values = [
        (Value::Float(-1.5), "float", ("f64, finite", (-1.5_f64).to_le_bytes().to_vec())),
        (Value::Integer(-3), "integer", ("zigzag", varint(5))),
        (Value::Bool(true), "bool", ("bool", vec![1])),
        (Value::Text("on"), "text", ("text", text("on"))),
    ];
    let qualities = [(Quality::Good, "good"), (Quality::Uncertain, "uncertain"), (Quality::Bad, "bad")];
    let rows = table("### Codec 1: rows", "Value");
    assert_eq!(rows.len(), values.len());
    for (value, name, (notation, bytes)) in values {
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        assert_eq!(row[2], notation);
        let value_bytes = [varint(row[0].parse().unwrap()), bytes].concat();
        for (quality, quality_name) in qualities {
            let fields =
                [("value", value_bytes.clone()), ("unit", varint(0)), ("quality", variant("Quality", quality_name))];
            let body = Body::Sample(Sample { value, unit: "Cel", quality });
            assert_eq!(row_of(body), row_by_table("sample", &fields));
        }
    }
}

#[test]
fn bodies_lie_in_their_rows_as_the_tables_say() {
    use Severity::{Debug, Error, Fatal, Info, Warning};
    for (severity, name) in [(Debug, "debug"), (Info, "info"), (Warning, "warning"), (Error, "error"), (Fatal, "fatal")]
    {
        let fields = [("code", text("E42")), ("severity", variant("Severity", name)), ("message", text("stuck"))];
        let body = Body::Breakdown(Breakdown { code: "E42", severity, message: "stuck" });
        assert_eq!(row_of(body), row_by_table("breakdown", &fields));
    }
    let recovery = Body::Recovery(Recovery { code: "E42", message: "oiled" });
    assert_eq!(row_of(recovery), row_by_table("recovery", &[("code", text("E42")), ("message", text("oiled"))]));
    use MachineState::{Executing, NotAvailable, NotExecuting, OutOfService};
    for (state, name) in [
        (NotAvailable, "not available"),
        (OutOfService, "out of service"),
        (NotExecuting, "not executing"),
        (Executing, "executing"),
    ] {
        let fields = [("state", variant("MachineState", name)), ("reason", text("shift"))];
        assert_eq!(row_of(Body::State(State { state, reason: "shift" })), row_by_table("state", &fields));
    }
    use AlarmTransition::{Acknowledged, Cleared, Raised, Shelved, Unshelved};
    for (transition, name) in [
        (Raised, "raised"),
        (Cleared, "cleared"),
        (Acknowledged, "acknowledged"),
        (Shelved, "shelved"),
        (Unshelved, "unshelved"),
    ] {
        let fields = [
            ("condition", text("oil")),
            ("transition", variant("AlarmTransition", name)),
            ("priority", varint(700)),
            ("message", text("low")),
        ];
        let body = Body::Alarm(Alarm { condition: "oil", transition, priority: 700, message: "low" });
        assert_eq!(row_of(body), row_by_table("alarm", &fields));
    }
    let derived = Body::Derived(Derived { kind: "com.example.wear.v1", json: "{}" });
    let fields = [("kind", text("com.example.wear.v1")), ("json", text("{}"))];
    assert_eq!(row_of(derived), row_by_table("derived", &fields));
    let step = Body::ClockStep(ClockStep { before: time(1000), after: time(5) });
    assert_eq!(row_of(step), row_by_table("clock step", &[("before", varint(2000)), ("after", varint(10))]));
    let (epoch, end) = (Epoch::new(u64::MAX), Sequence::new(300));
    for (stream, name) in [(Stream::Critical, "critical"), (Stream::Samples, "samples")] {
        let mapped = [("events", varint(300)), ("boot", vec![7; 16]), ("offset", varint(3))];
        for (ticks, name_of_ticks, fields_of_ticks) in [
            (None, "none", &[][..]),
            (Some(Ticks { events: 300, boot: [7; 16], offset_us: -2 }), "of a batch", &mapped),
        ] {
            let fields = [
                ("stream", variant("Stream", name)),
                ("epoch", varint(u64::MAX)),
                ("end", varint(300)),
                ("check", varint(128)),
                ("ticks", inner("Ticks", name_of_ticks, fields_of_ticks)),
            ];
            let progress = Body::Progress(Progress { stream, epoch, end, check: 128, ticks });
            assert_eq!(row_of(progress), row_by_table("progress", &fields));
        }
    }
    assert_eq!(table("### Codec 1: rows", "variant").len(), 10);
}

#[test]
fn losses_lie_in_their_rows_as_the_tables_say() {
    use LossReason::{Corrupt, DeviceFull, Evicted, Refused, TornTail};
    for (reason, name) in [
        (Evicted, "evicted"),
        (Corrupt, "corrupt"),
        (TornTail, "torn tail"),
        (DeviceFull, "device full"),
        (Refused, "refused"),
    ] {
        for (stream, stream_name) in [(Stream::Critical, "critical"), (Stream::Samples, "samples")] {
            let (first, end) = (Sequence::new(300), Sequence::new(400));
            let body = Body::Loss(Loss { stream, epoch: Epoch::new(u64::MAX), first, end, reason, chain: [7; 32] });
            let fields = [
                ("stream", variant("Stream", stream_name)),
                ("epoch", varint(u64::MAX)),
                ("first", varint(300)),
                ("end", varint(400)),
                ("reason", variant("LossReason", name)),
                ("chain", vec![7; 32]),
            ];
            assert_eq!(row_of(body), row_by_table("loss", &fields));
        }
    }
}

#[test]
fn life_cycles_lie_in_their_rows_as_the_tables_say() {
    let check = |life: LifeCycle<'_>, name: &str, fields: &[(&str, Vec<u8>)]| {
        let expected = row_by_table("life cycle", &[("life cycle", inner("LifeCycle", name, fields))]);
        assert_eq!(row_of(Body::LifeCycle(life)), expected, "{name}");
    };
    use PreviousStop::{Clean, Crash, None, PowerLoss};
    for (previous, name) in [(None, "none"), (Clean, "clean"), (Crash, "crash"), (PowerLoss, "power loss")] {
        check(
            LifeCycle::Started { previous, version: "0.1.0", repairs: "x" },
            "started",
            &[("previous", variant("PreviousStop", name)), ("version", text("0.1.0")), ("repairs", text("x"))],
        );
    }
    check(LifeCycle::Stopped { reason: "signal" }, "stopped", &[("reason", text("signal"))]);
    check(LifeCycle::LinkUp { peer: "p" }, "link up", &[("peer", text("p"))]);
    let fields = [("peer", text("p")), ("reason", text("r"))];
    check(LifeCycle::LinkDown { peer: "p", reason: "r" }, "link down", &fields);
    let fields = [("source", text("a")), ("key", vec![9; 32])];
    check(LifeCycle::KeyPinned { source: "a", key: [9; 32] }, "key pinned", &fields);
    let fields = [("source", text("a")), ("reason", text("r"))];
    check(LifeCycle::Refused { source: "a", reason: "r" }, "refused", &fields);
    let gap = LifeCycle::Gap {
        source: "a",
        stream: Stream::Samples,
        epoch: Epoch::new(3),
        first: Sequence::new(4),
        end: Sequence::new(500),
    };
    let stream = variant("Stream", "samples");
    let fields =
        [("source", text("a")), ("stream", stream), ("epoch", varint(3)), ("first", varint(4)), ("end", varint(500))];
    check(gap, "gap", &fields);
    check(LifeCycle::DiskTrouble { message: "m" }, "disk trouble", &[("message", text("m"))]);
    check(LifeCycle::Configured { message: "m" }, "configured", &[("message", text("m"))]);
    let sealed = LifeCycle::Sealed { first: Offset::new(4), end: Offset::new(500), hash: [9; 32] };
    check(sealed, "sealed", &[("first", varint(4)), ("end", varint(500)), ("hash", vec![9; 32])]);
    let until = Offset::new(500);
    let fields = [("until", varint(500)), ("rule", text("r"))];
    check(LifeCycle::Trimmed { until, rule: "r" }, "trimmed", &fields);
    let stream = || variant("Stream", "samples");
    let fields = [("stream", stream()), ("until", varint(500)), ("rule", text("r"))];
    check(LifeCycle::Emptied { stream: Stream::Samples, until, rule: "r" }, "emptied", &fields);
    let kept = LifeCycle::LaneKept {
        source: "a",
        stream: Stream::Samples,
        epoch: Epoch::new(3),
        end: Sequence::new(500),
        time_last: time(1000),
        chain: [9; 32],
    };
    let fields = [
        ("source", text("a")),
        ("stream", stream()),
        ("epoch", varint(3)),
        ("end", varint(500)),
        ("time_last", varint(2000)),
        ("chain", vec![9; 32]),
    ];
    check(kept, "lane kept", &fields);
    assert_eq!(table("### Codec 1: rows", "LifeCycle").len(), 13);
}

#[test]
fn control_messages_lie_as_the_tables_say() {
    let item = |name: &str, fields: &[(&str, Vec<u8>)]| {
        let rows = table("## Control messages", "item");
        in_order(rows.iter().find(|row| row[0] == name).unwrap()[1], fields)
    };
    let lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1000) };
    let lane_bytes = item("Lane", &[("stream", variant("Stream", "samples")), ("epoch", varint(1000))]);
    let held = Held { lane, first: Sequence::new(5), end: Sequence::new(600) };
    let held_bytes = item("Held", &[("lane", lane_bytes.clone()), ("first", varint(5)), ("end", varint(600))]);
    let resume = |check: Option<u64>| Resume { lane, end: Sequence::new(70), check: check.map(Check) };
    let resume_bytes = |check: Option<u64>| {
        let option = check.map_or(vec![0], |check| [vec![1], varint(check)].concat());
        item("Resume", &[("lane", lane_bytes.clone()), ("end", varint(70)), ("check", option)])
    };
    let check = |control: Control, name: &str, fields: &[(&str, Vec<u8>)]| {
        let rows = table("## Control messages", "kind");
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        let rest = [varint(row[0].parse().unwrap()), in_order(row[2], fields)].concat();
        let expected = [b"AFC1".to_vec(), crc32c(&rest).to_le_bytes().to_vec(), rest].concat();
        assert_eq!(control.encode().as_slice(), expected, "{name}");
    };
    let lanes = [held, held].into_iter().collect();
    let list = [vec![2], held_bytes.clone(), held_bytes].concat();
    let signature = [vec![4; 32], vec![5; 32]].concat();
    let fields = [("session", varint(300)), ("key", vec![8; 32]), ("lanes", list), ("signature", signature)];
    check(Control::Hello(Hello { session: 300, lanes }), "hello", &fields);
    let lanes = [resume(None), resume(Some(u64::MAX))].into_iter().collect();
    let list = [vec![2], resume_bytes(None), resume_bytes(Some(u64::MAX))].concat();
    let fields = [("session", varint(300)), ("lanes", list)];
    check(Control::Welcome(Welcome { session: 300, lanes }), "welcome", &fields);
    check(Control::Ack([resume(Some(9))].into_iter().collect()), "ack", &[("resume", resume_bytes(Some(9)))]);
    let fields = [("lane", lane_bytes.clone()), ("from", varint(5))];
    check(Control::Nack { lane, from: Sequence::new(5) }, "nack", &fields);
    assert_eq!(table("## Control messages", "kind").len(), 4);
}

/// The bytes in the hexadecimal columns of an example.
fn example(name: &str) -> Vec<u8> {
    let (_, rest) = README.split_once(&format!("<!-- example: {name} -->\n```text\n")).expect("the example is there");
    let (lines, _) = rest.split_once("```").unwrap();
    let hex = lines.lines().flat_map(|line| line.split("  ").next().unwrap().split_whitespace());
    hex.map(|byte| u8::from_str_radix(byte, 16).expect("two spaces end the hexadecimal column")).collect()
}

#[test]
fn the_example_of_samples_is_what_the_code_makes() {
    let mut builder = BatchBuilder::new();
    let subject = Subject::new("88-C/spindle/temperature").unwrap();
    let start = 1_631_577_271_000_000;
    for (micros, value) in [(start, Value::Float(81.4)), (start + 1_000_000, Value::Integer(82))] {
        let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
        builder.push(&Event { time: time(micros), subject, body }).unwrap();
    }
    let lineage = Lineage {
        source: SourceId::new("press-88").unwrap(),
        stream: Stream::Samples,
        epoch: Epoch::new(0x1122_3344_5566_7788),
        first: Sequence::ZERO,
        previous: CHAIN_START,
    };
    let clock = ClockReading {
        wall: time(start + 1_500_000),
        monotonic_us: 5_000_000,
        synchronised: true,
        boot: *b"boot-0123456789a",
    };
    let mut bytes = vec![];
    builder.seal(&lineage, &clock, &Identity::from_seed(&[7; 32]), &mut bytes);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    assert_eq!(hex(&example("samples")), hex(&bytes));
    let (batch, rest) = Batch::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    assert!(Identity::from_seed(&[7; 32]).public_key().verifier().unwrap().verify(&batch).is_some());
}

#[test]
fn the_example_of_a_breakdown_is_what_the_code_makes() {
    let body = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "spindle stuck" });
    let mut encoder = Encoder::default();
    let subject = Subject::new("88-C").unwrap();
    encoder.push(&Event { time: time(1_631_577_271_000_000), subject, body }).unwrap();
    let mut bytes = vec![];
    encoder.finish(&mut bytes);
    let dictionary = [vec![1], text("88-C"), vec![0]].concat();
    assert_eq!(example("breakdown"), bytes[dictionary.len()..]);
}
