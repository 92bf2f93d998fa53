//! What of the log no seal binds yet.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use afferent_protocol::batch::ChainHash;
use afferent_protocol::ids::Offset;

use crate::limits::SEAL_BATCHES_MAX;
use crate::subscribe::{ReadLog, ReadLogError};

/// A batch of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logged {
    pub first: Offset,
    pub end: Offset,
    pub chain: ChainHash,
    /// Whether it holds nothing but seals: that alone is not worth another one.
    pub is_seal: bool,
}

/// Batches that no seal has bound so far, as they are found by reading the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found(VecDeque<Logged>);

impl Found {
    /// Reads what the log has from an offset on. What cannot be read stays without a seal.
    pub fn read(log: &dyn ReadLog, from: Offset) -> Self {
        let (mut found, kept, mut scratch) = (Self::default(), log.kept(), Vec::new());
        let mut from = from.max(kept.start);
        while from < kept.end {
            let before = from;
            let read = log.read(from, &mut scratch, &mut |head, batch| {
                let first = Offset::new(head.ordinal);
                from = Offset::new(head.end_ordinal());
                if first >= before {
                    found.push(Logged { first, end: from, chain: batch.chain_hash(), is_seal: false });
                }
                ControlFlow::Continue(())
            });
            match read {
                Err(ReadLogError::Damaged { end, .. }) if end > from => from = end,
                Err(error) => {
                    tracing::error!(%error, "what the log holds behind its last seal cannot be read, and gets none");
                    break;
                }
                Ok(()) if from == before => break,
                Ok(()) => {}
            }
        }
        found
    }

    /// The first offset; zero when there is none.
    pub fn first(&self) -> Offset {
        self.0.front().map_or(Offset::ZERO, |logged| logged.first)
    }

    /// All of them, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Logged> {
        self.0.iter()
    }

    /// All of them, in order.
    pub fn into_batches(self) -> Vec<Logged> {
        self.0.into()
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
