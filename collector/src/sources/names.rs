//! Names that have delivered nothing: which of them there are, and that one is forgotten.
//!
//! What has delivered stays, and so does what an operator has decided on, what a login or a certificate vouches for,
//! and what is joined with another name. A name that has proved a key is forgotten by an event in the log: a start
//! finds the same names.

use afferent_protocol::ids::SourceId;

use super::Sources;
use super::newcomers::Standing;
use super::view::LinkState;
use crate::core::Reason;

impl Sources {
    /// Something has changed of a name, or was heard of it: whether it is a newcomer, and who gives way before it.
    pub(crate) fn heard_of(&mut self, name: SourceId) {
        // Until the whole log was taken, nobody knows who has delivered.
        if self.is_rebuilding {
            return;
        }
        // Whether it is a newcomer belongs to its view.
        match self.sources.get_mut(&name) {
            Some(source) if name != self.own && !source.has_delivered() && !source.is_kept() => {
                let standing = match (&source.pinned, source.link()) {
                    (None, _) => Standing::Refused,
                    (Some(_), LinkState::Online) => Standing::There,
                    (Some(_), LinkState::Offline | LinkState::Unknown) => Standing::Away,
                };
                self.newcomers.heard(name, standing);
            }
            _ => self.newcomers.remove(&name),
        }
    }

    /// Something has come of a source: it is no newcomer any more.
    pub(crate) fn has_come(&mut self, name: &SourceId) {
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

    /// Counts something that was refused in a name that is known.
    pub(crate) fn refused(&mut self, name: &SourceId, reason: Reason) {
        if let Some(source) = self.sources.get_mut(name) {
            source.refused(reason);
        }
    }

    /// How many names have proved a key and delivered nothing, and may give way.
    pub fn new_names(&self) -> usize {
        self.newcomers.proved()
    }

    /// How many names are known of which nothing but refusals is.
    pub(crate) fn refused_names(&self) -> usize {
        self.newcomers.refused()
    }

    /// Who gives way to a name that proves a key: while there is room for such names, one of which only refusals are
    /// known.
    pub(crate) fn first_to_give_way(&self, is_room_short_of_new: bool) -> Option<SourceId> {
        if is_room_short_of_new { self.newcomers.first_proved() } else { self.newcomers.first() }
    }

    /// Who gives way to another name of which only refusals are known.
    pub(crate) fn first_refused(&self) -> Option<SourceId> {
        self.newcomers.first_refused()
    }

    /// Forgets a name, unless something of it is in the log; tells whether it was held to a key.
    pub(crate) fn forget(&mut self, name: &SourceId) -> bool {
        let may_go = *name != self.own && self.sources.get(name).is_some_and(|source| !source.has_delivered());
        if !may_go {
            return false;
        }
        self.newcomers.remove(name);
        self.sources.remove(name).is_some_and(|source| source.pinned.is_some())
    }
}
