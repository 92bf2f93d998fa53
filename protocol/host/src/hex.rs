//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Two lower-case digits a byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The bytes of digits in either case; `None` for anything that is no digit, and for an odd count.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// [`decode`] of exactly `N` bytes.
pub fn decode_array<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() == 2 * N { decode(digits)?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_what_is_no_digit_is_refused() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        assert_eq!(decode("aBc0"), Some(vec![0xab, 0xc0]));
        for wrong in ["a", "+f", "0g", " 0", "é"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!((decode_array::<2>("0102"), decode_array::<2>("010203")), (Some([1, 2]), None));
    }
}
