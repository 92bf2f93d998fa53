//! What a start makes of what it finds.

use afferent_host::disk::Disk;
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::split;
use afferent_protocol::event::LossReason;
use afferent_protocol::ids::Stream;

use super::*;
use crate::ring_log::{OpenError, StreamStart, inspect};

#[test]
fn a_restart_goes_on_with_epoch_sequence_and_chain() {
    let disk = SimDisk::of_seed(1);
    let (mut log, recovery) = open(&disk, 8);
    assert!(recovery.is_new && recovery.is_clean());
    for mark in 0..20 {
        append(&mut log, Stream::Critical, mark, 9_000);
        append(&mut log, Stream::Samples, mark, 200);
    }
    let ends = Stream::ALL.map(|stream| log.durable_end(stream));
    drop(log);
    disk.lose_power();
    let (mut log, recovery) = open(&disk, 8);
    assert!(recovery.is_clean() && !recovery.is_new, "{recovery}");
    assert_eq!(recovery.streams, [StreamStart::Continued; 2]);
    assert_eq!(Stream::ALL.map(|stream| log.durable_end(stream)), ends);
    append(&mut log, Stream::Critical, 20, 100);
    let (mut previous, held, mut out) = ([0; 32], log.held()[0], Vec::new());
    let mut from = held.first;
    while from < held.end {
        out.clear();
        from = log.read(held.lane, from, 30_000, &clock(), &mut out).unwrap().last().unwrap().end;
        for batch in split(&out) {
            let batch = batch.unwrap();
            assert_eq!(batch.header().previous, previous);
            previous = batch.chain_hash();
        }
    }
    let key = who("press-1").identity.public_key();
    let verified = inspect::verify(&disk, Some(&key)).unwrap();
    assert_eq!((verified.events, verified.problems), (41, vec![]));
    let other = Identity::from_seed(&[4; 32]).public_key();
    assert_eq!(inspect::verify(&disk, Some(&other)).unwrap().problems.len(), 41, "the check can fail");
}

#[test]
fn the_acked_end_survives_a_restart_with_the_next_append() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    for mark in 0..10 {
        append(&mut log, Stream::Critical, mark, 100);
    }
    let (lane, _) = log.durable_end(Stream::Critical);
    log.release(lane, sequence(7));
    append(&mut log, Stream::Critical, 10, 100);
    drop(log);
    let (log, _) = open(&disk, 8);
    assert_eq!(log.held()[0].first, sequence(7));
}

#[test]
fn old_entries_of_a_recycled_file_never_come_back() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 4);
    for mark in 0..100 {
        append(&mut log, Stream::Critical, mark, 9_000);
        let (lane, end) = log.durable_end(Stream::Critical);
        log.release(lane, end);
    }
    // The rest of each file is full of older, whole batches.
    append(&mut log, Stream::Critical, 100, 100);
    drop(log);
    let (mut log, recovery) = open(&disk, 4);
    assert!(recovery.is_clean(), "{recovery}");
    let seen = marks(&drain(&mut log));
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seen:?}");
    assert_eq!(seen.last(), Some(&100));
}

#[test]
fn a_torn_tail_begins_a_new_epoch_and_is_declared_once() {
    // With its witness the ring knows that what was torn had been accepted.
    let cases = [(true, LossReason::Vanished), (false, LossReason::TornTail)];
    for (stream, (has_witness, reason)) in Stream::ALL.into_iter().flat_map(|stream| cases.map(|case| (stream, case))) {
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        append(&mut log, stream, 0, 3000);
        let at = log.active(stream).unwrap().position as usize;
        append(&mut log, stream, 10, 3000);
        let (lane, end) = log.durable_end(stream);
        let name = format!("ring-{:04}.seg", log.active(stream).unwrap().number);
        drop(log);
        disk.flip(&name, (at + 1000) * 8);
        if !has_witness {
            disk.beside().lose_all();
        }
        let (mut log, recovery) = open(&disk, 8);
        let at = usize::from(stream.number());
        assert_eq!(recovery.streams[at], StreamStart::TornTail { before: lane.epoch });
        let first = if stream == Stream::Critical { 1 } else { 3 };
        let loss = recovery.losses[0];
        assert_eq!((loss.reason, loss.first, loss.end), (reason, sequence(first), end));
        append(&mut log, stream, 20, 3000);
        let held = log.held();
        drop(log);
        let (mut log, recovery) = open(&disk, 8);
        assert!(recovery.losses.is_empty(), "declared before: {recovery}");
        assert_eq!(log.held(), held);
        let seen = drain(&mut log);
        assert_eq!(losses(&seen), [loss]);
        assert!(marks(&seen).contains(&0) && marks(&seen).contains(&20) && !marks(&seen).contains(&10));
    }
}

