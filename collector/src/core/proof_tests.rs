//! What the log shows about itself: terms, attestations, receipts, damage.

use std::cell::RefCell;

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, ClockReading};
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, Stream};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Down, Nonce};
use afferent_protocol::sign::Running;

use super::{Core, OwnIdentity, Reason, Receipt};
use crate::log::records::Decoder;
use crate::log::{EmbeddedLog, Indexed, LogSettings, ReadError, ReadLog, UnifiedLog};
use crate::simulated::{Agent, clock, identity, source};
use crate::sources::Sources;
use crate::terms::PlaceError;

type TestCore = Core<EmbeddedLog<SimDisk>>;

const SETTINGS: LogSettings = LogSettings { segment_bytes: 8 * 1024 };

/// Opens the log; `drawn` is the number of its term.
fn open(disk: &SimDisk, drawn: u64, now: &ClockReading) -> TestCore {
    let own = OwnIdentity {
        source: source("collector"),
        identity: identity(99),
        epoch: Epoch::new(5),
        challenge: [3; 32],
        endorsements: Vec::new(),
    };
    let mut sources = Sources::new(own.source);
    let (log, recovery) =
        EmbeddedLog::open_by_indexes(disk.clone(), SETTINGS, &mut || drawn, now.wall, &mut sources).unwrap();
    sources.find_unattested(&log.reader());
    Core::new(log, sources, own, &recovery, now)
}

fn begun(disk: &SimDisk, drawn: u64, seconds: u64) -> TestCore {
    let mut core = open(disk, drawn, &clock(seconds));
    core.begin(&clock(seconds)).unwrap();
    core
}

/// Sends a batch; returns the acknowledgement for it, as it goes out.
fn acked(core: &mut TestCore, agent: &Agent, batch: &[u8], seconds: u64) -> Vec<u8> {
    assert_eq!(core.receive(agent.name, batch, None, &clock(seconds)).refusal, None);
    let answers = core.commit(&clock(seconds)).unwrap();
    let ack = answers.into_iter().find(|answer| matches!(answer.control, Control::Ack(_)));
    ack.expect("it is acknowledged").message
}

fn greet(core: &mut TestCore, agent: &Agent, seconds: u64) {
    crate::simulated::greet(core, agent, 0, &clock(seconds)).unwrap();
}

