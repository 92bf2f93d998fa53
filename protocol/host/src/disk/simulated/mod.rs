//! A disk in memory that keeps what was synced, and of the rest whatever chance leaves.
//!
//! Every file has two contents: the *cached* one, which programs see, and the *durable* one, which a power cut leaves.
//! A sync copies the dirty sectors from one to the other. Names live twice as well: [`Disk::sync_directory`] makes them
//! durable. All machines' programs share one [`SimDisk`] through clones; a stop of the machine makes old handles fail.
//!
//! - a power cut: any subset of the dirty sectors survives, and any subset of the names made or removed
//! - a failed sync: the dirty sectors are clean afterwards, on the platter or not, as Linux does it; programs may go on
//!   reading what is not there, some of it even after the process has ended and another one has begun
//! - a stop in the middle of an operation: that operation happens in part, all later ones fail
//! - refusals by number, by name and by size; a refused write may end in the middle of a sector
//! - files and whole directories that are lost, replaced, changed, or put back from a copy
//!
//! Faults come by chance ([`SimDisk::set_faults`]) or by number ([`SimDisk::refuse`], [`SimDisk::fails_in`]).

mod faults;
mod inode;
mod platter;
pub mod rng;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};
pub use faults::{DiskFault, DiskFaultCounts};
pub use inode::SECTOR;
use platter::Platter;
use rng::Rng;

/// How often operations fail, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFaults {
    /// Writes.
    pub write_error: u32,
    /// Syncs.
    pub sync_error: u32,
    /// Reads.
    pub read_error: u32,
    /// New files.
    pub no_space: u32,
}

/// What was done to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A write, whether or not it succeeded.
    Write {
        /// The file.
        name: String,
        /// Where it begins.
        position: u64,
        /// All that was to be written.
        bytes: Vec<u8>,
    },
    /// A sync of a file, whether or not it succeeded.
    Sync {
        /// The file.
        name: String,
    },
    /// A new file.
    Create {
        /// The file.
        name: String,
    },
    /// A file that was removed.
    Remove {
        /// The file.
        name: String,
    },
}

