//! Holds the tables and examples of `README.md` against the code: the specification cannot drift.

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::{self, Batch, BatchBuilder, CHAIN_START, ClockReading, Header, Lineage};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::Codec;
use afferent_protocol::codec::rows::Encoder;
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::limits::*;
use afferent_protocol::segment::{self, EntryHead, LogKind, SegmentHeader};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Place, Up, UpContent};
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::{Context, Identity, PublicKey, Running, sha256};
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
    check_rows(heading, &table(heading, "offset"), bytes, fields);
}

fn check_rows(heading: &str, rows: &[Vec<&str>], bytes: &[u8], fields: &[(&str, &[u8])]) {
    let mut at = 0;
    for row in rows {
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
                ("version", &[2]),
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
        other: (Epoch::new(0x6162_6364_6566_6768), 0x7172_7374_7576_7778),
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
            ("other_epoch", &head.other.0.get().to_le_bytes()),
            ("other_end", &head.other.1.to_le_bytes()),
        ],
    );
    assert_eq!((segment::ENTRY_HEAD_LEN, segment::STOP_LEN, segment::ENTRY_ALIGN), (56, 56, 8));
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
    limits!(HEARTBEAT_LANES_MAX, HEARTBEAT_BYTES_MAX, STATEMENT_BYTES_MAX);
    limits!(SIGNED_BYTES_MAX, FORMER_NAMES_MAX, ENDORSEMENTS_MAX);
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
    for (format, magic) in [("signed message", b"AFS1"), ("clock exchange", b"AFT1"), ("fragment", b"AFF1")] {
        version(format, magic[3] - b'0');
    }
    for format in ["attestation", "endorsement"] {
        version(format, 1);
    }
    let agents = table("## Topics", "name");
    assert_eq!(agents.len(), 2);
    for row in agents {
        assert_eq!(shard(&SourceId::new(row[0].trim_matches('`')).unwrap()).to_string(), row[1]);
    }
}

