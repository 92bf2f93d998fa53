//! Commits go first: a follower of the log works in bursts, and waits while something waits for its commit.
//!
//! The machine's cores are shared by the way of an event (sockets, writer, disk) and by readers of the log. An incoming
//! event counts in [`Commits`] until it is on disk and answered. A follower calls [`Turns::wait`] between two small
//! pieces of work: the call yields the core, also for events that have not reached the writer yet. While commits are
//! pending the follower waits, in slices, and after a long enough wait it has a burst in which it does not wait. So a
//! breakdown does not queue behind a fold, and a fold progresses however much comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{FOLLOWER_BURST, FOLLOWER_SLICE, FOLLOWER_WAIT_MAX};

/// Number of items that wait for their commit. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Commits(Arc<AtomicUsize>);

/// An item that waits for its commit, until this is dropped.
#[derive(Debug)]
pub struct Pending(Commits);

impl Commits {
    /// Counts one more item, as long as the value lives.
    pub fn pending(&self) -> Pending {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pending(self.clone())
    }

    /// Whether an item waits.
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
    /// Time that it has waited since its last burst.
    waited: Duration,
    /// The end of its burst, during which it does not wait.
    burst_until: Option<Instant>,
}

impl Turns {
    /// A follower that works until something is pending.
    pub fn new(commits: Commits) -> Self {
        Self { commits, waited: Duration::ZERO, burst_until: None }
    }

    /// Call it between two pieces of work. It returns at once where nothing is pending and within a burst, else a
    /// little later.
    pub fn wait(&mut self) {
        if self.burst_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        std::thread::yield_now();
        self.burst_until = self.wait_for_commits(std::thread::sleep).then(|| Instant::now() + FOLLOWER_BURST);
    }

    /// Sleeps in slices while commits are pending; returns whether it has waited long enough for a burst.
    fn wait_for_commits(&mut self, mut sleep: impl FnMut(Duration)) -> bool {
        while self.commits.is_pending() {
            if self.waited >= FOLLOWER_WAIT_MAX {
                self.waited = Duration::ZERO;
                return true;
            }
            sleep(FOLLOWER_SLICE);
            self.waited += FOLLOWER_SLICE;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_waits_while_commits_are_pending_and_not_a_slice_longer() {
        let commits = Commits::default();
        let mut turns = Turns::new(commits.clone());
        let mut pending = Some(commits.pending());
        assert!(!Turns::new(Commits::default()).wait_for_commits(|_| panic!("the control: nothing is pending")));
        let mut slept = 0;
        let is_owed = turns.wait_for_commits(|slice| {
            assert_eq!(slice, FOLLOWER_SLICE);
            slept += 1;
            if slept == 3 {
                pending = None;
            }
        });
        assert_eq!((slept, is_owed), (3, false));
    }

    #[test]
    fn it_cannot_starve_however_much_comes_in_and_however_short_the_gaps_are() {
        for pending_slices in [1, 3, u32::MAX] {
            let commits = Commits::default();
            let mut turns = Turns::new(commits.clone());
            let mut slept = 0;
            // Each break lets it do no more than one piece.
            loop {
                let mut pending = Some(commits.pending());
                let mut left = pending_slices;
                let is_owed = turns.wait_for_commits(|_| {
                    slept += 1;
                    left -= 1;
                    if left == 0 {
                        pending = None;
                    }
                });
                if is_owed {
                    break;
                }
            }
            assert_eq!(FOLLOWER_SLICE * slept, FOLLOWER_WAIT_MAX, "gaps of {pending_slices} slices");
        }
    }

    #[test]
    fn a_pending_item_counts_until_it_is_dropped_and_a_burst_is_not_interrupted() {
        let commits = Commits::default();
        let (first, second) = (commits.pending(), commits.clone().pending());
        drop(first);
        assert!(commits.is_pending());
        let mut turns = Turns::new(commits.clone());
        turns.wait();
        let burst = turns.burst_until;
        assert!(burst.is_some(), "it has waited long enough");
        turns.wait();
        assert!(turns.burst_until == burst && turns.waited.is_zero(), "the burst goes on");
        turns.burst_until = Instant::now().checked_sub(FOLLOWER_SLICE);
        turns.wait();
        assert!(turns.burst_until > burst, "and waits again after it");
        drop(second);
        turns.burst_until = None;
        turns.wait();
        assert!(!commits.is_pending() && turns.burst_until.is_none(), "nobody is there to give way to");
    }
}
