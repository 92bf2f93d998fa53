//! What goes when the ring is full, and in which order.

use std::collections::BTreeMap;

use afferent_host::disk::simulated::{Op, SimDisk};
use afferent_protocol::batch::Batch;
use afferent_protocol::event::LossReason;
use afferent_protocol::ids::Stream;

use super::*;

#[test]
fn samples_are_given_up_before_anything_critical() {
    let (mut log, _) = open(&SimDisk::of_seed(1), 8);
    for mark in 0..60 {
        append(&mut log, Stream::Samples, mark * 100, 9_000);
    }
    for mark in 0..34 {
        append(&mut log, Stream::Critical, mark, 9_000);
    }
    let status = log.status();
    assert_eq!(status.segments[1], 1, "of samples only what is being written is left");
    let seen = drain(&mut log);
    assert!(losses(&seen).iter().all(|loss| loss.stream == Stream::Samples && loss.reason == LossReason::Evicted));
    let critical = seen.iter().filter(|seen| seen.lane.stream == Stream::Critical && seen.loss.is_none());
    assert_eq!(critical.count(), 34);
}

#[test]
fn every_event_is_there_or_declared_when_even_critical_is_given_up() {
    let (mut log, _) = open(&SimDisk::of_seed(1), 8);
    for mark in 0..200 {
        append(&mut log, Stream::Critical, mark, 9_000);
        append(&mut log, Stream::Samples, mark * 100, 3_000);
    }
    let ends = Stream::ALL.map(|stream| log.durable_end(stream));
    let seen = drain(&mut log);
    for (lane, end) in ends {
        for at in 0..end.get() {
            let there = seen.iter().any(|seen| seen.lane == lane && seen.sequence == at);
            let declared = losses(&seen)
                .iter()
                .any(|loss| loss.stream == lane.stream && (loss.first..loss.end).contains(&sequence(at)));
            assert!(there || declared, "{lane:?} {at}");
        }
    }
}

#[test]
fn a_loss_is_durable_before_its_victim_is_written_and_names_the_chain() {
    let disk = SimDisk::of_seed(1);
    disk.begin_trace();
    let (mut log, _) = open(&disk, 6);
    for mark in 0..80 {
        append(&mut log, Stream::Samples, mark * 100, 9_000);
    }
    // What each file ends with, by what was written to it; and the losses that were synced so far.
    let (mut files, mut declared, mut checked) = (BTreeMap::new(), Vec::new(), 0);
    let trace = disk.take_trace();
    for (at, op) in trace.iter().enumerate() {
        let Op::Write { name, position, bytes } = op else { continue };
        if *position == 0
            && let Some((end, chain)) = files.remove(name)
        {
            let loss = declared.iter().find(|loss: &&Loss| loss.stream == Stream::Samples && loss.end == end);
            assert_eq!(loss.expect("the loss is on disk before the victim is touched").chain, chain);
            checked += 1;
        }
        let from = if bytes.starts_with(b"AFFSEG1") { 1080 } else { 56 };
        let Some(Ok((batch, _))) = bytes.get(from..).map(Batch::parse) else { continue };
        assert!(matches!(&trace[at + 1], Op::Sync { name: synced } if synced == name));
        if batch.header().stream == Stream::Samples {
            files.insert(name.clone(), (batch.header().end(), batch.chain_hash()));
        }
        declared.extend(losses(&events(batch.bytes())));
    }
    assert!(checked > 3, "{checked}");
}

#[test]
fn what_was_given_up_stays_given_up_after_a_restart() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 6);
    for mark in 0..80 {
        append(&mut log, Stream::Samples, mark * 100, 9_000);
    }
    let held = log.held();
    drop(log);
    disk.lose_power();
    let (log, recovery) = open(&disk, 6);
    assert!(recovery.losses.is_empty(), "{recovery}");
    assert_eq!(log.held(), held);
}
