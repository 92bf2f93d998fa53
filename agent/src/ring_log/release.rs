//! Releasing what the next log has, and holding it again should that log be restored to an earlier state.

use afferent_host::disk::Disk;
use afferent_protocol::event::LaneEnd;
use afferent_protocol::ids::{Sequence, SourceId, Stream};
use afferent_protocol::limits::HEARTBEAT_LANES_MAX;
use afferent_protocol::session::{Check, Held, Lane};

use super::RingLog;
use super::lanes::LaneState;
use super::pool::{Segment, Usage};

impl<D: Disk> RingLog<D> {
    /// What the ring has to get rid of: critical lanes first, in each stream the oldest epoch first. Behind them come
    /// lanes that nothing is to be shipped of and that can still be read (see [`RingLog::oldest`]).
    ///
    /// A lane goes from what was released of it to its end, or to its next hole; what follows the hole comes when that
    /// much is released. The lane that a stream is written to is there even when nothing of it is left, so that a
    /// session which knows it goes on knowing it.
    pub fn held(&self) -> Vec<Held> {
        let of = |stream: Stream| self.lanes.iter().filter(move |lane| lane.lane.stream == stream);
        let ours = |lane: &&LaneState| lane.under.is_none() && !lane.resealed && lane.end > Sequence::ZERO;
        let is_first = |lane: &LaneState| lane.is_held() || self.lanes.is_current(lane.lane);
        let lanes = || Stream::ALL.into_iter().flat_map(of).filter(ours);
        let (first, last) = (lanes().filter(|lane| is_first(lane)), lanes().filter(|lane| !is_first(lane)));
        first.chain(last).map(LaneState::held).collect()
    }

    /// What the ring has to get rid of that was accepted under a name which the agent does not have any more: critical
    /// lanes first, in each stream the oldest epoch first.
    pub fn held_under(&self, name: &SourceId) -> Vec<Held> {
        let of = |stream: Stream| self.lanes.iter().filter(move |lane| lane.lane.stream == stream);
        let under = |lane: &&LaneState| lane.under.as_ref() == Some(name) && !lane.resealed && lane.is_held();
        Stream::ALL.into_iter().flat_map(of).filter(under).map(LaneState::held).collect()
    }

    /// Events that are held under names which the agent does not have any more, with these names.
    pub fn held_under_former_names(&self) -> Vec<(SourceId, u64)> {
        let of = |name: &SourceId| {
            let under = |lane: &&LaneState| lane.under.as_ref() == Some(name) && !lane.resealed;
            self.lanes.iter().filter(under).map(LaneState::unacked).sum::<u64>()
        };
        let counted = self.former_names.iter().map(|name| (*name, of(name)));
        counted.filter(|(_, events)| *events > 0).collect()
    }

    /// The oldest sequence of the lane that can be read, released or not; its end where nothing can.
    pub fn oldest(&self, lane: Lane) -> Sequence {
        let Some(known) = self.lanes.get(lane) else { return Sequence::ZERO };
        let of_lane = self.pool.readable().filter(|(_, segment)| segment.lane == lane);
        let first = of_lane.map(|(_, segment)| segment.first.max(known.lost_end)).min();
        first.map_or(known.released_end, |first| first.min(known.released_end))
    }

    /// The ends of all lanes of the agent, for a heartbeat. One that is being sealed again is among
    /// them until that is done: what it holds is in no other lane yet.
    pub fn lane_ends(&self) -> Vec<LaneEnd> {
        let ours =
            |lane: &&LaneState| lane.under.is_none() && lane.end > Sequence::ZERO && (!lane.resealed || lane.is_held());
        let is_needed = |lane: &LaneState| lane.is_held() || self.lanes.is_current(lane.lane);
        let mut lanes: Vec<&LaneState> = self.lanes.iter().filter(ours).collect();
        lanes.sort_by_key(|lane| !is_needed(lane));
        let needed = lanes.iter().filter(|lane| is_needed(lane)).count();
        lanes.truncate(needed.max(HEARTBEAT_LANES_MAX));
        let end = |lane: &LaneState| LaneEnd {
            stream: lane.lane.stream,
            epoch: lane.lane.epoch,
            end: lane.end,
            check: lane.chain.as_ref().map_or(0, |chain| Check::of(chain).0),
        };
        lanes.into_iter().map(end).collect()
    }

