//! What repeats is told in the log once, and then at most once a minute, with how often it has happened meanwhile.

use std::time::Instant;

use crate::limits::TELL_EVERY;

/// One thing that may happen again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// It has happened: gives how often it has happened since it was told, when it is to be told now.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// It was to be told, and was not: it counts as untold.
    pub fn withhold(&mut self, before: Self) {
        *self = Self { untold: before.untold + 1, ..before };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_time_is_told_and_then_the_count_of_each_minute() {
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
