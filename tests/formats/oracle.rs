//! The oracle's reader itself: it must notice what it is there to notice.

use afferent_tests::oracle_reader::{check_lanes, crc32c, read_batch, read_ring, read_segment, read_unified};

use crate::made::{self, KEY};

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
    let bytes = segment("segment-ring-v1");
    let files = [("a".to_owned(), &bytes[..]), ("b".to_owned(), &bytes[..]), ("blank".to_owned(), &[0; 4096][..])];
    let lanes = read_ring(files);
    assert_eq!(lanes.len(), 1);
    let batches: Vec<_> = lanes.values().flatten().map(|entry| &entry.batch).collect();
    assert_eq!(batches.len(), 3);
    assert_eq!(check_lanes(batches, key, |_, _, _| false), Vec::<String>::new());
}

#[test]
fn it_says_what_is_wrong_with_a_unified_log() {
    let torn = segment("segment-unified-torn-v1");
    let (entries, problems) = read_unified([("torn".to_owned(), &torn[..])]);
    assert_eq!((entries.len(), problems.len()), (2, 0), "{problems:?}");
    let corrupt = segment("segment-unified-corrupt-v1");
    let (entries, problems) = read_unified([("corrupt".to_owned(), &corrupt[..]), ("noise".to_owned(), &[7; 2000])]);
    assert_eq!(entries.len(), 2);
    assert_eq!(problems.len(), 3, "no segment, a corrupt stretch, and offsets that do not follow: {problems:?}");
}

#[test]
fn it_says_what_is_wrong_with_order_chain_and_signature() {
    let ring = read_segment(&segment("segment-ring-v1")).unwrap().unwrap();
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
