//! Empties old segments of their samples, one after the other, and keeps everything else.
//!
//! A segment is rewritten: its samples batches are emptied ([`Batch::emptied`]), and all others stay byte for byte.
//! Offsets, ingest times and the segment's name and header stay as they are. The new file is whole and on disk under a
//! temporary name before it replaces the old one, so that a crash at any point leaves the one or the other.
//!
//! Readers continue in the file that they have open, and find the new one at their next lookup. An index of the old
//! file does not count for the new one, because their lengths differ.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Stream};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{ENTRY_ALIGN, EntryHead, STOP_LEN, put_entry};

use super::files::{self, SegmentFile};
use super::index::Shared;
use super::segment_index::SegmentIndex;
use super::sound::SoundSegment;
use crate::log::upkeep::{EmptyError, Emptying, Forgotten};

/// Suffix of the new file's name until it replaces the segment.
const UNFINISHED: &str = ".new";

/// Why a segment keeps its samples.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// It is damaged, which every start reports. It is skipped until then.
    #[error("{0} is damaged; its samples stay, and retention continues after it")]
    Unsound(String),
    /// Its batches are so small that emptying would make them larger, and it is as long as a segment may be.
    #[error("{0} would become longer than a segment may be; its samples stay, and retention continues after it")]
    TooLong(String),
    /// The disk refuses the new file: it is full, or failing.
    #[error("cannot write {name} ({error}); the samples stay until the next attempt; check the log's disk")]
    Write {
        /// The new file.
        name: String,
        /// The disk's error.
        error: io::Error,
    },
    /// The new file is whole, but whether it has replaced the segment durably is unknown.
    #[error("replacing {name} did not become durable ({error}); its samples may remain until the next attempt")]
    Replace {
        /// The segment's file.
        name: String,
        /// The disk's error.
        error: io::Error,
    },
}

/// Empties finished segments of their samples. The writer never waits for it, and readers only while a file is renamed.
pub struct Forgetter<D> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    /// First offsets of the segments that are damaged, or have no samples.
    passed: Vec<u64>,
}

/// A segment emptied of samples.
struct Rewritten {
    bytes: Vec<u8>,
    events: u64,
}

