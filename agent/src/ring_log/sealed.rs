//! A batch that is sealed and not on disk yet, laid out so that one write puts it there.
//!
//! ```text
//! 0                1024         1064
//! ├────────────────┼────────────┼────────┬─────────┬──────┐
//! │ segment header │ entry head │ batch  │ padding │ stop │
//! └────────────────┴────────────┴────────┴─────────┴──────┘
//!  only when a segment is begun with it
//! ```
//!
//! The batch's bytes never change again: when the disk refuses them they go to another file as they are, since nobody
//! knows whether they reached the first one. Only the head of the entry is made anew, for it belongs to its segment.

use afferent_protocol::batch::{BatchBuilder, ChainHash, ClockReading, Lineage};
use afferent_protocol::event::Loss;
use afferent_protocol::ids::{Sequence, Timestamp};
use afferent_protocol::segment::{
    ENTRY_HEAD_LEN, EntryHead, SEGMENT_HEADER_LEN, STOP_LEN, Seed, SegmentHeader, entry_len,
};
use afferent_protocol::session::Lane;

use super::limits::BUFFER_BYTES_KEPT;
use super::settings::RingIdentity;

const BATCH_AT: usize = SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN;

/// Where a sealed batch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody has called `append`.
    Caller,
    /// The log declares these as lost.
    Losses(Vec<Loss>),
}

/// What is known of the sealed batch.
#[derive(Clone, Debug)]
pub(super) struct SealedBatch {
    pub lane: Lane,
    pub head: EntryHead,
    pub chain: ChainHash,
    pub origin: Origin,
    /// Whether it carries the table of devices.
    pub tells_progress: bool,
}

impl SealedBatch {
    pub fn first(&self) -> Sequence {
        Sequence::new(self.head.ordinal)
    }

    pub fn end(&self) -> Sequence {
        Sequence::new(self.head.end_ordinal())
    }
}

/// The write buffer of one stream.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    batch: Option<SealedBatch>,
}

impl WriteBuffer {
    /// The batch that is to be written.
    pub fn batch(&self) -> Option<&SealedBatch> {
        self.batch.as_ref()
    }

    /// Seals what the builder holds.
    ///
    /// # Panics
    /// When an earlier batch is still there.
    pub fn seal(
        &mut self,
        builder: &mut BatchBuilder,
        place: (Lane, Sequence, ChainHash),
        clock: &ClockReading,
        who: &RingIdentity,
        origin: Origin,
    ) {
        assert!(self.batch.is_none(), "a sealed batch is written before another one is sealed");
        let (lane, first, previous) = place;
        let lineage = Lineage { source: who.source, stream: lane.stream, epoch: lane.epoch, first, previous };
        self.bytes.clear();
        self.bytes.resize(BATCH_AT, 0);
        let tells_progress = builder.tells_progress();
        let (header, chain) = builder.seal(&lineage, clock, &who.identity, &mut self.bytes);
        let head = EntryHead::new(&header, first.get(), 0, clock.wall);
        self.bytes.resize(SEGMENT_HEADER_LEN + head.entry_len() + STOP_LEN, 0);
        self.batch = Some(SealedBatch { lane, head, chain, origin, tells_progress });
    }

    /// Bytes of the entry.
    pub fn entry_len(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| entry_len(batch.head.batch_len as usize))
    }

    /// Entry and stop, to go behind the entries of a segment with this seed.
    pub fn entry(&mut self, seed: Seed, acked_end: Sequence) -> &[u8] {
        let batch = self.batch.as_mut().expect("only what was sealed is written");
        batch.head.acked_end = acked_end.get();
        self.bytes[SEGMENT_HEADER_LEN..BATCH_AT].copy_from_slice(&batch.head.encode(seed));
        &self.bytes[SEGMENT_HEADER_LEN..]
    }

    /// Header, entry and stop: all of a segment that begins with this batch.
    pub fn segment(&mut self, header: &SegmentHeader, acked_end: Sequence) -> &[u8] {
        self.bytes[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode());
        self.entry(header.seed(), acked_end);
        &self.bytes
    }

    /// The batch is on disk.
    pub fn done(&mut self) -> SealedBatch {
        let batch = self.batch.take().expect("only what was sealed is on disk");
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
        batch
    }

    /// When it was sealed.
    pub fn stamp(&self) -> Timestamp {
        self.batch.as_ref().map_or(Timestamp::default(), |batch| batch.head.stamp)
    }
}
