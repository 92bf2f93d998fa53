//! A batch in pieces, for a serial line so noisy that no whole frame of it would ever pass.
//!
//! ```text
//! fragment = "AFF1" ‖ crc (4) ‖ len (2) ‖ at (2) ‖ the batch's bytes from `at` on, 32 of them or what is left
//! ```
//!
//! `crc` is the field of the batch's header, and with `len` it names the batch. Pieces come in any order and any number
//! of times; what is missing comes again with the next repetition of the batch.

use crate::batch::{Batch, HEADER_LEN};
use crate::wire::Writer;

/// The first four bytes of a fragment.
pub const MAGIC: [u8; 4] = *b"AFF1";
/// Bytes of the batch that a fragment carries, but for the last one.
pub const PIECE_LEN: usize = 32;
/// Bytes of a fragment, at most.
pub const FRAGMENT_LEN_MAX: usize = 12 + PIECE_LEN;

/// The fragment of `batch` that begins at `at`, a multiple of [`PIECE_LEN`]; `None` when nothing is left there, or the
/// batch is too long to be sent in pieces.
pub fn fragment(batch: &[u8], at: usize) -> Option<heapless::Vec<u8, FRAGMENT_LEN_MAX>> {
    let mut bytes = heapless::Vec::from_array([0; FRAGMENT_LEN_MAX]);
    let len = write(batch, at, &mut bytes)?;
    bytes.truncate(len);
    Some(bytes)
}

/// Writes that fragment to the start of `out`; returns its length.
pub fn write(batch: &[u8], at: usize, out: &mut [u8]) -> Option<usize> {
    let rest = batch.get(at..).filter(|rest| !rest.is_empty())?;
    let piece = rest.get(..PIECE_LEN).unwrap_or(rest);
    let len = u16::try_from(batch.len()).ok()?;
    let mut out = Writer::new(out);
    let [low, high] = len.to_le_bytes();
    let [at_low, at_high] = (at as u16).to_le_bytes();
    out.bytes(&MAGIC);
    out.bytes(batch.get(4..8)?);
    out.bytes(&[low, high, at_low, at_high]);
    out.bytes(piece);
    out.written()
}

/// Puts one batch together again, of at most `N` bytes. A receiver keeps a few of these.
#[derive(Debug)]
pub struct Assembler<const N: usize> {
    crc: [u8; 4],
    len: usize,
    bytes: [u8; N],
    /// Whether the piece that begins there is in; one for every piece, and some more.
    has: [bool; N],
}

impl<const N: usize> Default for Assembler<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Assembler<N> {
    /// One that belongs to no batch.
    pub const fn new() -> Self {
        Self { crc: [0; 4], len: 0, bytes: [0; N], has: [false; N] }
    }

    /// Whether the fragment is a piece of the batch that is being put together here.
    pub fn is_of(&self, fragment: &[u8]) -> bool {
        parts(fragment).is_some_and(|(crc, len, _, _)| crc == self.crc && len == self.len)
    }

    /// Adds a fragment, and starts over when it belongs to a new batch; returns the batch once it is whole.
    pub fn take(&mut self, fragment: &[u8]) -> Option<Batch<'_>> {
        let (crc, len, at, piece) = parts(fragment)?;
        if len > N {
            return None;
        }
        if crc != self.crc || len != self.len {
            (self.crc, self.len) = (crc, len);
            self.has = [false; N];
        }
        self.bytes.get_mut(at..at + piece.len())?.copy_from_slice(piece);
        *self.has.get_mut(at / PIECE_LEN)? = true;
        let pieces = len.div_ceil(PIECE_LEN);
        if !self.has.get(..pieces)?.iter().all(|has| *has) {
            return None;
        }
        self.len = 0;
        // Two batches that share crc and length would have mixed: then this is none.
        Batch::parse(self.bytes.get(..len)?).ok().map(|(batch, _)| batch)
    }
}

/// crc, length of the batch, place of the piece, and the piece, if they fit together.
fn parts(fragment: &[u8]) -> Option<([u8; 4], usize, usize, &[u8])> {
    let (crc, rest) = fragment.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (at, piece) = rest.split_first_chunk::<2>()?;
    let (len, at) = (usize::from(u16::from_le_bytes(*len)), usize::from(u16::from_le_bytes(*at)));
    let fits = len >= HEADER_LEN && at % PIECE_LEN == 0 && at < len && piece.len() == PIECE_LEN.min(len - at);
    fits.then_some((*crc, len, at, piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{ClockReading, Header};
    use crate::checksum::crc32c;
    use crate::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
    use std::vec::Vec;

    fn batch(body: &[u8]) -> Vec<u8> {
        let header = Header {
            crc: 0,
            signature: [0; 64],
            codec: 1,
            stream: Stream::Samples,
            body_len: body.len() as u32,
            decoded_len: body.len() as u32,
            count: 1,
            first: Sequence::ZERO,
            epoch: Epoch::new(1),
            time_first: Timestamp::default(),
            time_last: Timestamp::default(),
            clock: ClockReading::default(),
            previous: [0; 32],
            source: SourceId::new("mill").unwrap(),
        };
        let mut bytes = [&header.encode()[..], body].concat();
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn fragments(batch: &[u8]) -> Vec<heapless::Vec<u8, FRAGMENT_LEN_MAX>> {
        (0..batch.len()).step_by(PIECE_LEN).map(|at| fragment(batch, at).unwrap()).collect()
    }

    #[test]
    fn pieces_in_any_order_and_number_make_the_batch_once() {
        for len in [1, 31, 32, 33, 100] {
            let batch = batch(&(0..len).collect::<Vec<u8>>());
            let mut pieces = fragments(&batch);
            pieces.reverse();
            pieces.insert(2, pieces[0].clone());
            let last = pieces.pop().unwrap();
            let mut assembler = Assembler::<512>::new();
            assert!(pieces.iter().all(|piece| assembler.take(piece).is_none()));
            assert_eq!(assembler.take(&last).unwrap().bytes(), batch);
            assert!(assembler.take(&last).is_none(), "it is given once");
        }
    }

    #[test]
    fn a_piece_of_another_batch_begins_anew() {
        let (one, other) = (batch(b"one"), batch(b"another"));
        let mut assembler = Assembler::<512>::new();
        fragments(&one).iter().take(3).for_each(|piece| assert!(assembler.take(piece).is_none()));
        let whole = fragments(&other).iter().filter(|piece| assembler.take(piece).is_some()).count();
        assert_eq!(whole, 1);
        assert!(assembler.take(&fragments(&one)[8]).is_none());
    }

    #[test]
    fn fragments_that_do_not_fit_together_are_refused() {
        let good = fragments(&batch(b"body"))[1].clone();
        let mut assembler = Assembler::<512>::new();
        for (at, value) in [(0, b'X'), (9, 0), (10, 33), (11, 9)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(assembler.take(&bad).is_none() && assembler.len == 0, "byte {at}");
        }
        assert!(assembler.take(&good[..43]).is_none() && assembler.len == 0);
        assert!(assembler.take(&good).is_none() && assembler.len > 0);
    }
}
