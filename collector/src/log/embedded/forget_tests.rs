//! Segments emptied of samples: everything else stays, through failures and under readers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use afferent_host::disk::simulated::SimDisk;
use afferent_host::disk::{Disk, DiskFile, FsDisk};
use afferent_protocol::batch::Batch;
use afferent_protocol::event::{Body, Quality, Sample, Value};
use afferent_protocol::ids::{Offset, Stream};
use afferent_protocol::segment::{SEGMENT_HEADER_LEN, STOP_LEN, entry_len};

use super::forget::is_unfinished;
use super::index_tests::{Log, SMALL, filled, index_all, indexes, mixed, open, open_reading_everything};
use super::inspect::{dump, info};
use super::{EmbeddedLog, ForgetError, Forgetter, LogReader, LogSettings, ReadError};
use crate::log::{Forgotten, Indexed, UnifiedLog, Wanted};
use crate::simulated::{Agent, clock, parse};

/// Offset, ingest time and bytes of every batch of the log, by the file that it is in.
type Contents = BTreeMap<String, Vec<(u64, i64, Vec<u8>)>>;

fn contents(disk: &impl Disk) -> Contents {
    let mut batches = Vec::new();
    let mut each = |head: &afferent_protocol::segment::EntryHead, batch: &Batch<'_>| {
        batches.push((head.ordinal, head.stamp.micros(), batch.bytes().to_vec()));
    };
    let report = dump(disk, &mut each).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let file_of = |offset: u64| {
        let segment = report.segments.iter().find(|segment| (segment.first.get()..segment.end.get()).contains(&offset));
        segment.expect("every offset is in a segment").file.clone()
    };
    let mut contents = Contents::new();
    for batch in batches {
        contents.entry(file_of(batch.0)).or_default().push(batch);
    }
    contents
}

/// The expected content of a segment after emptying.
fn without_samples(batches: &[(u64, i64, Vec<u8>)]) -> Vec<(u64, i64, Vec<u8>)> {
    let emptied = |bytes: &[u8]| match parse(bytes) {
        batch if batch.header().stream == Stream::Samples => batch.emptied().to_vec(),
        batch => batch.bytes().to_vec(),
    };
    batches.iter().map(|(offset, stamp, bytes)| (*offset, *stamp, emptied(bytes))).collect()
}

fn samples_in(batches: &[(u64, i64, Vec<u8>)]) -> u64 {
    let headers = batches.iter().map(|(_, _, bytes)| *parse(bytes).header());
    headers.filter(|header| header.stream == Stream::Samples).map(|header| u64::from(header.count)).sum()
}

fn forget_all<D: Disk>(forgetter: &mut Forgetter<D>, until: Offset) -> Vec<Forgotten> {
    std::iter::from_fn(|| forgetter.step(until).unwrap()).collect()
}

fn bytes_of(disk: &SimDisk) -> BTreeMap<String, usize> {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).len())).collect()
}

#[test]
fn samples_go_out_of_finished_segments_and_nothing_else_changes() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(200));
    let (log, ..) = open_reading_everything(&disk);
    let (before, sizes) = (contents(&disk), bytes_of(&disk));
    let newest = before.keys().next_back().unwrap().clone();
    let forgotten = forget_all(&mut log.forgetter(), log.durable_end());
    let (after, sizes_after) = (contents(&disk), bytes_of(&disk));
    assert!(after.keys().eq(before.keys()), "no segment is gone or has another name");
    let mut told = forgotten.iter();
    for (name, batches) in &before {
        if *name == newest {
            assert_eq!(after[name], *batches, "the newest segment stays");
            continue;
        }
        assert_eq!(after[name], without_samples(batches), "{name}");
        let told = told.next().unwrap();
        let bytes = (sizes[name] - sizes_after[name]) as u64;
        assert_eq!(*told, Forgotten { segment: name.clone(), events: samples_in(batches), bytes });
    }
    assert!(told.next().is_none() && forgotten.len() > 5, "{forgotten:?}");
    assert_eq!(log.forgetter().step(log.durable_end()).unwrap(), None, "there is nothing left to remove");
    assert_eq!(info(&disk).unwrap().emptied(), {
        let batches = before.iter().filter(|(name, _)| **name != newest).flat_map(|(_, batches)| batches);
        batches.filter(|(_, _, bytes)| parse(bytes).header().stream == Stream::Samples).count() as u64
    });
}

