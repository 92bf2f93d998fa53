//! Numbers and texts as JSON.

use std::fmt;

use crate::rfc3339::pair;

/// Digits that the largest number has.
const DIGITS: usize = 20;

/// A number in decimal digits, which counts up without being written anew.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    value: u64,
    digits: [u8; DIGITS],
    /// Index of its first digit that is not a leading zero.
    begin: usize,
}

impl Default for Decimal {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Decimal {
    pub fn of(value: u64) -> Self {
        let (mut digits, mut begin, mut left) = ([b'0'; DIGITS], DIGITS, value);
        while left >= 10 {
            begin -= 2;
            digits[begin..begin + 2].copy_from_slice(&pair(left % 100));
            left /= 100;
        }
        if left > 0 || begin == DIGITS {
            begin -= 1;
            digits[begin] = b'0' + left as u8;
        }
        Self { value, digits, begin }
    }

    /// Changes to a different number: mostly the next one.
    #[inline]
    pub fn turn_to(&mut self, value: u64) {
        let last = &mut self.digits[DIGITS - 1];
        if self.value.checked_add(1) == Some(value) && *last < b'9' {
            *last += 1;
            self.value = value;
        } else {
            *self = Self::of(value);
        }
    }

    /// The digits without leading zeros.
    pub fn plain(&self) -> &[u8] {
        &self.digits[self.begin..]
    }

    /// The digits with leading zeros, twenty in all, as many as the largest number has.
    pub fn padded(&self) -> &[u8; DIGITS] {
        &self.digits
    }
}

/// Appends a number.
pub(crate) fn put_decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else {
        out.extend_from_slice(Decimal::of(value).plain());
    }
}

/// Appends a text with its quotes, escaped.
pub(super) fn put_json_string(out: &mut Vec<u8>, text: &str) {
    // One pass without branches, which suffices for nearly all texts.
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a growing buffer takes any text");
    }
}

/// Escapes, in the JSON from `from` on, the characters beyond ASCII at which line readers split a text: U+0085, U+2028
/// and U+2029. In JSON they occur in texts only.
pub(super) fn escape_line_ends(out: &mut Vec<u8>, from: usize) {
    // Their first bytes; one pass without branches suffices for nearly all events.
    if !out[from..].iter().fold(false, |found, byte| found | (*byte == 0xC2) | (*byte == 0xE2)) {
        return;
    }
    let escapes = [("\u{85}", "\\u0085"), ("\u{2028}", "\\u2028"), ("\u{2029}", "\\u2029")];
    let text = String::from_utf8_lossy(&out[from..]);
    if !escapes.iter().any(|(character, _)| text.contains(character)) {
        return;
    }
    let escaped = escapes.iter().fold(text.into_owned(), |text, (character, escape)| text.replace(character, escape));
    out.truncate(from);
    out.extend_from_slice(escaped.as_bytes());
}

/// Bytes as hexadecimal digits.
pub(super) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_of_every_length_are_written_as_they_are() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        for value in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX - 1, u64::MAX]) {
            let mut counted = Decimal::of(value.wrapping_sub(1));
            counted.turn_to(value);
            for decimal in [Decimal::of(value), counted] {
                assert_eq!(decimal.plain(), value.to_string().as_bytes());
                assert_eq!(decimal.padded().as_slice(), format!("{value:020}").as_bytes());
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_and_texts_are_written_as_the_library_writes_them(value: u64, shift in 0..64_u32, text: String, odd in "[\0-\u{22}\\\\\u{7f}-\u{a0}]*") {
            let value = value >> shift;
            prop_assert_eq!(written(|out| put_decimal(out, value)), serde_json::to_string(&value).unwrap());
            for text in [text, odd] {
                prop_assert_eq!(written(|out| put_json_string(out, &text)), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
