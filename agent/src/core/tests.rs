//! The core between a disk that fails and a collector that is played by hand.

use std::collections::BTreeSet;

use afferent_protocol::batch::split;
use afferent_protocol::session::{Check, Resume, Welcome};

use super::*;
use crate::ring_log::tests::memory_disk::MemoryDisk;
use crate::ring_log::tests::{batch, clock, last_entry, settings, who};

fn now(ms: u64) -> Now {
    Now { ms, clock: clock() }
}

fn start(disk: &MemoryDisk) -> AgentCore<MemoryDisk> {
    let mut drawn = disk.state().operations.wrapping_mul(77);
    let mut entropy = || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        drawn
    };
    let settings = CoreSettings { ring: settings(8), ..CoreSettings::default() };
    AgentCore::open(disk.clone(), settings, who("press-1"), &clock(), &mut entropy).unwrap().0
}

fn commit(core: &mut AgentCore<MemoryDisk>, stream: Stream, mark: i64) {
    let commit = core.durable_commits()[usize::from(stream.number())] + 1;
    assert!(core.commit(stream, commit, &mut batch(stream, mark, 1, 500), &now(0)).moved);
}

/// Connects; the collector says that this is what it holds.
fn connect(core: &mut AgentCore<MemoryDisk>, lanes: &[Resume]) {
    core.link_up();
    let mut message = Vec::new();
    assert_eq!(core.poll(&now(0), &mut message), Outgoing::Message);
    let Ok(Control::Hello(hello)) = Control::decode(&message) else { panic!("a session begins with a hello") };
    let welcome = Welcome { session: hello.session, lanes: lanes.iter().copied().collect() };
    core.receive(&Control::Welcome(welcome).encode(), &now(0));
}

/// The streams of the batches that are sent until the core waits, and until when it does.
fn sent(core: &mut AgentCore<MemoryDisk>, ms: u64) -> (Vec<Stream>, Option<u64>) {
    let (mut streams, mut message) = (Vec::new(), Vec::new());
    loop {
        match core.poll(&now(ms), &mut message) {
            Outgoing::Wait { until_ms } => return (streams, until_ms),
            Outgoing::Message => streams.extend(split(&message).map_while(Result::ok).map(|b| b.header().stream)),
            Outgoing::Reconnect => panic!("the connection is good"),
        }
    }
}

/// A ring with three critical events, and what a collector says that has all of them.
fn shipped(disk: &MemoryDisk) -> Resume {
    let mut core = start(disk);
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    let (lane, end) = core.ring.durable_end(Stream::Critical);
    let Known::Check(check) = core.ring.check_at(lane, end).unwrap() else { panic!("it was just written") };
    Resume { lane, end, check: Some(check) }
}

#[test]
fn what_the_collector_has_is_not_refused_because_its_tail_was_damaged_here() {
    let disk = MemoryDisk::new(1);
    let resume = shipped(&disk);
    let (name, at) = last_entry(&start(&disk).ring, Stream::Critical);
    disk.flip(&name, (at + 200) * 8);
    let mut core = start(&disk);
    assert_eq!(core.ring.held()[0].end, Sequence::new(2), "the tail is gone");
    connect(&mut core, &[resume]);
    sent(&mut core, 0);
    assert_eq!((core.diverged(), core.ring.status().counters.refused_events), (0, 0));
    assert!(core.ring.held().iter().all(|held| held.lane != resume.lane), "{:?}", core.ring.held());
}

#[test]
fn what_the_collector_has_in_place_of_a_whole_lane_is_still_a_contradiction() {
    for (more, check) in [(1, None), (0, Some(Check(7)))] {
        let disk = MemoryDisk::new(1);
        let mut resume = shipped(&disk);
        resume.end = Sequence::new(resume.end.get() + more);
        resume.check = check.or(resume.check);
        let mut core = start(&disk);
        connect(&mut core, &[resume]);
        sent(&mut core, 0);
        assert_eq!((core.diverged(), core.ring.status().counters.refused_events), (1, 3));
    }
}

#[test]
fn a_stream_that_cannot_be_read_does_not_hold_up_the_other_and_its_damage_is_declared() {
    for (stream, other) in [(Stream::Critical, Stream::Samples), (Stream::Samples, Stream::Critical)] {
        let disk = MemoryDisk::new(1);
        let mut core = start(&disk);
        commit(&mut core, Stream::Critical, 1);
        commit(&mut core, Stream::Samples, 2);
        drop(core);
        let mut core = start(&disk);
        disk.state().unreadable = BTreeSet::from([last_entry(&core.ring, stream).0]);
        connect(&mut core, &[]);
        assert_eq!(sent(&mut core, 0), (vec![other], Some(READ_RETRY_MS)));
        let later = (1..20).flat_map(|turn| sent(&mut core, turn * READ_RETRY_MS).0).collect::<Vec<_>>();
        assert_eq!(later, [Stream::Critical], "the loss");
        assert_eq!(core.ring.status().counters.corrupt_events, 1);
    }
}
