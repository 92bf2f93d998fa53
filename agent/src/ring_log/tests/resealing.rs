//! What continues in a new epoch: nothing of it is lost, and nothing is there twice.

use std::collections::BTreeMap;

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::split;
use afferent_protocol::event::{LifeCycle, LossReason, Progress, ResealReason};
use afferent_protocol::ids::{Epoch, Stream};

use super::*;
use crate::ring_log::{DeviceProgress, StreamStart, inspect};

const FROM: u64 = 10;

/// Thirty batches of an event each.
fn filled(stream: Stream) -> (SimDisk, RingLog<SimDisk>, Lane) {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    for mark in 0..30 {
        log.append(stream, &mut batch(stream, mark, 1, 7_000), &clock()).unwrap();
    }
    let lane = log.durable_end(stream).0;
    (disk, log, lane)
}

fn seal_all(log: &mut RingLog<SimDisk>) {
    while log.reseal_step(&clock()).unwrap() {}
    assert!(!log.resealing());
}

/// What each epoch that holds others' events says of itself.
fn origins(log: &mut RingLog<SimDisk>) -> BTreeMap<Lane, (Lane, u64, ResealReason)> {
    let mut origins = BTreeMap::new();
    for held in log.held().into_iter().filter(|held| held.first < held.end) {
        let mut bytes = Vec::new();
        if log.read(held.lane, Sequence::ZERO, 1, &clock(), &mut bytes).is_err() {
            continue;
        }
        let batch = split(&bytes).next().unwrap().unwrap();
        let record = codec::records(&batch, &mut []).unwrap().next().unwrap().unwrap();
        if let Body::LifeCycle(LifeCycle::Resealed { stream, epoch, first, reason }) = record.event.body {
            origins.insert(held.lane, (Lane { stream, epoch }, first.get(), reason));
        }
    }
    origins
}

/// Each of these marks is there once, in an epoch whose first event says where it was.
fn once(seen: &[Seen], origins: &BTreeMap<Lane, (Lane, u64, ResealReason)>, lane: Lane, wanted: std::ops::Range<i64>) {
    for mark in wanted {
        let of_mark = |seen: &&Seen| seen.mark == mark && seen.loss.is_none();
        let found: Vec<_> = seen.iter().filter(of_mark).collect();
        assert_eq!(found.len(), 1, "mark {mark}: {found:?}");
        if found[0].lane != lane {
            let (original, first, _) = origins[&found[0].lane];
            assert_eq!((original, first + found[0].sequence - 1), (lane, mark as u64));
        }
    }
}

#[test]
fn what_another_history_parted_from_goes_on_whole_in_a_new_epoch() {
    for stream in Stream::ALL {
        let (disk, mut log, lane) = filled(stream);
        log.reseal(lane, sequence(FROM), ResealReason::Diverged, &clock());
        // The control: until something is done nothing of it is offered, and new events go elsewhere.
        assert!(log.resealing() && log.held().iter().all(|held| held.lane != lane));
        let appended = append(&mut log, stream, 77, 100);
        assert_ne!(appended.lane, lane);
        seal_all(&mut log);
        append(&mut log, stream, 78, 100);
        let origins = origins(&mut log);
        assert_eq!(origins.values().collect::<Vec<_>>(), [&(lane, FROM, ResealReason::Diverged)]);
        assert_eq!(log.status().counters.resealed_events, 20);
        let key = who("press-1").identity.public_key();
        assert_eq!(inspect::verify(&disk, Some(&key)).unwrap().problems, []);
        let seen = drain(&mut log);
        once(&seen, &origins, lane, 10..30);
        once(&seen, &origins, appended.lane, 0..0);
        assert!(losses(&seen).is_empty() && marks(&seen).contains(&77) && marks(&seen).contains(&78));
        assert!(log.lane_ends().iter().all(|end| end.epoch != lane.epoch));
        drop(log);
        let (log, recovery) = open(&disk, 8);
        assert!(recovery.is_clean() && !log.resealing(), "{recovery}");
        assert!(log.held().iter().all(|held| held.first == held.end), "nothing comes back");
    }
}

#[test]
fn a_crash_at_any_point_neither_doubles_nor_forgets() {
    for stream in Stream::ALL {
        for cut in 0..80 {
            let (disk, mut log, lane) = filled(stream);
            disk.refuse(cut, u64::MAX / 2);
            log.reseal(lane, sequence(FROM), ResealReason::Diverged, &clock());
            for _ in 0..40 {
                if log.reseal_step(&clock()).is_err() {
                    break;
                }
            }
            drop(log);
            disk.lose_power();
            disk.refuse(0, 0);
            let (mut log, recovery) = open(&disk, 8);
            assert!(
                recovery.losses.iter().all(|loss| loss.reason == LossReason::TornTail && loss.first == sequence(0)),
                "only an epoch of which nothing was there: {recovery}"
            );
            if log.held().iter().any(|held| held.lane == lane && held.first < held.end) {
                log.reseal(lane, sequence(FROM), ResealReason::Diverged, &clock());
            }
            seal_all(&mut log);
            let origins = origins(&mut log);
            let seen = drain(&mut log);
            once(&seen, &origins, lane, 10..30);
        }
    }
}

