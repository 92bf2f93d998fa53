//! How far the clocks of sources are off the collector's.
//!
//! A batch names the boot of its machine and what both of its clocks showed when it was made. The monotonic clock
//! cannot be set: once it is known how far the collector's is ahead of it, every batch of that boot has a time on the
//! collector's clocks, however often the wall clock was set in between.
//!
//! Proved hellos measure that distance, because they were made after the collector first received their nonce. Batches
//! improve it: each was made before it arrived. It is unknown for a boot without a proved hello since the collector
//! started.

use std::collections::{BTreeMap, VecDeque};

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::SourceId;

use crate::limits::{BOOTS_MEASURED_MAX, CHALLENGE_MINUTES, CLOCK_DRIFT_PPM_MAX};

/// A hello that answers a challenge is not older: longer than a challenge is good for.
const HELLO_AGE_MAX_US: i64 = 60_000_000 * (CHALLENGE_MINUTES as i64 + 1);

/// The measured clocks of all sources.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// For each source, the boots with a proved hello, the newest last.
    sources: BTreeMap<SourceId, VecDeque<Measured>>,
}

/// The measured clock of one boot.
#[derive(Clone, Copy, Debug)]
struct Measured {
    boot: [u8; 16],
    /// How far the collector's monotonic clock is ahead of that of the boot.
    ahead_us: i64,
    /// When that was found, by the collector's monotonic clock.
    found_us: u64,
}

impl Measured {
    /// Whether a distance that is no less than the true one, found now, is a better estimate than the known one. Where
    /// clocks drift apart, an estimate gets worse as it gets older.
    fn is_improved_by(&self, ahead_us: i64, now: &ClockReading) -> bool {
        let age_us = now.monotonic_us.saturating_sub(self.found_us);
        let drift_us = i64::try_from(age_us / 1_000_000 * CLOCK_DRIFT_PPM_MAX).unwrap_or(i64::MAX);
        ahead_us < self.ahead_us.saturating_add(drift_us)
    }
}

impl Clocks {
    /// Forgets an agent that has delivered nothing.
    pub fn forget(&mut self, source: &SourceId) {
        self.sources.remove(source);
    }

    /// Takes the clocks of a source from a proved hello that came now. The collector first received its nonce `age_us`
    /// ago, if that is known.
    pub fn measure(&mut self, source: SourceId, said: &ClockReading, now: &ClockReading, age_us: Option<u64>) {
        let Some(ahead_us) = ahead_us(said, now) else { return };
        let age_us =
            age_us.map_or(HELLO_AGE_MAX_US, |age| i64::try_from(age).unwrap_or(i64::MAX).min(HELLO_AGE_MAX_US));
        let measured = Measured { boot: said.boot, ahead_us, found_us: now.monotonic_us };
        let boots = self.sources.entry(source).or_default();
        let known = boots.iter().position(|known| known.boot == said.boot).and_then(|at| boots.remove(at));
        // A closer estimate stays, unless the clock has stood still since it was found.
        let kept = known
            .filter(|known| !known.is_improved_by(ahead_us, now) && known.ahead_us >= ahead_us.saturating_sub(age_us));
        if boots.len() == BOOTS_MEASURED_MAX {
            boots.pop_front();
        }
        boots.push_back(kept.unwrap_or(measured));
    }

    /// Microseconds to add to the wall clock of a batch that comes now to have the collector's.
    pub fn offset_us(&mut self, source: &SourceId, made: &ClockReading, now: &ClockReading) -> Option<i64> {
        let known = self.sources.get_mut(source)?.iter_mut().find(|known| known.boot == made.boot)?;
        let ahead_us = ahead_us(made, now)?;
        if known.is_improved_by(ahead_us, now) {
            (known.ahead_us, known.found_us) = (ahead_us, now.monotonic_us);
        }
        let age_us = ahead_us.saturating_sub(known.ahead_us).max(0);
        Some(now.wall.micros().saturating_sub(age_us).saturating_sub(made.wall.micros()))
    }
}

