//! Losses: declared in `critical`, durable there, and only then taken as a fact.

use afferent_host::disk::Disk;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Body, Event, Loss, LossReason};
use afferent_protocol::ids::{SequenceRange, Stream, Subject};
use afferent_protocol::session::Lane;

use super::RingLog;
use super::error::AppendError;
use super::pen::Pen;
use super::sealed::Origin;
use crate::limits::ring_log::LOSSES_PER_BATCH_MAX;

/// The lane that has the hole.
pub(super) fn lane_of(loss: &Loss) -> Lane {
    Lane { stream: loss.stream, epoch: loss.epoch }
}

impl<D: Disk> RingLog<D> {
    /// Makes losses durable; see [`RingLog::losses_are_durable`] for what follows. On an error they are kept and come
    /// before anything else that is appended.
    pub(super) fn declare(&mut self, mut losses: Vec<Loss>, clock: &ClockReading) -> Result<(), AppendError> {
        self.pay_debts(clock)?;
        if self.pending(Stream::Critical) {
            return Err(AppendError::Pending { stream: Stream::Critical });
        }
        self.undeclared.append(&mut losses);
        self.pay_debts(clock)
    }

    /// Declares what could not be declared before.
    pub(super) fn pay_debts(&mut self, clock: &ClockReading) -> Result<(), AppendError> {
        loop {
            match self.buffer(Stream::Critical).batch().map(|batch| &batch.origin) {
                Some(Origin::Losses(_)) => {
                    self.commit(Pen::Of(Stream::Critical))?;
                }
                Some(_) => return Ok(()),
                None if self.undeclared.is_empty() => return Ok(()),
                None => self.seal_losses(clock),
            }
        }
    }

    fn seal_losses(&mut self, clock: &ClockReading) {
        let count = self.undeclared.len().min(LOSSES_PER_BATCH_MAX);
        let losses: Vec<Loss> = self.undeclared.drain(..count).collect();
        let source = self.who.source;
        let subject = Subject::new(source.as_str()).expect("every source name is a subject");
        let mut batch = std::mem::take(&mut self.loss_batch);
        for loss in &losses {
            let event = Event { time: clock.wall, subject, body: Body::Loss(*loss) };
            batch.push(&event).expect("a batch of losses is far below every limit");
        }
        assert_eq!(batch.count() as usize, losses.len(), "a batch declares each loss once");
        self.seal(Stream::Critical, &mut batch, clock, Origin::Losses(losses));
        self.loss_batch = batch;
    }

    /// Acts on losses that everybody can read of now.
    pub(super) fn losses_are_durable(&mut self, losses: &[Loss]) {
        for loss in losses {
            let (lane, range) = (lane_of(loss), SequenceRange { first: loss.first, end: loss.end });
            match loss.reason {
                LossReason::Evicted | LossReason::Refused => {
                    if let Some(known) = self.lanes.get_mut(lane) {
                        known.lost_end = known.lost_end.max(loss.end.min(known.end));
                    }
                    self.release(lane, loss.end);
                }
                LossReason::Corrupt => {
                    if let Some(known) = self.lanes.get_mut(lane) {
                        known.add_hole(range);
                    }
                    self.sweep(lane);
                }
                // The lane has ended before it, or its front has.
                LossReason::TornTail | LossReason::DeviceFull | LossReason::Vanished | LossReason::VanishedAtLeast => {}
            }
        }
    }
}
