//! Reading what is to be shipped, and looking up what was.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{CHAIN_START, ChainHash, ClockReading};
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Sequence, SequenceRange};
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{ENTRY_ALIGN, ENTRY_HEAD_LEN, Entry, EntryHead, SEGMENT_HEADER_LEN, Seed, entry_len};
use afferent_protocol::session::{Check, Lane, SentBatch};

use super::RingLog;
use super::error::ReadError;
use super::pen::Pen;
use super::pool::Segment;
use super::reader::{Cursor, read_pieces};
use crate::limits::ring_log::READ_TRIES_MAX;

/// What the log knows of the batch that ends at a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is held, or the one behind it is, which names it: its check.
    Check(Check),
    /// No such batch is held.
    Absent,
    /// What stood there is damaged or missing: there may have been such a batch.
    Damaged,
}

/// What a search for a batch has found.
enum Found {
    /// The entry of the batch.
    At(Cursor),
    /// Nothing that can be read.
    Damaged(Damage),
}

/// A stretch that cannot be read.
struct Damage {
    range: SequenceRange,
    /// Chain hash of the last batch in it.
    chain: ChainHash,
}

impl Damage {
    /// The part of it before `end`, where a declared hole begins.
    fn before(mut self, end: Sequence) -> Self {
        if self.range.end > end {
            self.range.end = end;
            // Nobody knows what ended there.
            self.chain = CHAIN_START;
        }
        self
    }
}

impl<D: Disk> RingLog<D> {
    /// Appends whole batches of the lane to `out`, from the one that begins at `from`, without a hole: as many as
    /// `bytes_max` and the segment hold, and at least one. Each was held against its checksums. `from` is any batch's
    /// beginning from [`RingLog::oldest`] on.
    ///
    /// A damaged batch is declared as lost ([`ReadError::Corrupt`]) and not held any more. A released batch
    /// is not lost: [`ReadError::NotHeld`].
    pub fn read(
        &mut self,
        lane: Lane,
        from: Sequence,
        bytes_max: usize,
        clock: &ClockReading,
        out: &mut Vec<u8>,
    ) -> Result<Vec<SentBatch>, ReadError> {
        let start = out.len();
        let result = self.read_batches(lane, from, bytes_max, out);
        match result {
            Ok(Ok(batches)) => {
                self.readers.of(lane.stream).failures = 0;
                Ok(batches)
            }
            Ok(Err(damage)) => {
                out.truncate(start);
                if self.gives_up(lane) {
                    // Whatever else went into a file that gives nothing back would be lost like this, the loss as well.
                    self.close(Pen::Of(lane.stream));
                }
                self.readers.of(lane.stream).failures = 0;
                if self.lanes.get(lane).is_none_or(|known| from < known.released_end) {
                    return Err(ReadError::NotHeld { from });
                }
                self.declare_damage(lane, &damage, clock)
            }
            Err(error) => {
                out.truncate(start);
                if matches!(error, ReadError::Io(_)) {
                    let reader = self.readers.of(lane.stream);
                    reader.failures = reader.failures.saturating_add(1);
                    reader.file = None;
                }
                Err(error)
            }
        }
    }

