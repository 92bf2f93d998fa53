//! Forwards: the log in other systems, by named subscriptions that live in the collector.
//!
//! In the order in which an event passes them:
//! - [`config`]: `[[forward]]` in the configuration
//! - `feed`: walks the log, and makes typed events ([`event`]) of it for the sink
//! - [`sink`]: the seam: open, add, deliver
//! - the sinks: [`influx`], [`kafka`], [`mqtt`], [`parquet`], [`postgres`], [`webhook`]; [`http`]: what two of them share
//! - `named`: a forward, and orders to it; `runner`: the thread of each forward; `retry`: its waits after a failure
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
pub mod http;
pub mod influx;
pub mod kafka;
pub mod mqtt;
mod named;
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

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use afferent_host::stop::Stop;
use afferent_protocol::ids::SourceId;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::log::ReadLog;
use crate::partitions::PartitionHandles;
use crate::supervise::{Part, Supervisor};
use crate::turns::{Commits, SharedTurns};

use checkpoint::ForwardFiles;
use config::{ForwardConfig, ForwardConfigError};
use named::Forward;
pub use named::{Order, OrderError};
use runner::{Runner, Surroundings};
use sink::{ForwardKey, SinkContext};
use status::ForwardView;

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
    Config(#[from] ForwardConfigError),
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
        let turns = SharedTurns::new(commits.clone(), std::thread::available_parallelism().map_or(1, NonZero::get));
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
                    turns: turns.clone(),
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
