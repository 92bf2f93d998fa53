//! Every bit counts.

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::ids::Stream;
use afferent_protocol::segment::STOP_LEN;

use super::*;
use crate::ring_log::inspect;

/// Bits behind the last entry's stop belong to nothing; all others, header padding included, do.
#[test]
fn every_flipped_bit_up_to_the_stop_is_noticed() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 4);
    for mark in 0..4 {
        append(&mut log, Stream::Critical, mark, 60);
    }
    let active = log.active(Stream::Critical).unwrap();
    let (name, end) = (format!("ring-{:04}.seg", active.number), active.position as usize + STOP_LEN);
    drop(log);
    assert_eq!(inspect::verify(&disk, None).unwrap().problems, []);
    for bit in 0..end * 8 {
        disk.flip(&name, bit);
        assert_ne!(inspect::verify(&disk, None).unwrap().problems, [], "bit {bit}");
        if bit % 13 == 0 {
            let disk = disk.copy();
            let (mut log, recovery) = open(&disk, 4);
            assert!(!recovery.is_clean(), "bit {bit}");
            let seen = drain(&mut log);
            for mark in 0..4 {
                let declared = losses(&seen).iter().any(|loss| (loss.first..loss.end).contains(&sequence(mark)));
                assert!(marks(&seen).contains(&(mark as i64)) || declared, "bit {bit}, event {mark}");
            }
        }
        disk.flip(&name, bit);
    }
    for bit in (end * 8..SEGMENT as usize * 8).step_by(997) {
        disk.flip(&name, bit);
        assert!(open(&disk.copy(), 4).1.is_clean(), "dead space, bit {bit}");
        disk.flip(&name, bit);
    }
}

#[test]
fn what_the_disk_does_not_give_counts_as_damaged_only_after_some_tries() {
    let disk = SimDisk::of_seed(1);
    let (mut log, _) = open(&disk, 8);
    append(&mut log, Stream::Samples, 0, 100);
    let held = log.held()[0];
    disk.refuse_reads(true);
    let mut out = Vec::new();
    let refused = log.read(held.lane, held.first, 1000, &clock(), &mut out);
    assert!(matches!(refused, Err(ReadError::Io(_))) && out.is_empty());
    disk.refuse_reads(false);
    assert_eq!(marks(&drain(&mut log)), [0]);
    append(&mut log, Stream::Samples, 1, 100);
    disk.refuse_reads(true);
    let held = log.held()[0];
    let lost = (0..10).map(|_| log.read(held.lane, held.first, 1000, &clock(), &mut out));
    let lost = lost.filter(|read| matches!(read, Err(ReadError::Corrupt { .. }))).count();
    assert_eq!(lost, 1);
    disk.refuse_reads(false);
    assert_eq!(losses(&drain(&mut log)).len(), 1);
}
