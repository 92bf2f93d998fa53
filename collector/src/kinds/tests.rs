//! Compares the table with the protocol's specification, with rendered events, and with itself.

use std::collections::BTreeSet;

use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, ClockStep, Derived, Event, Followed, LaneEnds, LifeCycle, Loss,
    LossReason, MachineState, PreviousStop, Progress, Quality, Recovery, ResealReason, Sample, Severity, State, Value,
};
use afferent_protocol::ids::{Epoch, Offset, Sequence, Stream, Subject, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;
use serde_json::Value as Json;

use super::*;
use crate::cloud_event::EventRenderer;
use crate::log::Kinds;
use crate::log::address::Partition;
use crate::simulated::{Agent, parse};

const SPECIFICATION: &str = include_str!("../../../protocol/README.md");

/// An event of each kind.
fn example(kind: Kind) -> Body<'static> {
    let (stream, epoch, end) = (Stream::Critical, Epoch::new(1), Sequence::new(2));
    let time = Timestamp::clamped(1_631_577_271_000_000);
    match kind {
        Kind::Sample => Body::Sample(Sample { value: Value::Integer(1), unit: "", quality: Quality::Good }),
        Kind::Breakdown => Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: "m" }),
        Kind::Recovery => Body::Recovery(Recovery { code: "E1", message: "m" }),
        Kind::State => Body::State(State { state: MachineState::Executing, reason: "r" }),
        Kind::Alarm => {
            let transition = AlarmTransition::Raised;
            Body::Alarm(Alarm { condition: "oil", transition, priority: 1, message: "m" })
        }
        Kind::Loss => {
            let (first, reason) = (Sequence::ZERO, LossReason::Evicted);
            Body::Loss(Loss { stream, epoch, first, end, reason, chain: [1; 32] })
        }
        Kind::ClockStep => Body::ClockStep(ClockStep { before: time, after: time }),
        Kind::LifeCycle => Body::LifeCycle(example_of(Change::Stopped)),
        Kind::Derived => Body::Derived(Derived { kind: "", json: "{}" }),
        Kind::Progress => Body::Progress(Progress { stream, epoch, end, check: 1, ticks: None }),
        Kind::Followed => {
            let (input, number, files) = ("press", 1, Default::default());
            Body::Followed(Followed { stream, input, number, horizon: time, files })
        }
    }
}

/// An event of the life cycle with each change.
fn example_of(change: Change) -> LifeCycle<'static> {
    let (source, stream, epoch, first, end) =
        ("press-88", Stream::Samples, Epoch::new(1), Sequence::ZERO, Sequence::new(2));
    let (until, time, id, key) = (Offset::ZERO, Timestamp::clamped(1), [1; 16], [1; 32]);
    match change {
        Change::Started => LifeCycle::Started { previous: PreviousStop::Clean, version: "1", repairs: "" },
        Change::Stopped => LifeCycle::Stopped { reason: "r" },
        Change::LinkUp => LifeCycle::LinkUp { peer: "p" },
        Change::LinkDown => LifeCycle::LinkDown { peer: "p", reason: "r" },
        Change::KeyPinned => LifeCycle::KeyPinned { source, key },
        Change::Refused => LifeCycle::Refused { source, reason: "r" },
        Change::Gap => LifeCycle::Gap { source, stream, epoch, first, end },
        Change::DiskTrouble => LifeCycle::DiskTrouble { message: "m" },
        Change::Configured => LifeCycle::Configured { message: "m" },
        Change::Attested => LifeCycle::Attested { attestation: &[1] },
        Change::Trimmed => LifeCycle::Trimmed { until, rule: "r" },
        Change::Emptied => LifeCycle::Emptied { stream, until, rule: "r" },
        Change::LaneKept => LifeCycle::LaneKept { source, stream, epoch, end, time_last: time, chain: key },
        Change::TermBegun => LifeCycle::TermBegun { log_id: id, partition: 0, term: 1, first: until },
        Change::Heartbeat => LifeCycle::Heartbeat { instance: id, lanes: LaneEnds::default() },
        Change::Resealed => LifeCycle::Resealed { stream, epoch, first, reason: ResealReason::Diverged },
        Change::RingReplaced => LifeCycle::RingReplaced { message: "m" },
        Change::Conflict => LifeCycle::Conflict { source, boots: [id; 2], addresses: "a" },
        Change::RolledBack => LifeCycle::RolledBack { source, term: 1, until, end: until, time },
        Change::Retired => LifeCycle::Retired { source, who: "ada", why: "y" },
        Change::KeyReplaced => LifeCycle::KeyReplaced { source, key, who: "ada" },
        Change::KeyEndorsed => LifeCycle::KeyEndorsed { endorsement: &[1] },
        Change::Alias => LifeCycle::Alias { source, former: "press" },
        Change::Forgotten => LifeCycle::Forgotten { source },
        Change::Unread => LifeCycle::Unread { file: "f", from: 1, bytes_least: 1, reason: "r" },
    }
}

