//! The record of the witness, and its bytes.
//!
//! ```text
//! 0       8     12      16       32        40           48     64      72      80
//! ├───────┼─────┼───────┼────────┼─────────┼────────────┼──────┼───────┼───────┼─────────────────────────┐
//! │ magic │ crc │ lanes │ log id │ version │ generation │ boot │ clean │ zeros │ lanes, 32 bytes each … │
//! └───────┴─────┴───────┴────────┴─────────┴────────────┴──────┴───────┴───────┴─────────────────────────┘
//!          lane = stream, 1 when it is written to, 1 when it is sealed again, five zeros, epoch, released end, end; little-endian, 8 bytes each
//! ```

use afferent_protocol::checksum::crc32c;
use afferent_protocol::ids::{Epoch, Sequence, Stream};
use afferent_protocol::session::Lane;

use crate::limits::ring_log::WITNESS_LANES_MAX;

const MAGIC: [u8; 8] = *b"AFFWIT1\n";
const HEAD_LEN: usize = 80;
const LANE_LEN: usize = 32;
/// Bytes of a slot.
pub const SLOT_LEN: usize = 2048;

const _: () = assert!(HEAD_LEN + WITNESS_LANES_MAX * LANE_LEN <= SLOT_LEN);

/// One lane as the witness names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLane {
    pub lane: Lane,
    /// Whether its stream was written to it. What was to be declared of all others was.
    pub is_current: bool,
    /// Whether its events are, or will be, copied to a new lane.
    pub is_resealed: bool,
    pub released_end: Sequence,
    pub end: Sequence,
}

/// The content of the witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ring's.
    pub log_id: [u8; 16],
    /// The generation of the newest segment that was begun.
    pub generation: u64,
    /// The boot in which this was written.
    pub boot: [u8; 16],
    /// Whether nothing came after it: the ring was closed.
    pub is_clean: bool,
    /// At most [`WITNESS_LANES_MAX`].
    pub lanes: Vec<RecordLane>,
}

impl Record {
    /// Its record of a lane.
    pub fn lane(&self, lane: Lane) -> Option<&RecordLane> {
        self.lanes.iter().find(|known| known.lane == lane)
    }

    /// A slot's bytes; of two slots the higher version is the newer one.
    pub fn encode(&self, version: u64) -> [u8; SLOT_LEN] {
        assert!(self.lanes.len() <= WITNESS_LANES_MAX, "the caller has left out the others");
        let mut bytes = [0; SLOT_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(12, &(self.lanes.len() as u32).to_le_bytes());
        put(16, &self.log_id);
        put(32, &version.to_le_bytes());
        put(40, &self.generation.to_le_bytes());
        put(48, &self.boot);
        put(64, &[self.is_clean.into()]);
        for (index, known) in self.lanes.iter().enumerate() {
            let at = HEAD_LEN + index * LANE_LEN;
            put(at, &[known.lane.stream.number(), known.is_current.into(), known.is_resealed.into()]);
            put(at + 8, &known.lane.epoch.get().to_le_bytes());
            put(at + 16, &known.released_end.get().to_le_bytes());
            put(at + 24, &known.end.get().to_le_bytes());
        }
        let crc = crc32c(&bytes[12..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&crc);
        bytes
    }

    /// Reads a slot; returns its version too. `None` when there is none in these bytes.
    pub fn decode(bytes: &[u8; SLOT_LEN]) -> Option<(u64, Self)> {
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("a field lies within the slot"));
        let short = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("a field lies within the slot"));
        let id = |at: usize| *bytes[at..].first_chunk::<16>().expect("a field lies within the slot");
        let count = short(12) as usize;
        if bytes[..8] != MAGIC || short(8) != crc32c(&bytes[12..]) || count > WITNESS_LANES_MAX {
            return None;
        }
        let lanes = (0..count).map(|index| {
            let at = HEAD_LEN + index * LANE_LEN;
            let lane = Lane { stream: Stream::from_number(bytes[at])?, epoch: Epoch::new(word(at + 8)) };
            let (released_end, end) = (Sequence::new(word(at + 16)), Sequence::new(word(at + 24)));
            let (is_current, is_resealed) = (bytes[at + 1] == 1, bytes[at + 2] == 1);
            Some(RecordLane { lane, is_current, is_resealed, released_end, end })
        });
        let lanes = lanes.collect::<Option<Vec<_>>>()?;
        let (log_id, generation, boot) = (id(16), word(40), id(48));
        Some((word(32), Self { log_id, generation, boot, is_clean: bytes[64] == 1, lanes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_the_bytes_that_are_pinned() {
        let pinned = include_bytes!("../../../../tests/data/formats/witness-v1.bin");
        let (version, record) = Record::decode(pinned).unwrap();
        assert_eq!((version, record.generation, record.lanes.len(), record.is_clean), (70_000, 5, 3, true));
        let ends = record.lanes.iter().map(|lane| (lane.released_end.get(), lane.end.get(), lane.is_resealed));
        assert_eq!(ends.collect::<Vec<_>>(), [(17, 34, false), (0, 8, false), (100, u64::MAX, true)]);
        assert!(record.encode(version) == *pinned);
    }

    #[test]
    fn a_slot_is_read_back_and_every_flipped_bit_is_noticed() {
        let lane = |stream, epoch, is_current| RecordLane {
            lane: Lane { stream, epoch: Epoch::new(epoch) },
            is_current,
            is_resealed: !is_current,
            released_end: Sequence::new(3),
            end: Sequence::new(u64::MAX),
        };
        let lanes = vec![lane(Stream::Critical, 7, true), lane(Stream::Samples, u64::MAX, false)];
        let record = Record { log_id: [1; 16], generation: 9, boot: [2; 16], is_clean: true, lanes };
        let mut bytes = record.encode(5);
        assert_eq!(Record::decode(&bytes), Some((5, record)));
        for bit in 0..SLOT_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Record::decode(&[0; SLOT_LEN]), None);
    }
}
