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

/// Takes entries one after the other, until it breaks.
pub type EachEntry<'f> = dyn FnMut(&EntryHead, &Batch<'_>) -> ControlFlow<()> + 'f;

/// One partition of the unified log, as readers see it. They read it by [`super::events::Walk`].
pub trait ReadLog: Send + Sync {
    /// A reader of the same log with its own place in it, which does not wait for others.
    fn another(&self) -> Arc<dyn ReadLog>;

    /// Which partition it is.
    fn partition(&self) -> Partition;

    /// The offsets that can be read: from the oldest one kept up to the durable end.
    fn kept(&self) -> Range<Offset>;

    /// The first offset that was ingested at `time` or later; the durable end when there is none.
    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError>;

    /// The first offset behind everything that was ingested before `time`; the first one that is kept when nothing
    /// was. It lies behind the one of [`ReadLog::at_time`] where the collector's clock was set back.
    fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        self.at_time(time)
    }

    /// Passes the durable entries to `each`, in order, beginning with the one that holds `from`. Blocks.
    fn read(&self, from: Offset, scratch: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError>;

    /// As [`ReadLog::read`], and as little as can be of what begins at `until` or later.
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

    /// The next offsets from `from` on that can hold what is wanted, as far as indexes tell; `None` when none can.
    fn stretch(&self, from: Offset, _wanted: &Wanted) -> Option<Range<Offset>> {
        let end = self.kept().end;
        (from < end).then_some(from..end)
    }

    /// The name under which the collector itself writes, where that is known.
    fn own(&self) -> Option<SourceId> {
        None
    }

    /// The terms of the log, by which it is seen whether a place holds in it.
    fn terms(&self) -> Arc<Terms> {
        Arc::default()
    }

    /// Passes what the log keeps for certificates beside its entries to `take`, where it keeps something. `own` is the
    /// collector's name. Blocks.
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
    /// The disk refused; another time it may not.
    #[error("the log cannot be read at offset {at}: {reason}")]
    Disk {
        /// The offset from which on it was read.
        at: Offset,
        /// What the disk answers, for people.
        reason: String,
    },
    /// The disk gives back something else than what was written; what comes after it can be read.
    #[error("the log is damaged from offset {first} up to {end}: {reason}")]
    Damaged {
        /// The first offset that cannot be read.
        first: Offset,
        /// Where to read on.
        end: Offset,
        /// What was found, for people.
        reason: String,
    },
}
