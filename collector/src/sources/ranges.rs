//! Sets of sequences.

use afferent_protocol::ids::SequenceRange;

use crate::limits::RANGES_MAX;

/// A set of sequences as ranges: in order, none of them empty, none touching another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<SequenceRange>);

impl RangeSet {
    /// Adds a range. When that would make more than [`RANGES_MAX`] separate ones it is forgotten.
    pub fn insert(&mut self, range: SequenceRange) {
        if range.first >= range.end {
            return;
        }
        let from = self.0.partition_point(|known| known.end < range.first);
        let to = self.0.partition_point(|known| known.first <= range.end);
        if from == to {
            if self.0.len() < RANGES_MAX {
                self.0.insert(from, range);
            }
            return;
        }
        let first = self.0[from].first.min(range.first);
        let end = self.0[to - 1].end.max(range.end);
        self.0[from] = SequenceRange { first, end };
        self.0.drain(from + 1..to);
    }

    /// The ranges of this set that are not in the other one.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.0 {
            let mut first = range.first;
            let from = other.0.partition_point(|known| known.end <= range.first);
            for known in other.0[from..].iter().take_while(|known| known.first < range.end) {
                if first < known.first {
                    left.push(SequenceRange { first, end: known.first });
                }
                first = known.end;
            }
            if first < range.end {
                left.push(SequenceRange { first, end: range.end });
            }
        }
        Self(left)
    }

    /// The set of this range alone.
    pub fn of(range: SequenceRange) -> Self {
        let mut set = Self::default();
        set.insert(range);
        set
    }

    /// How many sequences are in it.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.count()).fold(0, u64::saturating_add)
    }

    /// How many separate ranges there are; at [`RANGES_MAX`] some may have been forgotten.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use afferent_protocol::ids::Sequence;
    use proptest::prelude::*;

    use super::*;

    fn range((first, count): (u64, u64)) -> SequenceRange {
        SequenceRange { first: Sequence::new(first), end: Sequence::new(first + count) }
    }

    fn both(ranges: &[(u64, u64)]) -> (RangeSet, BTreeSet<u64>) {
        let mut set = RangeSet::default();
        ranges.iter().for_each(|pair| set.insert(range(*pair)));
        (set, ranges.iter().flat_map(|(first, count)| *first..first + count).collect())
    }

    fn members(set: &RangeSet) -> BTreeSet<u64> {
        set.iter().flat_map(|range| range.first.get()..range.end.get()).collect()
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_members(
            one in prop::collection::vec((0_u64..60, 0_u64..9), 0..12),
            other in prop::collection::vec((0_u64..60, 0_u64..9), 0..12),
        ) {
            let (one, one_members) = both(&one);
            let (other, other_members) = both(&other);
            prop_assert_eq!(members(&one), one_members.clone());
            prop_assert_eq!(one.count() as usize, one_members.len());
            prop_assert!(one.0.windows(2).all(|pair| pair[0].end < pair[1].first), "touching ranges are one");
            prop_assert_eq!(members(&one.without(&other)), &one_members - &other_members);
        }
    }

    #[test]
    fn a_set_of_ranges_does_not_grow_without_end() {
        let mut set = RangeSet::default();
        (0..2 * RANGES_MAX as u64).for_each(|index| set.insert(range((index * 2, 1))));
        assert_eq!(set.0.len(), RANGES_MAX);
    }
}
