//! Forwards: the log in other systems, by named subscriptions that live in the collector.
//!
//! In the order in which an event passes them:
//! - [`config`]: `[[forward]]` in the configuration
//! - `feed`: walks the log, and makes typed events ([`event`]) of it for the sink
//! - [`sink`]: the seam: open, add, deliver
//! - the sinks: [`kafka`], [`parquet`], [`postgres`], [`webhook`]
//! - `runner`: the thread of each forward; `retry`: its waits after a failure
//! - [`checkpoint`]: how far it has come, durable
//! - `dead`: events that the destination will never take, as events of the log; `replay`: finds them again
//! - [`status`]: how it is
//!
//! A forward delivers at least once and retries forever; exactly once where the destination keeps the checkpoint with
//! the events. It has one thread that reads the log in order, so the events of one subject keep their order. What is
//! not delivered is read again: a destination that hangs costs no memory beyond one part.

pub mod checkpoint;
pub mod config;
mod dead;
pub mod event;
mod feed;
pub mod kafka;
pub mod parquet;
pub mod postgres;
mod replay;
mod retry;
mod runner;
pub mod sink;
pub mod status;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use afferent_host::clock;
use afferent_host::stop::Stop;
use afferent_protocol::ids::{Offset, SourceId};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::ConfigError;
use crate::limits::FORWARD_SINK_SAVE_EVERY;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::partitions::PartitionHandles;
use crate::subscribe::{Filter, Start, StartError};
use crate::supervise::{Part, Supervisor};
use crate::terms::{PlaceError, PlaceText};
use crate::turns::{Commits, Turns};

use checkpoint::{Checkpoint, ForwardFileError, ForwardFiles, Kept};
use config::ForwardConfig;
use runner::{Runner, Surroundings};
use sink::{ForwardKey, Sink, SinkContext};
use status::{Failure, ForwardView, Phase, Progress};

/// A forward in one partition.
struct Forward {
    name: SourceId,
    /// The collector's name.
    own: SourceId,
    partition: Partition,
    filter: Filter,
    from: Start,
    /// The kind of its destination, and the destination itself, without secrets.
    sink: &'static str,
    target: String,
    /// Whether the destination keeps the checkpoint.
    is_kept_there: bool,
    files: ForwardFiles,
    /// Held while the file is written, which can take long.
    writing: Mutex<Option<Instant>>,
    /// Never held for long: requests look at it.
    state: Mutex<State>,
    orders: watch::Sender<u64>,
}

struct State {
    /// `None` until its first start.
    kept: Option<Kept>,
    progress: Progress,
}

