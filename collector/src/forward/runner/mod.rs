//! The thread of a forward: reads the log, fills parts, delivers them, and moves the checkpoint.

mod part;
mod refusal;

use std::sync::Arc;
use std::time::{Duration, Instant};

use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::Place;
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, ForwardFileError};
use super::feed::Feed;
use super::named::{BeginError, Forward, Stuck};
use super::retry::Retry;
use super::sink::{PartLimits, Sink, SinkContext, Unavailable};
use super::status::Phase;

use crate::intake::WeakIntake;
use crate::log::{ReadLog, ReadLogError};
use crate::subscribe::{Page, ReadCursor};
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
        let is_ordered = self.forward.is_moved();
        let mut session = match self.open() {
            Ok(session) => session,
            Err(end) => return end,
        };
        if is_ordered {
            // The destination learns of the order at once: if it is put back to an older copy, that is seen.
            let next = session.checkpoint.next();
            if let Err(end) = self.save(&mut session, next) {
                return end;
            }
        }
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
        let checkpoint = self.forward.agree(&kept, of_sink, log)?;
        let end = log.kept().end;
        let holds = |place: &Place| log.terms().check(place, end).is_ok();
        let part_end = self.sink.begin(&self.around.context, &checkpoint, &holds)?;
        // A log that was restored may be shorter; then its events are others as well.
        let part_end = part_end.filter(|part_end| (checkpoint.next()..=end).contains(part_end));
        self.forward.show(|progress| progress.begin(&checkpoint));
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
}
