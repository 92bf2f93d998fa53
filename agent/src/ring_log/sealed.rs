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
//! The batch's bytes never change again: when the disk refuses them they go to a different file as they are, since
//! it is unknown whether they reached the first one. Only the head of the entry is recreated, for it belongs to its
//! segment.

use afferent_protocol::batch::{Batch, BatchBuilder, ChainHash, ClockReading, Header, Lineage, SIGNED_FROM};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::Loss;
use afferent_protocol::ids::{Epoch, Sequence, Timestamp};
use afferent_protocol::segment::{
    ENTRY_HEAD_LEN, EntryHead, SEGMENT_HEADER_LEN, STOP_LEN, Seed, SegmentHeader, entry_len,
};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::sha256;

use super::devices::tables_in;
use super::settings::RingIdentity;
use crate::limits::ring_log::BUFFER_BYTES_KEPT;

const BATCH_AT: usize = SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN;

/// Where a sealed batch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The batch comes from `append`.
    Caller,
    /// The log declares these as lost.
    Losses(Vec<Loss>),
    /// The batch is a copy, sealed again.
    Copy,
}

/// The ends that an entry's head records when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowledge {
    /// How far its lane was acked.
    pub acked_end: Sequence,
    /// Epoch and durable end of the other stream.
    pub other: (Epoch, Sequence),
}

/// What is known of the sealed batch.
#[derive(Clone, Debug)]
pub(super) struct SealedBatch {
    pub lane: Lane,
    pub head: EntryHead,
    pub chain: ChainHash,
    pub origin: Origin,
    /// Whether it carries the table of devices.
    pub has_progress: bool,
}

impl SealedBatch {
    pub fn first(&self) -> Sequence {
        Sequence::new(self.head.ordinal)
    }

    pub fn end(&self) -> Sequence {
        Sequence::new(self.head.end_ordinal())
    }
}

/// The write buffer of one pen.
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
        let has_progress = builder.has_progress();
        let (header, chain) = builder.seal(&lineage, clock, &who.identity, &mut self.bytes);
        let head = EntryHead::new(&header, first.get(), 0, clock.wall);
        self.bytes.resize(SEGMENT_HEADER_LEN + head.entry_len() + STOP_LEN, 0);
        self.batch = Some(SealedBatch { lane, head, chain, origin, has_progress });
    }

    /// Seals a batch again with a new lineage: its body, its times and its clock stay.
    ///
    /// # Panics
    /// When an earlier batch is still there.
    pub fn seal_again(
        &mut self,
        original: &Batch<'_>,
        place: (Lane, Sequence, ChainHash),
        clock: &ClockReading,
        who: &RingIdentity,
    ) {
        assert!(self.batch.is_none(), "a sealed batch is written before another one is sealed");
        let (lane, first, previous) = place;
        let mut header =
            Header { first, epoch: lane.epoch, previous, source: who.source, crc: 0, ..*original.header() };
        self.bytes.clear();
        self.bytes.resize(BATCH_AT, 0);
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(original.body());
        let batch = &mut self.bytes[BATCH_AT..];
        let chain = sha256(&batch[SIGNED_FROM..]);
        header.signature = who.identity.sign(&chain);
        batch[8..SIGNED_FROM].copy_from_slice(&header.signature);
        header.crc = crc32c(&batch[8..]);
        batch[4..8].copy_from_slice(&header.crc.to_le_bytes());
        let head = EntryHead::new(&header, first.get(), 0, clock.wall);
        self.bytes.resize(SEGMENT_HEADER_LEN + head.entry_len() + STOP_LEN, 0);
        let has_progress = !tables_in(original).is_empty();
        self.batch = Some(SealedBatch { lane, head, chain, origin: Origin::Copy, has_progress });
    }

    /// Bytes of the entry.
    pub fn entry_len(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| entry_len(batch.head.batch_len as usize))
    }

    /// Entry and stop, to go behind the entries of a segment with this seed.
    pub fn entry(&mut self, seed: Seed, knowledge: Knowledge) -> &[u8] {
        let batch = self.batch.as_mut().expect("only what was sealed is written");
        batch.head.acked_end = knowledge.acked_end.get();
        batch.head.other = (knowledge.other.0, knowledge.other.1.get());
        self.bytes[SEGMENT_HEADER_LEN..BATCH_AT].copy_from_slice(&batch.head.encode(seed));
        &self.bytes[SEGMENT_HEADER_LEN..]
    }

    /// Header, entry and stop: all of a segment that begins with this batch.
    pub fn segment(&mut self, header: &SegmentHeader, knowledge: Knowledge) -> &[u8] {
        self.bytes[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode());
        self.entry(header.seed(), knowledge);
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

    /// The time of sealing.
    pub fn stamp(&self) -> Timestamp {
        self.batch.as_ref().map_or(Timestamp::default(), |batch| batch.head.stamp)
    }
}
