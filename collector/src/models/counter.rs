//! A counter of pieces: its growth, whatever order its values came in.
//!
//! Values are sorted by their times. A value smaller than its predecessor restarted at zero and counts whole. Of
//! several values of one time the largest counts: a smaller one beside it is jitter and no restart. The newest values
//! are kept so that late ones can be sorted in; older ones are in the sum.

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

use super::packed::{Pack, Packed, get_signed, put_signed};
use super::span::Span;

/// A value at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CounterValue {
    time: i64,
    value: f64,
}

/// The point before, and the difference to its predecessor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreviousValue {
    last: CounterValue,
    time_step: i64,
}

/// Whole numbers up to this one are packed as differences.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const SAME_TIME_STEP: u8 = 1;
const SAME_VALUE: u8 = 1 << 1;
const WHOLE: u8 = 1 << 2;

fn whole(value: f64) -> Option<i64> {
    // Minus zero is not packed as a whole number: it would come back as zero.
    let is_whole = value.fract() == 0.0 && value.abs() <= WHOLE_MAX && (value != 0.0 || value.is_sign_positive());
    is_whole.then_some(value as i64)
}

impl Pack for CounterValue {
    type Before = PreviousValue;

    fn put(&self, before: &mut PreviousValue, to: &mut Vec<u8>) {
        let time_step = self.time.wrapping_sub(before.last.time);
        let is_same = self.value.to_bits() == before.last.value.to_bits();
        let step = whole(self.value).zip(whole(before.last.value)).map(|(value, last)| value - last);
        let flags = u8::from(time_step == before.time_step) * SAME_TIME_STEP
            + if is_same { SAME_VALUE } else { u8::from(step.is_some()) * WHOLE };
        to.push(flags);
        if flags & SAME_TIME_STEP == 0 {
            put_signed(time_step.wrapping_sub(before.time_step), to);
        }
        match step {
            _ if is_same => {}
            Some(step) => put_signed(step, to),
            None => to.extend_from_slice(&self.value.to_le_bytes()),
        }
        *before = PreviousValue { last: *self, time_step };
    }

    fn get(before: &mut PreviousValue, from: &mut &[u8]) -> Option<Self> {
        let (flags, rest) = from.split_first()?;
        *from = rest;
        let time_step = match flags & SAME_TIME_STEP {
            0 => before.time_step.wrapping_add(get_signed(from)?),
            _ => before.time_step,
        };
        let value = if flags & SAME_VALUE != 0 {
            before.last.value
        } else if flags & WHOLE != 0 {
            (whole(before.last.value)?.checked_add(get_signed(from)?)?) as f64
        } else {
            let (value, rest) = from.split_first_chunk()?;
            *from = rest;
            f64::from_le_bytes(*value)
        };
        let point = Self { time: before.last.time.wrapping_add(time_step), value };
        *before = PreviousValue { last: point, time_step };
        Some(point)
    }
}

/// A counter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CounterHistory {
    points: Packed<CounterValue>,
    /// The growth before the kept values.
    settled: Growth,
    /// The times of the first and the last value before the kept ones.
    settled_times: Option<(i64, i64)>,
}

/// The growth of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Growth {
    last: Option<f64>,
    sum: f64,
}

impl Growth {
    fn take(&mut self, point: CounterValue) {
        match self.last {
            Some(last) if point.value >= last => self.sum += point.value - last,
            Some(_) => self.sum += point.value.max(0.0),
            None => {}
        }
        self.last = Some(point.value);
    }
}

impl CounterHistory {
    /// Adds a value; returns whether it came in time.
    pub fn take(&mut self, time: Timestamp, value: f64) -> bool {
        let point = CounterValue { time: time.micros(), value };
        if self.settled_times.is_some_and(|(_, last)| point.time <= last) {
            return false;
        }
        let larger = |known: CounterValue, point: CounterValue| if point.value > known.value { point } else { known };
        self.points.insert(point, |left, right| left.time.cmp(&right.time), larger);
        true
    }

    /// Bytes that the kept values take.
    pub fn bytes(&self) -> usize {
        self.points.bytes()
    }

