//! A forward: what it is, how far it has come, and the operator's orders to it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use afferent_host::clock;
use afferent_protocol::ids::{Offset, SourceId};
use tokio::sync::watch;

use super::checkpoint::{Checkpoint, ForwardFileError, ForwardFiles, Kept};
use super::config::{ForwardConfig, ForwardConfigError};
use super::sink::Sink;
use super::status::{Failure, ForwardView, Phase, Progress};
use crate::limits::FORWARD_SINK_SAVE_EVERY;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::subscribe::{Filter, Start, StartError};
use crate::terms::{PlaceError, PlaceText};

/// A forward in one partition.
pub(super) struct Forward {
    pub(super) name: SourceId,
    /// The collector's name.
    pub(super) own: SourceId,
    pub(super) partition: Partition,
    pub(super) filter: Filter,
    pub(super) from: Start,
    /// The kind of its destination, and the destination itself, without secrets.
    pub(super) sink: &'static str,
    pub(super) target: String,
    /// Whether the destination keeps the checkpoint.
    pub(super) is_kept_there: bool,
    pub(super) files: ForwardFiles,
    /// Held while the file is written, which can take long.
    pub(super) writing: Mutex<Option<Instant>>,
    /// Never held for long: requests look at it.
    pub(super) state: Mutex<State>,
    pub(super) orders: watch::Sender<u64>,
}

pub(super) struct State {
    /// `None` until its first start.
    pub kept: Option<Kept>,
    pub progress: Progress,
}

/// Only the operator can help.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    #[error(
        "its place no longer exists: {error}; say where to go on with `forward rewind {name} --to first` (or `end`, a \
         time, an offset), or, if a collector with a copy of this log delivers there, give one of the two forwards another \
         name"
    )]
    Lost { name: SourceId, error: PlaceError },
    #[error(
        "{target} has no checkpoint of the forward {name}, which has delivered events up to offset {next} to it: it was \
         restored or recreated; say where to go on with `forward rewind {name} --to first` (or `end`, a time, an offset)"
    )]
    Forgotten { name: SourceId, target: String, next: Offset },
    #[error("it cannot begin: {error}; correct `from`")]
    Start { error: StartError },
    #[error("{0}")]
    Configuration(String),
}

/// Why a forward does not begin.
pub(super) enum BeginError {
    Stuck(Stuck),
    File(ForwardFileError),
}

impl From<Stuck> for BeginError {
    fn from(error: Stuck) -> Self {
        Self::Stuck(error)
    }
}

impl From<ForwardFileError> for BeginError {
    fn from(error: ForwardFileError) -> Self {
        Self::File(error)
    }
}

/// Why an order of the operator is refused.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such forward.
    #[error("there is no forward {0:?}")]
    Unknown(String),
    /// The place cannot be found.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The disk fails.
    #[error(transparent)]
    File(#[from] ForwardFileError),
}

impl Forward {
    /// A forward and its sink. One that cannot be used has no sink, and says why: the collector runs all the same.
    pub(super) fn of(
        config: &ForwardConfig,
        own: SourceId,
        partition: Partition,
        files: ForwardFiles,
        orders: watch::Sender<u64>,
    ) -> Result<(Self, Option<Box<dyn Sink>>), ForwardConfigError> {
        let (destination, kept) = (config.destination(), files.read(&config.name, partition));
        let mut stuck = destination.as_ref().err().map(ToString::to_string);
        stuck = stuck.or_else(|| kept.as_ref().err().map(ToString::to_string));
        let (sink, target, is_kept_there, to) = match destination {
            Ok(to) => (to.kind, to.target, to.is_kept_there, Some(to.sink)),
            Err(_) => ("none", String::new(), false, None),
        };
        let forward = Self {
            name: config.name,
            own,
            partition,
            filter: config.filter()?,
            from: config.from()?,
            sink,
            target,
            is_kept_there,
            files,
            writing: Mutex::default(),
            state: Mutex::new(State { kept: kept.ok().flatten(), progress: Progress::new() }),
            orders,
        };
        let Some(stuck) = stuck else { return Ok((forward, to)) };
        forward.failed(&Stuck::Configuration(stuck).to_string(), Phase::Stuck, None);
        Ok((forward, None))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both parts of the state are replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().kept.as_ref().is_some_and(|kept| kept.paused)
    }