    /// The check of the batch of the lane that ends there. Where that batch is damaged, the next one has its check: it
    /// names the chain hash of the one before.
    ///
    /// An error shows nothing about what is held: the disk did not answer.
    pub fn check_at(&mut self, lane: Lane, end: Sequence) -> io::Result<Known> {
        let Some(known) = self.lanes.get(lane) else { return Ok(Known::Absent) };
        if end == Sequence::ZERO {
            return Ok(Known::Absent);
        }
        if known.end == end {
            return Ok(known.chain.map_or(Known::Damaged, |chain| Known::Check(Check::of(&chain))));
        }
        if known.end < end {
            return Ok(if known.frayed { Known::Damaged } else { Known::Absent });
        }
        let is_missing = known.released_end < end;
        let holds = |segment: &Segment| segment.first < end && end <= segment.end;
        let begins = |segment: &Segment| segment.first == end && end < segment.end;
        let Some((number, segment)) = self.segment_of(lane, holds).or_else(|| self.segment_of(lane, begins)) else {
            return Ok(if is_missing { Known::Damaged } else { Known::Absent });
        };
        if segment.end == end {
            return Ok(Known::Check(Check::of(&segment.chain)));
        }
        self.open_reader(lane, number)?;
        let (file, seed) = (self.reader_file(lane, number), self.seed(segment.generation));
        let mut position = SEGMENT_HEADER_LEN as u64;
        while segment.first < end && position < segment.bytes_end {
            // Only damage makes it worth reading the whole segment.
            let Some(head) = read_head(file, position, seed)? else { break };
            if head.end_ordinal() == end.get() {
                let mut bytes = vec![0; head.entry_len()];
                file.read_at(&mut bytes, position)?;
                match Entry::parse(&bytes, seed) {
                    Ok(entry) => return Ok(Known::Check(Check::of(&entry.batch.chain_hash()))),
                    Err(_) => break,
                }
            }
            if head.end_ordinal() > end.get() {
                // Either it is in the middle of this batch, or a hole is before it.
                let is_inside = head.ordinal < end.get();
                if is_inside {
                    return Ok(Known::Absent);
                }
                break;
            }
            position += head.entry_len() as u64;
        }
        let mut bytes = vec![0; segment.bytes_end as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(check_in_damaged(&bytes, seed, end).map_or(Known::Damaged, Known::Check))
    }

    fn read_batches(
        &mut self,
        lane: Lane,
        from: Sequence,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Result<Vec<SentBatch>, Damage>, ReadError> {
        let whole_until = self.lanes.get(lane).map(|known| known.whole_until(from));
        let end = whole_until.filter(|end| self.oldest(lane) <= from && from < *end);
        let end = end.ok_or(ReadError::NotHeld { from })?;
        let mut cursor = match self.seek(lane, from)? {
            Found::At(cursor) => cursor,
            Found::Damaged(damage) => return Ok(Err(damage.before(end))),
        };
        let batches = self.read_at(&mut cursor, end, bytes_max, out)?;
        if batches.is_empty() {
            let (_, segment) = self.segment_in(cursor.number).ok_or(ReadError::NotHeld { from })?;
            return Ok(Err(self.damage(&segment, &cursor)?.before(end)));
        }
        self.readers.of(lane.stream).cursor = Some(cursor);
        Ok(Ok(batches))
    }

    /// Finds the position of the batch that begins at `from`.
    fn seek(&mut self, lane: Lane, from: Sequence) -> Result<Found, ReadError> {
        let remembered = self.remembered(lane, from);
        let number = remembered.map(|cursor| cursor.number);
        let found = self.segment_of(lane, |segment| segment.first <= from && from < segment.end);
        let Some((number, segment)) = number.and_then(|number| self.segment_in(number)).or(found) else {
            return self.missing(lane, from);
        };
        if !self.opens(lane, number)? {
            let range = SequenceRange { first: from, end: segment.end };
            return Ok(Found::Damaged(Damage { range, chain: segment.chain }));
        }
        if let Some(cursor) = remembered {
            return Ok(Found::At(cursor));
        }
        let (position, head) = self.find(number, &segment, |head| head.end_ordinal() > from.get())?;
        let mut cursor = Cursor { lane, number, generation: segment.generation, position, next: from };
        match head {
            Some(head) if head.ordinal == from.get() => Ok(Found::At(cursor)),
            Some(head) if head.ordinal < from.get() => Err(ReadError::NotHeld { from }),
            _ => {
                // Back by one step: what is damaged ends at the entry that the walk stands at.
                cursor.position -= ENTRY_ALIGN as u64;
                Ok(Found::Damaged(self.damage(&segment, &cursor)?))
            }
        }
    }

    /// The position where the last read ended, if the batch that begins at `from` is there.
    fn remembered(&self, lane: Lane, from: Sequence) -> Option<Cursor> {
        let cursor = self.readers.at(lane.stream).cursor.filter(|known| known.lane == lane && known.next == from)?;
        let (_, segment) = self.segment_in(cursor.number)?;
        (segment.generation == cursor.generation && cursor.position < segment.bytes_end).then_some(cursor)
    }

    /// No readable file has the batch that begins at `from`: all is missing up to the lane's next segment.
    fn missing(&mut self, lane: Lane, from: Sequence) -> Result<Found, ReadError> {
        let next = self.segment_of(lane, |segment| segment.first > from && segment.first < segment.end);
        let (number, segment) = next.ok_or(ReadError::NotHeld { from })?;
        if !self.opens(lane, number)? {
            let range = SequenceRange { first: from, end: segment.first };
            return Ok(Found::Damaged(Damage { range, chain: CHAIN_START }));
        }
        // One step before the first place where an entry can be.
        let position = (SEGMENT_HEADER_LEN - ENTRY_ALIGN) as u64;
        let cursor = Cursor { lane, number, generation: segment.generation, position, next: from };
        Ok(Found::Damaged(self.damage(&segment, &cursor)?))
    }

    /// Walks a segment's heads up to the first that is wanted; returns its position, or the end of the segment.
    fn find(
        &self,
        number: usize,
        segment: &Segment,
        reached: impl Fn(&EntryHead) -> bool,
    ) -> io::Result<(u64, Option<EntryHead>)> {
        let (lane, generation, seed) = (segment.lane, segment.generation, self.seed(segment.generation));
        let mut position = SEGMENT_HEADER_LEN as u64;
        while position < segment.bytes_end {
            let head = match read_head(self.reader_file(lane, number), position, seed) {
                Err(_) if self.gives_up(lane) => None,
                head => head?,
            };
            match head {
                Some(head) if reached(&head) => return Ok((position, Some(head))),
                Some(head) => position += head.entry_len() as u64,
                None => {
                    let cursor = Cursor { lane, number, generation, position, next: segment.first };
                    let whole = self.entry_after(segment, &cursor)?;
                    position = whole.map_or(segment.bytes_end, |(position, _, _)| position);
                }
            }
        }
        Ok((segment.bytes_end, None))
    }

    /// Reads whole batches from the cursor on, and moves it. None when the first one is damaged.
    fn read_at(
        &self,
        cursor: &mut Cursor,
        held_end: Sequence,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Vec<SentBatch>, ReadError> {
        let Some((_, segment)) = self.segment_in(cursor.number) else { return Ok(Vec::new()) };
        let (file, seed) = (self.reader_file(cursor.lane, cursor.number), self.seed(segment.generation));
        let tolerant = self.gives_up(cursor.lane);
        let start = out.len();
        assert!(cursor.position < segment.bytes_end, "a read begins inside its segment");
        let there = (segment.bytes_end - cursor.position) as usize;
        read_chunk(file, cursor.position, there.min(entry_len(bytes_max)), tolerant, start, out)?;
        if let Some(head) = EntryHead::decode(&out[start..], seed).filter(|head| head.entry_len() > out.len() - start) {
            read_chunk(file, cursor.position, there.min(head.entry_len()), tolerant, start, out)?;
        }
        let mut batches = Vec::new();
        let (mut from, mut to) = (start, start);
        while let Ok(entry) = Entry::parse(&out[from..], seed) {
            let header = entry.batch.header();
            let (bytes, range, entry_bytes) = (header.batch_len(), header.range(), entry.head.entry_len());
            let is_next = range.first == cursor.next && entry.head.ordinal == range.first.get();
            if !is_next || range.end > held_end || (!batches.is_empty() && to - start + bytes > bytes_max) {
                break;
            }
            let check = Check::of(&entry.batch.chain_hash());
            batches.push(SentBatch { lane: cursor.lane, first: range.first, end: range.end, check, bytes });
            out.copy_within(from + ENTRY_HEAD_LEN..from + ENTRY_HEAD_LEN + bytes, to);
            to += bytes;
            from += entry_bytes;
            cursor.position += entry_bytes as u64;
            cursor.next = range.end;
            if from >= out.len() {
                break;
            }
        }
        assert!(cursor.position <= segment.bytes_end, "a read ends inside its segment");
        assert_eq!(to - start, batches.iter().map(|batch| batch.bytes).sum::<usize>(), "only whole batches are read");
        out.truncate(to);
        Ok(batches)
    }

    /// What is damaged from the cursor's sequence on: up to the next whole entry, or to the end of the segment.
    fn damage(&self, segment: &Segment, cursor: &Cursor) -> Result<Damage, ReadError> {
        let whole = self.entry_after(segment, cursor)?;
        let (end, chain) = whole.map_or((segment.end, segment.chain), |(_, first, previous)| (first, previous));
        Ok(Damage { range: SequenceRange { first: cursor.next, end }, chain })
    }

    /// The next whole entry behind the cursor's place: its position, its first sequence, and the chain hash before it.
    fn entry_after(&self, segment: &Segment, cursor: &Cursor) -> io::Result<Option<(u64, Sequence, ChainHash)>> {
        let from = cursor.position + ENTRY_ALIGN as u64;
        let file = self.reader_file(segment.lane, cursor.number);
        let seed = self.seed(segment.generation);
        let mut bytes = Vec::new();
        let there = segment.bytes_end.saturating_sub(from) as usize;
        let tolerant = self.gives_up(segment.lane);
        read_chunk(file, from, there, tolerant, 0, &mut bytes)?;
        let found = (0..bytes.len()).step_by(ENTRY_ALIGN).find_map(|at| {
            EntryHead::decode(&bytes[at..], seed)?;
            let entry = Entry::parse(&bytes[at..], seed).ok()?;
            Some((from + at as u64, Sequence::new(entry.head.ordinal), entry.batch.header().previous))
        });
        Ok(found)
    }

    fn declare_damage(
        &mut self,
        lane: Lane,
        damage: &Damage,
        clock: &ClockReading,
    ) -> Result<Vec<SentBatch>, ReadError> {
        let (range, chain) = (damage.range, damage.chain);
        let (stream, epoch) = (lane.stream, lane.epoch);
        let loss = Loss { stream, epoch, first: range.first, end: range.end, reason: LossReason::Corrupt, chain };
        self.declare(vec![loss], clock).map_err(ReadError::Undeclared)?;
        self.counters.corrupt_events += range.count();
        Err(ReadError::Corrupt { lane, range })
    }

    /// The oldest segment of the lane that is looked for.
    pub(super) fn segment_of(&self, lane: Lane, wanted: impl Fn(&Segment) -> bool) -> Option<(usize, Segment)> {
        let of_lane = self.pool.readable().filter(|(_, segment)| segment.lane == lane && wanted(segment));
        of_lane.min_by_key(|(_, segment)| segment.generation).map(|(number, segment)| (number, *segment))
    }

    /// The segment in this file, if there is one.
    fn segment_in(&self, number: usize) -> Option<(usize, Segment)> {
        self.pool.slots.get(number)?.usage.segment().map(|segment| (number, *segment))
    }

    /// Whether reads have failed so often that the bytes count as damaged.
    fn gives_up(&self, lane: Lane) -> bool {
        self.readers.at(lane.stream).failures >= READ_TRIES_MAX
    }

    /// Opens the file for reading; `false` when it counts as damaged that this fails.
    fn opens(&mut self, lane: Lane, number: usize) -> io::Result<bool> {
        match self.open_reader(lane, number) {
            Err(_) if self.gives_up(lane) => Ok(false),
            opened => opened.map(|()| true),
        }
    }

    pub(super) fn open_reader(&mut self, lane: Lane, number: usize) -> io::Result<()> {
        if self.active(lane.stream).is_some_and(|active| active.number == number) {
            return Ok(());
        }
        self.readers.of(lane.stream).open(&self.pool, number)
    }

    pub(super) fn reader_file(&self, lane: Lane, number: usize) -> &D::File {
        match self.active(lane.stream) {
            Some(active) if active.number == number => &active.file,
            _ => self.readers.at(lane.stream).file(number),
        }
    }
}

/// The check of the batch that ends there, from all that can be read of a segment.
fn check_in_damaged(segment: &[u8], seed: Seed, end: Sequence) -> Option<Check> {
    let mut scan = Scan::new(segment, seed);
    std::iter::from_fn(|| scan.step()).find_map(|step| match step {
        Step::Entry(_, entry) if entry.batch.header().end() == end => Some(Check::of(&entry.batch.chain_hash())),
        Step::Entry(_, entry) if entry.batch.header().first == end => Some(Check::of(&entry.batch.header().previous)),
        _ => None,
    })
}

pub(super) fn read_head(file: &impl DiskFile, position: u64, seed: Seed) -> io::Result<Option<EntryHead>> {
    let mut bytes = [0; ENTRY_HEAD_LEN];
    file.read_at(&mut bytes, position)?;
    Ok(EntryHead::decode(&bytes, seed))
}

/// Reads `len` bytes to `out[start..]`, in place of what is there.
fn read_chunk(
    file: &impl DiskFile,
    position: u64,
    len: usize,
    tolerant: bool,
    start: usize,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    out.resize(start + len, 0);
    match file.read_at(&mut out[start..], position) {
        Err(_) if tolerant => {
            read_pieces(file, &mut out[start..], position);
            Ok(())
        }
        other => other,
    }
}
