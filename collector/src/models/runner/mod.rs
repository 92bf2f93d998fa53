//! Follows the log with all models on a thread of its own, and answers requests for their states, now and at any
//! offset.
//!
//! - `follow`: the thread that follows the log, and saves the states from time to time
//! - `rebuild`: threads that rebuild one model's state beside the running one, and hand it over
//! - `amendable`: whether an amendment of an event would change a model
//! - `ask`: states at any offset: the nearest snapshot, and a replay up to there
//!
//! A reader like all others: the log's writer never waits for it.

mod amendable;
mod ask;
mod follow;
mod rebuild;
mod replay;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use afferent_host::stop::Stop;
use afferent_protocol::ids::{Offset, Timestamp};
use tokio::sync::watch;

pub use ask::{AsOf, AskError, Difference, StateAt};
pub use rebuild::RecomputeError;
pub use replay::{Cancel, ReplayError, fold_log, start_of};

use super::store::SnapshotFiles;
use super::{CountedFrom, Definition, Fold, ModelId, Shortage};
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::supervise::{Part, Supervisor};
use crate::turns::Commits;

/// The parts that the models need.
pub struct Settings {
    /// All versions of all models.
    pub definitions: Vec<Definition>,
    /// The directory of the snapshots; without it states are not saved.
    pub snapshots: Option<PathBuf>,
    /// The reader of the log.
    pub log: Arc<dyn ReadLog>,
    /// The first offset that is not on disk; its changes wake the models.
    pub durable: watch::Receiver<Offset>,
    /// Stops the models.
    pub stopping: Stop,
    /// Watches the models' threads.
    pub supervisor: Supervisor,
    /// The commits that the models give way to.
    pub commits: Commits,
}

/// The models of a running collector. Clones share them.
#[derive(Clone)]
pub struct Models(Arc<Shared>);

/// The threads of the models.
pub struct Threads {
    follower: JoinHandle<()>,
    models: Models,
}

struct Shared {
    definitions: Vec<Definition>,
    store: Option<SnapshotFiles>,
    log: Arc<dyn ReadLog>,
    stopping: Stop,
    supervisor: Supervisor,
    commits: Commits,
    /// The models that follow the log.
    live: Mutex<Fold>,
    /// Whether they have reached the end once.
    caught_up: AtomicBool,
    /// The models that are being rebuilt.
    rebuilding: Mutex<BTreeMap<ModelId, Arc<RebuildProgress>>>,
    /// Rebuilt models, on their way to the models that follow the log.
    finished: Mutex<Vec<Fold>>,
    rebuilders: Mutex<Vec<JoinHandle<()>>>,
    /// The latest shortages: readers need not lock the models.
    shortages: Mutex<Vec<(ModelId, Shortage)>>,
}

/// The progress of a model that is being rebuilt.
#[derive(Debug, Default)]
struct RebuildProgress {
    next: AtomicU64,
    time: AtomicU64,
}

/// The status of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// Both, as `kpi@2`.
    pub model: String,
    /// The built-in model that it is a version of.
    pub of: String,
    /// The content of the model, for people.
    pub title: String,
    /// `live`, `rebuilding` or `failed`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The partition that it folds; all offsets are of it.
    pub partition: Partition,
    /// The first offset that it has not applied.
    pub offset: u64,
    /// Ingest time of the last event that it has applied.
    pub time: Timestamp,
    /// The first offset that it counts from; `None` while it is made for the first time.
    pub counts_from: Option<CountedFrom>,
    /// Number of events that it has not applied yet.
    pub behind: u64,
    /// Number of its snapshots on disk.
    pub snapshots: u64,
}

