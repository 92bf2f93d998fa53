//! The machine's clocks, and whether one of them was set.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::ClockStep;
use afferent_protocol::ids::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::limits::CLOCK_STEP_US_MIN;

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock alone, for events that come without a time.
    fn wall(&self) -> Timestamp;
    /// All that a batch says about its source's clocks.
    fn read(&self) -> ClockReading;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    boot: [u8; 16],
    synchronised: Mutex<Option<(Instant, bool)>>,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemClock {
    /// Reads the boot id; all zeros where the kernel does not tell it.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self { boot: boot.and_then(|text| parse_boot_id(&text)).unwrap_or_default(), synchronised: Mutex::new(None) }
    }

    /// Whether something keeps the wall clock in time, asked for at most every ten seconds.
    ///
    /// The kernel's own flag (`adjtimex`) cannot be read without `unsafe`; systemd-timesyncd, and what stands in for it,
    /// leave a file instead. Where it is missing the answer is no, which promises nothing.
    fn synchronised(&self) -> bool {
        let mut known = self.synchronised.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *known {
            Some((asked, answer)) if asked.elapsed() < Duration::from_secs(10) => answer,
            _ => {
                let answer = Path::new("/run/systemd/timesync/synchronized").exists();
                *known = Some((Instant::now(), answer));
                answer
            }
        }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp::clamped(i64::try_from(since).unwrap_or(i64::MAX))
    }

    fn read(&self) -> ClockReading {
        let synchronised = self.synchronised();
        let mut monotonic_us = monotonic_us();
        let mut wall = self.wall();
        // Being put aside between the two clocks would look like a step: read again when that took long.
        for _ in 0..3 {
            let after = self::monotonic_us();
            if after - monotonic_us < 1_000 {
                break;
            }
            monotonic_us = after;
            wall = self.wall();
        }
        ClockReading { wall, monotonic_us, synchronised, boot: self.boot }
    }
}

/// Microseconds since boot, sleep included.
fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1_000
}

/// The sixteen bytes of a UUID in text.
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
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

    #[test]
    fn boot_ids_are_uuids() {
        let id = parse_boot_id("0123abcd-0000-1111-2222-3333444455ff\n").unwrap();
        assert_eq!((id[0], id[1], id[15]), (0x01, 0x23, 0xff));
        assert_eq!(parse_boot_id("0123"), None);
        assert_eq!(parse_boot_id(&"é".repeat(16)), None);
    }

    #[test]
    fn this_machine_has_a_clock() {
        let clock = SystemClock::new();
        let (earlier, later) = (clock.read(), clock.read());
        assert!(earlier.wall.micros() > 1_700_000_000_000_000 && later.monotonic_us >= earlier.monotonic_us);
    }
}
