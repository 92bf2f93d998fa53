//! Giving up the oldest when no segment is free: samples first, and never before the loss is durable.
//!
//! One free file is always kept, the *spare*: a batch that the disk refuses needs a new file at once, and so does a
//! loss that does not fit behind the last critical entry. Every stream is sure of one segment to write to.
//!
//! With a critical segment go the losses that it declares: the loss of the segment goes along with theirs, made into
//! one where they touch, so that the last one names all that was given up since the last ack.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::scan::{Scan, Step};

use super::RingLog;
use super::error::AppendError;
use super::loss::lane_of;
use super::pen::Pen;
use super::pool::{Segment, file_name};
use super::reader::read_pieces;
use super::survey::read_critical;
use crate::limits::ring_log::SEGMENTS_MIN;

impl<D: Disk> RingLog<D> {
    /// Sees to it that the stream can take a file: makes more of them, or gives up the oldest segments.
    pub(super) fn make_room(&mut self, stream: Stream, clock: &ClockReading) -> Result<(), AppendError> {
        if stream == Stream::Samples {
            // It is full. When samples have no other segment it is the one to give up.
            self.close(Pen::Of(stream));
        }
        self.before_wiping();
        self.pool.shrink(SEGMENTS_MIN);
        let refused = self.free_more_than(self.files_kept(stream), stream, clock)?;
        // One to take now, and the spare, which a start must find blank.
        self.before_wiping();
        self.pool.keep_blank(2);
        if self.pool.free() > 0 {
            return Ok(());
        }
        Err(AppendError::NoSegment { stream, missing_bytes: self.pool.segment_bytes, source: refused })
    }

    /// Gets the spare back that a refused write has used up, when something can be given up for it.
    pub(super) fn refill_spare(&mut self, stream: Stream, clock: &ClockReading) -> Result<(), AppendError> {
        self.free_more_than(0, stream, clock).map(|_| ())
    }

    /// Makes or frees files until more than `kept` are free, or nothing may be given up any more. Returns the error of
    /// the disk if creating one failed.
    fn free_more_than(
        &mut self,
        kept: usize,
        stream: Stream,
        clock: &ClockReading,
    ) -> Result<Option<io::Error>, AppendError> {
        let mut refused = None;
        while self.pool.free() <= kept {
            match self.pool.grow() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => refused = Some(error),
            }
            match self.victim(stream) {
                Some((number, segment)) => {
                    let is_fair = stream == Stream::Critical || segment.lane.stream == Stream::Samples;
                    assert!(is_fair, "samples push out no breakdown");
                    self.evict(number, &segment, clock)?;
                }
                None => break,
            }
        }
        Ok(refused)
    }

    /// Free files that are not for this stream to take.
    fn files_kept(&self, stream: Stream) -> usize {
        let has_samples = self.pool.has_segment(Stream::Samples);
        match stream {
            Stream::Critical => 1 + usize::from(!has_samples),
            Stream::Samples if has_samples => self.critical_reserve,
            Stream::Samples => 1,
        }
    }

    /// The oldest segment of samples; one of critical only for critical, and when there are none of samples. Those that
    /// are being written are no victims, and what is being sealed again is one only where nothing else is.
    fn victim(&self, stream: Stream) -> Option<(usize, Segment)> {
        let oldest = |victim: Stream| {
            let can_go = |number: usize, segment: &Segment| !self.is_active(number) && !self.has_copy_marks(segment);
            let segments = self.pool.taken().filter(|(number, segment)| can_go(*number, segment));
            let of_stream = segments.filter(|(_, segment)| segment.lane.stream == victim);
            let oldest = of_stream.min_by_key(|(_, s)| (self.is_copied(s), self.is_pinned(s), s.generation));
            oldest.map(|(number, segment)| (number, *segment))
        };
        let critical = || if stream == Stream::Critical { oldest(Stream::Critical) } else { None };
        oldest(Stream::Samples).or_else(critical)
    }

    /// Gives up the oldest segment of samples that is not being sealed again; `false` when there is none.
    pub(super) fn evict_samples(&mut self, clock: &ClockReading) -> Result<bool, AppendError> {
        let victim = self.victim(Stream::Samples).filter(|(_, segment)| !self.is_copied(segment));
        match victim {
            Some((number, segment)) => self.evict(number, &segment, clock).map(|()| true),
            None => Ok(false),
        }
    }

    fn evict(&mut self, number: usize, segment: &Segment, clock: &ClockReading) -> Result<(), AppendError> {
        assert!(!self.is_active(number), "a segment that is written to is not evicted");
        // It is the oldest of its lane: what is missing before it, in a file that cannot be read, goes along with it.
        let first = self.lanes.get(segment.lane).map_or(segment.end, |lane| lane.released_end);
        let loss = Loss {
            stream: segment.lane.stream,
            epoch: segment.lane.epoch,
            first,
            end: segment.end,
            reason: LossReason::Evicted,
            chain: segment.chain,
        };
        if first < segment.end {
            let mut losses = if loss.stream == Stream::Critical { self.losses_up_to(segment) } else { Vec::new() };
            losses.push(loss);
            self.declare(merged(losses), clock)?;
            self.counters.evicted_events += segment.end.since(first);
        } else {
            self.free_segment(number);
        }
        self.counters.evicted_segments += 1;
        Ok(())
    }
    /// Losses that this critical segment declares, or an earlier one that must stay for what else it declares.
    fn losses_up_to(&self, segment: &Segment) -> Vec<Loss> {
        let goes = |other: &Segment| other.lane == segment.lane && other.end <= segment.end;
        let going = self.pool.taken().filter(|(_, other)| goes(other));
        going.flat_map(|(number, other)| self.losses_of(number, other)).collect()
    }

    /// Losses that a critical segment declares and that no ack has come for: they continue in the loss of the segment.
    pub(super) fn losses_of(&self, number: usize, segment: &Segment) -> Vec<Loss> {
        let mut losses = Vec::new();
        let released_end = self.lanes.get(segment.lane).map_or(Sequence::ZERO, |lane| lane.released_end);
        let mut bytes = vec![0; segment.bytes_end as usize];
        match self.pool.disk.open(&file_name(number)) {
            Ok(file) if file.read_at(&mut bytes, 0).is_err() => {
                read_pieces(&file, &mut bytes, 0);
            }
            Ok(_) => {}
            Err(_) => return losses,
        }
        let mut scan = Scan::new(&bytes, self.seed(segment.generation));
        while let Some(step) = scan.step() {
            if let Step::Entry(_, entry) = step
                && entry.batch.header().end() > released_end
            {
                read_critical(&entry.batch, &self.who.source, &mut losses);
            }
        }
        losses
    }
}

/// The losses with one in place of those of a lane and a reason that touch each other.
pub(super) fn merged(mut losses: Vec<Loss>) -> Vec<Loss> {
    losses.sort_by_key(|loss| (loss.stream, loss.epoch, loss.reason as u8, loss.first, loss.end));
    losses.dedup_by(|later, earlier| {
        let touch = lane_of(later) == lane_of(earlier) && later.reason == earlier.reason && later.first <= earlier.end;
        if touch && later.end > earlier.end {
            (earlier.end, earlier.chain) = (later.end, later.chain);
        }
        touch
    });
    losses
}
