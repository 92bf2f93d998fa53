//! One walk over all entries that count, for opening and for verifying.

use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::ids::{Offset, Position};
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{Entry, SEGMENT_HEADER_LEN};

use super::files::{Damage, Segment, SegmentFile, Survey, read_whole};
use super::found::OpenError;
use super::window::Window;
use crate::log::report::LostOffsets;

/// The number of damaged ranges that are listed one by one; the rest shows only as holes.
const DAMAGE_TOLD_MAX: usize = 1000;

/// State of the newest segment's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// Whole entries, and nothing but zeros behind them: the log can continue here.
    Clean(Position),
    /// Anything else: the log continues in a new segment.
    Ragged,
}

/// The results of a walk beside the entries.
#[derive(Debug)]
pub(super) struct WalkResult {
    /// The offset where the log continues.
    pub end: u64,
    pub log_end: LogEnd,
    pub torn: bool,
    pub holes: Vec<LostOffsets>,
    pub damage: Vec<Damage>,
}

/// Takes the entries that count, in order: file, position, entry.
pub(super) trait Visit {
    /// The next entry.
    fn entry(&mut self, file: &Arc<SegmentFile>, position: Position, entry: &Entry<'_>);
    /// Called before a whole segment is read, if all its offsets still count: returns whether its content is known
    /// already.
    fn knows(&mut self, _segment: &Segment) -> bool {
        false
    }
}

impl<F: FnMut(&Arc<SegmentFile>, Position, &Entry<'_>)> Visit for F {
    fn entry(&mut self, file: &Arc<SegmentFile>, position: Position, entry: &Entry<'_>) {
        self(file, position, entry);
    }
}

/// Reads all segments of a survey.
pub(super) fn walk<D: Disk>(disk: &D, survey: &Survey, visit: &mut dyn Visit) -> Result<WalkResult, OpenError> {
    let end = survey.segments.first().map_or(0, |segment| segment.first);
    let mut walked = WalkResult { end, log_end: LogEnd::Ragged, torn: false, holes: Vec::new(), damage: Vec::new() };
    // A failed commit over several segments leaves some in which no offset counts.
    for segment in survey.segments.iter().filter(|segment| segment.first < segment.limit) {
        // A segment begins at the log's durable end: offsets missing before it were durable.
        walked.hole(segment.first);
        if walked.end == segment.first && segment.limit != u64::MAX && visit.knows(segment) {
            (walked.end, walked.log_end) = (segment.limit, LogEnd::Ragged);
            continue;
        }
        let Some(from) = walked.whole_entries(disk, segment, visit)? else { continue };
        // Few segments are read whole.
        let mut bytes = Vec::new();
        let bad = read_whole(disk, &segment.file.name, segment.len, &mut bytes)?;
        walked.segment(segment, &bytes, from, visit);
        if bad {
            walked.damaged(segment, 0, segment.len, "bytes that the disk cannot read");
            walked.log_end = LogEnd::Ragged;
            if segment.limit == u64::MAX {
                // A segment that the disk may return later keeps its offsets.
                walked.torn = false;
                walked.hole(segment.first.saturating_add(segment.len));
            }
        }
    }
    walked.hole(survey.end_min);
    Ok(walked)
}

impl WalkResult {
    /// Takes the entries of a segment as long as they follow each other: all of them, when it is sound and ends in
    /// whole entries. Else it returns where anything else begins, and has read nothing behind that.
    fn whole_entries<D: Disk>(
        &mut self,
        disk: &D,
        segment: &Segment,
        visit: &mut dyn Visit,
    ) -> Result<Option<Position>, OpenError> {
        let (name, seed) = (&segment.file.name, segment.file.seed);
        let file = disk.open(name).map_err(|error| OpenError::disk(&format!("opening {name}"), error))?;
        // It can have become shorter since its directory was listed: it was emptied of samples.
        let len = file.len().map_or(segment.len, |now| now.min(segment.len));
        let (mut window, mut at) = (Window::new(&file, len), SEGMENT_HEADER_LEN as u64);
        // An unreadable entry is examined when the whole segment is read.
        while let Ok(Some(entry)) = window.entry(at, seed) {
            let head = entry.head;
            if head.end_ordinal() > segment.limit {
                // The tail of an abandoned segment: a later one continues from here.
                return Ok(None);
            }
            if head.ordinal != self.end {
                return Ok(Some(Position::new(at)));
            }
            visit.entry(&segment.file, Position::new(at), &entry);
            (self.end, at) = (head.end_ordinal(), at + head.entry_len() as u64);
        }
        if !window.is_blank_from(at).unwrap_or(false) {
            return Ok(Some(Position::new(at)));
        }
        self.log_end = LogEnd::Clean(Position::new(at));
        Ok(None)
    }

