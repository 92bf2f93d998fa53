use afferent_host::disk::Disk;
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Offset, Stream, Timestamp};
use afferent_protocol::segment::{ENTRY_HEAD_LEN, SEGMENT_HEADER_LEN};
use proptest::prelude::*;

use super::inspect::info;
use super::{EmbeddedLog, LogSettings, ReadError, TimeKind};
use crate::certificate::verify::verify;
use crate::log::{Recovery, UnifiedLog};
use crate::simulated::{Agent, clock, parse, source};

const SMALL: LogSettings = LogSettings { segment_bytes: 8192 };

type Log = EmbeddedLog<SimDisk>;

fn open(disk: &SimDisk) -> (Log, Recovery, Vec<(u64, Header)>) {
    let mut found = Vec::new();
    let mut each = |head: &afferent_protocol::segment::EntryHead, batch: &afferent_protocol::batch::Batch<'_>| {
        found.push((head.ordinal, *batch.header()));
    };
    let (log, recovery) = Log::open(disk.clone(), SMALL, &mut || 7, clock(0).wall, &mut each).unwrap();
    (log, recovery, found)
}

fn read_all(log: &Log) -> Vec<(u64, Header)> {
    let (reader, mut scratch, mut at) = (log.reader(), Vec::new(), log.reader().first());
    let mut found = Vec::new();
    while at < reader.durable_end() {
        match reader.read(at, 2000, &mut scratch) {
            Ok(chunk) => {
                found.extend(chunk.entries().map(|entry| (entry.head.ordinal, *entry.batch.header())));
                at = chunk.next();
            }
            Err(ReadError::Corrupt { end, .. }) => at = end,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

/// A log of so many batches of `count` samples each, one commit each.
fn filled(disk: &SimDisk, batches: u64, count: u64) -> Vec<(u64, Header)> {
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let (mut log, ..) = open(disk);
    for second in 0..batches {
        log.append(&parse(&agent.samples(count)), clock(second).wall);
        log.commit().unwrap();
    }
    read_all(&log)
}

#[test]
fn what_was_committed_is_read_back_before_and_after_a_restart_over_many_segments() {
    let disk = SimDisk::of_seed(1);
    let written = filled(&disk, 100, 3);
    assert_eq!(written.len(), 100);
    assert!(disk.names().len() > 3, "several segments");
    let (log, recovery, found) = open(&disk.after_power_cut());
    assert_eq!((found, recovery.batches), (written.clone(), 100));
    assert!(log.damage_at_opening().is_empty() && recovery.holes.is_empty() && !recovery.torn, "{recovery:?}");
    assert_eq!(read_all(&log), written);
    assert_eq!(log.durable_end(), Offset::new(300));
    let reader = log.reader();
    for offset in 0..300 {
        let mut scratch = Vec::new();
        let chunk = reader.clone().read(Offset::new(offset), 1, &mut scratch).unwrap();
        let entry = chunk.entries().next().unwrap();
        assert_eq!((entry.head.ordinal, chunk.entries().count()), (offset / 3 * 3, 1));
    }
}

#[test]
fn a_restart_goes_on_in_the_same_segment_and_an_empty_log_is_new() {
    let disk = SimDisk::of_seed(1);
    assert!(open(&disk).1.is_new);
    filled(&disk, 2, 3);
    let (mut log, recovery, _) = open(&disk);
    assert!(!recovery.is_new);
    let mut agent = Agent::new("lathe", Stream::Samples, 1);
    assert_eq!(log.append(&parse(&agent.samples(5)), clock(9).wall), Offset::new(6));
    assert_eq!(log.commit().unwrap(), Offset::new(11));
    assert_eq!(disk.names().len(), 1);
}

#[test]
fn a_reader_sees_nothing_before_its_commit() {
    let disk = SimDisk::of_seed(1);
    let (mut log, ..) = open(&disk);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let reader = log.reader();
    log.append(&parse(&agent.samples(3)), clock(0).wall);
    let mut scratch = Vec::new();
    assert!(reader.read(Offset::ZERO, 1000, &mut scratch).unwrap().is_empty());
    assert_eq!(reader.durable_end(), Offset::ZERO);
    // The create, the header, its sync, the directory; then the write succeeds, and the sync fails.
    disk.fails_in(Some(5));
    assert!(log.commit().is_err());
    assert!(reader.read(Offset::ZERO, 1000, &mut scratch).unwrap().is_empty());
    disk.fails_in(None);
    log.append(&parse(&agent.samples(1)), clock(0).wall);
    assert_eq!(log.commit().unwrap(), Offset::new(1));
    assert_eq!(reader.read(Offset::ZERO, 1000, &mut scratch).unwrap().next(), Offset::new(1));
}

#[test]
fn a_batch_larger_than_a_segment_gets_its_own_and_a_large_commit_spans_several() {
    let disk = SimDisk::of_seed(1);
    let (mut log, ..) = open(&disk);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    log.append(&parse(&agent.samples(5000)), clock(0).wall);
    for _ in 0..100 {
        log.append(&parse(&agent.samples(2)), clock(0).wall);
    }
    assert_eq!(log.commit().unwrap(), Offset::new(5200));
    assert_eq!(read_all(&log).len(), 101);
    assert_eq!(open(&disk.after_power_cut()).2, read_all(&log));
}

#[test]
fn a_write_that_did_not_finish_is_dropped_and_its_offsets_are_given_anew() {
    let disk = SimDisk::of_seed(1);
    let written = filled(&disk, 5, 3);
    let name = disk.names().remove(0);
    // The last batch's body, as if one sector of it had not reached the disk.
    let report = info(&disk).unwrap();
    let last = SEGMENT_HEADER_LEN + report.segments[0].used_bytes as usize - 8;
    disk.change(&name, last, |byte| byte ^ 0xFF);
    disk.change(&name, last - 8, |byte| byte ^ 0xFF);
    let (mut log, recovery, found) = open(&disk);
    assert!(recovery.torn && recovery.holes.is_empty());
    assert_eq!(found, written[..4]);
    let mut other = Agent::new("lathe", Stream::Samples, 1);
    assert_eq!(log.append(&parse(&other.samples(1)), clock(9).wall), Offset::new(12));
    log.commit().unwrap();
    let (_, recovery, found) = open(&disk);
    assert_eq!((found.len(), found[4].1.source), (5, source("lathe")));
    assert!(!recovery.torn && recovery.holes.is_empty());
}

#[test]
fn rot_in_the_middle_is_a_named_hole_and_everything_else_stays() {
    let disk = SimDisk::of_seed(1);
    let written = filled(&disk, 100, 3);
    for name in disk.names() {
        disk.change(&name, SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN + 300, |byte| byte ^ 1);
    }
    let (mut log, recovery, found) = open(&disk);
    assert_eq!(recovery.holes.len(), disk.names().len());
    assert!(recovery.holes.iter().all(|hole| hole.end.since(hole.first) == 3) && !recovery.torn);
    assert_eq!(found.len() + recovery.holes.len(), written.len());
    assert!(found.iter().all(|entry| written.contains(entry)));
    assert_eq!(read_all(&log), found);
    let mut agent = Agent::new("lathe", Stream::Samples, 1);
    assert_eq!(log.append(&parse(&agent.samples(1)), clock(9).wall), Offset::new(300));
    log.commit().unwrap();
    assert_eq!(open(&disk).2.len(), found.len() + 1);
}

#[test]
fn rot_while_the_log_is_open_is_told_to_the_reader_who_may_go_on_behind_it() {
    let disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let (mut log, ..) = open(&disk);
    for second in 0..60 {
        log.append(&parse(&agent.samples(3)), clock(second).wall);
        log.commit().unwrap();
    }
    disk.change(&disk.names()[1], SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN + 300, |byte| byte ^ 1);
    let found = read_all(&log);
    assert!(found.len() < 60 && found.last().unwrap().0 == 177, "{}", found.len());
}

#[test]
fn a_segment_whose_header_is_gone_is_read_by_its_name() {
    let disk = SimDisk::of_seed(1);
    let written = filled(&disk, 100, 3);
    for name in disk.names().iter().skip(1) {
        disk.change(name, 5, |byte| byte ^ 1);
        disk.change(name, 517, |byte| byte ^ 1);
    }
    assert_eq!(open(&disk).2, written);
    disk.change(&disk.names()[0], 5, |byte| byte ^ 1);
    disk.change(&disk.names()[0], 517, |byte| byte ^ 1);
    let (log, recovery, found) = open(&disk);
    assert!(found.is_empty() && !recovery.holes.is_empty());
    assert!(log.durable_end() >= Offset::new(300), "offsets are not given twice");
}

#[test]
fn a_failed_commit_leaves_no_files_behind() {
    let disk = SimDisk::of_seed(1);
    let (mut log, ..) = open(&disk);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let batch = agent.samples(3);
    for failing in [0, 1, 2, 3, 4, 5] {
        log.append(&parse(&batch), clock(0).wall);
        disk.fails_in(Some(failing));
        assert!(log.commit().is_err());
        disk.fails_in(None);
    }
    log.append(&parse(&batch), clock(0).wall);
    assert_eq!(log.commit().unwrap(), Offset::new(3));
    assert_eq!(open(&disk.after_power_cut()).2.len(), 1);
}

#[test]
fn no_power_cut_while_a_commit_of_several_segments_is_given_up_makes_offsets_look_lost() {
    for (seed, operation) in (0..40).flat_map(|seed| (8..24).map(move |operation| (seed, operation))) {
        let disk = SimDisk::of_seed(seed);
        let mut agent = Agent::new("press", Stream::Samples, 1);
        let (mut log, ..) = open(&disk);
        for _ in 0..6 {
            log.append(&parse(&agent.samples(120)), clock(0).wall);
        }
        disk.refuse(5, 5);
        disk.stop_after(operation);
        assert!(log.commit().is_err());
        let disk = disk.power_cut();
        disk.refuse(0, 0);
        disk.stop_never();
        let (log, recovery, found) = open(&disk);
        assert_eq!(log.reader().first(), Offset::ZERO, "{seed} {operation}: the log begins where nothing was removed");
        assert!(recovery.holes.is_empty(), "{seed} {operation}: {recovery:?}");
        assert_eq!(log.durable_end().get(), found.last().map_or(0, |(first, header)| first + u64::from(header.count)));
    }
}

#[test]
fn every_flipped_bit_of_a_segment_is_noticed() {
    let disk = SimDisk::of_seed(1);
    let settings = LogSettings { segment_bytes: 4096 };
    let own = source("collector");
    {
        let (mut log, _) = Log::open(disk.clone(), settings, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
        let mut agent = Agent::new("collector", Stream::Critical, 1);
        let key = agent.identity.public_key().0;
        let pinned = afferent_protocol::event::LifeCycle::KeyPinned { source: "collector", key };
        for _ in 0..4 {
            let batch = agent.event(afferent_protocol::event::Body::LifeCycle(pinned));
            log.append(&parse(&batch), clock(0).wall);
            log.commit().unwrap();
        }
    }
    let name = disk.names().remove(0);
    let sound = verify(&disk, &own).unwrap();
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!(sound.report.batches, 4);
    for bit in 0..disk.bytes(&name).len() * 8 {
        disk.change(&name, bit / 8, |byte| byte ^ (1 << (bit % 8)));
        let report = info(&disk).unwrap();
        assert!(!report.is_sound(), "bit {bit} went unnoticed");
        disk.change(&name, bit / 8, |byte| byte ^ (1 << (bit % 8)));
    }
}

#[test]
fn verify_notices_a_batch_that_its_source_did_not_sign() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, 1, 1);
    let report = verify(&disk, &source("collector")).unwrap();
    assert_eq!(report.report.suspects.len(), 1, "no key was ever pinned: {report:?}");
    assert!(info(&disk).unwrap().is_sound());
}

#[test]
fn a_time_is_found_by_ingest_and_by_event() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, 100, 3);
    let (log, ..) = open(&disk);
    let reader = log.reader();
    let seek = |kind, second: u64| reader.seek_time(kind, clock(second).wall).unwrap().get();
    assert_eq!(seek(TimeKind::Ingest, 0), 0);
    assert_eq!(seek(TimeKind::Ingest, 50), 150);
    assert_eq!(seek(TimeKind::Ingest, 1000), 300);
    assert_eq!(seek(TimeKind::Event, 151), 150);
    assert_eq!(reader.seek_time(TimeKind::Event, Timestamp::default()).unwrap(), Offset::ZERO);
}