/// Only the operator can help.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(
        "its place no longer exists: {error}; say where to go on with `forward rewind {name} --to first` (or `end`, a \
         time, an offset)"
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
enum BeginError {
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
    fn of(
        config: &ForwardConfig,
        own: SourceId,
        partition: Partition,
        files: ForwardFiles,
        orders: watch::Sender<u64>,
    ) -> Result<(Self, Option<Box<dyn Sink>>), ConfigError> {
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

    fn show(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    fn is_paused(&self) -> bool {
        self.lock().kept.as_ref().is_some_and(|kept| kept.paused)
    }

    fn failed(&self, why: &str, phase: Phase, again: Option<Duration>) {
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
    fn begin(&self, log: &dyn ReadLog) -> Result<Kept, BeginError> {
        let mut written = self.lock_writing();
        if let Some(kept) = &self.lock().kept {
            return Ok(kept.clone());
        }
        let kept = self.new_at(self.from, log).map_err(|error| Stuck::Start { error })?;
        self.keep(kept.clone(), &mut written)?;
        Ok(kept)
    }

    fn new_at(&self, start: Start, log: &dyn ReadLog) -> Result<Kept, StartError> {
        let checkpoint = Checkpoint::new(PlaceText(log.terms().place(start.resolve(log)?)));
        let target = self.target.clone();
        Ok(Kept { checkpoint, target, there: None, paused: false, replay_until: Offset::ZERO })
    }

    /// The checkpoint from which to deliver: the destination's, where it keeps one that is not older than the
    /// operator's last order, else the one that is kept here. It must hold in the log.
    fn agree(&self, kept: &Kept, of_sink: Option<Checkpoint>, log: &dyn ReadLog) -> Result<Checkpoint, Stuck> {
        let here = kept.checkpoint;
        let is_known_there = kept.target == self.target && kept.there == Some(here.generation);
        let checkpoint = match of_sink {
            Some(there) if there.generation >= here.generation => there,
            Some(there) => {
                let seen_until = here.seen_until.max(there.seen_until).max(there.next());
                Checkpoint { seen_until, replayed_until: here.replayed_until.max(there.replayed_until), ..here }
            }
            None if is_known_there => {
                return Err(Stuck::Forgotten { name: self.name, target: self.target.clone(), next: here.next() });
            }
            None => here,
        };
        let terms = log.terms().check(&checkpoint.place.0, log.kept().end);
        terms.map_err(|error| Stuck::Lost { name: self.name, error })?;
        Ok(checkpoint)
    }

    /// Keeps a checkpoint behind events that the destination has; `events` of them are new.
    fn moved(&self, checkpoint: &Checkpoint, events: u64) -> Result<(), ForwardFileError> {
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

    fn replay_until(&self) -> Offset {
        self.lock().kept.as_ref().map_or(Offset::ZERO, |kept| kept.replay_until)
    }

    /// Carries out an order of the operator; it is durable on return. Blocks.
    fn order(&self, order: Order, log: &dyn ReadLog) -> Result<(), OrderError> {
        let mut written = self.lock_writing();
        let (known, passed) = {
            let state = self.lock();
            (state.kept.clone(), state.progress.passed)
        };
        let mut kept = known.map_or_else(|| self.new_at(self.from, log), Ok)?;
        match order {
            Order::Pause => kept.paused = true,
            Order::Resume => kept.paused = false,
            Order::ReplayDead => kept.replay_until = log.kept().end,
            Order::Rewind(to) => {
                let place = PlaceText(log.terms().place(to.resolve(log)?));
                let before = kept.checkpoint;
                let seen_until = before.seen_until.max(before.next()).max(passed);
                kept.checkpoint = Checkpoint { place, generation: before.generation + 1, seen_until, ..before };
            }
        }
        self.keep(kept, &mut written)?;
        drop(written);
        self.orders.send_modify(|number| *number += 1);
        Ok(())
    }

    fn view(&self, log: &dyn ReadLog) -> ForwardView {
        let end = log.kept().end;
        let (progress, kept) = {
            let state = self.lock();
            (state.progress.clone(), state.kept.clone())
        };
        let checkpoint = kept.as_ref().map(|kept| kept.checkpoint);
        let is_all_delivered = progress.oldest.is_none() && progress.phase == Phase::Running;
        let next =
            checkpoint.map(
                |checkpoint| {
                    if is_all_delivered { checkpoint.next().max(progress.passed) } else { checkpoint.next() }
                },
            );
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

/// All forwards of a collector; by default none.
#[derive(Clone)]
pub struct Forwards(Arc<[Running]>);

impl Default for Forwards {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

struct Running {
    forward: Arc<Forward>,
    reader: Arc<dyn ReadLog>,
}

/// The threads of all forwards.
pub struct ForwardThreads(Vec<std::thread::JoinHandle<()>>);

/// What the start of forwards needs.
pub struct ForwardsSettings<'a> {
    /// The configured forwards.
    pub forwards: &'a [ForwardConfig],
    /// The collector's name.
    pub own: SourceId,
    /// The directory of their files.
    pub directory: &'a Path,
    /// The partition that they read.
    pub held: &'a PartitionHandles,
    /// What commits, before forwards.
    pub commits: Commits,
    /// The collector's stop.
    pub stopping: Stop,
    /// Watches their threads.
    pub supervisor: &'a Supervisor,
}

/// Forwards cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ForwardsError {
    /// A filter or a start cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refuses a thread.
    #[error("the system does not provide a thread for a forward: {0}")]
    Thread(std::io::Error),
}

impl Forwards {
    /// Reads the forwards' files and starts their threads. Call it within a tokio runtime. Blocks.
    pub fn start(settings: &ForwardsSettings<'_>) -> Result<(Self, ForwardThreads), ForwardsError> {
        let ForwardsSettings { forwards, own, directory, held, commits, stopping, supervisor } = settings;
        let files = ForwardFiles::new((*directory).to_owned());
        let (mut running, mut threads) = (Vec::new(), Vec::new());
        for config in *forwards {
            let (orders, heard) = watch::channel(0);
            let partition = held.reader.partition();
            let (forward, sink) = Forward::of(config, *own, partition, files.clone(), orders)?;
            let forward = Arc::new(forward);
            if let Some(sink) = sink {
                let log_id = held.reader.terms().log_id();
                let key = ForwardKey { forward: config.name, log_id, partition };
                let around = Surroundings {
                    log: held.reader.clone_reader(),
                    durable: held.durable.clone(),
                    intake: held.intake.clone(),
                    turns: Turns::new(commits.clone()),
                    context: SinkContext { key, runtime: Handle::current(), stopping: stopping.clone(), orders: heard },
                };
                let mut runner = Runner::new(Arc::clone(&forward), sink, around);
                threads.push(supervisor.thread(Part::Forward, move || runner.run()).map_err(ForwardsError::Thread)?);
            }
            running.push(Running { forward, reader: held.reader.clone_reader() });
        }
        Ok((Self(running.into()), ForwardThreads(threads)))
    }

    /// All forwards, in the order of the configuration.
    pub fn views(&self) -> Vec<ForwardView> {
        self.0.iter().map(|running| running.forward.view(&*running.reader)).collect()
    }

    /// One forward.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn view(&self, name: &str) -> Result<ForwardView, OrderError> {
        self.find(name).map(|running| running.forward.view(&*running.reader))
    }

    /// Carries out an order of the operator; it is durable on return. Blocks.
    ///
    /// # Errors
    /// [`OrderError`]; nothing is changed then.
    pub fn order(&self, name: &str, order: Order) -> Result<ForwardView, OrderError> {
        let running = self.find(name)?;
        running.forward.order(order, &*running.reader)?;
        Ok(running.forward.view(&*running.reader))
    }

    fn find(&self, name: &str) -> Result<&Running, OrderError> {
        let found = self.0.iter().find(|running| running.forward.name.as_str() == name);
        found.ok_or_else(|| OrderError::Unknown(name.chars().take(64).collect()))
    }
}

impl ForwardThreads {
    /// Waits until all threads have ended, which they do after the stop. Blocks.
    pub fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("the thread of a forward panicked");
            }
        }
    }
}
