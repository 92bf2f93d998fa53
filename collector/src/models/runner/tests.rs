//! The threads over a log in memory.

use std::collections::BTreeMap;

use afferent_host::stop::{self, StopSender};
use afferent_protocol::event::{AlarmTransition, Event, MachineState};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::super::span::Span;
use super::super::testing::{alarm, at, breakdown, derived, recovery, sample, state};
use super::super::{BuiltIn, FoldMember, LoggedEvent, with_built_ins};
use super::*;
use crate::log::address::Partition;
use crate::log::events::Entry;
use crate::log::memory::MemoryLog;

mod counts_from;

/// Running models; stopped and saved by [`Started::stop`].
struct Started {
    models: Models,
    threads: Threads,
    switch: StopSender,
    durable: watch::Sender<Offset>,
}

impl Started {
    fn new(runtime: &Runtime, log: &MemoryLog, snapshots: Option<PathBuf>) -> Self {
        let (switch, stopping) = stop::channel();
        let (durable, view) = watch::channel(log.kept().end);
        let definitions = with_built_ins(&[]);
        let supervisor = Supervisor::new(Arc::default(), stopping.clone());
        let (log, durable_view, commits) = (Arc::new(log.clone()), view, Commits::default());
        let settings = Settings { definitions, snapshots, log, durable: durable_view, stopping, supervisor, commits };
        let _inside = runtime.enter();
        let (models, threads) = Models::start(settings).unwrap();
        Self { models, threads, switch, durable }
    }

    /// Waits until all models have seen the whole log.
    fn caught_up(&self, log: &MemoryLog) {
        self.durable.send_replace(log.kept().end);
        while !self.models.list().iter().all(|status| status.state == "live" && status.behind == 0) {
            std::thread::yield_now();
        }
    }

    fn stop(self) {
        self.switch.stop();
        self.threads.join();
    }
}

/// Different events, the same for the same number.
fn event(number: u64) -> Event<'static> {
    let draw = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33;
    // Their order differs from that of their times.
    let second = (number * 10 + draw % 37) as i64;
    let machine = ["88-C", "77-A/belt", "88-C/oil"][draw as usize % 3];
    match draw / 3 % 9 {
        0 => breakdown(second, machine, ["BELT", "OIL"][draw as usize / 27 % 2], "words"),
        1 => recovery(second, machine, ["BELT", "OIL", ""][draw as usize / 27 % 3]),
        2 => state(second, machine, MachineState::Executing),
        3 => state(second, machine, MachineState::NotExecuting),
        4 => alarm(second, machine, "slip", AlarmTransition::Raised),
        5 => alarm(second, machine, "slip", AlarmTransition::Cleared),
        6 => derived("88-C", "afferent.amendment.v1", r#"{"of":"3","action":"label","reason":"worn"}"#),
        _ => sample(second, machine, draw as f64),
    }
}

/// Appends batches of these sizes.
fn append(log: &MemoryLog, sizes: &[usize]) {
    for size in sizes {
        let next = log.kept().end.get();
        for offset in next..next + *size as u64 {
            // A batch is of one stream: each event is a batch, except samples in a row.
            let event = event(offset);
            log.append("press-88", &[event], event.time.micros());
        }
    }
}

