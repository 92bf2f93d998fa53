//! Writing the log: appends, commits, new segments.

use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN, STOP_LEN};
use afferent_protocol::session::signed::LogId;

use super::buffer::{Buffer, WriteGroup};
use super::files::{self, Damage, SegmentFile};
use super::forget::Forgetter;
use super::found::OpenError;
use super::index::Shared;
use super::indexer::Indexer;
use super::reader::LogReader;
use super::recovery::{self, Active, RecoveredLog};
use super::trimmer::Trimmer;
use super::write_error::WriteError;
use crate::limits::LOG_SEGMENT_BYTES;
use crate::log::address::Partition;
use crate::log::engine::{CommitError, UnifiedLog};
use crate::log::history::Rebuild;
use crate::log::report::LogDamage;
use crate::log::report::Recovery;
use crate::terms::Terms;

/// Settings of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes of one segment file, at most [`SEGMENT_BYTES_MAX`]; a batch that is larger gets a file of its own.
    pub segment_bytes: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { segment_bytes: LOG_SEGMENT_BYTES }
    }
}

/// The writer of the log in one directory. There is one at a time; [`EmbeddedLog::reader`] creates readers.
pub struct EmbeddedLog<D: Disk> {
    disk: Arc<D>,
    settings: LogSettings,
    log_id: LogId,
    term: u64,
    generation_next: u64,
    shared: Arc<Shared>,
    active: Option<Active<D::File>>,
    buffer: Buffer,
    /// The offset of the next event: `durable_end` plus the buffered events.
    end: u64,
    /// The latest clock reading that was passed in: the begin time of a new segment.
    now: Timestamp,
    /// Segments that were begun since the last successful commit: nothing in them counts.
    fresh: Vec<String>,
    /// The damage that opening found.
    damage: Vec<Damage>,
}

/// The position of a written part.
struct Written {
    part: WriteGroup,
    about: Arc<SegmentFile>,
    position: u64,
}