/// One machine's disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    platter: Arc<Mutex<Platter>>,
    boot: u64,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(rng: Rng) -> Self {
        Self { platter: Arc::new(Mutex::new(Platter::new(rng))), boot: 0 }
    }

    /// A disk with these files on it, durably.
    pub fn of_files(files: &[(String, Vec<u8>)], rng: Rng) -> Self {
        Self { platter: Arc::new(Mutex::new(Platter::of_files(files, rng))), boot: 0 }
    }

    /// An empty disk whose chance is of this seed.
    pub fn of_seed(seed: u64) -> Self {
        Self::new(Rng::new(seed))
    }

    /// Another disk with the same files, faults and future.
    pub fn copy(&self) -> Self {
        let mut platter = self.platter().clone();
        platter.beside = platter.beside.as_ref().map(Self::copy);
        Self { platter: Arc::new(Mutex::new(platter)), boot: self.boot }
    }

    /// The disk as a power cut now would leave it, and which refuses nothing; this one goes on.
    pub fn after_power_cut(&self) -> Self {
        let after = self.copy();
        after.fails_in(None);
        after.lose_power();
        after
    }

    /// The directory beside this one, which has a fate of its own but for power cuts.
    pub fn beside(&self) -> Self {
        let mut platter = self.platter();
        let rng = platter.rng.clone().fork();
        platter.beside.get_or_insert_with(|| Self::new(rng)).clone()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The platter, for an operation of a program that still runs.
    fn running(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.platter();
        if platter.boot() == self.boot && !platter.is_stopped() { Ok(platter) } else { Err(stopped()) }
    }

    /// From now on operations fail so often.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.platter().faults = faults;
    }

    /// The machine stops in the middle of the `operations`-th changing operation from now (0 is the next one).
    pub fn stop_after(&self, operations: u64) {
        self.platter().stop_after(operations);
    }

    /// The machine stops in the middle of one of the next operations that make or remove names.
    pub fn stop_at_names(&self) {
        self.platter().stop_at_names();
    }

    /// Forgets [`SimDisk::stop_after`] and [`SimDisk::stop_at_names`].
    pub fn stop_never(&self) {
        self.platter().stop_never();
    }

    /// Whether the machine stopped in the middle of an operation.
    pub fn is_stopped(&self) -> bool {
        self.platter().is_stopped()
    }

    /// The power goes, and comes back: gives the disk as the next boot finds it. Older handles fail from now on.
    pub fn power_cut(&self) -> Self {
        let mut platter = self.platter();
        platter.power_cut();
        Self { platter: Arc::clone(&self.platter), boot: platter.boot() }
    }

    /// As [`SimDisk::power_cut`], but handles go on, as those of a next boot.
    pub fn lose_power(&self) {
        self.platter().lose_power();
    }

    /// The process ends, the machine goes on: everything written is in the cache. Older handles fail from now on.
    pub fn process_end(&self) -> Self {
        let mut platter = self.platter();
        platter.process_end();
        Self { platter: Arc::clone(&self.platter), boot: platter.boot() }
    }

    /// Flips one durable bit of something that was written, if anything was; returns the file and the byte.
    pub fn rot(&self) -> Option<(String, usize)> {
        self.platter().rot()
    }

    /// What a power cut now would leave if nothing unsynced survived: names and contents.
    pub fn durable_files(&self) -> Vec<(String, Vec<u8>)> {
        self.platter().durable_files()
    }

    /// The faults that have fired.
    pub fn counts(&self) -> DiskFaultCounts {
        self.platter().counts.clone()
    }

    /// Refuses `count` writes and syncs, beginning with the one after `first` others.
    pub fn refuse(&self, first: u64, count: u64) {
        let mut platter = self.platter();
        let from = platter.refusals.contents + first;
        platter.refusals.numbers = from..from.saturating_add(count);
    }

    /// Refuses every changing operation after so many; `None` ends that.
    pub fn fails_in(&self, operations: Option<u64>) {
        self.platter().refusals.after = operations;
    }

    /// Refuses all reads, or none.
    pub fn refuse_reads(&self, refuses: bool) {
        self.platter().refusals.reads = refuses;
    }

    /// Refuses reads of these files and no others.
    pub fn set_unreadable(&self, names: impl IntoIterator<Item = String>) {
        self.platter().refusals.unreadable = names.into_iter().collect();
    }

    /// Refuses new files beyond so many bytes of all.
    pub fn set_space(&self, bytes: u64) {
        self.platter().refusals.space = Some(bytes);
    }

    /// For controls: syncs of files return as if they had worked, and do nothing.
    pub fn sync_lies(&self) {
        self.platter().refusals.sync_lies = true;
    }

    /// Notes operations from now on; what was noted is forgotten.
    pub fn begin_trace(&self) {
        self.platter().trace = Some(Vec::new());
    }

    /// The operations since the last call, or since [`SimDisk::begin_trace`].
    pub fn take_trace(&self) -> Vec<Op> {
        let mut platter = self.platter();
        std::mem::take(platter.trace.as_mut().expect("no trace was begun"))
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.platter().list().into_iter().map(|(name, _)| name).collect()
    }

    /// What programs see in a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.platter().named(name).cached.clone()
    }

    /// Changes a byte of a file, in the cache and on the platter.
    pub fn change(&self, name: &str, at: usize, with: impl Fn(u8) -> u8) {
        self.platter().named(name).change(at..at + 1, with);
    }

    /// Flips one bit of a file, in the cache and on the platter.
    pub fn flip(&self, name: &str, bit: usize) {
        self.change(name, bit / 8, |byte| byte ^ 1 << (bit % 8));
    }

    /// These bytes of a file are something else, now and after a power cut.
    pub fn overwrite(&self, name: &str, range: Range<usize>) {
        self.platter().named(name).change(range, |_| 0x55);
    }

    /// A file has this content from now on, durably.
    pub fn replace(&self, name: &str, content: &[u8]) {
        self.platter().replace(name, content);
    }

    /// A file is not there any more.
    pub fn lose(&self, name: &str) {
        self.platter().lose(name);
    }

    /// The directory is empty.
    pub fn lose_all(&self) {
        self.platter().lose_all();
    }

    /// Restores all files from a copy of a disk.
    pub fn put_back(&self, earlier: &Self) {
        let earlier = earlier.platter().clone();
        self.platter().put_back(&earlier);
    }

    /// Writes and syncs so far.
    pub fn content_operations(&self) -> u64 {
        self.platter().refusals.contents
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.platter().operations
    }
}

/// The error of programs that do not know yet that their machine is down.
fn stopped() -> io::Error {
    io::Error::other("the machine is down")
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.running()?.list())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let inode = self.running()?.find(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    fn create(&self, name: &str, len: u64) -> io::Result<SimFile> {
        let inode = self.running()?.create(name, len)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.running()?.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.running()?.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.running()?.sync_directory()
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.disk.running()?.read(self.inode, buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.disk.running()?.write(self.inode, bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.running()?.sync(self.inode)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.running()?.len(self.inode))
    }
}

#[cfg(test)]
mod tests;
