//! Which offsets are there already, by the names of the files: after a kill, and after a rewind.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use afferent_protocol::ids::Offset;

/// Ranges of offsets, by the directory of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    directories: HashMap<String, Arc<Ranges>>,
    count: usize,
}

/// Ranges that do not touch: their first offsets and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn has(&self, offset: Offset) -> bool {
        let before = self.0.range(..=offset.get()).next_back();
        before.is_some_and(|(_, end)| offset.get() < *end)
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
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// Number of ranges.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, directory: &str, range: &Range<Offset>) {
        if !self.directories.contains_key(directory) {
            self.directories.insert(directory.to_owned(), Arc::default());
        }
        let ranges = Arc::make_mut(self.directories.get_mut(directory).expect("it was inserted"));
        let before = ranges.0.len();
        ranges.insert(range);
        self.count = self.count - before + ranges.0.len();
    }

    pub fn of(&self, directory: &str) -> Option<Arc<Ranges>> {
        self.directories.get(directory).cloned()
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
            let of = present.of("d").unwrap_or_default();
            for offset in 0..90 {
                prop_assert_eq!(of.has(Offset::new(offset)), model.contains(&offset), "{}", offset);
            }
            let ends: Vec<_> = of.0.iter().collect();
            prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0), "they do not touch: {:?}", ends);
            prop_assert_eq!(present.count(), ends.len());
        }
    }
}