#[test]
fn only_segments_that_end_by_the_offset_lose_their_samples() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(200));
    let (log, ..) = open_reading_everything(&disk);
    let segments = info(&disk).unwrap().segments;
    let end = segments[2].end;
    let before_end = Offset::new(end.get() - 1);
    let names = |forgotten: Vec<Forgotten>| forgotten.into_iter().map(|done| done.segment).collect::<Vec<_>>();
    let mut forgetter = log.forgetter();
    assert!(forget_all(&mut forgetter, Offset::ZERO).is_empty());
    assert_eq!(names(forget_all(&mut forgetter, before_end)), [segments[0].file.clone(), segments[1].file.clone()]);
    assert_eq!(names(forget_all(&mut forgetter, end)), [segments[2].file.clone()]);
}

#[test]
fn a_start_knows_of_the_sources_what_it_knew_with_the_samples() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(200));
    let (log, before, sources) = open_reading_everything(&disk);
    index_all(&log);
    let (_, _, by_indexes) = open(&disk);
    assert!(forget_all(&mut log.forgetter(), log.durable_end()).len() > 5);
    drop(log);
    let (_, after, found) = open_reading_everything(&disk.after_power_cut());
    assert_eq!((&after, format!("{found:?}")), (&before, format!("{sources:?}")));
    // The indexes were rebuilt: a start reads only the newest segment.
    let (_, after, found) = open(&disk.after_power_cut());
    assert_eq!((&after, format!("{:?}", found.sources)), (&before, format!("{sources:?}")));
    assert_eq!((found.histories, found.batches), (by_indexes.histories, by_indexes.batches));
    // And without any index.
    for name in indexes(&disk) {
        disk.remove(&name).unwrap();
    }
    let (log, after, found) = open(&disk);
    assert_eq!((&after, format!("{:?}", found.sources), found.histories), (&before, format!("{sources:?}"), 0));
    assert_eq!(log.forgetter().step(log.durable_end()).unwrap(), None);
}

#[test]
fn an_index_of_the_old_file_is_not_believed() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(100));
    let (log, before, sources) = open_reading_everything(&disk);
    index_all(&log);
    let old: Vec<(String, Vec<u8>)> =
        indexes(&disk).into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect();
    let forgotten = forget_all(&mut log.forgetter(), log.durable_end());
    for (name, bytes) in &old {
        disk.remove(name).unwrap();
        disk.create(name, bytes.len() as u64).unwrap().write_at(bytes, 0).unwrap();
    }
    let (log, after, found) = open(&disk);
    assert_eq!((before, format!("{sources:?}")), (after, format!("{:?}", found.sources)));
    assert_eq!(found.histories, old.len() - forgotten.len());
    assert_eq!(index_all(&log), forgotten.len(), "they are recreated");
}

