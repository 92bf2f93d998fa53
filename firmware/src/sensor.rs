//! Readings to alarms: the conditions that a machine builder expects, as state machines of numbers and ticks.
//!
//! Each takes a reading with its tick and returns a change of its condition; which event that becomes is the firmware's
//! choice, see [`Change::alarm`]. NaN changes nothing.

use afferent_protocol::event::{Alarm, AlarmTransition, Body};

/// A condition became true, or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The condition became true.
    Raised,
    /// The condition became false.
    Cleared,
}

impl Change {
    /// The alarm event of this change; `priority` from 1 to 1000.
    pub const fn alarm(self, condition: &'static str, priority: u16, message: &'static str) -> Body<'static> {
        let transition = match self {
            Self::Raised => AlarmTransition::Raised,
            Self::Cleared => AlarmTransition::Cleared,
        };
        Body::Alarm(Alarm { condition, transition, priority, message })
    }
}

/// A condition that must hold for a while before it counts.
#[derive(Clone, Copy, Debug)]
struct Held {
    hold_us: u64,
    since_us: Option<u64>,
    is_raised: bool,
}

impl Held {
    const fn new(hold_us: u64) -> Self {
        Self { hold_us, since_us: None, is_raised: false }
    }

    fn update(&mut self, tick_us: u64, is_true: bool) -> Option<Change> {
        if is_true == self.is_raised {
            self.since_us = None;
            return None;
        }
        let since_us = *self.since_us.get_or_insert(tick_us);
        if tick_us.saturating_sub(since_us) < self.hold_us {
            return None;
        }
        (self.is_raised, self.since_us) = (is_true, None);
        Some(if is_true { Change::Raised } else { Change::Cleared })
    }
}

/// Above a limit for a while, until below a lower one for as long.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    raise_above: f64,
    clear_below: f64,
    held: Held,
}

impl Threshold {
    /// Raised above `raise_above`, cleared below `clear_below` (not above it), each for `hold_us` at least.
    pub const fn new(raise_above: f64, clear_below: f64, hold_us: u64) -> Self {
        assert!(clear_below <= raise_above, "hysteresis needs its lower limit below the upper one");
        Self { raise_above, clear_below, held: Held::new(hold_us) }
    }

    /// Takes a reading.
    pub fn update(&mut self, tick_us: u64, value: f64) -> Option<Change> {
        if value.is_nan() {
            return None;
        }
        let is_true = if self.held.is_raised { value >= self.clear_below } else { value > self.raise_above };
        self.held.update(tick_us, is_true)
    }
}

/// Changes faster than a limit, upwards or downwards.
#[derive(Clone, Copy, Debug)]
pub struct RateOfChange {
    per_second_max: f64,
    before: Option<(u64, f64)>,
    held: Held,
}

impl RateOfChange {
    /// Raised when readings change by more than `per_second_max` a second for `hold_us`; cleared when they no longer
    /// do.
    pub const fn new(per_second_max: f64, hold_us: u64) -> Self {
        Self { per_second_max, before: None, held: Held::new(hold_us) }
    }

    /// Takes a reading; one of the same tick as the last one is passed over.
    pub fn update(&mut self, tick_us: u64, value: f64) -> Option<Change> {
        if value.is_nan() {
            return None;
        }
        let (before_us, before) = *self.before.get_or_insert((tick_us, value));
        let passed_us = tick_us.checked_sub(before_us).filter(|passed_us| *passed_us > 0)?;
        self.before = Some((tick_us, value));
        let change = if value > before { value - before } else { before - value };
        self.held.update(tick_us, change * 1e6 > self.per_second_max * passed_us as f64)
    }
}

/// A value that does not move although it should: a broken wire, a frozen sensor.
#[derive(Clone, Copy, Debug)]
pub struct Stuck {
    band: f64,
    around: Option<f64>,
    held: Held,
}

impl Stuck {
    /// Raised when readings stay within `band` of one of them for `after_us`; cleared by the first that does not.
    pub const fn new(band: f64, after_us: u64) -> Self {
        Self { band, around: None, held: Held::new(after_us) }
    }

    /// Takes a reading.
    pub fn update(&mut self, tick_us: u64, value: f64) -> Option<Change> {
        if value.is_nan() {
            return None;
        }
        let around = *self.around.get_or_insert(value);
        if value - around <= self.band && around - value <= self.band {
            return self.held.update(tick_us, true);
        }
        self.around = Some(value);
        let was_raised = core::mem::replace(&mut self.held.is_raised, false);
        self.held.since_us = Some(tick_us);
        was_raised.then_some(Change::Cleared)
    }
}

/// Something that should be heard of regularly, and is not.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    period_us_max: u64,
    heard_us: u64,
    is_missed: bool,
}

