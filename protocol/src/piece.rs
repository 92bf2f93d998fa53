//! A batch in pieces, for an MQTT line so slow, or a broker with so small a packet limit, that it does not pass as a
//! whole.
//!
//! ```text
//! piece = "AFP1" ‖ crc (4) ‖ stream (1) ‖ epoch (8) ‖ len (4) ‖ at (4) ‖ the batch's bytes from `at` on
//! ```
//!
//! `crc` is the field of the batch's header; with `len` and the lane it names the batch. Pieces come in order. One
//! piece is one message; the receiver joins them, and takes the whole as it takes any batch.

use crate::batch::HEADER_LEN;
use crate::ids::{Epoch, Stream};
use crate::limits::BATCH_BYTES_MAX;
use crate::session::Lane;
use crate::wire::take_bytes;

/// The first four bytes of a piece.
pub const MAGIC: [u8; 4] = *b"AFP1";
/// Bytes of a piece before those of the batch.
pub const PIECE_HEAD_LEN: usize = 4 + 4 + 1 + 8 + 4 + 4;

/// The head of a piece: which part of which batch it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHead {
    /// The checksum in the batch's header.
    pub crc: [u8; 4],
    /// The batch's lane.
    pub lane: Lane,
    /// Length of the whole batch, in bytes.
    pub len: usize,
    /// Where in the batch the piece begins.
    pub at: usize,
}

impl PieceHead {
    /// The head's bytes.
    pub fn encode(&self) -> [u8; PIECE_HEAD_LEN] {
        let mut bytes = [0; PIECE_HEAD_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.crc);
        bytes[8] = self.lane.stream.number();
        bytes[9..17].copy_from_slice(&self.lane.epoch.get().to_le_bytes());
        bytes[17..21].copy_from_slice(&(self.len as u32).to_le_bytes());
        bytes[21..].copy_from_slice(&(self.at as u32).to_le_bytes());
        bytes
    }

    /// Whether both are of one batch.
    pub fn is_of_batch(&self, other: &Self) -> bool {
        (self.crc, self.lane, self.len) == (other.crc, other.lane, other.len)
    }
}

/// Whether a message is a piece.
pub fn is_piece(message: &[u8]) -> bool {
    message.starts_with(&MAGIC)
}

/// Reads a message that is a piece: its head, and the bytes of the batch that it carries. `None` when its parts do not
/// fit together.
pub fn read(message: &[u8]) -> Option<(PieceHead, &[u8])> {
    let mut rest = message.strip_prefix(&MAGIC)?;
    let crc = take_bytes::<4>(&mut rest)?;
    let [stream] = take_bytes::<1>(&mut rest)?;
    let epoch = u64::from_le_bytes(take_bytes::<8>(&mut rest)?);
    let len = u32::from_le_bytes(take_bytes::<4>(&mut rest)?) as usize;
    let at = u32::from_le_bytes(take_bytes::<4>(&mut rest)?) as usize;
    let lane = Lane { stream: Stream::from_number(stream)?, epoch: Epoch::new(epoch) };
    let fits = (HEADER_LEN..=BATCH_BYTES_MAX).contains(&len) && !rest.is_empty() && at < len && rest.len() <= len - at;
    fits.then_some((PieceHead { crc, lane, len, at }, rest))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const HEAD: PieceHead = PieceHead {
        crc: [1, 2, 3, 4],
        lane: Lane { stream: Stream::Samples, epoch: Epoch::new(0x0807_0605_0403_0201) },
        len: 70_000,
        at: 65_536,
    };

    #[test]
    fn the_bytes_of_a_piece_are_fixed() {
        let piece = [&HEAD.encode()[..], b"batch"].concat();
        let golden = b"AFP1\x01\x02\x03\x04\x01\x01\x02\x03\x04\x05\x06\x07\x08\x70\x11\x01\x00\x00\x00\x01\x00batch";
        assert_eq!(piece, golden, "a change of these bytes is a new version of the format");
        assert_eq!(read(&piece), Some((HEAD, &b"batch"[..])));
        assert!(is_piece(&piece) && !is_piece(b"AFF1"));
    }

    #[test]
    fn pieces_whose_parts_do_not_fit_together_are_refused() {
        let piece = |head: PieceHead, bytes: usize| [&head.encode()[..], &std::vec![7; bytes]].concat();
        // The control: the last piece of all, and the largest batch in one.
        assert!(read(&piece(HEAD, HEAD.len - HEAD.at)).is_some());
        assert!(read(&piece(PieceHead { len: BATCH_BYTES_MAX, at: 0, ..HEAD }, BATCH_BYTES_MAX)).is_some());
        let bad: [(PieceHead, usize); 5] = [
            (HEAD, 0),
            (HEAD, HEAD.len - HEAD.at + 1),
            (PieceHead { at: HEAD.len, ..HEAD }, 1),
            (PieceHead { len: BATCH_BYTES_MAX + 1, ..HEAD }, 1),
            (PieceHead { len: HEADER_LEN - 1, at: 0, ..HEAD }, 1),
        ];
        for (head, bytes) in bad {
            assert_eq!(read(&piece(head, bytes)), None, "{head:?} {bytes}");
        }
        let whole = piece(HEAD, 1);
        let cut: Vec<usize> = (0..whole.len()).filter(|len| read(&whole[..*len]).is_some()).collect();
        assert_eq!(cut, [0; 0]);
        let mut unknown = whole;
        unknown[8] = 2;
        assert_eq!(read(&unknown), None, "there are two streams");
    }
}
