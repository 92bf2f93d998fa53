//! Events of every kind, with every variant of every enum.

use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::ChainHash;
use afferent_protocol::endorsement::Role;
use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Subject, Timestamp};

use super::messages::endorsement;
use super::{COLLECTOR, KEY, LOG_ID, LOG_KEY, NEXT_TERM, SOURCE, SUCCESSOR_KEY, TERM};

pub fn time(micros: i64) -> Timestamp {
    Timestamp::new(micros).unwrap()
}

/// 2021-09-13T23:54:31Z.
const BREAKDOWN: i64 = 1_631_577_271_000_000;

/// Events one second apart, but for the third, whose clock had stepped back.
fn events(subject: &'static str, bodies: impl IntoIterator<Item = Body<'static>>) -> Vec<Event<'static>> {
    let subject = Subject::new(subject).unwrap();
    let at = |index: i64| time(BREAKDOWN + if index == 2 { -3_600_000_000 } else { 1_000_000 * index });
    (0..).zip(bodies).map(|(index, body)| Event { time: at(index), subject, body }).collect()
}

pub fn samples() -> Vec<Event<'static>> {
    let sample = |value, unit, quality| Body::Sample(Sample { value, unit, quality });
    let spindle = [
        sample(Value::Float(81.4), "Cel", Quality::Good),
        sample(Value::Float(-0.125), "mm/s", Quality::Uncertain),
        sample(Value::Integer(-42), "", Quality::Bad),
    ];
    let door = [
        sample(Value::Bool(true), "", Quality::Good),
        sample(Value::Bool(false), "", Quality::Good),
        sample(Value::Text("open, half"), "", Quality::Good),
        sample(Value::Float(3.0), "Cel", Quality::Good),
    ];
    [events("88-C/spindle/temperature", spindle), events("88-C/door", door)].concat()
}

pub fn extremes() -> Vec<Event<'static>> {
    let values = [
        Value::Float(f64::MAX),
        Value::Float(f64::MIN_POSITIVE / 4.0),
        Value::Float(-0.0),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Text(""),
        Value::Text("Größe \u{1F600} \"\\"),
    ];
    let sample = |value| Body::Sample(Sample { value, unit: "10*3/uL", quality: Quality::Good });
    let mut events = events("Halle 3/Öl/Füllstand", values.map(sample));
    events[0].time = Timestamp::clamped(i64::MAX);
    events[1].time = Timestamp::clamped(i64::MIN);
    events
}

pub fn critical() -> Vec<Event<'static>> {
    let severities = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal];
    let breakdowns = severities
        .map(|severity| Body::Breakdown(Breakdown { code: "E42", severity, message: "spindle stuck at 12 °" }));
    let states =
        [MachineState::NotAvailable, MachineState::OutOfService, MachineState::NotExecuting, MachineState::Executing]
            .map(|state| Body::State(State { state, reason: "" }));
    let alarms = [
        (AlarmTransition::Raised, 1),
        (AlarmTransition::Cleared, 127),
        (AlarmTransition::Acknowledged, 128),
        (AlarmTransition::Shelved, 700),
        (AlarmTransition::Unshelved, 1000),
    ]
    .map(|(transition, priority)| {
        Body::Alarm(Alarm { condition: "oil/low", transition, priority, message: "refill\nsoon" })
    });
    let others = [
        Body::Recovery(Recovery { code: "E42", message: "" }),
        Body::ClockStep(ClockStep { before: time(BREAKDOWN + 3_600_000_000), after: time(BREAKDOWN) }),
        Body::Derived(Derived { kind: "com.example.wear.v1", json: "{\"hours\":12.5}" }),
    ];
    let machine = breakdowns.into_iter().chain(others);
    [events("88-C", machine), events("88-C/control", states), events("88-C/lubrication", alarms)].concat()
}

pub fn losses() -> Vec<Event<'static>> {
    let reasons = [
        (LossReason::Evicted, Stream::Samples),
        (LossReason::Corrupt, Stream::Critical),
        (LossReason::TornTail, Stream::Samples),
        (LossReason::DeviceFull, Stream::Critical),
        (LossReason::Refused, Stream::Samples),
        (LossReason::Vanished, Stream::Critical),
        (LossReason::VanishedAtLeast, Stream::Critical),
    ];
    let loss = |(reason, stream)| {
        let (first, end) = (Sequence::new(127), Sequence::new(128));
        Body::Loss(Loss { stream, epoch: Epoch::new(u64::MAX), first, end, reason, chain: [0xCD; 32] })
    };
    events("press-88.C_1", reasons.map(loss))
}

