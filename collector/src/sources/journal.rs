//! What has changed since the last commit, as it was before.

use std::collections::BTreeMap;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;

use super::lane::LaneRecord;
use super::source::Pinned;

/// Lanes, with whose they are, and keys: as they were.
pub(super) type Before = (Vec<(SourceId, LaneRecord)>, BTreeMap<SourceId, Option<Pinned>>);

/// Lanes and keys before they were changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    lanes: BTreeMap<(SourceId, Lane), LaneRecord>,
    keys: BTreeMap<SourceId, Option<Pinned>>,
}

impl Journal {
    /// A lane is about to be changed; only how it was at the first time counts.
    pub fn changing(&mut self, source: SourceId, before: LaneRecord) {
        self.lanes.entry((source, before.lane)).or_insert(before);
    }

    /// A key was pinned.
    pub fn pinned(&mut self, source: SourceId, before: Option<Pinned>) {
        self.keys.entry(source).or_insert(before);
    }

    /// All of it is on disk: forgets how it was, and gives the lanes that were changed.
    pub fn settle(&mut self) -> Vec<(SourceId, Lane)> {
        self.keys.clear();
        std::mem::take(&mut self.lanes).into_keys().collect()
    }

    /// Gives how it was.
    pub fn take(&mut self) -> Before {
        let lanes = std::mem::take(&mut self.lanes);
        (lanes.into_iter().map(|((source, _), before)| (source, before)).collect(), std::mem::take(&mut self.keys))
    }
}