impl<D: Disk> Forgetter<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        Self { disk, shared, passed: Vec::new() }
    }

    /// Empties the oldest finished segment that has samples and ends at or before `until`; `None` when there is no such
    /// segment. Blocks for as long as a segment is read and written.
    ///
    /// # Errors
    /// When a segment keeps its samples: call it again for the others.
    pub fn step(&mut self, until: Offset) -> Result<Option<Forgotten>, ForgetError> {
        let shared = Arc::clone(&self.shared);
        let _tending = shared.lock_files();
        while let Some((file, offsets)) = shared.with_samples(until.get(), &self.passed) {
            let first = offsets.start;
            let old = SoundSegment::read(&*self.disk, &file.name, &file, first, offsets.end);
            let rewritten = old.and_then(|old| Some((Rewritten::of(&old)?, old)));
            let Some((rewritten, old)) = rewritten else {
                self.passed.push(first);
                return Err(ForgetError::Unsound(file.name.clone()));
            };
            if rewritten.events == 0 {
                self.passed.push(first);
                continue;
            }
            if rewritten.bytes.len() as u64 > SEGMENT_BYTES_MAX {
                self.passed.push(first);
                return Err(ForgetError::TooLong(file.name.clone()));
            }
            if self.replace(&file, offsets, &old, &rewritten)? {
                let bytes = old.len().saturating_sub(rewritten.bytes.len() as u64);
                let (segment, events) = (file.name.clone(), rewritten.events);
                return Ok(Some(Forgotten { segment, events, bytes }));
            }
        }
        Ok(None)
    }

    /// Replaces the old file by the new one; returns whether the segment is still in the log.
    fn replace(
        &self,
        file: &Arc<SegmentFile>,
        offsets: Range<u64>,
        old: &SoundSegment<D::File>,
        new: &Rewritten,
    ) -> Result<bool, ForgetError> {
        let unfinished = format!("{}{UNFINISHED}", file.name);
        let written = self.write(&unfinished, &new.bytes);
        written.map_err(|error| self.refused(&unfinished, error))?;
        // The check reads from the disk, not the written bytes: breakdowns are among them.
        let Some(read) = SoundSegment::read(&*self.disk, &unfinished, file, offsets.start, offsets.end) else {
            return Err(self.refused(&unfinished, io::ErrorKind::InvalidData.into()));
        };
        let unsound = |_| self.refused(&unfinished, io::ErrorKind::InvalidData.into());
        let index = SegmentIndex::of(&read, file).map_err(unsound)?;
        assert_eq!(
            index.history,
            SegmentIndex::of(old, file).map_err(unsound)?.history,
            "sources learn the same from a segment without samples"
        );
        let failed = |error| ForgetError::Replace { name: file.name.clone(), error };
        let rename = || self.disk.rename(&unfinished, &file.name).map_err(failed);
        if !self.shared.replace(file, index.clone(), rename)? {
            let _ = self.disk.remove(&unfinished);
            return Ok(false);
        }
        self.disk.sync_directory().map_err(failed)?;
        // If the index cannot be written now, the next start rebuilds it: the old one does not match.
        if index.write(&*self.disk, &file.name).is_ok() {
            self.shared.is_beside(offsets.start);
        }
        Ok(true)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.disk.open(name).is_ok() {
            self.disk.remove(name)?;
        }
        let file = self.disk.create(name, bytes.len() as u64)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.disk.sync_directory()
    }

    /// The new file does not count. If it cannot be removed now, the next try or the next start removes it.
    fn refused(&self, name: &str, error: io::Error) -> ForgetError {
        let _ = self.disk.remove(name);
        ForgetError::Write { name: name.to_owned(), error }
    }
}

impl<D: Disk + Send + Sync> Emptying for Forgetter<D> {
    fn step(&mut self, until: Offset) -> Result<Option<Forgotten>, EmptyError> {
        Forgetter::step(self, until).map_err(|error| match error {
            ForgetError::Unsound(_) | ForgetError::TooLong(_) => EmptyError::Stays(error.to_string()),
            ForgetError::Write { .. } | ForgetError::Replace { .. } => EmptyError::Refused(error.to_string()),
        })
    }
}

impl Rewritten {
    /// `None` when it cannot be read any more.
    fn of<F: DiskFile>(old: &SoundSegment<F>) -> Option<Self> {
        let seed = old.header.seed();
        let (mut bytes, mut events) = (old.header.encode().to_vec(), 0);
        old.each(&mut |_, entry| {
            let header = entry.batch.header();
            if header.stream != Stream::Samples || header.is_emptied() {
                put_entry(&mut bytes, seed, &entry.head, entry.batch.bytes());
                return;
            }
            let emptied = entry.batch.emptied();
            let (batch, _) = Batch::parse(&emptied).expect("an emptied batch is a batch");
            let EntryHead { ordinal, acked_end, stamp, .. } = entry.head;
            let head = EntryHead::new(batch.header(), ordinal, acked_end, stamp);
            put_entry(&mut bytes, seed, &head.with_clock_offset_us(entry.head.clock_offset_us()), &emptied);
            events += u64::from(header.count);
        })?;
        bytes.resize(bytes.len() + STOP_LEN, 0);
        if bytes.len() as u64 == old.len() {
            // Emptying does not shrink tiny batches. The padding makes the lengths of old and new file differ, which
            // keeps their indexes apart.
            bytes.resize(bytes.len() + ENTRY_ALIGN, 0);
        }
        Some(Self { bytes, events })
    }
}

/// Whether a file is an unfinished replacement of a segment.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(files::is_segment)
}
