//! A source's statements about itself: how far it had accepted events, and when that is unknown.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::event::{LaneEnd, ResealReason};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, Stream, Timestamp};
use afferent_protocol::session::Lane;

use super::lanes::{Continued, LaneBound, LaneEvidence};
use super::{RetiredBy, Span};
use crate::limits::CERTIFICATE_STATEMENTS_MAX;
use crate::sources::RangeSet;

/// A heartbeat: everything that the source had accepted by `clock` is before these ends.
#[derive(Clone, Debug)]
pub(super) struct HeartbeatEnds {
    /// The source's clock, at most the collector's clock when the heartbeat came.
    pub clock: Timestamp,
    /// The heartbeat's offset in the log.
    pub offset: Offset,
    pub ends: Vec<LaneEnd>,
}

/// A time for which it is unknown which events the source had accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub from: Timestamp,
    pub until: Timestamp,
    /// The reason, for people.
    pub why: String,
}

impl Unknown {
    /// Whether a part of the span is in it.
    pub fn touches(&self, span: &Span) -> bool {
        self.from < span.until && self.until >= span.from
    }
}

/// The evidence about a source.
#[derive(Debug, Default)]
pub(super) struct SourceEvidence {
    pub lanes: BTreeMap<Lane, LaneEvidence>,
    /// The first statement at or after the span's end that is behind all batches of the span.
    first_after: Option<HeartbeatEnds>,
    /// The former `first_after`, which a later batch of the span has replaced.
    overtaken: Option<HeartbeatEnds>,
    /// Statements before the span's end whose ends had not all come at the last check.
    waiting: VecDeque<HeartbeatEnds>,
    /// The latest statement before the span's end whose ends have all come.
    arrived: Option<HeartbeatEnds>,
    /// The newest statement.
    newest: Option<HeartbeatEnds>,
    /// The latest reading of the source's clock, which may have been set back since.
    clock: Timestamp,
    pub unknown: Vec<Unknown>,
    /// The time in doubt since the key was replaced, until the source has shown that it kept its ring.
    replaced: Option<Unknown>,
    /// The time since which two machines have sent under the source's name.
    conflict: Option<Timestamp>,
    pub retired: Option<(Offset, RetiredBy)>,
}

impl SourceEvidence {
    pub fn lane(&mut self, stream: Stream, epoch: Epoch) -> &mut LaneEvidence {
        self.lanes.entry(Lane { stream, epoch }).or_default()
    }

    /// Records a heartbeat.
    pub fn record_heartbeat(&mut self, statement: HeartbeatEnds, span: &Span) {
        let mut is_full = false;
        for named in &statement.ends {
            let checks = &mut self.lane(named.stream, named.epoch).checks;
            checks.name(named.end);
            is_full |= checks.is_full();
        }
        self.newest = Some(statement.clone());
        if is_full {
            self.forget_checks(&statement);
        }
        if statement.clock >= span.until {
            // The source's clock may have been set back since: the first statement bounds the span.
            self.first_after.get_or_insert(statement);
            return;
        }
        if self.waiting.len() == CERTIFICATE_STATEMENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(statement);
        self.look_again();
    }

    /// Drops the ends that no statement names which may still count.
    fn forget_checks(&mut self, stated: &HeartbeatEnds) {
        let single = [&self.first_after, &self.overtaken, &self.arrived, &self.newest].into_iter().flatten();
        let all = single.chain(&self.waiting).chain([stated]);
        let mut named: BTreeMap<Lane, BTreeSet<Sequence>> = BTreeMap::new();
        for LaneEnd { stream, epoch, end, .. } in all.flat_map(|statement| &statement.ends) {
            named.entry(Lane { stream: *stream, epoch: *epoch }).or_default().insert(*end);
        }
        for (lane, known) in &mut self.lanes {
            known.checks.keep(named.entry(*lane).or_default());
        }
    }

    /// Records the source's clock at the making of a batch; returns the latest reading of the clock so far.
    pub fn clocked(&mut self, clock: Timestamp) -> Timestamp {
        self.clock = self.clock.max(clock);
        self.clock
    }

    /// Records that a batch of the span has come: the bounding statement must come behind it.
    pub fn record_batch(&mut self) {
        self.overtaken = self.first_after.take().or(self.overtaken.take());
    }

    /// Checks which waiting statements have all their ends now.
    fn look_again(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for statement in waiting {
            if !self.has_come(&statement) {
                self.waiting.push_back(statement);
            } else if self.arrived.as_ref().is_none_or(|arrived| arrived.clock <= statement.clock) {
                self.arrived = Some(statement);
            }
        }
    }

