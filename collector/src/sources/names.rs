//! Names that have delivered nothing: counts them, and selects which to drop.
//!
//! A name stays if it has delivered something, if an operator has decided on it, if a login or a certificate vouches
//! for it, or if it is joined with a second name. An event in the log drops a name that has proved a key, so that a
//! start finds the same names.

use afferent_protocol::ids::SourceId;

use super::Sources;
use super::newcomers::NewcomerRank;
use super::view::LinkState;
use crate::core::Reason;

impl Sources {
    /// A name has changed or sent something: updates whether it is a newcomer, and its rank among them.
    pub(crate) fn heard_of(&mut self, name: SourceId) {
        // Until the whole log was taken, it is unknown which names have delivered.
        if self.is_rebuilding {
            return;
        }
        // The view of a source shows whether it is a newcomer, so that it has changed too.
        match self.sources.get_mut(&name) {
            Some(source) if name != self.own && !source.has_delivered() && !source.is_kept() => {
                let standing = match (&source.pinned, source.link()) {
                    (None, _) => NewcomerRank::Refused,
                    (Some(_), LinkState::Online) => NewcomerRank::There,
                    (Some(_), LinkState::Offline | LinkState::Unknown) => NewcomerRank::Away,
                };
                self.newcomers.touch(name, standing);
            }
            _ => self.newcomers.remove(&name),
        }
    }

    /// Records that a source has delivered something: it is no newcomer any more.
    pub(crate) fn mark_arrived(&mut self, name: &SourceId) {
        if self.newcomers.has(name) {
            self.heard_of(*name);
        }
    }

    /// A login or a certificate vouches for the name, which stays as long as this collector runs.
    pub(crate) fn vouched(&mut self, name: SourceId) {
        if let Some(source) = self.sources.get_mut(&name) {
            source.is_vouched = true;
        }
        self.heard_of(name);
    }

    /// Counts a refusal of a known name.
    pub(crate) fn refused(&mut self, name: &SourceId, reason: Reason) {
        if let Some(source) = self.sources.get_mut(name) {
            source.refused(reason);
        }
    }

    /// The number of names that have proved a key and delivered nothing, and may be dropped.
    pub fn new_names(&self) -> usize {
        self.newcomers.proved()
    }

    /// The number of names that are known only by refusals.
    pub(crate) fn refused_names(&self) -> usize {
        self.newcomers.refused()
    }

    /// The name to drop for one that proves a key: while there is room for such names, one that is known only by
    /// refusals.
    pub(crate) fn first_to_drop(&self, is_room_short_of_new: bool) -> Option<SourceId> {
        if is_room_short_of_new { self.newcomers.first_proved() } else { self.newcomers.first() }
    }

    /// The name to drop for a new one that is known only by refusals.
    pub(crate) fn first_refused(&self) -> Option<SourceId> {
        self.newcomers.first_refused()
    }

    /// Forgets a name, unless the log has something of it; returns whether it was held to a key.
    pub(crate) fn forget(&mut self, name: &SourceId) -> bool {
        let may_go = *name != self.own && self.sources.get(name).is_some_and(|source| !source.has_delivered());
        if !may_go {
            return false;
        }
        self.newcomers.remove(name);
        self.sources.remove(name).is_some_and(|source| source.pinned.is_some())
    }
}
