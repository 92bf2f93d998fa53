//! The built-in models: over a long log, and from what they have saved.

use std::sync::Arc;
use std::time::Instant;

use afferent_collector::log::ReadLog;
use afferent_collector::log::address::Partition;
use afferent_collector::log::events::Entry;
use afferent_collector::log::{EmbeddedLog, LogReader, LogSettings, UnifiedLog};
use afferent_collector::models::runner::{fold_log, start_of};
use afferent_collector::models::store::SnapshotFiles;
use afferent_collector::models::what_if::{Plan, WhatIf};
use afferent_collector::models::{Definition, Fold, FoldMember, with_built_ins};
use afferent_host::disk::FsDisk;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, Event, MachineState, Quality, Recovery, Sample, Severity, State, Value,
};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::sign::Identity;
use afferent_tests::process::Folder;

use crate::table::{Must, Table};

const EVENTS: u64 = 10_000_000;
const BATCH_EVENTS: u64 = 2_000;
const MACHINES: u64 = 50;
const SENSORS: u64 = 20;
/// One batch in so many is of breakdowns, states and alarms.
const CRITICAL_EVERY: u64 = 50;

pub fn measure(table: &mut Table) {
    let folder = Folder::new("bench-models");
    let log = written(&folder);
    let log: Arc<dyn ReadLog> = Arc::new(log);
    let definitions = with_built_ins(&[]);
    let end = log.kept().end;

    let members = definitions.iter().map(|model| FoldMember::new(model.id.clone(), model.of.build())).collect();
    let mut fold = Fold::new(members, Offset::ZERO, Timestamp::default());
    let seconds = timed(|| fold_to(&*log, &mut fold, end));
    assert!(fold.members.iter().all(|member| member.failed.is_none()) && fold.unreadable() == 0);
    table.add("all built-in models over 10 M events", seconds, "s", Must::Most(10.0));
    table.add("… events through all of them", EVENTS as f64 / seconds, "events/s", Must::Shown);

    let store = SnapshotFiles::new(folder.join("models"));
    let saved = timed(|| {
        for (definition, member) in definitions.iter().zip(&fold.members) {
            store.save(definition, &fold.snapshot(member, &log.terms())).expect("the folder can be written");
        }
    });
    table.add("… saving them", saved, "s", Must::Shown);
    let seconds = timed(|| restart(&definitions, &store, &*log, end));
    table.add("… loading what they have saved, at the log's end", seconds, "s", Must::Most(1.0));

    let plan = "models = [\"kpi\"]\n[[alternative]]\nname = \"a\"\n[[alternative.rule]]\naction = \"drop\"\n\
                type = \"breakdown\"\nwhen = 'code.startsWith(\"BELT\")'\n";
    let plan = Plan::parse(plan, &definitions).expect("a plan");
    let mut what_if = WhatIf::new(&plan, Offset::ZERO);
    let seconds = timed(|| {
        let mut scratch = Vec::new();
        let read = log.read(Offset::ZERO, &mut scratch, &mut |head, batch| {
            what_if
                .entry(&Entry::new(Partition::EMBEDDED, head, batch), end, &|| false)
                .expect("the condition can be told");
            std::ops::ControlFlow::Continue(())
        });
        read.expect("the log is whole");
    });
    let report = what_if.finish(Partition::EMBEDDED, None).expect("no model fails");
    assert!(report.alternatives[0].dropped > 0, "the rule is for something");
    table.add("… what-if without belt failures, key figures, the same events", seconds, "s", Must::Shown);
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn fold_to(log: &dyn ReadLog, fold: &mut Fold, end: Offset) {
    fold_log(log, fold, end, &|| false, &mut Fold::entry).expect("the log is whole");
}

/// What a start does before the models follow the log.
fn restart(definitions: &[Definition], store: &SnapshotFiles, log: &dyn ReadLog, end: Offset) {
    for definition in definitions {
        let mut fold = start_of(definition, Some(store), log, end);
        assert_eq!(fold.next(), end, "the snapshot is taken");
        fold_to(log, &mut fold, end);
    }
}

/// A log of so many events on disk.
fn written(folder: &Folder) -> LogReader<FsDisk> {
    let mut draw = 0;
    let mut entropy = || {
        draw += 1;
        draw
    };
    let disk = FsDisk::new(folder.join("log")).expect("the folder can be written");
    let settings = LogSettings { segment_bytes: 64 << 20 };
    let opened = EmbeddedLog::open(disk, settings, &mut entropy, Timestamp::default(), &mut |_, _| {});
    let (mut log, _) = opened.expect("the log opens");
    let identity = Identity::from_seed(&[1; 32]);
    let mut builder = BatchBuilder::new();
    let mut sequences = [0, 0];
    let mut bytes = Vec::new();
    for number in 0..EVENTS / BATCH_EVENTS {
        let is_critical = number % CRITICAL_EVERY == 0;
        let stream = if is_critical { Stream::Critical } else { Stream::Samples };
        let machine = number % MACHINES;
        let subjects: Vec<String> = (0..SENSORS).map(|n| format!("{machine}-C/spindle/sensor-{n:02}")).collect();
        for event in 0..BATCH_EVENTS {
            let time = Timestamp::clamped(1_700_000_000_000_000 + ((number * BATCH_EVENTS + event) * 50) as i64);
            let subject = Subject::new(&subjects[(event % SENSORS) as usize]).expect("a subject");
            let body = if is_critical { critical(event) } else { sampled(event) };
            builder.push(&Event { time, subject, body }).expect("the batch has room");
        }
        let first = &mut sequences[usize::from(stream.number())];
        let lineage = Lineage {
            source: SourceId::new("press-88").expect("a name"),
            stream,
            epoch: Epoch::new(1),
            first: Sequence::new(*first),
            previous: CHAIN_START,
        };
        *first += BATCH_EVENTS;
        bytes.clear();
        builder.seal(&lineage, &ClockReading::default(), &identity, &mut bytes);
        let ingest = Timestamp::clamped(1_700_000_000_000_000 + (number * BATCH_EVENTS * 50) as i64);
        log.append(&Batch::parse(&bytes).expect("a whole batch").0, ingest);
        if number % 64 == 63 {
            log.commit().expect("the disk takes it");
        }
    }
    log.commit().expect("the disk takes it");
    log.reader()
}

fn sampled(number: u64) -> Body<'static> {
    let value = Value::Float(20.0 + (number % 1000) as f64 / 100.0);
    Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good })
}

fn critical(number: u64) -> Body<'static> {
    match number % 6 {
        0 => Body::State(State { state: MachineState::Executing, reason: "" }),
        1 => Body::Alarm(Alarm { condition: "slip", transition: AlarmTransition::Raised, priority: 500, message: "" }),
        2 => Body::Breakdown(Breakdown { code: "BELT-1", severity: Severity::Error, message: "Belt torn" }),
        3 => Body::Recovery(Recovery { code: "", message: "" }),
        4 => Body::Alarm(Alarm { condition: "slip", transition: AlarmTransition::Cleared, priority: 500, message: "" }),
        _ => Body::State(State { state: MachineState::NotExecuting, reason: "no material" }),
    }
}
