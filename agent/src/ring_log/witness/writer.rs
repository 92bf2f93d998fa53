//! The two slots on their disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_host::disk::{Disk, DiskFile};

use super::record::{Record, SLOT_LEN};

const NAMES: [&str; 2] = ["witness-0.bin", "witness-1.bin"];

/// What is known of the slot that takes the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What it holds is on disk: the other slot is next.
    Synced,
    /// It holds what may not be on disk.
    Written,
    /// Somebody waits for the disk.
    Syncing,
    /// The disk refused.
    Refused,
}

/// Shared by the writer and the syncing thread. Neither waits for the disk while holding the lock.
#[derive(Debug)]
struct Shared<F> {
    phase: Phase,
    file: Option<Arc<F>>,
    trouble: Option<String>,
}

/// Brings what was written of the witness to the disk, on a thread of its own.
#[derive(Debug)]
pub struct WitnessSync<F>(Arc<Mutex<Shared<F>>>);

impl<F> Clone for WitnessSync<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

fn lock<F>(shared: &Mutex<Shared<F>>) -> MutexGuard<'_, Shared<F>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: DiskFile> WitnessSync<F> {
    /// Waits until what was written so far is on disk; at most once a second is often enough. After an error the file
    /// is recreated when the next segment begins.
    pub fn sync(&self) -> io::Result<()> {
        let file = {
            let mut shared = lock(&self.0);
            if shared.phase != Phase::Written {
                return Ok(());
            }
            shared.phase = Phase::Syncing;
            shared.file.clone()
        };
        let synced = file.map_or(Ok(()), |file| file.sync());
        let mut shared = lock(&self.0);
        if let Err(error) = &synced {
            (shared.phase, shared.trouble) = (Phase::Refused, Some(error.to_string()));
        } else if shared.phase == Phase::Syncing {
            // Written since: it is unknown whether that is on disk.
            shared.phase = Phase::Synced;
        }
        synced
    }

    /// Why the witness could not be written the last time.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.0).trouble.clone()
    }

    /// Whether the ring log is closed: nothing is written any more.
    pub fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Writes the slots.
#[derive(Debug)]
pub struct WitnessWriter<D: Disk> {
    disk: D,
    files: [Option<Arc<D::File>>; 2],
    /// The slot that takes the writes; the other one is on disk.
    target: usize,
    version: u64,
    shared: Arc<Mutex<Shared<D::File>>>,
    /// Whether the newest slot on disk lacks released ends.
    pub is_behind: bool,
}

/// The newest whole slot.
#[derive(Clone, Debug)]
pub struct Slot {
    version: u64,
    /// Which of the two it is.
    place: usize,
    pub record: Record,
}

/// The newest whole slot; an error where the disk does not answer and no slot is whole.
pub fn read<D: Disk>(disk: &D) -> io::Result<Option<Slot>> {
    let (mut newest, mut refused): (Option<Slot>, _) = (None, None);
    for (place, name) in NAMES.into_iter().enumerate() {
        let mut bytes = [0; SLOT_LEN];
        match disk.open(name).and_then(|file| file.read_at(&mut bytes, 0)) {
            Ok(()) => {
                let slot = Record::decode(&bytes).map(|(version, record)| Slot { version, place, record });
                newest = [newest, slot].into_iter().flatten().max_by_key(|slot| slot.version);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {}
            Err(error) => refused = Some(error),
        }
    }
    match (newest, refused) {
        (None, Some(error)) => Err(error),
        (newest, _) => Ok(newest),
    }
}

impl<D: Disk> WitnessWriter<D> {
    /// Goes on after the slot that was read. The first synced write recreates the file of the other one, the second one
    /// its own.
    pub fn new(disk: D, newest: Option<&Slot>) -> Self {
        let shared = Shared { phase: Phase::Synced, file: None, trouble: None };
        Self {
            disk,
            files: [None, None],
            // The first write changes it.
            target: newest.map_or(1, |slot| slot.place),
            version: newest.map_or(0, |slot| slot.version),
            shared: Arc::new(Mutex::new(shared)),
            is_behind: true,
        }
    }

    /// A handle for the thread that syncs.
    pub fn sync_handle(&self) -> WitnessSync<D::File> {
        WitnessSync(self.shared.clone())
    }

    /// Why the witness could not be written the last time.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared).trouble.clone()
    }

    /// Writes the current content. After a failure the next synced write recreates the file.
    pub fn put(&mut self, record: Record, synced: bool) {
        match lock(&self.shared).phase {
            Phase::Synced => self.target = (self.target + 1) % 2,
            Phase::Refused => self.files[self.target] = None,
            Phase::Written | Phase::Syncing => {}
        }
        if self.files[self.target].is_none() && !synced {
            // Making files takes the disk's time.
            lock(&self.shared).phase = Phase::Refused;
            return;
        }
        self.version += 1;
        let written = self.write(&record.encode(self.version), synced);
        let mut shared = lock(&self.shared);
        match written {
            Ok(()) => {
                shared.phase = if synced { Phase::Synced } else { Phase::Written };
                shared.file = self.files[self.target].clone();
                shared.trouble = None;
                self.is_behind &= !synced;
            }
            Err(error) => {
                self.files[self.target] = None;
                (shared.phase, shared.trouble) = (Phase::Refused, Some(error.to_string()));
            }
        }
    }

    fn write(&mut self, bytes: &[u8], synced: bool) -> io::Result<()> {
        let file = match &self.files[self.target] {
            Some(file) => file.clone(),
            None => self.files[self.target].insert(Arc::new(self.make(NAMES[self.target])?)).clone(),
        };
        file.write_at(bytes, 0)?;
        if synced { file.sync() } else { Ok(()) }
    }

    /// Makes the file of a slot, in place of one that there may be.
    fn make(&self, name: &str) -> io::Result<D::File> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(name, SLOT_LEN as u64)?;
        self.disk.sync_directory()?;
        Ok(file)
    }
}
