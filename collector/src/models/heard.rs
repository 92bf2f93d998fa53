//! The times when a machine was heard: the union of the periods for which each of its reports holds.

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

/// Spans of time, sorted and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardTimes {
    spans: Vec<(i64, i64)>,
}

impl HeardTimes {
    /// Adds a report that holds for this period, in µs.
    pub fn add_report(&mut self, time: Timestamp, period_us: i64) {
        let from = time.micros();
        self.span(from, from.saturating_add(period_us));
    }

    fn span(&mut self, from: i64, until: i64) {
        if let Some(last) = self.spans.last_mut()
            && from >= last.0
            && from <= last.1
        {
            last.1 = last.1.max(until);
            return;
        }
        let begin = self.spans.partition_point(|span| span.1 < from);
        let end = self.spans.partition_point(|span| span.0 <= until);
        let touched = &self.spans[begin..end];
        let from = touched.first().map_or(from, |span| span.0.min(from));
        let until = touched.last().map_or(until, |span| span.1.max(until));
        self.spans.splice(begin..end, [(from, until)]);
    }

    /// Adds the spans of `other`, except those before `floor`.
    pub fn join(&mut self, other: &Self, floor: Option<Timestamp>) {
        let floor = floor.map_or(i64::MIN, Timestamp::micros);
        let kept = other.spans.iter().filter(|span| span.1 > floor);
        kept.for_each(|span| self.span(span.0.max(floor), span.1));
    }

    /// The end of the last period.
    pub fn until(&self) -> Option<Timestamp> {
        self.spans.last().map(|span| Timestamp::clamped(span.1))
    }

    /// Splits a span into parts, and passes each with whether the machine was heard then.
    pub fn parts(&self, from: Timestamp, until: Timestamp, each: &mut dyn FnMut(bool, Timestamp, Timestamp)) {
        let (mut at, end) = (from.micros(), until.micros());
        let mut part = |is_heard: bool, at: &mut i64, until: i64| {
            if until > *at {
                each(is_heard, Timestamp::clamped(*at), Timestamp::clamped(until));
                *at = until;
            }
        };
        let first = self.spans.partition_point(|span| span.1 <= at);
        for span in &self.spans[first..] {
            if span.0 >= end {
                break;
            }
            part(false, &mut at, span.0.min(end));
            part(true, &mut at, span.1.min(end));
        }
        part(false, &mut at, end);
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.spans.len() * size_of::<(i64, i64)>()
    }

    /// The beginning of the newer half of the spans.
    pub fn middle(&self) -> Option<Timestamp> {
        self.spans.get(self.spans.len() / 2).map(|span| Timestamp::clamped(span.0))
    }

    /// Drops the spans that ended before this time.
    pub fn forget_before(&mut self, time: Timestamp) {
        let over = self.spans.partition_point(|span| span.1 <= time.micros());
        self.spans.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(heard: &HeardTimes, from: i64, until: i64) -> Vec<(bool, i64, i64)> {
        let mut parts = Vec::new();
        heard.parts(Timestamp::clamped(from), Timestamp::clamped(until), &mut |is_heard, from, until| {
            parts.push((is_heard, from.micros(), until.micros()));
        });
        parts
    }

    #[test]
    fn what_is_between_two_words_is_silent_once_the_first_does_not_hold_any_more() {
        let mut heard = HeardTimes::default();
        for time in [100, 5, 8, 12] {
            heard.add_report(Timestamp::clamped(time), 5);
        }
        let all = parts(&heard, 0, 200);
        assert_eq!(all, [(false, 0, 5), (true, 5, 17), (false, 17, 100), (true, 100, 105), (false, 105, 200)]);
        assert_eq!(parts(&heard, 7, 12), [(true, 7, 12)]);
        assert_eq!(parts(&heard, 17, 17), []);
        heard.forget_before(Timestamp::clamped(17));
        assert_eq!(parts(&heard, 90, 102), [(false, 90, 100), (true, 100, 102)]);
    }

    proptest! {
        #[test]
        fn heard_times_are_the_union_of_the_reports_in_any_order(
            words in proptest::collection::vec((0_i64..300, 1_i64..20), 0..40).prop_shuffle(),
        ) {
            let mut heard = HeardTimes::default();
            words.iter().for_each(|(time, period)| heard.add_report(Timestamp::clamped(*time), *period));
            let told = |at: i64| words.iter().any(|(time, period)| (*time..time + period).contains(&at));
            for at in 0..330 {
                prop_assert_eq!(parts(&heard, at, at + 1), [(told(at), at, at + 1)]);
            }
            prop_assert!(heard.spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", heard.spans);
        }
    }
}
