//! Bugs that the plant must find: if it did not, its silence about the real code would mean nothing.
//!
//! They are made at the seams between the cores and the world (the disk, the log's engine, the messages), so that the
//! real code has no hooks for them.

mod log;

pub use log::CheatingLog;

use crate::sim_disk::DiskCheat;

/// A bug, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Planted {
    /// The real thing.
    Nothing,
    /// The collector acks what it has written and not synced.
    AckBeforeSync,
    /// The agent accepts what it has written and not synced.
    AcceptBeforeSync,
    /// The agent makes files and does not sync their names.
    AgentNamesUnsynced,
    /// The collector makes files and does not sync their names.
    CollectorNamesUnsynced,
    /// The agent syncs the same file again after a failed sync, and believes the second answer.
    AgentSyncsTwice,
    /// The collector does.
    CollectorSyncsTwice,
    /// The collector takes what it finds at a start for durable without syncing it.
    CollectorTrustsCache,
    /// Old entries of a recycled segment look valid: their checksums' seed stays the same.
    StaleSeed,
    /// The victim of an eviction is overwritten before the loss is on disk.
    EvictBeforeLoss,
    /// Evictions are not declared at all.
    EvictSilently,
    /// A torn tail is cut, and its epoch and sequences go on; nothing beside the ring knows better.
    TornTailReused,
    /// The agent lets go of what it has sent.
    ReleaseOnSend,
    /// The agent lets go of what the next hop has confirmed.
    ReleaseOnPuback,
    /// The agent believes acks under any key: whoever signs is taken for its collector.
    AckOfAnyKey,
    /// The collector does not know after a restart what it has: no dedup.
    SourcesForgotten,
    /// The collector acks batches that it has refused or put aside.
    AckOfRefused,
    /// The collector steps over a gap and does not say so.
    GapUnsaid,
    /// A failed commit of the log counts as one that succeeded.
    CommitErrorIgnored,
    /// A batch gets into the log before its predecessor.
    EarlyAppended,
    /// Every opening of the log has the same term: a place does not tell a log from one that it was put back to.
    TermReused,
    /// A reader goes on at its offset, whatever has become of the log.
    NoTermInCursor,
    /// The agent throws its ring log away when it hears that histories have parted.
    DropOnDivergence,
    /// A certificate believes the times of events about how far their source has come.
    KnownByEventTime,
}

impl Planted {
    /// Every bug.
    pub const BUGS: &[Self] = &[
        Self::AckBeforeSync,
        Self::AcceptBeforeSync,
        Self::AgentNamesUnsynced,
        Self::CollectorNamesUnsynced,
        Self::AgentSyncsTwice,
        Self::CollectorSyncsTwice,
        Self::CollectorTrustsCache,
        Self::StaleSeed,
        Self::EvictBeforeLoss,
        Self::EvictSilently,
        Self::TornTailReused,
        Self::ReleaseOnSend,
        Self::ReleaseOnPuback,
        Self::AckOfAnyKey,
        Self::SourcesForgotten,
        Self::AckOfRefused,
        Self::GapUnsaid,
        Self::CommitErrorIgnored,
        Self::EarlyAppended,
        Self::TermReused,
        Self::NoTermInCursor,
        Self::DropOnDivergence,
        Self::KnownByEventTime,
    ];

    /// The bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::BUGS.iter().copied().find(|planted| format!("{planted:?}") == name)
    }

    /// What it does to the agents' disks.
    pub const fn agent_disk(self) -> DiskCheat {
        match self {
            Self::AcceptBeforeSync => DiskCheat::NoSync,
            Self::AgentNamesUnsynced => DiskCheat::NoDirectorySync,
            Self::AgentSyncsTwice => DiskCheat::SyncTwice,
            Self::StaleSeed => DiskCheat::StaleSeed,
            Self::EvictBeforeLoss => DiskCheat::LossLater,
            Self::EvictSilently => DiskCheat::LossNever,
            Self::TornTailReused => DiskCheat::TornTailMended,
            _ => DiskCheat::Honest,
        }
    }

    /// What it does to the collector's disk.
    pub const fn collector_disk(self) -> DiskCheat {
        match self {
            Self::AckBeforeSync => DiskCheat::NoSync,
            Self::CollectorNamesUnsynced => DiskCheat::NoDirectorySync,
            Self::CollectorSyncsTwice => DiskCheat::SyncTwice,
            Self::CollectorTrustsCache => DiskCheat::TrustsCache,
            _ => DiskCheat::Honest,
        }
    }
}
