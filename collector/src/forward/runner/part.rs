//! A part: filled from the log, delivered, and the checkpoint behind it.

use std::time::{Duration, Instant};

use afferent_protocol::ids::Offset;

use super::super::checkpoint::Checkpoint;
use super::super::sink::{DeliverError, Unavailable};
use super::super::status::Phase;
use super::{End, Runner, Session, Surroundings, of_disk};
use crate::limits::{FORWARD_BEHIND_MAX, FORWARD_SAVE_EVERY, FORWARD_SEARCH_MAX};
use crate::subscribe::Page;

impl Runner {
    /// Reads on, and delivers a part once it is full or has waited long enough.
    pub(super) fn next_part(&mut self, session: &mut Session) -> Result<(), End> {
        if self.is_interrupted() {
            return Err(End::Interrupted);
        }
        let limits = self.limits();
        let turn = self.around.context.wait(Duration::MAX, "waiting for its turn", self.around.turns.take())?;
        self.around.durable.borrow_and_update();
        let page = session.cursor.advance(&*self.around.log, &mut self.feed.to(&mut *self.sink, limits));
        drop(turn);
        let page = page.map_err(of_disk)?;
        let part = self.feed.part();
        let passed = part.rejected.as_ref().map_or(session.cursor.next(), |rejected| rejected.address.offset);
        self.forward.show(|progress| (progress.oldest, progress.passed) = (part.oldest, passed));
        let (events, is_rejected) = (part.offsets.len(), part.rejected.is_some());
        if events == 0 {
            session.part_since = None;
            if let Some(rejected) = part.rejected.clone() {
                return self.set_aside(session, rejected);
            }
            return match page {
                Page::More => self.skip(session, passed),
                Page::AtEnd => self.idle(session, passed),
                Page::Done => self.save(session, passed),
            };
        }
        let since = *session.part_since.get_or_insert_with(Instant::now);
        let is_full =
            is_rejected || page == Page::Done || events >= limits.events_max || self.sink.bytes() >= limits.bytes_max;
        let wait = match page {
            Page::More if session.part_end.is_some() => Duration::MAX,
            // A part that was begun does not wait until the whole log is searched for more.
            Page::More => limits.wait.max(FORWARD_SEARCH_MAX),
            Page::AtEnd | Page::Done => limits.wait,
        };
        let left = wait.saturating_sub(since.elapsed());
        if !is_full && !left.is_zero() {
            if page != Page::More {
                self.wait_for_growth(left);
            }
            return Ok(());
        }
        session.part_since = None;
        self.deliver(session, passed)
    }

    /// Nothing was wanted of what was read, and more can be read.
    fn skip(&mut self, session: &mut Session, passed: Offset) -> Result<(), End> {
        if passed.since(session.checkpoint.next()) >= FORWARD_BEHIND_MAX { self.save(session, passed) } else { Ok(()) }
    }

    /// Everything is delivered.
    fn idle(&mut self, session: &mut Session, passed: Offset) -> Result<(), End> {
        let left = FORWARD_SAVE_EVERY.saturating_sub(session.saved.elapsed());
        if passed > session.checkpoint.next() && left.is_zero() {
            return self.save(session, passed);
        }
        self.forward.show(|progress| progress.phase = Phase::Running);
        self.wait_for_growth(if passed > session.checkpoint.next() { left } else { Duration::MAX });
        Ok(())
    }

    /// Moves the checkpoint over events that are not wanted.
    pub(super) fn save(&mut self, session: &mut Session, passed: Offset) -> Result<(), End> {
        let checkpoint = self.behind(session, passed);
        match self.sink.deliver(&self.around.context, &checkpoint) {
            Ok(()) => self.delivered(session, checkpoint, 0),
            Err(DeliverError::Unavailable(error)) => Err(error.into()),
            Err(DeliverError::Refused { reason, .. }) => Err(End::Failed(Unavailable::new(
                format!("{} refuses its own checkpoint: {reason}", self.forward.target),
                "check the destination",
            ))),
        }
    }

    pub(super) fn behind(&self, session: &Session, passed: Offset) -> Checkpoint {
        assert!(passed >= session.checkpoint.next(), "a forward only goes forward");
        let place = crate::terms::PlaceText(self.around.log.terms().place(passed));
        Checkpoint { place, ..session.checkpoint }
    }

    pub(super) fn delivered(
        &mut self,
        session: &mut Session,
        checkpoint: Checkpoint,
        events: usize,
    ) -> Result<(), End> {
        session.checkpoint = checkpoint;
        session.saved = Instant::now();
        if session.part_end.take_if(|end| checkpoint.next() >= *end).is_some() {
            session.cursor = self.cursor(checkpoint.next(), None);
        }
        self.forward.show(|progress| progress.phase = Phase::Running);
        self.forward.moved(&checkpoint, events as u64)?;
        Ok(())
    }

    fn wait_for_growth(&mut self, time: Duration) {
        let Surroundings { durable, context, .. } = &mut self.around;
        let (mut stopping, mut orders) = (context.stopping.clone(), context.orders.clone());
        context.runtime.block_on(async {
            tokio::select! {
                () = stopping.requested() => {}
                Ok(()) = orders.changed() => {}
                grown = durable.changed() => if grown.is_err() { stopping.requested().await },
                () = tokio::time::sleep(time) => {}
            }
        });
    }

    /// Delivers the part, which ends before `end`.
    fn deliver(&mut self, session: &mut Session, end: Offset) -> Result<(), End> {
        let checkpoint = self.behind(session, end);
        let events = self.feed.part().offsets.len();
        let delivered = self.sink.deliver(&self.around.context, &checkpoint);
        match delivered {
            Ok(()) => {
                self.retry.reset();
                self.refused_in_a_row = 0;
                self.part_max = (2 * self.part_max).min(self.sink.limits().events_max);
                self.delivered(session, checkpoint, events)?;
                let rejected = self.feed.part().rejected.clone();
                self.feed.clear();
                match rejected {
                    Some(rejected) => self.set_aside(session, rejected),
                    None => Ok(()),
                }
            }
            Err(DeliverError::Unavailable(error)) => {
                self.keep_taken(session, error.taken)?;
                Err(error.into())
            }
            Err(DeliverError::Refused { index, taken, reason }) => {
                self.keep_taken(session, taken)?;
                self.refused(session, index, taken, &reason)
            }
        }
    }

    /// The destination has the first `taken` events of a part that failed.
    fn keep_taken(&mut self, session: &mut Session, taken: usize) -> Result<(), End> {
        let part = self.feed.part();
        assert!(taken <= part.offsets.len(), "a destination cannot take more than was delivered");
        let Some(next) = part.offsets.get(taken).copied().filter(|_| taken > 0) else { return Ok(()) };
        let checkpoint = self.behind(session, next);
        self.delivered(session, checkpoint, taken)
    }
}
