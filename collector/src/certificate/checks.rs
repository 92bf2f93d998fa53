//! Ends of a lane's batches and their checks: they identify the history that a statement about the lane is of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::ids::Sequence;

/// Number of recent batches whose ends are kept for statements that come later.
const RECENT: usize = 1024;
/// Number of ends that statements have named; above it the ends that no statement names any more are dropped.
const NAMED_MAX: usize = 4096;

/// The ends of a lane's batches that statements name, or may soon name.
#[derive(Debug, Default)]
pub(super) struct Checks {
    recent: VecDeque<(Sequence, u64)>,
    named: BTreeMap<Sequence, Option<u64>>,
}

impl Checks {
    /// Records the end of a batch.
    pub fn ends(&mut self, end: Sequence, check: u64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((end, check));
        if let Some(named) = self.named.get_mut(&end) {
            *named = Some(check);
        }
    }

    /// Records an end that a statement names; its batch may still come.
    pub fn name(&mut self, end: Sequence) {
        let recent = &self.recent;
        let found = || recent.iter().rev().find(|(known, _)| *known == end).map(|(_, check)| *check);
        self.named.entry(end).or_insert_with(found);
    }

    /// The check of the batch that ends here, if one has come.
    pub fn get(&self, end: Sequence) -> Option<u64> {
        self.named.get(&end).copied().flatten()
    }

    /// Whether named ends must be dropped.
    pub fn is_full(&self) -> bool {
        self.named.len() > NAMED_MAX
    }

    /// Keeps the given names and drops all others.
    pub fn keep(&mut self, named: &BTreeSet<Sequence>) {
        self.named.retain(|end, _| named.contains(end));
    }
}
