//! Sealing again: what a lane holds that cannot go on is copied, batch by batch, to a new epoch.
//!
//! The first event of the new epoch names the epoch and sequences that its others had ([`LifeCycle::Resealed`]): that,
//! and how far the new epoch goes, is all that a start needs to go on. What was copied is released in the old lane, and
//! so is neither copied twice nor forgotten; the old lane's files go before those of the new one, which keep their
//! first and last segments, acked or not, until all is copied. A stretch that is missing in the old lane ends the new
//! epoch, and a next one begins behind it. Events that come meanwhile go to an epoch of their own. Only header and
//! signature of a batch change: its body, its times and its clock stay.

use std::collections::VecDeque;
use std::io;

use afferent_host::disk::Disk;
use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ClockReading, split};
use afferent_protocol::event::{Body, Event, LifeCycle, Loss, LossReason, ResealReason};
use afferent_protocol::ids::{Sequence, Stream, Subject};
use afferent_protocol::segment::entry_len;
use afferent_protocol::session::Lane;

use super::RingLog;
use super::error::{AppendError, ReadError};
use super::pen::Pen;
use super::pool::Segment;
use super::sealed::Origin;
use crate::limits::ring_log::{COPY_SEGMENTS, SEGMENTS_SPARE};

/// The lanes to be sealed again, the current one first.
#[derive(Debug, Default)]
pub(super) struct Reseals {
    jobs: VecDeque<Job>,
    /// The lane that is being written, and the sequence of the old lane that its next event had.
    target: Option<(Lane, Sequence)>,
    /// All lanes that hold events of one that is still being sealed again, with that one.
    copies: Vec<(Lane, Lane)>,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    lane: Lane,
    reason: ResealReason,
}

impl Reseals {
    pub fn push(&mut self, lane: Lane, reason: ResealReason) {
        if !self.contains(lane) {
            self.jobs.push_back(Job { lane, reason });
        }
    }

    /// Records a lane that holds events of one that is being sealed again.
    pub fn copies(&mut self, copy: Lane, original: Lane) {
        if self.contains(original) {
            self.copies.push((copy, original));
        }
    }

    /// Whether the lane records how far an unfinished other lane is sealed again.
    pub fn is_copy(&self, lane: Lane) -> bool {
        self.copies.iter().any(|(copy, _)| *copy == lane)
    }

    /// The lane that is being written, with the old one and the first sequence there.
    #[cfg(test)]
    pub fn origin(&self, lanes: &super::lanes::Lanes) -> Option<(Lane, (Lane, u64))> {
        let (target, next) = self.target?;
        let end = lanes.get(target)?.end.get();
        Some((target, (self.jobs.front()?.lane, next.get() - end.saturating_sub(1))))
    }

    fn contains(&self, lane: Lane) -> bool {
        self.jobs.iter().any(|job| job.lane == lane)
    }
}

impl<D: Disk> RingLog<D> {
    /// Lets go of the lane before `from`, a batch's beginning, and begins to seal the rest of it again. The lane is not
    /// held any more from here on; where its stream is written to it, that continues in a new epoch.
    /// [`RingLog::reseal_step`] does the work.
    pub fn reseal(&mut self, lane: Lane, from: Sequence, reason: ResealReason, clock: &ClockReading) {
        if self.lanes.get(lane).is_none_or(|known| known.resealed || known.under.is_some()) {
            return;
        }
        self.release(lane, from);
        // The lane may have been forgotten with that.
        let Some(known) = self.lanes.get_mut(lane) else { return };
        known.resealed = true;
        self.reseals.push(lane, reason);
        // Where the disk does not take what is sealed for the lane, that is for the first step.
        let _ = self.leave(lane, clock);
        self.write_witness();
    }

    /// Whether anything is still to be sealed again.
    pub fn resealing(&self) -> bool {
        !self.reseals.jobs.is_empty()
    }

