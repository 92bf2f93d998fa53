//! The file format of both logs: a segment header, then entries.
//!
//! ```text
//! 0        512      1024
//! ├────────┼────────┼───────┬───────┬───────┬──────────────────────────────
//! │ header │ again  │ entry │ entry │ entry │ 56 zeros, or what was there before
//! └────────┴────────┴───────┴───────┴───────┴──────────────────────────────
//!                    entry = 56-byte head, batch, zeros up to the next multiple of 8
//! ```
//!
//! An entry's head carries a checksum that is seeded with the log's id and the segment's generation: a recycled file's
//! old entries never look valid, and no run of zeros does. Every append also writes the 56 zeros after it (the *stop*),
//! so that a whole log ends in a stop, and anything else at its end is a write that did not finish.

use crate::batch::{Batch, BatchError, Header};
use crate::checksum::{crc32c, crc32c_append};
use crate::ids::{Epoch, Stream, Timestamp};
use crate::limits::BATCH_BYTES_MAX;
use crate::version::SEGMENT_VERSION;

/// The first bytes of every segment file.
pub const MAGIC: [u8; 8] = *b"AFFSEG1\n";
/// Bytes before the first entry: the header, twice.
pub const SEGMENT_HEADER_LEN: usize = 1024;
/// Byte position of the second copy of the header: a different sector.
const COPY_AT: usize = 512;
/// Bytes that a header's fields take, its checksum included.
const FIELDS_LEN: usize = 72;
/// Bytes of an entry's head.
pub const ENTRY_HEAD_LEN: usize = 56;
/// Zeros that follow the last entry.
pub const STOP_LEN: usize = ENTRY_HEAD_LEN;
/// Stands behind the offset of a batch's clock where that was measured; else both are zeros.
const CLOCK_OFFSET_KNOWN: u64 = 1;
/// Entries begin at multiples of this.
pub const ENTRY_ALIGN: usize = 8;

/// Which log a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// The ring log of an agent: one stream and epoch in a segment, ordinals are sequences.
    Ring,
    /// The unified log of a collector: ordinals are offsets.
    Unified,
}

/// The fields of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which log it belongs to.
    pub kind: LogKind,
    /// Names one incarnation of a log.
    pub log_id: [u8; 16],
    /// Counts up with every segment of the log that was ever begun.
    pub generation: u64,
    /// The stream of the entries (ring log; `Critical` in the unified log).
    pub stream: Stream,
    /// The epoch of the entries (ring log; 0 in the unified log).
    pub epoch: Epoch,
    /// The ordinal of the first entry.
    pub first_ordinal: u64,
    /// Time at which the segment was begun.
    pub begun: Timestamp,
}

/// What the bytes at the position of a segment header are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A header; `copies` is the number of whole copies, 1 or 2.
    Present {
        /// The header.
        header: SegmentHeader,
        /// Whole copies, 1 or 2.
        copies: u8,
    },
    /// Only zeros: a file that was made and never begun.
    Blank,
    /// Something else.
    Corrupted,
}