impl Models {
    /// Loads the newest snapshots, and starts to follow the log from there.
    ///
    /// # Errors
    /// When the system has no thread for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: Settings) -> std::io::Result<(Self, Threads)> {
        let Settings { definitions, snapshots, log, durable, stopping, supervisor, commits } = settings;
        let store = snapshots.map(SnapshotFiles::new);
        let (live, behind) = follow::load(&definitions, store.as_ref(), &*log);
        let models = Self(Arc::new(Shared {
            definitions,
            store,
            log,
            stopping,
            supervisor: supervisor.clone(),
            commits,
            live: Mutex::new(live),
            caught_up: AtomicBool::new(false),
            rebuilding: Mutex::default(),
            finished: Mutex::default(),
            rebuilders: Mutex::default(),
            shortages: Mutex::default(),
        }));
        for fold in behind {
            models.rebuild(fold)?;
        }
        let runtime = tokio::runtime::Handle::current();
        let follower = models.clone();
        let body = move || follower.follow(durable.clone(), &runtime);
        let follower = supervisor.thread(Part::Models, body)?;
        Ok((models.clone(), Threads { follower, models }))
    }

    /// The partition that the models fold.
    pub fn partition(&self) -> Partition {
        self.0.log.partition()
    }

    /// All models, in the order in which they were defined.
    pub fn list(&self) -> Vec<Status> {
        let end = self.0.log.kept().end;
        self.0.definitions.iter().map(|definition| self.status(definition, end)).collect()
    }

    /// The definition of this name; without a version the highest one.
    pub fn find(&self, name: &str) -> Option<&Definition> {
        let definitions = self.0.definitions.iter();
        match name.parse::<ModelId>() {
            Ok(id) => definitions.into_iter().find(|definition| definition.id == id),
            Err(_) => definitions.filter(|known| known.id.name() == name).max_by_key(|known| known.id.version()),
        }
    }

    /// The latest shortages of the models.
    pub fn shortages(&self) -> Vec<(ModelId, Shortage)> {
        locked(&self.0.shortages).clone()
    }

    /// All definitions.
    pub fn definitions(&self) -> &[Definition] {
        &self.0.definitions
    }

    fn status(&self, definition: &Definition, end: Offset) -> Status {
        let id = &definition.id;
        let rebuilding = locked(&self.0.rebuilding).get(id).cloned();
        let live = self.live();
        let failed = live.member(id).and_then(|member| member.failed.clone());
        let counts_from = live.member(id).map(|member| member.counts_from);
        let (next, time) = match &rebuilding {
            Some(progress) => progress.read(),
            None => (live.next(), live.time()),
        };
        drop(live);
        let state = match (&rebuilding, &failed) {
            (Some(_), _) => "rebuilding",
            (None, Some(_)) => "failed",
            (None, None) if self.0.caught_up.load(Ordering::Relaxed) => "live",
            (None, None) => "rebuilding",
        };
        let snapshots = self.0.store.as_ref().map_or(0, |store| store.offsets(id).len() as u64);
        Status {
            name: id.name().to_owned(),
            version: id.version(),
            model: id.to_string(),
            of: definition.of.name().to_owned(),
            title: definition.of.title().to_owned(),
            state: state.to_owned(),
            error: failed.filter(|_| rebuilding.is_none()),
            partition: self.partition(),
            offset: next.get(),
            time,
            counts_from,
            behind: end.since(next),
            snapshots,
        }
    }

    fn live(&self) -> MutexGuard<'_, Fold> {
        locked(&self.0.live)
    }
}

impl Threads {
    /// Waits until all threads have ended, which they do after the stop; states are saved then. Blocks.
    pub fn join(self) {
        if self.follower.join().is_err() {
            tracing::error!("the thread of the models panicked");
        }
        let rebuilders = std::mem::take(&mut *locked(&self.models.0.rebuilders));
        for rebuilder in rebuilders {
            if rebuilder.join().is_err() {
                tracing::error!("a thread that recomputed a model panicked");
            }
        }
    }
}

impl RebuildProgress {
    fn publish(&self, fold: &Fold) {
        self.next.store(fold.next().get(), Ordering::Relaxed);
        self.time.store(fold.time().micros().unsigned_abs(), Ordering::Relaxed);
    }

    fn read(&self) -> (Offset, Timestamp) {
        let micros = i64::try_from(self.time.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        (Offset::new(self.next.load(Ordering::Relaxed)), Timestamp::clamped(micros))
    }
}

/// The data behind a lock stays consistent after a panic: models are called where their panics are caught.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
