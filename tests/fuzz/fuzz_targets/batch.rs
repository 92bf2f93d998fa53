//! A message of batches: what is parsed encodes to the same header, with the checksum set right as well.
#![no_main]

use afferent_protocol::batch::{Batch, HEADER_LEN, Header, split};
use afferent_protocol::checksum::crc32c;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for batch in split(bytes) {
        check(batch.as_ref().ok());
    }
    if bytes.len() >= HEADER_LEN {
        // The checksum would keep nearly everything out: mend it, and the length.
        let mut bytes = bytes.to_vec();
        bytes[..4].copy_from_slice(b"AFB1");
        let body_len = (bytes.len() - HEADER_LEN) as u32;
        bytes[76..80].copy_from_slice(&body_len.to_le_bytes());
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        check(Batch::parse(&bytes).ok().map(|(batch, _)| batch).as_ref());
    }
});

fn check(batch: Option<&Batch<'_>>) {
    if let Some(batch) = batch {
        let encoded = batch.header().encode();
        assert_eq!(encoded[..], batch.bytes()[..HEADER_LEN]);
        assert_eq!(Header::decode(&encoded).as_ref(), Ok(batch.header()));
        assert!(batch.header().range().count() > 0);
        let _ = batch.chain_hash();
    }
}
