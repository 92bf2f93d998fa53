//! Waits between tries: they double up to a limit, with jitter, so that many forwards do not come back at once.

use std::time::Duration;

use crate::jitter::jittered;
use crate::limits::{FORWARD_RETRY, FORWARD_RETRY_AFTER_MAX};

/// The waits of one forward.
#[derive(Debug)]
pub(super) struct Retry {
    next: Duration,
}

impl Retry {
    pub fn new() -> Self {
        Self { next: FORWARD_RETRY.0 }
    }

    /// The last try succeeded.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The wait after one more failure: from half of the current one up to all of it; not before the time that the
    /// destination asks for, as far as that is reasonable.
    pub fn after(&mut self, asked: Option<Duration>) -> Duration {
        self.after_with(asked, jittered)
    }

    fn after_with(&mut self, asked: Option<Duration>, jittered: impl FnOnce(Duration) -> Duration) -> Duration {
        let wait = jittered(self.next);
        self.next = (2 * self.next).min(FORWARD_RETRY.1);
        wait.max(asked.unwrap_or_default().min(FORWARD_RETRY_AFTER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew_after_a_success() {
        let mut retry = Retry::new();
        let waits: Vec<Duration> = (0..20).map(|_| retry.after_with(None, |wait| wait)).collect();
        assert_eq!(waits[..3], [1, 2, 4].map(|times| times * FORWARD_RETRY.0));
        assert_eq!(waits[19], FORWARD_RETRY.1);
        retry.reset();
        assert_eq!(retry.after_with(None, |wait| wait), FORWARD_RETRY.0);
    }

    #[test]
    fn the_time_that_a_destination_asks_for_is_waited_for_within_reason() {
        let mut retry = Retry::new();
        assert_eq!(retry.after_with(Some(Duration::from_secs(77)), |wait| wait), Duration::from_secs(77));
        assert_eq!(retry.after_with(Some(Duration::from_secs(1 << 40)), |wait| wait), FORWARD_RETRY_AFTER_MAX);
    }
}
