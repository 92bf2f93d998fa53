//! The thread of a forward: reads the log, fills parts, delivers them, and moves the checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::Place;
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, ForwardFileError};
use super::dead::{self, DeadLetter};
use super::feed::{Feed, Rejected};
use super::named::{BeginError, Forward, Stuck};
use super::retry::Retry;
use super::sink::{DeliverError, PartLimits, Sink, SinkContext, Unavailable};
use super::status::Phase;

use crate::intake::WeakIntake;
use crate::kinds::DEAD_LETTER;
use crate::limits::{FORWARD_BEHIND_MAX, FORWARD_SAVE_EVERY, FORWARD_SEARCH_MAX, REFUSED_IN_A_ROW_MAX};
use crate::log::{ReadLog, ReadLogError};
use crate::subscribe::{Filter, Page, ReadCursor};
use crate::turns::SharedTurns;

/// What a runner reads and writes, beside its destination.
pub(super) struct Surroundings {
    pub log: Arc<dyn ReadLog>,
    /// The first offset that is not on disk.
    pub durable: watch::Receiver<Offset>,
    /// The way of dead letters into the log.
    pub intake: WeakIntake,
    pub turns: SharedTurns,
    pub context: SinkContext,
}

pub(super) struct Runner {
    forward: Arc<Forward>,
    sink: Box<dyn Sink>,
    around: Surroundings,
    feed: Feed,
    retry: Retry,
    /// Largest part: smaller for a while after a refusal, to find the refused event.
    part_max: usize,
    /// Refused events since the last delivered one.
    refused_in_a_row: u32,
}

/// A destination that was opened, and how far the log was read for it.
struct Session {
    cursor: ReadCursor,
    checkpoint: Checkpoint,
    /// When the checkpoint was written last.
    saved: Instant,
    /// When the first event of the part was added.
    part_since: Option<Instant>,
    /// The end of the next part, where the destination has asked for one.
    part_end: Option<Offset>,
}

/// The log cannot be read.
fn of_disk(error: ReadLogError) -> Unavailable {
    Unavailable::new(error.to_string(), "check the collector's disk; delivery goes on when it can be read")
}

/// Why a session ends.
enum End {
    /// The operator has changed the forward, or the collector stops.
    Interrupted,
    /// The destination cannot take events now.
    Failed(Unavailable),
    /// Only the operator can help.
    Stuck(Stuck),
}

impl From<Unavailable> for End {
    fn from(error: Unavailable) -> Self {
        if error.is_interrupted { Self::Interrupted } else { Self::Failed(error) }
    }
}

impl From<BeginError> for End {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Stuck(stuck) => Self::Stuck(stuck),
            BeginError::File(error) => error.into(),
        }
    }
}

impl From<ForwardFileError> for End {
    fn from(error: ForwardFileError) -> Self {
        Self::Failed(Unavailable::new(error.to_string(), "delivery goes on afterwards"))
    }
}

impl Runner {
    pub fn new(forward: Arc<Forward>, sink: Box<dyn Sink>, around: Surroundings) -> Self {
        let part_max = sink.limits().events_max;
        Self { forward, sink, around, feed: Feed::new(), retry: Retry::new(), part_max, refused_in_a_row: 0 }
    }

    /// Delivers until the collector stops.
    pub fn run(&mut self) {
        while !self.around.context.stopping.is_requested() {
            self.around.context.orders.borrow_and_update();
            if self.forward.is_paused() {
                self.forward.show(|progress| (progress.phase, progress.next_try) = (Phase::Paused, None));
                self.pause(None);
                continue;
            }
            let end = self.session();
            self.sink.drop_part();
            self.sink.close();
            match end {
                End::Interrupted => {}
                End::Failed(error) => {
                    let wait = self.retry.after(error.after);
                    self.forward.failed(&error.to_string(), Phase::Retrying, Some(wait));
                    self.pause(Some(wait));
                }
                End::Stuck(stuck) => {
                    self.forward.failed(&stuck.to_string(), Phase::Stuck, None);
                    self.pause(None);
                }
            }
        }
    }

    /// Waits for this time, or until the operator changes the forward or the collector stops.
    fn pause(&self, time: Option<Duration>) {
        let context = &self.around.context;
        let (mut stopping, mut orders) = (context.stopping.clone(), context.orders.clone());
        context.runtime.block_on(async {
            tokio::select! {
                () = stopping.requested() => {}
                Ok(()) = orders.changed() => {}
                () = tokio::time::sleep(time.unwrap_or(Duration::MAX)) => {}
            }
        });
    }

