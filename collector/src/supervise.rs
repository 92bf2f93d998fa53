//! Every task and thread of the collector under its name: each end is reported.
//!
//! A [`Part`] that panics, or that returns before the collector stops, makes the collector unhealthy and reports the
//! reason. A part on the path of events ([`Remedy::Exit`]) ends the process with it, so that the service manager
//! restarts the process. All others run beside the log and are restarted here ([`Remedy::Restart`]), each time after a
//! longer wait.

mod parts;

use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use afferent_host::stop::Stop;
use afferent_host::supervise::{RestartWait, caught, caught_task};
use tokio::sync::watch;

use crate::intake::Health;
use crate::limits::{FOLLOWER_NICE, FORWARD_NICE, REASON_TIME, RESTART_LOOKS_EVERY};

pub use parts::{PartReport, Parts};

/// A task or thread that runs by itself.
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
    /// Removes old segments and samples.
    Retention,
    /// Finds the point where an agent's history and the log's have parted.
    Questions,
    /// Appends attestations to the operator's file.
    Attestations,
    /// Brings the index of posted events up to the log's end.
    PostedIds,
    /// Folds the log into states.
    Models,
    /// Recomputes a model beside the running one.
    ModelRebuild,
    /// Delivers the log to another system.
    Forward,
}

/// The consequence of a part's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The part is restarted.
    Restart,
    /// The process ends with an error.
    Exit,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 12] = [
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
        Self::Forward,
    ];

    /// The name for people, metrics and the system's list of threads (which has 15 bytes for it).
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
            Self::Forward => "forward",
        }
    }

    /// The consequence of its end.
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Endpoint | Self::Broker | Self::Web | Self::Writer => Remedy::Exit,
            Self::Indexer
            | Self::Retention
            | Self::Questions
            | Self::Attestations
            | Self::PostedIds
            | Self::Models
            | Self::ModelRebuild
            | Self::Forward => Remedy::Restart,
        }
    }

    /// The nice value of a part that only follows the log: where cores are scarce, the path of events has priority.
    const fn nice(self) -> Option<i32> {
        match self {
            Self::Indexer | Self::Retention | Self::Models | Self::ModelRebuild => Some(FOLLOWER_NICE),
            Self::Forward => Some(FORWARD_NICE),
            _ => None,
        }
    }

    /// Whether it may end while the collector runs, because its work is done.
    const fn comes_to_an_end(self) -> bool {
        // Retention that is off has no work once it has finished the removal of an earlier run.
        matches!(self, Self::Retention | Self::PostedIds | Self::ModelRebuild)
    }
}

/// A required part ended, and the collector with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the part `{}` has failed: {why}; the collector stops; start it again, and report this", part.name())]
pub struct PartEnded {
    /// The part.
    pub part: Part,
    /// The reason.
    pub why: String,
}

/// Starts parts and watches them. Clones share the state.
#[derive(Clone, Debug)]
pub struct Supervisor {
    health: Arc<Health>,
    stopping: Stop,
    ended: Arc<watch::Sender<Option<PartEnded>>>,
}

impl Supervisor {
    /// A supervisor that reports to `health`; ends after `stopping` are expected.
    pub fn new(health: Arc<Health>, stopping: Stop) -> Self {
        Self { health, stopping, ended: Arc::new(watch::Sender::new(None)) }
    }

    /// The health that it reports to.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Waits until a required part has ended.
    pub async fn part_ended(&self) -> PartEnded {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.expect("the sender lives as long as this value");
        ended.clone().expect("was waited for")
    }

    /// Starts a task that the collector requires.
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

    /// Starts a thread that the collector requires; it returns `None` after a panic.
    ///
    /// # Errors
    /// When the system has no thread.
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

    /// Starts a thread that is restarted when it panics or returns early: `body` is called again. A thread that follows
    /// the log has a lower priority; on Linux a priority is a thread's own.
    ///
    /// # Errors
    /// When the system has no thread.
    pub fn thread(&self, part: Part, mut body: impl FnMut() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        assert_eq!(part.remedy(), Remedy::Restart, "the collector ends with it");
        let supervisor = self.clone();
        std::thread::Builder::new().name(part.name().to_owned()).spawn(move || {
            if let Some(nice) = part.nice()
                && let Err(error) = rustix::process::setpriority_process(None, nice)
            {
                // The thread works all the same, and others wait for it a little longer.
                tracing::debug!(%error, part = part.name(), "cannot change the thread's priority");
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
            tracing::error!(part = part.name(), why, wait_s = wait.as_secs(), "a part has failed; restarting it");
            self.health.parts.ended(part, why, Some(wait));
            if !self.pause(wait) {
                return;
            }
        }
    }

    /// Waits; returns whether the collector keeps running.
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
        tracing::error!(part = part.name(), why, "a part has failed; the collector stops");
        self.health.parts.ended(part, why.clone(), None);
        // The first end is the reason, others follow from it.
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(PartEnded { part, why });
            is_first
        });
    }
}

const RETURNED: &str = "it returned while the collector is running";

/// Debug builds panic at the start of the part that this variable names: at every start, or with `NAME:COUNT` at the
/// first COUNT ones. Release builds ignore it.
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
