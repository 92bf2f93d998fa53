//! The oracle's reader itself: it must notice what it is there to notice.

use afferent_tests::oracle_reader::{
    ReadEntry, check_attestations, check_lanes, crc32c, read_attestation, read_batch, read_control, read_endorsement,
    read_message, read_ring, read_segment, read_unified,
};

use crate::made::{self, KEY, LOG_ID, LOG_KEY, SOURCE};

fn key(_: &str) -> Option<[u8; 32]> {
    Some(KEY.public_key().0)
}

fn segment(name: &str) -> Vec<u8> {
    made::segments().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn its_checksum_has_the_published_check_value() {
    assert_eq!(crc32c(&[b"12345", b"6789"]), 0xE306_9283);
}

#[test]
fn it_refuses_a_batch_with_any_bit_flipped() {
    let bytes = made::batches()[0].1.seal();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read_batch(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn it_refuses_an_emptied_batch_with_any_bit_flipped_and_any_other_form() {
    let (_, bytes) = made::emptied().remove(0);
    assert!(read_batch(&bytes).unwrap().is_signed_by(&KEY.public_key().0));
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read_batch(&bytes).is_err(), "bit {bit}");
    }
    for (at, byte) in [(74, 0), (76, 31), (80, 31)] {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        let crc = crc32c(&[&bytes[8..]]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        assert!(read_batch(&bytes).is_err(), "{byte} at {at}");
    }
}

#[test]
fn it_reads_the_ring_as_one_lane_in_order_however_often_a_batch_is_there() {
    let bytes = segment("segment-ring-v2");
    let files = [("a".to_owned(), &bytes[..]), ("b".to_owned(), &bytes[..]), ("blank".to_owned(), &[0; 4096][..])];
    let lanes = read_ring(files);
    assert_eq!(lanes.len(), 1);
    let batches: Vec<_> = lanes.values().flatten().map(|entry| &entry.batch).collect();
    assert_eq!(batches.len(), 3);
    assert_eq!(check_lanes(batches, key, |_, _, _| false), Vec::<String>::new());
}

#[test]
fn it_says_what_is_wrong_with_a_unified_log() {
    let torn = segment("segment-unified-torn-v2");
    let (entries, problems) = read_unified([("torn".to_owned(), &torn[..])]);
    assert_eq!((entries.len(), problems.len()), (2, 0), "{problems:?}");
    let corrupt = segment("segment-unified-corrupt-v2");
    let (entries, problems) = read_unified([("corrupt".to_owned(), &corrupt[..]), ("noise".to_owned(), &[7; 2000])]);
    assert_eq!(entries.len(), 2);
    assert_eq!(problems.len(), 3, "no segment, a corrupt stretch, and offsets that do not follow: {problems:?}");
}

#[test]
fn it_says_what_is_wrong_with_order_chain_and_signature() {
    let ring = read_segment(&segment("segment-ring-v2")).unwrap().unwrap();
    let batches: Vec<_> = ring.entries.into_iter().map(|entry| entry.batch).collect();
    let problems = |order: &[usize], declared: bool| {
        check_lanes(order.iter().map(|at| &batches[*at]), key, |_, _, _| declared).len()
    };
    assert_eq!(problems(&[0, 1, 2], false), 0);
    assert_eq!(problems(&[0, 2], false), 1, "a hole");
    assert_eq!(problems(&[0, 2], true), 0, "a declared hole");
    assert_eq!(problems(&[0, 1, 1, 2], false), 1, "twice");
    assert_eq!(problems(&[0, 2, 1], true), 1, "out of order");
    let mut forged = batches.clone();
    forged[1].previous = [1; 32];
    forged[2].chain = [1; 32];
    assert_eq!(check_lanes(&forged, key, |_, _, _| false).len(), 2, "another chain, another content");
    assert_eq!(check_lanes(&batches, |_| Some([3; 32]), |_, _, _| false).len(), 3, "another key");
    assert_eq!(check_lanes(&batches, |_| None, |_, _, _| false).len(), 3, "no key");
}

fn attested() -> Vec<ReadEntry> {
    read_segment(&segment("segment-unified-v2")).unwrap().unwrap().entries
}

#[test]
fn it_holds_a_log_against_its_attestations() {
    let check = |entries: &[ReadEntry]| check_attestations(LOG_ID, entries, &LOG_KEY.public_key().0).len();
    let whole = attested();
    assert_eq!(check(&whole), 0);
    assert_eq!(check_attestations([9; 16], &whole, &LOG_KEY.public_key().0).len(), 2, "of another log");
    assert_eq!(check_attestations(LOG_ID, &whole, &KEY.public_key().0).len(), 2, "signed by another key");
    let changed = |change: &dyn Fn(&mut Vec<ReadEntry>)| {
        let mut entries = attested();
        change(&mut entries);
        check(&entries)
    };
    assert_eq!(changed(&|entries| entries[1].stamp += 1), 2, "another ingest time");
    assert_eq!(changed(&|entries| entries[1].batch.chain[0] ^= 1), 2, "another batch");
    assert_eq!(changed(&|entries| entries[4].ordinal += 1), 1, "another offset behind the first attestation");
    assert_eq!(changed(&|entries| entries[4].batch.count -= 1), 1, "fewer events behind the first attestation");
    assert_eq!(changed(&|entries| drop(entries.remove(1))), 2, "an entry less");
    assert_eq!(changed(&|entries| drop(entries.remove(3))), 1, "the first attestation is gone");
    assert_eq!(changed(&|entries| entries.truncate(5)), 0, "what follows the newest one is bound by none");
}

#[test]
fn it_believes_no_statement_and_no_message_that_was_changed() {
    for (name, bytes) in made::statements() {
        let is_believed = |bytes: &[u8]| {
            let attested = read_attestation(bytes).is_ok_and(|read| read.is_signed);
            attested || read_endorsement(bytes).is_ok_and(|read| read.is_signed)
        };
        assert!(is_believed(&bytes), "{name}");
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_believed(&bytes), "{name}, bit {bit}");
        }
    }
    for (name, bytes) in crate::signed() {
        let is_believed = |bytes: &[u8], source: &str| read_message(bytes, source).is_ok_and(|read| read.is_signed);
        assert!(is_believed(&bytes, SOURCE) && !is_believed(&bytes, "press-89"), "{name}");
        for bit in (64..bytes.len() * 8).step_by(3) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let crc = crc32c(&[&bytes[8..]]).to_le_bytes();
            bytes[4..8].copy_from_slice(&crc);
            assert!(!is_believed(&bytes, SOURCE), "{name}, bit {bit}");
        }
    }
    for (name, control) in made::controls() {
        let bytes = control.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_control(&bytes).is_err(), "{name}, bit {bit}");
        }
    }
}
