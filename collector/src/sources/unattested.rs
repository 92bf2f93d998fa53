//! The entries that no attestation binds yet, and the running hash up to them.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::sign::Running;

use crate::limits::ATTEST_BATCHES_MAX;
use crate::log::ReadLog;
use crate::log::events::{Walk, WalkItem};

/// An entry of the log, as attestations bind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    pub first: Offset,
    pub stamp: Timestamp,
    pub count: u32,
    pub chain: ChainHash,
    /// The measured offset of the batch's clock.
    pub clock_offset_us: Option<i64>,
}

impl Entered {
    /// The entry with this head.
    pub fn of(head: &EntryHead, batch: &Batch<'_>) -> Self {
        let (first, chain) = (Offset::new(head.ordinal), batch.chain_hash());
        Self { first, stamp: head.stamp, count: head.count, chain, clock_offset_us: head.clock_offset_us() }
    }

    /// Its exclusive end.
    pub fn end(&self) -> Offset {
        Offset::new(self.first.get() + u64::from(self.count))
    }

    /// Adds it to a running hash.
    pub fn push_to(&self, running: &mut Running) {
        running.push(self.first, self.stamp, self.count, &self.chain, self.clock_offset_us);
    }
}

/// The entries behind the log's newest attestation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unattested {
    /// The hash of everything before `recent`, where it ends, and when the entry that ends there was appended.
    pub running: Running,
    pub end: Offset,
    pub stamp: Timestamp,
    /// Entries behind that, in order.
    pub recent: VecDeque<Entered>,
    /// The newest attestation.
    pub newest: Option<[u8; ATTESTATION_LEN]>,
}

impl Unattested {
    /// The next entry of the log.
    pub fn push(&mut self, entered: Entered) {
        // The next attestation may bind entries that were appended before it was due, and one commit more.
        if self.recent.len() >= 2 * ATTEST_BATCHES_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.fold(&oldest);
        }
        self.recent.push_back(entered);
    }

    fn fold(&mut self, entered: &Entered) {
        entered.push_to(&mut self.running);
        (self.end, self.stamp) = (entered.end(), entered.stamp);
    }

    /// The log has this attestation, which replaces the hash computed here.
    pub fn attested(&mut self, bytes: &[u8]) {
        let Some(unverified) = Attestation::read(bytes) else { return };
        let attestation = unverified.claim();
        if attestation.end < self.end || self.newest().is_some_and(|newest| newest.number >= attestation.number) {
            return;
        }
        while self.recent.front().is_some_and(|entered| entered.first < attestation.end) {
            self.recent.pop_front();
        }
        (self.running, self.end, self.stamp) = (attestation.hash, attestation.end, attestation.time);
        self.newest = bytes.try_into().ok();
    }

    /// The newest attestation, decoded.
    pub fn newest(&self) -> Option<Attestation> {
        self.newest.as_ref().and_then(|bytes| Some(*Attestation::read(bytes)?.claim()))
    }

    /// Reads the entries behind the newest attestation from the log; pushed entries do not count.
    pub fn read(&mut self, log: &dyn ReadLog) {
        self.recent.clear();
        match self.newest() {
            Some(newest) => (self.running, self.end, self.stamp) = (newest.hash, newest.end, newest.time),
            None => (self.running, self.end, self.stamp) = Default::default(),
        }
        let kept = log.kept();
        let from = self.end.max(kept.start);
        let read = Walk::over(log, from..kept.end).run(&mut Vec::new(), &mut |part| {
            // Unreadable entries are not attested.
            if let WalkItem::Entry(entry) = part
                && entry.first() >= from
            {
                self.push(Entered::of(entry.head, entry.batch));
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::error!(%error, "cannot read what the log holds after its newest attestation");
        }
    }
}
