//! Files that are gone, emptied or put back from earlier, and a witness that has seen them; or has not.

use afferent_host::disk::Disk;
use afferent_host::disk::simulated::{Op, SimDisk};
use afferent_protocol::event::LossReason;
use afferent_protocol::ids::Stream;

use super::*;
use crate::ring_log::{StreamStart, WitnessStart};

/// A ring with thirty critical batches of an event each in several files, and ten of samples in one.
fn filled() -> (SimDisk, [(Lane, Sequence); 2]) {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 12);
    for mark in 0..30 {
        if mark % 3 == 0 {
            append(&mut log, Stream::Samples, 1_000 + mark, 1_000);
        }
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    let ends = Stream::ALL.map(|stream| log.durable_end(stream));
    (disk, ends)
}

fn newest_file(disk: &SimDisk, stream: Stream) -> String {
    last_entry(&open(disk, 12).0, stream).0
}

/// Files with entries, oldest first.
fn files(disk: &SimDisk) -> Vec<String> {
    let log = open(disk, 12).0;
    let mut taken: Vec<_> = log.pool.taken().map(|(number, segment)| (segment.generation, number)).collect();
    taken.sort_unstable();
    taken.into_iter().map(|(_, number)| crate::ring_log::pool::file_name(number)).collect()
}

fn in_another_boot(disk: &SimDisk) -> (RingLog<SimDisk>, Recovery) {
    open_as(disk, 12, who("press-1"), &ClockReading { boot: [8; 16], ..clock() }).unwrap()
}

/// Every event of these lanes is there or declared, and the streams continue in other epochs.
fn all_accounted(log: &mut RingLog<SimDisk>, ends: &[(Lane, Sequence)]) -> Vec<Loss> {
    let after = Stream::ALL.map(|stream| append(log, stream, 9_999, 100));
    let seen = drain(log);
    for (lane, end) in ends {
        assert!(after.iter().all(|appended| appended.lane != *lane), "a sequence would be used twice");
        for at in 0..end.get() {
            let there = seen.iter().any(|seen| seen.lane == *lane && seen.sequence == at);
            let lost = losses(&seen).iter().any(|loss| {
                (loss.stream, loss.epoch) == (lane.stream, lane.epoch) && (loss.first..loss.end).contains(&sequence(at))
            });
            assert!(there || lost, "{lane:?} {at} is gone without a word");
            assert!(!(there && lost), "{lane:?} {at} is there and declared");
        }
    }
    losses(&seen)
}

#[test]
fn the_newest_file_deleted_is_declared_and_its_sequences_are_not_used_again() {
    for stream in Stream::ALL {
        let (disk, ends) = filled();
        let name = newest_file(&disk, stream);
        disk.lose(&name);
        let without_witness = disk.copy();
        let (mut log, recovery) = open(&disk, 12);
        let (lane, end) = ends[usize::from(stream.number())];
        assert_eq!(recovery.streams[usize::from(stream.number())], StreamStart::Vanished { before: lane.epoch });
        assert!(!recovery.is_clean() && recovery.to_string().contains("lost: "), "{recovery}");
        assert_eq!((recovery.losses[0].reason, recovery.losses[0].end), (LossReason::Vanished, end));
        all_accounted(&mut log, &[ends[usize::from(stream.number())]]);
        drop(log);
        assert_eq!(open(&disk, 12).1.losses, [], "it is declared once");
        // The control: without the witness only the other stream knows, and nobody how much there was.
        without_witness.beside().lose_all();
        let (log, recovery) = open(&without_witness, 12);
        assert_eq!(recovery.losses[0].reason, LossReason::VanishedAtLeast);
        assert_ne!(log.durable_end(stream).0, lane);
    }
}

#[test]
fn without_witness_and_other_stream_a_deleted_file_goes_unnoticed() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 12);
    (0..30).for_each(|mark| _ = append(&mut log, Stream::Critical, mark, 9_000));
    let (lane, end) = log.durable_end(Stream::Critical);
    let name = last_entry(&log, Stream::Critical).0;
    drop(log);
    disk.lose(&name);
    let witnessed = disk.copy();
    disk.beside().lose_all();
    let (log, recovery) = open(&disk, 12);
    assert!(
        recovery.losses.is_empty() && log.durable_end(Stream::Critical).0 == lane,
        "this is what the witness is for"
    );
    assert!(!recovery.is_clean(), "{recovery}");
    let (mut log, recovery) = open(&witnessed, 12);
    assert_eq!(recovery.losses.len(), 1);
    all_accounted(&mut log, &[(lane, end)]);
}

#[test]
fn emptied_and_zeroed_files_are_declared_and_the_ring_is_not_said_to_be_whole() {
    let empty: fn(usize) -> Vec<u8> = |_| Vec::new();
    let zeros: fn(usize) -> Vec<u8> = |len| vec![0; len];
    for content in [empty, zeros] {
        let (disk, ends) = filled();
        for (name, len) in disk.list().unwrap() {
            disk.replace(&name, &content(len as usize));
        }
        let (mut log, recovery) = open(&disk, 12);
        assert!(!recovery.is_new && !recovery.is_clean(), "{recovery}");
        assert_eq!(recovery.witness, WitnessStart::Alone);
        let declared = all_accounted(&mut log, &ends);
        assert_eq!(declared.iter().map(|loss| loss.end.since(loss.first)).sum::<u64>(), 40);
        drop(log);
        assert!(open(&disk, 12).1.is_clean());
    }
}

