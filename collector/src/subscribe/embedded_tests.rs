//! Readers of the embedded log.

use std::os::unix::fs::FileExt;

use afferent_host::disk::FsDisk;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::Identity;

use super::{Filter, Format, Page, Reading};
use crate::log::memory::sample;
use crate::log::{EmbeddedLog, LogSettings, ReadLog, UnifiedLog};

/// A log with ten batches of three events, ingested at the seconds 1 to 10.
fn thirty_events(directory: &std::path::Path) -> EmbeddedLog<FsDisk> {
    let mut draw = 0;
    let mut entropy = || {
        draw += 1;
        draw
    };
    let disk = FsDisk::new(directory).unwrap();
    let settings = LogSettings { segment_bytes: 64 * 1024 };
    let (mut log, _) = EmbeddedLog::open(disk, settings, &mut entropy, Timestamp::default(), &mut |_, _| {}).unwrap();
    let mut builder = BatchBuilder::new();
    for number in 0..10 {
        (0..3).for_each(|value| builder.push(&sample("88-C/a", value)).unwrap());
        let lineage = Lineage {
            source: SourceId::new("press-88").unwrap(),
            stream: Stream::Samples,
            epoch: Epoch::new(1),
            first: Sequence::new(number * 3),
            previous: CHAIN_START,
        };
        let mut bytes = Vec::new();
        builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
        let ingest = Timestamp::new((number as i64 + 1) * 1_000_000).unwrap();
        log.append(&Batch::parse(&bytes).unwrap().0, ingest);
        log.commit().unwrap();
    }
    log
}

/// Offset and type of all events from `from` on.
fn read(log: &dyn ReadLog, from: Offset) -> Vec<(u64, String)> {
    let mut reading = Reading::follow(from, Filter::default(), Format::Lines);
    let mut out = Vec::new();
    while reading.page(log, &mut out).unwrap() == Page::More {}
    let event = |line: &[u8]| {
        let event: serde_json::Value = serde_json::from_slice(line).unwrap();
        (event["offset"].as_str().unwrap().parse().unwrap(), event["type"].as_str().unwrap().to_owned())
    };
    out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(event).collect()
}

fn offsets(log: &dyn ReadLog, from: Offset) -> Vec<u64> {
    read(log, from).into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn the_embedded_log_is_read_from_any_offset_and_any_ingest_time() {
    let directory = tempfile::tempdir().unwrap();
    let log = thirty_events(directory.path()).reader();
    assert_eq!(ReadLog::kept(&log), Offset::new(0)..Offset::new(30));
    for from in 0..=30 {
        assert_eq!(offsets(&*log.clone_reader(), Offset::new(from)), (from..30).collect::<Vec<u64>>());
    }
    for (micros, offset) in [(0, 0), (1_000_000, 0), (1_000_001, 3), (10_000_000, 27), (10_000_001, 30)] {
        assert_eq!(log.at_time(Timestamp::new(micros).unwrap()).unwrap(), Offset::new(offset));
    }
}

#[test]
fn a_flipped_bit_costs_readers_its_batch_and_they_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let log = thirty_events(directory.path()).reader();
    let path = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&path).unwrap();
    let place = |nth: usize| bytes.windows(6).enumerate().filter(|(_, six)| *six == b"88-C/a").nth(nth).unwrap().0;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"9", place(4) as u64).unwrap();
    let events = read(&*log.clone_reader(), Offset::new(0));
    let unreadable: Vec<u64> =
        events.iter().filter(|(_, kind)| kind == "afferent.unreadable.v1").map(|(offset, _)| *offset).collect();
    assert_eq!(unreadable, [12]);
    let offsets: Vec<u64> = events.into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..13).chain(15..30).collect::<Vec<u64>>());
}
