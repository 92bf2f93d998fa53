//! The evidence about one lane: which of its sequences are in the log, which are not, and why.

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
    /// The time of the declaration, by the source's clock.
    pub time: Timestamp,
    /// The offset of the declaration.
    pub offset: Offset,
}

/// An epoch that has this lane's events from `first` on again: sequence n of it was `first` + n − 1 here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continued {
    pub lane: Lane,
    pub first: Sequence,
    pub reason: ResealReason,
    pub offset: Offset,
}

impl Continued {
    /// The sequence in the new lane of the event with this sequence in the old one.
    pub fn place_of(&self, sequence: Sequence) -> Sequence {
        Sequence::new(sequence.get().saturating_sub(self.first.get()).saturating_add(1))
    }
}

/// The end that a lane must have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneBound {
    /// As far as the lane is known.
    Everything,
    /// Up to and not including this sequence.
    Sequence(Sequence),
    /// The lane had not begun.
    Nothing,
}

/// A batch in the log, as far as its lane needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedBatch {
    pub offset: Offset,
    /// The first offset after it.
    pub offset_end: Offset,
    pub range: SequenceRange,
    /// The batch's earliest and latest event time.
    pub time_first: Timestamp,
    pub time_last: Timestamp,
    /// The source's clock when it made the batch.
    pub wall: Timestamp,
    pub is_emptied: bool,
    /// The batch's check, which statements name.
    pub check: u64,
}

impl ReceivedBatch {
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

    /// Whether the batch has, or had, an event of the span.
    pub fn meets(&self, span: &Span) -> bool {
        self.time_last >= span.from && self.time_first < span.until
    }
}

/// The evidence about a lane.
#[derive(Debug, Default)]
pub(super) struct LaneEvidence {
    /// The end of the lane's last batch.
    end: Sequence,
    /// The offset of the lane's first batch.
    pub begun_at: Option<Offset>,
    /// The earliest event time of the lane's first batch.
    known_from: Option<Timestamp>,
    /// The first kept sequence, if retention may have removed earlier ones.
    kept_from: Option<Sequence>,
    /// The lane's end and latest event time, as the collector last declared them before it removed events.
    told: Option<(Sequence, Timestamp)>,
    /// The latest clock reading or event time of the batches that have their records: both are signed.
    reached: Option<Timestamp>,
    present: RangeSet,
    removed: RangeSet,
    pending: UndatedRanges,
    holes: RangeSet,
    /// All sequences missing before the lane's end, of any time.
    missing: RangeSet,
    pub checks: Checks,
    /// Offsets from the first batch of the span to the last one.
    pub offsets: Option<ops::Range<Offset>>,
    losses: Vec<Declared>,
    /// More losses were declared than are kept one by one.
    has_more_losses: bool,
    pub continued: Vec<Continued>,
}

/// Emptied batches since the last batch that has its records, and the holes before them.
///
/// No signature binds the times of an emptied batch any more, so its own times must not exclude it from the span: the
/// batch behind it decides.
#[derive(Debug, Default)]
struct UndatedRanges {
    all: RangeSet,
    /// The batches that the span takes in by their own times.
    dated: RangeSet,
    holes: RangeSet,
}

impl LaneEvidence {
    /// Adds the lane's next batch; returns whether the span takes it in. `is_begun` when retention may have removed the
    /// lane's beginning.
    pub fn batch(&mut self, came: &ReceivedBatch, span: &Span, is_begun: bool) -> bool {
        let ReceivedBatch { offset, offset_end, range, is_emptied, .. } = *came;
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
        // The batch may fill a hole from before.
        self.pending.holes.remove(range);
        self.holes.remove(range);
        self.missing.remove(range);
        if is_emptied {
            self.pending.all.insert_or_join(range);
            if came.meets(span) {
                self.pending.dated.insert_or_join(range);
            }
        } else {
            self.reached = self.reached.max(Some(came.wall.max(came.time_last)));
            self.judge_pending(span);
        }
        if is_in_span {
            self.present.insert_or_leave(range);
            let offsets = self.offsets.get_or_insert(offset..offset_end);
            offsets.end = offset_end;
        }
        self.end = self.end.max(range.end);
        is_in_span
    }

    /// Judges the emptied batches before the last batch that has its records: events accepted before it can have
    /// happened in the span unless every time up to it is before the span.
    fn judge_pending(&mut self, span: &Span) {
        let UndatedRanges { all, dated: told, holes } = std::mem::take(&mut self.pending);
        if self.reached.is_none_or(|reached| reached >= span.from) {
            let removed = if told.is_empty() { all } else { told };
            removed.iter().for_each(|range| self.removed.insert_or_join(range));
            holes.iter().for_each(|range| self.holes.insert_or_join(range));
        }
    }