#[test]
fn entries_zeroed_behind_a_header_are_declared() {
    let (disk, ends) = filled();
    let name = newest_file(&disk, Stream::Critical);
    let mut content = vec![0; SEGMENT as usize];
    disk.open(&name).unwrap().read_at(&mut content[..1024], 0).unwrap();
    disk.replace(&name, &content);
    let (mut log, recovery) = open(&disk, 12);
    assert!(!recovery.is_clean(), "{recovery}");
    all_accounted(&mut log, &ends[..1]);
}

#[test]
fn several_files_gone_are_all_accounted_for() {
    for gone in [vec![0, 2], vec![1, 3, 5], vec![0, 1, 2, 3, 4], vec![2, 5]] {
        let (disk, ends) = filled();
        let files = files(&disk);
        for at in gone {
            disk.lose(&files[at]);
        }
        let (mut log, recovery) = open(&disk, 12);
        assert!(!recovery.losses.is_empty(), "{recovery}");
        for stream in Stream::ALL {
            // Only what has lost its end continues in a different epoch.
            if recovery.streams[usize::from(stream.number())] == StreamStart::Continued {
                let (lane, _) = ends[usize::from(stream.number())];
                let next = log.epochs.draw(stream);
                log.close(crate::ring_log::pen::Pen::Of(stream));
                log.lanes.begin(next);
                assert_ne!(next, lane);
            }
        }
        all_accounted(&mut log, &ends);
    }
}

#[test]
fn a_front_that_was_acked_is_no_loss_when_it_is_gone() {
    for acked in [true, false] {
        let (disk, ends) = filled();
        let name = files(&disk)[1].clone();
        let (mut log, _) = open(&disk, 12);
        if acked {
            log.release(ends[0].0, sequence(20));
        }
        drop(log);
        disk.lose(&name);
        let (_, recovery) = open(&disk, 12);
        assert_eq!(recovery.losses.is_empty(), acked, "{recovery}");
        assert_eq!(recovery.streams, [StreamStart::Continued; 2]);
    }
}

#[test]
fn the_ring_gone_with_the_witness_there_is_declared_as_far_as_it_was_not_acked() {
    let (disk, ends) = filled();
    open(&disk, 12).0.release(ends[0].0, sequence(12));
    disk.lose_all();
    let (mut log, mut recovery) = open(&disk, 12);
    recovery.note_identity(true);
    assert_eq!(recovery.replaced, None, "it is known what was there");
    let first_and_end = |loss: &Loss| (loss.stream, loss.first.get(), loss.end.get(), loss.reason);
    let mut lost: Vec<_> = recovery.losses.iter().map(first_and_end).collect();
    lost.sort_by_key(|(stream, ..)| *stream);
    let vanished = LossReason::Vanished;
    assert_eq!(lost, [(Stream::Critical, 12, 30, vanished), (Stream::Samples, 0, 10, vanished)]);
    assert!(recovery.to_string().contains("its witness exists"), "{recovery}");
    assert_eq!(losses(&drain(&mut log)), recovery.losses);
    // The control: with nothing there at all nothing can be said, but that.
    disk.lose_all();
    disk.beside().lose_all();
    let (_, mut recovery) = open(&disk, 12);
    assert!(recovery.is_new && recovery.losses.is_empty());
    recovery.note_identity(false);
    assert_eq!((recovery.is_clean(), &recovery.replaced), (true, &None), "a first start");
    recovery.note_identity(true);
    assert!(!recovery.is_clean() && recovery.replaced.is_some(), "{recovery}");
}

#[test]
fn a_ring_is_new_until_it_could_say_so() {
    let disk = SimDisk::of_seed(1);
    let was_replaced = |disk: &SimDisk| {
        let (log, mut recovery) = open(disk, 12);
        recovery.note_identity(true);
        (log, recovery.replaced.is_some())
    };
    let (mut log, replaced) = was_replaced(&disk);
    assert!(replaced);
    // Its process ends before what it says of it is on disk; samples were faster.
    append(&mut log, Stream::Samples, 1, 100);
    drop(log);
    let (mut log, replaced) = was_replaced(&disk);
    assert!(replaced);
    append(&mut log, Stream::Critical, 2, 100);
    drop(log);
    assert!(!was_replaced(&disk).1);
}

#[test]
fn a_witness_that_is_gone_alone_costs_a_word() {
    let (disk, _) = filled();
    disk.beside().lose_all();
    let (_, recovery) = open(&disk, 12);
    assert_eq!((recovery.losses.len(), recovery.streams), (0, [StreamStart::Continued; 2]));
    assert!(!recovery.is_clean() && recovery.to_string().contains("witness is missing"), "{recovery}");
    assert!(open(&disk, 12).1.is_clean(), "it was recreated");
}