impl Heartbeat {
    /// Raised when nothing was heard for `period_us_max`, from `tick_us` on; cleared by the next beat.
    pub const fn new(period_us_max: u64, tick_us: u64) -> Self {
        Self { period_us_max, heard_us: tick_us, is_missed: false }
    }

    /// It was heard.
    pub fn beat(&mut self, tick_us: u64) -> Option<Change> {
        self.heard_us = tick_us;
        core::mem::take(&mut self.is_missed).then_some(Change::Cleared)
    }

    /// To be called now and then.
    pub fn check(&mut self, tick_us: u64) -> Option<Change> {
        if self.is_missed || tick_us.saturating_sub(self.heard_us) <= self.period_us_max {
            return None;
        }
        self.is_missed = true;
        Some(Change::Raised)
    }
}

/// Fewer samples: one when the value has moved, and one now and then although it has not.
#[derive(Clone, Copy, Debug)]
pub struct Decimation {
    band: f64,
    period_us_max: u64,
    last: Option<(u64, f64)>,
}

impl Decimation {
    /// Lets a reading pass that differs by more than `band` from the last one that passed, or comes `period_us_max`
    /// later.
    pub const fn new(band: f64, period_us_max: u64) -> Self {
        Self { band, period_us_max, last: None }
    }

    /// Whether this reading is to be recorded.
    pub fn passes(&mut self, tick_us: u64, value: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        let is_news = self.last.is_none_or(|(last_us, last)| {
            value - last > self.band
                || last - value > self.band
                || tick_us.saturating_sub(last_us) >= self.period_us_max
        });
        if is_news {
            self.last = Some((tick_us, value));
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const SECOND: u64 = 1_000_000;

    fn changes(values: &[f64], mut update: impl FnMut(u64, f64) -> Option<Change>) -> Vec<(usize, Change)> {
        let change = |(at, value): (usize, &f64)| Some((at, update(at as u64 * SECOND, *value)?));
        values.iter().enumerate().filter_map(change).collect()
    }

    #[test]
    fn a_threshold_waits_and_does_not_flutter_between_its_limits() {
        let mut threshold = Threshold::new(80.0, 75.0, 2 * SECOND);
        let values = [81.0, 79.0, 81.0, 82.0, f64::NAN, 78.0, 81.0, 76.0, 74.0, 76.0, 74.0, 74.0, 74.0];
        let changes = changes(&values, |tick_us, value| threshold.update(tick_us, value));
        assert_eq!(changes, []);
        let mut threshold = Threshold::new(80.0, 75.0, 2 * SECOND);
        let values = [81.0, 81.0, 81.0, 78.0, 76.0, 74.0, 76.0, 74.0, 74.0, 74.0, 74.0];
        let changes = self::changes(&values, |tick_us, value| threshold.update(tick_us, value));
        assert_eq!(changes, [(2, Change::Raised), (9, Change::Cleared)]);
    }

    #[test]
    fn a_rate_counts_upwards_and_downwards_and_by_time() {
        let mut rate = RateOfChange::new(5.0, 0);
        let changes = changes(&[0.0, 4.0, 10.0, 4.0, 4.0], |tick_us, value| rate.update(tick_us, value));
        assert_eq!(changes, [(2, Change::Raised), (4, Change::Cleared)]);
        let mut slow = RateOfChange::new(5.0, 0);
        assert_eq!(slow.update(0, 0.0), None);
        assert_eq!(slow.update(2 * SECOND, 9.0), None);
    }

    #[test]
    fn a_value_that_does_not_move_is_stuck_until_it_moves() {
        let mut stuck = Stuck::new(0.1, 3 * SECOND);
        let values = [1.0, 2.0, 2.05, 2.0, 1.95, 2.0, 3.0, 3.0, 4.0];
        let changes = changes(&values, |tick_us, value| stuck.update(tick_us, value));
        assert_eq!(changes, [(4, Change::Raised), (6, Change::Cleared)]);
    }

    #[test]
    fn a_heartbeat_is_missed_once_and_comes_back() {
        let mut heartbeat = Heartbeat::new(SECOND, 0);
        assert_eq!(heartbeat.check(SECOND), None);
        assert_eq!(heartbeat.check(SECOND + 1), Some(Change::Raised));
        assert_eq!(heartbeat.check(SECOND + 2), None);
        assert_eq!(heartbeat.beat(2 * SECOND), Some(Change::Cleared));
        assert_eq!(heartbeat.beat(3 * SECOND), None);
    }

    #[test]
    fn decimation_keeps_what_moves_and_a_sign_of_life() {
        let mut decimation = Decimation::new(0.5, 4 * SECOND);
        let values = [1.0, 1.2, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, f64::NAN];
        let kept = values.iter().enumerate().filter(|(at, value)| decimation.passes(*at as u64 * SECOND, **value));
        assert_eq!(kept.map(|(at, _)| at).collect::<Vec<_>>(), [0, 3, 7]);
    }
}
