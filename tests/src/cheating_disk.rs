//! A disk that cheats, so that the log above it has a bug that its own code has not.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::Batch;
use afferent_protocol::codec;
use afferent_protocol::event::{Body, LossReason};
use afferent_protocol::scan::{Scan, Tail};
use afferent_protocol::segment::{
    ENTRY_ALIGN, ENTRY_HEAD_LEN, EntryHead, Head, SEGMENT_HEADER_LEN, STOP_LEN, Seed, SegmentHeader,
};

use afferent_host::disk::simulated::{SimDisk, SimFile};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCheat {
    /// Nothing.
    Honest,
    /// A sync does nothing.
    NoSync,
    /// A sync of names does nothing.
    NoDirectorySync,
    /// A sync that failed is tried once more, and the second answer counts.
    SyncTwice,
    /// What a start finds is taken for durable: writing it again does nothing, and no sync does until something new was
    /// written to the file.
    TrustsCache,
    /// When a segment is started over, its old entries get checksums with the new seed.
    StaleSeed,
    /// A declaration of evicted events reaches the disk only after the next write elsewhere.
    LossLater,
    /// A declaration of evicted events never reaches the disk: its place holds it only as long as the process lives.
    LossNever,
    /// A torn tail looks like a clean one at the next start.
    TornTailMended,
}

/// What a process's handles share.
#[derive(Debug, Default)]
struct Shared {
    /// Writes that the disk has not got yet, by file: what programs read there all the same.
    withheld: Vec<(String, u64, Vec<u8>)>,
    /// The seed of each file's entries, while it is known.
    seeds: BTreeMap<String, Seed>,
}

/// A disk that cheats.
#[derive(Clone, Debug)]
pub struct CheatingDisk {
    disk: SimDisk,
    cheat: DiskCheat,
    shared: Arc<Mutex<Shared>>,
}

/// An open file of a [`CheatingDisk`].
#[derive(Debug)]
pub struct CheatFile {
    file: SimFile,
    name: String,
    disk: CheatingDisk,
    written: AtomicBool,
}

