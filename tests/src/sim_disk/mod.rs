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

mod cheat;
mod inode;
mod platter;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use afferent_host::disk::{Disk, DiskFile};

pub use cheat::{CheatFile, CheatingDisk, DiskCheat};
pub use inode::SECTOR;

use crate::faults::FaultCounts;
use crate::rng::Rng;
use platter::Platter;

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

/// One machine's disk.
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

    /// The process ends, the machine goes on: everything written is in the cache. Older handles fail from now on.
    pub fn process_end(&self) -> Self {
        let mut platter = self.platter();
        platter.process_end();
        Self { platter: Arc::clone(&self.platter), boot: platter.boot() }
    }

    /// Flips one durable bit of something that was written, if anything was; gives the file and the byte.
    pub fn rot(&self) -> Option<(String, usize)> {
        self.platter().rot()
    }

    /// What a power cut now would leave if nothing unsynced survived: names and contents.
    pub fn durable_files(&self) -> Vec<(String, Vec<u8>)> {
        self.platter().durable_files()
    }

    /// The faults that have fired.
    pub fn counts(&self) -> FaultCounts {
        self.platter().counts.clone()
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
