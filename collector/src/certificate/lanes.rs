//! What of a lane a span takes in.

use std::ops;

use afferent_protocol::batch::Header;
use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, Timestamp};

use super::{Fate, Range, Span};
use crate::limits::RANGES_MAX;
use crate::sources::RangeSet;

/// A loss that a source has declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub range: SequenceRange,
    pub reason: LossReason,
    pub time: Timestamp,
}

/// What was seen of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneEvidence {
    /// Where its last batch ends.
    end: Sequence,
    /// The offset of its first batch.
    pub begun_at: Option<Offset>,
    /// The earliest event time of its first batch.
    pub known_from: Option<Timestamp>,
    /// The latest event time so far.
    pub known_until: Option<Timestamp>,
    /// The first sequence that is kept, where retention may have removed what was before.
    kept_from: Option<Sequence>,
    /// How far it had come, and its latest event time, when the collector told that last before removing something.
    told: Option<(Sequence, Timestamp)>,
    /// The latest one so far of a batch that has its records, so that its times are signed.
    signed_until: Option<Timestamp>,
    present: RangeSet,
    removed: RangeSet,
    pending: Pending,
    holes: RangeSet,
    /// Offsets from the first batch of the span to the last one.
    pub offsets: Option<ops::Range<Offset>>,
    pub losses: Vec<Declared>,
}

/// Emptied batches since the last batch that has its records, and the holes before them.
///
/// Nothing binds the times of an emptied batch any more, so that they alone must not put it out of the span: what counts
/// is where the batches before and behind it lie.
#[derive(Debug, Default)]
struct Pending {
    all: RangeSet,
    /// Those that the span takes in by their own account.
    told: RangeSet,
    holes: RangeSet,
}

impl LaneEvidence {
    /// Takes the lane's next batch, which begins at this offset. `is_begun` when the log may have lost the lane's
    /// beginning to retention.
    pub fn batch(&mut self, header: &Header, offset: Offset, span: &Span, is_begun: bool) {
        let (first, end) = (header.first, header.end());
        let is_beginning_kept = self.begun_at.is_some() || !is_begun;
        self.begun_at.get_or_insert(offset);
        self.known_from.get_or_insert(header.time_first);
        if !is_beginning_kept {
            self.kept_from = Some(first);
        }
        let range = SequenceRange { first, end };
        let hole = SequenceRange { first: if is_beginning_kept { self.end } else { first }, end: first };
        let is_in_span = header.time_last >= span.from && header.time_first < span.until;
        if header.is_emptied() {
            self.pending.holes.insert_or_join(hole);
            self.pending.all.insert_or_leave(range);
            if is_in_span {
                self.pending.told.insert_or_leave(range);
            }
        } else {
            if self.may_touch(Some(header.time_last), span) {
                self.holes.insert_or_join(hole);
            }
            self.signed_until = self.signed_until.max(Some(header.time_last));
        }
        if is_in_span && !header.is_emptied() {
            self.present.insert_or_leave(range);
            let offset_end = Offset::new(offset.get() + u64::from(header.count));
            let offsets = self.offsets.get_or_insert(offset..offset_end);
            offsets.end = offset_end;
        }
        self.end = self.end.max(end);
        self.known_until = self.known_until.max(Some(header.time_last));
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

    /// Whether something that stands before an event of `next` can have happened within the span: after the last signed
    /// time before it there was some of the span left, and at `next` some of it was over. Without `next` nothing follows.
    fn may_touch(&self, next: Option<Timestamp>, span: &Span) -> bool {
        self.signed_until.is_none_or(|time| time < span.until) && next.is_none_or(|time| time >= span.from)
    }

    /// Judges the emptied batches so far. `next` is the latest event time of the next batch of the stream that has its
    /// records.
    pub fn settle(&mut self, next: Option<Timestamp>, span: &Span) {
        let Pending { all, told, holes } = std::mem::take(&mut self.pending);
        if self.may_touch(next, span) {
            let removed = if told.is_empty() { all } else { told };
            removed.iter().for_each(|range| self.removed.insert_or_leave(range));
            holes.iter().for_each(|range| self.holes.insert_or_join(range));
        }
    }

    /// Whether retention has removed something that the span takes in, or may take in.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Where it ends, as far as is known.
    pub fn end(&self) -> Sequence {
        self.end
    }

    /// Whether there are more holes than can be told.
    pub fn has_too_many_holes(&self) -> bool {
        self.holes.len() >= RANGES_MAX
    }

    /// Whether its source has said that nothing follows its end.
    pub fn is_ended(&self) -> bool {
        self.losses.iter().any(|loss| loss.range.first <= self.end && loss.range.end > self.end)
    }

    /// The sequences that the span takes in, in order.
    pub fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = self.present.iter().map(|range| of(range, Fate::Present)).collect();
        ranges.extend(self.removed.iter().map(|range| of(range, Fate::Removed)));
        let mut left = self.holes.clone();
        for Declared { range, reason, time } in &self.losses {
            let declared = RangeSet::of(*range);
            let undeclared = left.without(&declared);
            let fate = Fate::Lost { reason: *reason, declared: *time };
            ranges.extend(left.without(&undeclared).iter().map(|range| of(range, fate)));
            left = undeclared;
        }
        ranges.extend(left.iter().map(|range| of(range, Fate::Missing)));
        ranges.sort_by_key(|range| range.first);
        ranges
    }
}

fn of(range: SequenceRange, fate: Fate) -> Range {
    Range { first: range.first, end: range.end, fate }
}