    /// Whether all events that a statement names have come, or were declared lost.
    fn has_come(&self, statement: &HeartbeatEnds) -> bool {
        let steps = Cell::new(CONTINUED_STEPS_MAX);
        statement.ends.iter().all(|named| self.end_has_come(named, statement.offset, &steps))
    }

    fn end_has_come(&self, named: &LaneEnd, offset: Offset, steps: &Cell<usize>) -> bool {
        let LaneEnd { stream, epoch, end, check } = *named;
        self.lane_has_come(Lane { stream, epoch }, (end, Some(check)), offset, steps)
    }

    /// Whether a lane has reached its end in a statement at this offset. Epochs that continue each other are followed
    /// for a bounded number of steps; events behind more steps count as not come.
    fn lane_has_come(
        &self,
        lane: Lane,
        (end, check): (Sequence, Option<u64>),
        offset: Offset,
        steps: &Cell<usize>,
    ) -> bool {
        if end == Sequence::ZERO {
            return true;
        }
        let Some(left) = steps.get().checked_sub(1) else { return false };
        steps.set(left);
        let Some(known) = self.lanes.get(&lane) else { return false };
        let continued = known.continued.iter().filter(|continued| continued.first < end);
        let goes_on = |continued: &Continued| {
            (known.end() >= continued.first || known.is_lost_up_to(continued.first))
                // There the same event is in a different batch, with a different check.
                && self.lane_has_come(continued.lane, (continued.place_of(end), None), offset, steps)
        };
        let is_of_other_life =
            |continued: &Continued| continued.reason == ResealReason::Diverged && continued.offset < offset;
        let all_other_lives = continued.clone().filter(|continued| is_of_other_life(continued)).all(goes_on);
        let is_there = known.has_come(end, check) || (known.end() < end && known.is_lost_up_to(end));
        all_other_lives && (is_there || continued.clone().any(goes_on))
    }

    /// The time up to which events are known, if later ones are in doubt: the last statement so far whose ends have
    /// come.
    fn known_so_far(&mut self) -> Timestamp {
        self.look_again();
        self.known().map_or(Timestamp::default(), |statement| statement.clock)
    }

    /// Records that events which it had accepted and not sent before `until` are unknown.
    pub fn record_unknown(&mut self, until: Timestamp, why: String) {
        let until = self.clocked(until);
        let from = self.known_so_far();
        let is_full = self.unknown.len() >= CERTIFICATE_STATEMENTS_MAX;
        match self.unknown.last_mut() {
            // Above the bound they become one long doubt.
            Some(last) if is_full => {
                (last.from, last.until) = (last.from.min(from), last.until.max(until));
            }
            _ => self.unknown.push(Unknown { from, until, why }),
        }
    }

    /// Records that the lane continues in a different epoch.
    pub fn resealed(&mut self, old: Lane, continued: Continued, clock: Timestamp) {
        self.lane(old.stream, old.epoch).continued.push(continued);
        match continued.reason {
            // The agent kept its ring and sends it under the new key.
            ResealReason::OtherKey => self.replaced = None,
            ResealReason::Diverged => {
                let first = continued.first;
                self.record_unknown(clock, format!(
                    "its ring log was restored from a copy, or two machines use it: {} {} parted at {first}, and what \
                     the other history accepted after that is unknown",
                    old.stream, old.epoch
                ));
            }
        }
    }

    /// Records that the source's key was replaced: the ring log may be lost with the old one.
    pub fn key_replaced(&mut self, at: Timestamp) {
        let at = at.max(self.clock);
        let from = self.known_so_far();
        let why = "its key was replaced, and it has not proved since then that it kept its ring log".to_owned();
        self.replaced = Some(Unknown { from, until: at, why });
        if let Some(from) = self.conflict.take() {
            let why = "two machines used its name until its key was replaced".to_owned();
            self.unknown.push(Unknown { from, until: at, why });
        }
    }

    /// Records that two machines send under the source's name.
    pub fn in_conflict(&mut self) {
        let from = self.known_so_far();
        self.conflict.get_or_insert(from);
    }

    /// Ends the pass.
    pub fn finish(&mut self) {
        self.lanes.values_mut().for_each(LaneEvidence::finish);
        self.look_again();
        self.unknown.extend(self.replaced.take());
        if let Some(from) = self.conflict {
            let why =
                "two machines use its name, and no operator has decided which is right (`agents replace`)".to_owned();
            self.unknown.push(Unknown { from, until: Timestamp::clamped(i64::MAX), why });
        }
        if self
            .retired
            .as_ref()
            .is_some_and(|(offset, _)| self.newest.as_ref().is_some_and(|newest| newest.offset > *offset))
        {
            self.retired = None;
        }
    }

