//! The tables of devices and of followed files outlive everything that was acked.

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::event::{FilePlace, FilePlaces, Progress};
use afferent_protocol::ids::{Epoch, Stream, Timestamp};
use afferent_protocol::limits::FOLLOWED_BYTES_MAX;

use super::*;
use crate::ring_log::{DeviceProgress, FollowedFiles, Tables};

fn progress(stream: Stream, end: u64) -> DeviceProgress {
    let progress = Progress { stream, epoch: Epoch::new(9), end: sequence(end), check: 5, ticks: None };
    DeviceProgress { device: SourceId::new("spindle-1").unwrap(), time: clock().wall, progress }
}

fn append_with_table(log: &mut RingLog<SimDisk>, stream: Stream, end: u64) {
    let mut batch = batch(stream, 0, 1, 100);
    progress(stream, end).push(&mut batch);
    log.append(stream, &mut batch, &clock()).unwrap();
}

/// Appends far more than the ring holds, all of it acked, and starts again; returns the tables that the start has
/// found.
fn after_many_acked_batches(stream: Stream, first: impl Fn(&mut RingLog<SimDisk>)) -> (usize, [Tables; 2]) {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    first(&mut log);
    for mark in 0..100 {
        append(&mut log, stream, mark, 9_000);
        drain(&mut log);
    }
    let segments = log.status().segments[usize::from(stream.number())];
    drop(log);
    disk.lose_power();
    (segments, open(&disk, 8).1.tables)
}

#[test]
fn the_newest_table_stays_when_everything_was_acked_and_the_ring_has_gone_round() {
    for stream in Stream::ALL {
        let at = usize::from(stream.number());
        let (pinned, devices) = after_many_acked_batches(stream, |log| {
            append_with_table(log, stream, 3);
            append_with_table(log, stream, 4);
        });
        assert_eq!(devices[at].devices, [progress(stream, 4)]);
        // The control: a batch without a table is in none of the segments by then.
        let (plain, devices) = after_many_acked_batches(stream, |log| {
            append(log, stream, 0, 100);
        });
        assert_eq!((plain + 1, devices), (pinned, Default::default()));
    }
}

fn followed(stream: Stream, end: u64) -> FollowedFiles {
    let files = [FilePlace {
        number: 1,
        device: 7,
        inode: end,
        born_us: 8,
        known: 9,
        fingerprint: [3; 8],
        end,
        other_end: 0,
        is_finished: stream == Stream::Samples,
        name: "press.log",
    }];
    let mut bytes = [0; FOLLOWED_BYTES_MAX];
    let places = FilePlaces::write(&files, &mut bytes).unwrap().bytes().to_vec();
    let (agent, input) = (SourceId::new("press-1").unwrap(), "press".to_owned());
    FollowedFiles { agent, input, number: end, time: clock().wall, horizon: Timestamp::default(), places }
}

#[test]
fn the_newest_table_of_files_stays_as_that_of_devices_does() {
    for stream in Stream::ALL {
        let (_, tables) = after_many_acked_batches(stream, |log| {
            for end in [3, 4] {
                let mut batch = batch(stream, 0, 1, 100);
                progress(stream, end).push(&mut batch);
                followed(stream, end).push(stream, &mut batch);
                log.append(stream, &mut batch, &clock()).unwrap();
            }
        });
        let expected = Tables { devices: vec![progress(stream, 4)], files: vec![followed(stream, 4)] };
        assert_eq!(tables[usize::from(stream.number())], expected);
    }
}

#[test]
fn a_newer_table_frees_the_segment_of_the_one_before() {
    for stream in Stream::ALL {
        let (segments, devices) = after_many_acked_batches(stream, |log| append_with_table(log, stream, 3));
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        append_with_table(&mut log, stream, 3);
        for mark in 0..100 {
            append(&mut log, stream, mark, 9_000);
            drain(&mut log);
        }
        append_with_table(&mut log, stream, 5);
        assert_eq!(log.status().segments[usize::from(stream.number())] + 1, segments, "{devices:?}");
    }
}

#[test]
fn samples_that_the_ring_has_no_room_for_are_given_up_before_the_table() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append_with_table(&mut log, Stream::Samples, 3);
    for mark in 0..200 {
        append(&mut log, Stream::Samples, mark, 9_000);
    }
    assert!(log.status().counters.evicted_segments > 10, "the ring has gone round");
    drop(log);
    assert_eq!(open(&disk, 8).1.tables[1].devices, [progress(Stream::Samples, 3)]);
}

#[test]
fn a_stop_that_a_table_follows_is_still_a_stop() {
    use afferent_protocol::event::LifeCycle;
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    let mut batch = BatchBuilder::new();
    let subject = Subject::new("press-1").unwrap();
    let body = Body::LifeCycle(LifeCycle::Stopped { reason: "" });
    batch.push(&Event { time: clock().wall, subject, body }).unwrap();
    progress(Stream::Critical, 3).push(&mut batch);
    log.append(Stream::Critical, &mut batch, &clock()).unwrap();
    drop(log);
    assert!(open(&disk, 8).1.last_critical.unwrap().stopped);
}
