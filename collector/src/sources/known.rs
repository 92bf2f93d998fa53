//! The sources by name, and which of them have changed since readers were shown them.

use std::collections::BTreeMap;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;

use super::{LaneRecord, Source};
use crate::limits::{SOURCE_LANES_MAX, SOURCES_MAX};

/// Every source by name. Whatever is changed is changed through here, so that nothing changes unnoticed; noticing
/// costs the same however many sources there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    by_name: BTreeMap<SourceId, Source>,
    /// Names whose source has changed: those that are there once, those that are gone perhaps more often.
    changed: Vec<SourceId>,
}

impl Known {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn has(&self, name: &SourceId) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn get(&self, name: &SourceId) -> Option<&Source> {
        self.by_name.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&SourceId, &Source)> {
        self.by_name.iter()
    }

    /// The source, to be changed.
    pub fn get_mut(&mut self, name: &SourceId) -> Option<&mut Source> {
        let source = self.by_name.get_mut(name)?;
        if !std::mem::replace(&mut source.is_changed, true) {
            self.changed.push(*name);
        }
        Some(source)
    }

    /// The source, to be changed; it is made when it is new.
    pub fn get_or_add(&mut self, name: SourceId) -> &mut Source {
        let source = self.by_name.entry(name).or_default();
        if !std::mem::replace(&mut source.is_changed, true) {
            self.changed.push(name);
        }
        source
    }

    /// The source, to be changed; it is made when there is room for one more.
    pub fn get_or_add_if_room(&mut self, name: SourceId) -> Option<&mut Source> {
        let has_room = self.len() < SOURCES_MAX || self.has(&name);
        has_room.then(|| self.get_or_add(name))
    }

    /// A lane of the source, to be changed; both are made when there is room for one more.
    pub fn lane(&mut self, name: SourceId, lane: Lane, may_be_begun: bool) -> Option<&mut LaneRecord> {
        let source = self.get_or_add_if_room(name)?;
        let has_room = source.lanes.len() < SOURCE_LANES_MAX || source.lanes.contains_key(&lane);
        has_room.then(|| source.lane(lane, may_be_begun))
    }

    /// Forgets the source.
    pub fn remove(&mut self, name: &SourceId) -> Option<Source> {
        let removed = self.by_name.remove(name);
        self.changed.extend(removed.as_ref().map(|_| *name));
        removed
    }

    /// The names whose source has changed since this was called last, each once.
    pub fn take_changed(&mut self) -> Vec<SourceId> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for name in &changed {
            if let Some(source) = self.by_name.get_mut(name) {
                source.is_changed = false;
            }
        }
        changed
    }
}
