//! The required speed of a body: a client may be slow, but must not stop.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{HTTP_BODY_BYTES_PER_S_MIN, HTTP_BODY_STALL_TIME};

/// The pace at which a body arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyPace {
    begun: Instant,
    progress: Instant,
    bytes: u64,
}

impl BodyPace {
    /// A body begins.
    pub fn new(now: Instant) -> Self {
        Self { begun: now, progress: now, bytes: 0 }
    }

    /// Bytes have come.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        (self.bytes, self.progress) = (self.bytes + bytes as u64, now);
    }

    /// The client was kept waiting since `from`, which does not count against it.
    pub fn waited(&mut self, from: Instant, now: Instant) {
        let waited = now.saturating_duration_since(from);
        (self.begun, self.progress) = (self.begun + waited, now);
    }

    /// When the next bytes must have come: soon after the last ones, and fast enough from the beginning on.
    pub fn deadline(&self) -> Instant {
        let at_least = Duration::from_millis(self.bytes.saturating_mul(1000) / HTTP_BODY_BYTES_PER_S_MIN);
        (self.progress + HTTP_BODY_STALL_TIME).min(self.begun + HTTP_BODY_STALL_TIME + at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many of `seconds` a body lives that sends so many bytes every so many seconds.
    fn lives(bytes: usize, every_s: u64, seconds: u64) -> u64 {
        let begun = Instant::now();
        let mut pace = BodyPace::new(begun);
        for second in (every_s..=seconds).step_by(every_s as usize) {
            let now = begun + Duration::from_secs(second);
            if pace.deadline() < now {
                return second;
            }
            pace.received(bytes, now);
        }
        seconds
    }

    #[test]
    fn a_slow_client_is_waited_for_and_one_that_has_stopped_or_drips_is_not() {
        assert_eq!(lives(1024, 1, 3600), 3600, "a line of 9600 baud");
        assert_eq!(lives(8 * 1024, 8, 3600), 3600, "the same, in bursts");
        assert_eq!(lives(0, 1, 3600), 1 + HTTP_BODY_STALL_TIME.as_secs(), "a body that never comes");
        let drip = lives(1, 1, 3600);
        assert!(
            drip < 2 * HTTP_BODY_STALL_TIME.as_secs(),
            "one byte a second: {drip} s, for hours by a bound of silence"
        );
    }

    #[test]
    fn a_client_that_was_kept_waiting_does_not_count_as_slow() {
        let begun = Instant::now();
        let mut pace = BodyPace::new(begun);
        let (from, now) = (begun + Duration::from_secs(1), begun + Duration::from_secs(100));
        assert!(pace.deadline() < now, "the control");
        pace.waited(from, now);
        assert!(pace.deadline() > now);
    }
}