    /// Takes the readable entries of a segment from a position on.
    fn segment(&mut self, segment: &Segment, bytes: &[u8], from: Position, visit: &mut dyn Visit) {
        let mut scan = Scan::starting_at(bytes, segment.file.seed, from);
        while let Some(step) = scan.step() {
            let (position, entry) = match step {
                Step::Entry(position, entry) => (position, entry),
                // Behind its limit the bytes of a segment do not matter: that is why it was abandoned.
                Step::Corrupt { .. } if self.end == segment.limit => continue,
                Step::Corrupt { from, to } => {
                    self.damaged(segment, from.get(), to.get(), "entries that cannot be read");
                    continue;
                }
            };
            let head = entry.head;
            if head.end_ordinal() > segment.limit {
                // The tail of an abandoned segment: a later one continues from here.
                return;
            }
            if head.ordinal < self.end {
                self.damaged(segment, position.get(), position.get(), "an entry whose offsets exist already");
                continue;
            }
            if head.ordinal > self.end && !is_known_durable(segment, bytes, self.end) {
                // An unfinished write. None of it was acked, so none of it may count: its senders send it again, in
                // order.
                self.torn = true;
                self.log_end = LogEnd::Ragged;
                return;
            }
            self.hole(head.ordinal);
            visit.entry(&segment.file, position, &entry);
            self.end = head.end_ordinal();
        }
        self.tail(segment, bytes, scan.tail());
    }

    fn tail(&mut self, segment: &Segment, bytes: &[u8], tail: Tail) {
        let end = tail.end().get();
        let rest = bytes.get(end as usize..).unwrap_or_default();
        let is_blank = rest.iter().all(|byte| *byte == 0);
        let is_last = segment.limit == u64::MAX;
        self.log_end = if is_blank { LogEnd::Clean(tail.end()) } else { LogEnd::Ragged };
        if is_blank || (!is_last && self.end == segment.limit) {
            return;
        }
        self.torn |= is_last;
        let what = if is_last { "an unfinished write at the end" } else { "bytes after the last entry" };
        self.damaged(segment, end, segment.len, what);
    }

    fn hole(&mut self, end: u64) {
        if end > self.end {
            self.holes.push(LostOffsets { first: Offset::new(self.end), end: Offset::new(end) });
            self.end = end;
        }
    }

    fn damaged(&mut self, segment: &Segment, from: u64, to: u64, what: &'static str) {
        if self.damage.len() < DAMAGE_TOLD_MAX {
            let (from, to) = (Position::new(from), Position::new(to));
            self.damage.push(Damage { file: segment.file.name.clone(), from, to, what });
        }
    }
}

/// Whether `offset`, which cannot be found, was durable once: a later segment begins after it, or an entry was written
/// when the log's durable end was after it.
fn is_known_durable(segment: &Segment, bytes: &[u8], offset: u64) -> bool {
    if segment.limit != u64::MAX {
        return true;
    }
    let mut scan = Scan::new(bytes, segment.file.seed);
    std::iter::from_fn(|| scan.step())
        .any(|step| matches!(step, Step::Entry(_, entry) if entry.head.acked_end > offset))
}
