//! How long to wait before the next attempt.

use std::time::Duration;

use crate::limits::{RECONNECT_WAIT_MS_MAX, RECONNECT_WAIT_MS_MIN, TAKEN_OVER_S};

/// Doubles up to half a minute, with as much chance again, and never ends: after a site-wide outage hundreds of agents
/// must not come back in the same moment.
#[derive(Debug)]
pub struct Backoff {
    next_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// At its shortest.
    pub const fn new() -> Self {
        Self { next_ms: RECONNECT_WAIT_MS_MIN }
    }

    /// The next pause: between half of the step and the whole.
    pub fn pause(&mut self) -> Duration {
        let step_ms = self.next_ms;
        self.next_ms = (step_ms * 2).min(RECONNECT_WAIT_MS_MAX);
        Duration::from_millis(step_ms / 2 + part_of(step_ms / 2))
    }

    /// At its shortest again.
    pub fn reset(&mut self) {
        self.next_ms = RECONNECT_WAIT_MS_MIN;
    }
}

/// The pause after a second connection has taken over the session: some minutes, so that the two do not alternate.
pub fn taken_over() -> Duration {
    Duration::from_millis(TAKEN_OVER_S * 1000 + part_of(TAKEN_OVER_S * 1000))
}

/// A random part of the pause.
fn part_of(whole_ms: u64) -> u64 {
    let chance = getrandom::u32().unwrap_or(u32::MAX / 2);
    whole_ms * u64::from(chance) / u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_start_over_after_success() {
        let mut backoff = Backoff::new();
        let longest = (0..20).map(|_| backoff.pause()).max().unwrap();
        assert!(
            longest >= Duration::from_millis(RECONNECT_WAIT_MS_MAX / 2)
                && longest <= Duration::from_millis(RECONNECT_WAIT_MS_MAX)
        );
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(RECONNECT_WAIT_MS_MIN));
    }
}
