//! The half of the log that readers see.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::segment::EntryHead;

use super::Wanted;
use super::address::Partition;
use super::embedded::extract::Extracts;
use crate::terms::Terms;

/// Takes entries one after the other, until it returns `Break`.
pub type EachEntry<'f> = dyn FnMut(&EntryHead, &Batch<'_>) -> ControlFlow<()> + 'f;

/// One partition of the unified log, as readers see it. They read it by [`super::events::Walk`].
pub trait ReadLog: Send + Sync {
    /// An independent reader of the same log, which does not wait for others.
    fn clone_reader(&self) -> Arc<dyn ReadLog>;

    /// Its partition.
    fn partition(&self) -> Partition;

    /// The offsets that can be read: from the oldest one kept up to the durable end.
    fn kept(&self) -> Range<Offset>;

    /// The first offset that was ingested at `time` or later; the durable end when there is none.
    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError>;

    /// The first offset behind everything that was ingested before `time`; the first kept one if nothing was. It lies
    /// behind the result of [`ReadLog::at_time`] where the collector's clock was set back.
    fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        self.at_time(time)
    }

    /// Passes the durable entries to `each`, in order, beginning with the one that holds `from`. Blocks.
    fn read(&self, from: Offset, scratch: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError>;

    /// As [`ReadLog::read`], and as little as possible from `until` on.
    fn read_part(
        &self,
        from: Offset,
        until: Offset,
        scratch: &mut Vec<u8>,
        each: &mut EachEntry<'_>,
    ) -> Result<(), ReadLogError> {
        self.read(from, scratch, &mut |head, batch| {
            if head.ordinal >= until.get() { ControlFlow::Break(()) } else { each(head, batch) }
        })
    }

    /// The next offsets from `from` on that can hold wanted events, as far as indexes show; `None` when none can.
    fn next_range(&self, from: Offset, _wanted: &Wanted) -> Option<Range<Offset>> {
        let end = self.kept().end;
        (from < end).then_some(from..end)
    }

    /// The collector's name as a source, where it is known.
    fn collector_name(&self) -> Option<SourceId> {
        None
    }

    /// The terms of the log, to check whether a place holds in it.
    fn terms(&self) -> Arc<Terms> {
        Arc::default()
    }

    /// Passes the files that the log keeps for certificates beside its entries to `take`, where it keeps any. `own` is
    /// the collector's name. Blocks.
    fn with_extracts(&self, _own: &SourceId, _take: &mut dyn FnMut(&dyn Extracts)) {}

    /// Bytes of the log that this reader has read so far.
    fn bytes_read(&self) -> u64 {
        0
    }

    /// Bytes of the log that all readers have read so far.
    fn bytes_read_by_all(&self) -> u64 {
        0
    }
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadLogError {
    /// The disk refused; it may work later.
    #[error("the log cannot be read at offset {at}: {reason}")]
    Disk {
        /// The offset at which the read began.
        at: Offset,
        /// The disk's answer, for people.
        reason: String,
    },
    /// The disk returns other bytes than were written; entries after them can be read.
    #[error("the log is damaged from offset {first} up to {end}: {reason}")]
    Damaged {
        /// The first offset that cannot be read.
        first: Offset,
        /// The offset to continue at.
        end: Offset,
        /// The cause, for people.
        reason: String,
    },
}