    /// Whether the operator has moved it since it last agreed with its destination.
    pub(super) fn is_moved(&self) -> bool {
        self.lock().kept.as_ref().is_some_and(|kept| kept.moved)
    }

    pub(super) fn failed(&self, why: &str, phase: Phase, again: Option<Duration>) {
        tracing::warn!(forward = %self.name, sink = self.sink, target = self.target, why, "a forward cannot deliver");
        self.show(|progress| {
            progress.phase = phase;
            progress.failures += 1;
            progress.last_failure = Some(Failure { text: why.to_owned(), at: clock::wall() });
            progress.next_try = again.map(|wait| Instant::now() + wait);
        });
    }

    fn lock_writing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the kept state; durable on return.
    fn keep(&self, kept: Kept, written: &mut Option<Instant>) -> Result<(), ForwardFileError> {
        self.files.write(&self.name, self.partition, &kept)?;
        *written = Some(Instant::now());
        self.lock().kept = Some(kept);
        Ok(())
    }

    /// The kept state; of a new forward its start, durable.
    pub(super) fn begin(&self, log: &dyn ReadLog) -> Result<Kept, BeginError> {
        let mut written = self.lock_writing();
        if let Some(kept) = &self.lock().kept {
            return Ok(kept.clone());
        }
        let kept = self.new_at(self.from, log).map_err(|error| Stuck::Start { error })?;
        self.keep(kept.clone(), &mut written)?;
        Ok(kept)
    }

    fn new_at(&self, start: Start, log: &dyn ReadLog) -> Result<Kept, StartError> {
        // First the offset: a term is known before the events behind it.
        let offset = start.resolve(log)?;
        let checkpoint = Checkpoint::new(PlaceText(log.terms().place(offset)));
        let target = self.target.clone();
        Ok(Kept { checkpoint, target, there: None, paused: false, moved: false, replay_until: Offset::ZERO })
    }

    /// The checkpoint from which to deliver: the destination's, where it keeps one that is not older than the
    /// operator's last order, else the one that is kept here. It must hold in the log.
    pub(super) fn agree(
        &self,
        kept: &Kept,
        of_sink: Option<Checkpoint>,
        log: &dyn ReadLog,
    ) -> Result<Checkpoint, BeginError> {
        let here = kept.checkpoint;
        let is_known_there = kept.target == self.target && kept.there == Some(here.generation);
        let checkpoint = match of_sink {
            Some(there) if there.generation >= here.generation && !kept.moved => {
                // The place kept here is never ahead of it, unless it was put back, perhaps not all of it.
                let was_put_back = is_known_there && there.next() < here.next();
                let seen_until = there.seen_until.max(if was_put_back { here.next() } else { Offset::ZERO });
                Checkpoint { seen_until, ..there }
            }
            // It knew of the last order, and does so no more: it was put back to an older copy, whose place counts.
            Some(there) if is_known_there && !kept.moved => {
                let seen_until = here.seen_until.max(here.next()).max(there.next());
                Checkpoint { generation: here.generation, seen_until, ..there }
            }
            Some(there) => {
                let seen_until = here.seen_until.max(there.seen_until).max(there.next());
                // A copy of the data directory that was put back knows fewer generations than the destination.
                let generation = here.generation.max(there.generation.saturating_add(1));
                let replayed_until = here.replayed_until.max(there.replayed_until);
                Checkpoint { generation, seen_until, replayed_until, ..here }
            }
            None if is_known_there && !kept.moved => {
                return Err(Stuck::Forgotten { name: self.name, target: self.target.clone(), next: here.next() }.into());
            }
            None => here,
        };
        let terms = log.terms().check(&checkpoint.place.0, log.kept().end);
        terms.map_err(|error| Stuck::Lost { name: self.name, error })?;
        if kept.moved {
            self.agreed(here.generation, checkpoint)?;
        }
        Ok(checkpoint)
    }

    /// Keeps what the forward has agreed on with its destination after the order of this generation.
    fn agreed(&self, ordered: u32, checkpoint: Checkpoint) -> Result<(), ForwardFileError> {
        let mut written = self.lock_writing();
        let kept = self.lock().kept.clone().expect("a forward begins before it agrees");
        if kept.checkpoint.generation != ordered {
            // The operator has moved it again meanwhile.
            return Ok(());
        }
        self.keep(Kept { checkpoint, moved: false, ..kept }, &mut written)
    }