    /// Seals one batch again; `false` when nothing is left to do. What is damaged is declared as lost, in the epoch
    /// that it had.
    pub fn reseal_step(&mut self, clock: &ClockReading) -> Result<bool, AppendError> {
        let Some(job) = self.reseals.jobs.front().copied() else { return Ok(false) };
        self.pay_debts(clock)?;
        if self.buffers[Pen::Copy.index()].batch().is_some() {
            self.copy_room(clock)?;
            self.commit_copy(job.lane)?;
            return Ok(true);
        }
        self.leave(job.lane, clock)?;
        let left = self.lanes.get(job.lane).filter(|known| known.is_held()).map(|known| known.released_end);
        let Some(from) = left else {
            self.end_copy();
            self.reseals.jobs.pop_front();
            let (done, left) = self.reseals.copies.iter().partition(|(_, original)| *original == job.lane);
            self.reseals.copies = left;
            let done: Vec<(Lane, Lane)> = done;
            self.sweep(job.lane);
            done.into_iter().for_each(|(copy, _)| self.sweep(copy));
            self.before_wiping();
            self.pool.shrink(SEGMENTS_SPARE);
            self.write_witness();
            return Ok(self.resealing());
        };
        if self.reseals.target.is_some_and(|(_, next)| next != from) {
            self.end_copy();
        }
        match self.reseals.target {
            None => self.begin_copy(job, from, clock),
            Some((target, _)) => {
                if !self.seal_copy(job.lane, target, from, clock)? {
                    return Ok(true);
                }
            }
        }
        self.copy_room(clock)?;
        self.commit_copy(job.lane)?;
        Ok(true)
    }

    /// The lane is written to no more.
    fn leave(&mut self, lane: Lane, clock: &ClockReading) -> Result<(), AppendError> {
        if !self.lanes.is_current(lane) {
            return Ok(());
        }
        self.pay_debts(clock)?;
        if self.is_pending(lane.stream) {
            return Err(AppendError::Pending { stream: lane.stream });
        }
        self.close(Pen::Of(lane.stream));
        let next = self.epochs.draw(lane.stream);
        self.lanes.begin(next);
        Ok(())
    }

    /// Seals the first batch of a new epoch: what its other events were.
    fn begin_copy(&mut self, job: Job, from: Sequence, clock: &ClockReading) {
        let target = self.epochs.draw(job.lane.stream);
        self.reseals.copies(target, job.lane);
        self.lanes.add_behind(job.lane, target);
        let Job { lane: Lane { stream, epoch }, reason } = job;
        let subject = Subject::new(self.who.source.as_str()).expect("every source name is a subject");
        let body = Body::LifeCycle(LifeCycle::Resealed { stream, epoch, first: from, reason });
        let mut batch = BatchBuilder::new();
        batch.push(&Event { time: clock.wall, subject, body }).expect("one event fits every batch");
        let place = (target, Sequence::ZERO, CHAIN_START);
        self.buffers[Pen::Copy.index()].seal(&mut batch, place, clock, &self.who, Origin::Copy);
        self.reseals.target = Some((target, from));
    }

    /// Seals the batch that begins at `from` for the new epoch; `false` when it turned out to be damaged, which is
    /// declared.
    fn seal_copy(
        &mut self,
        lane: Lane,
        target: Lane,
        from: Sequence,
        clock: &ClockReading,
    ) -> Result<bool, AppendError> {
        let mut bytes = Vec::new();
        match self.read(lane, from, 1, clock, &mut bytes) {
            Ok(_) => {}
            Err(ReadError::Corrupt { .. }) => return Ok(false),
            Err(ReadError::Undeclared(error)) => return Err(error),
            Err(ReadError::Io(source)) => return Err(AppendError::Unreadable { source }),
            // Only what is no batch's beginning: the batch around it is sealed again as a whole.
            Err(ReadError::NotHeld { .. }) => {
                self.back_to_a_beginning(lane, from, clock)?;
                return Ok(false);
            }
        }
        let known = self.lanes.get(target).expect("the lane was begun");
        assert!(known.end > Sequence::ZERO, "a copied lane begins with the event that names its origin");
        let place = (target, known.end, known.chain.expect("its batches were all written here"));
        let original = split(&bytes).next().and_then(Result::ok).expect("what was read was checked");
        self.buffers[Pen::Copy.index()].seal_again(&original, place, clock, &self.who);
        Ok(true)
    }