    /// Opens the destination, and delivers until something is wrong.
    fn session(&mut self) -> End {
        let mut session = match self.open() {
            Ok(session) => session,
            Err(end) => return end,
        };
        loop {
            if let Err(end) = self.replay(&mut session).and_then(|()| self.next_part(&mut session)) {
                return end;
            }
        }
    }

    fn open(&mut self) -> Result<Session, End> {
        let log = &*self.around.log;
        let kept = self.forward.begin(log)?;
        let of_sink = self.sink.open(&self.around.context)?;
        let checkpoint = self.forward.agree(&kept, of_sink, log).map_err(End::Stuck)?;
        let end = log.kept().end;
        let holds = |place: &Place| log.terms().check(place, end).is_ok();
        let part_end = self.sink.begin(&self.around.context, &checkpoint, &holds)?;
        // A log that was restored may be shorter; then its events are others as well.
        let part_end = part_end.filter(|part_end| (checkpoint.next()..=end).contains(part_end));
        self.forward.show(|progress| {
            progress.next_try = None;
            // After a failure it runs once something is delivered.
            if progress.phase != Phase::Retrying {
                progress.phase = Phase::Running;
            }
        });
        self.feed.clear();
        self.recall(checkpoint.next())?;
        let cursor = self.cursor(checkpoint.next(), part_end);
        Ok(Session { cursor, checkpoint, saved: Instant::now(), part_since: None, part_end })
    }

    /// Reads on from `next`: up to the end of the next part, where that has to be there, else forever.
    fn cursor(&self, next: Offset, part_end: Option<Offset>) -> ReadCursor {
        let filter = self.forward.filter.clone();
        match part_end {
            Some(end) => ReadCursor::part(next, end, u64::MAX, filter),
            None => ReadCursor::follow(next, filter),
        }
    }

    /// Whether the operator has changed the forward, or the collector stops.
    fn is_interrupted(&self) -> bool {
        self.around.context.stopping.is_requested() || self.around.context.orders.has_changed().unwrap_or(true)
    }

    fn limits(&self) -> PartLimits {
        let limits = self.sink.limits();
        PartLimits { events_max: limits.events_max.min(self.part_max), ..limits }
    }

    /// Reads on, and delivers a part once it is full or has waited long enough.
    fn next_part(&mut self, session: &mut Session) -> Result<(), End> {
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
    fn save(&mut self, session: &mut Session, passed: Offset) -> Result<(), End> {
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

    fn behind(&self, session: &Session, passed: Offset) -> Checkpoint {
        assert!(passed >= session.checkpoint.next(), "a forward only goes forward");
        let place = crate::terms::PlaceText(self.around.log.terms().place(passed));
        Checkpoint { place, ..session.checkpoint }
    }

    fn delivered(&mut self, session: &mut Session, checkpoint: Checkpoint, events: usize) -> Result<(), End> {
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

    /// The destination refuses one event of the part: finds it, then sets it aside.
    fn refused(&mut self, session: &mut Session, index: Option<usize>, taken: usize, reason: &str) -> Result<(), End> {
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

    /// Reads from the checkpoint again.
    fn read_again(&mut self, session: &mut Session) -> Result<(), End> {
        self.feed.clear();
        session.part_since = None;
        session.cursor = self.cursor(session.checkpoint.next(), session.part_end);
        self.recall(session.checkpoint.next())
    }

    /// Has the sink recall what it must know of the events before `next`.
    fn recall(&mut self, next: Offset) -> Result<(), End> {
        let Some(filter) = self.sink.recalls() else { return Ok(()) };
        let log = &*self.around.log;
        let mut cursor = ReadCursor::part(log.kept().start.min(next), next, u64::MAX, filter);
        let mut page = Page::More;
        while page == Page::More {
            let turn = self.around.context.wait(Duration::MAX, "waiting for its turn", self.around.turns.take())?;
            page = cursor.advance(log, &mut self.feed.recall(&mut *self.sink)).map_err(of_disk)?;
            drop(turn);
        }
        self.sink.drop_part();
        Ok(())
    }

    /// Appends a dead letter for an event, and goes on behind it.
    fn set_aside(&mut self, session: &mut Session, rejected: Rejected) -> Result<(), End> {
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
    fn replay(&mut self, session: &mut Session) -> Result<(), End> {
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
        let found = super::replay::next_dead_letter(log, &self.forward.name, from..until).map_err(of_disk)?;
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
