//! What the log must record before retention removes entries.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, Stream};

use super::{Core, Notice};
use crate::log::UnifiedLog;
use crate::terms::Term;
use afferent_protocol::session::signed::Place;

/// A removal that retention is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What it removes.
    pub what: RemovalKind,
    /// The first offset that stays.
    pub until: Offset,
    /// The rule of retention that asks for it, for people.
    pub rule: String,
}

/// The two kinds of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalKind {
    /// Whole entries.
    All,
    /// The events of one stream; the heads of their entries stay.
    Events(Stream),
}

/// No attestation binds these entries yet: afterwards, retention and tampering would look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAttested {
    /// An attestation binds everything before this offset.
    pub attested_until: Offset,
}

impl fmt::Display for NotAttested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is attested only up to offset {}", self.attested_until)
    }
}

impl<L: UnifiedLog> Core<L> {
    /// Logs a removal with the next commit, and re-logs the state that would be lost with it: the key of every source,
    /// the end of every lane, the table of terms, and the decisions of operators. Retention may remove the entries once
    /// that commit is on disk.
    pub fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotAttested> {
        let attested_until = self.own.attester().attested_until();
        if removal.until > attested_until {
            return Err(NotAttested { attested_until });
        }
        let (until, rule) = (removal.until, removal.rule.clone());
        let notice = match removal.what {
            RemovalKind::All => Notice::Trimmed { until, rule },
            RemovalKind::Events(stream) => Notice::Emptied { stream, until, rule },
        };
        // After a failed commit it is queued already.
        if self.own.is_waiting(&notice) {
            return Ok(());
        }
        if removal.what == RemovalKind::All {
            let here = self.place();
            for Term { number, first } in self.sources.terms().iter() {
                self.own
                    .queue_always(Notice::TermBegun { first: Place { term: number, offset: first, ..here } }, clock);
            }
            self.sources.statements().for_each(|notice| self.own.queue_always(notice, clock));
            for (source, key) in self.sources.keys() {
                self.own.queue_always(Notice::KeyPinned { source, key }, clock);
            }
            for (source, lane, kept) in self.sources.lanes_to_keep() {
                self.own.queue_always(Notice::LaneKept { source, lane, kept }, clock);
            }
        }
        self.own.queue_always(notice, clock);
        Ok(())
    }
}