#[test]
fn times_are_found_although_the_clock_is_set() {
    let disk = SimDisk::of_seed(1);
    let (mut log, ..) = open(&disk);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    // One batch of a clock that is a century ahead, and later a clock that is set back by half an hour.
    let seconds = [100, 200, 3_000_000_000, 300, 4000, 2200, 2300];
    for second in seconds {
        log.append(&parse(&agent.samples(2)), clock(second).wall);
        log.commit().unwrap();
    }
    let reader = log.reader();
    let place = |second: u64| {
        let time = clock(second).wall;
        let from = reader.seek_time(TimeKind::Ingest, time).unwrap().get();
        (from, reader.end_at_time(time).unwrap().get())
    };
    assert_eq!(place(50), (0, 0));
    assert_eq!(place(101), (2, 2));
    assert_eq!(place(250), (4, 4));
    assert_eq!(place(301), (4, 8), "what was ingested before it goes on behind the wrong time");
    assert_eq!(place(2250), (4, 12));
    assert_eq!(place(5000), (4, 14));
}

#[test]
fn foreign_files_are_left_alone() {
    let disk = SimDisk::of_seed(1);
    disk.create("notes.txt", 10).unwrap();
    disk.create("00000000000000000000-0000000009.seg", 4096).unwrap();
    let written = filled(&disk, 3, 1);
    assert!(disk.names().contains(&"notes.txt".to_owned()));
    assert_eq!((open(&disk).2, disk.names().len()), (written, 2));
}

