//! Appending: one write, one sync, and only then the batch counts as durable.

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::ids::{Sequence, SequenceRange, Stream};
use afferent_protocol::segment::{LogKind, SEGMENT_HEADER_LEN, STOP_LEN, SegmentHeader, entry_len};
use afferent_protocol::session::{Check, Lane};

use super::RingLog;
use super::error::AppendError;
use super::pen::{Active, Pen};
use super::pool::{Segment, Shortage, Slot, Usage};
use super::sealed::{Knowledge, Origin, SealedBatch};
use crate::limits::ring_log::{COPY_SEGMENTS, LOSS_ROOM, WRITE_TRIES_MAX};

/// A batch that is durable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The lane of the batch.
    pub lane: Lane,
    /// The sequences of its events.
    pub range: SequenceRange,
    /// The check of the batch.
    pub check: Check,
    /// Length of the batch, in bytes.
    pub bytes: usize,
}

impl Appended {
    fn of(batch: &SealedBatch) -> Self {
        Self {
            lane: batch.lane,
            range: SequenceRange { first: batch.first(), end: batch.end() },
            check: Check::of(&batch.chain),
            bytes: batch.head.batch_len as usize,
        }
    }
}

impl<D: Disk> RingLog<D> {
    /// Seals what the builder holds and makes it durable, in one write and one sync.
    ///
    /// On [`AppendError::Unwritable`] and [`AppendError::NoSegment`] look at [`RingLog::pending`]: when the stream is
    /// pending, the builder was emptied and its sealed bytes are kept, and [`RingLog::retry`], or this with an empty
    /// builder, tries again with the same bytes on a different file. Otherwise, and on any other error, the builder is
    /// as it was.
    pub fn append(
        &mut self,
        stream: Stream,
        batch: &mut BatchBuilder,
        clock: &ClockReading,
    ) -> Result<Appended, AppendError> {
        self.pay_debts(clock)?;
        if self.pending(stream) {
            return if batch.is_empty() {
                self.retry_stream(stream, clock)
            } else {
                Err(AppendError::Pending { stream })
            };
        }
        if batch.is_empty() {
            return Err(AppendError::Empty);
        }
        let (bytes, bytes_max) = (batch.bytes(), self.batch_bytes_max());
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let room_kept = if stream == Stream::Critical { LOSS_ROOM } else { 0 };
        if !self.fits(Pen::Of(stream), entry_len(bytes) + room_kept) {
            self.make_room(stream, clock)?;
        } else if self.pool.free() == 0 {
            self.refill_spare(stream, clock)?;
        }
        self.seal(stream, batch, clock, Origin::Caller);
        self.commit(Pen::Of(stream))
    }

    /// Tries again to write what the disk has refused. Gives those batches that came from [`RingLog::append`]; does
    /// nothing when nothing is pending.
    pub fn retry(&mut self, clock: &ClockReading) -> Result<Vec<Appended>, AppendError> {
        let mut appended = Vec::new();
        self.pay_debts(clock)?;
        for stream in Stream::ALL {
            if self.pending(stream) {
                appended.push(self.retry_stream(stream, clock)?);
                self.pay_debts(clock)?;
            }
        }
        Ok(appended)
    }

    /// Whether a sealed batch of the stream waits for [`RingLog::retry`]. Nothing else is accepted meanwhile.
    pub fn pending(&self, stream: Stream) -> bool {
        self.buffer(stream).batch().is_some_and(|batch| batch.origin == Origin::Caller)
    }

    fn retry_stream(&mut self, stream: Stream, clock: &ClockReading) -> Result<Appended, AppendError> {
        // A critical batch cannot make room for itself: the loss would have to be sequenced before it.
        if stream == Stream::Samples && !self.fits(Pen::Of(stream), self.buffer(stream).entry_len()) {
            self.make_room(stream, clock)?;
        }
        self.commit(Pen::Of(stream))
    }