impl SegmentHeader {
    /// Both copies.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &[SEGMENT_VERSION, matches!(self.kind, LogKind::Unified).into(), self.stream.number(), 0]);
        put(16, &self.log_id);
        put(32, &self.generation.to_le_bytes());
        put(40, &self.epoch.get().to_le_bytes());
        put(48, &self.first_ordinal.to_le_bytes());
        put(56, &self.begun.micros().to_le_bytes());
        let crc = crc32c(&bytes[..FIELDS_LEN - 8]);
        bytes[FIELDS_LEN - 8..FIELDS_LEN - 4].copy_from_slice(&crc.to_le_bytes());
        bytes.copy_within(..FIELDS_LEN, COPY_AT);
        bytes
    }

    /// Reads the head of a segment file, at least [`SEGMENT_HEADER_LEN`] bytes of it; fewer are corrupted.
    pub fn decode(bytes: &[u8]) -> Head {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER_LEN) else { return Head::Corrupted };
        if bytes.iter().all(|byte| *byte == 0) {
            return Head::Blank;
        }
        match (Self::decode_copy(&bytes[..COPY_AT]), Self::decode_copy(&bytes[COPY_AT..])) {
            (Some(header), Some(copy)) if header == copy => Head::Present { header, copies: 2 },
            (Some(header), None) | (None, Some(header)) => Head::Present { header, copies: 1 },
            // Two whole copies that differ: the file was being started over. The newer one never held an accepted
            // entry, and which of the two the entries belong to shows in their checksums: the caller has both to try.
            (Some(one), Some(other)) => {
                let header = if one.generation < other.generation { one } else { other };
                Head::Present { header, copies: 1 }
            }
            (None, None) => Head::Corrupted,
        }
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> u64 { u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) };
        let zeros = bytes[11..16].iter().chain(&bytes[FIELDS_LEN - 4..]).all(|byte| *byte == 0);
        let crc = crc32c(&bytes[..FIELDS_LEN - 8]).to_le_bytes();
        if bytes[..8] != MAGIC || bytes[8] != SEGMENT_VERSION || !zeros || bytes[FIELDS_LEN - 8..FIELDS_LEN - 4] != crc
        {
            return None;
        }
        Some(Self {
            kind: match bytes[9] {
                0 => LogKind::Ring,
                1 => LogKind::Unified,
                _ => return None,
            },
            stream: Stream::from_number(bytes[10])?,
            log_id: bytes[16..32].try_into().expect("sixteen bytes"),
            generation: word(32),
            epoch: Epoch::new(word(40)),
            first_ordinal: word(48),
            begun: Timestamp::new(i64::from_le_bytes(word(56).to_le_bytes()))?,
        })
    }

    /// The seed of the checksums of this segment's entries.
    pub fn seed(&self) -> Seed {
        let crc = crc32c(&self.log_id);
        Seed(crc32c_append(crc, &self.generation.to_le_bytes()))
    }
}

/// Goes into the checksum of every entry's head: log id and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u32);

/// An entry's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// Bytes of the batch.
    pub batch_len: u32,
    /// The batch's own checksum, which ties head and batch together.
    pub batch_crc: u32,
    /// Events in the batch.
    pub count: u32,
    /// Sequence (ring log) or offset (unified log) of the batch's first event.
    pub ordinal: u64,
    /// Ring log: the stream's acked end when this was appended, so that a restart does not take for unacked what was
    /// acked long ago. Unified log: the log's durable end then, so that a restart can distinguish an unfinished write,
    /// of which nothing later knows that it was durable, from rot.
    pub acked_end: u64,
    /// Ring log: epoch and durable end of the other stream when this was appended, so that a stream whose newest file
    /// is lost is known to have been longer. Unified log: see [`EntryHead::clock_offset_us`].
    pub other: (Epoch, u64),
    /// When it was appended: the clock of the machine or of the collector (*ingest time*).
    pub stamp: Timestamp,
}

impl EntryHead {
    /// The head of an entry for `batch`.
    pub fn new(batch: &Header, ordinal: u64, acked_end: u64, stamp: Timestamp) -> Self {
        let batch_len = batch.batch_len() as u32;
        let other = (Epoch::new(0), 0);
        Self { batch_len, batch_crc: batch.crc, count: batch.count, ordinal, acked_end, other, stamp }
    }

    /// Unified log: microseconds that have to be added to the clock of the batch to have the collector's, as measured
    /// when it was appended; `None` where that clock was not measured.
    pub fn clock_offset_us(&self) -> Option<i64> {
        let (offset, is_known) = self.other;
        (is_known == CLOCK_OFFSET_KNOWN).then(|| offset.get().cast_signed())
    }

