//! The state before all changes since the last commit.

use std::collections::BTreeMap;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;

use super::lane::LaneRecord;
use super::source::Pinned;

/// Lanes and keys before they were changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    lanes: BTreeMap<(SourceId, Lane), LaneRecord>,
    keys: BTreeMap<SourceId, Option<Pinned>>,
}

impl Journal {
    /// A lane is about to be changed; only its state before the first change counts, and is kept.
    pub fn changing(&mut self, source: SourceId, before: &LaneRecord) {
        self.lanes.entry((source, before.lane)).or_insert_with(|| before.clone());
    }

    /// A key was pinned.
    pub fn pinned(&mut self, source: SourceId, before: Option<Pinned>) {
        self.keys.entry(source).or_insert(before);
    }

    /// All changes are on disk: drops the former state, and returns the changed lanes.
    pub fn mark_committed(&mut self) -> Vec<(SourceId, Lane)> {
        self.keys.clear();
        std::mem::take(&mut self.lanes).into_keys().collect()
    }

    /// Returns the lanes in their former state.
    pub fn take_lanes(&mut self) -> impl Iterator<Item = (SourceId, LaneRecord)> + use<> {
        std::mem::take(&mut self.lanes).into_iter().map(|((source, _), before)| (source, before))
    }

    /// Returns the former keys.
    pub fn take_keys(&mut self) -> impl Iterator<Item = (SourceId, Option<Pinned>)> + use<> {
        std::mem::take(&mut self.keys).into_iter()
    }
}
