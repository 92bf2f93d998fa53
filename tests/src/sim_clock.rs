//! The clocks of one machine: a wall clock that steps and drifts, and a monotonic one that only a boot sets back.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::Timestamp;

use crate::rng::Rng;

/// Where wall clocks begin: 2026-01-01, in microseconds since the Unix epoch.
const WALL_START: i64 = 1_767_225_600_000_000;
/// Ten years of microseconds.
const TEN_YEARS: u64 = 3653 * 86_400 * 1_000_000;

/// The clocks of one machine. Simulated time goes in, what the machine believes comes out.
#[derive(Clone, Debug)]
pub struct SimClock {
    wall_ahead: i64,
    drift_ppm: i64,
    booted_at_us: u64,
    boot: [u8; 16],
    synchronised: bool,
}

impl SimClock {
    /// Clocks of a machine that boots now, which drift by up to 500 ppm when `drifts`.
    pub fn new(now_us: u64, drifts: bool, rng: &mut Rng) -> Self {
        let drift_ppm = if drifts { rng.below(1001) as i64 - 500 } else { 0 };
        Self { wall_ahead: 0, drift_ppm, booted_at_us: now_us, boot: rng.bytes(), synchronised: rng.coin() }
    }

    /// What the clocks say.
    pub fn reading(&self, now_us: u64) -> ClockReading {
        let up_us = now_us - self.booted_at_us;
        let drift = up_us as i64 * self.drift_ppm / 1_000_000;
        ClockReading {
            wall: Timestamp::clamped(WALL_START + now_us as i64 + drift + self.wall_ahead),
            monotonic_us: up_us.saturating_add_signed(drift),
            synchronised: self.synchronised,
            boot: self.boot,
        }
    }

    /// Somebody sets the wall clock, by up to ten years forwards or backwards; gives by how much.
    pub fn step(&mut self, rng: &mut Rng) -> i64 {
        let step = rng.below(2 * TEN_YEARS) as i64 - TEN_YEARS as i64;
        self.wall_ahead += step;
        self.synchronised = rng.coin();
        step
    }

    /// The machine boots.
    pub fn reboot(&mut self, now_us: u64, rng: &mut Rng) {
        self.booted_at_us = now_us;
        self.boot = rng.bytes();
    }
}
