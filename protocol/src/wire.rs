//! Postcard's integers, texts and lists by hand: in a fraction of the code that serde makes of them, for the flash of a
//! microcontroller.

/// Writes to the start of a buffer. Fields that do not fit are dropped, and [`Writer::written`] then returns `None`.
#[derive(Debug)]
pub struct Writer<'b> {
    bytes: &'b mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'b> Writer<'b> {
    /// A writer that has written nothing.
    pub const fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, len: 0, overflowed: false }
    }

    /// The number of bytes written; `None` when some did not fit.
    pub const fn written(&self) -> Option<usize> {
        if self.overflowed { None } else { Some(self.len) }
    }

    /// These bytes, and nothing of how many they are.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflowed = true,
        }
    }

    /// What is to be written cannot be: as when it had not fitted.
    pub const fn refuse(&mut self) {
        self.overflowed = true;
    }

    /// One byte: small numbers and the variants of enums.
    #[inline(never)]
    pub fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    /// A number, 7 bits a byte, the least significant first.
    #[inline(never)]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// A number that may be negative: zigzag.
    #[inline(never)]
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A text behind its length.
    #[inline(never)]
    pub fn text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// Takes bytes off the front; `None` when there are too few.
pub fn take_bytes<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Takes a number off the front; `None` when it is cut short or has more than 64 bits.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7F);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
