//! Where batches of a lane end, and their checks: which history a statement about the lane is of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::ids::Sequence;

/// Batches whose ends are known, whoever names them later.
const RECENT: usize = 1024;
/// Ends that somebody has named; beyond it those are forgotten that no statement names any more.
const NAMED_MAX: usize = 4096;

/// The ends of a lane's batches that statements name, or may soon name.
#[derive(Debug, Default)]
pub(super) struct Checks {
    recent: VecDeque<(Sequence, u64)>,
    named: BTreeMap<Sequence, Option<u64>>,
}

impl Checks {
    /// A batch ends here.
    pub fn ends(&mut self, end: Sequence, check: u64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((end, check));
        if let Some(named) = self.named.get_mut(&end) {
            *named = Some(check);
        }
    }

    /// A statement names this end, of a batch that has come or is to come.
    pub fn name(&mut self, end: Sequence) {
        let recent = &self.recent;
        let found = || recent.iter().rev().find(|(known, _)| *known == end).map(|(_, check)| *check);
        self.named.entry(end).or_insert_with(found);
    }

    /// The check of the batch that ends here, if one has come.
    pub fn get(&self, end: Sequence) -> Option<u64> {
        self.named.get(&end).copied().flatten()
    }

    /// Whether there are so many that some are to be forgotten.
    pub fn is_full(&self) -> bool {
        self.named.len() > NAMED_MAX
    }

    /// Only these are named.
    pub fn keep(&mut self, named: &BTreeSet<Sequence>) {
        self.named.retain(|end, _| named.contains(end));
    }
}
