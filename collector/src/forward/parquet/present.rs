//! Which offsets are there already, by the names of the files: after a kill, and after a rewind.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use afferent_protocol::ids::Offset;

use super::names::Group;

/// Ranges of offsets, by the directory of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    directories: HashMap<String, Ranges>,
    count: usize,
}

/// Ranges that do not touch: their first offsets and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

/// The offsets around one that are there as it is, or as it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub offsets: Range<u64>,
    pub is_there: bool,
}

impl Stretch {
    /// Everything, where nothing is there.
    pub const FREE: Self = Self { offsets: 0..u64::MAX, is_there: false };
}

impl Ranges {
    /// The longest stretch around an offset.
    pub fn around(&self, offset: Offset) -> Stretch {
        let offset = offset.get();
        let before = self.0.range(..=offset).next_back().map(|(from, end)| *from..*end);
        if let Some(there) = before.clone().filter(|range| range.contains(&offset)) {
            return Stretch { offsets: there, is_there: true };
        }
        let next = self.0.range(offset..).next().map_or(u64::MAX, |(from, _)| *from);
        Stretch { offsets: before.map_or(0, |range| range.end)..next, is_there: false }
    }

    /// Joins a range to those that it touches.
    fn insert(&mut self, range: &Range<Offset>) {
        let (mut from, mut end) = (range.start.get(), range.end.get());
        if from >= end {
            return;
        }
        while let Some((&other_from, &other_end)) = self.0.range(..=end).next_back() {
            if other_end < from {
                break;
            }
            self.0.remove(&other_from);
            (from, end) = (from.min(other_from), end.max(other_end));
        }
        self.0.insert(from, end);
    }
}

impl Present {
    /// Number of ranges.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, directory: &str, range: &Range<Offset>) {
        if !self.directories.contains_key(directory) {
            self.directories.insert(directory.to_owned(), Ranges::default());
        }
        let ranges = self.directories.get_mut(directory).expect("it was inserted");
        let before = ranges.0.len();
        ranges.insert(range);
        self.count = self.count - before + ranges.0.len();
    }

    /// The longest stretch around an offset in the directory of a group.
    pub fn around(&self, group: &Group, offset: Offset) -> Stretch {
        if self.directories.is_empty() {
            return Stretch::FREE;
        }
        self.directories.get(&group.to_string()).map_or(Stretch::FREE, |ranges| ranges.around(offset))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_have_what_a_set_of_their_offsets_has(
            ranges in proptest::collection::vec((0_u64..60, 0_u64..20), 0..20)
        ) {
            let (mut present, mut model) = (Present::default(), BTreeSet::new());
            for (from, len) in ranges {
                present.insert("d", &(Offset::new(from)..Offset::new(from + len)));
                model.extend(from..from + len);
            }
            let of = present.directories.get("d").cloned().unwrap_or_default();
            for offset in 0..90 {
                let Stretch { offsets, is_there } = of.around(Offset::new(offset));
                prop_assert!(offsets.contains(&offset) && is_there == model.contains(&offset), "{}", offset);
                prop_assert!(offsets.clone().take(90).all(|other| model.contains(&other) == is_there), "{}", offset);
                let is_other = |beside: u64| model.contains(&beside) != is_there;
                prop_assert!(offsets.start == 0 || is_other(offsets.start - 1), "it begins as early as it can");
                prop_assert!(offsets.end == u64::MAX || is_other(offsets.end), "it ends as late as it can");
            }
            let ends: Vec<_> = of.0.iter().collect();
            prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0), "they do not touch: {:?}", ends);
            prop_assert_eq!(present.count(), ends.len());
        }
    }
}
