//! Reading the unified log: from any offset or time, as often as one likes, the past and then what comes.
//!
//! - [`Start`]: where a reader begins, as people write it
//! - [`Filter`]: which events it wants
//! - [`named`]: places that are kept here for readers, who may share the work
//! - [`Reading`]: a reader's place; renders page after page of CloudEvents
//!
//! A reader never has a queue of its own: it reads the log from its own place and is woken when the log grew. One that
//! is slow reads older parts of the log, and nothing is kept or dropped for it.

mod filter;
mod lines;
mod log;
pub mod named;
mod reading;
mod severity;
mod start;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::segment::EntryHead;

use crate::certificate::{About, Certificate, CertificateError, Means, Span};
use crate::log::Wanted;
use crate::terms::Terms;
pub use filter::{Filter, FilterError};
pub use lines::Lines;
pub use reading::{Format, Page, Reading};
pub use start::{Start, StartError, StartTextError};

/// Takes entries one after the other, until it breaks.
pub type EachEntry<'f> = dyn FnMut(&EntryHead, &Batch<'_>) -> ControlFlow<()> + 'f;

/// A unified log, as readers see it.
pub trait ReadLog: Send + Sync {
    /// A reader of the same log with its own place in it, which does not wait for others.
    fn another(&self) -> Arc<dyn ReadLog>;

    /// The offsets that can be read: from the oldest one kept up to the durable end.
    fn kept(&self) -> Range<Offset>;

    /// The first offset that was ingested at `time` or later; the durable end when there is none.
    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError>;

    /// The first offset behind everything that was ingested before `time`; the first one that is kept when nothing was. It
    /// lies behind the one of [`ReadLog::at_time`] where the collector's clock was set back.
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

    /// The certificate by what the log keeps for it beside its entries; `None` when the entries have to be read. `own` is the
    /// collector's name. Blocks.
    fn certificate(
        &self,
        _about: &About,
        _span: Span,
        _own: SourceId,
        _means: &Means,
    ) -> Option<Result<Certificate, CertificateError>> {
        None
    }

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
        /// Where.
        at: Offset,
        /// Why, for people.
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

#[cfg(test)]
pub(crate) mod memory;
