//! When an event happened, as far as it is known, and what comes before what.
//!
//! A model is a function of the *set* of its events. So it takes them in an order that arrival has no part in: by
//! corrected time, and at one time by source, stream, epoch and sequence.

use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{CLOCK_AHEAD_MAX_US, CLOCK_NEVER_SET_BEFORE_US};

/// How a corrected time was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Correction {
    /// The source's clock is believed.
    #[default]
    None,
    /// The clock of its boot was measured to be off; the time was moved by as much.
    Moved,
    /// Nothing is known of the clock; the time of ingest stands for it.
    Ingest,
}

/// The corrected time of an event, and how it was found.
///
/// `offset_us` is what has to be added to the clock of the batch to have the collector's, as it was measured when the
/// batch was appended, if it was. A function of one entry alone:
///
/// - A time is believed, however old, that is at most [`CLOCK_AHEAD_MAX_US`] ahead of its batch's clock, which in turn is at
///   most as far ahead of the ingest time, and not measured off by more.
/// - Else it is moved by the measured offset, where there is one.
/// - Else the ingest time stands for it.
///
/// A time before [`CLOCK_NEVER_SET_BEFORE_US`] is of a clock that was never set, and not believed.
pub fn corrected(
    time: Timestamp,
    batch: &Header,
    ingest: Timestamp,
    offset_us: Option<i64>,
) -> (Timestamp, Correction) {
    let ahead = |time: Timestamp, of: Timestamp| time.micros().saturating_sub(of.micros()) > CLOCK_AHEAD_MAX_US;
    let measured_off = offset_us.is_some_and(|offset| offset.unsigned_abs() > CLOCK_AHEAD_MAX_US.unsigned_abs());
    let never_set = time.micros() < CLOCK_NEVER_SET_BEFORE_US;
    if !never_set && !measured_off && !ahead(time, batch.clock.wall) && !ahead(batch.clock.wall, ingest) {
        return (time, Correction::None);
    }
    let moved = offset_us.and_then(|offset| Timestamp::new(time.micros().saturating_add(offset)));
    match moved {
        Some(moved) if moved.micros() >= CLOCK_NEVER_SET_BEFORE_US && !ahead(moved, ingest) => {
            (moved, Correction::Moved)
        }
        _ => (ingest, Correction::Ingest),
    }
}

/// The place of an event among all others: earlier ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order<'e> {
    /// Its corrected time.
    pub time: Timestamp,
    /// Its source's name.
    pub source: &'e str,
    /// Its stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub sequence: Sequence,
}

/// The place of an event among all others, to be kept. The offset only tells events apart that were assumed beside the
/// log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Its corrected time.
    pub time: Timestamp,
    /// Its source.
    pub source: SourceId,
    /// Its stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub sequence: Sequence,
    /// Its offset.
    pub offset: Offset,
}
