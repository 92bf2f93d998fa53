//! Reading durable entries.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::segment::{ENTRY_HEAD_LEN, Entry, EntryHead};

use super::damage;
use super::extract::Beside;
use super::files::SegmentFile;
use super::found::OpenError;
use super::index::{ReadStart, Shared};
use super::points::{IndexPoint, TimeKind};
use super::segment_index::{self, SegmentIndex};
use crate::limits::INDEX_EVERY_BYTES;
use crate::log::marks::Wanted;
use crate::log::report::LogDamage;
use crate::terms::Terms;

/// Whole entries, in order, each of them checked once.
#[derive(Clone, Debug)]
pub struct Chunk<'s> {
    entries: Vec<Entry<'s>>,
    next: Offset,
}

impl<'s> Chunk<'s> {
    /// The entries. The first one holds the requested offset, or is the first after a hole; each of the others begins
    /// where the one before it ends.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<'s>> {
        self.entries.iter()
    }

    /// The offset to continue at: the first one after the last entry.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Whether no durable entry is at or after the offset yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn empty(next: Offset) -> Self {
        Self { entries: Vec::new(), next }
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk refused to be read.
    #[error("reading {file} failed: {error}")]
    Disk {
        /// The file's name.
        file: String,
        /// The disk's error.
        error: io::Error,
    },
    /// The disk returns other bytes than were written.
    #[error(
        "{file} is damaged: the events from offset {first} up to {end} cannot be read; reading can continue at {end}"
    )]
    Corrupt {
        /// The file's name.
        file: String,
        /// The first offset that cannot be read.
        first: Offset,
        /// The offset to continue at.
        end: Offset,
    },
}

/// The index of a segment cannot be opened.
fn not_opened(error: io::Error) -> ReadError {
    ReadError::Disk { file: "an index of the log".to_owned(), error }
}

/// Whether an entry with this head holds this offset.
fn holds(head: &EntryHead, offset: u64) -> bool {
    (head.ordinal..head.end_ordinal()).contains(&offset)
}

/// A reader's open file, and the position in it of the offset that comes next, once it has read there.
struct OpenFile<F> {
    about: Arc<SegmentFile>,
    file: F,
    stopped: Option<(u64, u64)>,
}

/// The result of a lookup, and its open file.
type Reached<'r, F> = (ReadStart, MutexGuard<'r, Option<OpenFile<F>>>);

/// Reads durable entries, from any offset, as often as it likes. Clones are independent: each has its own open file.
pub struct LogReader<D: Disk> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    hand: Mutex<Option<OpenFile<D::File>>>,
    /// Bytes that it has read.
    read: AtomicU64,
    own: Option<SourceId>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { own: self.own, ..Self::new(Arc::clone(&self.disk), Arc::clone(&self.shared)) }
    }
}

