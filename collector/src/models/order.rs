//! The corrected time of an event, and the order of events.
//!
//! A model is a function of the *set* of its events. So it sorts them in an order independent of arrival: by corrected
//! time, and at one time by source, stream, epoch and sequence.

use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{CLOCK_AHEAD_MAX_US, CLOCK_NEVER_SET_BEFORE_US};

/// How a corrected time was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Correction {
    /// The source's clock is trusted.
    #[default]
    None,
    /// The clock was measured to be off; the time was moved by that offset.
    Moved,
    /// The clock is unknown; the time is the ingest time.
    Ingest,
}

/// The corrected time of an event, and how it was found.
///
/// `offset_us` is the collector's clock minus the batch's clock, if it was measured when the batch was appended. The
/// result is a function of one entry alone:
///
/// - A time is trusted, however old, if it is at most [`CLOCK_AHEAD_MAX_US`] ahead of its batch's clock, which in turn
///   is at most as far ahead of the ingest time, and not measured off by more.
/// - Else it is moved by the measured offset, if there is one.
/// - Else the ingest time replaces it.
///
/// A time before [`CLOCK_NEVER_SET_BEFORE_US`] is of a clock that was never set, and not trusted.
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

/// The order of an event among all others: earlier ones are less. The offset only distinguishes events that were
/// assumed beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The corrected time.
    pub time: Timestamp,
    /// The source.
    pub source: SourceId,
    /// The stream.
    pub stream: Stream,
    /// The epoch.
    pub epoch: Epoch,
    /// The sequence.
    pub sequence: Sequence,
    /// The offset.
    pub offset: Offset,
}

#[cfg(test)]
mod tests {
    use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
    use afferent_protocol::event::{Body, Event, Recovery};
    use afferent_protocol::ids::{SourceId, Subject};
    use afferent_protocol::sign::Identity;
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    /// 2026-07-01.
    const NOW: i64 = 1_782_864_000 * SECOND;

    fn at(micros: i64) -> Timestamp {
        Timestamp::new(micros).unwrap()
    }

    /// A batch with this clock.
    fn made(wall: i64) -> Header {
        let subject = Subject::new("88-C").unwrap();
        let body = Body::Recovery(Recovery { code: "E42", message: "" });
        let mut builder = BatchBuilder::new();
        builder.push(&Event { time: at(0), subject, body }).unwrap();
        let (stream, epoch, first) = (Stream::Critical, Epoch::new(1), Sequence::ZERO);
        let lineage = Lineage { source: SourceId::literal("a"), stream, epoch, first, previous: CHAIN_START };
        let clock = ClockReading { wall: at(wall), ..ClockReading::default() };
        let mut bytes = Vec::new();
        builder.seal(&lineage, &clock, &Identity::from_seed(&[1; 32]), &mut bytes);
        *Batch::parse(&bytes).unwrap().0.header()
    }

    fn of(time: i64, wall: i64, ingest: i64, offset_us: Option<i64>) -> (i64, Correction) {
        let (time, how) = corrected(at(time), &made(wall), at(ingest), offset_us);
        (time.micros(), how)
    }

    #[test]
    fn history_is_believed_however_old() {
        let (of_2013, of_2021) = (1_386_000_000 * SECOND, 1_631_577_271 * SECOND);
        for time in [of_2013, of_2021, CLOCK_NEVER_SET_BEFORE_US, NOW - 3600 * SECOND, NOW, NOW + 599 * SECOND] {
            for offset_us in [None, Some(0), Some(-CLOCK_AHEAD_MAX_US), Some(CLOCK_AHEAD_MAX_US)] {
                assert_eq!(of(time, NOW, NOW + SECOND, offset_us), (time, Correction::None));
            }
        }
        // Also events of that time in a batch of now: a ring that was offline for years.
        assert_eq!(of(of_2013, of_2013, NOW, None), (of_2013, Correction::None));
    }

    #[test]
    fn what_lies_ahead_or_before_2000_is_not_believed() {
        let of_2099 = 4_070_908_800 * SECOND;
        for time in [of_2099, NOW + 700 * SECOND, 0, 60 * SECOND, CLOCK_NEVER_SET_BEFORE_US - 1] {
            assert_eq!(of(time, NOW, NOW + SECOND, None), (NOW + SECOND, Correction::Ingest));
            assert_eq!(
                of(time, NOW, NOW + SECOND, Some(0)),
                (NOW + SECOND, Correction::Ingest),
                "moved it is no better"
            );
        }
        assert_eq!(of(of_2099, of_2099, NOW, None), (NOW, Correction::Ingest), "nor a clock that shows 2099");
    }

    #[test]
    fn a_clock_that_was_measured_off_is_moved() {
        let of_1970 = 3600 * SECOND;
        assert_eq!(of(of_1970, of_1970 + SECOND, NOW, Some(NOW - DAY)), (NOW - DAY + of_1970, Correction::Moved));
        let (ahead, behind) = (NOW + 10 * DAY, NOW - 10 * DAY);
        assert_eq!(of(ahead, ahead, NOW, Some(-10 * DAY)), (NOW, Correction::Moved));
        assert_eq!(of(behind - 5, behind, NOW, Some(10 * DAY)), (NOW - 5, Correction::Moved), "believed without it");
        assert_eq!(of(behind - 5, behind, NOW, None), (behind - 5, Correction::None));
    }

    proptest! {
        #[test]
        fn no_corrected_time_lies_ahead_or_was_never_set(
            time in 0..4_200_000_000_i64, wall in 0..4_200_000_000_i64, ingest in 1_000_000_000..2_000_000_000_i64,
            offset_us: Option<i64>,
        ) {
            let (corrected, how) = of(time * SECOND, wall * SECOND, ingest * SECOND, offset_us);
            prop_assert!(corrected <= ingest * SECOND + 2 * CLOCK_AHEAD_MAX_US);
            prop_assert!(corrected >= CLOCK_NEVER_SET_BEFORE_US);
            prop_assert!(how != Correction::None || corrected == time * SECOND);
            prop_assert!(how != Correction::Moved || offset_us.is_some_and(|by| corrected == time * SECOND + by));
            prop_assert!(how != Correction::Ingest || corrected == ingest * SECOND);
        }
    }
}