    /// Moves the oldest values into the sum.
    pub fn fold_oldest(&mut self) {
        for point in self.points.take_front() {
            self.settled.take(point);
            let first = self.settled_times.map_or(point.time, |(first, _)| first);
            self.settled_times = Some((first, point.time));
        }
    }

    /// Values of this time and before are refused.
    pub fn horizon(&self) -> Option<Timestamp> {
        self.settled_times.map(|(_, last)| Timestamp::clamped(last))
    }

    /// The growth in a span: a piece counts at the time of the value that shows it, so that spans add up. `None` where
    /// the span begins or ends among values that are only in the sum.
    pub fn grown(&self, span: Span) -> Option<f64> {
        let (from, until) = (span.from.map(Timestamp::micros), span.until.map(Timestamp::micros));
        let mut grown = self.settled;
        if let Some((first, last)) = self.settled_times {
            if until.is_some_and(|until| until <= first) {
                return Some(0.0);
            }
            let begins_among = from.is_some_and(|from| from > first && from <= last);
            if begins_among || until.is_some_and(|until| until <= last) {
                return None;
            }
            if from.is_some_and(|from| from > last) {
                grown.sum = 0.0;
            }
        }
        for point in self.points.iter().take_while(|point| until.is_none_or(|until| point.time < until)) {
            grown.take(point);
            if from.is_some_and(|from| point.time < from) {
                grown.sum = 0.0;
            }
        }
        Some(grown.sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grown(values: &[(i64, f64)]) -> f64 {
        let mut counter = CounterHistory::default();
        values.iter().for_each(|(time, value)| assert!(counter.take(Timestamp::clamped(*time), *value)));
        counter.grown(Span::default()).expect("all of it is known")
    }

    #[test]
    fn a_smaller_value_at_the_same_time_is_jitter_and_one_later_a_new_beginning() {
        assert_eq!(grown(&[(1, 100.0), (2, 110.0), (2, 109.0), (3, 112.0)]), 12.0);
        assert_eq!(grown(&[(1, 100.0), (2, 109.0), (2, 110.0), (3, 112.0)]), 12.0);
        assert_eq!(grown(&[(1, 100.0), (2, 120.0), (3, 10.0)]), 30.0);
    }

    #[test]
    fn folded_values_count_and_values_from_before_them_are_late() {
        let mut counter = CounterHistory::default();
        (0..1000).for_each(|n| _ = counter.take(Timestamp::clamped(n * 1000), n as f64));
        let before = (counter.grown(Span::default()), counter.bytes());
        counter.fold_oldest();
        assert_eq!((counter.grown(Span::default()), counter.take(Timestamp::clamped(5), 7.0)), (before.0, false));
        assert!(counter.bytes() < before.1 && before.1 < 4000, "{} bytes", before.1);
    }

    proptest! {
        #[test]
        fn points_come_back_to_the_bit(
            points in proptest::collection::vec(
                (any::<i64>(), prop_oneof![any::<f64>(), (-99_i32..99).prop_map(f64::from)]), 0..50,
            ),
        ) {
            let points: Vec<_> = points.into_iter().map(|(time, value)| CounterValue { time, value }).collect();
            let (mut bytes, mut before) = (Vec::new(), PreviousValue::default());
            points.iter().for_each(|point| point.put(&mut before, &mut bytes));
            let (mut from, mut before) = (bytes.as_slice(), PreviousValue::default());
            let read: Vec<CounterValue> = std::iter::from_fn(|| CounterValue::get(&mut before, &mut from)).collect();
            let bits = |points: &[CounterValue]| -> Vec<(i64, u64)> {
                points.iter().map(|point| (point.time, point.value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&read), bits(&points));
        }

        #[test]
        fn the_order_of_arrival_makes_no_difference(
            values in proptest::collection::vec((0_i64..50, 0_u32..30), 1..60).prop_shuffle(),
        ) {
            let values: Vec<(i64, f64)> = values.into_iter().map(|(time, value)| (time, value.into())).collect();
            let mut sorted = values.clone();
            sorted.sort_by_key(|(time, _)| *time);
            prop_assert_eq!(grown(&values), grown(&sorted));
        }
    }
}