#[test]
fn a_damaged_entry_in_the_middle_is_declared_and_the_rest_is_read() {
    for stream in Stream::ALL {
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        let mut places = Vec::new();
        let mut chains = Vec::new();
        for mark in 0..5 {
            places.push(log.active(stream).map_or(1024, |active| active.position));
            append(&mut log, stream, mark, 900);
            chains.push(log.lanes.current(stream).chain.unwrap());
        }
        let name = format!("ring-{:04}.seg", log.active(stream).unwrap().number);
        let lane = log.durable_end(stream).0;
        // Once while it is at work, once for the next start to find.
        for restart in [false, true] {
            let disk = disk.copy();
            let mut log = open(&disk, 8).0;
            let flips = || disk.flip(&name, places[2] as usize * 8 + 3000);
            if restart {
                drop(log);
                flips();
                let (opened, recovery) = open(&disk, 8);
                assert_eq!((recovery.damage.stretches, recovery.losses.len()), (1, 1));
                drop(opened);
                let (opened, recovery) = open(&disk, 8);
                assert_eq!(recovery.losses, [], "declared before");
                log = opened;
            } else {
                flips();
            }
            let seen = drain(&mut log);
            assert_eq!(marks(&seen), [0, 1, 3, 4]);
            let lost = losses(&seen);
            assert_eq!(lost.len(), 1);
            assert_eq!((lost[0].stream, lost[0].epoch, lost[0].reason), (stream, lane.epoch, LossReason::Corrupt));
            assert_eq!((lost[0].first, lost[0].end, lost[0].chain), (sequence(2), sequence(3), chains[2]));
            assert_eq!(log.durable_end(stream).0, lane, "the epoch goes on");
        }
    }
}

#[test]
fn a_file_without_a_header_leaves_no_doubt_unsaid() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    for mark in 0..12 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    let number = log.active(Stream::Critical).unwrap().number;
    let (lane, _) = log.durable_end(Stream::Critical);
    drop(log);
    disk.overwrite(&format!("ring-{number:04}.seg"), 0..1024);
    let (mut log, recovery) = open(&disk, 8);
    assert_eq!(recovery.damage.headers, 1);
    assert_ne!(log.durable_end(Stream::Critical).0, lane, "no sequence is given twice");
    assert_eq!(losses(&drain(&mut log)).len(), 1);
    drop(log);
    assert!(open(&disk, 8).1.losses.is_empty());
}

#[test]
fn another_name_or_another_size_keeps_what_is_there() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Critical, 0, 100);
    drop(log);
    let other = RingSettings { segment_bytes: 2 * SEGMENT, ..settings(16) };
    let (mut log, recovery) =
        RingLog::open(disk.clone(), disk.beside(), other, who("press-2"), &clock(), &mut || 9).unwrap();
    assert!(matches!(recovery.streams[0], StreamStart::Renamed { .. }));
    append(&mut log, Stream::Critical, 1, 100);
    assert_eq!(marks(&drain(&mut log)), [1]);
    drop(log);
    let (mut log, _) = open(&disk, 8);
    assert_eq!(marks(&drain(&mut log)), [0], "back under the old name");
}

#[test]
fn a_disk_without_room_says_how_much_is_missing_and_a_small_one_will_do() {
    let disk = SimDisk::of_seed(1);
    disk.set_space(3 * SEGMENT);
    assert!(matches!(try_open(&disk, 8), Err(OpenError::NoSpace { have: 3, missing_bytes: SEGMENT, .. })));
    disk.set_space(4 * SEGMENT);
    let (mut log, _) = open(&disk, 8);
    for mark in 0..60 {
        append(&mut log, Stream::Samples, mark, 9_000);
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    assert_eq!(disk.list().unwrap().len(), 4);
}

#[test]
fn what_was_being_written_at_the_first_look_is_no_damage() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Critical, 0, 100);
    append(&mut log, Stream::Critical, 1, 100);
    let (name, at) = last_entry(&log, Stream::Critical);
    disk.flip(&name, (at + 50) * 8);
    let unfinished = inspect::verify(&disk, None).unwrap();
    assert_eq!((unfinished.problems.len(), unfinished.batches), (1, 1));
    assert_eq!(inspect::verify_at_work(&disk, None, || {}).unwrap(), unfinished, "what stays is damage");
    disk.flip(&name, (at + 50) * 8);
    let finished = inspect::verify(&disk, None).unwrap().confirming(&unfinished);
    assert_eq!((finished.problems, finished.batches), (vec![], 2));
}

#[test]
fn inspection_tells_what_every_file_holds() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Critical, 0, 100);
    append(&mut log, Stream::Samples, 1, 5_000);
    let files = inspect::status(&disk).unwrap();
    let entries = |content: &inspect::Content| match content {
        inspect::Content::Segment { entries, events, .. } => (*entries, *events),
        _ => (0, 0),
    };
    let counts: Vec<_> = files.iter().map(|file| entries(&file.content)).filter(|counts| counts.0 > 0).collect();
    assert_eq!(counts, [(1, 1), (1, 5)]);
    let mut events = 0;
    inspect::dump(&disk, &mut |_, head, _| events += head.count).unwrap();
    assert_eq!(events, 6);
}

#[test]
fn a_file_that_an_ended_process_has_made_is_taken_only_once_its_name_is_on_disk() {
    for seed in 0..20 {
        let disk = SimDisk::of_seed(seed);
        for number in 0..8 {
            let name = crate::ring_log::pool::file_name(number);
            drop(disk.create(&name, settings(8).segment_bytes).unwrap());
        }
        let (mut log, _) = open(&disk, 8);
        append(&mut log, Stream::Critical, 88, 100);
        drop(log);
        disk.lose_power();
        let (mut log, recovery) = open(&disk, 8);
        assert_eq!(marks(&drain(&mut log)), [88], "{recovery}");
    }
}