/// Commits with failures and power cuts; returns how the log contradicts the promise, if it does.
fn ordeal(seed: u64, steps: &[(u8, u8)], lies: bool) -> Result<(), String> {
    let mut disk = SimDisk::of_seed(seed);
    if lies {
        disk.sync_lies();
    }
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let (mut log, ..) = open(&disk);
    // The batches that must be there; and those of the failed commits since then, one of which may be there in part.
    let mut durable: Vec<(u64, Header)> = Vec::new();
    let mut failed: Vec<Vec<(u64, Header)>> = Vec::new();
    for (batches, fate) in steps {
        let mut handed = Vec::new();
        for _ in 0..batches % 5 + 1 {
            let batch = agent.samples(1 + u64::from(*batches) % 40);
            let batch = parse(&batch);
            handed.push((log.append(&batch, clock(0).wall).get(), *batch.header()));
        }
        disk.fails_in((fate % 4 == 0).then(|| u64::from(fate / 4) % 8));
        let committed = log.commit();
        disk.fails_in(None);
        if committed.is_ok() {
            durable.append(&mut handed);
            failed.clear();
        } else {
            failed.push(handed);
        }
        let is_cut = fate % 3 == 0;
        if is_cut {
            disk = disk.after_power_cut();
        }
        if is_cut || fate % 5 == 0 {
            let (next, recovery, found) = open(&disk);
            if !found.starts_with(&durable) {
                return Err(format!("{} of {} committed batches are there", found.len(), durable.len()));
            }
            let more = &found[durable.len()..];
            if !recovery.holes.is_empty()
                || !(more.is_empty() || failed.iter().any(|batches| batches.starts_with(more)))
            {
                return Err(format!("more than what was handed over, or a hole: {recovery:?}"));
            }
            failed.clear();
            (durable, log) = (found, next);
        }
        if read_all(&log) != durable {
            return Err("readers see something else than what is durable".to_owned());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn no_power_cut_and_no_failed_write_or_sync_loses_what_was_committed(
        seed in any::<u64>(),
        steps in prop::collection::vec(any::<(u8, u8)>(), 1..25),
    ) {
        let result = ordeal(seed, &steps, false);
        prop_assert!(result.is_ok(), "{result:?}");
    }
}

#[test]
fn the_ordeal_would_notice_a_disk_that_lies_about_syncs() {
    let steps = [(4, 1), (9, 3), (7, 3), (3, 9)];
    assert!((0..20).any(|seed| ordeal(seed, &steps, true).is_err()));
    assert!((0..20).all(|seed| ordeal(seed, &steps, false).is_ok()));
}
