//! What a source has said of itself: how far it had accepted events, and when nobody can know.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::event::{LaneEnd, ResealReason};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, Stream, Timestamp};
use afferent_protocol::session::Lane;

use super::lanes::{Continued, LaneEvidence, Until};
use super::{RetiredBy, Span};
use crate::limits::CERTIFICATE_STATEMENTS_MAX;
use crate::sources::RangeSet;

/// A heartbeat: everything that the source had accepted by `clock` is before these ends.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// By the source's clock, and never later than the collector's when it came.
    pub clock: Timestamp,
    /// Where it stands in the log.
    pub offset: Offset,
    pub ends: Vec<LaneEnd>,
}

/// A time of which nobody can say what the source had accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub from: Timestamp,
    pub until: Timestamp,
    /// Why, for people.
    pub why: String,
}

impl Unknown {
    /// Whether some of the span lies in it.
    pub fn touches(&self, span: &Span) -> bool {
        self.from < span.until && self.until >= span.from
    }
}

/// What was seen of a source.
#[derive(Debug, Default)]
pub(super) struct SourceEvidence {
    pub lanes: BTreeMap<Lane, LaneEvidence>,
    /// The first statement at or after the span's end, and behind all batches of the span.
    first_after: Option<Statement>,
    /// The one that was that until another batch of the span came.
    overtaken: Option<Statement>,
    /// Statements before the span's end whose ends had not all come when they were last looked at.
    waiting: VecDeque<Statement>,
    /// The latest one before the span's end whose ends have come.
    arrived: Option<Statement>,
    /// The newest one of all.
    newest: Option<Statement>,
    /// The latest that its clock ever said: it may have been set back since.
    clock: Timestamp,
    pub unknown: Vec<Unknown>,
    /// Where and since when the key was replaced, until the source has shown that it kept its ring.
    replaced: Option<Unknown>,
    /// Since when two machines speak for it.
    conflict: Option<Timestamp>,
    pub retired: Option<(Offset, RetiredBy)>,
}

impl SourceEvidence {
    pub fn lane(&mut self, stream: Stream, epoch: Epoch) -> &mut LaneEvidence {
        self.lanes.entry(Lane { stream, epoch }).or_default()
    }

