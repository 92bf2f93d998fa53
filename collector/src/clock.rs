//! The machine's clocks, read where a time is needed and passed on as a value.

use std::path::Path;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Reads the clocks of this boot.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot: [u8; 16],
}

impl SystemClock {
    /// The clocks of the running boot. Where the kernel does not name its boot, the name is zeros.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: boot_bytes(&text).unwrap_or_default() }
    }

    /// What the clocks say now.
    pub fn read(&self) -> ClockReading {
        let wall = clock_gettime(ClockId::Realtime);
        let boot = clock_gettime(ClockId::Boottime);
        ClockReading {
            wall: Timestamp::clamped(wall.tv_sec.saturating_mul(1_000_000).saturating_add(wall.tv_nsec / 1000)),
            monotonic_us: boot.tv_sec.unsigned_abs() * 1_000_000 + boot.tv_nsec.unsigned_abs() / 1000,
            // The file that systemd-timesyncd keeps; where something else keeps the time, it says nothing.
            synchronised: Path::new("/run/systemd/timesync/synchronized").exists(),
            boot: self.boot,
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

fn boot_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u32> = text.trim().chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_read_as_its_sixteen_bytes() {
        let bytes = boot_bytes("01020304-0506-0708-090a-0b0c0d0e0fff\n").unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
        assert_eq!(boot_bytes("no boot id"), None);
    }

    #[test]
    fn time_since_boot_only_goes_forward() {
        let clock = SystemClock::new();
        let (first, second) = (clock.read(), clock.read());
        assert!(second.monotonic_us >= first.monotonic_us);
        assert!(first.wall.micros() > 0);
    }
}