    /// The statement that bounds the span, if one exists and its ends have come.
    pub fn bounding(&self) -> Option<&HeartbeatEnds> {
        self.first_after.as_ref().filter(|statement| self.has_come(statement))
    }

    /// The latest statement whose ends have come, up to the first one behind the span.
    pub fn known(&self) -> Option<&HeartbeatEnds> {
        let overtaken = self.overtaken.as_ref().filter(|statement| self.has_come(statement));
        self.bounding().or(overtaken).or(self.arrived.as_ref())
    }

    /// The offsets of the statements that bear on the answer.
    pub fn statements(&self) -> impl Iterator<Item = Offset> {
        let all = [&self.first_after, &self.overtaken, &self.arrived, &self.newest];
        all.into_iter().flatten().map(|statement| statement.offset)
    }

    /// The end that the lane must have reached by the statement that bounds the span.
    pub fn until(&self, lane: Lane) -> LaneBound {
        let Some(bounding) = self.bounding() else { return LaneBound::Everything };
        self.until_of(lane, bounding, 0)
    }

    fn until_of(&self, lane: Lane, bounding: &HeartbeatEnds, depth: usize) -> LaneBound {
        let is_it = |named: &&LaneEnd| (named.stream, named.epoch) == (lane.stream, lane.epoch);
        if let Some(LaneEnd { end, .. }) = bounding.ends.iter().find(is_it) {
            // The end of its disk at that time is not the end of the lane, if the disk has lost events.
            let lost = self.lanes.get(&lane).map_or(Sequence::ZERO, |known| known.lost_by(bounding.offset));
            return LaneBound::Sequence(lost.max(*end));
        }
        let begun_at = self.lanes.get(&lane).and_then(|known| known.begun_at);
        if begun_at.is_none_or(|begun_at| begun_at <= bounding.offset) {
            return LaneBound::Everything;
        }
        // The lane began later; the events that it copies from a different lane may be older.
        let mut old = self.lanes.iter().flat_map(|(old, known)| known.continued.iter().map(move |one| (old, one)));
        let Some((old, continued)) = old.find(|(_, continued)| continued.lane == lane) else {
            return LaneBound::Nothing;
        };
        if depth >= CONTINUED_MAX {
            return LaneBound::Everything;
        }
        match self.until_of(*old, bounding, depth + 1) {
            LaneBound::Sequence(end) if end > continued.first => LaneBound::Sequence(continued.place_of(end)),
            LaneBound::Sequence(_) | LaneBound::Nothing => LaneBound::Nothing,
            LaneBound::Everything => LaneBound::Everything,
        }
    }

    /// The events that the newest statement names as accepted and that have not come, lane by lane.
    pub fn awaited(&self) -> Vec<(Lane, SequenceRange)> {
        let Some(newest) = self.newest.as_ref().filter(|_| self.bounding().is_none()) else { return Vec::new() };
        let steps = Cell::new(CONTINUED_STEPS_MAX);
        let late = newest.ends.iter().filter(|named| !self.end_has_come(named, newest.offset, &steps));
        late.map(|LaneEnd { stream, epoch, end, .. }| {
            let lane = Lane { stream: *stream, epoch: *epoch };
            let first = self.lanes.get(&lane).map_or(Sequence::ZERO, LaneEvidence::end);
            // If as many events of a different history have come, at least the last event is missing.
            let last = Sequence::new(end.get().saturating_sub(1));
            (lane, SequenceRange { first: first.min(last), end: *end })
        })
        .collect()
    }

    /// The part of a lane's range that a different epoch has again.
    pub fn continues(&self, lane: Lane, range: SequenceRange) -> RangeSet {
        let mut elsewhere = RangeSet::default();
        let known = self.lanes.get(&lane).into_iter().flat_map(|lane| &lane.continued);
        // After histories have parted, the other epoch has other events than the missing ones.
        for continued in known.filter(|continued| continued.reason == ResealReason::OtherKey) {
            let Some(new) = self.lanes.get(&continued.lane) else { continue };
            let first = range.first.max(continued.first);
            if first >= range.end {
                continue;
            }
            let there = SequenceRange { first: continued.place_of(first), end: continued.place_of(range.end) };
            let back = |sequence: Sequence| Sequence::new(continued.first.get() + (sequence.get() - 1));
            let found = new.has(there);
            found.iter().for_each(|found| {
                elsewhere.insert_or_leave(SequenceRange { first: back(found.first), end: back(found.end) });
            });
        }
        elsewhere
    }
}

/// Number of steps from epoch to epoch that are followed for one statement.
const CONTINUED_STEPS_MAX: usize = 1024;
/// Length of a chain of epochs, each continuing the previous one, that is followed.
const CONTINUED_MAX: usize = 16;