impl CheatingDisk {
    /// The disk as a process sees it from its start on.
    pub fn new(disk: SimDisk, cheat: DiskCheat) -> Self {
        let disk = Self { disk, cheat, shared: Arc::default() };
        if cheat == DiskCheat::TornTailMended {
            // What the disk refuses stays as it is.
            let _ = disk.mend_tails();
        }
        disk
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn file(&self, file: SimFile, name: &str) -> CheatFile {
        CheatFile { file, name: name.to_owned(), disk: self.clone(), written: false.into() }
    }

    /// Writes a stop over the head of every torn tail.
    fn mend_tails(&self) -> io::Result<()> {
        for (name, len) in self.disk.list()? {
            let file = self.disk.open(&name)?;
            let mut bytes = vec![0; len as usize];
            file.read_at(&mut bytes, 0)?;
            let Head::Present { header, .. } = SegmentHeader::decode(&bytes) else { continue };
            let mut scan = Scan::new(&bytes, header.seed());
            while scan.step().is_some() {}
            if let Tail::Torn { end, .. } = scan.tail() {
                let left = bytes.len().saturating_sub(end.get() as usize);
                file.write_at(&vec![0; STOP_LEN.min(left)], end.get())?;
                file.sync()?;
            }
        }
        Ok(())
    }

    /// Hands over what was withheld from other files than this one.
    fn hand_over(&self, except: &str) -> io::Result<()> {
        let mut shared = self.shared();
        let (stay, go): (Vec<_>, Vec<_>) = shared.withheld.drain(..).partition(|(name, ..)| name == except);
        shared.withheld = stay;
        drop(shared);
        for (name, position, bytes) in go {
            let file = self.disk.open(&name)?;
            file.write_at(&bytes, position)?;
            file.sync()?;
        }
        Ok(())
    }
}

impl Disk for CheatingDisk {
    type File = CheatFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<CheatFile> {
        Ok(self.file(self.disk.open(name)?, name))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<CheatFile> {
        Ok(self.file(self.disk.create(name, len)?, name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.cheat == DiskCheat::NoDirectorySync { Ok(()) } else { self.disk.sync_directory() }
    }
}

impl DiskFile for CheatFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(buffer, position)?;
        for (name, at, bytes) in &self.disk.shared().withheld {
            if *name == self.name {
                overlay(buffer, position, bytes, *at);
            }
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        match self.disk.cheat {
            DiskCheat::LossLater | DiskCheat::LossNever if declares_eviction(bytes) => {
                // Without the stop, in whose place the next entry is written.
                let entry = bytes[..bytes.len() - STOP_LEN].to_vec();
                self.disk.shared().withheld.push((self.name.clone(), position, entry));
                return Ok(());
            }
            DiskCheat::TrustsCache if self.holds(bytes, position) => return Ok(()),
            DiskCheat::StaleSeed => self.keep_old_entries_valid(bytes, position)?,
            _ => {}
        }
        self.written.store(true, Relaxed);
        self.file.write_at(bytes, position)?;
        if self.disk.cheat == DiskCheat::LossLater && position > 0 {
            self.disk.hand_over("")?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.cheat {
            DiskCheat::NoSync => Ok(()),
            DiskCheat::TrustsCache if !self.written.load(Relaxed) => Ok(()),
            DiskCheat::SyncTwice => self.file.sync().or_else(|_| self.file.sync()),
            _ => self.file.sync(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl CheatFile {
    /// Whether the file already says that there.
    fn holds(&self, bytes: &[u8], position: u64) -> bool {
        let mut there = vec![0; bytes.len()];
        self.file.read_at(&mut there, position).is_ok() && there == bytes
    }

    /// If a header is being written, all entries in the file move over to its seed.
    fn keep_old_entries_valid(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let Head::Present { header, .. } = SegmentHeader::decode(bytes) else { return Ok(()) };
        if position != 0 {
            return Ok(());
        }
        let old = self.disk.shared().seeds.insert(self.name.clone(), header.seed());
        let Some(old) = old else { return Ok(()) };
        let mut content = vec![0; self.file.len()? as usize];
        self.file.read_at(&mut content, 0)?;
        for at in (SEGMENT_HEADER_LEN..content.len().saturating_sub(ENTRY_HEAD_LEN)).step_by(ENTRY_ALIGN) {
            if let Some(head) = EntryHead::decode(&content[at..], old) {
                self.file.write_at(&head.encode(header.seed()), at as u64)?;
            }
        }
        Ok(())
    }
}

/// Whether a write holds an entry that declares evicted events.
fn declares_eviction(bytes: &[u8]) -> bool {
    let start = if matches!(SegmentHeader::decode(bytes), Head::Present { .. }) { SEGMENT_HEADER_LEN } else { 0 };
    let Some(batch) = bytes.get(start + ENTRY_HEAD_LEN..) else { return false };
    let Ok((batch, _)) = Batch::parse(batch) else { return false };
    let mut scratch = vec![0; batch.header().decoded_len as usize];
    let Ok(records) = codec::records(&batch, &mut scratch) else { return false };
    let evicted = |body: &Body<'_>| matches!(body, Body::Loss(loss) if loss.reason == LossReason::Evicted);
    records.flatten().any(|record| evicted(&record.event.body))
}

/// Puts what of `bytes` (at `at`) lies within `buffer` (at `position`) over it.
fn overlay(buffer: &mut [u8], position: u64, bytes: &[u8], at: u64) {
    let first = position.max(at);
    let end = (position + buffer.len() as u64).min(at + bytes.len() as u64);
    if first < end {
        let from = &bytes[(first - at) as usize..(end - at) as usize];
        buffer[(first - position) as usize..(end - position) as usize].copy_from_slice(from);
    }
}