#[test]
fn the_contexts_of_signatures_are_those_of_the_code() {
    let contexts = [Context::Batch, Context::Control, Context::Attestation, Context::Endorsement];
    let rows = table("## Signatures", "context");
    assert_eq!(rows.len(), contexts.len());
    for (row, context) in rows.iter().zip(contexts) {
        let zeros: usize = row[1].parse().unwrap();
        assert_eq!([row[0].trim_matches('`').as_bytes(), &vec![0; zeros]].concat(), context.bytes());
    }
    // The two y of small order that are no small numbers: points for the library, and no keys here, whatever the sign.
    let (_, rest) = README.split_once("as it stands, with k").unwrap().0.rsplit_once("```text\n").unwrap();
    for line in rest.lines().take(2) {
        let digits = line.split(' ').next().unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
        for sign in [0, 0x80] {
            let mut key: [u8; 32] = std::array::from_fn(byte);
            key[31] |= sign;
            assert!(PublicKey(key).verifier().is_none(), "{digits}");
        }
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
    use LossReason::{Corrupt, DeviceFull, Evicted, Refused, TornTail, Vanished, VanishedAtLeast};
    for (reason, name) in [
        (Evicted, "evicted"),
        (Corrupt, "corrupt"),
        (TornTail, "torn tail"),
        (DeviceFull, "device full"),
        (Refused, "refused"),
        (Vanished, "vanished"),
        (VanishedAtLeast, "vanished at least"),
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
    let check = check_life_cycle;
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
}

fn check_life_cycle(life: LifeCycle<'_>, name: &str, fields: &[(&str, Vec<u8>)]) {
    let expected = row_by_table("life cycle", &[("life cycle", inner("LifeCycle", name, fields))]);
    assert_eq!(row_of(Body::LifeCycle(life)), expected, "{name}");
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

#[test]
fn life_cycles_that_proof_needs_lie_in_their_rows_as_the_tables_say() {
    let check = check_life_cycle;
    check(LifeCycle::Attested { attestation: &[9; 213] }, "attested", &[("attestation", bytes(&[9; 213]))]);
    let term = LifeCycle::TermBegun { log_id: [3; 16], partition: 300, term: u64::MAX, first: Offset::new(500) };
    let fields =
        [("log_id", vec![3; 16]), ("partition", varint(300)), ("term", varint(u64::MAX)), ("first", varint(500))];
    check(term, "term begun", &fields);
    let lanes = [
        (Stream::Samples, Epoch::new(u64::MAX), Sequence::new(300)),
        (Stream::Critical, Epoch::new(1), Sequence::ZERO),
    ];
    let list = [&[1][..], &varint(u64::MAX), &varint(300), &[0, 1, 0]].concat();
    let mut buffer = [0; HEARTBEAT_BYTES_MAX];
    let heartbeat = LifeCycle::Heartbeat { instance: [4; 16], lanes: LaneEnds::write(&lanes, &mut buffer).unwrap() };
    check(heartbeat, "heartbeat", &[("instance", vec![4; 16]), ("lanes", bytes(&list))]);
    for (reason, name) in [(ResealReason::Diverged, "diverged"), (ResealReason::OtherKey, "other key")] {
        let (stream, epoch, first) = (Stream::Samples, Epoch::new(300), Sequence::new(500));
        let fields = [
            ("stream", variant("Stream", "samples")),
            ("epoch", varint(300)),
            ("first", varint(500)),
            ("reason", variant("ResealReason", name)),
        ];
        check(LifeCycle::Resealed { stream, epoch, first, reason }, "resealed", &fields);
    }
    check(LifeCycle::RingReplaced { message: "m" }, "ring replaced", &[("message", text("m"))]);
    let fields = [("source", text("a")), ("boots", [[5; 16], [6; 16]].concat()), ("addresses", text("x"))];
    check(LifeCycle::Conflict { source: "a", boots: [[5; 16], [6; 16]], addresses: "x" }, "conflict", &fields);
    let (until, end) = (Offset::new(500), Offset::new(600));
    let fields = [
        ("source", text("a")),
        ("term", varint(300)),
        ("until", varint(500)),
        ("end", varint(600)),
        ("time", varint(2000)),
    ];
    check(LifeCycle::RolledBack { source: "a", term: 300, until, end, time: time(1000) }, "rolled back", &fields);
    let fields = [("source", text("a")), ("who", text("w")), ("why", text("y"))];
    check(LifeCycle::Retired { source: "a", who: "w", why: "y" }, "retired", &fields);
    let fields = [("source", text("a")), ("key", vec![9; 32]), ("who", text("w"))];
    check(LifeCycle::KeyReplaced { source: "a", key: [9; 32], who: "w" }, "key replaced", &fields);
    check(LifeCycle::KeyEndorsed { endorsement: &[9; 146] }, "key endorsed", &[("endorsement", bytes(&[9; 146]))]);
    let fields = [("source", text("a")), ("former", text("f"))];
    check(LifeCycle::Alias { source: "a", former: "f" }, "alias", &fields);
    assert_eq!(table("### Codec 1: rows", "LifeCycle").len(), 23);
}

#[test]
fn whose_word_counts_is_told_of_every_kind_of_event() {
    let rows = table("### What events mean", "event");
    let told: Vec<_> = rows.iter().flat_map(|row| row[0].split(", ")).collect();
    for row in table("### Codec 1: rows", "LifeCycle") {
        assert!(told.contains(&row[1]), "{}", row[1]);
    }
}

fn item(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rows = table("## Control messages", "item");
    in_order(rows.iter().find(|row| row[0] == name).unwrap()[1], fields)
}

const LANE: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1000) };

fn lane_bytes() -> Vec<u8> {
    item("Lane", &[("stream", variant("Stream", "samples")), ("epoch", varint(1000))])
}

fn resume(check: Option<u64>) -> Resume {
    Resume { lane: LANE, end: Sequence::new(70), check: check.map(Check) }
}

fn resume_bytes(check: Option<u64>) -> Vec<u8> {
    let option = check.map_or(vec![0], |check| [vec![1], varint(check)].concat());
    item("Resume", &[("lane", lane_bytes()), ("end", varint(70)), ("check", option)])
}

#[test]
fn control_messages_lie_as_the_tables_say() {
    let check = |control: Control, name: &str, fields: &[(&str, Vec<u8>)]| {
        let rows = table("## Control messages", "kind");
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        let rest = [varint(row[0].parse().unwrap()), in_order(row[3], fields)].concat();
        let expected = [b"AFC2".to_vec(), crc32c(&rest).to_le_bytes().to_vec(), rest].concat();
        assert_eq!(control.encode().as_slice(), expected, "{name}");
    };
    let held = Held { lane: LANE, first: Sequence::new(5), end: Sequence::new(600) };
    let held_bytes = item("Held", &[("lane", lane_bytes()), ("first", varint(5)), ("end", varint(600))]);
    let list = [vec![2], held_bytes.clone(), held_bytes].concat();
    let hello = Hello { session: 300, lanes: [held, held].into_iter().collect() };
    check(Control::Hello(hello), "hello", &[("session", varint(300)), ("lanes", list)]);
    let lanes: heapless::Vec<_, LANES_MAX> = [resume(None), resume(Some(u64::MAX))].into_iter().collect();
    let list = [vec![2], resume_bytes(None), resume_bytes(Some(u64::MAX))].concat();
    let fields = [("session", varint(300)), ("lanes", list.clone())];
    check(Control::Welcome(Welcome { session: 300, lanes: lanes.clone() }), "welcome", &fields);
    check(Control::Ack(lanes.clone()), "ack", &[("lanes", list.clone())]);
    let fields = [("lane", lane_bytes()), ("from", varint(5))];
    check(Control::Nack { lane: LANE, from: Sequence::new(5) }, "nack", &fields);
    check(Control::Ask(lanes), "ask", &[("ends", list)]);
    check(Control::Common(resume(Some(9))), "common", &[("end", resume_bytes(Some(9)))]);
    let range = SequenceRange { first: Sequence::new(5), end: Sequence::new(600) };
    let fields = [("lane", lane_bytes()), ("first", varint(5)), ("end", varint(600))];
    check(Control::Again { lane: LANE, range }, "again", &fields);
    assert_eq!(table("## Control messages", "kind").len(), 7);
}

/// The signed message that the tables say.
fn signed_by_tables(
    source: &str,
    identity: &Identity,
    (direction, kind): (&str, u8),
    [log_id, nonce, answer]: [[u8; 16]; 3],
    fields: &[(&str, Vec<u8>)],
    content: &[u8],
) -> Vec<u8> {
    let row = table_after("## Signed messages", "| direction | name | fields in their order |")
        .into_iter()
        .find(|row| row[1] == direction)
        .unwrap();
    let number: u8 = row[0].parse().unwrap();
    let key = identity.public_key().0;
    let signed = [&[number, kind][..], &log_id, &nonce, &answer, &key, &in_order(row[2], fields), content].concat();
    let hashed = [source.as_bytes(), &[0], &signed].concat();
    let signature = identity.sign_in(Context::Control, &sha256(&hashed));
    let crc = crc32c(&[&signature[..], &signed].concat()).to_le_bytes();
    let message = [b"AFS1", &crc[..], &signature, &signed].concat();
    let head = table("## Signed messages", "offset");
    let layout = [
        ("magic", &b"AFS1"[..]),
        ("crc", &crc),
        ("signature", &signature),
        ("direction", &[number]),
        ("kind", &[kind]),
        ("log_id", &log_id),
        ("nonce", &nonce),
        ("answer", &answer),
        ("key", &key),
    ];
    check_rows("## Signed messages", &head, &message[..154], &layout);
    message
}

#[test]
fn messages_of_agents_lie_as_the_tables_say() {
    let (source, identity) = (SourceId::new("press-88").unwrap(), Identity::from_seed(&[7; 32]));
    let control = Control::Common(resume(None));
    let clock = ClockReading { wall: time(1000), monotonic_us: 300, synchronised: true, boot: [6; 16] };
    let up = |content| Up {
        log_id: [1; 16],
        nonce: Nonce([2; 16]),
        answer: Nonce([3; 16]),
        key: identity.public_key(),
        instance: Instance([5; 16]),
        clock,
        former: vec![SourceId::new("a").unwrap(), SourceId::new("b-1").unwrap()],
        content,
    };
    let fields = [
        ("instance", vec![5; 16]),
        ("boot", vec![6; 16]),
        ("synchronised", vec![1]),
        ("monotonic", varint(300)),
        ("wall", varint(2000)),
        ("former", [vec![2], text("a"), text("b-1")].concat()),
    ];
    let contents = table("## Signed messages", "content");
    assert_eq!(contents.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(), [("control", "0"), ("state", "1")]);
    let head = [[1; 16], [2; 16], [3; 16]];
    let expected = signed_by_tables("press-88", &identity, ("up", 0), head, &fields, &control.encode()[8..]);
    assert_eq!(up(UpContent::Control(control)).sign(&source, &identity), expected);
    for online in [false, true] {
        let content = in_order(contents[1][2], &[("online", vec![u8::from(online)])]);
        let expected = signed_by_tables("press-88", &identity, ("up", 1), head, &fields, &content);
        assert_eq!(up(UpContent::State { online }).sign(&source, &identity), expected);
    }
}

#[test]
fn messages_of_collectors_lie_as_the_tables_say() {
    let (source, identity) = (SourceId::new("press-88").unwrap(), Identity::from_seed(&[8; 32]));
    let place = Place { log_id: [1; 16], partition: 300, term: u64::MAX, offset: Offset::new(500) };
    let content = Control::Ack([resume(Some(9))].into_iter().collect());
    for (attestation, option) in [(None, vec![0]), (Some([9; 213]), [vec![1], vec![9; 213]].concat())] {
        let down = Down {
            nonce: Nonce([2; 16]),
            answer: Nonce([3; 16]),
            key: identity.public_key(),
            place,
            time: time(1000),
            is_proved: attestation.is_some(),
            endorsements: vec![[6; 146], [7; 146]],
            attestation,
            content: content.clone(),
        };
        let fields = [
            ("partition", varint(300)),
            ("term", varint(u64::MAX)),
            ("offset", varint(500)),
            ("time", varint(2000)),
            ("is_proved", vec![u8::from(attestation.is_some())]),
            ("endorsements", [vec![2], vec![6; 146], vec![7; 146]].concat()),
            ("attestation", option),
        ];
        let head = [[1; 16], [2; 16], [3; 16]];
        let expected = signed_by_tables("press-88", &identity, ("down", 0), head, &fields, &content.encode()[8..]);
        assert_eq!(down.sign(&source, &identity), expected);
    }
}

#[test]
fn attestations_lie_as_the_tables_say() {
    let identity = Identity::from_seed(&[8; 32]);
    let (first, stamp, chain) = (Offset::new(0x0102_0304_0506_0708), time(0x0001_1112_1314_1516), [0xC7; 32]);
    let mut running = Running::from_hash([0xC6; 32]);
    running.push(first, stamp, 0x2122_2324, &chain);
    let rows: Vec<Vec<&str>> = table("## Attestations", "offset");
    let (layout, hashed) = (rows, table_after("## Attestations", "| offset | bytes | hashed of an entry |"));
    let entry = [
        ("the running hash before it", &[0xC6; 32][..]),
        ("ordinal", &first.get().to_le_bytes()),
        ("stamp", &stamp.micros().to_le_bytes()),
        ("count", &0x2122_2324_u32.to_le_bytes()),
        ("chain hash of its batch; of an emptied batch the one that was kept", &chain),
    ];
    let bytes: Vec<u8> = entry.iter().flat_map(|(_, value)| value.to_vec()).collect();
    check_rows("running hash", &hashed, &bytes, &entry);
    assert_eq!(running.hash(), sha256(&bytes));
    assert_eq!(Running::default().hash(), [0; 32]);
    let attestation = Attestation {
        key: identity.public_key(),
        log_id: [1; 16],
        partition: 0x0102_0304,
        term: 0x1112_1314_1516_1718,
        number: 0x2122_2324_2526_2728,
        end: Offset::new(0x3132_3334_3536_3738),
        time: time(0x0001_4142_4344_4546),
        previous: [2; 32],
        hash: running,
    };
    let bytes = attestation.sign(&identity);
    let signature = identity.sign_in(Context::Attestation, &sha256(&bytes[..149]));
    assert_eq!(attestation.digest(), sha256(&bytes[..149]));
    let fields = [
        ("version", &[1][..]),
        ("key", &attestation.key.0),
        ("log_id", &[1; 16]),
        ("partition", &attestation.partition.to_le_bytes()),
        ("term", &attestation.term.to_le_bytes()),
        ("number", &attestation.number.to_le_bytes()),
        ("end", &attestation.end.get().to_le_bytes()),
        ("time", &attestation.time.micros().to_le_bytes()),
        ("previous", &[2; 32]),
        ("hash", &attestation.hash.hash()),
        ("signature", &signature),
    ];
    check_rows("## Attestations", &layout, &bytes, &fields);
    assert_eq!(ATTESTATION_LEN, 213);
}

#[test]
fn endorsements_lie_as_the_table_says() {
    let identity = Identity::from_seed(&[8; 32]);
    for (role, number) in [(Role::Successor, 0), (Role::Colleague, 1)] {
        let endorsement = Endorsement { role, log_id: [1; 16], key: PublicKey([2; 32]), by: identity.public_key() };
        let bytes = endorsement.sign(&identity);
        let signature = identity.sign_in(Context::Endorsement, &sha256(&bytes[..82]));
        let fields = [
            ("version", &[1][..]),
            ("role", &[number]),
            ("log_id", &[1; 16]),
            ("key", &[2; 32]),
            ("by", &endorsement.by.0),
            ("signature", &signature),
        ];
        check_layout("## Endorsements", &bytes, &fields);
    }
    assert_eq!(ENDORSEMENT_LEN, 146);
}

/// The rows of the table after `heading` with exactly this first line.
fn table_after(heading: &str, first_line: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    let (_, rows) = section.split_once(&format!("{first_line}\n")).unwrap_or_else(|| panic!("no table {first_line}"));
    let lines = rows.lines().take_while(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn what_is_said_about_clocks_on_a_serial_line_lies_as_the_table_says() {
    use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
    let rows = table("### Clock exchange", "offset");
    let source = SourceId::new("mill-2").unwrap();
    let request = ClockRequest { boot: [7; 16], tick_us: 0x0102_0304, source }.encode();
    let reply = ClockReply { boot: [7; 16], tick_us: 0x0102_0304, synchronised: true, wall: time(0x0506) }.encode();
    let tick = 0x0102_0304_u64.to_le_bytes();
    let fields: [(&[u8], &[u8]); 6] = [
        (b"AFT1", b"AFT1"),
        (&[0], &[1]),
        (&[7; 16], &[7; 16]),
        (&tick, &tick),
        (&[6], &[1]),
        (b"mill-2", &0x0506_i64.to_le_bytes()),
    ];
    assert_eq!(rows.len(), fields.len());
    for (row, (asked, answered)) in rows.iter().zip(fields) {
        let at: usize = row[0].parse().unwrap();
        assert!(row[1].parse::<usize>().is_ok_and(|len| len == asked.len()) || row[1] == "…");
        assert_eq!((&request[at..at + asked.len()], &reply[at..at + answered.len()]), (asked, answered), "{row:?}");
    }
    assert_eq!((request.len(), reply.len()), (36, 38));
}

#[test]
fn fragments_lie_as_the_table_says() {
    use afferent_protocol::fragment::{PIECE_LEN, fragment};
    let batch = [&header().encode()[..], &[9; 3]].concat();
    let bytes = fragment(&batch, 32).unwrap();
    let fields = [&b"AFF1"[..], &batch[4..8], &259_u16.to_le_bytes(), &32_u16.to_le_bytes(), &batch[32..64]];
    let rows = table("### Fragments", "offset");
    assert_eq!(rows.len(), fields.len());
    for (row, field) in rows.iter().zip(fields) {
        let at: usize = row[0].parse().unwrap();
        assert_eq!((row[1].parse(), &bytes[at..at + field.len()]), (Ok(field.len()), field), "{row:?}");
    }
    assert_eq!((bytes.len(), PIECE_LEN), (44, 32));
    assert_eq!(fragment(&batch, 256).unwrap().len(), 12 + 3);
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
