//! The time of a line, in nanoseconds.
//!
//! The log counts microseconds. Points of one series with the same time overwrite each other, so the last three digits
//! come from the event's sequence: 1,000 consecutive events of one microsecond differ. Where nobody knows the time of
//! an event better than by its appending, all events of a batch have the same time, and six digits tell them apart.

use super::super::event::ForwardEvent;
use super::super::sink::Rejection;

/// The last nanosecond that InfluxDB has, on 2262-04-11.
const TIME_MAX_NS: i64 = i64::MAX - 1;
/// Nanoseconds that tell events of the same microsecond apart.
const OF_SEQUENCE: u64 = 1000;
/// Nanoseconds that tell events apart whose time is that of appending.
const OF_BATCH: u64 = 1_000_000;

/// The nanosecond of an event: the same one whenever it is delivered.
pub(super) fn nanosecond(event: &ForwardEvent<'_>) -> Result<i64, Rejection> {
    let Some(time) = event.best_time() else {
        return Err(Rejection("it has no time, and line protocol needs one".to_owned()));
    };
    let number = event.lane.map_or(event.address.offset.get(), |(_, _, sequence)| sequence.get());
    let is_of_appending = event.ingest == Some(time);
    let digits = number % if is_of_appending { OF_BATCH } else { OF_SEQUENCE };
    let nanosecond = time.micros().checked_mul(1000).and_then(|base| base.checked_add(digits as i64));
    nanosecond.filter(|nanosecond| *nanosecond <= TIME_MAX_NS).ok_or_else(|| {
        Rejection(format!(
            "its time, {} µs after 1970, is later than 2262, where the times of InfluxDB end",
            time.micros()
        ))
    })
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::{Epoch, Sequence, Stream, Timestamp};

    use super::super::line::tests::with_event;
    use super::*;

    fn at(time: i64, corrected: Option<i64>, ingest: i64, sequence: u64) -> Result<i64, Rejection> {
        let time_of = |micros| Timestamp::new(micros).unwrap();
        with_event(|mut event| {
            event.time = Some(time_of(time));
            event.corrected = corrected.map(time_of);
            event.ingest = Some(time_of(ingest));
            event.lane = Some((Stream::Samples, Epoch::new(1), Sequence::new(sequence)));
            nanosecond(&event)
        })
    }

    #[test]
    fn events_of_one_microsecond_differ_by_their_sequence_and_do_not_reach_the_next_one() {
        let mut times: Vec<i64> = (5_000..6_000).map(|sequence| at(7, None, 99, sequence).unwrap()).collect();
        assert_eq!((times[0], times[999]), (7_000, 7_999));
        times.dedup();
        assert_eq!(times.len(), 1000);
        assert_eq!(at(8, None, 99, 5_999), Ok(8_999));
    }

    #[test]
    fn the_corrected_time_counts_and_that_of_appending_has_digits_for_a_whole_batch() {
        assert_eq!(at(7, Some(50), 99, 1_234_567), Ok(50_567));
        assert_eq!(at(7, Some(99), 99, 1_234_567), Ok(99_000 + 234_567));
    }

    #[test]
    fn what_the_destination_has_no_time_for_is_refused() {
        let last = i64::MAX / 1000;
        assert_eq!(at(last, None, 99, 806), Ok(i64::MAX - 1));
        assert!(at(last, None, 99, 807).unwrap_err().0.contains("later than 2262"));
        assert!(at(253_402_300_799_000_000, None, 99, 0).unwrap_err().0.contains("later than 2262"));
        let none = with_event(|event| nanosecond(&event));
        assert!(none.unwrap_err().0.contains("has no time"));
    }
}
