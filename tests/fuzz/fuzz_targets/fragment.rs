//! A batch in pieces: whatever other pieces come before, also in its name, it is whole again after two repetitions.
#![no_main]

use afferent_protocol::batch::{Batch, HEADER_LEN};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::fragment::{Assembler, FRAGMENT_LEN_MAX, MAGIC, PIECE_LEN, fragment};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 2048;
type Assemblers = Assembler<BYTES_MAX>;

fuzz_target!(|bytes: &[u8]| {
    let mut assembler = Assemblers::new();
    for piece in bytes.chunks(FRAGMENT_LEN_MAX) {
        take(&mut assembler, piece);
    }
    let Some(batch) = mended(bytes) else { return };
    // Pieces of anything in the name of the batch.
    let name = [&MAGIC, &batch[4..8], &(batch.len() as u16).to_le_bytes()].concat();
    for piece in bytes.chunks(FRAGMENT_LEN_MAX - name.len()) {
        take(&mut assembler, &[&name, piece].concat());
    }
    let pieces: Vec<_> = (0..batch.len()).step_by(PIECE_LEN).map(|at| fragment(&batch, at).unwrap()).collect();
    let whole = pieces.iter().chain(&pieces).any(|piece| take(&mut assembler, piece).as_ref() == Some(&batch));
    assert!(whole, "two repetitions make it whole");
});

fn take(assembler: &mut Assemblers, piece: &[u8]) -> Option<Vec<u8>> {
    let is_of = assembler.is_of(piece);
    let given = assembler.take(piece).map(|batch| batch.bytes().to_vec());
    if let Some(batch) = &given {
        assert!(is_of || batch.len() <= PIECE_LEN, "only the last of several pieces makes a batch");
        assert!(Batch::parse(batch).is_ok_and(|(_, rest)| rest.is_empty()));
        assert!(!assembler.is_of(piece), "it is given once");
    }
    given
}

/// The bytes as a batch, if only magic, length and checksum keep them from being one.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut batch = bytes.get(..bytes.len().min(BYTES_MAX)).filter(|bytes| bytes.len() > HEADER_LEN)?.to_vec();
    batch[..4].copy_from_slice(b"AFB1");
    let body_len = (batch.len() - HEADER_LEN) as u32;
    batch[76..80].copy_from_slice(&body_len.to_le_bytes());
    let crc = crc32c(&batch[8..]);
    batch[4..8].copy_from_slice(&crc.to_le_bytes());
    Batch::parse(&batch).is_ok().then_some(batch)
}
