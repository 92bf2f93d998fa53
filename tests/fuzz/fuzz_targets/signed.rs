//! A signed message: what is read of any bytes is what somebody has signed or is not believed, and what is said is read again
//! as it was.
#![no_main]

use afferent_protocol::checksum::crc32c;
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::SIGNED_BYTES_MAX;
use afferent_protocol::session::signed::{Down, Up, is_down, is_signed};
use afferent_protocol::sign::Identity;
use libfuzzer_sys::fuzz_target;

const SOURCE: SourceId = SourceId::literal("press-88");

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    // The magic, the checksum and the key would keep nearly everything out: mend them.
    let identity = Identity::from_seed(&[1; 32]);
    let mut message = bytes.to_vec();
    message.resize(message.len().clamp(154, SIGNED_BYTES_MAX), 0);
    message[..4].copy_from_slice(b"AFS1");
    message[122..154].copy_from_slice(&identity.public_key().0);
    let crc = crc32c(&message[8..]);
    message[4..8].copy_from_slice(&crc.to_le_bytes());
    look(&message);
    if let Ok(up) = Up::read(&message) {
        let up = up.claim().clone();
        let signed = up.sign(&SOURCE, &identity);
        assert!(is_signed(&signed) && !is_down(&signed));
        assert_eq!(Up::read(&signed).expect("it was just made").verify_own_key(&SOURCE), Some(up));
    }
    if let Ok(down) = Down::read(&message) {
        let down = down.claim().clone();
        let _ = (down.trusted_by(&[identity.public_key()]), down.attested());
        let signed = down.sign(&SOURCE, &identity);
        assert!(is_down(&signed));
        assert_eq!(Down::read(&signed).expect("it was just made").verify_own_key(&SOURCE), Some(down));
    }
});

/// Nobody signs by chance.
fn look(message: &[u8]) {
    assert!(Up::read(message).ok().and_then(|up| up.verify_own_key(&SOURCE)).is_none());
    assert!(Down::read(message).ok().and_then(|down| down.verify_own_key(&SOURCE)).is_none());
}