impl<D: Disk> LogReader<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        Self { disk, shared, hand: Mutex::new(None), read: AtomicU64::new(0), own: None }
    }

    /// The same reader, with the collector's name as a source.
    pub fn of_collector(self, own: SourceId) -> Self {
        Self { own: Some(own), ..self }
    }

    /// The collector's name as a source, if it was set.
    pub fn collector_name(&self) -> Option<SourceId> {
        self.own
    }

    /// The next offsets from `from` on that can hold wanted events, as far as the indexes show; `None` when no durable
    /// ones can.
    pub fn next_range(&self, from: Offset, wanted: &Wanted) -> Option<Range<Offset>> {
        let range = self.shared.next_range(&*self.disk, from.get(), wanted)?;
        Some(Offset::new(range.start)..Offset::new(range.end))
    }

    /// The terms of the log.
    pub fn terms(&self) -> Arc<Terms> {
        self.shared.terms()
    }

    /// Bytes that this reader has read.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that all readers of this log have read.
    pub fn bytes_read_by_all(&self) -> u64 {
        self.shared.bytes_read()
    }

    /// Whole entries from the one that holds `from`, up to `bytes_max` bytes of them and at least one. They are read
    /// into `scratch`. The chunk is empty when no durable entry is there yet.
    pub fn read<'s>(&self, from: Offset, bytes_max: usize, scratch: &'s mut Vec<u8>) -> Result<Chunk<'s>, ReadError> {
        self.read_until(from, Offset::new(u64::MAX), bytes_max, scratch)
    }

    /// As [`LogReader::read`], but stops at the index's first point at or after `until`.
    pub fn read_until<'s>(
        &self,
        from: Offset,
        until: Offset,
        bytes_max: usize,
        scratch: &'s mut Vec<u8>,
    ) -> Result<Chunk<'s>, ReadError> {
        if from.get() >= self.shared.durable_end() {
            return Ok(Chunk::empty(from));
        }
        let Some((place, mut hand)) = self.reach(from, until)? else {
            // The log ends in a hole.
            return Ok(Chunk::empty(self.durable_end()));
        };
        let hand = hand.as_mut().expect("a file was just taken in hand");
        let stopped = hand.stopped.filter(|(next, _)| *next == place.wanted).map(|(_, position)| position);
        let start = match stopped.filter(|position| (place.position..place.stop).contains(position)) {
            Some(position) => position,
            None => self.walk_to(&place, hand, scratch)?,
        };
        let seed = place.file.seed;
        let head_bytes = self.fill(hand, scratch, start, ENTRY_HEAD_LEN, place.stop)?;
        let head = EntryHead::decode(head_bytes, seed);
        let first_len = head.map_or(ENTRY_HEAD_LEN, |head| head.entry_len());
        let bytes = self.fill(hand, scratch, start, bytes_max.max(first_len), place.stop)?;
        let (mut entries, mut len, mut next) = (Vec::new(), 0, place.wanted);
        while let Ok(entry) = Entry::parse(&bytes[len..], seed) {
            let head = entry.head;
            let is_due = if len == 0 { holds(&head, place.wanted) } else { head.ordinal == next };
            if !is_due || bytes.len() - len < head.entry_len() {
                break;
            }
            len += head.entry_len();
            next = head.end_ordinal();
            entries.push(entry);
        }
        if entries.is_empty() {
            // A whole head still has the length of its damaged batch.
            return Err(match head.filter(|head| holds(head, place.wanted)) {
                Some(head) => self.corrupt_up_to(&place, head.end_ordinal()),
                None => self.corrupt(&place, place.wanted),
            });
        }
        hand.stopped = Some((next, start + len as u64));
        Ok(Chunk { entries, next: Offset::new(next) })
    }

    /// The extracts beside the log's segments, for certificates. `own` is the collector's name.
    pub(crate) fn extracts(&self, own: &SourceId) -> Result<Beside<'_, D>, OpenError> {
        Beside::load(&*self.disk, own, self.durable_end())
    }

    /// Points in memory, of all readers.
    #[cfg(test)]
    pub fn points_held(&self) -> (usize, usize) {
        self.shared.points_held()
    }

    /// The index that a segment of the log should have.
    #[cfg(test)]
    pub(super) fn derived(&self, name: &str) -> SegmentIndex {
        let whole = self.shared.whole_segments();
        let (file, offsets) = whole.iter().find(|(file, _)| file.name == name).expect("it is in the log");
        SegmentIndex::derive(&*self.disk, file, offsets.start, offsets.end).expect("it is sound")
    }

    /// The first offset that is not durable.
    pub fn durable_end(&self) -> Offset {
        Offset::new(self.shared.durable_end())
    }

    /// The oldest offset; the durable end when the log is empty.
    pub fn first(&self) -> Offset {
        Offset::new(self.shared.first())
    }

    /// The offset of the first batch with an event of `time` or later; the durable end when none has one. Batches after
    /// it may have earlier times: clocks differ and step.
    pub fn seek_time(&self, kind: TimeKind, time: Timestamp) -> Result<Offset, ReadError> {
        let end = self.durable_end();
        let found = self.shared.point_at_time(&*self.disk, kind, time).map_err(not_opened)?;
        let Some(mut at) = found.map(Offset::new) else { return Ok(end) };
        let mut scratch = Vec::new();
        while at < end {
            let chunk = match self.read(at, INDEX_EVERY_BYTES as usize, &mut scratch) {
                Ok(chunk) => chunk,
                Err(ReadError::Corrupt { .. }) if self.mend_index(at) => continue,
                // The damaged entries may have held it; a reader that starts here gets the error.
                Err(ReadError::Corrupt { .. }) => return Ok(at),
                Err(error) => return Err(error),
            };
            let found = chunk.entries().find(|entry| match kind {
                TimeKind::Ingest => entry.head.stamp >= time,
                TimeKind::Event => entry.batch.header().time_last >= time,
            });
            if let Some(entry) = found {
                return Ok(Offset::new(entry.head.ordinal));
            }
            at = chunk.next();
        }
        Ok(end)
    }

    /// The first offset behind everything that was ingested before `time`. Entries before it may have later times: the
    /// collector's clock may have been set back.
    pub fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadError> {
        let found = self.shared.last_before(&*self.disk, time).map_err(not_opened)?;
        let Some(last) = found else { return Ok(self.first()) };
        let (mut at, until) = (Offset::new(last.start), Offset::new(last.end));
        let (mut end, mut scratch) = (at, Vec::new());
        while at < until {
            match self.read_until(at, until, INDEX_EVERY_BYTES as usize, &mut scratch) {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => {
                    let before = chunk.entries().filter(|entry| entry.head.stamp < time).last();
                    end = before.map_or(end, |entry| Offset::new(entry.head.end_ordinal()));
                    at = chunk.next();
                }
                Err(ReadError::Corrupt { .. }) if self.mend_index(at) => continue,
                // A reader of the range up to there gets the error.
                Err(ReadError::Corrupt { end: hole_end, .. }) => (at, end) = (hole_end, hole_end),
                Err(error) => return Err(error),
            }
        }
        Ok(end)
    }

    /// Rebuilds the index of the segment that holds `offset`, if readers have it from a file and it was not rebuilt
    /// yet: unreadable entries may be elsewhere than that file claims. Returns whether to try again. Blocks for as long
    /// as a segment is read.
    pub fn mend_index(&self, offset: Offset) -> bool {
        let _tending = self.shared.lock_files();
        let Some((file, offsets)) = self.shared.told_by_file(offset.get()) else { return false };
        let first = offsets.start;
        match SegmentIndex::derive(&*self.disk, &file, first, offsets.end) {
            Ok(index) => {
                // Without the file the next start reads the segment, or uses a wrong index and comes here again. The
                // points stay in memory: a second call finds that the index was rebuilt.
                let _ = index.write(&*self.disk, &file.name);
                self.shared.looked_into(index);
                true
            }
            Err(_) => {
                self.look_for_damage(&file, offsets.clone());
                // The next start must read the segment and report its damage.
                let _ = self.disk.remove(&segment_index::name(&file.name));
                self.shared.mark_unverifiable(first, IndexPoint::readable(&*self.disk, &file, offsets));
                // Now the index locates the readable entries.
                true
            }
        }
    }

    /// Reports damage, for the collector's log, its health and an event.
    pub fn report_damage(&self, error: &ReadError) {
        let ReadError::Corrupt { file, first, end } = error else { return };
        if self.shared.is_damage_known(*first) {
            return;
        }
        if let Some((segment, offsets)) = self.shared.run_of(first.get()) {
            self.look_for_damage(&segment, offsets);
        }
        let (file, missing) = (file.clone(), Vec::new());
        if !self.shared.is_damage_known(*first) {
            self.shared.damaged(LogDamage { place: file, first: *first, end: *end, missing });
        }
    }

    /// Reports the missing ranges of a segment, by its index from when it was whole.
    fn look_for_damage(&self, file: &Arc<SegmentFile>, offsets: Range<u64>) {
        let (first, end) = (offsets.start, offsets.end);
        let len = self.disk.open(&file.name).and_then(|file| file.len()).unwrap_or(0);
        let before = SegmentIndex::read(&*self.disk, file, len, first, end).map(|index| index.history);
        let found = damage::find(&*self.disk, file, first, end, before.as_ref());
        found.into_iter().for_each(|damage| self.shared.damaged(damage));
    }

    /// Finds where to begin reading, and opens the file unless it is open already; `None` past the log's end.
    fn reach(&self, from: Offset, until: Offset) -> Result<Option<Reached<'_, D::File>>, ReadError> {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        // The name must still lead to the file that the lookup found.
        let _names = self.shared.fixed_names();
        let place = self.shared.read_start(&*self.disk, from.get(), until.get()).map_err(not_opened)?;
        let Some(place) = place else { return Ok(None) };
        if hand.as_ref().is_none_or(|hand| !Arc::ptr_eq(&hand.about, &place.file)) {
            let name = &place.file.name;
            let file = self.disk.open(name).map_err(|error| ReadError::Disk { file: name.clone(), error })?;
            let about = Arc::clone(&place.file);
            *hand = Some(OpenFile { about, file, stopped: None });
        }
        Ok(Some((place, hand)))
    }

    /// The position of the entry that holds the wanted offset. It begins less than [`INDEX_EVERY_BYTES`] after the
    /// index's point; the heads in between lead to it.
    fn walk_to(&self, place: &ReadStart, hand: &OpenFile<D::File>, scratch: &mut Vec<u8>) -> Result<u64, ReadError> {
        if place.offset == place.wanted {
            return Ok(place.position);
        }
        let bytes =
            self.fill(hand, scratch, place.position, INDEX_EVERY_BYTES as usize + ENTRY_HEAD_LEN, place.stop)?;
        let mut at = 0;
        let mut expected = place.offset;
        loop {
            let head = bytes.get(at..).and_then(|rest| EntryHead::decode(rest, place.file.seed));
            match head.filter(|head| head.ordinal == expected) {
                Some(head) if head.end_ordinal() > place.wanted => return Ok(place.position + at as u64),
                Some(head) => (at, expected) = (at + head.entry_len(), head.end_ordinal()),
                None => return Err(self.corrupt(place, place.wanted)),
            }
        }
    }

    fn corrupt(&self, place: &ReadStart, first: u64) -> ReadError {
        let end = Offset::new(self.shared.after_damage(&*self.disk, first));
        ReadError::Corrupt { file: place.file.name.clone(), first: Offset::new(first), end }
    }

    fn corrupt_up_to(&self, place: &ReadStart, end: u64) -> ReadError {
        let (first, end) = (Offset::new(place.wanted), Offset::new(end));
        ReadError::Corrupt { file: place.file.name.clone(), first, end }
    }

    /// Reads up to `len` bytes from `from` on, not past `stop`.
    fn fill<'s>(
        &self,
        hand: &OpenFile<D::File>,
        scratch: &'s mut Vec<u8>,
        from: u64,
        len: usize,
        stop: u64,
    ) -> Result<&'s [u8], ReadError> {
        let len = (len as u64).min(stop.saturating_sub(from)) as usize;
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        let bytes = &mut scratch[..len];
        let read = hand.file.read_at(bytes, from);
        read.map_err(|error| ReadError::Disk { file: hand.about.name.clone(), error })?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        self.shared.count_read(len as u64);
        Ok(bytes)
    }
}
