//! Limits repeated log lines: the first one is logged, then at most one a minute, with the number of repetitions
//! meanwhile.

use std::time::Instant;

use crate::limits::TELL_EVERY;

/// A kind of occurrence that may repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Counts an occurrence; returns the number of unlogged ones before it, when one is to be logged now.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// The occurrence was due and was not logged: counts it as unlogged.
    pub fn withhold(&mut self, before: Self) {
        *self = Self { untold: before.untold + 1, ..before };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_time_is_reported_and_then_the_count_of_each_minute() {
        let (mut seldom, begun) = (Seldom::default(), Instant::now());
        let told: Vec<_> =
            (0..180).filter_map(|second| Some((second, seldom.due(begun + Duration::from_secs(second))?))).collect();
        assert_eq!(told, [(0, 0), (60, 59), (120, 59)], "180 lines without it");
        let before = seldom;
        seldom.due(begun + Duration::from_secs(180)).unwrap();
        seldom.withhold(before);
        assert_eq!(
            seldom.due(begun + Duration::from_secs(181)),
            Some(60),
            "what was withheld counts, and is told next"
        );
    }
}