impl<D: Disk> EmbeddedLog<D> {
    /// Reads and checks the whole log, calls `each` for every batch in order, and repairs the end after a crash.
    ///
    /// The id of a new log and the number of the term come from `entropy`; `now` is when it is opened.
    pub fn open(
        disk: D,
        settings: LogSettings,
        entropy: &mut dyn FnMut() -> u64,
        now: Timestamp,
        each: &mut dyn FnMut(&EntryHead, &Batch<'_>),
    ) -> Result<(Self, Recovery), OpenError> {
        let (opened, recovery) = recovery::open(&disk, entropy, recovery::Reads::Everything(each))?;
        Ok((Self::opened(disk, settings, now, opened), recovery))
    }

    /// As [`EmbeddedLog::open`], but reads only the index of a finished segment that has one, and passes it to
    /// `rebuild` in place of the batches.
    pub fn open_by_indexes(
        disk: D,
        settings: LogSettings,
        entropy: &mut dyn FnMut() -> u64,
        now: Timestamp,
        rebuild: &mut dyn Rebuild,
    ) -> Result<(Self, Recovery), OpenError> {
        let (opened, recovery) = recovery::open(&disk, entropy, recovery::Reads::Indexes(rebuild))?;
        Ok((Self::opened(disk, settings, now, opened), recovery))
    }

    fn opened(disk: D, settings: LogSettings, now: Timestamp, opened: RecoveredLog<D::File>) -> Self {
        assert!(settings.segment_bytes <= SEGMENT_BYTES_MAX, "the configuration is checked against the limit");
        Self {
            disk: Arc::new(disk),
            settings,
            log_id: opened.log_id,
            term: opened.term,
            generation_next: opened.generation_next,
            shared: Arc::new(Shared::new(opened.log_id, opened.end, opened.runs)),
            active: opened.active,
            buffer: Buffer::default(),
            end: opened.end,
            now,
            fresh: Vec::new(),
            damage: opened.damage,
        }
    }

    /// The damaged ranges that opening found, for people. They stay as they are.
    pub fn damage_at_opening(&self) -> &[Damage] {
        &self.damage
    }

    /// The builder of the indexes of finished segments. It runs on a thread of its own.
    pub fn indexer(&self) -> Indexer<D> {
        Indexer::new(Arc::clone(&self.disk), Arc::clone(&self.shared))
    }

    /// The remover of the oldest segments. It runs on a thread of its own.
    pub fn trimmer(&self) -> Trimmer<D> {
        Trimmer::new(Arc::clone(&self.disk), Arc::clone(&self.shared))
    }

    /// Empties old segments of their samples. It runs on a thread of its own.
    pub fn forgetter(&self) -> Forgetter<D> {
        Forgetter::new(Arc::clone(&self.disk), Arc::clone(&self.shared))
    }

    /// A reader of durable entries. It may run on a different thread, and outlive the log.
    pub fn reader(&self) -> LogReader<D> {
        LogReader::new(Arc::clone(&self.disk), Arc::clone(&self.shared))
    }

    fn write_all(&mut self) -> Result<Vec<Written>, WriteError> {
        let mut written = Vec::new();
        let mut first = 0;
        while first < self.buffer.entries().len() {
            let room = self.active.as_ref().map_or(0, |active| active.len.saturating_sub(active.at));
            let Some(part) = self.buffer.part(first, room) else {
                self.begin(first)?;
                continue;
            };
            let active = self.active.as_mut().expect("there is no room without a segment");
            let (about, position) = (Arc::clone(&active.about), active.at);
            let bytes = self.buffer.finish(&part, about.seed);
            let failed = |name: &str, error| WriteError::Write { name: name.to_owned(), error };
            active.file.write_at(bytes, position).map_err(|error| failed(&about.name, error))?;
            let failed = |name: &str, error| WriteError::Sync { name: name.to_owned(), error };
            active.file.sync().map_err(|error| failed(&about.name, error))?;
            active.at += part.bytes();
            first = part.end;
            written.push(Written { part, about, position });
        }
        Ok(written)
    }

    /// Begins a segment with the entry at this index of the buffer. Its header is on disk before any entry follows.
    fn begin(&mut self, index: usize) -> Result<(), WriteError> {
        let head = self.buffer.entries()[index].head;
        let needed = (SEGMENT_HEADER_LEN + head.entry_len() + STOP_LEN) as u64;
        let len = self.settings.segment_bytes.max(needed);
        let generation = self.generation_next;
        let name = files::name(head.ordinal, generation);
        self.active = None;
        self.generation_next += 1;
        let made = self.disk.create(&name, len);
        let file = made.map_err(|error| WriteError::Create { name: name.clone(), bytes: len, error })?;
        self.fresh.push(name.clone());
        let header = files::header(self.log_id, generation, head.ordinal, self.now);
        let written = file.write_at(&header.encode(), 0);
        written.map_err(|error| WriteError::Write { name: name.clone(), error })?;
        let synced = file.sync().and_then(|()| self.disk.sync_directory());
        synced.map_err(|error| WriteError::Sync { name: name.clone(), error })?;
        let about = Arc::new(SegmentFile { name, seed: header.seed() });
        self.active = Some(Active { file, about, len, at: SEGMENT_HEADER_LEN as u64 });
        Ok(())
    }

    /// Abandons the failed segment. Segments that were begun since the last commit hold nothing that counts: they are
    /// removed, or a disk that fails for hours would be filled with them. Where that fails too, the next segment's
    /// header keeps their content from counting.
    fn give_up(&mut self) {
        self.active = None;
        for name in self.fresh.drain(..).rev() {
            // After a power cut a file may be there again, but none without those that were begun before it: their offsets
            // would look as if they were lost.
            if self.disk.remove(&name).and_then(|()| self.disk.sync_directory()).is_err() {
                break;
            }
        }
        self.buffer.clear();
        self.end = self.shared.durable_end();
    }
}

impl<D: Disk> UnifiedLog for EmbeddedLog<D> {
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset {
        let offset = self.end;
        let head = EntryHead::new(batch.header(), offset, self.shared.durable_end(), ingest);
        let head = head.with_clock_offset_us(clock_offset_us);
        self.end = offset.checked_add(u64::from(head.count)).expect("offsets last forever");
        self.now = ingest;
        self.buffer.push(batch, head);
        Offset::new(offset)
    }

    fn commit(&mut self) -> Result<Offset, CommitError> {
        if self.buffer.entries().is_empty() {
            return Ok(self.durable_end());
        }
        let written = self.write_all().inspect_err(|_| self.give_up())?;
        self.shared.publish(self.end, |runs| {
            for Written { part, about, position } in &written {
                let mut position = *position;
                for entry in &self.buffer.entries()[part.first..part.end] {
                    runs.push(about, &entry.head, position, entry.event);
                    position += entry.head.entry_len() as u64;
                }
            }
        });
        self.fresh.clear();
        self.buffer.clear();
        Ok(self.durable_end())
    }

    fn durable_end(&self) -> Offset {
        Offset::new(self.shared.durable_end())
    }

    fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn partition(&self) -> Partition {
        Partition::EMBEDDED
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn term(&self) -> u64 {
        self.term
    }

    fn publish_terms(&mut self, terms: Terms) {
        assert_eq!(terms.log_id(), self.log_id, "the table is of this log");
        self.term = terms.newest().map_or(self.term, |term| term.number);
        self.shared.publish_terms(terms);
    }

    fn take_damage(&mut self) -> Vec<LogDamage> {
        self.shared.take_damage()
    }

    fn has_damage(&self) -> bool {
        self.shared.has_damage()
    }
}