pub fn life_cycle() -> Vec<Event<'static>> {
    let previous = [PreviousStop::None, PreviousStop::Clean, PreviousStop::Crash, PreviousStop::PowerLoss];
    let started = previous.map(|previous| LifeCycle::Started { previous, version: "0.1.0", repairs: "" });
    let others = [
        LifeCycle::Stopped { reason: "signal" },
        LifeCycle::LinkUp { peer: "mqtt://127.0.0.1:1883" },
        LifeCycle::LinkDown { peer: "mqtt://127.0.0.1:1883", reason: "timed out" },
        LifeCycle::DiskTrouble { message: "no space left" },
        LifeCycle::Configured { message: "agent.toml was taken" },
        LifeCycle::RingReplaced { message: "neither ring nor witness was found" },
    ];
    events("press-88.C_1", started.into_iter().chain(others).map(Body::LifeCycle))
}

/// What an agent says of itself every minute: with two lanes, and with none.
pub fn heartbeats() -> Vec<Event<'static>> {
    // Two lanes as bytes: stream, epoch, end, check.
    const LANES: [u8; 30] = [
        0, 0x88, 0x0E, 0xAC, 0x02, 0xD1, 0xC2, 0xB3, 0xA4, 0x95, 0x86, 0x77, 0x68, //
        1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let heartbeat = |lanes| LifeCycle::Heartbeat { instance: [0x1A; 16], lanes: LaneEnds::from_bytes(lanes) };
    events("press-88.C_1", [heartbeat(&LANES), heartbeat(&[])].map(Body::LifeCycle))
}

/// How a log begins.
pub fn beginning() -> Vec<Event<'static>> {
    let first = Offset::new(0);
    let changes = [
        LifeCycle::TermBegun { log_id: LOG_ID, partition: 0, term: TERM, first },
        LifeCycle::KeyPinned { source: COLLECTOR, key: LOG_KEY.public_key().0 },
        LifeCycle::KeyPinned { source: SOURCE, key: KEY.public_key().0 },
    ];
    events(COLLECTOR, changes.map(Body::LifeCycle))
}

/// An attestation. Golden files are made once: what it holds is leaked.
pub fn attested(attestation: [u8; ATTESTATION_LEN]) -> Vec<Event<'static>> {
    let attestation = attestation.to_vec().leak();
    events(COLLECTOR, [Body::LifeCycle(LifeCycle::Attested { attestation })])
}

/// What a collector finds out about agents.
pub fn of_collector() -> Vec<Event<'static>> {
    let (stream, epoch) = (Stream::Samples, Epoch::new(1));
    let (first, end) = (Sequence::new(0), Sequence::new(16_384));
    let changes = [
        LifeCycle::KeyPinned { source: SOURCE, key: [0x99; 32] },
        LifeCycle::Refused { source: SOURCE, reason: "another key" },
        LifeCycle::Gap { source: SOURCE, stream, epoch, first, end },
        LifeCycle::Alias { source: SOURCE, former: "press-88" },
        LifeCycle::Conflict { source: SOURCE, boots: [[0xB0; 16], [0xB1; 16]], addresses: "10.0.0.8, 10.0.0.9" },
        LifeCycle::Retired { source: "press", who: "ada", why: "scrapped" },
        LifeCycle::KeyReplaced { source: SOURCE, key: [0x9A; 32], who: "ada" },
    ];
    events(COLLECTOR, changes.map(Body::LifeCycle))
}

/// A name that gave way to others.
pub fn forgotten() -> Vec<Event<'static>> {
    events(COLLECTOR, [Body::LifeCycle(LifeCycle::Forgotten { source: "press-89" })])
}

/// What a log says of itself.
pub fn proof(attestation: [u8; ATTESTATION_LEN]) -> Vec<Event<'static>> {
    let (until, end) = (Offset::new(16_384), Offset::new(20_000));
    let endorsement = endorsement(Role::Successor, KEY.public_key()).sign(&LOG_KEY).to_vec().leak();
    let changes = [
        LifeCycle::TermBegun { log_id: LOG_ID, partition: 0, term: u64::MAX, first: until },
        LifeCycle::RolledBack { source: SOURCE, term: TERM, until, end, time: time(BREAKDOWN) },
        LifeCycle::KeyEndorsed { endorsement },
    ];
    [attested(attestation), events(COLLECTOR, changes.map(Body::LifeCycle))].concat()
}

/// How a log goes on under another key.
pub fn next_term(first: Offset) -> Vec<Event<'static>> {
    let key = SUCCESSOR_KEY.public_key();
    let changes = [
        LifeCycle::TermBegun { log_id: LOG_ID, partition: 0, term: NEXT_TERM, first },
        LifeCycle::KeyPinned { source: COLLECTOR, key: key.0 },
        LifeCycle::KeyEndorsed { endorsement: endorsement(Role::Successor, key).sign(&LOG_KEY).to_vec().leak() },
    ];
    events(COLLECTOR, changes.map(Body::LifeCycle))
}

