//! Events of every kind, with every variant of every enum.

use afferent_protocol::event::*;
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Subject, Timestamp};

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
        LifeCycle::KeyPinned { source: "press-88.C_1", key: [0x99; 32] },
        LifeCycle::Refused { source: "press-88.C_1", reason: "another key" },
        LifeCycle::Gap {
            source: "press-88.C_1",
            stream: Stream::Samples,
            epoch: Epoch::new(1),
            first: Sequence::new(0),
            end: Sequence::new(16_384),
        },
        LifeCycle::DiskTrouble { message: "no space left" },
    ];
    events("press-88.C_1", started.into_iter().chain(others).map(Body::LifeCycle))
}

/// What was added to the life cycle later.
pub fn life_cycle_2() -> Vec<Event<'static>> {
    let changes = [
        LifeCycle::Configured { message: "agent.toml was taken" },
        LifeCycle::Sealed { first: Offset::new(0), end: Offset::new(16_384), hash: [0x5A; 32] },
    ];
    events("collector", changes.map(Body::LifeCycle))
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

pub fn progress() -> Vec<Event<'static>> {
    let progress = |(stream, epoch, end, check, ticks)| {
        Body::Progress(Progress { stream, epoch: Epoch::new(epoch), end: Sequence::new(end), check, ticks })
    };
    let ticks = Ticks { events: 1, boot: [0xB0; 16], offset_us: 1_631_577_000_000_000 };
    let lanes =
        [(Stream::Critical, 1, 128, 0xFFFF_FFFF, Some(ticks)), (Stream::Critical, u64::MAX, u64::MAX, u64::MAX, None)];
    events("spindle-1", lanes.map(progress))
}