    /// Takes a heartbeat.
    pub fn stated(&mut self, statement: Statement, span: &Span) {
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
            // The source's clock may have been set back since: the first one is what bounds the span.
            self.first_after.get_or_insert(statement);
            return;
        }
        if self.waiting.len() == CERTIFICATE_STATEMENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(statement);
        self.look_again();
    }

    /// Ends that no statement names which may still count are forgotten.
    fn forget_checks(&mut self, stated: &Statement) {
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

    /// A batch was made when its clock said this; tells the latest that it ever said.
    pub fn clocked(&mut self, clock: Timestamp) -> Timestamp {
        self.clock = self.clock.max(clock);
        self.clock
    }

    /// A batch of the span has come: what bounds the span is to be said behind it.
    pub fn came(&mut self) {
        self.overtaken = self.first_after.take().or(self.overtaken.take());
    }

    /// Looks which of the waiting statements have come true.
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

    /// Whether everything that a statement speaks of has come, or was declared lost.
    fn has_come(&self, statement: &Statement) -> bool {
        let steps = Cell::new(CONTINUED_STEPS_MAX);
        statement.ends.iter().all(|named| self.end_has_come(named, statement.offset, &steps))
    }

    fn end_has_come(&self, named: &LaneEnd, offset: Offset, steps: &Cell<usize>) -> bool {
        let LaneEnd { stream, epoch, end, check } = *named;
        self.lane_has_come(Lane { stream, epoch }, (end, Some(check)), offset, steps)
    }

    /// Whether a lane has come up to its end, as a statement at this offset has it. Epochs that continue each other are
    /// followed so many steps: more are no history but a riddle, and have not come.
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
                // There the same event is in another batch, with another check.
                && self.lane_has_come(continued.lane, (continued.place_of(end), None), offset, steps)
        };
        let is_of_other_life =
            |continued: &Continued| continued.reason == ResealReason::Diverged && continued.offset < offset;
        let all_other_lives = continued.clone().filter(|continued| is_of_other_life(continued)).all(goes_on);
        let is_there = known.has_come(end, check) || (known.end() < end && known.is_lost_up_to(end));
        all_other_lives && (is_there || continued.clone().any(goes_on))
    }

    /// From when on nothing is known, if what follows is in doubt: the last statement so far that has come true.
    fn known_so_far(&mut self) -> Timestamp {
        self.look_again();
        self.known().map_or(Timestamp::default(), |statement| statement.clock)
    }

    /// What it had accepted and not sent before `until` is unknown.
    pub fn forgot(&mut self, until: Timestamp, why: String) {
        let until = self.clocked(until);
        let from = self.known_so_far();
        let is_full = self.unknown.len() >= CERTIFICATE_STATEMENTS_MAX;
        match self.unknown.last_mut() {
            // So many are one long doubt.
            Some(last) if is_full => {
                (last.from, last.until) = (last.from.min(from), last.until.max(until));
            }
            _ => self.unknown.push(Unknown { from, until, why }),
        }
    }

    /// It goes on in another epoch.
    pub fn resealed(&mut self, old: Lane, continued: Continued, clock: Timestamp) {
        self.lane(old.stream, old.epoch).continued.push(continued);
        match continued.reason {
            // Its ring was kept, and is sent under the new key.
            ResealReason::OtherKey => self.replaced = None,
            ResealReason::Diverged => {
                let first = continued.first;
                self.forgot(clock, format!(
                    "its ring log was put back from a copy, or two machines use it: {} {} parted at {first}, and what the other \
                     history had accepted beyond what is here is unknown",
                    old.stream, old.epoch
                ));
            }
        }
    }

    /// Its key was replaced: the ring log may be gone with the old one.
    pub fn key_replaced(&mut self, at: Timestamp) {
        let at = at.max(self.clock);
        let from = self.known_so_far();
        let why = "its key was replaced, and it has not shown since that it kept its ring log".to_owned();
        self.replaced = Some(Unknown { from, until: at, why });
        if let Some(from) = self.conflict.take() {
            let why = "two machines spoke for it until its key was replaced".to_owned();
            self.unknown.push(Unknown { from, until: at, why });
        }
    }

    /// Two machines speak for it.
    pub fn in_conflict(&mut self) {
        let from = self.known_so_far();
        self.conflict.get_or_insert(from);
    }

    /// All was taken.
    pub fn finish(&mut self) {
        self.lanes.values_mut().for_each(LaneEvidence::finish);
        self.look_again();
        self.unknown.extend(self.replaced.take());
        if let Some(from) = self.conflict {
            let why = "two machines speak for it, and nobody has said which is right (`agents replace`)".to_owned();
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

    /// The statement that bounds the span, if there is one and it has come true.
    pub fn bounding(&self) -> Option<&Statement> {
        self.first_after.as_ref().filter(|statement| self.has_come(statement))
    }

    /// The latest statement that has come true, of those up to the first one behind the span.
    pub fn known(&self) -> Option<&Statement> {
        let overtaken = self.overtaken.as_ref().filter(|statement| self.has_come(statement));
        self.bounding().or(overtaken).or(self.arrived.as_ref())
    }

    /// The offsets of the statements that bear on the answer.
    pub fn statements(&self) -> impl Iterator<Item = Offset> {
        let all = [&self.first_after, &self.overtaken, &self.arrived, &self.newest];
        all.into_iter().flatten().map(|statement| statement.offset)
    }

    /// Up to where the lane was to have come by the statement that bounds the span.
    pub fn until(&self, lane: Lane) -> Until {
        let Some(bounding) = self.bounding() else { return Until::Everything };
        self.until_of(lane, bounding, 0)
    }

    fn until_of(&self, lane: Lane, bounding: &Statement, depth: usize) -> Until {
        let is_it = |named: &&LaneEnd| (named.stream, named.epoch) == (lane.stream, lane.epoch);
        if let Some(LaneEnd { end, .. }) = bounding.ends.iter().find(is_it) {
            // Where its disk ended then is not where the lane did, once the disk has lost some of it.
            let lost = self.lanes.get(&lane).map_or(Sequence::ZERO, |known| known.lost_by(bounding.offset));
            return Until::Sequence(lost.max(*end));
        }
        let begun_at = self.lanes.get(&lane).and_then(|known| known.begun_at);
        if begun_at.is_none_or(|begun_at| begun_at <= bounding.offset) {
            return Until::Everything;
        }
        // It began later; what it holds of another lane may be older.
        let mut old = self.lanes.iter().flat_map(|(old, known)| known.continued.iter().map(move |one| (old, one)));
        let Some((old, continued)) = old.find(|(_, continued)| continued.lane == lane) else { return Until::Nothing };
        if depth >= CONTINUED_MAX {
            return Until::Everything;
        }
        match self.until_of(*old, bounding, depth + 1) {
            Until::Sequence(end) if end > continued.first => Until::Sequence(continued.place_of(end)),
            Until::Sequence(_) | Until::Nothing => Until::Nothing,
            Until::Everything => Until::Everything,
        }
    }

    /// What the newest statement says was accepted, and has not come: lane by lane.
    pub fn awaited(&self) -> Vec<(Lane, SequenceRange)> {
        let Some(newest) = self.newest.as_ref().filter(|_| self.bounding().is_none()) else { return Vec::new() };
        let steps = Cell::new(CONTINUED_STEPS_MAX);
        let late = newest.ends.iter().filter(|named| !self.end_has_come(named, newest.offset, &steps));
        late.map(|LaneEnd { stream, epoch, end, .. }| {
            let lane = Lane { stream: *stream, epoch: *epoch };
            let first = self.lanes.get(&lane).map_or(Sequence::ZERO, LaneEvidence::end);
            // Where as much has come of another history, at least its last event is missing.
            let last = Sequence::new(end.get().saturating_sub(1));
            (lane, SequenceRange { first: first.min(last), end: *end })
        })
        .collect()
    }

    /// What of a range of a lane stands in another epoch.
    pub fn continues(&self, lane: Lane, range: SequenceRange) -> RangeSet {
        let mut elsewhere = RangeSet::default();
        let known = self.lanes.get(&lane).into_iter().flat_map(|lane| &lane.continued);
        // After histories have parted, the other epoch holds other events than those that are missing here.
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

/// Steps from epoch to epoch that are followed for one statement.
const CONTINUED_STEPS_MAX: usize = 1024;
/// Epochs that continue each other, one after the other, that are followed.
const CONTINUED_MAX: usize = 16;
