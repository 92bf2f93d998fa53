//! The kinds of faults of a disk, and how often each has fired.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFault {
    /// A write failed and left part of itself in the file.
    WriteError,
    /// A sync failed; what was dirty is clean now, on disk or not.
    SyncError,
    /// A read failed.
    ReadError,
    /// A file could not be made.
    NoSpace,
    /// A sector that was written and not synced was lost in a power cut.
    SectorLost,
    /// Of one file's unsynced sectors some survived a power cut and some did not.
    Torn,
    /// A name that was made and not synced vanished in a power cut.
    NameVanished,
    /// A name that was removed and not synced was there again after a power cut.
    NameReappeared,
    /// A machine stopped in the middle of a disk operation.
    StopInOperation,
    /// A bit of a durable file flipped.
    BitRot,
}

impl DiskFault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::WriteError,
        Self::SyncError,
        Self::ReadError,
        Self::NoSpace,
        Self::SectorLost,
        Self::Torn,
        Self::NameVanished,
        Self::NameReappeared,
        Self::StopInOperation,
        Self::BitRot,
    ];
}

/// How often each kind has fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFaultCounts([u64; DiskFault::ALL.len()]);

impl DiskFaultCounts {
    pub(super) fn fired(&mut self, fault: DiskFault) {
        self.0[fault as usize] += 1;
    }

    /// How often it has fired.
    pub fn of(&self, fault: DiskFault) -> u64 {
        self.0[fault as usize]
    }
}