#[test]
fn a_disk_that_refuses_for_a_while_loses_nothing() {
    for first in 0..12 {
        let (disk, mut log, lane) = filled(Stream::Critical);
        disk.refuse(first, 9);
        log.reseal(lane, sequence(FROM), ResealReason::Diverged, &clock());
        let mut refused = 0;
        while log.resealing() {
            refused += u32::from(log.reseal_step(&clock()).is_err());
            assert!(refused < 50);
        }
        let origins = origins(&mut log);
        once(&drain(&mut log), &origins, lane, 10..30);
    }
}

#[test]
fn a_full_pool_is_sealed_again_without_giving_anything_up() {
    for stream in Stream::ALL {
        for segments in [4, 5, 8] {
            let disk = SimDisk::of_seed(1);
            let (mut log, _) = open(&disk, segments);
            for mark in 0..800 {
                log.append(stream, &mut batch(stream, mark, 1, 3_000), &clock()).unwrap();
            }
            let held = log.held().into_iter().find(|held| held.lane.stream == stream).unwrap();
            let before = log.status().counters.evicted_events;
            assert!(before > 0, "the pool is full");
            log.reseal(held.lane, held.first, ResealReason::Diverged, &clock());
            seal_all(&mut log);
            let status = log.status();
            assert_eq!(status.counters.evicted_events, before);
            assert_eq!(status.counters.resealed_events, held.end.since(held.first));
            assert!(status.file_bytes <= status.pool_bytes, "the pool has its size again");
        }
    }
}

#[test]
fn what_is_damaged_is_declared_in_the_old_epoch_and_another_new_one_begins_behind_it() {
    for stream in Stream::ALL {
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        let mut places = Vec::new();
        for mark in 0..6 {
            places.push(log.active(stream).map_or(1024, |active| active.position));
            log.append(stream, &mut batch(stream, mark, 1, 900), &clock()).unwrap();
        }
        let (lane, name) = (log.durable_end(stream).0, last_entry(&log, stream).0);
        disk.flip(&name, places[3] as usize * 8 + 3_000);
        log.reseal(lane, sequence(1), ResealReason::Diverged, &clock());
        seal_all(&mut log);
        let origins = origins(&mut log);
        assert_eq!(
            origins.values().map(|(_, first, _)| *first).collect::<std::collections::BTreeSet<_>>(),
            [1, 4].into()
        );
        let seen = drain(&mut log);
        once(&seen, &origins, lane, 1..3);
        once(&seen, &origins, lane, 4..6);
        let loss = losses(&seen)[0];
        assert_eq!((loss.stream, loss.epoch, loss.reason), (lane.stream, lane.epoch, LossReason::Corrupt));
        assert_eq!((loss.first, loss.end), (sequence(3), sequence(4)));
    }
}

#[test]
fn what_another_key_has_signed_is_sealed_again_when_the_ring_is_opened() {
    let other = RingIdentity { identity: Identity::from_seed(&[4; 32]), ..who("press-1") };
    for (who, sealed) in [(who("press-1"), false), (other, true)] {
        let (disk, log, lane) = filled(Stream::Critical);
        drop(log);
        let key = who.identity.public_key();
        let (mut log, recovery) = open_as(&disk, 8, who, &clock()).unwrap();
        assert_eq!((log.resealing(), recovery.resealed), (sealed, u32::from(sealed)));
        if sealed {
            assert_eq!(recovery.streams[0], StreamStart::OtherKey { before: lane.epoch });
            assert!(recovery.to_string().contains("key has changed"), "{recovery}");
        }
        seal_all(&mut log);
        let origins = origins(&mut log);
        assert!(origins.values().all(|(_, _, reason)| *reason == ResealReason::OtherKey));
        let held = log.held().into_iter().find(|held| held.first < held.end).unwrap();
        let mut bytes = Vec::new();
        log.read(held.lane, held.first, 1 << 20, &clock(), &mut bytes).unwrap();
        let verifier = key.verifier().unwrap();
        assert!(split(&bytes).all(|batch| verifier.verify(&batch.unwrap()).is_some()));
        once(&drain(&mut log), &origins, lane, 0..30);
    }
}

fn table(stream: Stream, end: u64) -> DeviceProgress {
    let progress = Progress { stream, epoch: Epoch::new(9), end: sequence(end), check: 5, ticks: None };
    DeviceProgress { device: SourceId::new("spindle-1").unwrap(), time: clock().wall, progress }
}

fn append_with_table(log: &mut RingLog<SimDisk>, stream: Stream, end: u64) {
    let mut batch = batch(stream, 0, 1, 100);
    table(stream, end).push(&mut batch);
    log.append(stream, &mut batch, &clock()).unwrap();
}

#[test]
fn the_table_of_devices_moves_along_and_an_older_one_does_not_come_back() {
    for stream in Stream::ALL {
        for newer in [false, true] {
            let (disk, mut log, lane) = filled(stream);
            append_with_table(&mut log, stream, 3);
            append(&mut log, stream, 50, 100);
            let from = log.lanes.get(lane).unwrap().released_end;
            log.reseal(lane, from, ResealReason::Diverged, &clock());
            if newer {
                append_with_table(&mut log, stream, 4);
            }
            seal_all(&mut log);
            let expected = table(stream, if newer { 4 } else { 3 });
            assert_eq!(open(&disk.copy(), 8).1.tables[usize::from(stream.number())].devices, [expected]);
            // All of it is acked, and the ring goes round with batches that have no table.
            for mark in 0..100 {
                append(&mut log, stream, mark, 9_000);
                drain(&mut log);
            }
            drop(log);
            assert_eq!(open(&disk, 8).1.tables[usize::from(stream.number())].devices, [expected]);
        }
    }
}
