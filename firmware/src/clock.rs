//! Ticks and UTC: a controller counts microseconds since its boot, and learns from its agent what time that is.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::clock_exchange::{ClockReply, write_request};
use afferent_protocol::ids::{SourceId, Timestamp};

use crate::limits::CLOCK_ROUND_TRIP_US_MAX;

/// The clock of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    boot: [u8; 16],
    /// UTC of tick 0, in microseconds, going round below 1970; `None` until a synchronised agent has answered.
    offset_us: Option<u64>,
    asked_us: Option<u64>,
}

impl Clock {
    /// A clock that does not know the time yet. `boot` names this boot.
    pub const fn new(boot: [u8; 16]) -> Self {
        Self { boot, offset_us: None, asked_us: None }
    }

    /// Writes the request to send now to the start of `out`; returns its length.
    pub fn ask(&mut self, tick_us: u64, source: &SourceId, out: &mut [u8]) -> Option<usize> {
        self.asked_us = Some(tick_us);
        write_request(&self.boot, tick_us, source, out)
    }

    /// Takes a reply, unless it is not to the last request, took too long, or comes of a clock that nothing
    /// keeps in time.
    pub fn reply(&mut self, tick_us: u64, reply: &ClockReply) {
        if reply.boot != self.boot || self.asked_us != Some(reply.tick_us) {
            return;
        }
        self.asked_us = None;
        let round_trip_us = tick_us.saturating_sub(reply.tick_us);
        if round_trip_us <= CLOCK_ROUND_TRIP_US_MAX && reply.synchronised {
            let middle_us = reply.tick_us.wrapping_add(round_trip_us / 2);
            self.offset_us = Some((reply.wall.micros() as u64).wrapping_sub(middle_us));
        }
    }

    /// The clock state of a batch that is sealed at this tick.
    pub fn reading(&self, tick_us: u64) -> ClockReading {
        let wall = tick(tick_us.wrapping_add(self.offset_us.unwrap_or(0)));
        ClockReading { wall, monotonic_us: tick_us, synchronised: self.offset_us.is_some(), boot: self.boot }
    }
}

/// The event time of a tick.
#[inline(never)]
pub const fn tick(tick_us: u64) -> Timestamp {
    Timestamp::clamped(tick_us as i64)
}

#[cfg(test)]
mod tests {
    use afferent_protocol::clock_exchange::ClockRequest;

    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    fn asked(tick_us: u64) -> (Clock, ClockReply) {
        let mut clock = Clock::new([3; 16]);
        let mut bytes = [0; 64];
        let len = clock.ask(tick_us, &SourceId::new("mill").unwrap(), &mut bytes).unwrap();
        let request = ClockRequest::decode(&bytes[..len]).unwrap();
        let wall = Timestamp::new(DAY_US).unwrap();
        (clock, ClockReply { boot: request.boot, tick_us: request.tick_us, synchronised: true, wall })
    }

    #[test]
    fn the_agents_time_counts_from_the_middle_of_the_round_trip() {
        let (mut clock, reply) = asked(1000);
        clock.reply(3000, &reply);
        let reading = clock.reading(2500);
        assert!(reading.synchronised);
        assert_eq!(reading.wall.micros(), DAY_US + 500);
    }

    #[test]
    fn replies_that_are_late_foreign_or_unsynchronised_change_nothing() {
        let (clock, reply) = asked(1000);
        for (tick_us, reply) in [
            (1001 + CLOCK_ROUND_TRIP_US_MAX, reply),
            (2000, ClockReply { boot: [4; 16], ..reply }),
            (2000, ClockReply { tick_us: 999, ..reply }),
            (2000, ClockReply { synchronised: false, ..reply }),
        ] {
            let mut clock = clock;
            clock.reply(tick_us, &reply);
            let reading = clock.reading(5000);
            assert_eq!((reading.synchronised, reading.wall.micros()), (false, 5000), "{reply:?}");
        }
    }
}
