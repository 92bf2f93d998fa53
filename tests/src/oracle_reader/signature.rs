//! Ed25519 by the rules of "Signatures", each of them by itself: the library's plain check comes last.

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use sha2::{Digest, Sha256};

/// 2^252 + 27742317777372353535851937790883648493, little-endian.
const L: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// 2^255 − 19, little-endian.
const P: [u8; 32] = {
    let mut bytes = [0xFF; 32];
    (bytes[0], bytes[31]) = (0xED, 0x7F);
    bytes
};

/// The bytes of 64 hexadecimal digits.
const fn bytes(digits: &str) -> [u8; 32] {
    let (digits, mut bytes, mut at) = (digits.as_bytes(), [0; 32], 0);
    while at < 64 {
        let digit = digits[at] - if digits[at] < b'a' { b'0' } else { b'a' - 10 };
        bytes[at / 2] = bytes[at / 2] << 4 | digit;
        at += 1;
    }
    bytes
}

/// The y of the points of small order, little-endian.
const SMALL: [[u8; 32]; 5] = [
    bytes("0000000000000000000000000000000000000000000000000000000000000000"),
    bytes("0100000000000000000000000000000000000000000000000000000000000000"),
    bytes("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
];

fn is_less(one: &[u8], other: &[u8; 32]) -> bool {
    one.iter().rev().lt(other.iter().rev())
}

/// Whether these bytes may stand for a point: canonical, and not of small order.
fn is_point(bytes: &[u8; 32]) -> bool {
    let mut y = *bytes;
    y[31] &= 0x7F;
    is_less(&y, &P) && !SMALL.contains(&y)
}

/// Whether `key` has signed a hash in a context, as strictly as the specification asks for.
pub fn is_signed(context: &[u8; 20], hash: &[u8; 32], key: &[u8; 32], signature: &[u8; 64]) -> bool {
    let (r, s) = signature.split_first_chunk::<32>().expect("64 bytes");
    let is_strict = is_less(s, &L) && is_point(r) && is_point(key);
    let message = [&context[..], hash].concat();
    let check = |key: VerifyingKey| key.verify(&message, &Signature::from_bytes(signature)).is_ok();
    is_strict && VerifyingKey::from_bytes(key).is_ok_and(check)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
