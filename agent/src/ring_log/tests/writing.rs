//! Appending, letting go, and a disk that refuses.

use afferent_host::disk::simulated::{Op, SimDisk};
use afferent_protocol::batch::{BatchBuilder, split};
use afferent_protocol::ids::Stream;

use super::*;
use crate::ring_log::AppendError;

#[test]
fn an_append_is_one_write_and_one_sync() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Critical, 1, 100);
    disk.begin_trace();
    append(&mut log, Stream::Critical, 2, 100);
    let trace = disk.take_trace();
    assert!(matches!(&trace[..], [Op::Write { .. }, Op::Sync { .. }]), "{trace:?}");
}

#[test]
fn a_segment_begins_with_one_write_on_a_blank_file() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    disk.begin_trace();
    append(&mut log, Stream::Critical, 1, 100);
    let trace = disk.take_trace();
    assert!(matches!(&trace[..], [Op::Write { position: 0, .. }, Op::Sync { .. }]), "{trace:?}");
}

#[test]
fn what_was_appended_is_read_back_in_order() {
    let (mut log, _) = open(&SimDisk::of_seed(1), 16);
    for mark in 0..40 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    let held = log.held();
    assert_eq!(marks(&read_lane(&mut log, &held[0], 1).unwrap()), (0..40).collect::<Vec<_>>());
    assert_eq!(marks(&read_lane(&mut log, &held[0], 100_000).unwrap()), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_cannot_fit_is_given_back_untouched() {
    let (mut log, _) = open(&SimDisk::of_seed(1), 8);
    let mut large = batch(Stream::Samples, 0, 100, 1000);
    let refused = log.append(Stream::Samples, &mut large, &clock());
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(large.count(), 100);
    assert!(matches!(log.append(Stream::Samples, &mut BatchBuilder::new(), &clock()), Err(AppendError::Empty)));
}

#[test]
fn release_frees_segments_and_keeps_the_lane_known() {
    let (mut log, _) = open(&SimDisk::of_seed(1), 8);
    for mark in 0..20 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    let (lane, end) = log.durable_end(Stream::Critical);
    let used = log.status().segments[0];
    assert!(used >= 3);
    log.release(lane, sequence(10));
    assert!(log.status().segments[0] < used);
    assert_eq!(log.held()[0].first, sequence(10));
    log.release(lane, end);
    assert_eq!(log.status().segments[0], 1);
    assert_eq!(log.status().unacked_events, [0, 0]);
    assert_eq!((log.held()[0].first, log.held()[0].end), (end, end));
}

#[test]
fn a_refused_write_goes_to_another_file_with_the_same_bytes() {
    for refused in 0..2 {
        let disk = SimDisk::of_seed(refused);
        let (mut log, _) = open(&disk, 8);
        append(&mut log, Stream::Critical, 0, 500);
        disk.begin_trace();
        disk.refuse(refused, 1);
        append(&mut log, Stream::Critical, 1, 500);
        let trace = disk.take_trace();
        let writes: Vec<_> = trace
            .iter()
            .filter_map(|op| match op {
                Op::Write { name, position, bytes } => {
                    let from = if *position == 0 { 1024 + 56 } else { 56 };
                    Some((name, split(&bytes[from..]).next().unwrap().unwrap().bytes().to_vec()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(writes.len(), 2);
        assert_ne!(writes[0].0, writes[1].0, "a file that has refused a write is not written again");
        assert_eq!(writes[0].1, writes[1].1);
        assert_eq!(log.status().counters.abandoned_segments, 1);
        append(&mut log, Stream::Critical, 2, 500);
        drop(log);
        disk.lose_power();
        let (mut log, recovery) = open(&disk, 8);
        assert!(recovery.losses.is_empty(), "{recovery}");
        assert_eq!(marks(&drain(&mut log)), [0, 1, 2]);
    }
}

#[test]
fn nothing_is_accepted_while_the_disk_refuses_and_the_same_bytes_come_first_afterwards() {
    for stream in Stream::ALL {
        let disk = SimDisk::of_seed(1);
        let (mut log, _) = open(&disk, 8);
        append(&mut log, stream, 0, 500);
        disk.refuse(0, 1000);
        let mut builder = batch(stream, 1, 1, 500);
        assert!(matches!(log.append(stream, &mut builder, &clock()), Err(AppendError::Unwritable { .. })));
        assert!(builder.is_empty() && log.pending(stream));
        let mut next = batch(stream, 2, 1, 500);
        assert!(matches!(log.append(stream, &mut next, &clock()), Err(AppendError::Pending { .. })));
        assert_eq!(next.count(), 1, "the builder is as it was");
        for _ in 0..20 {
            assert!(log.retry(&clock()).is_err());
        }
        assert_eq!(marks(&events_held(&mut log)), [0], "what was durable stays readable");
        disk.refuse(0, 0);
        assert_eq!(log.retry(&clock()).unwrap().len(), 1);
        assert!(!log.pending(stream));
        log.append(stream, &mut next, &clock()).unwrap();
        drop(log);
        disk.lose_power();
        let (mut log, recovery) = open(&disk, 8);
        assert!(recovery.losses.is_empty(), "{recovery}");
        assert_eq!(marks(&drain(&mut log)), [0, 1, 2]);
    }
}

fn events_held(log: &mut RingLog<SimDisk>) -> Vec<Seen> {
    let held = log.held();
    held.iter().flat_map(|held| read_lane(log, held, 1000).unwrap()).collect()
}
