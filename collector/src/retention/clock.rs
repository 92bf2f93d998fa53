//! The present time for rules of age.
//!
//! A collector whose clock is a year ahead must not take new events for old. So age counts from the *earlier* of the
//! collector's clock and of independent clocks: the newest attested stamp plus the monotonic time since, and the median
//! of the synchronised clocks of agents. One wrong clock can delay a removal, and never hasten it.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Timestamp;

use crate::limits::CLOCK_DIFFERENCE_MAX_US;
use crate::sources::ClockHeard;

/// The clock that ages count from.
#[derive(Clone, Copy, Debug)]
pub struct AgeClock {
    /// The newest attested stamp at the start, and the monotonic time then.
    attested: Option<(Timestamp, u64)>,
}

/// The present time, and whether it is plausible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The time that ages count from.
    pub now: Timestamp,
    /// Why it is not plausible, for people.
    pub warning: Option<String>,
}

impl AgeClock {
    /// For a collector that starts now; `attested` is the time of the log's newest attestation.
    pub fn new(attested: Option<Timestamp>, monotonic_us: u64) -> Self {
        Self { attested: attested.map(|attested| (attested, monotonic_us)) }
    }

    /// The present time, by the collector's clocks and the clocks of sources.
    pub fn judge(&self, clock: &ClockReading, heard: &[ClockHeard]) -> Judged {
        let later = |time: Timestamp, since_us: u64| {
            let passed = i64::try_from(clock.monotonic_us.saturating_sub(since_us)).unwrap_or(i64::MAX);
            Timestamp::clamped(time.micros().saturating_add(passed))
        };
        let attested = self.attested.map(|(time, since_us)| later(time, since_us));
        let mut agents: Vec<_> = heard.iter().map(|heard| later(heard.wall, heard.monotonic_us)).collect();
        agents.sort_unstable();
        // Of an even number the earlier of the middle two: it can delay and not hasten.
        let median = agents.len().checked_sub(1).map(|last| agents[last / 2]);
        let Some(others) = attested.max(median) else {
            let warning = "no attestation and no agent with a synchronised clock confirms the time; retention removes \
                           nothing by age until one does";
            return Judged { now: Timestamp::default(), warning: Some(warning.to_owned()) };
        };
        let ahead_us = clock.wall.micros().saturating_sub(others.micros());
        let warning = (ahead_us.unsigned_abs() > CLOCK_DIFFERENCE_MAX_US).then(|| {
            let hours = ahead_us.unsigned_abs() / 3_600_000_000;
            let side = if ahead_us > 0 { "ahead of" } else { "behind" };
            format!(
                "the collector's clock is {hours} hours {side} the time of attestations and agents; retention computes \
                 ages from the earlier of both; correct the collector's clock"
            )
        });
        Judged { now: clock.wall.min(others), warning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_US: i64 = 365 * 86_400_000_000;
    const NOON: i64 = 1_700_000_000_000_000;

    fn at(wall: i64, monotonic_us: u64) -> ClockReading {
        ClockReading { wall: Timestamp::clamped(wall), monotonic_us, synchronised: true, boot: [1; 16] }
    }

    fn heard(walls: &[i64], monotonic_us: u64) -> Vec<ClockHeard> {
        walls.iter().map(|wall| ClockHeard { wall: Timestamp::clamped(*wall), monotonic_us }).collect()
    }

    #[test]
    fn a_clock_that_is_a_year_ahead_makes_nothing_older_and_is_told() {
        let clock = AgeClock::new(Some(Timestamp::clamped(NOON)), 1000);
        let judged = clock.judge(&at(NOON + YEAR_US, 6000), &[]);
        assert_eq!(judged.now, Timestamp::clamped(NOON + 5000), "attested time, and what has passed since");
        assert!(judged.warning.unwrap().contains("8759 hours ahead"));
        let judged = clock.judge(&at(NOON + YEAR_US, 6000), &heard(&[NOON, NOON + 9, NOON + YEAR_US], 6000));
        assert_eq!(judged.now, Timestamp::clamped(NOON + 5000), "one agent with the same fault changes nothing");
        // The control: the time by the collector's clock alone.
        assert!(at(NOON + YEAR_US, 6000).wall.micros() - judged.now.micros() > YEAR_US - 10_000);
    }

    #[test]
    fn after_a_month_without_power_agents_bring_the_time_back() {
        let clock = AgeClock::new(Some(Timestamp::clamped(NOON)), 0);
        let later = NOON + YEAR_US / 12;
        assert_eq!(clock.judge(&at(later, 0), &[]).now, Timestamp::clamped(NOON), "until then it waits");
        let judged = clock.judge(&at(later, 0), &heard(&[later - 5, later, later + 5], 0));
        assert_eq!(judged, Judged { now: Timestamp::clamped(later), warning: None });
    }

    #[test]
    fn agents_that_are_ahead_hasten_nothing_and_nobody_at_all_is_told() {
        let clock = AgeClock::new(Some(Timestamp::clamped(NOON)), 0);
        let judged = clock.judge(&at(NOON, 0), &heard(&[NOON + YEAR_US; 3], 0));
        assert_eq!(judged.now, Timestamp::clamped(NOON));
        assert!(judged.warning.unwrap().contains("behind"));
        let judged = AgeClock::new(None, 0).judge(&at(NOON, 0), &[]);
        assert_eq!(judged.now, Timestamp::default());
        assert!(judged.warning.is_some());
    }
}
