//! Every task and thread of the collector, each under its name: none of them ends in silence.
//!
//! A [`Part`] that panics, or that returns before the collector stops, makes the collector unhealthy and says why. What
//! the way of events needs ([`Remedy::Exit`]) ends the process with it, so that whoever watches the process starts it
//! again. All others run beside the log and are started again here ([`Remedy::Restart`]), each time after a longer
//! wait.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use afferent_host::limits::RESTART_SETTLED;
use afferent_host::stop::Stop;
use afferent_host::supervise::{RestartWait, caught, caught_task};
use tokio::sync::watch;

use crate::intake::Health;
use crate::limits::{FOLLOWER_NICE, REASON_TIME, RESTART_LOOKS_EVERY};

/// What runs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Takes the connections of agents.
    Endpoint,
    /// Keeps the connection to an external broker.
    Broker,
    /// Answers HTTP.
    Web,
    /// Writes the log.
    Writer,
    /// Makes the indexes of finished segments.
    Indexer,
    /// Removes what is old.
    Retention,
    /// Looks up where an agent's history and the log's have parted.
    Questions,
    /// Appends attestations to the operator's file.
    Attestations,
    /// Brings the index of posted events up to the log.
    PostedIds,
    /// Folds the log into states.
    Models,
    /// Recomputes a model beside the running one.
    ModelRebuild,
}

/// What follows the end of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is started again.
    Restart,
    /// The process ends with an error.
    Exit,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Endpoint,
        Self::Broker,
        Self::Web,
        Self::Writer,
        Self::Indexer,
        Self::Retention,
        Self::Questions,
        Self::Attestations,
        Self::PostedIds,
        Self::Models,
        Self::ModelRebuild,
    ];

    /// The name that people, metrics and the system's list of threads see (which has 15 bytes for it).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Broker => "broker client",
            Self::Web => "web",
            Self::Writer => "log writer",
            Self::Indexer => "log indexer",
            Self::Retention => "retention",
            Self::Questions => "questions",
            Self::Attestations => "attestations",
            Self::PostedIds => "posted ids",
            Self::Models => "models",
            Self::ModelRebuild => "model rebuild",
        }
    }

    /// What follows its end.
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Endpoint | Self::Broker | Self::Web | Self::Writer => Remedy::Exit,
            Self::Indexer
            | Self::Retention
            | Self::Questions
            | Self::Attestations
            | Self::PostedIds
            | Self::Models
            | Self::ModelRebuild => Remedy::Restart,
        }
    }

    /// Whether it follows the log for its own sake: where cores are scarce, the way of events goes before it.
    const fn follows(self) -> bool {
        matches!(self, Self::Indexer | Self::Retention | Self::Models | Self::ModelRebuild)
    }

    /// Whether it may come to its end while the collector runs: its work is done then.
    const fn comes_to_an_end(self) -> bool {
        // Retention that is off has nothing to do once it has finished what an earlier run began.
        matches!(self, Self::Retention | Self::PostedIds | Self::ModelRebuild)
    }
}

/// A part ended, and the collector with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the part `{}` has ended: {why}; the collector ends with it; start it again, and report this", part.name())]
pub struct PartEnded {
    /// Which one.
    pub part: Part,
    /// Why.
    pub why: String,
}

/// How a part is, for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// Which one.
    pub part: Part,
    /// Whether it runs, and has for a while.
    pub is_well: bool,
    /// How often it was started again.
    pub restarts: u64,
}

/// How all parts are that were started.
#[derive(Debug, Default)]
pub struct Parts(Mutex<BTreeMap<Part, State>>);

#[derive(Debug, Default)]
struct State {
    starts: u64,
    restarts: u64,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    /// When it is started again; never where the process ends.
    again: Option<Instant>,
}

impl Trouble {
    /// It runs again, and has for a while.
    fn is_over(&self, now: Instant) -> bool {
        self.again.is_some_and(|again| now >= again + RESTART_SETTLED)
    }

    fn text(&self, part: Part, now: Instant) -> String {
        let (name, why) = (part.name(), &self.why);
        let then = match self.again {
            None => "the collector ends".to_owned(),
            Some(again) if again > now => format!("it is started again in {} s", (again - now).as_secs() + 1),
            Some(again) => format!("it was started again {} s ago", (now - again).as_secs()),
        };
        format!("the part `{name}` has ended: {why}; {then}")
    }
}

impl Parts {
    /// What is wrong with a part, in words, and what follows.
    pub fn trouble(&self) -> Option<String> {
        let now = Instant::now();
        let parts = self.lock();
        let mut troubles = parts.iter().filter_map(|(part, state)| Some((*part, state.trouble.as_ref()?)));
        troubles.find(|(_, trouble)| !trouble.is_over(now)).map(|(part, trouble)| trouble.text(part, now))
    }

    /// All parts that were started.
    pub fn reports(&self) -> Vec<PartReport> {
        let now = Instant::now();
        let report = |(part, state): (&Part, &State)| PartReport {
            part: *part,
            is_well: state.trouble.as_ref().is_none_or(|trouble| trouble.is_over(now)),
            restarts: state.restarts,
        };
        self.lock().iter().map(report).collect()
    }

