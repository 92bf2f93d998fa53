//! What is known of one lane: which of its sequences are in the log, and which are not, and why.

use std::ops;

use afferent_protocol::batch::{ChainHash, Header};
use afferent_protocol::event::{LossReason, ResealReason};
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::{Check, Lane};

use super::checks::Checks;
use super::{Fate, Range, Span};
use crate::limits::{CERTIFICATE_LOSSES_MAX, RANGES_MAX};
use crate::log::Row;
use crate::sources::RangeSet;

/// A loss that a source has declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub range: SequenceRange,
    pub reason: LossReason,
    /// When, by the source's clock.
    pub time: Timestamp,
    /// Where in the log.
    pub offset: Offset,
}

/// An epoch in which this lane's events from `first` on stand once more: sequence n of it was `first` + n − 1 here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continued {
    pub lane: Lane,
    pub first: Sequence,
    pub reason: ResealReason,
    pub offset: Offset,
}

impl Continued {
    /// Where this sequence of the old lane stands in the new one.
    pub fn place_of(&self, sequence: Sequence) -> Sequence {
        Sequence::new(sequence.get().saturating_sub(self.first.get()).saturating_add(1))
    }
}

/// Up to where a lane was to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// As far as anything is known of it.
    Everything,
    /// Up to and not including this sequence.
    Sequence(Sequence),
    /// It had not begun.
    Nothing,
}

/// A batch, as far as its lane must know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    pub offset: Offset,
    /// The first offset after it.
    pub offset_end: Offset,
    pub range: SequenceRange,
    /// Its earliest and its latest event time.
    pub time_first: Timestamp,
    pub time_last: Timestamp,
    /// The source's clock when it was made.
    pub wall: Timestamp,
    pub is_emptied: bool,
    /// Its check, which statements name.
    pub check: u64,
}

impl Came {
    pub fn of(head: &EntryHead, header: &Header, chain: &ChainHash) -> Self {
        Self {
            offset: Offset::new(head.ordinal),
            offset_end: Offset::new(head.end_ordinal()),
            range: header.range(),
            time_first: header.time_first,
            time_last: header.time_last,
            wall: header.clock.wall,
            is_emptied: header.is_emptied(),
            check: Check::of(chain).0,
        }
    }

    pub fn of_row(row: &Row) -> Self {
        Self {
            offset: row.offset,
            offset_end: row.end(),
            range: row.range(),
            time_first: row.time_first(),
            time_last: row.time_last(),
            wall: row.wall(),
            is_emptied: row.is_emptied,
            check: Check::of(&row.chain).0,
        }
    }

    /// Whether it has, or had, an event of the span.
    pub fn meets(&self, span: &Span) -> bool {
        self.time_last >= span.from && self.time_first < span.until
    }
}

/// What was seen of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneEvidence {
    /// Where its last batch ends.
    end: Sequence,
    /// The offset of its first batch.
    pub begun_at: Option<Offset>,
    /// The earliest event time of its first batch.
    known_from: Option<Timestamp>,
    /// The first sequence that is kept, where retention may have removed what was before.
    kept_from: Option<Sequence>,
    /// How far it had come, and its latest event time, when the collector told that last before removing something.
    told: Option<(Sequence, Timestamp)>,
    /// The latest clock reading or event time of a batch so far that has its records, so that both are signed.
    reached: Option<Timestamp>,
    present: RangeSet,
    removed: RangeSet,
    pending: Pending,
    holes: RangeSet,
    /// Everything that is missing before its end, whenever it was accepted.
    missing: RangeSet,
    pub checks: Checks,
    /// Offsets from the first batch of the span to the last one.
    pub offsets: Option<ops::Range<Offset>>,
    losses: Vec<Declared>,
    /// More losses were declared than are remembered one by one.
    has_more_losses: bool,
    pub continued: Vec<Continued>,
}

/// Emptied batches since the last batch that has its records, and the holes before them.
///
/// Nothing binds the times of an emptied batch any more, so that they alone must not put it out of the span: what counts
/// is the batch behind it.
#[derive(Debug, Default)]
struct Pending {
    all: RangeSet,
    /// Those that the span takes in by their own account.
    told: RangeSet,
    holes: RangeSet,
}

