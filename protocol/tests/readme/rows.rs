//! Events in their rows, and the notation that messages share.

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::codec::rows::Encoder;
use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject};
use afferent_protocol::limits::*;
use afferent_protocol::sign::Identity;

use super::{README, table, time};

// The body's notation, written down again by hand.

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value > 127 {
        bytes.push(value as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
    bytes
}

pub fn text(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// Index of a name in the table of enums.
pub fn variant(name: &str, value: &str) -> Vec<u8> {
    let enums = table("### Codec 1: rows", "enum");
    let row = enums.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no enum {name}"));
    let at = row[1..].iter().position(|cell| *cell == value).unwrap_or_else(|| panic!("{name} has no {value}"));
    varint(at as u64)
}

/// Puts fields together in the order of a cell such as `code: text, message: text`.
pub fn in_order(cell: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
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
    let place = FilePlace {
        number: 128,
        device: 300,
        inode: u64::MAX,
        born_us: 129,
        known: 1024,
        fingerprint: [9; 8],
        end: 500,
        other_end: 1,
        is_finished: true,
        name: "press.log",
    };
    let mut buffer = [0; FOLLOWED_BYTES_MAX];
    let files = FilePlaces::write(&[place, FilePlace { is_finished: false, ..place }], &mut buffer).unwrap();
    let before =
        [varint(128), varint(300), varint(u64::MAX), varint(129), varint(1024), vec![9; 8], varint(500), varint(1)]
            .concat();
    let list = [&before[..], &[1, 9], b"press.log", &before, &[0, 9], b"press.log"].concat();
    let fields = [
        ("stream", variant("Stream", "samples")),
        ("input", text("press")),
        ("number", varint(300)),
        ("horizon", varint(2000)),
        ("files", bytes(&list)),
    ];
    let followed = Followed { stream: Stream::Samples, input: "press", number: 300, horizon: time(1000), files };
    assert_eq!(row_of(Body::Followed(followed)), row_by_table("followed", &fields));
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
        LaneEnd { stream: Stream::Samples, epoch: Epoch::new(u64::MAX), end: Sequence::new(300), check: 0x0102 },
        LaneEnd { stream: Stream::Critical, epoch: Epoch::new(1), end: Sequence::ZERO, check: 0 },
    ];
    let check_of_first = [2, 1, 0, 0, 0, 0, 0, 0];
    let list = [&[1][..], &varint(u64::MAX), &varint(300), &check_of_first, &[0, 1, 0], &[0; 8]].concat();
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
    check(LifeCycle::Forgotten { source: "a" }, "forgotten", &[("source", text("a"))]);
    let unread = LifeCycle::Unread { file: "f", from: 300, bytes_least: 500, reason: "r" };
    let fields = [("file", text("f")), ("from", varint(300)), ("bytes_least", varint(500)), ("reason", text("r"))];
    check(unread, "unread", &fields);
}

/// The specification's names have blanks where the code's have none.
fn squeezed(name: &str) -> String {
    name.replace(' ', "")
}

#[test]
fn the_kinds_of_events_and_the_changes_of_a_life_cycle_are_those_of_the_code() {
    let numbered = |column| {
        let rows = table("### Codec 1: rows", column);
        rows.iter().map(|row| (row[0].parse().unwrap(), squeezed(row[1]))).collect::<Vec<_>>()
    };
    let kinds = Kind::ALL.map(|kind| (kind.number(), kind.name().to_owned()));
    assert_eq!(numbered("variant"), kinds);
    let changes = Change::ALL.map(|change| (change.number(), squeezed(&change.name().replace('_', " "))));
    assert_eq!(numbered("LifeCycle"), changes);
}

#[test]
fn whose_word_counts_is_told_of_every_kind_of_event_and_of_every_change() {
    let rows = table("### What events mean", "event");
    let told: Vec<String> = rows.iter().flat_map(|row| row[0].split(", ").map(squeezed)).collect();
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::LifeCycle).map(|kind| kind.name().to_owned());
    let known: Vec<String> = kinds.chain(Change::ALL.map(|change| change.name().replace('_', ""))).collect();
    for name in &known {
        assert_eq!(told.iter().filter(|told| *told == name).count(), 1, "{name}");
    }
    assert_eq!(told.len(), known.len(), "no event stands there that is none");
}

/// The bytes in the hexadecimal columns of an example.
pub fn example(name: &str) -> Vec<u8> {
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
