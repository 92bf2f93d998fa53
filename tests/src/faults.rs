//! The kinds of faults, and how often each has fired: a run in which one hardly did proves nothing about it.

use std::fmt;

use afferent_host::disk::simulated::{DiskFault, DiskFaultCounts};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What people read.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// A write failed and left part of itself in the file.
    WriteError => "write failed (EIO)",
    /// A sync failed; what was dirty is clean now, on disk or not.
    SyncError => "sync failed (EIO), dirty pages dropped",
    /// A read failed.
    ReadError => "read failed (EIO)",
    /// A file could not be made.
    NoSpace => "no space for a file (ENOSPC)",
    /// A sector that was written and not synced was lost in a power cut.
    SectorLost => "unsynced sectors lost in a power cut",
    /// Of one file's unsynced sectors some survived a power cut and some did not.
    Torn => "write torn by a power cut",
    /// A name that was made and not synced vanished in a power cut.
    NameVanished => "unsynced name vanished",
    /// A name that was removed and not synced was there again after a power cut.
    NameReappeared => "removed name reappeared",
    /// A machine stopped in the middle of a disk operation.
    StopInOperation => "stopped in the middle of a disk operation",
    /// A bit of a durable file flipped.
    BitRot => "bit rot",
    /// An agent's process died; what it had written is in the page cache.
    AgentCrash => "agent process died",
    /// An agent's machine lost power.
    AgentPowerCut => "agent lost power",
    /// An agent's disk was replaced with an empty one.
    AgentDiskLost => "agent lost its disk",
    /// The collector's process died.
    CollectorCrash => "collector process died",
    /// The collector's machine lost power.
    CollectorPowerCut => "collector lost power",
    /// A message was lost.
    MessageLost => "message lost",
    /// A message overtook another.
    MessageReordered => "message reordered",
    /// A message came twice.
    MessageDuplicated => "message duplicated",
    /// A message took its time.
    MessageDelayed => "message delayed",
    /// Bits of a message flipped.
    MessageCorrupted => "message corrupted",
    /// An agent was cut off for a while.
    Partition => "partition",
    /// A connection was reset.
    ConnectionReset => "connection reset",
    /// The broker acknowledged a message and forgot it.
    BrokerForgot => "broker forgot a message it had acknowledged",
    /// The broker sent an old message again.
    BrokerReplayed => "broker replayed an old message",
    /// The broker's queue was full.
    BrokerDropped => "broker dropped a message beyond its queue",
    /// The broker restarted with an empty memory.
    BrokerRestarted => "broker restarted with an empty memory",
    /// A wall clock stepped by up to ten years.
    ClockStepped => "clock stepped",
    /// The collector's wall clock stepped by up to ten years.
    CollectorClockStepped => "collector's clock stepped",
    /// A stranger's message came in the name of somebody else.
    MessageForged => "message forged by a stranger",
    /// A stranger recorded a message and sent it again.
    MessageReplayed => "message replayed by a stranger",
    /// An agent's disk was put back from a copy.
    AgentRestored => "agent's disk put back from a copy",
    /// A second machine went on from a copy of an agent's disk.
    AgentCloned => "agent cloned",
    /// A file of an agent's ring log is gone.
    SegmentLost => "a segment of a ring lost",
    /// The collector's disk was put back from a copy.
    CollectorRestored => "collector's disk put back from a copy",
    /// A ring was full and gave up events.
    RingEvicted => "ring gave up events",
}

impl Fault {
    /// What somebody does, on purpose or not, and no promise may fall by: each must be in enough seeds.
    pub const NEMESES: &[Self] = &[
        Self::MessageForged,
        Self::MessageReplayed,
        Self::AgentRestored,
        Self::AgentCloned,
        Self::SegmentLost,
        Self::CollectorRestored,
        Self::ClockStepped,
        Self::CollectorClockStepped,
    ];
}

impl From<DiskFault> for Fault {
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::WriteError => Self::WriteError,
            DiskFault::SyncError => Self::SyncError,
            DiskFault::ReadError => Self::ReadError,
            DiskFault::NoSpace => Self::NoSpace,
            DiskFault::SectorLost => Self::SectorLost,
            DiskFault::Torn => Self::Torn,
            DiskFault::NameVanished => Self::NameVanished,
            DiskFault::NameReappeared => Self::NameReappeared,
            DiskFault::StopInOperation => Self::StopInOperation,
            DiskFault::BitRot => Self::BitRot,
        }
    }
}

/// How often each kind has fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCounts(Vec<u64>);

impl Default for FaultCounts {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl FaultCounts {
    /// It fired once more.
    pub fn fired(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often it has fired.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Counts each kind once that has fired in a run.
    pub fn add_run(&mut self, run: &Self) {
        for (mine, fired) in self.0.iter_mut().zip(&run.0) {
            *mine += u64::from(*fired > 0);
        }
    }

    /// Takes over the counts of another part.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&other.0) {
            *mine += others;
        }
    }

    /// Takes over the counts of a disk.
    pub fn add_disk(&mut self, disk: &DiskFaultCounts) {
        for fault in DiskFault::ALL {
            self.0[Fault::from(fault) as usize] += disk.of(fault);
        }
    }

    /// The kinds that fired fewer than `count_min` times.
    pub fn rarer_than(&self, count_min: u64) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| self.of(*fault) < count_min).collect()
    }
}

impl fmt::Display for FaultCounts {
    /// A line for each kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::ALL.iter().try_for_each(|fault| writeln!(f, "{:>9}  {}", self.of(*fault), fault.text()))
    }
}