impl LaneEvidence {
    /// Takes the lane's next batch; tells whether the span takes it in. `is_begun` when the log may have lost the lane's
    /// beginning to retention.
    pub fn batch(&mut self, came: &Came, span: &Span, is_begun: bool) -> bool {
        let Came { offset, offset_end, range, is_emptied, .. } = *came;
        let is_beginning_kept = self.begun_at.is_some() || !is_begun;
        self.begun_at.get_or_insert(offset);
        self.known_from.get_or_insert(came.time_first);
        if !is_beginning_kept {
            self.kept_from = Some(range.first);
        }
        let hole = SequenceRange { first: if is_beginning_kept { self.end } else { range.first }, end: range.first };
        let is_in_span = came.meets(span) && !is_emptied;
        self.pending.holes.insert_or_join(hole);
        self.missing.insert_or_join(hole);
        self.checks.ends(range.end, came.check);
        // It may lie in one from before.
        self.pending.holes.remove(range);
        self.holes.remove(range);
        self.missing.remove(range);
        if is_emptied {
            self.pending.all.insert_or_join(range);
            if came.meets(span) {
                self.pending.told.insert_or_join(range);
            }
        } else {
            self.reached = self.reached.max(Some(came.wall.max(came.time_last)));
            self.settle(span);
        }
        if is_in_span {
            self.present.insert_or_leave(range);
            let offsets = self.offsets.get_or_insert(offset..offset_end);
            offsets.end = offset_end;
        }
        self.end = self.end.max(range.end);
        is_in_span
    }

    /// Judges what lies before the last batch that has its records: what was accepted before it can have happened in the
    /// span unless everything up to there lies before the span.
    fn settle(&mut self, span: &Span) {
        let Pending { all, told, holes } = std::mem::take(&mut self.pending);
        if self.reached.is_none_or(|reached| reached >= span.from) {
            let removed = if told.is_empty() { all } else { told };
            removed.iter().for_each(|range| self.removed.insert_or_join(range));
            holes.iter().for_each(|range| self.holes.insert_or_join(range));
        }
    }

    /// All batches were taken: behind the last one nothing says that the rest lies before the span.
    pub fn finish(&mut self) {
        let Pending { all, told, holes } = std::mem::take(&mut self.pending);
        let removed = if told.is_empty() { all } else { told };
        removed.iter().for_each(|range| self.removed.insert_or_join(range));
        holes.iter().for_each(|range| self.holes.insert_or_join(range));
    }

    /// The source declares a loss. Eviction declares segment after segment: one loss that grows.
    pub fn lost(&mut self, loss: Declared) {
        let has_room = self.losses.len() < CERTIFICATE_LOSSES_MAX;
        match self.losses.last_mut() {
            Some(last) if last.range.end == loss.range.first && last.reason == loss.reason => {
                (last.range.end, last.time, last.offset) = (loss.range.end, loss.time, loss.offset);
            }
            _ if has_room => self.losses.push(loss),
            _ => self.has_more_losses = true,
        }
    }

    /// The collector tells how far it had come, before retention removes something.
    pub fn kept(&mut self, end: Sequence, time_last: Timestamp) {
        self.told = self.told.max(Some((end, time_last)));
    }

    /// Up to when events of the span may be among those that retention has removed; `None` when none can be. A source's
    /// events may come in any order of their times: of what is not kept, the latest time is all that is known.
    pub fn removed_of(&self, span: &Span) -> Option<Timestamp> {
        let until = match (self.kept_from, self.known_from, self.told) {
            (Some(first), Some(known_from), _) if first > Sequence::ZERO => known_from,
            (None, None, Some((_, time_last))) => time_last,
            _ => return None,
        };
        (span.from <= until).then_some(until)
    }

    /// Whether what is kept of it begins behind this sequence.
    pub fn begins_behind(&self, end: Sequence) -> bool {
        self.kept_from.is_some_and(|first| first >= end) || (self.begun_at.is_none() && self.end() >= end)
    }

    /// Where it ends in the log, as far as is known.
    pub fn end(&self) -> Sequence {
        self.end.max(self.told.map_or(Sequence::ZERO, |(end, _)| end))
    }

