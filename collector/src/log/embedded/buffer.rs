//! Entries that wait for the next commit.

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::Timestamp;
use afferent_protocol::segment::{ENTRY_HEAD_LEN, EntryHead, STOP_LEN, Seed};

use crate::limits::COMMIT_PART_BYTES_MAX;

/// One entry in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffered {
    pub head: EntryHead,
    /// Earliest and latest event time.
    pub event: (Timestamp, Timestamp),
    /// Its position in the buffer.
    at: usize,
}

/// The bytes of entries, one after the other, as they are written to a segment.
///
/// An entry's head stays zero until its part is written, because only then its segment is known. So there is always a
/// stop behind a part: the zeros of the next head, or those at the end.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Buffered>,
}

/// Entries of one write, made durable by one sync.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteGroup {
    /// Indexes of its first entry, and of the first one after it.
    pub first: usize,
    pub end: usize,
    from: usize,
    to: usize,
}

impl WriteGroup {
    /// Bytes without the stop.
    pub fn bytes(&self) -> u64 {
        (self.to - self.from) as u64
    }
}

impl Buffer {
    pub fn push(&mut self, batch: &Batch<'_>, head: EntryHead) {
        assert_eq!(batch.bytes().len(), head.batch_len as usize, "a head is of its batch");
        let is_next = self.entries.last().is_none_or(|last| last.head.end_ordinal() == head.ordinal);
        assert!(is_next, "entries wait in the order of their offsets, without a hole");
        let at = self.bytes.len();
        self.bytes.resize(at + ENTRY_HEAD_LEN, 0);
        self.bytes.extend_from_slice(batch.bytes());
        self.bytes.resize(at + head.entry_len(), 0);
        let event = (batch.header().time_first, batch.header().time_last);
        self.entries.push(Buffered { head, event, at });
    }

    pub fn entries(&self) -> &[Buffered] {
        &self.entries
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        // One large message must not hold its memory for good.
        self.bytes.shrink_to(COMMIT_PART_BYTES_MAX);
    }

    /// The entries from `first` on that fit into `room` bytes beside a stop, and into one part. `None` when not even
    /// the first one fits into `room`.
    pub fn part(&self, first: usize, room: u64) -> Option<WriteGroup> {
        let from = self.entries[first].at;
        let fits = |end: usize| (end - from + STOP_LEN) as u64 <= room;
        let ends = self.entries[first..].iter().map(|entry| entry.at + entry.head.entry_len());
        let taken = ends.take_while(|end| fits(*end)).take_while(|end| end - from <= COMMIT_PART_BYTES_MAX).count();
        // A part has at least one entry: no entry is larger than a part.
        let end = (taken > 0).then_some(first + taken)?;
        let last = &self.entries[end - 1];
        assert!(end <= self.entries.len() && from < last.at + last.head.entry_len(), "a part holds whole entries");
        Some(WriteGroup { first, end, from, to: last.at + last.head.entry_len() })
    }

    /// The part's bytes with their stop, the heads made for the segment with this seed.
    pub fn finish(&mut self, part: &WriteGroup, seed: Seed) -> &[u8] {
        for entry in &self.entries[part.first..part.end] {
            self.bytes[entry.at..entry.at + ENTRY_HEAD_LEN].copy_from_slice(&entry.head.encode(seed));
        }
        if part.to == self.bytes.len() {
            self.bytes.resize(part.to + STOP_LEN, 0);
        }
        &self.bytes[part.from..part.to + STOP_LEN]
    }
}