/// How far the collector's monotonic clock is ahead of `other` now; `None` where the kernel did not name that boot, or
/// the distance is out of all reason.
fn ahead_us(other: &ClockReading, now: &ClockReading) -> Option<i64> {
    let (now, other_us) = (i64::try_from(now.monotonic_us).ok()?, i64::try_from(other.monotonic_us).ok()?);
    (other.boot != [0; 16]).then(|| now.saturating_sub(other_us))
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Timestamp;

    use super::*;

    const SOURCE: SourceId = SourceId::literal("a");
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    /// The clocks at a second: of the collector, or of a machine that was started `started` seconds later, whose wall
    /// clock is off.
    fn at(second: i64) -> ClockReading {
        reading(second, 0, 0, 9)
    }

    fn reading(second: i64, started: i64, off_us: i64, boot: u8) -> ClockReading {
        let wall = Timestamp::clamped(1_700_000_000 * SECOND + second * SECOND + off_us);
        let monotonic_us = ((second - started) * SECOND) as u64;
        ClockReading { wall, monotonic_us, synchronised: false, boot: [boot; 16] }
    }

    fn measured(said_at: i64, off_us: i64) -> Clocks {
        let mut clocks = Clocks::default();
        clocks.measure(SOURCE, &reading(said_at, 500, off_us, 1), &at(said_at), Some(0));
        clocks
    }

    #[test]
    fn a_batch_is_as_far_off_as_its_wall_clock_was_although_it_comes_late() {
        let mut clocks = measured(1000, -10 * DAY);
        for (made, came) in [(1001, 1001), (900, 5000), (501, 90_000)] {
            let made = reading(made, 500, -10 * DAY, 1);
            assert_eq!(clocks.offset_us(&SOURCE, &made, &at(came)), Some(10 * DAY));
            let naive = at(came).wall.micros() - made.wall.micros();
            assert!(came == 1001 || naive != 10 * DAY, "ingest time less the batch's clock counts the delay as well");
        }
    }

    #[test]
    fn steps_within_a_boot_are_told_apart() {
        let mut clocks = measured(1000, 0);
        for off_us in [0, 3 * DAY, -7 * DAY, 5] {
            let made = reading(1100, 500, off_us, 1);
            assert_eq!(clocks.offset_us(&SOURCE, &made, &at(2000)), Some(-off_us));
        }
    }

    #[test]
    fn a_boot_that_was_not_measured_is_unknown() {
        let mut clocks = measured(1000, 0);
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1100, 500, 0, 2), &at(1100)), None, "another boot");
        let other = SourceId::literal("b");
        assert_eq!(clocks.offset_us(&other, &reading(1100, 500, 0, 1), &at(1100)), None, "another source");
        let nameless = ClockReading { boot: [0; 16], ..reading(1100, 500, 0, 1) };
        clocks.measure(SOURCE, &nameless, &at(1100), Some(0));
        assert_eq!(clocks.offset_us(&SOURCE, &nameless, &at(1100)), None, "a boot without a name could be any");
        let senseless = ClockReading { monotonic_us: u64::MAX, ..reading(1100, 500, 0, 1) };
        clocks.measure(SOURCE, &senseless, &at(1100), Some(0));
        assert_eq!(clocks.offset_us(&SOURCE, &senseless, &at(1100)), None);
    }

    #[test]
    fn a_hello_that_came_late_is_improved_by_the_batches_behind_it() {
        let mut clocks = Clocks::default();
        clocks.measure(SOURCE, &reading(1000, 500, 0, 1), &at(1090), None);
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1000, 500, 0, 1), &at(1090)), Some(90 * SECOND));
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1091, 500, 0, 1), &at(1091)), Some(0));
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1000, 500, 0, 1), &at(1092)), Some(0));
        clocks.measure(SOURCE, &reading(1095, 500, 0, 1), &at(1150), Some(60_000_000));
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1120, 500, 0, 1), &at(1151)), Some(0), "a worse one is no news");
    }

    #[test]
    fn a_clock_that_stood_still_is_measured_again() {
        let mut clocks = measured(1000, 0);
        // An hour passes that the machine's monotonic clock does not see.
        clocks.measure(SOURCE, &reading(5000, 4100, 0, 1), &at(5000), Some(1_000_000));
        assert_eq!(clocks.offset_us(&SOURCE, &reading(5001, 4100, 0, 1), &at(5001)), Some(0));
    }

    #[test]
    fn clocks_that_drift_apart_are_followed_by_what_comes() {
        let mut clocks = measured(1000, 0);
        for hour in 1..1000_i64 {
            let second = 1000 + 3600 * hour;
            // The machine's clocks lose 50 µs a second.
            let late = 50 * 3600 * hour;
            let mut made = reading(second, 500, -late, 1);
            made.monotonic_us -= late as u64;
            let offset = clocks.offset_us(&SOURCE, &made, &at(second)).unwrap();
            assert!((offset - late).abs() < SECOND, "hour {hour}: {offset} and {late}");
        }
    }

    #[test]
    fn the_collectors_own_clock_may_be_set() {
        let mut clocks = measured(1000, -DAY);
        let set = ClockReading { wall: Timestamp::clamped(at(1100).wall.micros() + 3600 * SECOND), ..at(1100) };
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1100, 500, -DAY, 1), &set), Some(DAY + 3600 * SECOND));
    }

    #[test]
    fn the_newest_boots_of_a_source_are_kept() {
        let mut clocks = Clocks::default();
        for boot in 1..=100 {
            clocks.measure(SOURCE, &reading(1000, 500, 0, boot), &at(1000), Some(0));
        }
        assert_eq!(clocks.sources[&SOURCE].len(), BOOTS_MEASURED_MAX);
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1000, 500, 0, 100), &at(1000)), Some(0));
        assert_eq!(clocks.offset_us(&SOURCE, &reading(1000, 500, 0, 1), &at(1000)), None);
    }
}
