//! What watches tasks and threads: a panic becomes a reason, and each restart waits longer than the one before.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::limits::RESTART_WAIT;

/// Runs `body`; its panic, in words, is the error.
pub fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| panic_text(&*panic))
}

/// Runs a task to its end; its panic, in words, is the error. What has panicked is not polled any more.
pub async fn caught_task<F: Future>(task: F) -> Result<F::Output, String> {
    let mut task = pin!(task);
    poll_fn(|context| match caught(|| task.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it has panicked ({}), which is a fault of this program", text.unwrap_or("for no known reason"))
}

/// How long what has ended waits for its next start: twice as long each time, and short again after a long run.
#[derive(Clone, Copy, Debug)]
pub struct RestartWait {
    next: Duration,
}

impl RestartWait {
    /// The wait after a first run.
    pub const fn new() -> Self {
        Self { next: RESTART_WAIT.0 }
    }

    /// The wait after a run that has lasted `ran`.
    pub fn after(&mut self, ran: Duration) -> Duration {
        let (least, most) = RESTART_WAIT;
        let wait = if ran >= most { least } else { self.next };
        assert!(wait >= least && wait <= most, "a restart waits {least:?} to {most:?}, and not {wait:?}");
        self.next = (wait * 2).min(most);
        wait
    }
}

impl Default for RestartWait {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_in_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let error = caught(|| -> u8 { panic!("out of {}", "range") }).unwrap_err();
        assert!(error.starts_with("it has panicked (out of range)"), "{error}");
    }

    #[test]
    fn a_panic_of_a_task_is_one_too() {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut poll = |task: bool| pin!(caught_task(async move { assert!(task, "in a task") })).poll(&mut context);
        assert_eq!(poll(true), Poll::Ready(Ok(())));
        let Poll::Ready(Err(error)) = poll(false) else { panic!("it must be over") };
        assert!(error.contains("in a task"), "{error}");
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_short_again_after_a_long_run() {
        let mut wait = RestartWait::new();
        let waits: Vec<_> = (0..8).map(|_| wait.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(wait.after(Duration::from_secs(60)).as_secs(), 1);
        assert_eq!(wait.after(Duration::from_secs(59)).as_secs(), 2);
    }
}
