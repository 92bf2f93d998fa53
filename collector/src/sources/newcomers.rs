//! Names that have delivered nothing, in the order in which they give way to others.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::ids::SourceId;

/// What is known of a newcomer. The first ones give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing but that something in its name was refused.
    Refused,
    /// It has proved a key, and is not there.
    Away,
    /// It has proved a key, and is there.
    There,
}

/// All newcomers: of one standing those first that were heard of longest ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers {
    known: BTreeMap<SourceId, (Standing, u64)>,
    order: BTreeSet<(Standing, u64, SourceId)>,
    /// How many have nothing but refusals.
    refused: usize,
    /// How often one was heard of.
    heard: u64,
}

impl Newcomers {
    /// A name is a newcomer, and was heard of now.
    pub fn heard(&mut self, name: SourceId, standing: Standing) {
        self.remove(&name);
        self.heard += 1;
        self.known.insert(name, (standing, self.heard));
        self.order.insert((standing, self.heard, name));
        self.refused += usize::from(standing == Standing::Refused);
    }

    /// A name is none, or none any more.
    pub fn remove(&mut self, name: &SourceId) {
        let Some((standing, heard)) = self.known.remove(name) else { return };
        self.refused -= usize::from(standing == Standing::Refused);
        let was_there = self.order.remove(&(standing, heard, *name));
        assert!(was_there, "both say the same of a name");
    }

    pub fn has(&self, name: &SourceId) -> bool {
        self.known.contains_key(name)
    }

    /// How many have proved a key.
    pub fn proved(&self) -> usize {
        self.known.len() - self.refused
    }

    /// How many have nothing but refusals.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Who gives way first.
    pub fn first(&self) -> Option<SourceId> {
        self.order.first().map(|(.., name)| *name)
    }

    /// Who gives way first of those that have proved a key.
    pub fn first_proved(&self) -> Option<SourceId> {
        let proved = (Standing::Away, 0, SourceId::literal("a"));
        self.order.range(proved..).next().map(|(.., name)| *name)
    }

    /// Who gives way first of those with nothing but refusals.
    pub fn first_refused(&self) -> Option<SourceId> {
        self.first().filter(|_| self.refused > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_heard_of_longest_ago_gives_way_and_who_is_there_comes_last() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(SourceId::literal);
        let mut newcomers = Newcomers::default();
        newcomers.heard(a, Standing::There);
        newcomers.heard(b, Standing::Away);
        newcomers.heard(c, Standing::Away);
        newcomers.heard(d, Standing::Refused);
        assert_eq!((newcomers.proved(), newcomers.refused()), (3, 1));
        assert_eq!((newcomers.first_proved(), newcomers.first_refused()), (Some(b), Some(d)));
        newcomers.heard(b, Standing::Away);
        let mut gone = Vec::new();
        while let Some(first) = newcomers.first() {
            newcomers.remove(&first);
            gone.push(first);
        }
        assert_eq!(gone, [d, c, b, a], "in the order of coming it would be a first");
        assert_eq!((newcomers.proved(), newcomers.refused(), newcomers.has(&a)), (0, 0, false));
    }
}
