//! The sources by name, and which of them have changed since they were last published to readers.

use std::collections::BTreeMap;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;

use super::{LaneRecord, Source};
use crate::limits::{SOURCE_LANES_MAX, SOURCES_MAX};

/// Every source by name. Every change goes through here, so that none is missed; recording one costs the same however
/// many sources there are.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceTable {
    by_name: BTreeMap<SourceId, Source>,
    /// Names whose source has changed: each existing one once, a removed one perhaps more often.
    changed: Vec<SourceId>,
}

impl SourceTable {
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

    /// The source, for a change.
    pub fn get_mut(&mut self, name: &SourceId) -> Option<&mut Source> {
        let source = self.by_name.get_mut(name)?;
        if !std::mem::replace(&mut source.is_changed, true) {
            self.changed.push(*name);
        }
        Some(source)
    }

    /// The source, for a change; adds it when it is new.
    pub fn get_or_add(&mut self, name: SourceId) -> &mut Source {
        let source = self.by_name.entry(name).or_default();
        if !std::mem::replace(&mut source.is_changed, true) {
            self.changed.push(name);
        }
        source
    }

    /// The source, for a change; adds it when it is new and there is room.
    pub fn get_or_add_if_room(&mut self, name: SourceId) -> Option<&mut Source> {
        let has_room = self.len() < SOURCES_MAX || self.has(&name);
        has_room.then(|| self.get_or_add(name))
    }

    /// A lane of the source, for a change; adds both when they are new and there is room.
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

    /// The names whose source has changed since the last call, each once.
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