    /// Names under which the ring holds events and which the agent does not have any more.
    pub fn former_names(&self) -> Vec<SourceId> {
        self.former_names.clone()
    }

    /// The next log has everything of the lane before `end` on its disk. It is on disk here with the next append to
    /// that lane, and with the next word of the witness; a start before that holds again what was released, which costs
    /// a question and nothing else.
    pub fn release(&mut self, lane: Lane, end: Sequence) {
        let Some(known) = self.lanes.get_mut(lane) else { return };
        if end <= known.released_end {
            return;
        }
        known.release(end);
        self.sweep(lane);
        self.witness.is_behind = true;
        self.write_witness();
    }

    /// The next log was put back to an earlier state: what begins at `to`, a batch's beginning, is held again, with
    /// everything that follows. `false` when the ring cannot show it any more.
    pub fn rewind(&mut self, lane: Lane, to: Sequence) -> bool {
        let oldest = self.oldest(lane);
        let Some(known) = self.lanes.get_mut(lane) else { return false };
        if known.resealed || to < oldest || to >= known.released_end {
            return false;
        }
        known.rewind(to);
        let again = |(_, segment): &(usize, &Segment)| segment.lane == lane && segment.end > to;
        let numbers: Vec<usize> = self.pool.readable().filter(again).map(|(number, _)| number).collect();
        for number in numbers {
            self.pool.hold_again(number);
        }
        self.write_witness();
        true
    }

    /// Frees the segments of the lane that nothing is held of.
    pub(super) fn sweep(&mut self, lane: Lane) {
        self.sweep_where(|segment| segment.lane == lane);
        self.forget_gone();
    }

    /// Forgets the lanes that are gone.
    pub(super) fn forget_gone(&mut self) {
        let (pool, reseals) = (&self.pool, &self.reseals);
        self.lanes
            .forget_gone(|lane| reseals.is_copy(lane) || pool.readable().any(|(_, segment)| segment.lane == lane));
    }

    /// Frees those of these segments that nothing is held of: the oldest first, for files may be removed on the way.
    pub(super) fn sweep_where(&mut self, wanted: impl Fn(&Segment) -> bool) {
        let wanted = self.pool.taken().filter(|(_, segment)| wanted(segment));
        let mut segments: Vec<_> = wanted.map(|(number, segment)| (segment.generation, number)).collect();
        segments.sort_unstable();
        for (_, number) in segments {
            self.sweep_segment(number);
        }
    }

    /// Frees a segment that nothing is held of, unless it is written to, or has the end of its stream: then it
    /// stays until a later one is on disk.
    pub(super) fn sweep_segment(&mut self, number: usize) {
        let Usage::Taken(segment) = self.pool.slots[number].usage else { return };
        let is_active = self.is_active(number);
        let is_needed = self.lanes.get(segment.lane).is_some_and(|lane| {
            let is_last = segment.end == lane.end && self.lanes.is_current(segment.lane);
            segment.end > lane.released_end || (is_last && segment.first < segment.end)
        });
        if is_active || is_needed || self.is_pinned(&segment) || self.has_copy_marks(&segment) {
            return;
        }
        self.free_segment(number);
    }

    /// Whether the file is written to.
    pub(super) fn is_active(&self, number: usize) -> bool {
        self.heads.iter().flatten().any(|active| active.number == number)
    }

    /// Frees a segment, whatever it holds. It can be read until its file is taken again.
    pub(super) fn free_segment(&mut self, number: usize) {
        let Usage::Taken(segment) = self.pool.slots[number].usage else { return };
        self.pool.release(number);
        self.readers.forget(number);
        if segment.abandoned {
            self.before_wiping();
            self.pool.spoil(number);
        }
    }
}
