//! A control message: what is decoded encodes to what decodes to the same.
#![no_main]

use afferent_protocol::checksum::crc32c;
use afferent_protocol::session::{Control, is_control};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Control::decode(bytes);
    let message = [b"AFC2", &crc32c(bytes).to_le_bytes()[..], bytes].concat();
    if let Ok(control) = Control::decode(&message) {
        let encoded = control.encode();
        assert!(is_control(&encoded));
        assert_eq!(Control::decode(&encoded), Ok(control));
    }
});
