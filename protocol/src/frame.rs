//! Frames on a serial line: COBS (Cheshire and Baker, 1999), a zero byte as delimiter, CRC-32C at the end.
//!
//! ```text
//! frame = cobs( payload ‖ crc32c(payload), little-endian ) ‖ 0x00
//! ```
//!
//! The bytes between two zero bytes are a frame or noise; the next zero byte ends either.

use crate::checksum::crc32c;

const CRC_LEN: usize = 4;
/// The longest way from one code to the next.
const LONGEST: usize = 0xFF;

/// Bytes that the frame of a payload takes at most, its delimiter included.
pub const fn frame_len_max(payload_len: usize) -> usize {
    let len = payload_len + CRC_LEN;
    len + len.div_ceil(LONGEST - 1) + 1
}

/// `out` is too small for the frame; one of [`frame_len_max`] never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame does not fit the buffer")]
pub struct NoRoom;

/// Writes the frame of `payload` to the start of `out`; returns its length.
pub fn encode(payload: &[u8], out: &mut [u8]) -> Result<usize, NoRoom> {
    stuff([payload, &crc32c(payload).to_le_bytes()], out).ok_or(NoRoom)
}

/// Does COBS on one stretch after the other, and ends them with the delimiter.
fn stuff(stretches: [&[u8]; 2], out: &mut [u8]) -> Option<usize> {
    let (mut code_at, mut len, mut was_longest) = (0, 1, false);
    for stretch in stretches {
        for byte in stretch {
            if *byte != 0 {
                *out.get_mut(len)? = *byte;
                len += 1;
            }
            was_longest = len - code_at == LONGEST;
            if *byte == 0 || was_longest {
                *out.get_mut(code_at)? = (len - code_at) as u8;
                (code_at, len) = (len, len + 1);
            }
        }
    }
    // Behind the longest way nothing is understood: no other one begins when nothing follows.
    if was_longest {
        len = code_at;
    } else {
        *out.get_mut(code_at)? = (len - code_at) as u8;
    }
    *out.get_mut(len)? = 0;
    Some(len + 1)
}

/// Why bytes up to a delimiter were no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// More bytes without a delimiter than any frame has.
    TooLong,
    /// Not COBS.
    Encoding,
    /// The checksum does not match, or there is no room for one.
    Checksum,
}

/// What came of the bytes that were fed.
#[derive(Debug, PartialEq, Eq)]
pub enum Fed<'a> {
    /// All were taken, and no frame has ended yet.
    More,
    /// A frame ended.
    Frame {
        /// The payload of the frame.
        payload: &'a [u8],
        /// How many of the bytes fed were taken; feed the rest again.
        taken: usize,
    },
    /// Something ended that is no frame: it is to be counted, nothing else.
    Noise {
        /// Why the bytes are not a frame.
        noise: Noise,
        /// How many of the bytes fed were taken; feed the rest again.
        taken: usize,
    },
}

/// Collects the bytes of a line into frames of at most `N` encoded bytes, the delimiter not counted.
#[derive(Debug)]
pub struct Accumulator<const N: usize> {
    bytes: [u8; N],
    /// How many came since the last delimiter: more than there is room for is noise.
    len: usize,
}

impl<const N: usize> Default for Accumulator<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Accumulator<N> {
    /// An empty accumulator.
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// Takes bytes up to the first frame's end.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed<'_> {
        for (at, byte) in bytes.iter().enumerate() {
            if *byte != 0 {
                if let Some(place) = self.bytes.get_mut(self.len) {
                    *place = *byte;
                }
                self.len = self.len.saturating_add(1);
                continue;
            }
            let (len, taken) = (core::mem::take(&mut self.len), at + 1);
            // Delimiters in a row: senders may begin with one, to end whatever noise came before.
            if len == 0 {
                continue;
            }
            let Some(frame) = self.bytes.get_mut(..len) else { return Fed::Noise { noise: Noise::TooLong, taken } };
            return match decode(frame) {
                Ok(payload) => Fed::Frame { payload, taken },
                Err(noise) => Fed::Noise { noise, taken },
            };
        }
        Fed::More
    }
}

fn decode(bytes: &mut [u8]) -> Result<&[u8], Noise> {
    let decoded = unstuff(bytes).ok_or(Noise::Encoding)?;
    let (payload, crc) = decoded.split_last_chunk::<CRC_LEN>().ok_or(Noise::Checksum)?;
    if crc32c(payload) == u32::from_le_bytes(*crc) { Ok(payload) } else { Err(Noise::Checksum) }
}

/// Undoes COBS in place: every code is the distance to the next one, which stands for a zero unless the distance was
/// the longest one. No byte is written behind what was read.
fn unstuff(bytes: &mut [u8]) -> Option<&[u8]> {
    let (mut code_at, mut len) = (0, 0);
    while let Some(code) = bytes.get(code_at).copied() {
        let end = code_at + usize::from(code);
        if code == 0 || end > bytes.len() {
            return None;
        }
        for at in code_at + 1..end {
            let byte = *bytes.get(at)?;
            *bytes.get_mut(len)? = byte;
            len += 1;
        }
        if code < 0xFF && end < bytes.len() {
            *bytes.get_mut(len)? = 0;
            len += 1;
        }
        code_at = end;
    }
    bytes.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    proptest! {
        #[test]
        fn frames_are_those_of_the_cobs_library(stretches in prop::collection::vec((0..600_usize, 1..255_u8), 0..6)) {
            let mut payload = Vec::new();
            for (len, byte) in stretches {
                payload.extend(vec![byte; len]);
                payload.push(0);
            }
            payload.pop();
            let mut frame = vec![0xAA; frame_len_max(payload.len())];
            let len = encode(&payload, &mut frame).unwrap();
            prop_assert_eq!(frame.len(), cobs::max_encoding_length(payload.len() + CRC_LEN) + 1);
            let covered = [&payload[..], &crc32c(&payload).to_le_bytes()].concat();
            let mut expected = vec![0; cobs::max_encoding_length(covered.len())];
            let expected_len = cobs::encode(&covered, &mut expected);
            prop_assert_eq!(&frame[..len - 1], &expected[..expected_len]);
            prop_assert_eq!(frame[len - 1], 0);
        }
    }
}