    /// Seals a batch of the stream: from here on its bytes never change.
    pub(super) fn seal(&mut self, stream: Stream, batch: &mut BatchBuilder, clock: &ClockReading, origin: Origin) {
        let lane = self.lanes.current(stream);
        let previous = lane.chain.expect("a lane whose chain nobody knows is never written to");
        let place = (lane.lane, lane.end, previous);
        self.buffers[usize::from(stream.number())].seal(batch, place, clock, &self.who, origin);
    }

    /// Whether an entry of this length fits behind those of the pen's segment.
    pub(super) fn fits(&self, pen: Pen, entry_len: usize) -> bool {
        self.heads[pen.index()]
            .as_ref()
            .is_some_and(|active| active.position + (entry_len + STOP_LEN) as u64 <= self.pool.slots[active.number].len)
    }

    /// Writes the sealed batch, to a fresh file if a file refuses it, and records it.
    pub(super) fn commit(&mut self, pen: Pen) -> Result<Appended, AppendError> {
        let stream = self.buffers[pen.index()].batch().expect("only what was sealed is written").lane.stream;
        let mut refused = None;
        for _ in 0..WRITE_TRIES_MAX {
            let written =
                if self.fits(pen, self.kept_len(pen)) { self.write_behind(pen) } else { self.write_fresh(pen) };
            match written {
                Ok(()) => return Ok(self.committed(pen)),
                Err(Shortage::Unwritable(source)) => {
                    self.counters.refused_writes += 1;
                    refused = Some(source);
                }
                Err(Shortage::Full(source)) => {
                    let missing_bytes = self.pool.segment_bytes;
                    return Err(match refused {
                        Some(source) => AppendError::Unwritable { stream, source },
                        None => AppendError::NoSegment { stream, missing_bytes, source },
                    });
                }
            }
        }
        Err(AppendError::Unwritable {
            stream,
            source: refused.expect("every try but the last one went on after a refusal"),
        })
    }

    /// Bytes that the sealed entry needs in a segment; only losses, and copies, may use the room that is kept for
    /// losses.
    fn kept_len(&self, pen: Pen) -> usize {
        let buffer = &self.buffers[pen.index()];
        let of_caller = buffer.batch().is_some_and(|batch| batch.origin == Origin::Caller);
        buffer.entry_len() + if pen == Pen::Of(Stream::Critical) && of_caller { LOSS_ROOM } else { 0 }
    }

    /// The ends in the head of the sealed entry: the lane's acked end, and the end of the other stream.
    fn knowledge(&self, pen: Pen) -> Knowledge {
        let lane = self.buffers[pen.index()].batch().expect("only what was sealed is written").lane;
        let acked_end = self.lanes.get(lane).expect("a lane that is written to is known").released_end;
        let other = match lane.stream {
            Stream::Critical => Stream::Samples,
            Stream::Samples => Stream::Critical,
        };
        let other = self.lanes.current(other);
        Knowledge { acked_end, other: (other.lane.epoch, other.end) }
    }

    fn write_behind(&mut self, pen: Pen) -> Result<(), Shortage> {
        let at = pen.index();
        let knowledge = self.knowledge(pen);
        let active = self.heads[at].as_mut().expect("there is one, for the entry fits it");
        let bytes = self.buffers[at].entry(active.seed, knowledge);
        let end = active.position + bytes.len() as u64;
        assert!(end <= self.pool.slots[active.number].len, "an entry and its stop fit their segment");
        match active.file.write_at(bytes, active.position).and_then(|()| active.file.sync()) {
            Ok(()) => {
                active.position += (bytes.len() - STOP_LEN) as u64;
                self.counters.written_bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.abandon(pen);
                Err(Shortage::Unwritable(error))
            }
        }
    }