    /// Whether everything up to this end of a batch with this check has come: of the same history, not only as many.
    pub fn has_come(&self, end: Sequence, check: Option<u64>) -> bool {
        if self.end() < end {
            return false;
        }
        let Some(check) = check.filter(|check| *check != 0) else { return true };
        let last = SequenceRange { first: Sequence::new(end.get().saturating_sub(1)), end };
        match self.checks.get(end) {
            Some(known) => known == check,
            // What is missing there is told as missing; and what retention has removed nobody can compare.
            None => RangeSet::of(last).without(&self.missing).is_empty() || self.begins_behind(end),
        }
    }

    /// Whether retention has removed something that the span takes in, or may take in.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Whether there is more to say than is remembered.
    pub fn is_too_much(&self) -> bool {
        self.has_more_losses || self.holes.is_joined() || self.removed.is_joined() || self.present.len() >= RANGES_MAX
    }

    /// Whether everything from the last batch up to `end` was declared lost.
    pub fn is_lost_up_to(&self, end: Sequence) -> bool {
        let mut left = RangeSet::of(SequenceRange { first: self.end(), end });
        self.losses.iter().for_each(|loss| left = left.without(&RangeSet::of(loss.range)));
        left.is_empty()
    }

    /// The end of what was declared lost before this offset; zero when nothing was.
    pub fn lost_by(&self, offset: Offset) -> Sequence {
        let declared = self.losses.iter().filter(|loss| loss.offset < offset).map(|loss| loss.range.end);
        declared.max().unwrap_or(Sequence::ZERO)
    }

    /// What is not there: holes before its batches, and what was declared lost behind them or under a history that the log
    /// does not have.
    fn absent(&self, span: &Span) -> RangeSet {
        let mut absent = self.holes.clone();
        for Declared { range, time, offset, .. } in &self.losses {
            let is_other_history = self.continued.iter().any(|continued| {
                continued.reason == ResealReason::Diverged && continued.first < range.end && continued.offset <= *offset
            });
            let first = if is_other_history { range.first } else { range.first.max(self.end()) };
            if *time >= span.from {
                absent.insert_or_join(SequenceRange { first, end: range.end });
            }
        }
        absent
    }

    /// The sequences that the span takes in, in order, up to where the lane was to have come. `continues` tells what of a
    /// range stands in another epoch.
    pub fn ranges(&self, span: &Span, until: Until, continues: impl Fn(SequenceRange) -> RangeSet) -> Vec<Range> {
        let limit = match until {
            Until::Everything => Sequence::new(u64::MAX),
            Until::Sequence(end) => end,
            Until::Nothing => Sequence::ZERO,
        };
        let counted = RangeSet::of(SequenceRange { first: Sequence::ZERO, end: limit });
        let within = |set: &RangeSet| set.without(&set.without(&counted));
        let mut ranges: Vec<Range> = self.present.iter().map(|range| of(range, Fate::Present)).collect();
        ranges.extend(within(&self.removed).iter().map(|range| of(range, Fate::Removed)));
        let mut left = within(&self.absent(span));
        for Declared { range, reason, time, .. } in &self.losses {
            let declared = RangeSet::of(*range);
            let undeclared = left.without(&declared);
            let fate = Fate::Lost { reason: *reason, declared: *time };
            ranges.extend(left.without(&undeclared).iter().map(|range| of(range, fate)));
            left = undeclared;
        }
        for range in left.iter() {
            let elsewhere = continues(range);
            ranges.extend(RangeSet::of(range).without(&elsewhere).iter().map(|range| of(range, Fate::Missing)));
        }
        ranges.sort_by_key(|range| range.first);
        ranges
    }

    /// The sequences that are in the log, of those from `first` on: everything up to its end but for its holes.
    pub fn has(&self, range: SequenceRange) -> RangeSet {
        let range = SequenceRange { first: range.first, end: range.end.min(self.end()) };
        RangeSet::of(range).without(&self.holes)
    }
}

fn of(range: SequenceRange, fate: Fate) -> Range {
    Range { first: range.first, end: range.end, fate }
}
