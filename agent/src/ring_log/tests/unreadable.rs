//! Files whose header, or all of which, the disk does not give: for a while, or permanently.

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::event::LossReason;
use afferent_protocol::ids::Stream;

use super::*;
use crate::ring_log::Damage;
use crate::ring_log::pool::file_name;

const STREAM: Stream = Stream::Samples;

/// A ring with so many events of samples in a lane of several files.
fn filled(events: i64) -> (SimDisk, Lane) {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Critical, 1_000_000, 100);
    for mark in 0..events {
        append(&mut log, STREAM, mark * 3, 3_000);
    }
    (disk, log.durable_end(STREAM).0)
}

/// The lane's segments, oldest first: the name of the file, and the range in it.
fn segments(log: &RingLog<SimDisk>, lane: Lane) -> Vec<(String, std::ops::Range<u64>)> {
    let mut found: Vec<_> = log.pool.taken().filter(|(_, segment)| segment.lane == lane).collect();
    found.sort_by_key(|(_, segment)| segment.generation);
    let range = |first: Sequence, end: Sequence| first.get()..end.get();
    found.into_iter().map(|(number, segment)| (file_name(number), range(segment.first, segment.end))).collect()
}

/// Starts while the header of the lane's segment with this index cannot be read.
fn open_without(disk: &SimDisk, lane: Lane, index: usize) -> (RingLog<SimDisk>, std::ops::Range<u64>) {
    let (name, range) = segments(&open(disk, 8).0, lane)[index].clone();
    disk.set_unreadable([name]);
    let (log, recovery) = open(disk, 8);
    assert_eq!(recovery.damage, Damage { headers: 1, ..Damage::default() });
    disk.set_unreadable([]);
    (log, range)
}

/// Every event of the lane is among those that were seen, or declared; returns what was declared of it as `reason`.
fn all_accounted(seen: &[Seen], lane: Lane, end: u64, reason: LossReason) -> Vec<Loss> {
    let of_lane = |loss: &Loss| (loss.stream, loss.epoch) == (lane.stream, lane.epoch);
    let mut declared: Vec<Loss> = losses(seen).into_iter().filter(of_lane).collect();
    // A start offers again what was acked last.
    declared.dedup();
    for at in 0..end {
        let there = seen.iter().any(|seen| seen.lane == lane && seen.sequence == at);
        let lost = declared.iter().any(|loss| (loss.first..loss.end).contains(&sequence(at)));
        assert!(there || lost, "{at} of {end} is gone without a word");
    }
    declared.into_iter().filter(|loss| loss.reason == reason).collect()
}

#[test]
fn what_is_missing_at_a_lanes_front_is_declared_when_the_next_log_asks_for_it() {
    let (disk, lane) = filled(80);
    let (mut log, missing) = open_without(&disk, lane, 0);
    let mut seen = drain(&mut log);
    drop(log);
    disk.lose_power();
    seen.extend(drain(&mut open(&disk, 8).0));
    let declared = all_accounted(&seen, lane, 240, LossReason::Corrupt);
    assert_eq!(declared.iter().map(|loss| loss.first.get()..loss.end.get()).collect::<Vec<_>>(), [missing]);
    assert_ne!(declared[0].chain, [0; 32], "the chain goes on behind it");
}

#[test]
fn what_is_missing_at_a_lanes_front_goes_with_what_is_evicted_behind_it() {
    let (disk, lane) = filled(80);
    let (mut log, missing) = open_without(&disk, lane, 0);
    for mark in 0..120 {
        append(&mut log, STREAM, 10_000 + mark * 3, 3_000);
    }
    drop(log);
    disk.lose_power();
    let seen = drain(&mut open(&disk, 8).0);
    let declared = all_accounted(&seen, lane, 240, LossReason::Evicted);
    assert_eq!(declared[0].first.get(), missing.start);
}

