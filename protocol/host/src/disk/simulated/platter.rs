//! The state behind a simulated disk: files, names, and the faults that hit operations.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::faults::{DiskFault, DiskFaultCounts};
use super::inode::{Inode, SECTOR};
use super::rng::Rng;
use super::{DiskFaults, Op, SimDisk};

/// A change of the directory that is not durable yet.
#[derive(Clone, Debug)]
enum NameChange {
    Made(String, usize),
    Removed(String),
    Renamed(String, String, usize),
}

/// What the disk refuses by number, name or size, until it is changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// Writes and syncs so far.
    pub(super) contents: u64,
    /// Writes and syncs with these numbers.
    pub(super) numbers: Range<u64>,
    /// All changing operations after so many.
    pub(super) after: Option<u64>,
    /// All reads.
    pub(super) reads: bool,
    /// Reads of these files.
    pub(super) unreadable: BTreeSet<String>,
    /// New files beyond so many bytes of all.
    pub(super) space: Option<u64>,
    /// Syncs of files return without doing anything.
    pub(super) sync_lies: bool,
}

impl Refusals {
    /// Counts a changing operation.
    fn refuse(&mut self) -> io::Result<()> {
        match &mut self.after {
            Some(0) => return Err(refused()),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    /// Counts a write or a sync.
    fn refuse_content(&mut self) -> io::Result<()> {
        let number = self.contents;
        self.contents += 1;
        self.refuse()?;
        if self.numbers.contains(&number) { Err(refused()) } else { Ok(()) }
    }
}

fn refused() -> io::Error {
    io::Error::other("simulated refusal (EIO)")
}

/// Whether an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Whole,
    /// The machine stops in the middle of it.
    InPart,
}

#[derive(Clone, Debug)]
pub(super) struct Platter {
    pub(super) faults: DiskFaults,
    pub(super) refusals: Refusals,
    pub(super) counts: DiskFaultCounts,
    pub(super) operations: u64,
    /// The operations since the trace was begun, if it was.
    pub(super) trace: Option<Vec<Op>>,
    /// The disk that shares this one's power.
    pub(super) beside: Option<SimDisk>,
    pub(super) rng: Rng,
    boot: u64,
    stopped: bool,
    stop_at: Option<u64>,
    stop_at_names: bool,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
}

impl Platter {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            faults: DiskFaults::default(),
            refusals: Refusals::default(),
            counts: DiskFaultCounts::default(),
            operations: 0,
            trace: None,
            beside: None,
            rng,
            boot: 0,
            stopped: false,
            stop_at: None,
            stop_at_names: false,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    pub(super) const fn boot(&self) -> u64 {
        self.boot
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn stop_after(&mut self, operations: u64) {
        self.stop_at = Some(self.operations + operations);
    }

    pub(super) fn stop_at_names(&mut self) {
        self.stop_at_names = true;
    }

    pub(super) fn stop_never(&mut self) {
        self.stop_at = None;
        self.stop_at_names = false;
    }

    /// Counts an operation that changes content.
    fn begin(&mut self) -> Begun {
        self.begin_or(false)
    }

    /// Counts an operation that changes names: with some chance it is the one to stop in.
    fn begin_names(&mut self) -> Begun {
        let stops = self.stop_at_names && self.rng.per_mille(700);
        self.begin_or(stops)
    }

    fn begin_or(&mut self, stops: bool) -> Begun {
        let stops = stops || self.stop_at.is_some_and(|at| self.operations >= at);
        self.operations += 1;
        if stops {
            self.stopped = true;
            self.counts.fired(DiskFault::StopInOperation);
            return Begun::InPart;
        }
        Begun::Whole
    }

    fn fails(&mut self, per_mille: u32, fault: DiskFault) -> bool {
        let fails = self.rng.per_mille(per_mille);
        if fails {
            self.counts.fired(fault);
        }
        fails
    }

    pub(super) fn list(&self) -> Vec<(String, u64)> {
        self.names.iter().map(|(name, inode)| (name.clone(), self.len(*inode))).collect()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn len(&self, inode: usize) -> u64 {
        self.inodes[inode].cached.len() as u64
    }

    pub(super) fn create(&mut self, name: &str, len: u64) -> io::Result<usize> {
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.refusals.refuse()?;
        let taken: u64 = self.names.values().map(|inode| self.len(*inode)).sum();
        if self.refusals.space.is_some_and(|space| taken + len > space) {
            self.counts.fired(DiskFault::NoSpace);
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.fails(self.faults.no_space, DiskFault::NoSpace) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.begin_names() == Begun::InPart && self.rng.coin() {
            return Err(super::stopped());
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::zeros(usize::try_from(len).expect("simulated files fit memory")));
        self.names.insert(name.to_owned(), inode);
        self.changes.push(NameChange::Made(name.to_owned(), inode));
        self.note(|| Op::Create { name: name.to_owned() });
        if self.stopped { Err(super::stopped()) } else { Ok(inode) }
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        if !self.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.refusals.refuse()?;
        if self.begin_names() == Begun::InPart && self.rng.per_mille(200) {
            return Err(super::stopped());
        }
        self.names.remove(name);
        self.changes.push(NameChange::Removed(name.to_owned()));
        self.note(|| Op::Remove { name: name.to_owned() });
        if self.stopped { Err(super::stopped()) } else { Ok(()) }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from).ok_or(io::ErrorKind::NotFound)?;
        self.refusals.refuse()?;
        if self.begin_names() == Begun::InPart && self.rng.coin() {
            return Err(super::stopped());
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), inode);
        self.changes.push(NameChange::Renamed(from.to_owned(), to.to_owned(), inode));
        if self.stopped { Err(super::stopped()) } else { Ok(()) }
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        self.refusals.refuse()?;
        if self.begin_names() == Begun::InPart && self.rng.coin() {
            return Err(super::stopped());
        }
        if self.fails(self.faults.sync_error, DiskFault::SyncError) {
            return Err(io::Error::other("simulated sync error (EIO)"));
        }
        self.changes.clear();
        self.durable_names = self.names.clone();
        if self.stopped { Err(super::stopped()) } else { Ok(()) }
    }

    pub(super) fn read(&mut self, inode: usize, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let is_unreadable = |name: &String| self.names.get(name) == Some(&inode);
        if self.refusals.reads || self.refusals.unreadable.iter().any(is_unreadable) {
            return Err(refused());
        }
        if self.fails(self.faults.read_error, DiskFault::ReadError) {
            return Err(io::Error::other("simulated read error (EIO)"));
        }
        let start = usize::try_from(position).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.inodes[inode].cached.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub(super) fn write(&mut self, inode: usize, bytes: &[u8], position: u64) -> io::Result<()> {
        let start = usize::try_from(position).expect("simulated files fit memory");
        let len = self.inodes[inode].cached.len();
        assert!(start + bytes.len() <= len, "a log writes only into the {len} bytes that it has taken for a file");
        self.note_of(inode, |name| Op::Write { name, position, bytes: bytes.to_vec() });
        if let Err(error) = self.refusals.refuse_content() {
            // Of a write that is refused any bytes have come through, also in the middle of a sector.
            let cut = self.rng.index(bytes.len() + 1);
            self.inodes[inode].write(&bytes[..cut], start);
            return Err(error);
        }
        if self.begin() == Begun::InPart {
            let bytes = &bytes[..self.some_prefix(start, bytes.len())];
            self.inodes[inode].write(bytes, start);
            return Err(super::stopped());
        }
        if self.fails(self.faults.write_error, DiskFault::WriteError) {
            let bytes = &bytes[..self.some_prefix(start, bytes.len())];
            self.inodes[inode].write(bytes, start);
            return Err(io::Error::other("simulated write error (EIO)"));
        }
        self.inodes[inode].write(bytes, start);
        Ok(())
    }

    /// How much of a write of `len` bytes at `start` happened: up to the end of some sector, or all.
    fn some_prefix(&mut self, start: usize, len: usize) -> usize {
        let sectors = (start + len).div_ceil(SECTOR) - start / SECTOR;
        let whole = self.rng.index(sectors + 1);
        ((start / SECTOR + whole) * SECTOR).saturating_sub(start).min(len)
    }

    pub(super) fn sync(&mut self, inode: usize) -> io::Result<()> {
        self.note_of(inode, |name| Op::Sync { name });
        let refused = self.refusals.refuse_content();
        if self.refusals.sync_lies {
            return refused;
        }
        if refused.is_err() {
            self.inodes[inode].sync_failed(&mut self.rng);
            return refused;
        }
        if self.begin() == Begun::InPart {
            if self.rng.coin() {
                self.inodes[inode].sync();
            }
            return Err(super::stopped());
        }
        if self.fails(self.faults.sync_error, DiskFault::SyncError) {
            self.inodes[inode].sync_failed(&mut self.rng);
            return Err(io::Error::other("simulated sync error (EIO)"));
        }
        self.inodes[inode].sync();
        Ok(())
    }

    /// Notes an operation in the trace.
    fn note(&mut self, op: impl FnOnce() -> Op) {
        if let Some(trace) = &mut self.trace {
            trace.push(op());
        }
    }

    /// Notes an operation on a file that has a name.
    fn note_of(&mut self, inode: usize, op: impl FnOnce(String) -> Op) {
        if self.trace.is_none() {
            return;
        }
        if let Some(name) = self.names.iter().find(|(_, of)| **of == inode).map(|(name, _)| name.clone()) {
            self.note(|| op(name));
        }
    }

    /// The file of this name, which must be there.
    pub(super) fn named(&mut self, name: &str) -> &mut Inode {
        let inode = self.find(name).unwrap_or_else(|| panic!("{name} is not there"));
        &mut self.inodes[inode]
    }

    /// Gives the file of this name durable content of any length.
    pub(super) fn replace(&mut self, name: &str, content: &[u8]) {
        *self.named(name) = Inode::durable(content);
    }

    /// Takes a name away, durably.
    pub(super) fn lose(&mut self, name: &str) {
        assert!(self.names.remove(name).is_some(), "{name} was not there");
        self.sync_names();
    }

    /// Takes all names away, durably.
    pub(super) fn lose_all(&mut self) {
        self.names.clear();
        self.sync_names();
    }

    /// Makes the current names durable.
    fn sync_names(&mut self) {
        self.changes.clear();
        self.durable_names = self.names.clone();
    }

    /// Takes over the files of a copy of a disk.
    pub(super) fn put_back(&mut self, earlier: &Self) {
        self.inodes = earlier.inodes.clone();
        self.names = earlier.names.clone();
        self.durable_names = earlier.durable_names.clone();
        self.changes = earlier.changes.clone();
    }

    pub(super) fn power_cut(&mut self) {
        self.lose_power();
        self.next_boot();
    }

    /// Only what chance leaves of it is there afterwards.
    pub(super) fn lose_power(&mut self) {
        if let Some(beside) = &self.beside {
            beside.lose_power();
        }
        for inode in &mut self.inodes {
            inode.power_cut(&mut self.rng, &mut self.counts);
        }
        for change in std::mem::take(&mut self.changes) {
            let survives = self.rng.coin();
            match change {
                NameChange::Made(name, inode) if survives => {
                    self.durable_names.insert(name, inode);
                }
                NameChange::Made(..) => self.counts.fired(DiskFault::NameVanished),
                NameChange::Removed(name) if survives => {
                    self.durable_names.remove(&name);
                }
                NameChange::Removed(_) => self.counts.fired(DiskFault::NameReappeared),
                NameChange::Renamed(from, to, inode) if survives => {
                    self.durable_names.remove(&from);
                    self.durable_names.insert(to, inode);
                }
                NameChange::Renamed(..) => self.counts.fired(DiskFault::NameReappeared),
            }
        }
        self.names = self.durable_names.clone();
    }

    pub(super) fn process_end(&mut self) {
        for inode in &mut self.inodes {
            inode.process_end(&mut self.rng);
        }
        self.next_boot();
    }

    fn next_boot(&mut self) {
        self.boot += 1;
        self.stopped = false;
        self.stop_never();
        // What no name leads to and no handle can reach is gone; the places of the others stay.
        for at in 0..self.inodes.len() {
            let reachable = |names: &BTreeMap<String, usize>| names.values().any(|inode| *inode == at);
            let pending = self.changes.iter().any(|change| match change {
                NameChange::Made(_, inode) | NameChange::Renamed(_, _, inode) => *inode == at,
                NameChange::Removed(_) => false,
            });
            if !pending && !reachable(&self.names) && !reachable(&self.durable_names) {
                self.inodes[at] = Inode::default();
            }
        }
    }

    pub(super) fn rot(&mut self) -> Option<(String, usize)> {
        let names: Vec<(String, usize)> = self.durable_names.iter().map(|(name, at)| (name.clone(), *at)).collect();
        if names.is_empty() {
            return None;
        }
        let (name, inode) = names[self.rng.index(names.len())].clone();
        let at = self.inodes[inode].some_written(&mut self.rng)?;
        let bit = self.rng.below(8) as u32;
        self.inodes[inode].flip(at, bit);
        self.counts.fired(DiskFault::BitRot);
        Some((name, at))
    }

    /// A disk with these files on it, durably.
    pub(super) fn of_files(files: &[(String, Vec<u8>)], rng: Rng) -> Self {
        let mut platter = Self::new(rng);
        for (inode, (name, bytes)) in files.iter().enumerate() {
            platter.inodes.push(Inode::durable(bytes));
            platter.names.insert(name.clone(), inode);
        }
        platter.durable_names = platter.names.clone();
        platter
    }

    pub(super) fn durable_files(&self) -> Vec<(String, Vec<u8>)> {
        self.durable_names.iter().map(|(name, inode)| (name.clone(), self.inodes[*inode].durable.clone())).collect()
    }
}
