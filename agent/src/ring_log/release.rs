//! Letting go: of what the next log has, and of what it will never take.

use afferent_protocol::batch::{CHAIN_START, ClockReading};
use afferent_protocol::disk::Disk;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::session::{Held, Lane};

use super::RingLog;
use super::error::AppendError;
use super::evict::merged;
use super::pool::{Segment, Usage};

impl<D: Disk> RingLog<D> {
    /// What the ring has to get rid of: critical lanes first, in each stream the oldest epoch first.
    ///
    /// A lane goes from what was released of it to its end, or to its next hole; what follows the hole comes when that
    /// much is released. The lane that a stream is written to is there even when nothing of it is left, so that a
    /// session which knows it goes on knowing it.
    pub fn held(&self) -> Vec<Held> {
        let of = |stream: Stream| self.lanes.iter().filter(move |lane| lane.lane.stream == stream && !lane.foreign);
        let worth =
            |held: &Held| held.first < held.end || self.lanes.is_current(held.lane) && held.end > Sequence::ZERO;
        Stream::ALL.into_iter().flat_map(of).map(|lane| lane.held()).filter(worth).collect()
    }

    /// The next log has everything of the lane before `end` on its disk. It is on disk here with the next append to
    /// that lane; a start before that holds again what was released, which costs a question and nothing else. A lane
    /// that is not written to any more has no next append: its files are made blank when they are let go of, the newest
    /// of all when the next segment begins.
    pub fn release(&mut self, lane: Lane, end: Sequence) {
        let Some(known) = self.lanes.get_mut(lane) else { return };
        if end <= known.released_end {
            return;
        }
        known.release(end);
        self.sweep(lane);
    }

    /// The next log has something else in this lane, which therefore cannot go on: declares what it holds as lost, lets
    /// go of it, and goes on in a new epoch where it is the one that is written to.
    ///
    /// On [`AppendError::Pending`] nothing was done: call it again after a retry. On other errors the loss is kept and
    /// declared before anything else that is appended.
    pub fn diverged(&mut self, lane: Lane, clock: &ClockReading) -> Result<(), AppendError> {
        for stream in [Stream::Critical, lane.stream] {
            if self.buffer(stream).batch().is_some() {
                self.pay_debts(clock)?;
            }
            if self.pending(stream) {
                return Err(AppendError::Pending { stream });
            }
        }
        let Some(known) = self.lanes.get(lane) else { return Ok(()) };
        let (first, end) = (known.released_end, known.end);
        let chain = known.chain.unwrap_or(CHAIN_START);
        if self.lanes.is_current(lane) {
            self.close(lane.stream);
            let next = self.epochs.draw(lane.stream);
            self.lanes.begin(next);
        }
        if first == end {
            self.sweep(lane);
            return Ok(());
        }
        // What the lane itself was to declare goes on in the next one.
        let segments: Vec<_> = self.pool.taken().map(|(number, segment)| (number, *segment)).collect();
        let of_lane = segments.into_iter().filter(|(_, segment)| segment.lane == lane);
        let mut losses: Vec<Loss> = match lane.stream {
            Stream::Critical => of_lane.flat_map(|(number, segment)| self.losses_of(number, &segment)).collect(),
            Stream::Samples => Vec::new(),
        };
        let (stream, epoch) = (lane.stream, lane.epoch);
        self.counters.refused_events += end.since(first);
        losses.push(Loss { stream, epoch, first, end, reason: LossReason::Refused, chain });
        self.declare(merged(losses), clock)
    }

    /// Frees the segments of the lane that nothing is held of.
    pub(super) fn sweep(&mut self, lane: Lane) {
        self.sweep_where(|segment| segment.lane == lane);
        self.lanes.forget_empty();
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

    /// Frees a segment that nothing is held of, unless it is written to, or tells where its stream goes on: then it stays
    /// until a later one is on disk.
    pub(super) fn sweep_segment(&mut self, number: usize) {
        let Usage::Taken(segment) = self.pool.slots[number].usage else { return };
        let is_active = self.heads.iter().flatten().any(|active| active.number == number);
        let is_needed = self.lanes.get(segment.lane).is_some_and(|lane| {
            let is_last = segment.end == lane.end && self.lanes.is_current(segment.lane);
            segment.end > lane.released_end || (is_last && segment.first < segment.end)
        });
        if is_active || is_needed || self.is_pinned(&segment) {
            return;
        }
        self.free_segment(number);
    }

    /// Makes the files blank that were let go of with finished lanes. What tells of a loss goes after the loss was told.
    pub(super) fn blank_finished(&mut self) {
        if self.undeclared_count() == 0 {
            self.pool.blank(self.finished);
        }
    }

    /// Frees a segment, whatever it holds.
    pub(super) fn free_segment(&mut self, number: usize) {
        let Usage::Taken(segment) = self.pool.slots[number].usage else { return };
        self.pool.release(number);
        self.readers.forget(number);
        if segment.abandoned {
            self.pool.spoil(number);
        }
        if !self.lanes.is_current(segment.lane) {
            self.finished = self.finished.max(segment.generation);
            self.blank_finished();
        }
    }
}
