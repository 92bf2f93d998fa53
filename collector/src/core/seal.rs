//! What of the log is not yet bound by a seal.
//!
//! A seal is an event of the collector, signed like all of its events: a hash over all batches of a stretch of the log.
//! Lanes are chained one by one; the seal binds them to each other and to their offsets, so that not even the last batch
//! of a lane that has ended can be taken out unseen. Stretches lie end to end.

use afferent_protocol::ids::Offset;
use afferent_protocol::sign::Stretch;

use super::Notice;
use crate::limits::{SEAL_AFTER_US, SEAL_BATCHES_MAX};
use crate::sources::{Found, Logged};

/// The stretch that the next seal is to bind.
#[derive(Debug)]
pub(super) struct Unsealed {
    first: Offset,
    end: Offset,
    stretch: Stretch,
    batches: u64,
    /// When its first batch other than a seal was made durable, in µs of the monotonic clock.
    since_us: Option<u64>,
    /// Appended, and not yet on disk.
    recent: Vec<Logged>,
}

impl Unsealed {
    /// Over what was found in the log behind its last seal.
    pub fn new(found: Found, monotonic_us: u64) -> Self {
        let first = found.first();
        let (stretch, recent) = (Stretch::default(), found.into_batches());
        let mut unsealed = Self { first, end: first, stretch, batches: 0, since_us: None, recent };
        unsealed.settle(monotonic_us);
        unsealed
    }

    /// Everything before this offset is bound by seals.
    pub fn begin(&self) -> Offset {
        if self.batches == 0 { self.end } else { self.first }
    }

    /// A batch was appended.
    pub fn push(&mut self, logged: Logged) {
        self.recent.push(logged);
    }

    /// All of it is on disk.
    pub fn settle(&mut self, monotonic_us: u64) {
        for Logged { first, end, chain, is_seal } in self.recent.drain(..) {
            if self.batches == 0 {
                self.first = first;
            }
            self.stretch.push(first, &chain);
            self.end = end;
            self.batches += 1;
            if !is_seal {
                self.since_us.get_or_insert(monotonic_us);
            }
        }
    }

    /// Nothing since the last commit counts.
    pub fn roll_back(&mut self) {
        self.recent.clear();
    }

    /// The seal of what is on disk, when it is time for one; the next stretch begins then.
    pub fn due(&mut self, monotonic_us: u64, is_ending: bool) -> Option<Notice> {
        let since_us = self.since_us?;
        let is_due = is_ending
            || self.batches >= SEAL_BATCHES_MAX as u64
            || monotonic_us.saturating_sub(since_us) >= SEAL_AFTER_US;
        if !is_due {
            return None;
        }
        let seal = Notice::Sealed { first: self.first, end: self.end, hash: self.stretch.hash() };
        (self.stretch, self.batches, self.since_us) = (Stretch::default(), 0, None);
        Some(seal)
    }
}