#[test]
fn a_segment_that_would_keep_its_length_gets_another_one() {
    // Its entries are as long as emptied ones, and fill the segment to the last byte.
    let sample = Sample { value: Value::Text("0123456789"), unit: "", quality: Quality::Good };
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let entry = entry_len(parse(&agent.event(Body::Sample(sample))).bytes().len());
    assert_eq!(entry, entry_len(parse(&agent.event(Body::Sample(sample))).emptied().len()));
    let full = SEGMENT_HEADER_LEN + 10 * entry + STOP_LEN;
    let disk = SimDisk::of_seed(1);
    let settings = LogSettings { segment_bytes: full as u64 };
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let (mut log, _) = Log::open(disk.clone(), settings, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
    for second in 0..11 {
        log.append(&parse(&agent.event(Body::Sample(sample))), clock(second).wall);
        log.commit().unwrap();
    }
    let name = disk.names().remove(0);
    let forgotten = log.forgetter().step(log.durable_end()).unwrap().unwrap();
    assert_eq!((forgotten.events, forgotten.bytes), (10, 0));
    assert!(disk.bytes(&name).len() > full);
    assert_eq!(contents(&disk).values().map(Vec::len).sum::<usize>(), 11);
}

/// A step in which the disk refuses everything from an operation on, and then loses its power; returns whether the step
/// ended, and how the promise is broken.
fn crashed(seed: u64, failing: u64, lies: bool) -> (bool, Result<(), String>) {
    let disk = SimDisk::of_seed(seed);
    filled(&disk, &mixed(60));
    let (log, before, sources) = open_reading_everything(&disk);
    index_all(&log);
    let old = contents(&disk);
    if lies {
        disk.sync_lies();
    }
    disk.fails_in(Some(failing));
    let is_done = log.forgetter().step(log.durable_end()).is_ok();
    disk.fails_in(None);
    let check = |disk: &SimDisk, what: &str| {
        let (log, after, found) = open(disk);
        if before != after || format!("{sources:?}") != format!("{:?}", found.sources) {
            return Err(format!("{what}: a start finds something else: {after:?}"));
        }
        let mut emptied = contents(disk);
        for (at, (name, batches)) in old.iter().enumerate() {
            let found = emptied.remove(name).unwrap_or_default();
            let is_new = at == 0 && found == without_samples(batches);
            if found != *batches && !is_new {
                return Err(format!("{what}: {name} is neither the old nor the new one"));
            }
        }
        log.indexer().tidy();
        if let Some(left) = disk.names().into_iter().find(|name| is_unfinished(name)) {
            return Err(format!("{what}: {left} stays behind"));
        }
        forget_all(&mut log.forgetter(), log.durable_end());
        let last = old.len() - 1;
        let is_all_done =
            contents(disk).values().zip(old.values()).enumerate().all(|(at, (found, batches))| {
                *found == if at < last { without_samples(batches) } else { batches.clone() }
            });
        if is_all_done { Ok(()) } else { Err(format!("{what}: it does not go on")) }
    };
    let result =
        check(&disk.after_power_cut(), "after a power cut").and_then(|()| check(&disk, "after the process died"));
    (is_done, result)
}

#[test]
fn a_crash_at_any_point_leaves_the_old_segment_or_the_new_one() {
    let mut operations = 0;
    for failing in 0.. {
        let mut is_done = false;
        for seed in 0..12 {
            let (done, result) = crashed(seed, failing, false);
            assert_eq!(result, Ok(()), "operation {failing}, seed {seed}");
            is_done = done;
        }
        operations = failing;
        // The index beside it is written last, and a step does not fail for it.
        if is_done && failing > 12 {
            break;
        }
    }
    assert!(operations > 6, "making, writing, syncing, naming, renaming, naming");
}

#[test]
fn without_the_sync_before_the_renaming_the_same_crashes_lose_the_segment() {
    // The control of the test above.
    assert!((0..12).any(|seed| crashed(seed, u64::MAX, true).1.is_err()));
}

#[test]
fn what_the_disk_refuses_is_said_and_tried_again() {
    for failing in 0..5 {
        let disk = SimDisk::of_seed(failing);
        filled(&disk, &mixed(60));
        let (log, ..) = open_reading_everything(&disk);
        let (before, reader) = (contents(&disk), log.reader());
        let mut forgetter = log.forgetter();
        disk.fails_in(Some(failing));
        let error = forgetter.step(log.durable_end()).unwrap_err();
        disk.fails_in(None);
        let is_right = if failing < 4 {
            matches!(error, ForgetError::Write { .. })
        } else {
            matches!(error, ForgetError::Replace { .. })
        };
        assert!(is_right, "operation {failing}: {error}");
        assert_eq!(contents(&disk), before);
        assert_eq!(read_all(&reader).unwrap().len(), 60);
        assert!(forget_all(&mut forgetter, log.durable_end()).len() > 1);
        assert_eq!(read_all(&reader).unwrap().len(), 60);
        assert!(!disk.names().iter().any(|name| is_unfinished(name)));
    }
}

#[test]
fn a_damaged_segment_keeps_its_samples_and_the_others_lose_theirs() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(100));
    let (log, ..) = open_reading_everything(&disk);
    let segments: Vec<String> = disk.names();
    disk.change(&segments[1], SEGMENT_HEADER_LEN + 400, |byte| byte ^ 1);
    let damaged = disk.bytes(&segments[1]);
    let mut forgetter = log.forgetter();
    assert_eq!(forgetter.step(log.durable_end()).unwrap().unwrap().segment, segments[0]);
    let error = forgetter.step(log.durable_end()).unwrap_err();
    assert!(matches!(&error, ForgetError::Unsound(name) if *name == segments[1]), "{error}");
    assert_eq!(forget_all(&mut forgetter, log.durable_end()).len(), segments.len() - 3);
    assert_eq!(disk.bytes(&segments[1]), damaged, "what may still be read is left alone");
}

/// The first offset and the header's end of every batch, as a reader gets them.
fn read_all<D: Disk>(reader: &LogReader<D>) -> Result<Vec<(u64, bool)>, ReadError> {
    let (mut at, mut scratch, mut found) = (reader.first(), Vec::new(), Vec::new());
    while at < reader.durable_end() {
        let chunk = reader.read(at, 3000, &mut scratch)?;
        found.extend(chunk.entries().map(|entry| (entry.head.ordinal, entry.batch.header().is_emptied())));
        at = chunk.next();
    }
    Ok(found)
}

