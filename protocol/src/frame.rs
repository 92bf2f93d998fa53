//! Frames on a serial line: COBS (Cheshire and Baker, 1999), a zero byte as delimiter, CRC-32C at the end.
//!
//! ```text
//! frame = cobs( payload ‖ crc32c(payload), little-endian ) ‖ 0x00
//! ```
//!
//! Whatever stands between two zero bytes is a frame or it is noise; the next zero byte ends either.

use crate::checksum::crc32c;

const CRC_LEN: usize = 4;

/// Bytes that the frame of a payload takes at most, its delimiter included.
pub const fn frame_len_max(payload_len: usize) -> usize {
    cobs::max_encoding_length(payload_len + CRC_LEN) + 1
}

/// `out` is too small for the frame; see [`frame_len_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame does not fit the buffer")]
pub struct NoRoom;

/// Writes the frame of `payload` to the start of `out`; gives its length.
pub fn encode(payload: &[u8], out: &mut [u8]) -> Result<usize, NoRoom> {
    if out.len() < frame_len_max(payload.len()) {
        return Err(NoRoom);
    }
    let mut encoder = cobs::CobsEncoder::new(out);
    encoder.push(payload).map_err(|_| NoRoom)?;
    encoder.push(&crc32c(payload).to_le_bytes()).map_err(|_| NoRoom)?;
    let len = encoder.finalize();
    *out.get_mut(len).ok_or(NoRoom)? = 0;
    Ok(len + 1)
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
        /// What it carries.
        payload: &'a [u8],
        /// How many of the bytes fed were taken; feed the rest again.
        taken: usize,
    },
    /// Something ended that is no frame: it is to be counted, nothing else.
    Noise {
        /// Why.
        noise: Noise,
        /// How many of the bytes fed were taken; feed the rest again.
        taken: usize,
    },
}

/// Collects the bytes of a line into frames of at most `N` encoded bytes, the delimiter not counted.
#[derive(Debug)]
pub struct Accumulator<const N: usize> {
    bytes: [u8; N],
    len: usize,
    overflowed: bool,
}

impl<const N: usize> Default for Accumulator<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Accumulator<N> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0, overflowed: false }
    }

    /// Takes bytes up to the first frame's end.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed<'_> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            let mut stretches = rest.splitn(2, |byte| *byte == 0);
            let stretch = stretches.next().unwrap_or(&[]);
            self.keep(stretch);
            if stretches.next().is_none() {
                return Fed::More;
            }
            taken += stretch.len() + 1;
            let (len, overflowed) = (self.len, self.overflowed);
            (self.len, self.overflowed) = (0, false);
            if overflowed {
                return Fed::Noise { noise: Noise::TooLong, taken };
            }
            // Delimiters in a row: senders may begin with one, to end whatever noise came before.
            if len > 0 {
                return match decode(self.bytes.get_mut(..len).unwrap_or(&mut [])) {
                    Ok(payload) => Fed::Frame { payload, taken },
                    Err(noise) => Fed::Noise { noise, taken },
                };
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len())
            && !self.overflowed
        {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.overflowed = true;
        }
    }
}

fn decode(bytes: &mut [u8]) -> Result<&[u8], Noise> {
    let decoded = unstuff(bytes).ok_or(Noise::Encoding)?;
    let (payload, crc) = decoded.split_last_chunk::<CRC_LEN>().ok_or(Noise::Checksum)?;
    if crc32c(payload) == u32::from_le_bytes(*crc) { Ok(payload) } else { Err(Noise::Checksum) }
}

/// Undoes COBS in place: every code tells how far it is to the next one, which stands for a zero unless the way was the
/// longest one. No byte is written behind what was read.
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
