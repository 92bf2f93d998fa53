//! A disk that fails, a ring log that was put back.

use super::*;
use crate::limits::READ_RETRY_MS;

/// Three batches that the collector has.
fn shipped(disk: &SimDisk) -> [Resume; 3] {
    let mut core = start(disk);
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    [1, 2, 3].map(|count| resume_of(&mut core, Stream::Critical, count))
}

#[test]
fn what_the_collector_has_is_not_lost_because_its_tail_was_damaged_here() {
    let disk = SimDisk::of_seed(1);
    let resumes = shipped(&disk);
    let (name, at) = last_entry(&start(&disk).ring, Stream::Critical);
    disk.flip(&name, (at + 200) * 8);
    let mut core = start(&disk);
    assert_eq!(core.ring.held()[0].end, Sequence::new(2), "the tail is gone");
    let collector = connect(&mut core, &[resumes[2]]);
    settle(&mut core, &collector, &resumes);
    assert_eq!((core.resealed(), core.ring.status().counters.resealed_events), (1, 0));
    assert!(core.ring.held().iter().all(|held| held.lane != resumes[2].lane), "{:?}", core.ring.held());
}

#[test]
fn what_the_collector_has_something_else_in_place_of_goes_on_in_a_new_epoch() {
    for (more, check) in [(1, None), (0, Some(Check(7)))] {
        let disk = SimDisk::of_seed(1);
        let resumes = shipped(&disk);
        let mut theirs = resumes[2];
        theirs.end = Sequence::new(theirs.end.get() + more);
        theirs.check = check.or(theirs.check);
        let mut core = start(&disk);
        let collector = connect(&mut core, &[theirs]);
        settle(&mut core, &collector, &resumes[..1]);
        assert_eq!((core.resealed(), core.ring.status().counters.resealed_events), (1, 2));
        let held = core.ring.held();
        assert!(held.iter().all(|held| held.lane != theirs.lane), "{held:?}");
        let events: u64 = held.iter().map(|held| held.end.since(held.first)).sum();
        assert_eq!(events, 3, "where they come from, and the two that the collector does not have: {held:?}");
    }
}

#[test]
fn a_stream_that_cannot_be_read_does_not_hold_up_the_other_and_its_damage_is_declared() {
    for (stream, other) in [(Stream::Critical, Stream::Samples), (Stream::Samples, Stream::Critical)] {
        let disk = SimDisk::of_seed(1);
        let mut core = start(&disk);
        commit(&mut core, Stream::Critical, 1);
        commit(&mut core, Stream::Samples, 2);
        drop(core);
        let mut core = start(&disk);
        disk.set_unreadable([last_entry(&core.ring, stream).0]);
        connect(&mut core, &[]);
        assert_eq!(sent(&mut core, 0), (vec![other], Some(READ_RETRY_MS)));
        let later = (1..20).flat_map(|turn| sent(&mut core, turn * READ_RETRY_MS).0).collect::<Vec<_>>();
        assert_eq!(later, [Stream::Critical], "the loss");
        assert_eq!(core.ring.status().counters.corrupt_events, 1);
    }
}

#[test]
fn a_collector_that_was_put_back_gets_the_same_bytes_again() {
    let disk = SimDisk::of_seed(1);
    let mut core = start(&disk);
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    let resumes = [1, 2, 3].map(|count| resume_of(&mut core, Stream::Critical, count));
    let collector = connect(&mut core, &[]);
    let (first, _) = messages(&mut core, 0);
    core.receive(&collector.acks(resumes[2]), &now(0));
    sent(&mut core, 0);
    assert_eq!(held_first(&core, Stream::Critical), Sequence::new(3));
    // The control: a collector that has all gets nothing.
    connect(&mut core, &[resumes[2]]);
    assert_eq!(sent(&mut core, 0).0, []);
    connect(&mut core, &[resumes[0]]);
    let (again, _) = messages(&mut core, 0);
    assert_eq!(core.rewound(), 1);
    let batches = |messages: &[Vec<u8>]| {
        let batches = messages.iter().filter(|message| !is_signed(message));
        let batches = batches.flat_map(|message| split(message).map(Result::unwrap));
        batches.map(|batch| (batch.header().range(), batch.chain_hash(), batch.body().to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(batches(&again), batches(&first)[1..]);
}
