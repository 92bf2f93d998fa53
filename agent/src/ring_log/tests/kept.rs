//! What was released can be read until it is overwritten, and is held again when the next log has lost it.

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::ids::Stream;

use super::*;

fn filled(batches: i64) -> (SimDisk, RingLog<SimDisk>, Lane) {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    (0..batches).for_each(|mark| _ = append(&mut log, Stream::Critical, mark, 9_000));
    let (lane, end) = log.durable_end(Stream::Critical);
    log.release(lane, end);
    (disk, log, lane)
}

fn read_from(log: &mut RingLog<SimDisk>, lane: Lane, from: Sequence) -> Vec<i64> {
    let end = log.durable_end(Stream::Critical).1;
    marks(&read_lane(log, &Held { lane, first: from, end }, 1).unwrap())
}

#[test]
fn what_was_released_is_read_until_its_file_is_taken_again() {
    let (_, mut log, lane) = filled(20);
    assert_eq!(log.oldest(lane), sequence(0));
    assert_eq!(read_from(&mut log, lane, sequence(0)), (0..20).collect::<Vec<_>>());
    assert_eq!(log.held()[0].first, sequence(20), "nothing of it is held");
    for mark in 20..100 {
        append(&mut log, Stream::Critical, mark, 9_000);
        log.release(lane, sequence(mark as u64));
        let oldest = log.oldest(lane);
        assert_eq!(read_from(&mut log, lane, oldest), (oldest.get() as i64..=mark).collect::<Vec<_>>());
    }
    let oldest = log.oldest(lane);
    assert!(oldest > sequence(40) && oldest < sequence(70), "as much as the pool has room for: {oldest}");
    let below = log.read(lane, sequence(oldest.get() - 1), 1, &clock(), &mut Vec::new());
    assert!(matches!(below, Err(ReadError::NotHeld { .. })));
}

#[test]
fn what_was_released_is_not_read_as_held_after_a_restart_and_not_damaged_into_a_loss() {
    let (disk, log, lane) = filled(20);
    drop(log);
    let (mut log, recovery) = open(&disk, 8);
    assert!(recovery.is_clean(), "{recovery}");
    assert_eq!((log.held()[0].first, log.oldest(lane)), (sequence(20), sequence(0)));
    disk.flip("ring-0000.seg", 3_000 * 8);
    let refused = log.read(lane, sequence(0), 1, &clock(), &mut Vec::new());
    assert!(matches!(refused, Err(ReadError::NotHeld { .. })), "{refused:?}");
    assert_eq!(log.status().counters.corrupt_events, 0);
}

#[test]
fn after_a_rollback_of_the_next_log_it_is_held_again_with_the_same_bytes() {
    for restart in [false, true] {
        let (disk, mut log, lane) = filled(20);
        let mut before = Vec::new();
        log.read(lane, sequence(5), 1, &clock(), &mut before).unwrap();
        if restart {
            drop(log);
            log = open(&disk, 8).0;
        }
        // The control: it is not offered before.
        assert!(marks(&drain(&mut log)).is_empty());
        assert!(log.rewind(lane, sequence(5)));
        assert_eq!(log.held()[0], Held { lane, first: sequence(5), end: sequence(20) });
        let mut again = Vec::new();
        log.read(lane, sequence(5), 1, &clock(), &mut again).unwrap();
        assert_eq!(again, before);
        for mark in 0..10 {
            append(&mut log, Stream::Samples, 1_000 + mark, 9_000);
        }
        assert_eq!(marks(&drain(&mut log))[..15], (5..20).collect::<Vec<_>>()[..]);
        assert!(!log.rewind(lane, sequence(20)), "nothing was released behind it");
    }
}

#[test]
fn what_was_given_up_is_not_shown_again() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 6);
    (0..80).for_each(|mark| _ = append(&mut log, Stream::Samples, mark * 100, 9_000));
    let held = log.held().into_iter().find(|held| held.lane.stream == Stream::Samples).unwrap();
    assert!(held.first > sequence(0));
    assert_eq!(log.oldest(held.lane), held.first);
    assert!(!log.rewind(held.lane, sequence(0)));
}

#[test]
fn boundaries_are_spread_over_what_is_asked_for_and_have_the_checks_of_their_batches() {
    let (_, mut log, lane) = filled(40);
    let found = log.boundaries(lane, sequence(38), sequence(6), 16).unwrap();
    assert_eq!((found.len(), found.last().unwrap().0), (16, sequence(38)));
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0) && found[0].0 > sequence(6));
    for (end, check) in found {
        assert_eq!(log.check_at(lane, end).unwrap(), Known::Check(check));
    }
    let few = log.boundaries(lane, sequence(8), sequence(6), 16).unwrap();
    assert_eq!(few.iter().map(|(end, _)| end.get()).collect::<Vec<_>>(), [7, 8]);
    assert!(log.boundaries(lane, sequence(6), sequence(6), 16).unwrap().is_empty());
}
