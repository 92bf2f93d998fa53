//! How many producers may be connected, and whose slot a newcomer gets when there are too many.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{PRODUCER_IDLE_MS, PRODUCER_MUTE_MS};

/// How many connections there may be at once, on all listeners that share it.
#[derive(Debug, Default)]
pub struct Slots {
    seats: Mutex<Vec<Arc<Seat>>>,
    max: AtomicUsize,
}

/// One connection, as the others see it.
#[derive(Debug)]
struct Seat {
    came: Instant,
    /// Milliseconds after it came.
    heard_ms: AtomicU64,
    has_spoken: AtomicBool,
    leave: Notify,
}

/// A producer's slot; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    seat: Arc<Seat>,
    slots: Arc<Slots>,
}

impl Slots {
    /// A limit of `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { seats: Mutex::default(), max: AtomicUsize::new(max) })
    }

    /// Changes the limit; connections beyond it stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// The limit as it is now.
    pub(super) fn max(&self) -> usize {
        self.max.load(Relaxed)
    }

    /// Takes a free slot, or that of the connection that has been silent longest, if that is long enough.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let now = Instant::now();
        let mut seats = self.seats();
        if seats.len() >= self.max() {
            let (at, seat) = seats.iter().enumerate().max_by_key(|(_, seat)| seat.overdue(now))?;
            seat.overdue(now)?;
            seat.leave.notify_one();
            seats.swap_remove(at);
        }
        let (heard_ms, has_spoken) = (AtomicU64::new(0), AtomicBool::new(false));
        let seat = Arc::new(Seat { came: now, heard_ms, has_spoken, leave: Notify::new() });
        seats.push(Arc::clone(&seat));
        drop(seats);
        Some(Slot { seat, slots: Arc::clone(self) })
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.came).saturating_sub(Duration::from_millis(self.heard_ms.load(Relaxed)))
    }

    /// How much longer it has been silent than allowed while others wait. A producer that has sent nothing yet is
    /// allowed less.
    fn overdue(&self, now: Instant) -> Option<Duration> {
        let may_ms = if self.has_spoken.load(Relaxed) { PRODUCER_IDLE_MS } else { PRODUCER_MUTE_MS };
        self.silent(now).checked_sub(Duration::from_millis(may_ms))
    }
}

impl Slot {
    /// The producer has sent something.
    pub(super) fn heard(&self) {
        let ms = u64::try_from(self.seat.came.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.seat.heard_ms.store(ms, Relaxed);
        self.seat.has_spoken.store(true, Relaxed);
    }

    /// Waits until the slot is given to a newcomer; returns how long the producer was silent.
    pub(super) async fn lost(&self) -> Duration {
        self.seat.leave.notified().await;
        self.seat.silent(Instant::now())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_gets_the_place_of_who_was_silent_longest_and_of_nobody_who_works() {
        let slots = Slots::new(3);
        let [mute, idle, busy] = [(); 3].map(|()| slots.take().unwrap());
        idle.heard();
        busy.heard();
        assert!(slots.take().is_none(), "all have just come");
        tokio::time::advance(Duration::from_millis(PRODUCER_MUTE_MS)).await;
        busy.heard();
        let newcomer = slots.take().expect("one has never said a word");
        assert_eq!(mute.lost().await, Duration::from_millis(PRODUCER_MUTE_MS));
        newcomer.heard();
        // The control: a slot that was given away is not free again when who had it goes.
        drop(mute);
        assert!(slots.take().is_none());
        tokio::time::advance(Duration::from_millis(PRODUCER_IDLE_MS - 1)).await;
        busy.heard();
        newcomer.heard();
        let second = slots.take().expect("one was silent for long");
        idle.lost().await;
        assert!(slots.take().is_none(), "the others were not");
        drop((second, busy));
        assert!(slots.take().is_some());
    }
}
