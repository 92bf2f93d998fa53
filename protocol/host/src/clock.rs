//! The machine's clocks, read where a time is needed and passed on as a value.

use std::path::Path;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::hex;
use crate::limits::{CLOCK_READ_US_MAX, CLOCK_READS_MAX};

/// The wall clock.
pub fn wall() -> Timestamp {
    let time = clock_gettime(ClockId::Realtime);
    Timestamp::clamped(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000))
}

/// Reads the clocks of the running boot.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot: [u8; 16],
}

impl SystemClock {
    /// Reads the boot's id; all zeros where the kernel does not give it.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: boot_bytes(&text).unwrap_or_default() }
    }

    /// All that a batch holds of its source's clocks.
    pub fn read(&self) -> ClockReading {
        let mut monotonic_us = monotonic_us();
        let mut wall = wall();
        // Being put aside between the two clocks would look like a step: read again when that took long.
        for _ in 1..CLOCK_READS_MAX {
            let after = self::monotonic_us();
            if after - monotonic_us < CLOCK_READ_US_MAX {
                break;
            }
            monotonic_us = after;
            wall = self::wall();
        }
        ClockReading { wall, monotonic_us, synchronised: is_synchronised(), boot: self.boot }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether something keeps the wall clock in time.
///
/// The kernel's own flag (`adjtimex`) cannot be read without `unsafe`; systemd-timesyncd, and its replacements,
/// leave a file instead. Where it is missing the answer is no, which promises nothing.
fn is_synchronised() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// Microseconds since boot, sleep included.
fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1_000
}

/// The sixteen bytes of a UUID in text.
fn boot_bytes(text: &str) -> Option<[u8; 16]> {
    hex::decode_array(&text.trim().replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_read_as_its_sixteen_bytes() {
        let bytes = boot_bytes("01020304-0506-0708-090a-0b0c0d0e0fff\n").unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
        assert_eq!(boot_bytes("no boot id"), None);
        assert_eq!(boot_bytes("0123"), None);
        assert_eq!(boot_bytes(&"é".repeat(16)), None);
    }

    #[test]
    fn time_since_boot_only_goes_forward() {
        let clock = SystemClock::new();
        let (first, second) = (clock.read(), clock.read());
        assert!(second.monotonic_us >= first.monotonic_us);
        assert!(first.wall.micros() > 1_700_000_000_000_000);
    }
}