/// The states of all built-in models after the events before `end`, folded directly from the log.
fn folded_to(log: &MemoryLog, end: Offset) -> (Timestamp, BTreeMap<String, Value>) {
    let members = BuiltIn::all().map(|of| FoldMember::new(Definition::built_in(of.clone()).id, of.build()));
    let mut fold = Fold::new(members.into(), Offset::ZERO, Timestamp::default());
    log.read(Offset::ZERO, &mut Vec::new(), &mut |head, batch| {
        fold.entry(&Entry::new(Partition::EMBEDDED, head, batch), end);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let view = |member: &FoldMember| (member.id.to_string(), member.model.view(fold.time()));
    (fold.time(), fold.members.iter().map(view).collect())
}

fn assert_same_as_of(models: &Models, log: &MemoryLog, offset: u64) {
    let (time, expected) = folded_to(log, Offset::new(offset));
    for definition in models.definitions() {
        let state =
            models.state(definition, AsOf::Offset(Offset::new(offset)), Span::default(), &Cancel::default()).unwrap();
        assert_eq!((state.offset.get(), state.time), (offset, time));
        assert_eq!(state.state, expected[&definition.id.to_string()], "{} as of {offset}", definition.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn as_of_any_offset_is_what_a_replay_to_there_gives(
        runs in proptest::collection::vec(1_usize..60, 1..5),
        offsets in proptest::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let runtime = Runtime::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let log = MemoryLog::default();
        // Every stop leaves a snapshot, and every start continues from it.
        for size in &runs {
            let started = Started::new(&runtime, &log, Some(directory.path().into()));
            append(&log, &[*size]);
            started.caught_up(&log);
            started.stop();
        }
        let started = Started::new(&runtime, &log, Some(directory.path().into()));
        let statuses = started.models.list();
        prop_assert!(statuses.iter().all(|status| status.snapshots > 0), "{:?}", statuses);
        let end = log.kept().end.get();
        for offset in offsets {
            assert_same_as_of(&started.models, &log, offset.index(end as usize + 1) as u64);
        }
        started.stop();
    }
}

#[test]
fn a_start_goes_on_from_the_snapshot_and_not_from_the_first_event() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    append(&log, &[50]);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    started.stop();
    let definitions = with_built_ins(&[]);
    let store = SnapshotFiles::new(directory.path().into());
    let (live, behind) = follow::load(&definitions, Some(&store), &log);
    assert_eq!((live.next(), live.members.len(), behind.len()), (Offset::new(50), 6, 0));
    let (live, _) = follow::load(&definitions, None, &log);
    assert_eq!(live.next(), Offset::ZERO, "without snapshots everything is read again");
}

#[test]
fn a_damaged_snapshot_costs_its_model_a_replay_and_nothing_else() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    append(&log, &[50]);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    started.stop();
    let of_kpi = directory.path().join("kpi@1");
    for file in std::fs::read_dir(&of_kpi).unwrap() {
        std::fs::write(file.unwrap().path(), b"rot").unwrap();
    }
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    assert!(of_kpi.join("aside").exists());
    assert_same_as_of(&started.models, &log, 50);
    started.stop();
}

#[test]
fn snapshots_of_a_term_that_does_not_hold_are_not_used_although_the_log_has_their_last_batch() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut before = MemoryLog::default();
    before.terms.add_term(7, Offset::ZERO);
    append(&before, &[50]);
    let started = Started::new(&runtime, &before, Some(directory.path().into()));
    started.caught_up(&before);
    started.stop();
    // The log was restored to its first twenty events, and other events came; then agents sent the last one again.
    let mut log = MemoryLog::default();
    log.terms.add_term(7, Offset::ZERO);
    append(&log, &[20]);
    log.terms.add_term(8, Offset::new(20));
    for offset in 20..50 {
        let event = event(if offset < 49 { 100 + offset } else { offset });
        log.append("press-88", &[event], event.time.micros());
    }
    let last = |log: &MemoryLog| {
        let mut crc = 0;
        log.read(Offset::new(49), &mut Vec::new(), &mut |_, batch| {
            crc = batch.header().crc;
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        crc
    };
    assert_eq!(last(&log), last(&before), "by its last batch alone the snapshot would be of this log");
    let end = Offset::new(50);
    let (_, other) = folded_to(&before, end);
    assert_ne!(folded_to(&log, end).1, other, "the control: the states are two");
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    assert_same_as_of(&started.models, &log, 50);
    started.stop();
    assert!(directory.path().join("kpi@1").join("aside").exists());
    // The states saved since are of this log, and the next start continues from them.
    let (live, behind) = follow::load(&with_built_ins(&[]), Some(&SnapshotFiles::new(directory.path().into())), &log);
    assert_eq!((live.next(), behind.len()), (end, 0));
}

#[test]
fn a_recomputed_model_is_the_same_as_one_that_was_never_anything_else() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    append(&log, &[80]);
    let started = Started::new(&runtime, &log, Some(directory.path().into()));
    started.caught_up(&log);
    let kpi = started.models.find("kpi").unwrap().clone();
    // A wrong program may have left an empty state with the offset of a full one.
    let wrong = FoldMember::new(kpi.id.clone(), kpi.of.build());
    started.models.live().join(wrong);
    let now = AsOf::Now(at(900));
    let state = |models: &Models| models.state(&kpi, now, Span::default(), &Cancel::default()).unwrap().state;
    let (_, expected) = folded_to(&log, Offset::new(80));
    assert_ne!(state(&started.models), expected["kpi@1"], "the control: it is wrong before");
    started.models.recompute(&kpi, None).unwrap();
    started.caught_up(&log);
    assert_eq!(state(&started.models), expected["kpi@1"]);
    started.stop();
}

/// A model that panics at a value.
struct Mistaken;

impl super::super::AnyModel for Mistaken {
    fn sort(&mut self, _: bool) {}
    fn apply_all(&mut self, seen: &[LoggedEvent<'_>]) {
        assert!(seen.iter().all(|seen| seen.offset.get() < 30), "thirty is too much");
    }
    fn view(&self, _: Timestamp) -> Value {
        Value::Null
    }
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), super::super::StateError> {
        Ok(())
    }
    fn clone_model(&self) -> Box<dyn super::super::AnyModel> {
        Box::new(Self)
    }
}

#[test]
fn a_model_that_panics_is_stopped_and_told_and_the_others_go_on() {
    let runtime = Runtime::new().unwrap();
    let log = MemoryLog::default();
    append(&log, &[20]);
    let started = Started::new(&runtime, &log, None);
    started.caught_up(&log);
    let states = started.models.find("states").unwrap().clone();
    started.models.live().join(FoldMember::new(states.id.clone(), Box::new(Mistaken)));
    append(&log, &[20]);
    started.durable.send_replace(log.kept().end);
    let end = log.kept().end;
    // The end is read first: this log and the models would wait for each other.
    while started.models.live().next() < end {
        std::thread::yield_now();
    }
    let list = started.models.list();
    let failed: Vec<&Status> = list.iter().filter(|status| status.state == "failed").collect();
    assert_eq!((failed.len(), failed[0].model.as_str()), (1, "states@1"));
    assert!(failed[0].error.as_ref().unwrap().contains("thirty is too much"), "{failed:?}");
    let refused = started.models.state(&states, AsOf::Now(at(0)), Span::default(), &Cancel::default());
    assert!(matches!(refused, Err(AskError::Failed { .. })));
    let (_, expected) = folded_to(&log, Offset::new(40));
    let kpi = started.models.find("kpi").unwrap();
    assert_eq!(
        started.models.state(kpi, AsOf::Now(at(0)), Span::default(), &Cancel::default()).unwrap().state,
        expected["kpi@1"]
    );
    started.stop();
}

#[test]
fn what_the_log_has_lost_is_passed_over() {
    let runtime = Runtime::new().unwrap();
    let mut log = MemoryLog::default();
    append(&log, &[20]);
    log.skip(5);
    log.damaged = Some(3..6);
    let started = Started::new(&runtime, &log, None);
    started.caught_up(&log);
    assert_eq!(started.models.live().unreadable(), 3 + 5);
    started.stop();
}

#[test]
fn models_pass_over_what_retention_has_removed_and_count_nothing_as_unreadable() {
    let log = MemoryLog::default();
    append(&log, &[60]);
    let mut samples = Vec::new();
    log.read(Offset::ZERO, &mut Vec::new(), &mut |head, batch| {
        if batch.header().stream == afferent_protocol::ids::Stream::Samples {
            samples.push(head.ordinal as usize);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let without = MemoryLog::default();
    append(&without, &[60]);
    // One event a batch: an entry has the number of its offset.
    samples.iter().for_each(|nth| without.empty(*nth));
    let of = |log: &MemoryLog| {
        let members = BuiltIn::all().map(|of| FoldMember::new(Definition::built_in(of.clone()).id, of.build()));
        let mut fold = Fold::new(members.into(), Offset::ZERO, Timestamp::default());
        fold_log(log, &mut fold, Offset::new(60), &|| false, &mut Fold::entry).unwrap();
        fold
    };
    let (whole, emptied) = (of(&log), of(&without));
    assert_eq!((emptied.next(), emptied.unreadable(), emptied.time()), (whole.next(), 0, whole.time()));
    let view = |fold: &Fold, of: BuiltIn| {
        let id = Definition::built_in(of).id;
        fold.member(&id).unwrap().model.view(fold.time())
    };
    for of in BuiltIn::all().iter().filter(|of| matches!(of, BuiltIn::Breakdowns(_) | BuiltIn::Alarms(_))) {
        assert_eq!(view(&whole, of.clone()), view(&emptied, of.clone()), "no sample is in it");
    }
}
