//! Takes the samples out of old segments, one after the other, and leaves everything else.
//!
//! A segment is rewritten: its samples batches are emptied ([`Batch::emptied`]), and all others stay byte for byte.
//! Offsets, ingest times and the segment's name and header stay as they are. The new file is whole and on disk under
//! another name before it takes the place of the old one, so that a crash at any point leaves the one or the other.
//!
//! Readers go on in the file that they have open, and find the new one the next time that they look for a place. An index
//! of the old file is of another length than the new one, so that it is not believed.

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

/// Behind a segment's name as long as it is not to take its place.
const UNFINISHED: &str = ".new";

/// Why a segment keeps its samples.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// It is damaged, which is told at every start. It is passed over until then.
    #[error("{0} is not as it was written; its samples stay, and retention goes on behind it")]
    Unsound(String),
    /// Its batches are so tiny that they would get larger, and it is as long as a segment may be.
    #[error("{0} would become longer than a segment may be; its samples stay, and retention goes on behind it")]
    TooLong(String),
    /// The disk refuses the new file: it is full, or failing.
    #[error("{name} cannot be written ({error}); the samples stay until it is tried again; check the log's disk")]
    Write {
        /// The file that was to take the segment's place.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
    /// The new file is whole, and whether it has taken the segment's place for good is not known.
    #[error("{name} could not be replaced for good ({error}); its samples may be there until it is tried again")]
    Replace {
        /// The segment.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
}

/// Takes samples out of finished segments. The writer never waits for it, and readers only while a file is renamed.
pub struct Forgetter<D> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    /// First offsets of the segments that are damaged, or that turned out to have no samples.
    passed: Vec<u64>,
}

/// A segment without its samples.
struct Rewritten {
    bytes: Vec<u8>,
    events: u64,
}

impl<D: Disk> Forgetter<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        Self { disk, shared, passed: Vec::new() }
    }

    /// Takes the samples out of the oldest finished segment that has any and that ends at or before `until`; `None` when
    /// there is no such segment. Blocks for as long as a segment is read and written.
    ///
    /// # Errors
    /// When a segment keeps its samples: the others can still be asked for.
    pub fn step(&mut self, until: Offset) -> Result<Option<Forgotten>, ForgetError> {
        let shared = Arc::clone(&self.shared);
        let _tending = shared.tend();
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

    /// Puts the new file in the place of the old one; tells whether the segment is still in the log.
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
        // What is on the disk is looked at, and not what was written: breakdowns are in it.
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
        // The next start makes the index that cannot be written now: the old one does not fit.
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

    /// Nothing of the new file counts. What cannot be removed now is removed by the next try, or the next start.
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
            // Tiny batches do not get smaller. By its length an index of the old file is told from one of the new.
            bytes.resize(bytes.len() + ENTRY_ALIGN, 0);
        }
        Some(Self { bytes, events })
    }
}

/// Whether a file was to take the place of a segment.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(files::is_segment)
}
