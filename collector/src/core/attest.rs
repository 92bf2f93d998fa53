//! Attestations: once a minute the log's key signs a hash over everything that the log holds.
//!
//! Lanes are chained one by one; an attestation binds them to each other, to their offsets and to their ingest times,
//! so that removing even the last batch of a finished lane is detected. It is an event of the collector, travels with
//! the next acknowledgements, and is copied to the directory that the operator names.

use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;
use afferent_protocol::sign::{Identity, Running};

use super::Notice;
use crate::limits::{ATTEST_AFTER_US, ATTEST_BATCHES_MAX};
use crate::sources::{Entered, Unattested};

/// An entry that was appended, and is not yet on disk.
#[derive(Clone, Copy, Debug)]
struct Recent {
    entered: Entered,
    /// Whether it holds nothing but attestations, which alone need no attestation.
    is_attestation: bool,
}

/// The running hash over the log, and the chain of its attestations.
#[derive(Debug)]
pub(super) struct Attester {
    /// The hash over everything on disk, and its end.
    running: Running,
    end: Offset,
    stamp: Timestamp,
    /// The number of the next attestation.
    number: u64,
    previous: [u8; 32],
    /// An attestation binds everything before this offset.
    attested_until: Offset,
    batches: u64,
    /// When the first batch after that, other than an attestation, was made durable, in µs of the monotonic clock.
    since_us: Option<u64>,
    recent: Vec<Recent>,
    /// The newest attestation that is on disk.
    newest: Option<[u8; ATTESTATION_LEN]>,
}

impl Attester {
    /// Continues from the entries that a start found without an attestation.
    pub fn new(found: Unattested, monotonic_us: u64) -> Self {
        let newest = found.newest();
        let Unattested { running, end, stamp, recent, newest: bytes } = found;
        let mut attester = Self {
            running,
            end,
            stamp,
            number: newest.map_or(0, |newest| newest.number + 1),
            previous: newest.map_or([0; 32], |newest| newest.digest()),
            attested_until: newest.map_or(Offset::ZERO, |newest| newest.end),
            batches: 0,
            since_us: None,
            recent: recent.into_iter().map(|entered| Recent { entered, is_attestation: false }).collect(),
            newest: bytes,
        };
        attester.mark_committed(monotonic_us);
        attester
    }

    /// An attestation binds everything before this offset.
    pub fn attested_until(&self) -> Offset {
        self.attested_until
    }

    /// The newest attestation that is on disk.
    pub fn newest(&self) -> Option<[u8; ATTESTATION_LEN]> {
        self.newest
    }

    /// A batch was appended.
    pub fn push(&mut self, entered: Entered, is_attestation: bool) {
        let is_next = self.recent.last().is_none_or(|last| last.entered.end() == entered.first);
        assert!(is_next, "the running hash takes the entries of a commit one after the other, without a hole");
        self.recent.push(Recent { entered, is_attestation });
    }

    /// An attestation is on disk.
    pub fn is_durable(&mut self, bytes: &[u8; ATTESTATION_LEN]) {
        self.newest = Some(*bytes);
    }

    /// Marks everything appended as durable: the next attestation binds it.
    pub fn mark_committed(&mut self, monotonic_us: u64) {
        for Recent { entered, is_attestation } in self.recent.drain(..) {
            entered.push_to(&mut self.running);
            (self.end, self.stamp) = (entered.end(), entered.stamp);
            self.batches += 1;
            if !is_attestation {
                self.since_us.get_or_insert(monotonic_us);
            }
        }
    }

    /// The last commit failed: forgets what was appended since the one before.
    pub fn roll_back(&mut self) {
        self.recent.clear();
    }

    /// Whether an attestation is due.
    pub fn is_due(&self, monotonic_us: u64) -> bool {
        self.since_us.is_some_and(|since_us| {
            self.batches >= ATTEST_BATCHES_MAX as u64 || monotonic_us.saturating_sub(since_us) >= ATTEST_AFTER_US
        })
    }

    /// The attestation of what is on disk, when one is due. `here` is the log, the partition and the term.
    pub fn due(&mut self, identity: &Identity, here: &Place, monotonic_us: u64, is_ending: bool) -> Option<Notice> {
        let is_wanted = self.is_due(monotonic_us) || (is_ending && self.since_us.is_some());
        if !is_wanted {
            return None;
        }
        assert!(self.attested_until <= self.end, "an attestation binds no less than the one before");
        let attestation = Attestation {
            key: identity.public_key(),
            log_id: here.log_id,
            partition: here.partition,
            term: here.term,
            number: self.number,
            end: self.end,
            time: self.stamp,
            previous: self.previous,
            hash: self.running,
        };
        (self.number, self.previous) = (self.number + 1, attestation.digest());
        (self.attested_until, self.batches, self.since_us) = (self.end, 0, None);
        Some(Notice::Attested { attestation: attestation.sign(identity) })
    }
}