    /// Ends the pass: behind the last batch no time shows that the rest is before the span.
    pub fn finish(&mut self) {
        let UndatedRanges { all, dated: told, holes } = std::mem::take(&mut self.pending);
        let removed = if told.is_empty() { all } else { told };
        removed.iter().for_each(|range| self.removed.insert_or_join(range));
        holes.iter().for_each(|range| self.holes.insert_or_join(range));
    }

    /// Records a declared loss. Eviction declares segment after segment: one loss that grows.
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

    /// Records the lane's end and last time, which the collector declares before retention removes events.
    pub fn kept(&mut self, end: Sequence, time_last: Timestamp) {
        self.told = self.told.max(Some((end, time_last)));
    }

    /// The time up to which removed events may be in the span; `None` when none can be. A source's events may come in
    /// any order of their times: of removed events only the latest time is known.
    pub fn removed_of(&self, span: &Span) -> Option<Timestamp> {
        let until = match (self.kept_from, self.known_from, self.told) {
            (Some(first), Some(known_from), _) if first > Sequence::ZERO => known_from,
            (None, None, Some((_, time_last))) => time_last,
            _ => return None,
        };
        (span.from <= until).then_some(until)
    }

    /// Whether the kept part of the lane begins behind this sequence.
    pub fn begins_behind(&self, end: Sequence) -> bool {
        self.kept_from.is_some_and(|first| first >= end) || (self.begun_at.is_none() && self.end() >= end)
    }

    /// The lane's end in the log, as far as it is known.
    pub fn end(&self) -> Sequence {
        self.end.max(self.told.map_or(Sequence::ZERO, |(end, _)| end))
    }

    /// Whether all batches up to this end have come, and the batch there has this check: the history is the same, not
    /// only the number of events.
    pub fn has_come(&self, end: Sequence, check: Option<u64>) -> bool {
        if self.end() < end {
            return false;
        }
        let Some(check) = check.filter(|check| *check != 0) else { return true };
        let last = SequenceRange { first: Sequence::new(end.get().saturating_sub(1)), end };
        match self.checks.get(end) {
            Some(known) => known == check,
            // Missing sequences are reported as missing; removed ones cannot be compared.
            None => RangeSet::of(last).without(&self.missing).is_empty() || self.begins_behind(end),
        }
    }

    /// Whether retention has removed events that are, or may be, in the span.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Whether the lane has more losses or ranges than are kept.
    pub fn is_too_much(&self) -> bool {
        self.has_more_losses || self.holes.is_joined() || self.removed.is_joined() || self.present.len() >= RANGES_MAX
    }

    /// Whether all sequences from the last batch up to `end` were declared lost.
    pub fn is_lost_up_to(&self, end: Sequence) -> bool {
        let mut left = RangeSet::of(SequenceRange { first: self.end(), end });
        self.losses.iter().for_each(|loss| left = left.without(&RangeSet::of(loss.range)));
        left.is_empty()
    }

    /// The end of the losses declared before this offset; zero when there are none.
    pub fn lost_by(&self, offset: Offset) -> Sequence {
        let declared = self.losses.iter().filter(|loss| loss.offset < offset).map(|loss| loss.range.end);
        declared.max().unwrap_or(Sequence::ZERO)
    }

    /// The absent sequences: holes before the lane's batches, and losses declared behind them or of a history that the
    /// log does not have.
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

    /// The sequences that the span takes in, in order, up to the lane's required end. `continues` returns the part of a
    /// range that a different epoch has again.
    pub fn ranges(&self, span: &Span, until: LaneBound, continues: impl Fn(SequenceRange) -> RangeSet) -> Vec<Range> {
        let limit = match until {
            LaneBound::Everything => Sequence::new(u64::MAX),
            LaneBound::Sequence(end) => end,
            LaneBound::Nothing => Sequence::ZERO,
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

    /// The sequences of `range` that are in the log: all up to the lane's end except its holes.
    pub fn has(&self, range: SequenceRange) -> RangeSet {
        let range = SequenceRange { first: range.first, end: range.end.min(self.end()) };
        RangeSet::of(range).without(&self.holes)
    }
}

fn of(range: SequenceRange, fate: Fate) -> Range {
    Range { first: range.first, end: range.end, fate }
}
