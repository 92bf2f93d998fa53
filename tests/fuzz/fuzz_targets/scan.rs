//! A segment: a walk gives entries and stretches in order, without overlap, and ends; damage only takes entries away.
#![no_main]

use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{ENTRY_ALIGN, Entry, Head, SEGMENT_HEADER_LEN, SegmentHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<(u16, u8)>, &[u8])| {
    let (damage, segment) = input;
    let Head::Present { header, .. } = SegmentHeader::decode(segment) else { return };
    let whole = walk(segment, &header);
    let mut damaged = segment.to_vec();
    for (at, byte) in damage {
        let places = damaged.len() - SEGMENT_HEADER_LEN;
        if places > 0 {
            damaged[SEGMENT_HEADER_LEN + usize::from(at) % places] ^= byte;
        }
    }
    for at in walk(&damaged, &header) {
        assert!(whole.contains(&at) || damaged != segment, "an entry out of nothing");
    }
});

fn walk(segment: &[u8], header: &SegmentHeader) -> Vec<u64> {
    let mut scan = Scan::new(segment, header.seed());
    let (mut at, mut entries) = (SEGMENT_HEADER_LEN as u64, vec![]);
    while let Some(step) = scan.step() {
        match step {
            Step::Entry(position, entry) => {
                assert_eq!(position.get(), at);
                entries.push(at);
                at += entry.head.entry_len() as u64;
            }
            Step::Corrupt { from, to } => {
                assert_eq!(from.get(), at);
                assert!(to > from);
                assert!(Entry::parse(&segment[to.get() as usize..], header.seed()).is_ok());
                at = to.get();
            }
        }
        assert_eq!(at % ENTRY_ALIGN as u64, 0);
    }
    assert_eq!(scan.tail().end().get(), at);
    entries
}
