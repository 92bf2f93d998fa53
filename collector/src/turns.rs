//! Commits go first: whoever follows the log works in bursts, and gives way while something waits for its commit.
//!
//! The machine's cores are shared by the way of an event (sockets, writer, disk) and by those who read the log
//! afterwards. What comes in counts in [`Commits`] until it is on disk and answered. A follower asks for its next
//! [`Turns::next`] between two small pieces of work: after a burst it waits, in slices, as long as commits are pending,
//! but never longer than a fixed part of the time. So a breakdown does not queue behind a fold, and a fold goes on
//! however much comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{FOLLOWER_BURST, FOLLOWER_SLICE, FOLLOWER_WAIT_MAX};

/// How much waits for its commit. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Commits(Arc<AtomicUsize>);

/// Something that waits for its commit, until it is dropped.
#[derive(Debug)]
pub struct Pending(Commits);

impl Commits {
    /// One more, as long as the value lives.
    pub fn pending(&self) -> Pending {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pending(self.clone())
    }

    /// Whether there is anything.
    pub fn is_pending(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let before = self.0.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "nothing was pending that could end");
    }
}

/// The turns of one follower.
#[derive(Debug)]
pub struct Turns {
    commits: Commits,
    begun: Instant,
}

impl Turns {
    /// The first turn begins now.
    pub fn new(commits: Commits) -> Self {
        Self { commits, begun: Instant::now() }
    }

    /// Called between two pieces of work: returns at once within a burst and where nothing is pending, else a little
    /// later.
    pub fn next(&mut self) {
        if self.begun.elapsed() < FOLLOWER_BURST {
            return;
        }
        give_way(|| self.commits.is_pending(), std::thread::sleep);
        self.begun = Instant::now();
    }
}

/// Sleeps in slices while commits are pending, as long as a follower waits at most.
fn give_way(is_pending: impl Fn() -> bool, mut sleep: impl FnMut(Duration)) {
    let mut slices = FOLLOWER_WAIT_MAX.as_micros() / FOLLOWER_SLICE.as_micros();
    while slices > 0 && is_pending() {
        sleep(FOLLOWER_SLICE);
        slices -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_waits_while_commits_are_pending_and_not_a_slice_longer() {
        let slept = |pending_slices: usize| {
            let mut slices = Vec::new();
            let left = std::cell::Cell::new(pending_slices);
            give_way(
                || left.get() > 0,
                |slice| {
                    left.set(left.get() - 1);
                    slices.push(slice);
                },
            );
            slices
        };
        assert!(slept(0).is_empty(), "the control: nothing is pending");
        assert_eq!(slept(3), [FOLLOWER_SLICE; 3]);
        let longest: Duration = slept(usize::MAX).iter().sum();
        assert_eq!(longest, FOLLOWER_WAIT_MAX, "it cannot starve, however much comes in");
    }

    #[test]
    fn what_waits_counts_until_it_is_dropped_and_a_burst_is_not_interrupted() {
        let commits = Commits::default();
        let (first, second) = (commits.pending(), commits.clone().pending());
        drop(first);
        assert!(commits.is_pending());
        let mut turns = Turns::new(commits.clone());
        let begun = turns.begun;
        turns.next();
        assert_eq!(turns.begun, begun, "the burst goes on");
        turns.begun = begun.checked_sub(FOLLOWER_BURST).unwrap_or(begun);
        turns.next();
        assert!(turns.begun > begun, "a new one begins, after the wait");
        drop(second);
        assert!(!commits.is_pending());
    }
}
