//! A device's ticks (microseconds since its boot) as UTC.

use std::collections::VecDeque;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::clock_exchange::ClockRequest;
use afferent_protocol::event::ClockStep;
use afferent_protocol::ids::Timestamp;
use afferent_protocol::limits::TIME_MAX;

use crate::limits::{DEVICE_BOOTS_MAX, DEVICE_CLOCK_STEP_US_MIN};

/// A device's tick, and when it came.
#[derive(Clone, Copy, Debug)]
struct Mark {
    boot: [u8; 16],
    tick_us: i64,
    arrived: ClockReading,
}

impl Mark {
    fn offset(&self) -> i64 {
        self.arrived.wall.micros().saturating_sub(self.tick_us)
    }
}

/// What is known of the clock of the device on one port.
#[derive(Debug, Default)]
pub struct DeviceClock(VecDeque<Mark>);

impl DeviceClock {
    /// Takes a request; returns a step when the device's clock has gone otherwise than the agent's since the one
    /// before.
    pub fn asked(&mut self, request: &ClockRequest, arrived: &ClockReading) -> Option<ClockStep> {
        let tick_us = i64::try_from(request.tick_us).unwrap_or(i64::MAX);
        let new = Mark { boot: request.boot, tick_us, arrived: *arrived };
        let before = self.0.iter().position(|mark| mark.boot == request.boot).and_then(|at| self.0.remove(at));
        self.0.push_back(new);
        if self.0.len() > DEVICE_BOOTS_MAX {
            self.0.pop_front();
        }
        before.and_then(|before| step(&before, &new))
    }

    /// UTC of tick 0 for a batch with this clock, in microseconds: as the device knows it, as its boot's last request
    /// states, or as if the batch had been sealed on its arrival.
    ///
    /// Every tick from 0 to `tick_last` is then a time in range, so that the mapping never loses ticks.
    pub fn offset_us(&self, batch: &ClockReading, tick_last: Timestamp, arrived: &ClockReading) -> i64 {
        let monotonic_us = i64::try_from(batch.monotonic_us).unwrap_or(i64::MAX);
        let offset_us = match self.0.iter().find(|mark| mark.boot == batch.boot) {
            _ if batch.synchronised => batch.wall.micros().saturating_sub(monotonic_us),
            Some(mark) => mark.offset(),
            None => arrived.wall.micros().saturating_sub(monotonic_us),
        };
        offset_us.clamp(0, TIME_MAX - tick_last.micros())
    }
}

fn step(before: &Mark, now: &Mark) -> Option<ClockStep> {
    let passed = now.arrived.monotonic_us.saturating_sub(before.arrived.monotonic_us);
    let expected = before.tick_us.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
    let off = now.tick_us.saturating_sub(expected);
    let shown = |tick: i64| Timestamp::clamped(before.offset().saturating_add(tick));
    (off.unsigned_abs() >= DEVICE_CLOCK_STEP_US_MIN)
        .then(|| ClockStep { before: shown(expected), after: shown(now.tick_us) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use afferent_protocol::ids::SourceId;

    fn reading(wall: i64, monotonic_us: u64, boot: u8, synchronised: bool) -> ClockReading {
        ClockReading { wall: Timestamp::clamped(wall), monotonic_us, synchronised, boot: [boot; 16] }
    }

    fn tick(micros: i64) -> Timestamp {
        Timestamp::new(micros).unwrap()
    }

    fn request(boot: u8, tick_us: u64) -> ClockRequest {
        ClockRequest { boot: [boot; 16], tick_us, source: SourceId::new("spindle-1").unwrap() }
    }

    #[test]
    fn a_batch_that_knows_utc_is_believed() {
        let clock = DeviceClock::default();
        let batch = reading(5_000_000_000, 7_000, 1, true);
        assert_eq!(clock.offset_us(&batch, tick(6_000), &reading(9, 9, 9, true)), 4_999_993_000);
    }

    #[test]
    fn a_batch_that_does_not_is_mapped_by_its_boots_request_or_counts_as_sealed_on_its_arrival() {
        let mut clock = DeviceClock::default();
        assert_eq!(clock.asked(&request(1, 1_000), &reading(8_000_000, 50, 0, false)), None);
        let arrived = reading(9_000_000, 60, 0, false);
        assert_eq!(clock.offset_us(&reading(3_000, 3_000, 1, false), tick(2_000), &arrived), 7_999_000);
        assert_eq!(clock.offset_us(&reading(3_000, 3_000, 2, false), tick(2_000), &arrived), 8_997_000);
    }

    #[test]
    fn no_tick_becomes_a_time_that_cannot_be_told() {
        let clock = DeviceClock::default();
        // The agent's machine believes that it is 1970, or the device that it is 9999.
        let batch = reading(0, 60_000_000, 1, false);
        assert_eq!(clock.offset_us(&batch, tick(60_000_000), &reading(1, 0, 0, false)), 0);
        let batch = reading(TIME_MAX, 5, 1, true);
        assert_eq!(clock.offset_us(&batch, tick(7), &reading(1, 0, 0, false)), TIME_MAX - 7);
    }

    #[test]
    fn a_device_whose_clock_jumps_has_a_step_and_one_that_goes_evenly_has_none() {
        let mut clock = DeviceClock::default();
        assert_eq!(clock.asked(&request(1, 0), &reading(100_000_000, 0, 0, false)), None);
        assert_eq!(clock.asked(&request(1, 60_000_000), &reading(160_500_000, 60_500_000, 0, false)), None);
        let step = clock.asked(&request(1, 80_000_000), &reading(170_500_000, 70_500_000, 0, false)).unwrap();
        assert_eq!((step.before.micros(), step.after.micros()), (170_500_000, 180_500_000));
        assert_eq!(clock.asked(&request(2, 0), &reading(170_500_001, 70_500_001, 0, false)), None, "a new boot");
    }
}
