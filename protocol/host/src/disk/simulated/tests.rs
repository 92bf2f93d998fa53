use super::*;

const LEN: usize = 8 * SECTOR;

/// A disk with one file of zeros, durable with its name, and a handle of it.
fn with_file(seed: u64) -> (SimDisk, SimFile) {
    let disk = SimDisk::of_seed(seed);
    let file = disk.create("a", LEN as u64).unwrap();
    disk.sync_directory().unwrap();
    (disk, file)
}

/// Which of its sectors are written after a power cut.
fn survivors(disk: &SimDisk) -> Vec<bool> {
    disk.bytes("a").chunks(SECTOR).map(|sector| sector[0] != 0).collect()
}

#[test]
fn a_power_cut_leaves_any_subset_of_what_was_not_synced() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = with_file(seed);
        file.write_at(&[1; LEN], 0).unwrap();
        seen.insert(survivors(&disk.after_power_cut()));
        // The control: what is synced is there.
        file.sync().unwrap();
        assert_eq!(survivors(&disk.after_power_cut()), [true; 8]);
    }
    assert!(seen.contains(&vec![true; 8]) && seen.contains(&vec![false; 8]) && seen.len() > 20, "{}", seen.len());
}

#[test]
fn a_name_that_was_not_synced_may_vanish_or_reappear() {
    let (mut vanished, mut reappeared) = (0, 0);
    for seed in 0..50 {
        let (disk, _) = with_file(seed);
        disk.create("b", 1).unwrap();
        disk.remove("a").unwrap();
        let after = disk.after_power_cut().names();
        vanished += usize::from(!after.contains(&"b".to_owned()));
        reappeared += usize::from(after.contains(&"a".to_owned()));
        disk.sync_directory().unwrap();
        assert_eq!(disk.after_power_cut().names(), ["b"]);
    }
    assert!((5..45).contains(&vanished) && (5..45).contains(&reappeared), "{vanished} {reappeared}");
}

#[test]
fn operations_are_refused_by_number_and_a_refused_write_is_torn_at_any_byte() {
    let mut cuts = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, file) = with_file(seed);
        disk.refuse(1, 2);
        file.write_at(&[1; 100], 0).unwrap();
        assert!(file.write_at(&[2; 100], SECTOR as u64).is_err() && file.sync().is_err());
        cuts.insert(disk.bytes("a").iter().filter(|byte| **byte == 2).count());
        file.write_at(&[3; 100], 0).unwrap();
        disk.fails_in(Some(1));
        file.sync().unwrap();
        assert!(file.sync().is_err() && disk.sync_directory().is_err() && disk.create("b", 1).is_err());
        disk.fails_in(None);
        file.sync().unwrap();
    }
    assert!(cuts.iter().any(|cut| !cut.is_multiple_of(SECTOR) && *cut < 100), "{cuts:?}");
}

#[test]
fn a_sync_that_failed_leaves_some_on_disk_and_forgets_the_rest() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, file) = with_file(seed);
        file.write_at(&[1; LEN], 0).unwrap();
        disk.refuse(0, 1);
        assert!(file.sync().is_err());
        // The next one works, and makes nothing of it durable.
        file.sync().unwrap();
        lost += usize::from(survivors(&disk.after_power_cut()) != [true; 8]);
    }
    assert!(lost > 40, "{lost}");
}

#[test]
fn a_full_disk_and_unreadable_files_refuse() {
    let (disk, file) = with_file(1);
    disk.set_space(LEN as u64);
    assert_eq!(disk.create("b", 1).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.set_unreadable(["a".to_owned()]);
    assert!(file.read_at(&mut [0], 0).is_err());
    disk.set_unreadable([]);
    disk.refuse_reads(true);
    assert!(file.read_at(&mut [0], 0).is_err());
    disk.refuse_reads(false);
    file.read_at(&mut [0], 0).unwrap();
}

#[test]
fn rot_losses_and_copies_are_durable() {
    let (disk, file) = with_file(1);
    disk.begin_trace();
    file.write_at(&[1; LEN], 0).unwrap();
    file.sync().unwrap();
    assert!(matches!(&disk.take_trace()[..], [Op::Write { position: 0, .. }, Op::Sync { .. }]));
    let earlier = disk.copy();
    disk.flip("a", 3);
    assert_eq!(disk.after_power_cut().bytes("a")[0], 9);
    disk.overwrite("a", 0..2);
    disk.change("a", 2, |byte| byte + 1);
    assert_eq!(disk.bytes("a")[..4], [0x55, 0x55, 2, 1]);
    disk.lose("a");
    assert!(disk.after_power_cut().names().is_empty());
    disk.put_back(&earlier);
    assert_eq!(disk.bytes("a"), [1; LEN]);
    disk.replace("a", b"short");
    assert_eq!(disk.after_power_cut().bytes("a"), b"short");
    disk.beside().create("w", 1).unwrap();
    disk.lose_all();
    assert_eq!((disk.names().len(), disk.beside().names().len()), (0, 1));
}

#[test]
fn handles_of_a_boot_that_has_ended_fail() {
    let (disk, file) = with_file(1);
    let next = disk.power_cut();
    assert!(file.sync().is_err() && disk.list().is_err());
    next.stop_after(0);
    assert!(next.create("b", 1).is_err() && next.is_stopped() && next.list().is_err());
    assert!(next.process_end().list().is_ok());
}

#[test]
fn a_sync_that_lies_keeps_nothing() {
    let kept = (0..20).filter(|seed| {
        let (disk, file) = with_file(*seed);
        disk.sync_lies();
        file.write_at(&[1; LEN], 0).unwrap();
        file.sync().unwrap();
        survivors(&disk.after_power_cut()) == [true; 8]
    });
    assert!(kept.count() < 15);
}
