//! Batches that no seal has bound, as certificates look at them.

use std::collections::VecDeque;

use afferent_protocol::batch::ChainHash;
use afferent_protocol::ids::Offset;

use crate::limits::SEAL_BATCHES_MAX;

/// A batch of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logged {
    pub first: Offset,
    pub chain: ChainHash,
}

/// Batches that no seal has bound so far, as they are found by reading the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found(VecDeque<Logged>);

impl Found {
    /// All of them, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Logged> {
        self.0.iter()
    }

    /// The next batch of the log. A log that was never sealed keeps the newest: the rest stays without a seal.
    pub fn push(&mut self, logged: Logged) {
        // What was appended before a seal was due, and one commit more.
        if self.0.len() >= 2 * SEAL_BATCHES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(logged);
    }

    /// A seal binds everything before `end`.
    pub fn sealed(&mut self, end: Offset) {
        while self.0.front().is_some_and(|logged| logged.first < end) {
            self.0.pop_front();
        }
    }
}
