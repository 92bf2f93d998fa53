//! A disk in memory that refuses, tears and forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use afferent_host::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// What was done to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write { name: String, position: u64, bytes: Vec<u8> },
    Sync { name: String },
    Create { name: String },
    Remove { name: String },
}

#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: BTreeSet<usize>,
    named: bool,
}

#[derive(Debug, Default)]
pub struct State {
    files: BTreeMap<String, FileState>,
    pub trace: Vec<Op>,
    /// Writes and syncs so far.
    pub operations: u64,
    /// Writes and syncs with these numbers fail.
    pub refused: std::ops::Range<u64>,
    /// Bytes that all files may have.
    pub space: Option<u64>,
    pub refuse_reads: bool,
    /// Files that give nothing.
    pub unreadable: BTreeSet<String>,
    random: u64,
    /// The disk of the witness.
    beside: Option<MemoryDisk>,
}

impl State {
    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.refused.contains(&(self.operations - 1)) { Err(io::Error::other("refused")) } else { Ok(()) }
    }

    /// Any subset of the unsynced sectors reaches the disk.
    fn settle(&mut self, name: &str) {
        let unsynced = std::mem::take(&mut self.files.get_mut(name).unwrap().unsynced);
        for sector in unsynced {
            if self.random() & 1 == 1 {
                self.files.get_mut(name).unwrap().persist(sector);
            }
        }
    }
}

impl FileState {
    fn persist(&mut self, sector: usize) {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.current.len());
        self.durable[range.clone()].copy_from_slice(&self.current[range]);
    }
}

#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    name: String,
}

impl MemoryDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: seed, ..State::default() })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The directory beside this one, which has a fate of its own but for power cuts.
    pub fn beside(&self) -> Self {
        let mut state = self.state();
        let seed = state.random();
        state.beside.get_or_insert_with(|| Self::new(seed)).clone()
    }

    /// The directory is empty.
    pub fn lose_all(&self) {
        self.state().files.clear();
    }

    /// A file of this name is not there any more.
    pub fn lose(&self, name: &str) {
        assert!(self.state().files.remove(name).is_some(), "{name} was there");
    }

    /// The file has this content from now on, durably.
    pub fn replace(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let file = state.files.get_mut(name).unwrap();
        (file.current, file.durable) = (content.clone(), content);
        file.unsynced.clear();
    }

    /// Puts back all files as they are on another disk.
    pub fn put_back(&self, earlier: &Self) {
        let files = earlier.state().files.clone();
        self.state().files = files;
    }

    /// What is there after the power came back.
    pub fn power_cut(&self) {
        let mut state = self.state();
        if let Some(beside) = &state.beside {
            beside.power_cut();
        }
        let names: Vec<_> = state.files.keys().cloned().collect();
        for name in names {
            state.settle(&name);
            let keep = state.files[&name].named || state.random() & 1 == 1;
            if keep {
                let file = state.files.get_mut(&name).unwrap();
                file.current = file.durable.clone();
                file.named = true;
            } else {
                state.files.remove(&name);
            }
        }
    }

    pub fn refuse(&self, first: u64, count: u64) {
        let mut state = self.state();
        let from = state.operations + first;
        state.refused = from..from + count;
    }

    pub fn flip(&self, name: &str, bit: usize) {
        let mut state = self.state();
        let file = state.files.get_mut(name).unwrap();
        file.current[bit / 8] ^= 1 << (bit % 8);
        file.durable[bit / 8] ^= 1 << (bit % 8);
    }

    pub fn zero(&self, name: &str, range: std::ops::Range<usize>) {
        let mut state = self.state();
        let file = state.files.get_mut(name).unwrap();
        file.current[range.clone()].fill(0x55);
        file.durable[range].fill(0x55);
    }

    /// Another disk with the same files.
    pub fn copy(&self) -> Self {
        let state = self.state();
        let beside = state.beside.as_ref().map(Self::copy);
        Self(Arc::new(Mutex::new(State { files: state.files.clone(), beside, ..State::default() })))
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.state().files.iter().map(|(name, file)| (name.clone(), file.current.len() as u64)).collect())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let there = self.state().files.contains_key(name);
        let file = MemoryFile { disk: self.clone(), name: name.to_owned() };
        there.then_some(file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<MemoryFile> {
        let mut state = self.state();
        let taken: u64 = state.files.values().map(|file| file.current.len() as u64).sum();
        if state.space.is_some_and(|space| taken + len > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; len as usize];
        let file = FileState { durable: zeros.clone(), current: zeros, ..FileState::default() };
        assert!(state.files.insert(name.to_owned(), file).is_none(), "the file must not exist");
        state.trace.push(Op::Create { name: name.to_owned() });
        drop(state);
        self.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.trace.push(Op::Remove { name: name.to_owned() });
        state.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        // The files of a ring log keep their names.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state().files.values_mut().for_each(|file| file.named = true);
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let state = self.disk.state();
        if state.refuse_reads || state.unreadable.contains(&self.name) {
            return Err(io::Error::other("refused"));
        }
        let file = state.files.get(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let range = position as usize..position as usize + buffer.len();
        buffer.copy_from_slice(file.current.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let (at, result) = (position as usize, state.operation());
        let cut = if result.is_err() { state.random() as usize % (bytes.len() + 1) } else { bytes.len() };
        let file = state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        assert!(at + bytes.len() <= file.current.len(), "a log never writes beyond its files");
        file.current[at..at + cut].copy_from_slice(&bytes[..cut]);
        file.unsynced.extend(at / SECTOR..(at + cut).div_ceil(SECTOR));
        state.trace.push(Op::Write { name: self.name.clone(), position, bytes: bytes.to_vec() });
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.operation();
        state.trace.push(Op::Sync { name: self.name.clone() });
        if result.is_err() {
            state.settle(&self.name);
        }
        let file = state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        for sector in std::mem::take(&mut file.unsynced) {
            file.persist(sector);
        }
        result
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[&self.name].current.len() as u64)
    }
}