    fn write_fresh(&mut self, pen: Pen) -> Result<(), Shortage> {
        let at = pen.index();
        if self.pool.takes_kept() {
            self.before_wiping();
        }
        let is_loss = self.buffers[at].batch().is_some_and(|batch| matches!(batch.origin, Origin::Losses(_)));
        if is_loss && self.pool.free() == 0 {
            // The loss that makes room must be declared first. Should the disk refuse, taking a file fails.
            let _ = self.pool.grow_beyond(COPY_SEGMENTS);
        }
        let (number, file) = self.pool.take()?;
        assert!(!self.is_active(number), "a file that is written to is not taken once more");
        let knowledge = self.knowledge(pen);
        let batch = self.buffers[at].batch().expect("only what was sealed is written");
        let (lane, first) = (batch.lane, batch.first());
        let header = SegmentHeader {
            kind: LogKind::Ring,
            log_id: self.log_id,
            generation: self.next_generation,
            stream: lane.stream,
            epoch: lane.epoch,
            first_ordinal: first.get(),
            begun: self.buffers[at].stamp(),
        };
        self.next_generation += 1;
        let bytes = self.buffers[at].segment(&header, knowledge);
        assert!(bytes.len() as u64 <= self.pool.slots[number].len, "a segment's first entry fits it");
        if let Err(error) = file.write_at(bytes, 0).and_then(|()| file.sync()) {
            self.counters.abandoned_segments += 1;
            self.pool.spoil(number);
            return Err(Shortage::Unwritable(error));
        }
        let position = (bytes.len() - STOP_LEN) as u64;
        self.counters.written_bytes += bytes.len() as u64;
        let len = self.pool.slots[number].len;
        let usage = Usage::Taken(Segment {
            lane,
            generation: header.generation,
            first,
            end: first,
            bytes_end: SEGMENT_HEADER_LEN as u64,
            chain: [0; 32],
            abandoned: false,
        });
        self.pool.slots[number] = Slot { len, usage };
        self.heads[at] = Some(Active { number, file, seed: header.seed(), position });
        Ok(())
    }

    /// The pen's sealed batch is on disk.
    fn committed(&mut self, pen: Pen) -> Appended {
        let batch = self.buffers[pen.index()].done();
        let active = self.heads[pen.index()].as_ref().expect("it was just written to");
        let segment = self.pool.segment_mut(active.number);
        assert_eq!(segment.end, batch.first(), "entries of a segment follow each other");
        assert_eq!(segment.lane, batch.lane, "a segment holds one lane");
        assert!(active.position > segment.bytes_end, "a segment only grows");
        let begins = segment.first == segment.end;
        segment.end = batch.end();
        segment.bytes_end = active.position;
        segment.chain = batch.chain;
        let generation = segment.generation;
        let lane = self.lanes.get_mut(batch.lane).expect("a lane that is written to is known");
        assert_eq!(lane.end, batch.first(), "sequences of a lane are dense");
        lane.end = batch.end();
        lane.chain = Some(batch.chain);
        self.newest_generation = self.newest_generation.max(generation);
        if batch.has_progress {
            self.pin(pen, generation);
        }
        if begins {
            // The previous segment has no newer end of the lane than this one.
            self.sweep(batch.lane);
        }
        if let Origin::Losses(losses) = &batch.origin {
            self.losses_are_durable(losses);
        }
        if begins {
            self.sync_witness();
        } else {
            self.write_witness();
        }
        Appended::of(&batch)
    }

    /// The pen's segment is written no more. Its entries stay.
    pub(super) fn close(&mut self, pen: Pen) {
        if let Some(active) = self.heads[pen.index()].take() {
            self.sweep_segment(active.number);
        }
    }

    /// The disk refused a write to the pen's segment: its whole entries stay readable, and it is written no more.
    fn abandon(&mut self, pen: Pen) {
        if let Some(active) = self.heads[pen.index()].take() {
            self.counters.abandoned_segments += 1;
            self.pool.spoil(active.number);
            self.sweep_segment(active.number);
        }
    }

    /// Where the stream goes on: its lane, and the first sequence that is not on disk.
    pub fn durable_end(&self, stream: Stream) -> (Lane, Sequence) {
        let lane = self.lanes.current(stream);
        (lane.lane, lane.end)
    }
}