    /// `from` is in the middle of a batch: holds that again.
    fn back_to_a_beginning(&mut self, lane: Lane, from: Sequence, clock: &ClockReading) -> Result<(), AppendError> {
        let begins = self.batch_around(lane, from).map_err(|source| AppendError::Unreadable { source })?;
        let known = self.lanes.get_mut(lane).expect("it is being sealed again");
        match begins.filter(|begins| *begins < from) {
            Some(begins) => {
                known.rewind(begins);
                self.end_copy();
            }
            // No readable entry shows what it is.
            None => {
                let (end, chain) = (from.checked_add(1).unwrap_or(from), CHAIN_START);
                let (stream, epoch) = (lane.stream, lane.epoch);
                let loss = Loss { stream, epoch, first: from, end, reason: LossReason::Corrupt, chain };
                self.declare(vec![loss], clock)?;
            }
        }
        Ok(())
    }

    /// Makes the sealed copies durable, and releases the events in the old lane.
    fn commit_copy(&mut self, lane: Lane) -> Result<(), AppendError> {
        let appended = self.commit(Pen::Copy)?;
        let (target, next) = self.reseals.target.expect("what is copied goes to a lane");
        if appended.range.first == Sequence::ZERO {
            // It names where it continues: earlier copies are not needed for that any more.
            let (done, left) =
                self.reseals.copies.iter().partition(|(copy, original)| *original == lane && *copy != target);
            self.reseals.copies = left;
            let done: Vec<(Lane, Lane)> = done;
            done.into_iter().for_each(|(copy, _)| self.sweep(copy));
            return Ok(());
        }
        assert_eq!(appended.lane, target, "copies go to the lane that was begun for them");
        let copied = next.checked_add(appended.range.count()).expect("the old lane had as many");
        self.reseals.target = Some((target, copied));
        self.counters.resealed_events += appended.range.count();
        self.release(lane, copied);
        Ok(())
    }

    fn end_copy(&mut self) {
        self.close(Pen::Copy);
        if let Some((target, _)) = self.reseals.target.take() {
            self.sweep(target);
        }
    }

    /// Sees to it that what is sealed again finds a file, and leaves the spare to what is accepted: the pool grows a
    /// little beyond its size rather than give up what is to be copied. Samples make room for critical.
    fn copy_room(&mut self, clock: &ClockReading) -> Result<(), AppendError> {
        let Some(batch) = self.buffers[Pen::Copy.index()].batch() else { return Ok(()) };
        let (stream, batch_len) = (batch.lane.stream, batch.head.batch_len as usize);
        if self.fits(Pen::Copy, entry_len(batch_len)) {
            return Ok(());
        }
        let mut refused = None;
        while self.pool.free() < SEGMENTS_SPARE {
            let makes_room = |made: io::Result<bool>, refused: &mut Option<io::Error>| match made {
                Ok(made) => made,
                Err(error) => {
                    *refused = Some(error);
                    false
                }
            };
            if makes_room(self.pool.grow(), &mut refused)
                || (stream == Stream::Critical && self.evict_samples(clock)?)
                || makes_room(self.pool.grow_beyond(COPY_SEGMENTS), &mut refused)
            {
                continue;
            }
            return Err(AppendError::NoSegment { stream, missing_bytes: self.pool.segment_bytes, source: refused });
        }
        Ok(())
    }

    /// Whether the segment records how far an unfinished other lane is sealed again.
    pub(super) fn has_copy_marks(&self, segment: &Segment) -> bool {
        let is_last = || self.lanes.get(segment.lane).is_some_and(|lane| lane.end == segment.end);
        self.reseals.is_copy(segment.lane) && (segment.first == Sequence::ZERO || is_last())
    }

    /// Whether the segment holds what is to be sealed again.
    pub(super) fn is_copied(&self, segment: &Segment) -> bool {
        self.reseals.contains(segment.lane)
    }

    /// The stream whose newest tables move along with what is sealed again.
    pub(super) fn table_moves(&self) -> Option<Stream> {
        let job = self.reseals.jobs.front()?;
        let (target, _) = self.reseals.target?;
        let pinned = self.pinned[usize::from(job.lane.stream.number())]?;
        let is_there = |(_, segment): (usize, &Segment)| {
            segment.generation == pinned && (segment.lane == job.lane || segment.lane == target)
        };
        self.pool.readable().any(is_there).then_some(job.lane.stream)
    }
}