    /// Unified log: returns the head with a different offset of the batch's clock.
    #[must_use]
    pub fn with_clock_offset_us(self, clock_offset_us: Option<i64>) -> Self {
        let known = |offset: i64| (Epoch::new(offset.cast_unsigned()), CLOCK_OFFSET_KNOWN);
        Self { other: clock_offset_us.map_or((Epoch::new(0), 0), known), ..self }
    }

    /// The head's bytes.
    pub fn encode(&self, seed: Seed) -> [u8; ENTRY_HEAD_LEN] {
        let mut bytes = [0; ENTRY_HEAD_LEN];
        bytes[4..8].copy_from_slice(&self.batch_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.batch_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.acked_end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.stamp.micros().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.other.0.get().to_le_bytes());
        bytes[48..56].copy_from_slice(&self.other.1.to_le_bytes());
        let crc = crc32c_append(seed.0, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a head; `None` when it is not one of this segment.
    pub fn decode(bytes: &[u8], seed: Seed) -> Option<Self> {
        let bytes: &[u8; ENTRY_HEAD_LEN] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let head = Self {
            batch_len: word(4),
            batch_crc: word(8),
            count: word(12),
            ordinal: long(16),
            acked_end: long(24),
            stamp: Timestamp::new(long(32) as i64)?,
            other: (Epoch::new(long(40)), long(48)),
        };
        let plausible = head.batch_len as usize <= BATCH_BYTES_MAX && head.batch_len > 0 && head.count > 0;
        (plausible && word(0) == crc32c_append(seed.0, &bytes[4..])).then_some(head)
    }

    /// Bytes of the whole entry.
    pub fn entry_len(&self) -> usize {
        entry_len(self.batch_len as usize)
    }

    /// The first ordinal after it.
    pub fn end_ordinal(&self) -> u64 {
        self.ordinal.saturating_add(u64::from(self.count))
    }
}

/// Bytes of the entry of a batch: head, batch, and zeros up to the next multiple of [`ENTRY_ALIGN`].
pub const fn entry_len(batch_len: usize) -> usize {
    ENTRY_HEAD_LEN + batch_len.next_multiple_of(ENTRY_ALIGN)
}

/// An entry, its head and its batch checked.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The entry's head.
    pub head: EntryHead,
    /// The entry's batch.
    pub batch: Batch<'a>,
}

/// Why an entry cannot be read although its head is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes do not begin with an entry head of this segment.
    #[error("there is no entry here")]
    NoHead,
    /// The batch is damaged.
    #[error("the batch of the entry is damaged: {0}")]
    Batch(#[from] BatchError),
    /// Head and batch do not belong together.
    #[error("the entry's head does not belong to its batch")]
    Mismatch,
}

impl<'a> Entry<'a> {
    /// Reads the entry that `bytes` begins with.
    pub fn parse(bytes: &'a [u8], seed: Seed) -> Result<Self, EntryError> {
        let head = EntryHead::decode(bytes, seed).ok_or(EntryError::NoHead)?;
        let body = bytes.get(ENTRY_HEAD_LEN..head.entry_len()).unwrap_or(&bytes[ENTRY_HEAD_LEN..]);
        let (batch, padding) = Batch::parse(body)?;
        let header = batch.header();
        let matches = header.batch_len() == head.batch_len as usize
            && header.crc == head.batch_crc
            && header.count == head.count
            && padding.iter().all(|byte| *byte == 0);
        if matches { Ok(Self { head, batch }) } else { Err(EntryError::Mismatch) }
    }
}

/// Appends an entry for `batch` to `out`, without the stop.
#[cfg(feature = "alloc")]
pub fn put_entry(out: &mut alloc::vec::Vec<u8>, seed: Seed, head: &EntryHead, batch: &[u8]) {
    assert_eq!(batch.len(), head.batch_len as usize, "the head was made for this batch");
    let start = out.len();
    out.extend_from_slice(&head.encode(seed));
    out.extend_from_slice(batch);
    out.resize(start + head.entry_len(), 0);
}

#[cfg(feature = "alloc")]
extern crate alloc;
