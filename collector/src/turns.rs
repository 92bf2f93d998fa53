//! Commits go first: a follower of the log works in bursts, and waits while something waits for its commit.
//!
//! The machine's cores are shared by the way of an event (sockets, writer, disk) and by readers of the log. An incoming
//! event counts in [`Commits`] until it is on disk and answered. A follower calls [`Turns::wait`] between two small
//! pieces of work: the call yields the core, also for events that have not reached the writer yet. While commits are
//! pending the follower waits, in slices, and after a long enough wait it has a burst in which it does not wait. So a
//! breakdown does not queue behind a fold, and a fold progresses however much comes in.
//!
//! Followers whose number the operator chooses share their time, [`SharedTurns`]: many cost those who append no more than
//! one does.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    FOLLOWER_BURST, FOLLOWER_SLICE, FOLLOWER_WAIT_MAX, SHARED_TURN_BETWEEN, SHARED_TURN_REST, SHARED_TURN_REST_BETWEEN,
    SHARED_TURN_REST_MAX, SHARED_TURN_SLICE, SHARED_TURNS_CORES, SHARED_TURNS_MAX,
};

/// Number of items that wait for their commit, and when the last one was committed. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Commits(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    pending: AtomicUsize,
    made: Instant,
    /// When the last one of them was committed, in microseconds since `made`; 0 before that.
    settled_us: AtomicU64,
}

impl Default for Counted {
    fn default() -> Self {
        Self { pending: AtomicUsize::new(0), made: Instant::now(), settled_us: AtomicU64::new(0) }
    }
}

/// An item that waits for its commit, until this is dropped.
#[derive(Debug)]
pub struct Pending(Commits);

impl Commits {
    /// Counts one more item, as long as the value lives.
    pub fn pending(&self) -> Pending {
        self.0.pending.fetch_add(1, Ordering::Relaxed);
        Pending(self.clone())
    }

    /// Whether an item waits.
    pub fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Relaxed) > 0
    }

    /// Whether the last one was committed within the last `time`.
    fn were_pending_within(&self, time: Duration) -> bool {
        let settled = self.0.settled_us.load(Ordering::Relaxed);
        settled > 0 && self.0.made.elapsed() < Duration::from_micros(settled) + time
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let counted = &*self.0.0;
        let before = counted.pending.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "nothing was pending that could end");
        if before == 1 {
            let settled = u64::try_from(counted.made.elapsed().as_micros()).unwrap_or(u64::MAX);
            counted.settled_us.store(settled.max(1), Ordering::Relaxed);
        }
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

/// The turns of followers that share their time. Clones share it.
///
/// Only as many work at a time as leave cores for the way of an event, and in the order in which they asked. After a turn
/// all of them together rest, for a multiple of the processor time that it took: [`SHARED_TURN_REST`] while commits are
/// pending, and [`SHARED_TURN_REST_BETWEEN`] for a moment after that, when the next events are on their way.
#[derive(Clone, Debug)]
pub struct SharedTurns {
    commits: Commits,
    permits: Arc<Semaphore>,
    /// How many work at a time.
    width: u32,
    rests: Arc<Mutex<Rests>>,
}

/// When the next turn may begin although the log grows.
#[derive(Clone, Copy, Debug)]
struct Rests {
    /// While commits are pending.
    pending: Instant,
    /// Between two commits.
    between: Instant,
}

/// One turn, until this is dropped. It stays on its thread.
#[derive(Debug)]
pub struct Turn<'t> {
    turns: &'t SharedTurns,
    begun: Duration,
    _permit: OwnedSemaphorePermit,
}

impl SharedTurns {
    /// Turns of followers that share a machine of this many cores.
    pub fn new(commits: Commits, cores: usize) -> Self {
        let width = (cores / SHARED_TURNS_CORES).clamp(1, SHARED_TURNS_MAX);
        let now = Instant::now();
        let rests = Arc::new(Mutex::new(Rests { pending: now, between: now }));
        Self { commits, permits: Arc::new(Semaphore::new(width)), width: width as u32, rests }
    }

    /// Waits for a turn. Dropping the future gives the place in the queue up.
    pub async fn take(&self) -> Turn<'_> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("nobody closes it");
        while let Some(left) = self.until().map(|until| until.saturating_duration_since(Instant::now()))
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(SHARED_TURN_SLICE)).await;
        }
        Turn { turns: self, begun: thread_time(), _permit: permit }
    }

    /// How long all rest, as it is now.
    fn until(&self) -> Option<Instant> {
        let rests = self.rests();
        if self.commits.is_pending() {
            return Some(rests.pending);
        }
        self.commits.were_pending_within(SHARED_TURN_BETWEEN).then_some(rests.between)
    }

    fn rests(&self) -> Rests {
        *self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has all rest after a turn that took this much processor time.
    fn rest_after(&self, used: Duration) {
        let now = Instant::now();
        let until = |rest: Duration| now + rest.min(SHARED_TURN_REST_MAX);
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.pending = until(used * SHARED_TURN_REST).max(rests.pending);
        rests.between = until(used * SHARED_TURN_REST_BETWEEN / self.width).max(rests.between);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.rest_after(thread_time().saturating_sub(self.begun));
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("no time is negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shared_turns_rest_while_commits_are_pending_and_come_in_order() {
        let commits = Commits::default();
        let turns = SharedTurns::new(commits.clone(), 2);
        // The control: where nothing is pending nobody rests.
        turns.rest_after(Duration::from_millis(1));
        let free = Instant::now();
        drop(turns.take().await);
        assert!(free.elapsed() < SHARED_TURN_REST_MAX);
        let pending = commits.pending();
        turns.rest_after(Duration::from_millis(1));
        let until = turns.until().expect("commits are pending");
        let turn = turns.take().await;
        assert!(Instant::now() >= until, "it has rested");
        // One at a time on two cores, whoever asks.
        let others = turns.clone();
        let mut second = std::pin::pin!(others.take());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(turn);
        drop(pending);
        drop(second.await);
    }

    #[test]
    fn between_two_commits_the_rest_is_shorter_and_it_ends_with_the_load() {
        let commits = Commits::default();
        let turns = SharedTurns::new(commits.clone(), 2);
        turns.rest_after(Duration::from_millis(10));
        assert_eq!(turns.until(), None, "there was no load yet");
        let pending = commits.pending();
        assert_eq!(turns.until(), Some(turns.rests().pending));
        drop(pending);
        assert!(commits.were_pending_within(Duration::from_secs(3600)));
        let until = turns.until();
        // This thread may have been held up for longer than that.
        if commits.were_pending_within(SHARED_TURN_BETWEEN) {
            assert_eq!(until, Some(turns.rests().between));
        }
        let Rests { pending: long, between: short } = turns.rests();
        assert_eq!(long - short, Duration::from_millis(10) * (SHARED_TURN_REST - SHARED_TURN_REST_BETWEEN));
        std::thread::sleep(SHARED_TURN_BETWEEN);
        assert_eq!(turns.until(), None, "the load is over");
    }

    #[test]
    fn a_long_turn_is_rested_for_but_not_without_an_end() {
        let turns = SharedTurns::new(Commits::default(), 64);
        assert_eq!(turns.permits.available_permits(), 64 / SHARED_TURNS_CORES);
        assert_eq!(SharedTurns::new(Commits::default(), 1).permits.available_permits(), 1);
        turns.rest_after(Duration::from_secs(3600));
        assert!(turns.rests().pending <= Instant::now() + SHARED_TURN_REST_MAX);
    }

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
