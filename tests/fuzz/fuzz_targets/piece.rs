//! A piece of a batch: whatever comes is refused, or says of itself what its bytes are.
#![no_main]

use afferent_protocol::limits::BATCH_BYTES_MAX;
use afferent_protocol::piece::{is_piece, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, piece)) = read(bytes) else { return };
    assert!(is_piece(bytes) && !piece.is_empty());
    assert!(head.at + piece.len() <= head.len && head.len <= BATCH_BYTES_MAX, "it lies within its batch");
    assert_eq!([&head.encode()[..], piece].concat(), bytes, "reading and writing are the identity");
});
