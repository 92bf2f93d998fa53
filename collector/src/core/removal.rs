//! What is to be in the log before retention removes something of it.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, Stream};

use super::{Core, Notice};
use crate::log::UnifiedLog;

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

/// What is to be removed is not bound by a seal yet: nobody could tell it from what somebody else has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSealed {
    /// Everything before this offset is.
    pub sealed_until: Offset,
}

impl fmt::Display for NotSealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is sealed up to offset {} only", self.sealed_until)
    }
}

impl<L: UnifiedLog> Core<L> {
    /// Says, with the next commit, that something is removed, and tells anew what would be forgotten with it: every key
    /// that a source is held to, and how far every lane has come. It may be removed once that commit is on disk.
    pub fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotSealed> {
        let sealed_until = self.own.sealed_until();
        if removal.until > sealed_until {
            return Err(NotSealed { sealed_until });
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
