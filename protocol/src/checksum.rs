//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), over batches, log entries and serial frames; and SHA-256, over what is
//! chained and signed.
//!
//! With `hardware-crc` the processor's instruction does it; without, a loop that needs no table, for the flash of a
//! microcontroller. Both give the same figure.

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// CRC-32C of what gave `crc`, followed by `bytes`.
#[cfg(feature = "hardware-crc")]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// CRC-32C of what gave `crc`, followed by `bytes`.
#[cfg(not(feature = "hardware-crc"))]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    bitwise(crc, bytes)
}

/// SHA-256 (FIPS 180-4).
#[cfg(feature = "sign")]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

// Never inlined: one copy of it is enough.
#[cfg(any(test, not(feature = "hardware-crc")))]
#[inline(never)]
fn bitwise(crc: u32, bytes: &[u8]) -> u32 {
    // The polynomial 0x1EDC6F41, its bits in reverse order.
    const CASTAGNOLI: u32 = 0x82F6_3B78;
    let mut crc = !crc;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ CASTAGNOLI & (crc & 1).wrapping_neg();
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_computing_agree_with_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(bitwise(0, b"123456789"), 0xE306_9283);
        assert_eq!(bitwise(bitwise(0, b"1234"), b"56789"), 0xE306_9283);
        assert_eq!(crc32c_append(crc32c(b"1234"), b"56789"), 0xE306_9283);
    }
}