#[test]
fn what_is_missing_at_a_lanes_front_is_no_loss_when_the_next_log_has_it() {
    let (disk, lane) = filled(80);
    let (mut log, missing) = open_without(&disk, lane, 0);
    let inside = log.check_at(lane, sequence(missing.end - 3)).unwrap();
    assert_eq!(inside, Known::Damaged, "nobody here can contradict");
    let at_its_end = log.check_at(lane, sequence(missing.end)).unwrap();
    assert!(matches!(at_its_end, Known::Check(_)), "the batch behind it names its chain");
    log.release(lane, sequence(missing.end));
    let seen = drain(&mut log);
    assert!(losses(&seen).iter().all(|loss| loss.reason == LossReason::TornTail), "{:?}", losses(&seen));
    assert_eq!(seen.iter().filter(|seen| seen.lane == lane).count() as u64, 240 - missing.end);
}

#[test]
fn what_was_missing_in_the_middle_and_declared_does_not_come_back() {
    let (disk, lane) = filled(80);
    let (log, missing) = open_without(&disk, lane, 1);
    drop(log);
    let seen = drain(&mut open(&disk, 8).0);
    let declared = all_accounted(&seen, lane, 240, LossReason::Corrupt);
    assert_eq!(declared.len(), 1);
    assert!(!seen.iter().any(|seen| seen.lane == lane && missing.contains(&seen.sequence)), "declared and delivered");
}

#[test]
fn a_file_that_lost_its_header_is_kept_while_a_front_may_have_been_in_it() {
    let (disk, lane) = filled(80);
    let (name, _) = segments(&open(&disk, 8).0, lane)[0].clone();
    disk.overwrite(&name, 0..1024);
    for _ in 0..2 {
        let (log, recovery) = open(&disk, 8);
        assert_eq!((recovery.damage.headers, log.held()[1].first), (1, sequence(0)));
    }
    let mut log = open(&disk, 8).0;
    let seen = drain(&mut log);
    assert_eq!(all_accounted(&seen, lane, 240, LossReason::Corrupt).len(), 1);
    drop(log);
    assert_eq!(open(&disk, 8).1.damage.headers, 1, "it is let go of by the first start that has no doubt");
    assert_eq!(open(&disk, 8).1.damage.headers, 0);
}

#[test]
fn a_file_that_gives_nothing_is_declared_after_some_tries_wherever_the_reading_begins() {
    for stream in Stream::ALL {
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        append(&mut log, stream, 1, 100);
        append(&mut log, stream, 2, 100);
        drop(log);
        let (mut log, _) = open(&disk, 8);
        let held = log.held()[0];
        disk.set_unreadable([segments(&log, held.lane)[0].0.clone()]);
        let mut out = Vec::new();
        let reads: Vec<_> = (0..6).map(|_| log.read(held.lane, held.first, 1000, &clock(), &mut out)).collect();
        assert!(matches!(reads[4], Err(ReadError::Io(_))));
        assert!(
            matches!(reads[5], Err(ReadError::Corrupt { range, .. }) if range.first == held.first && range.end == held.end)
        );
        assert_eq!(losses(&drain(&mut log)).len(), 1, "the loss is not in the same file");
    }
}

#[test]
fn a_finished_lane_that_was_let_go_of_is_known_to_be_after_a_crash_and_nothing_is_declared_again() {
    let (disk, lane) = filled(80);
    let (name, _) = segments(&open(&disk, 8).0, lane).pop().unwrap();
    let at = open(&disk, 8).0.active(STREAM).unwrap().position as usize;
    disk.flip(&name, (at - 500) * 8);
    let (mut log, recovery) = open(&disk, 8);
    assert!(recovery.lanes.iter().any(|known| known.lane == lane));
    let front = segments(&log, lane)[0].1.end;
    log.release(lane, sequence(front));
    drain(&mut log);
    append(&mut log, STREAM, 1000, 3_000);
    let again = disk.copy();
    for (disk, knows) in [(disk, true), (again, false)] {
        if !knows {
            disk.beside().lose_all();
        }
        let (log, recovery) = open(&disk, 8);
        let held = log.held().into_iter().find(|held| held.lane == lane).unwrap();
        assert_eq!(held.first == held.end, knows, "without the witness nobody knows what was acked");
        assert!(recovery.losses.is_empty() || !knows, "{recovery}");
        assert_eq!(recovery.is_clean(), knows, "{recovery}");
    }
}
