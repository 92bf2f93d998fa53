//! Batches that come in pieces, over a slow line or through a broker with a small packet limit: joined in memory, one a
//! stream of an agent, until they are whole. The joined pieces outlive the connection that brought them.

use std::collections::BTreeMap;

use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::piece::PieceHead;

use crate::limits::{PIECES_BYTES_TOTAL_MAX, PIECES_IDLE_US};

/// The outcome of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The batch is whole.
    Whole(Vec<u8>),
    /// More pieces are to come; or there is no room for this one now, and it is sent again.
    Part,
    /// Earlier pieces are missing: the batch must be sent from its beginning.
    Missing,
}

/// A batch that is being joined.
#[derive(Debug)]
struct PartialBatch {
    head: PieceHead,
    bytes: Vec<u8>,
    moved_us: u64,
}

/// All batches that are being joined.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    joins: BTreeMap<(SourceId, Stream), PartialBatch>,
    bytes: usize,
}

impl Pieces {
    /// Takes the next piece of a batch, or the first of a new one, which drops the one before.
    pub fn take(&mut self, agent: SourceId, head: PieceHead, piece: &[u8], now_us: u64) -> Joined {
        let key = (agent, head.lane.stream);
        let known = self.joins.get(&key).filter(|join| join.head.is_of_batch(&head)).map(|join| join.bytes.len());
        match known {
            None if head.at > 0 => return Joined::Missing,
            Some(have) if head.at > have => return Joined::Missing,
            // A sender that starts again from the beginning sends the same bytes.
            Some(have) if head.at + piece.len() <= have && have < head.len => return Joined::Part,
            Some(_) => {}
            None => self.forget(&key),
        }
        if !self.make_room(&key, piece.len(), now_us) {
            return Joined::Part;
        }
        let join = self.joins.entry(key).or_insert_with(|| PartialBatch { head, bytes: Vec::new(), moved_us: now_us });
        join.moved_us = now_us;
        let overlap = join.bytes.len().saturating_sub(head.at).min(piece.len());
        join.bytes.extend_from_slice(&piece[overlap..]);
        self.bytes += piece.len() - overlap;
        assert!(join.bytes.len() <= head.len, "a piece lies within its batch");
        assert!(self.bytes <= PIECES_BYTES_TOTAL_MAX, "what is joined in memory is bounded");
        // The pieces stay until the batch is on disk: after a failed commit, the last piece comes once more.
        if join.bytes.len() == head.len { Joined::Whole(join.bytes.clone()) } else { Joined::Part }
    }

    /// The whole batches are on disk.
    pub fn committed(&mut self) {
        let whole = |join: &PartialBatch| join.bytes.len() == join.head.len;
        let bytes = &mut self.bytes;
        self.joins.retain(|_, join| {
            *bytes -= if whole(join) { join.bytes.len() } else { 0 };
            !whole(join)
        });
    }

    /// The joined bytes are no batch.
    pub fn refused(&mut self, agent: SourceId, stream: Stream) {
        self.forget(&(agent, stream));
    }

    fn forget(&mut self, key: &(SourceId, Stream)) {
        let gone = self.joins.remove(key).map_or(0, |join| join.bytes.len());
        assert!(gone <= self.bytes, "what goes was counted when it came");
        self.bytes -= gone;
    }

    /// Whether there is room for so many bytes more; drops batches that have not grown for long.
    fn make_room(&mut self, key: &(SourceId, Stream), bytes: usize, now_us: u64) -> bool {
        while self.bytes + bytes > PIECES_BYTES_TOTAL_MAX {
            let idlest = self.joins.iter().filter(|(known, _)| *known != key).min_by_key(|(_, join)| join.moved_us);
            let idle = idlest.filter(|(_, join)| now_us.saturating_sub(join.moved_us) >= PIECES_IDLE_US);
            let Some(idle) = idle.map(|(key, _)| *key) else { return false };
            self.forget(&idle);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Epoch;
    use afferent_protocol::limits::BATCH_BYTES_MAX;
    use afferent_protocol::session::Lane;

    use super::*;

    const AGENT: SourceId = SourceId::literal("press");
    const LANE: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1) };

    fn head(crc: u8, len: usize, at: usize) -> PieceHead {
        PieceHead { crc: [crc; 4], lane: LANE, len, at }
    }

    #[test]
    fn pieces_in_order_make_the_batch_and_what_is_missing_is_said() {
        let mut pieces = Pieces::default();
        let batch: Vec<u8> = (0..=255).chain(0..=255).collect();
        let mut take = |crc, range: std::ops::Range<usize>| {
            pieces.take(AGENT, head(crc, batch.len(), range.start), &batch[range], 0)
        };
        assert_eq!(take(1, 100..200), Joined::Missing, "its beginning was lost");
        assert_eq!(take(1, 0..100), Joined::Part);
        assert_eq!(take(1, 0..100), Joined::Part, "once more");
        assert_eq!(take(1, 101..200), Joined::Missing, "a byte between them");
        assert_eq!(take(1, 50..300), Joined::Part, "other cuts");
        assert_eq!(take(1, 300..512), Joined::Whole(batch.clone()));
        assert_eq!(take(1, 511..512), Joined::Whole(batch.clone()), "the commit may have failed");
        assert_eq!(take(2, 0..512), Joined::Whole(batch.clone()), "another batch");
        pieces.committed();
        assert_eq!((pieces.joins.len(), pieces.bytes), (0, 0));
        assert_eq!(pieces.take(AGENT, head(2, 512, 511), &[0], 0), Joined::Missing);
    }

    #[test]
    fn memory_is_bounded_and_who_goes_on_is_not_pushed_out_by_who_begins() {
        let mut pieces = Pieces::default();
        let name = |index: usize| SourceId::new(&format!("a{index}")).unwrap();
        let piece = vec![0; BATCH_BYTES_MAX - 1];
        let first = |pieces: &mut Pieces, index, now_us| {
            pieces.take(name(index), head(1, BATCH_BYTES_MAX, 0), &piece, now_us);
        };
        (0..1000).for_each(|index| first(&mut pieces, index, 0));
        let count = pieces.joins.len();
        assert!(pieces.bytes <= PIECES_BYTES_TOTAL_MAX && count >= 16, "{count}");
        assert_eq!(
            pieces.take(name(0), head(1, BATCH_BYTES_MAX, piece.len()), &[1], 1),
            Joined::Whole({
                let mut whole = piece.clone();
                whole.push(1);
                whole
            })
        );
        // Agents that are gone make room first, the most recent one last.
        first(&mut pieces, 5_000, PIECES_IDLE_US);
        assert!(pieces.joins.contains_key(&(name(5_000), Stream::Samples)) && pieces.bytes <= PIECES_BYTES_TOTAL_MAX);
        assert!(pieces.joins.contains_key(&(name(0), Stream::Samples)));
    }
}