/// All entries of a log.
fn each(core: &TestCore, take: &mut dyn FnMut(&EntryHead, &Batch<'_>)) {
    let (reader, mut scratch) = (core.log().reader(), Vec::new());
    let mut at = reader.first();
    while at < reader.durable_end() {
        let chunk = match reader.read(at, 4096, &mut scratch) {
            Ok(chunk) => chunk,
            Err(ReadError::Corrupt { end, .. }) => {
                at = end;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        chunk.entries().for_each(|entry| take(&entry.head, &entry.batch));
        at = chunk.next();
    }
}

/// The collector's life-cycle events that `take` selects, with the offset of each.
fn own<T>(core: &TestCore, take: &dyn Fn(&LifeCycle<'_>) -> Option<T>) -> Vec<(u64, T)> {
    let mut found = Vec::new();
    each(core, &mut |head, batch| {
        if batch.header().source == source("collector") {
            for (index, record) in (0..).zip(Decoder::default().open(batch)) {
                let Body::LifeCycle(event) = record.unwrap().event.body else { continue };
                found.extend(take(&event).map(|taken| (head.ordinal + index, taken)));
            }
        }
    });
    found
}

fn rollbacks(core: &TestCore) -> Vec<(u64, u64, u64)> {
    let found = own(core, &|event| match event {
        LifeCycle::RolledBack { term, until, end, .. } => Some((*term, until.get(), end.get())),
        _ => None,
    });
    found.into_iter().map(|(_, rollback)| rollback).collect()
}

#[test]
fn a_term_is_the_first_thing_in_the_log_and_nothing_is_taken_before_it_is_durable() {
    let disk = SimDisk::of_seed(1);
    let mut core = open(&disk, 7, &clock(0));
    disk.fails_in(Some(0));
    assert!(core.begin(&clock(0)).is_err());
    let agent = Agent::new("press", Stream::Samples, 1);
    let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        core.receive(agent.name, &agent.hello(0), None, &clock(0));
    }));
    assert!(taken.is_err(), "nothing is taken before");
    disk.fails_in(None);
    core.begin(&clock(0)).unwrap();
    let terms = own(&core, &|event| match event {
        LifeCycle::TermBegun { log_id, partition: 0, term, first } => Some((*log_id, *term, *first)),
        _ => None,
    });
    assert_eq!(terms[0].0, 0, "the first event");
    assert_eq!(terms[0].1, (core.log().log_id(), 7, Offset::ZERO));
    let core = begun(&disk.after_power_cut(), 7, 1);
    assert_eq!(core.place().term, 8, "no number twice");
    let firsts: Vec<_> = core.sources().terms().iter().map(|term| (term.number, term.first.get())).collect();
    let end = firsts[1].1;
    assert_eq!(firsts, [(7, 0), (8, end)]);
    assert_eq!(core.log().reader().terms().newest(), core.sources().terms().newest(), "readers see it");
}

#[test]
fn a_log_that_was_put_back_refuses_what_was_after_it_and_a_receipt_makes_it_an_event() {
    let disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Critical, 1);
    let mut core = begun(&disk, 7, 0);
    greet(&mut core, &agent, 0);
    let (first, second) = (agent.samples(2), agent.samples(3));
    let kept_receipt = acked(&mut core, &agent, &first, 1);
    let kept = core.log().reader().terms().place(core.durable_end());
    let backup = disk.after_power_cut();
    let lost_receipt = acked(&mut core, &agent, &second, 2);
    let lost = core.place();

    // The control: a log that was not restored from a copy.
    let mut same = begun(&disk.after_power_cut(), 50, 3);
    for (receipt, place) in [(&kept_receipt, &kept), (&lost_receipt, &lost)] {
        assert_eq!(same.take_receipt(agent.name, receipt, &clock(4)), Ok(Receipt::Holds));
        assert_eq!(same.sources().terms().check(place, same.durable_end()), Ok(()));
    }
    assert!(same.troubles().is_empty() && rollbacks(&same).is_empty());

    let mut core = begun(&backup, 60, 3);
    let terms = core.log().reader().terms();
    assert_eq!(terms.check(&kept, core.durable_end()), Ok(()));
    let until = kept.offset;
    assert_eq!(
        terms.check(&lost, core.durable_end()),
        Err(PlaceError::Beyond { term: 7, until, offset: lost.offset }),
        "it shows before any agent has spoken"
    );
    assert_eq!(core.take_receipt(agent.name, &kept_receipt, &clock(4)), Ok(Receipt::Holds));
    for _ in 0..3 {
        assert_eq!(core.take_receipt(agent.name, &lost_receipt, &clock(4)), Ok(Receipt::RolledBack));
        core.commit(&clock(4)).unwrap();
    }
    assert_eq!(rollbacks(&core), [(7, until.get(), lost.offset.get())], "one event");
    let text = core.troubles().values().next().unwrap();
    assert!(text.contains("restored to an earlier state") && text.contains("posts between"), "{text}");
    assert!(core.sources().view(&agent.name).unwrap().rolled_back.is_some());
    // After a restart the collector knows it, and does not report it again.
    let mut core = begun(&backup.after_power_cut(), 70, 5);
    assert_eq!(core.take_receipt(agent.name, &lost_receipt, &clock(6)), Ok(Receipt::RolledBack));
    core.commit(&clock(6)).unwrap();
    assert_eq!(rollbacks(&core).len(), 1);
    // Receipts of a lost term, and of a lost log.
    let mut other = begun(&SimDisk::of_seed(2), 9, 5);
    assert_eq!(other.take_receipt(agent.name, &lost_receipt, &clock(6)), Ok(Receipt::RolledBack));
}

#[test]
fn a_receipt_of_another_key_or_about_another_agent_proves_nothing() {
    let disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Critical, 1);
    let mut core = begun(&disk, 7, 0);
    greet(&mut core, &agent, 0);
    let batch = agent.samples(2);
    let receipt = acked(&mut core, &agent, &batch, 1);
    let refused = |core: &mut TestCore, name: &str, receipt: &[u8]| {
        core.take_receipt(source(name), receipt, &clock(2)).map_err(|refusal| refusal.reason)
    };
    assert_eq!(refused(&mut core, "lathe", &receipt), Err(Reason::Signature));
    assert_eq!(refused(&mut core, "press", b"AFS1 and no more"), Err(Reason::Malformed));
    let Ok(unverified) = Down::read(&receipt) else { panic!("it is one") };
    let mut down = unverified.claim().clone();
    down.place.offset = Offset::new(1 << 40);
    down.key = identity(3).public_key();
    let forged = down.sign(&agent.name, &identity(3));
    assert_eq!(refused(&mut core, "press", &forged), Err(Reason::Signature));
    core.commit(&clock(2)).unwrap();
    assert!(rollbacks(&core).is_empty() && core.troubles().is_empty());
}