#[test]
fn a_reader_in_the_middle_of_a_segment_goes_on_when_its_samples_are_removed() {
    let disk = SimDisk::of_seed(1);
    filled(&disk, &mixed(100));
    let (log, ..) = open_reading_everything(&disk);
    let all: Vec<u64> = read_all(&log.reader()).unwrap().into_iter().map(|(offset, _)| offset).collect();
    for stop_after in 1..all.len() {
        let disk = disk.after_power_cut();
        let (log, ..) = open_reading_everything(&disk);
        let (reader, mut scratch, mut found, mut at) = (log.reader(), Vec::new(), Vec::new(), Offset::ZERO);
        let mut forgetter = log.forgetter();
        while at < reader.durable_end() {
            // One entry at a time.
            let chunk = reader.read(at, 1, &mut scratch).unwrap();
            found.extend(chunk.entries().map(|entry| entry.head.ordinal));
            at = chunk.next();
            if found.len() == stop_after {
                forget_all(&mut forgetter, log.durable_end());
            }
        }
        assert_eq!(found, all, "its samples were removed after entry {stop_after}");
    }
}

#[test]
fn a_handle_stays_with_the_file_that_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = FsDisk::new(directory.path()).unwrap();
    check_handles(&on_disk);
    check_handles(&SimDisk::of_seed(1));
}

fn check_handles(disk: &impl Disk) {
    let make = |name: &str, bytes: &[u8]| {
        let file = disk.create(name, bytes.len() as u64).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
        file
    };
    let read = |file: &dyn Fn(&mut [u8])| {
        let mut bytes = [0; 3];
        file(&mut bytes);
        bytes
    };
    let (old, new) = (make("a", b"old"), make("b", b"new"));
    disk.rename("b", "a").unwrap();
    let named = disk.open("a").unwrap();
    assert_eq!(read(&|bytes| old.read_at(bytes, 0).unwrap()), *b"old");
    assert_eq!(read(&|bytes| new.read_at(bytes, 0).unwrap()), *b"new");
    assert_eq!(read(&|bytes| named.read_at(bytes, 0).unwrap()), *b"new");
    assert_eq!(disk.list().unwrap(), [("a".to_owned(), 3)]);
    assert!(disk.rename("b", "a").is_err());
}

#[test]
fn readers_at_work_see_every_offset_while_segment_after_segment_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FsDisk::new(directory.path()).unwrap();
    let mut agents = [Agent::new("press", Stream::Samples, 1), Agent::new("lathe", Stream::Samples, 2)];
    let (mut log, _) = EmbeddedLog::open(disk.clone(), SMALL, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
    for second in 0..1500 {
        log.append(&parse(&agents[second as usize % 2].samples(20)), clock(second).wall);
        if second % 50 == 0 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
    let all: Vec<u64> = read_all(&log.reader()).unwrap().into_iter().map(|(offset, _)| offset).collect();
    let (is_over, mut forgetter) = (AtomicBool::new(false), log.forgetter());
    let (end, shared_reader) = (log.durable_end(), log.reader());
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..3)
            .map(|number| {
                let (own, shared, all, is_over) = (log.reader(), &shared_reader, &all, &is_over);
                threads.spawn(move || {
                    let mut rounds = 0;
                    // One more round when the forgetter is done.
                    while !is_over.load(Ordering::Acquire) || rounds == 0 {
                        let reader = if number == 0 { &own } else { shared };
                        let found = read_all(reader).unwrap_or_else(|error| panic!("round {rounds}: {error}"));
                        assert!(found.iter().map(|(offset, _)| offset).eq(all), "round {rounds}");
                        rounds += 1;
                    }
                })
            })
            .collect();
        let mut indexer = log.indexer();
        let indexing = threads.spawn(move || while !matches!(indexer.step(), Indexed::UpToDate) {});
        let forgotten = forget_all(&mut forgetter, end);
        is_over.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        indexing.join().unwrap();
        assert!(forgotten.len() > 20, "{} segments", forgotten.len());
    });
    let is_emptied = read_all(&log.reader()).unwrap().iter().filter(|(_, is_emptied)| *is_emptied).count();
    assert!(is_emptied > 1000 && index_all_of(&log) == 0, "{is_emptied} batches");
    assert!(info(&disk).unwrap().is_sound());
    // The indexes lead a search past all emptied batches.
    let first = log.reader().next_range(Offset::ZERO, &Wanted::default()).unwrap();
    let newest = info(&disk).unwrap().segments.pop().unwrap();
    assert_eq!(first.start, newest.first);
}

fn index_all_of(log: &EmbeddedLog<FsDisk>) -> usize {
    let mut indexer = log.indexer();
    std::iter::from_fn(|| match indexer.step() {
        Indexed::UpToDate => None,
        step => Some(step),
    })
    .count()
}