/// The type and the names of the members of `data`, in their order, as readers get them.
fn rendered(body: Body<'_>) -> (String, Vec<String>) {
    let event = Event { time: Timestamp::clamped(1), subject: Subject::new("88-C").unwrap(), body };
    let bytes = Agent::new("press-88", body.stream(), 1).event(body);
    let batch = parse(&bytes);
    let mut writer = EventRenderer::new();
    let head = EntryHead::new(batch.header(), 0, 0, event.time);
    writer.entry(Partition::EMBEDDED, &head, batch.header());
    let mut out = Vec::new();
    writer.put(&mut out, &Record { sequence: batch.header().first, event });
    let read: Json = serde_json::from_slice(&out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let (_, data) = text.split_once("\"data\":").unwrap();
    let members = read["data"].as_object().unwrap().keys();
    let mut members: Vec<_> = members.map(|name| (data.find(&format!("\"{name}\":")), name.clone())).collect();
    members.sort();
    (read["type"].as_str().unwrap().to_owned(), members.into_iter().map(|(_, name)| name).collect())
}

#[test]
fn events_are_rendered_with_the_type_and_the_members_of_their_row() {
    for kind in Kind::ALL {
        let (row, body) = (of(kind), example(kind));
        assert_eq!(body.kind(), kind, "the control: the example is one");
        let (type_name, mut members) = rendered(body);
        if kind == Kind::LifeCycle {
            members.truncate(1);
        }
        assert_eq!((&*type_name, members), (row.name, row.fields.iter().map(ToString::to_string).collect()));
    }
    for change in Change::ALL {
        let life_cycle = example_of(change);
        assert_eq!(life_cycle.kind(), change, "the control: the example is one");
        let (_, members) = rendered(Body::LifeCycle(life_cycle));
        assert_eq!(members, [&["change"], of_change(change).fields].concat(), "{}", change.name());
    }
}

/// The rows of the specification's table whose first column has this name.
fn specified(column: &str) -> Vec<Vec<&'static str>> {
    let start = SPECIFICATION.find(&format!("\n| {column} |")).unwrap() + 1;
    let lines = SPECIFICATION[start..].lines().take_while(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The names in a cell such as `code: text, message: text`.
fn names(cell: &str) -> Vec<&str> {
    cell.split(", ").filter_map(|field| Some(field.split_once(": ")?.0)).collect()
}

#[test]
fn words_and_fields_are_those_of_the_specification() {
    let rows = specified("variant");
    assert_eq!(rows.len(), Kind::COUNT);
    for (row, kind) in rows.iter().zip(Kind::ALL) {
        assert_eq!(row[1], of(kind).title.to_lowercase());
        let fields = match kind {
            // They differ from the wire: a change has fields of its own, and a derived event is the document that it
            // carries.
            Kind::LifeCycle | Kind::Derived => continue,
            // The step itself is computed for readers.
            Kind::ClockStep => &of(kind).fields[..2],
            _ => of(kind).fields,
        };
        assert_eq!(names(row[2]), fields, "{}", row[1]);
    }
    let rows = specified("LifeCycle");
    assert_eq!(rows.len(), Change::COUNT);
    for (row, change) in rows.iter().zip(Change::ALL) {
        assert_eq!(row[1], change.name().replace('_', " "));
        assert_eq!(names(row[2]), of_change(change).fields, "{}", row[1]);
    }
}

#[test]
fn a_start_replays_what_counts_in_the_collectors_own_batches() {
    let counts = specified("event");
    let own = counts.iter().find(|row| row[1] == "in the [collector's own batches](#keys) only").unwrap();
    let own: BTreeSet<String> = own[0].split(", ").map(|name| name.replace(' ', "_")).collect();
    let replayed = CHANGES.iter().filter(|row| row.at_start == Replayed).map(|row| row.change);
    // An agent's event about its own ring bears on its lanes.
    let expected = own.iter().map(String::as_str).chain([Change::RingReplaced.name()]);
    assert_eq!(replayed.map(Change::name).collect::<BTreeSet<_>>(), expected.collect());
}

#[test]
fn no_two_types_share_a_name_a_word_or_an_icon_and_each_has_its_bit() {
    let all = |what: fn(&Type) -> String| TYPES.iter().map(what).collect::<BTreeSet<_>>().len();
    for distinct in [all(|row| row.name.into()), all(|row| row.title.into()), all(|row| row.icon.into())] {
        assert_eq!(distinct, TYPES.len());
    }
    // The bits of the index, which is on disk.
    let bits = Kind::ALL.map(|kind| format!("{:?}", Kinds::of_kind(kind)));
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map(|bit| format!("Kinds({bit})"));
    assert_eq!(bits[..expected.len()], expected);
}