/// All attestations of the log, checked against the log.
fn attested(core: &TestCore) -> Vec<Attestation> {
    let found = own(core, &|event| match event {
        LifeCycle::Attested { attestation } => Attestation::read(attestation)?.verify(),
        _ => None,
    });
    let attestations: Vec<_> = found.into_iter().map(|(_, attestation)| attestation).collect();
    let (mut running, mut entries) = (Running::default(), Vec::new());
    each(core, &mut |head, batch| {
        running.push(Offset::new(head.ordinal), head.stamp, head.count, &batch.chain_hash(), head.clock_offset_us());
        entries.push((head.end_ordinal(), head.stamp, running));
    });
    let mut previous = [0; 32];
    for (number, attestation) in attestations.iter().enumerate() {
        let (_, stamp, hash) =
            entries.iter().find(|(end, ..)| *end == attestation.end.get()).expect("an entry ends there");
        assert_eq!((attestation.number, attestation.previous), (number as u64, previous));
        assert_eq!((attestation.time, attestation.hash), (*stamp, *hash), "number {number}");
        assert_eq!(attestation.key, identity(99).public_key());
        previous = attestation.digest();
    }
    attestations
}

#[test]
fn attestations_bind_the_whole_log_from_its_first_entry_on_over_restarts_and_failures() {
    let mut disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = begun(&disk, 7, 0);
    greet(&mut core, &agent, 0);
    for round in 0..6 {
        for minute in 0..3 {
            let seconds = 1 + 200 * round + 61 * minute;
            let batch = agent.samples(3);
            disk.fails_in((minute == 1).then_some(round % 3));
            core.receive(agent.name, &batch, None, &clock(seconds));
            if core.commit(&clock(seconds)).is_err() {
                disk.fails_in(None);
                core.receive(agent.name, &batch, None, &clock(seconds));
                core.commit(&clock(seconds)).unwrap();
            }
            disk.fails_in(None);
        }
        if round % 2 == 0 {
            core.ending(&clock(200 * round + 190));
            core.commit(&clock(200 * round + 190)).unwrap();
        }
        let mut indexer = core.log().indexer();
        while matches!(indexer.step(), Indexed::Made { .. }) {}
        let newest = core.newest_attestation();
        disk = disk.after_power_cut();
        core = begun(&disk, 7, 200 * round + 195);
        assert_eq!(core.newest_attestation(), newest, "what is on disk is the newest one");
    }
    let attestations = attested(&core);
    assert!(attestations.len() > 12, "{}", attestations.len());
    let terms: std::collections::BTreeSet<_> = attestations.iter().map(|attestation| attestation.term).collect();
    assert!(terms.len() >= 6, "each names the term in which it was made");
}

#[test]
fn a_clean_stop_attests_everything_of_agents_and_a_quiet_log_is_attested_as_well() {
    let disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = begun(&disk, 7, 0);
    greet(&mut core, &agent, 0);
    let batch = agent.samples(3);
    acked(&mut core, &agent, &batch, 1);
    let end = core.durable_end();
    assert!(!core.is_due(&clock(30)) && core.is_due(&clock(61)), "nothing has to come for it");
    core.ending(&clock(2));
    core.commit(&clock(2)).unwrap();
    assert_eq!(attested(&core).last().unwrap().end, end);
}

/// Forty batches in several segments, indexed.
fn filled(disk: &SimDisk) -> (TestCore, Agent) {
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = begun(disk, 7, 0);
    greet(&mut core, &agent, 0);
    for second in 1..60 {
        let batch = agent.samples(9);
        acked(&mut core, &agent, &batch, second);
    }
    let mut indexer = core.log().indexer();
    while matches!(indexer.step(), Indexed::Made { .. }) {}
    (core, agent)
}

