//! What a destination will never take: found, set aside as a dead letter, and sent again on request.

use std::time::Duration;

use afferent_protocol::ids::Offset;

use super::super::checkpoint::Checkpoint;
use super::super::dead::{self, DeadLetter};
use super::super::feed::Rejected;
use super::super::replay;
use super::super::sink::{DeliverError, PartLimits, Unavailable};
use super::{End, Runner, Session, of_disk};
use crate::kinds::DEAD_LETTER;
use crate::limits::REFUSED_IN_A_ROW_MAX;
use crate::subscribe::{Filter, Page, ReadCursor};

impl Runner {
    /// The destination refuses one event of the part: finds it, then sets it aside.
    pub(super) fn refused(
        &mut self,
        session: &mut Session,
        index: Option<usize>,
        taken: usize,
        reason: &str,
    ) -> Result<(), End> {
        let left = self.feed.part().offsets.len() - taken;
        assert!(left > 0, "a refused event was not taken");
        let only = self.feed.part().only.clone();
        self.sink.drop_part();
        self.read_again(session)?;
        if let Some(only) = only {
            return self.set_aside(session, Rejected { reason: reason.to_owned(), ..only });
        }
        self.part_max = index.map_or(left / 2, |index| index.saturating_sub(taken)).max(1);
        Ok(())
    }

    /// Appends a dead letter for an event, and goes on behind it.
    pub(super) fn set_aside(&mut self, session: &mut Session, rejected: Rejected) -> Result<(), End> {
        let end = rejected.end;
        self.dead_letter(&rejected, &session.checkpoint.generation.to_string())?;
        self.feed.clear();
        let checkpoint = self.behind(session, end);
        match self.sink.deliver(&self.around.context, &checkpoint) {
            Ok(()) => self.delivered(session, checkpoint, 0)?,
            Err(DeliverError::Unavailable(error)) => return Err(error.into()),
            Err(DeliverError::Refused { reason, .. }) => {
                return Err(End::Failed(Unavailable::new(reason, "check the destination")));
            }
        }
        self.read_again(session)?;
        self.refused_in_a_row += 1;
        if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
            // It may be the destination that is wrong, and not so many events in a row.
            let count = self.refused_in_a_row;
            let error = format!(
                "{} has refused {count} events in a row, the last one: {}",
                self.forward.target, rejected.reason
            );
            let remedy = "check the destination and its settings; `forward replay-dead` sends the dead letters again";
            return Err(End::Failed(Unavailable::new(error, remedy)));
        }
        Ok(())
    }

    fn dead_letter(&mut self, rejected: &Rejected, round: &str) -> Result<(), End> {
        let Self { forward, around, .. } = self;
        tracing::warn!(
            forward = %forward.name, offset = %rejected.address.offset, reason = rejected.reason,
            "the destination will never take this event"
        );
        forward.show(|progress| progress.dead += 1);
        // A dead letter that cannot be delivered is in the log already.
        if rejected.kind == DEAD_LETTER {
            return Ok(());
        }
        let letter = DeadLetter::of(&forward.name, forward.sink, rejected);
        let event = letter.event(&forward.name, &forward.own, round);
        let appended = around.context.wait(Duration::MAX, "appending", dead::append(&around.intake, event))?;
        appended.map_err(|error| {
            let remedy = "see the collector's health; the event is delivered again until then";
            End::Failed(Unavailable::new(format!("a dead letter cannot be appended to the log: {error}"), remedy))
        })
    }

    /// Sends the dead letters again that the operator has asked for.
    pub(super) fn replay(&mut self, session: &mut Session) -> Result<(), End> {
        let until = self.forward.replay_until();
        while session.checkpoint.replayed_until < until {
            if self.is_interrupted() {
                return Err(End::Interrupted);
            }
            self.replay_next(session, until)?;
        }
        Ok(())
    }

    fn replay_next(&mut self, session: &mut Session, until: Offset) -> Result<(), End> {
        let log = &*self.around.log;
        let from = session.checkpoint.replayed_until;
        let found = replay::next_dead_letter(log, &self.forward.name, from..until).map_err(of_disk)?;
        let Some(found) = found else {
            let checkpoint = Checkpoint { replayed_until: until, ..session.checkpoint };
            return self.delivered(session, checkpoint, 0);
        };
        self.sink.drop_part();
        self.feed.clear();
        let one = PartLimits { events_max: 1, ..self.sink.limits() };
        let (target, end) = (found.target, Offset::new(found.target.get() + 1));
        let mut cursor = ReadCursor::part(target, end, 1, Filter::default());
        while cursor.advance(log, &mut self.feed.to(&mut *self.sink, one)).map_err(of_disk)? == Page::More {}
        let checkpoint = Checkpoint { replayed_until: Offset::new(found.at.get() + 1), ..session.checkpoint };
        let mut rejected = self.feed.part().rejected.clone();
        let events = self.feed.part().offsets.len();
        if rejected.is_none() {
            match self.sink.deliver(&self.around.context, &checkpoint) {
                Ok(()) => {
                    self.read_again(session)?;
                    return self.delivered(session, checkpoint, events);
                }
                Err(DeliverError::Unavailable(error)) => return Err(error.into()),
                Err(DeliverError::Refused { reason, .. }) => {
                    rejected = self.feed.part().only.clone().map(|only| Rejected { reason, ..only });
                }
            }
        }
        self.sink.drop_part();
        let rejected = rejected.expect("what is not delivered is rejected");
        self.dead_letter(&rejected, &format!("again-{}", found.at))?;
        self.read_again(session)?;
        match self.sink.deliver(&self.around.context, &checkpoint) {
            Ok(()) => self.delivered(session, checkpoint, 0),
            Err(DeliverError::Unavailable(error)) => Err(error.into()),
            Err(DeliverError::Refused { reason, .. }) => {
                Err(End::Failed(Unavailable::new(reason, "check the destination")))
            }
        }
    }
}
