//! Names that have delivered nothing, in the order in which they are dropped for others.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::ids::SourceId;

/// The standing of a newcomer. The first in this order are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NewcomerRank {
    /// It is known only by a refusal.
    Refused,
    /// It has proved a key, and is not connected.
    Away,
    /// It has proved a key, and is connected.
    There,
}

/// All newcomers: within one standing, in the order of their last messages, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers {
    known: BTreeMap<SourceId, (NewcomerRank, u64)>,
    order: BTreeSet<(NewcomerRank, u64, SourceId)>,
    /// Number of names that are known only by refusals.
    refused: usize,
    /// Number of calls of `heard`, which orders the names.
    heard: u64,
}

impl Newcomers {
    /// Records that a newcomer has sent something now.
    pub fn touch(&mut self, name: SourceId, standing: NewcomerRank) {
        self.remove(&name);
        self.heard += 1;
        self.known.insert(name, (standing, self.heard));
        self.order.insert((standing, self.heard, name));
        self.refused += usize::from(standing == NewcomerRank::Refused);
        assert_eq!(self.known.len(), self.order.len(), "each newcomer has one place in the order");
    }

    /// A name is no newcomer, or no longer one.
    pub fn remove(&mut self, name: &SourceId) {
        let Some((standing, heard)) = self.known.remove(name) else { return };
        self.refused -= usize::from(standing == NewcomerRank::Refused);
        let was_there = self.order.remove(&(standing, heard, *name));
        assert!(was_there, "both say the same of a name");
    }

    pub fn has(&self, name: &SourceId) -> bool {
        self.known.contains_key(name)
    }

    /// The number of newcomers that have proved a key.
    pub fn proved(&self) -> usize {
        self.known.len() - self.refused
    }

    /// The number of newcomers that are known only by refusals.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The one to drop first.
    pub fn first(&self) -> Option<SourceId> {
        self.order.first().map(|(.., name)| *name)
    }

    /// The one to drop first among those that have proved a key.
    pub fn first_proved(&self) -> Option<SourceId> {
        let proved = (NewcomerRank::Away, 0, SourceId::literal("a"));
        self.order.range(proved..).next().map(|(.., name)| *name)
    }

    /// The one to drop first among those that are known only by refusals.
    pub fn first_refused(&self) -> Option<SourceId> {
        self.first().filter(|_| self.refused > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newcomer_heard_least_recently_is_dropped_first_and_a_connected_one_last() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(SourceId::literal);
        let mut newcomers = Newcomers::default();
        newcomers.touch(a, NewcomerRank::There);
        newcomers.touch(b, NewcomerRank::Away);
        newcomers.touch(c, NewcomerRank::Away);
        newcomers.touch(d, NewcomerRank::Refused);
        assert_eq!((newcomers.proved(), newcomers.refused()), (3, 1));
        assert_eq!((newcomers.first_proved(), newcomers.first_refused()), (Some(b), Some(d)));
        newcomers.touch(b, NewcomerRank::Away);
        let mut gone = Vec::new();
        while let Some(first) = newcomers.first() {
            newcomers.remove(&first);
            gone.push(first);
        }
        assert_eq!(gone, [d, c, b, a], "in the order of coming it would be a first");
        assert_eq!((newcomers.proved(), newcomers.refused(), newcomers.has(&a)), (0, 0, false));
    }
}
