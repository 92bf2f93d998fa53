//! What is to be in the log before retention removes something of it.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, Stream};

use super::{Core, Notice};
use crate::log::UnifiedLog;
use crate::terms::Term;
use afferent_protocol::session::signed::Place;

/// Something that retention is about to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What.
    pub what: Removed,
    /// What is before this offset.
    pub until: Offset,
    /// Which rule asks for it, for people.
    pub rule: String,
}

/// What retention removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Everything.
    All,
    /// The events of one stream; their places stay.
    Events(Stream),
}

/// What is to be removed is not bound by an attestation yet: nobody could tell it from what somebody else has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAttested {
    /// Everything before this offset is.
    pub attested_until: Offset,
}

impl fmt::Display for NotAttested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is attested up to offset {} only", self.attested_until)
    }
}

impl<L: UnifiedLog> Core<L> {
    /// Says, with the next commit, that something is removed, and logs again what would be forgotten with it: every key
    /// that a source is held to, how far every lane has come, the table of terms, and what operators have said. It may be
    /// removed once that commit is on disk.
    pub fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotAttested> {
        let attested_until = self.own.attester().attested_until();
        if removal.until > attested_until {
            return Err(NotAttested { attested_until });
        }
        let (until, rule) = (removal.until, removal.rule.clone());
        let notice = match removal.what {
            Removed::All => Notice::Trimmed { until, rule },
            Removed::Events(stream) => Notice::Emptied { stream, until, rule },
        };
        // After a commit that failed it waits already.
        if self.own.is_waiting(&notice) {
            return Ok(());
        }
        if removal.what == Removed::All {
            let here = self.place();
            for Term { number, first } in self.sources.terms().iter() {
                self.own.tell_now(Notice::TermBegun { first: Place { term: number, offset: first, ..here } }, clock);
            }
            self.sources.statements().for_each(|notice| self.own.tell_now(notice, clock));
            for (source, key) in self.sources.keys() {
                self.own.tell_now(Notice::KeyPinned { source, key }, clock);
            }
            for (source, lane, kept) in self.sources.lanes_to_keep() {
                self.own.tell_now(Notice::LaneKept { source, lane, kept }, clock);
            }
        }
        self.own.tell_now(notice, clock);
        Ok(())
    }
}