    /// Notes a start; gives how many there were before.
    fn started(&self, part: Part) -> u64 {
        let mut parts = self.lock();
        let state = parts.entry(part).or_default();
        state.starts += 1;
        state.starts - 1
    }

    fn ended(&self, part: Part, why: String, again_after: Option<Duration>) {
        let mut parts = self.lock();
        let state = parts.entry(part).or_default();
        state.restarts += u64::from(again_after.is_some());
        state.trouble = Some(Trouble { why, again: again_after.map(|wait| Instant::now() + wait) });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, State>> {
        // The map is whole at any time, also when a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts parts and watches them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Supervisor {
    health: Arc<Health>,
    stopping: Stop,
    ended: Arc<watch::Sender<Option<PartEnded>>>,
}

impl Supervisor {
    /// One that reports to `health`; what ends after `stopping` was said ends in its time.
    pub fn new(health: Arc<Health>, stopping: Stop) -> Self {
        Self { health, stopping, ended: Arc::new(watch::Sender::new(None)) }
    }

    /// Where it reports.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Waits until a part has ended that the collector ends with.
    pub async fn part_ended(&self) -> PartEnded {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.expect("the sender lives as long as this value");
        ended.clone().expect("was waited for")
    }

    /// Starts a task that the collector ends with.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn task(&self, part: Part, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        assert_eq!(part.remedy(), Remedy::Exit, "a task is not started again");
        let supervisor = self.clone();
        tokio::spawn(async move {
            let starts = supervisor.health.parts.started(part);
            let ended = caught_task(async {
                plant(part, starts);
                future.await;
            });
            let panicked = ended.await.err();
            supervisor.exit_unless_in_time(part, panicked);
        })
    }

    /// Starts a thread that the collector ends with; it gives `None` after a panic.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn thread_once<T: Send + 'static>(
        &self,
        part: Part,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<JoinHandle<Option<T>>> {
        assert_eq!(part.remedy(), Remedy::Exit, "it is not started again");
        let supervisor = self.clone();
        std::thread::Builder::new().name(part.name().to_owned()).spawn(move || {
            let starts = supervisor.health.parts.started(part);
            let ended = caught(|| {
                plant(part, starts);
                body()
            });
            if ended.is_ok() {
                supervisor.pause(REASON_TIME);
            }
            supervisor.exit_unless_in_time(part, ended.as_ref().err().cloned());
            ended.ok()
        })
    }

    /// Starts a thread that is started again when it panics, or returns before its time: `body` is called again. One that
    /// follows the log has a lower priority; to Linux a priority is a thread's own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn thread(&self, part: Part, mut body: impl FnMut() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        assert_eq!(part.remedy(), Remedy::Restart, "the collector ends with it");
        let supervisor = self.clone();
        std::thread::Builder::new().name(part.name().to_owned()).spawn(move || {
            if part.follows()
                && let Err(error) = rustix::process::setpriority_process(None, FOLLOWER_NICE)
            {
                // It works all the same, and others wait for it a little longer.
                tracing::debug!(%error, part = part.name(), "the thread keeps its priority");
            }
            supervisor.keep(part, &mut body);
        })
    }

    fn keep(&self, part: Part, body: &mut dyn FnMut()) {
        let mut wait = RestartWait::new();
        loop {
            let (starts, begun) = (self.health.parts.started(part), Instant::now());
            let ended = caught(|| {
                plant(part, starts);
                body();
            });
            let why = match ended {
                Err(panic) => panic,
                Ok(()) if part.comes_to_an_end() || self.stopping.is_requested() => return,
                Ok(()) => RETURNED.to_owned(),
            };
            let wait = wait.after(begun.elapsed());
            tracing::error!(part = part.name(), why, wait_s = wait.as_secs(), "a part has ended; it is started again");
            self.health.parts.ended(part, why, Some(wait));
            if !self.pause(wait) {
                return;
            }
        }
    }

    /// Waits; tells whether the collector goes on.
    fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.stopping.is_requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(RESTART_LOOKS_EVERY));
        }
        false
    }

    fn exit_unless_in_time(&self, part: Part, panicked: Option<String>) {
        let why = match panicked {
            Some(why) => why,
            None if self.stopping.is_requested() => return,
            None => RETURNED.to_owned(),
        };
        tracing::error!(part = part.name(), why, "a part has ended; the collector ends with it");
        self.health.parts.ended(part, why.clone(), None);
        // The first one is the reason, others follow from it.
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(PartEnded { part, why });
            is_first
        });
    }
}

const RETURNED: &str = "it returned although the collector goes on";

/// Debug builds panic at the start of the part that this variable names: at every start, or with `NAME:COUNT` at so
/// many. Nothing of it is in a release.
pub const PLANTED_PANIC: &str = "AFFERENT_PLANTED_PANIC";

fn plant(part: Part, starts: u64) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Ok(planted) = std::env::var(PLANTED_PANIC) else { return };
    let (name, count) = planted.split_once(':').unwrap_or((&planted, ""));
    let is_due = count.parse().is_ok_and(|count: u64| starts < count) || count.is_empty();
    assert!(name != part.name() || !is_due, "a panic was planted in `{name}`");
}

#[cfg(test)]
mod tests;