#[test]
fn a_witness_from_an_earlier_copy_contradicts_nothing() {
    let (disk, ends) = filled();
    let earlier = disk.beside().copy();
    let (mut log, _) = open(&disk, 12);
    for mark in 30..60 {
        append(&mut log, Stream::Critical, mark, 9_000);
        log.release(ends[0].0, sequence(mark as u64 - 10));
    }
    drop(log);
    disk.beside().put_back(&earlier);
    let (mut log, recovery) = open(&disk, 12);
    assert_eq!(recovery.witness, WitnessStart::Behind);
    assert_eq!((recovery.losses.len(), recovery.streams), (0, [StreamStart::Continued; 2]), "{recovery}");
    assert!(!recovery.is_clean());
    assert_eq!(marks(&drain(&mut log)).last(), Some(&1_027));
}

#[test]
fn a_ring_put_back_from_an_earlier_copy_says_what_it_cannot_show() {
    let (disk, ends) = filled();
    let earlier = disk.copy();
    let (mut log, _) = open(&disk, 12);
    (30..50).for_each(|mark| _ = append(&mut log, Stream::Critical, mark, 9_000));
    log.release(ends[0].0, sequence(35));
    drop(log);
    disk.put_back(&earlier);
    let (mut log, recovery) = open(&disk, 12);
    let (lane, _) = ends[0];
    assert_eq!(recovery.streams, [StreamStart::Vanished { before: lane.epoch }, StreamStart::Continued]);
    let loss = recovery.losses[0];
    assert_eq!((loss.first, loss.end, loss.reason), (sequence(35), sequence(50), LossReason::Vanished));
    assert_eq!(recovery.losses.len(), 1);
    assert!(!marks(&drain(&mut log)).contains(&29), "the witness knows that it was acked");
    drop(log);
    // The control: without the witness it continues where it was, and what the next log says settles it.
    disk.put_back(&earlier);
    disk.beside().lose_all();
    assert_eq!(open(&disk, 12).1.streams, [StreamStart::Continued; 2]);
}

#[test]
fn after_a_power_cut_a_file_that_vanished_is_declared_at_least() {
    for clean in [false, true] {
        let (disk, _) = filled();
        let (mut log, _) = open(&disk, 12);
        if clean {
            log.finish();
        }
        let name = last_entry(&log, Stream::Critical).0;
        drop(log);
        disk.lose_power();
        disk.lose(&name);
        let (_, recovery) = in_another_boot(&disk);
        let reason = if clean { LossReason::Vanished } else { LossReason::VanishedAtLeast };
        assert_eq!(recovery.losses.iter().map(|loss| loss.reason).collect::<Vec<_>>(), [reason], "{recovery}");
    }
}

#[test]
fn a_power_cut_alone_loses_nothing_and_changes_no_epoch() {
    for seed in 0..50 {
        let disk = SimDisk::of_seed(seed);
        let (mut log, _) = open(&disk, 8);
        for mark in 0..40 + seed as i64 {
            append(&mut log, Stream::Critical, mark, 9_000);
            append(&mut log, Stream::Samples, mark, 2_000);
            let (lane, end) = log.durable_end(Stream::Critical);
            log.release(lane, sequence(end.get().saturating_sub(7)));
        }
        drop(log);
        disk.lose_power();
        let (_, recovery) = open_as(&disk, 8, who("press-1"), &ClockReading { boot: [8; 16], ..clock() }).unwrap();
        assert_eq!((&recovery.losses[..], recovery.streams), (&[][..], [StreamStart::Continued; 2]), "{recovery}");
        assert!(recovery.is_clean(), "{recovery}");
    }
}

#[test]
fn a_witness_that_cannot_be_written_stops_nothing_and_comes_back() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 12);
    disk.beside().refuse(0, u64::MAX / 2);
    for mark in 0..20 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    assert!(log.witness_trouble().is_some() && !log.status().has_witness);
    disk.beside().refuse(0, 0);
    for mark in 20..30 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    assert!(log.witness_trouble().is_none() && log.status().has_witness);
    assert_eq!(marks(&drain(&mut log)).len(), 30);
    drop(log);
    assert!(open(&disk, 12).1.is_clean());
}

#[test]
fn a_commit_writes_the_witness_once_and_waits_for_nothing_and_a_segment_waits() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 12);
    append(&mut log, Stream::Critical, 0, 100);
    disk.beside().begin_trace();
    append(&mut log, Stream::Critical, 1, 100);
    let trace = disk.beside().take_trace();
    assert!(matches!(&trace[..], [Op::Write { .. }]), "{trace:?}");
    let sync = log.witness_sync();
    sync.sync().unwrap();
    sync.sync().unwrap();
    let trace = disk.beside().take_trace();
    assert!(matches!(&trace[..], [Op::Sync { .. }]), "once for what was written: {trace:?}");
    append(&mut log, Stream::Samples, 2, 100);
    let trace = disk.beside().take_trace();
    assert!(matches!(&trace[..], [Op::Write { .. }, Op::Sync { .. }]), "a segment was begun: {trace:?}");
}
