//! Making batches: push events into an open one, then seal it.

extern crate alloc;
use alloc::vec::Vec;

use super::{ChainHash, ClockReading, HEADER_LEN, Header, SIGNED_FROM};
use crate::checksum::{crc32c, sha256};
use crate::codec::{Codec, rows};
use crate::event::{Body, Event};
use crate::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use crate::sign::Identity;

/// The lineage of a batch: its source, lane and predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The source that assigns the sequences.
    pub source: SourceId,
    /// The stream.
    pub stream: Stream,
    /// The stream's epoch.
    pub epoch: Epoch,
    /// Sequence of the first record.
    pub first: Sequence,
    /// Chain hash of the batch before.
    pub previous: ChainHash,
}

/// An open batch. It is used again after it was sealed, and keeps its buffers.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    rows: rows::Encoder,
    times: Option<(Timestamp, Timestamp)>,
    has_progress: bool,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a checked event, or gives it back as [`rows::Full`]: then seal first.
    pub fn push<'e>(&mut self, event: &Event<'e>) -> Result<(), rows::Full> {
        self.rows.push(event)?;
        self.has_progress |= matches!(event.body, Body::Progress(_) | Body::Followed(_));
        let (first, last) = self.times.unwrap_or((event.time, event.time));
        self.times = Some((first.min(event.time), last.max(event.time)));
        Ok(())
    }

    /// Whether small events with so many subjects and units, which may all be new, and so many rows find room, up to
    /// the bytes of one large event.
    pub fn has_room(&self, subjects: usize, units: usize, rows: u32) -> bool {
        self.rows.has_room(subjects, units, rows)
    }

    /// Records so far.
    pub fn count(&self) -> u32 {
        self.rows.count()
    }

    /// Whether the batch holds progress of devices or of followed files.
    pub fn has_progress(&self) -> bool {
        self.has_progress
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Bytes that the batch would have if it were sealed now.
    pub fn bytes(&self) -> usize {
        HEADER_LEN + self.rows.body_len()
    }

    /// Ends the batch: appends its bytes to `out`, empties the builder, and gives header and chain hash.
    ///
    /// # Panics
    /// When the builder is empty: there is no empty batch.
    pub fn seal(
        &mut self,
        lineage: &Lineage,
        clock: &ClockReading,
        identity: &Identity,
        out: &mut Vec<u8>,
    ) -> (Header, ChainHash) {
        let (time_first, time_last) = self.times.take().expect("a batch has at least one record");
        self.has_progress = false;
        let start = out.len();
        let count = self.rows.count();
        out.resize(start + HEADER_LEN, 0);
        self.rows.finish(out);
        let body_len = (out.len() - start - HEADER_LEN) as u32;
        let mut header = Header {
            crc: 0,
            signature: [0; 64],
            codec: Codec::Rows.number(),
            stream: lineage.stream,
            body_len,
            decoded_len: body_len,
            count,
            first: lineage.first,
            epoch: lineage.epoch,
            time_first,
            time_last,
            clock: *clock,
            previous: lineage.previous,
            source: lineage.source,
        };
        assert_eq!(out.len() - start, header.batch_len(), "a header names the length of its batch");
        out[start..start + HEADER_LEN].copy_from_slice(&header.encode());
        let chain = sha256(&out[start + SIGNED_FROM..]);
        header.signature = identity.sign(&chain);
        out[start + 8..start + 72].copy_from_slice(&header.signature);
        header.crc = crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&header.crc.to_le_bytes());
        (header, chain)
    }
}