/// Two sequences of samples will never come.
pub fn lost(epoch: Epoch, first: u64, chain: ChainHash) -> Vec<Event<'static>> {
    let (stream, reason) = (Stream::Samples, LossReason::Evicted);
    let (first, end) = (Sequence::new(first), Sequence::new(first + 2));
    events(SOURCE, [Body::Loss(Loss { stream, epoch, first, end, reason, chain })])
}

/// The samples once more, in another epoch.
pub fn resealed(epoch: Epoch, first: u64) -> Vec<Event<'static>> {
    let (stream, first) = (Stream::Samples, Sequence::new(first));
    let resealed = LifeCycle::Resealed { stream, epoch, first, reason: ResealReason::Diverged };
    [events(SOURCE, [Body::LifeCycle(resealed)]), samples()].concat()
}

/// What consumers conclude: a document as it was written, and a text that is none.
pub fn derived() -> Vec<Event<'static>> {
    let derived = [
        Derived { kind: "com.example.wear.v1", json: "{\"hours\": [1, 2.50]}" },
        Derived { kind: "", json: "not json\u{1}" },
    ];
    events("88-C", derived.map(Body::Derived))
}

/// What was posted to a collector.
pub fn posted() -> Vec<Event<'static>> {
    let document = r#"{"source":"erp","id":"a-1","severitynumber":9,"datacontenttype":"application/json","order":7,"data":{"hours":12.5}}"#;
    let binary = r#"{"source":"erp","id":"a-2","severitynumber":17,"data_base64":"AAEC"}"#;
    let bare = r#"{"source":"erp","id":"a-3","severitynumber":9}"#;
    let posted = [document, binary, bare].map(|json| Body::Derived(Derived { kind: "com.example.order.v1", json }));
    events("88-C", posted)
}

/// Two events of a device; their times are microseconds since its boot.
pub fn of_device(number: i64) -> Vec<Event<'static>> {
    let bodies = [
        Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "spindle stuck" }),
        Body::Recovery(Recovery { code: "E42", message: "" }),
    ];
    let mut events = events("spindle", bodies);
    events.iter_mut().zip(0..).for_each(|(event, at)| event.time = time(6_000_000 + 1_000_000 * number + 500_000 * at));
    events
}

/// What a collector says before retention removes something.
pub fn retention() -> Vec<Event<'static>> {
    let until = Offset::new(16_384);
    let changes = [
        LifeCycle::KeyPinned { source: "press-88.C_1", key: [0x99; 32] },
        LifeCycle::LaneKept {
            source: "press-88.C_1",
            stream: Stream::Samples,
            epoch: Epoch::new(u64::MAX),
            end: Sequence::new(128),
            time_last: time(BREAKDOWN),
            chain: [0xCD; 32],
        },
        LifeCycle::Trimmed { until, rule: "older than 365d" },
        LifeCycle::Emptied { stream: Stream::Samples, until, rule: "samples older than 30d" },
    ];
    events("collector", changes.map(Body::LifeCycle))
}

/// Events of a device with their progress behind them, then the table.
pub fn progress() -> Vec<Event<'static>> {
    let progress = |(stream, epoch, end, check, ticks)| {
        Body::Progress(Progress { stream, epoch: Epoch::new(epoch), end: Sequence::new(end), check, ticks })
    };
    let offset_us = 1_631_577_000_000_000;
    let ticks = Ticks { events: 2, boot: *b"fedcba9876543210", offset_us };
    let behind = [(Stream::Critical, 1, 128, 0xFFFF_FFFF, Some(ticks))].map(progress);
    let table = [(Stream::Critical, 1, 128, 0xFFFF_FFFF, None), (Stream::Critical, u64::MAX, u64::MAX, u64::MAX, None)];
    let mut of_device = of_device(0);
    of_device.iter_mut().for_each(|event| event.time = time(event.time.micros() + offset_us));
    [of_device, events("spindle-1", behind), events("spindle-1", table.map(progress))].concat()
}

/// What lines of files have led to, with the table of files behind it; and what became of a part that was not read.
pub fn followed() -> Vec<Event<'static>> {
    const FILES: &[u8] =
        b"\x80\x01\x81\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x81\x01\x80\x08fedcba98\x80\x01\x7f\x00\x09press.log\
        \x02\x81\x10\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x0bpress.log.1";
    let unread =
        |bytes_least, reason| LifeCycle::Unread { file: "/var/log/press.log", from: 16_384, bytes_least, reason };
    let losses = [unread(0, "it was truncated"), unread(u64::MAX, "it was deleted")].map(Body::LifeCycle);
    let files = FilePlaces::from_bytes(FILES);
    let horizon = time(1_631_577_000_000_000);
    let (stream, input) = (Stream::Critical, "press");
    let table = |number, horizon, files| Body::Followed(Followed { stream, input, number, horizon, files });
    let tables = [table(300, horizon, files), table(u64::MAX, time(0), FilePlaces::default())];
    [events(SOURCE, losses), events(SOURCE, tables)].concat()
}
