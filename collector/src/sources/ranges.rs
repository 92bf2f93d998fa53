//! Sets of sequences.

use afferent_protocol::ids::SequenceRange;

use crate::limits::RANGES_MAX;

/// A set of sequences as ranges: in order, not empty, and with a hole between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    ranges: Vec<SequenceRange>,
    is_joined: bool,
}

impl RangeSet {
    /// Adds a range. When that makes more than [`RANGES_MAX`] separate ones, the two that are nearest to each other are
    /// joined, and the set is *at most* these from then on: nothing that was added is ever dropped.
    pub fn insert_or_join(&mut self, range: SequenceRange) {
        self.add(range);
        if self.ranges.len() > RANGES_MAX {
            let distance = |at: &usize| self.ranges[at + 1].first.since(self.ranges[*at].end);
            let nearest = (0..self.ranges.len() - 1).min_by_key(distance).expect("there are many");
            self.ranges[nearest].end = self.ranges[nearest + 1].end;
            self.ranges.remove(nearest + 1);
            self.is_joined = true;
        }
        assert!(self.ranges.len() <= RANGES_MAX, "a set that is full joins two ranges for each new one");
    }

    /// Adds a range unless that makes more than [`RANGES_MAX`] separate ones: the set never holds more than was added.
    pub fn insert_or_leave(&mut self, range: SequenceRange) {
        let before = self.ranges.len();
        self.add(range);
        if self.ranges.len() > RANGES_MAX.max(before) {
            let at = self.ranges.partition_point(|known| known.first < range.first);
            self.ranges.remove(at);
        }
    }

    fn add(&mut self, range: SequenceRange) {
        if range.first >= range.end {
            return;
        }
        let from = self.ranges.partition_point(|known| known.end < range.first);
        let to = self.ranges.partition_point(|known| known.first <= range.end);
        if from == to {
            self.ranges.insert(from, range);
            return;
        }
        let first = self.ranges[from].first.min(range.first);
        let end = self.ranges[to - 1].end.max(range.end);
        self.ranges[from] = SequenceRange { first, end };
        self.ranges.drain(from + 1..to);
    }

    /// Removes a range. A full set stays as it is where that would split a range.
    pub fn remove(&mut self, range: SequenceRange) {
        let left = self.without(&Self::of(range));
        if left.ranges.len() <= RANGES_MAX {
            *self = left;
        }
    }

    /// Whether neighbours were joined for want of room: the set has at most these sequences, perhaps fewer.
    pub fn is_joined(&self) -> bool {
        self.is_joined
    }

    /// The ranges of this set that `other` does not have.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.ranges {
            let mut first = range.first;
            let from = other.ranges.partition_point(|known| known.end <= range.first);
            for known in other.ranges[from..].iter().take_while(|known| known.first < range.end) {
                if first < known.first {
                    left.push(SequenceRange { first, end: known.first });
                }
                first = known.end;
            }
            if first < range.end {
                left.push(SequenceRange { first, end: range.end });
            }
        }
        Self { ranges: left, is_joined: self.is_joined }
    }

    /// The set of this range alone.
    pub fn of(range: SequenceRange) -> Self {
        let mut set = Self::default();
        set.insert_or_join(range);
        set
    }

    /// The number of sequences.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count()).fold(0, u64::saturating_add)
    }

    /// The number of separate ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        self.ranges.iter().copied()
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
        ranges.iter().for_each(|pair| set.insert_or_join(range(*pair)));
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
            prop_assert!(one.ranges.windows(2).all(|pair| pair[0].end < pair[1].first), "touching ranges are one");
            prop_assert_eq!(members(&one.without(&other)), &one_members - &other_members);
        }
    }

    #[test]
    fn a_full_set_joins_the_nearest_and_says_so_and_drops_nothing() {
        let mut set = RangeSet::default();
        let places = |count: u64| (0..count).map(|index| (index * 100 + index % 7, 1));
        places(RANGES_MAX as u64).for_each(|pair| set.insert_or_join(range(pair)));
        assert!(!set.is_joined() && set.len() == RANGES_MAX);
        places(2 * RANGES_MAX as u64).for_each(|pair| set.insert_or_join(range(pair)));
        assert!(set.is_joined() && set.len() == RANGES_MAX);
        for pair in places(2 * RANGES_MAX as u64) {
            assert!(RangeSet::of(range(pair)).without(&set).is_empty(), "{pair:?} is still in it");
        }
    }

    #[test]
    fn a_set_with_no_room_for_more_can_also_leave_out_what_is_new() {
        let mut set = RangeSet::default();
        (0..2 * RANGES_MAX as u64).for_each(|index| set.insert_or_leave(range((index * 2, 1))));
        assert!(set.len() == RANGES_MAX && !set.is_joined());
        assert_eq!(set.count(), RANGES_MAX as u64, "what is in it was added");
    }

    #[test]
    fn what_has_come_after_all_is_taken_out() {
        let mut set = RangeSet::of(range((0, 10)));
        set.remove(range((3, 2)));
        assert_eq!(members(&set), [0, 1, 2, 5, 6, 7, 8, 9].into());
    }
}