    /// Keeps a checkpoint behind events that the destination has; `events` of them are new.
    pub(super) fn moved(&self, checkpoint: &Checkpoint, events: u64) -> Result<(), ForwardFileError> {
        let mut written = self.lock_writing();
        self.show(|progress| progress.delivered += events);
        let kept = self.lock().kept.clone().expect("a forward begins before it delivers");
        if checkpoint.generation < kept.checkpoint.generation {
            // The operator has moved it meanwhile.
            return Ok(());
        }
        let there = self.is_kept_there.then_some(checkpoint.generation);
        let moved = Kept { checkpoint: *checkpoint, target: self.target.clone(), there, ..kept.clone() };
        let is_same_but_for_place = Kept { checkpoint: *checkpoint, ..kept.clone() } == moved;
        // The destination has the last word: this copy may lag.
        let is_fresh = written.is_some_and(|at| at.elapsed() < FORWARD_SINK_SAVE_EVERY);
        if self.is_kept_there && is_same_but_for_place && is_fresh {
            self.lock().kept = Some(moved);
            return Ok(());
        }
        self.keep(moved, &mut written)
    }

    pub(super) fn replay_until(&self) -> Offset {
        self.lock().kept.as_ref().map_or(Offset::ZERO, |kept| kept.replay_until)
    }

    /// Carries out an order of the operator; it is durable on return. Blocks.
    pub(super) fn order(&self, order: Order, log: &dyn ReadLog) -> Result<(), OrderError> {
        let mut written = self.lock_writing();
        let (known, passed) = {
            let state = self.lock();
            (state.kept.clone(), state.progress.passed)
        };
        // A damaged file is not replaced: what was delivered stands in it.
        let known = known.map_or_else(|| self.files.read(&self.name, self.partition), |kept| Ok(Some(kept)))?;
        let mut kept = known.map_or_else(|| self.new_at(self.from, log), Ok)?;
        match order {
            Order::Pause => kept.paused = true,
            Order::Resume => kept.paused = false,
            Order::ReplayDead => kept.replay_until = log.kept().end,
            Order::Rewind(to) => {
                let offset = to.resolve(log)?;
                let place = PlaceText(log.terms().place(offset));
                let before = kept.checkpoint;
                let seen_until = before.seen_until.max(before.next()).max(passed);
                let generation = before.generation.saturating_add(1);
                kept.checkpoint = Checkpoint { place, generation, seen_until, ..before };
                kept.moved = true;
            }
        }
        self.keep(kept, &mut written)?;
        drop(written);
        // What kept it from delivering is perhaps over: its thread, if it has one, says so again if it is not.
        let has_thread = self.orders.receiver_count() > 0;
        self.show(|progress| {
            if has_thread && progress.phase == Phase::Stuck {
                progress.phase = Phase::Starting;
            }
        });
        self.orders.send_modify(|number| *number += 1);
        Ok(())
    }

    pub(super) fn view(&self, log: &dyn ReadLog) -> ForwardView {
        let end = log.kept().end;
        let (progress, kept) = {
            let state = self.lock();
            (state.progress.clone(), state.kept.clone())
        };
        let checkpoint = kept.as_ref().map(|kept| kept.checkpoint);
        let next = checkpoint.map(|checkpoint| {
            if progress.is_idle(&checkpoint) { checkpoint.next().max(progress.passed) } else { checkpoint.next() }
        });
        let lag = end.get().saturating_sub(next.unwrap_or(end).get());
        let waited = progress.oldest.map(|oldest| (clock::wall().micros() - oldest.micros()).max(0) as f64 / 1e6);
        let is_paused = kept.is_some_and(|kept| kept.paused);
        ForwardView {
            name: self.name.to_string(),
            sink: self.sink,
            target: self.target.clone(),
            partition: self.partition,
            checkpoint,
            phase: if is_paused { Phase::Paused } else { progress.phase },
            lag,
            lag_s: if lag == 0 { Some(0.0) } else { waited },
            delivered: progress.delivered,
            dead: progress.dead,
            failures: progress.failures,
            last_failure: progress.last_failure,
            next_try_s: progress.next_try.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64()),
        }
    }
}

/// An order of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Delivers nothing until [`Order::Resume`].
    Pause,
    /// Delivers again.
    Resume,
    /// Goes on from another place.
    Rewind(Start),
    /// Sends the events of all dead letters again.
    ReplayDead,
}