fn read_all(core: &TestCore) {
    let (reader, mut at, mut scratch) = (core.log().reader(), Offset::ZERO, Vec::new());
    while at < reader.durable_end() {
        let before = at;
        let read = ReadLog::read(&reader, at, &mut scratch, &mut |head, _| {
            at = Offset::new(head.end_ordinal());
            std::ops::ControlFlow::Continue(())
        });
        if let Err(crate::log::ReadLogError::Damaged { end, .. }) = read {
            at = end;
        }
        assert!(at > before);
    }
}

#[test]
fn one_flipped_bit_is_told_with_the_sequences_that_it_costs_and_they_can_come_once_more() {
    let disk = SimDisk::of_seed(1);
    let (mut core, mut copy) = (RefCell::new(None), Agent::new("press", Stream::Samples, 1));
    let (filled, agent) = filled(&disk);
    core.get_mut().replace(filled);
    let mut core = core.into_inner().unwrap();
    read_all(&core);
    core.commit(&clock(60)).unwrap();
    assert!(core.sources().holes_in_lanes(&agent.name).is_empty() && core.troubles().is_empty(), "the control");

    let name = disk.names().into_iter().filter(|name| name.ends_with(".seg")).nth(1).unwrap();
    let middle = disk.bytes(&name).len() / 2;
    disk.change(&name, middle, |byte| byte ^ 1);
    read_all(&core);
    assert!(core.is_pending(), "it is told although nothing else has come");
    core.commit(&clock(61)).unwrap();
    let holes = core.sources().holes_in_lanes(&agent.name);
    let [(lane, hole)] = holes[..] else { panic!("one hole: {holes:?}") };
    assert_eq!((lane, hole.count() % 9, hole.count() > 0), (agent.lane, 0, true), "whole batches");
    let told = own(&core, &|event| matches!(event, LifeCycle::DiskTrouble { .. }).then_some(()));
    let gaps = own(&core, &|event| match event {
        LifeCycle::Gap { first, end, .. } => Some(SequenceRange { first: *first, end: *end }),
        _ => None,
    });
    assert_eq!((told.len(), gaps.len(), gaps[0].1), (1, 1, hole), "once");
    assert!(core.troubles()["damaged"].contains("are no longer readable"));

    // The agent still has it: appended once more, at the log's end.
    let mut batches = std::iter::repeat_with(|| (Sequence::new(copy.next), copy.samples(9)));
    let (_, bytes) = batches.find(|(first, _)| *first == hole.first).unwrap();
    let (batch, range) = (crate::simulated::parse(&bytes), SequenceRange { first: hole.first, end: hole.end });
    assert!(core.sources.fill(agent.name, lane, range) && core.sources().holes_in_lanes(&agent.name).is_empty());
    assert!(!core.sources.fill(agent.name, lane, range), "once");
    core.log.append(&batch, clock(62).wall);
    core.commit(&clock(62)).unwrap();
    let core = begun(&disk.after_power_cut(), 7, 63);
    assert!(core.sources().holes_in_lanes(&agent.name).is_empty(), "and a restart finds it");
}

#[test]
fn of_two_machines_that_stay_connected_the_first_is_asked_to_say_hello_and_one_event_names_both() {
    let conflicts =
        |core: &TestCore| own(core, &|event| matches!(event, LifeCycle::Conflict { .. }).then_some(())).len();
    let mut core = begun(&SimDisk::of_seed(1), 7, 0);
    let mut first = Agent::new("press", Stream::Critical, 1);
    greet(&mut core, &first, 1);
    let mut second = Agent::new("press", Stream::Critical, 1);
    second.run = 2;
    let answers = crate::simulated::greet(&mut core, &second, 0, &clock(2)).unwrap();
    let asked: Vec<Nonce> = answers
        .iter()
        .filter(|answer| matches!(answer.control, Control::Nack { .. }))
        .map(|answer| Down::read(&answer.message).unwrap().claim().nonce)
        .collect();
    assert_eq!(asked, [Nonce([1; 16])], "the first, and not the one that has just proved itself");
    core.commit(&clock(3)).unwrap();
    assert_eq!(conflicts(&core), 0, "the control: one that does not answer has ended");
    first.session = 2;
    for seconds in 4..6 {
        greet(&mut core, &first, seconds);
    }
    core.commit(&clock(6)).unwrap();
    assert_eq!(conflicts(&core), 1);
}
