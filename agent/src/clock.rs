//! The machine's clocks, and whether one of them was set.

use afferent_host::clock;
pub use afferent_host::clock::SystemClock;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::ClockStep;
use afferent_protocol::ids::Timestamp;

use crate::limits::CLOCK_STEP_US_MIN;

/// Reads the clocks of this machine.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock alone, for events that come without a time.
    fn wall(&self) -> Timestamp;
    /// The clock fields of a batch.
    fn read(&self) -> ClockReading;
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        clock::wall()
    }

    fn read(&self) -> ClockReading {
        Self::read(self)
    }
}

/// Whether the wall clock was set between two readings of one boot: it went on by something else than the monotonic
/// clock, by [`CLOCK_STEP_US_MIN`] or more. Look often: slewing (0.5 ms a second) adds up over a long time.
pub fn step_between(earlier: &ClockReading, later: &ClockReading) -> Option<ClockStep> {
    if earlier.boot != later.boot {
        return None;
    }
    let passed = i64::try_from(later.monotonic_us.checked_sub(earlier.monotonic_us)?).ok()?;
    let expected = earlier.wall.micros().saturating_add(passed);
    let off = later.wall.micros().abs_diff(expected);
    (off >= CLOCK_STEP_US_MIN).then(|| ClockStep { before: Timestamp::clamped(expected), after: later.wall })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: i64, monotonic_us: u64, boot: u8) -> ClockReading {
        ClockReading { wall: Timestamp::clamped(wall), monotonic_us, synchronised: false, boot: [boot; 16] }
    }

    #[test]
    fn a_clock_that_runs_evenly_has_no_step() {
        assert_eq!(step_between(&reading(1_000, 5, 1), &reading(61_000_000, 61_000_000, 1)), None);
    }

    #[test]
    fn a_clock_that_was_set_has_one_in_either_direction() {
        let earlier = reading(1_000_000_000, 0, 1);
        for by in [-900_000_000_i64, -100_000, 100_000, 900_000_000] {
            let step = step_between(&earlier, &reading(1_000_000_000 + 5_000 + by, 5_000, 1)).unwrap();
            assert_eq!(step.before.micros(), 1_000_005_000);
            assert_eq!(step.after.micros(), 1_000_005_000 + by);
        }
    }

    #[test]
    fn readings_of_two_boots_cannot_be_compared() {
        assert_eq!(step_between(&reading(0, 500, 1), &reading(1_000_000_000, 5, 2)), None);
        assert_eq!(step_between(&reading(0, 500, 1), &reading(1_000_000_000, 5, 1)), None);
    }
}
