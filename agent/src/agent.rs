//! A running agent: ring log, writer thread and connection, put together.
//!
//! This is the face for programs that carry an agent inside: start one, push events through its [`Intake`], stop it.
//! The starting code attaches the inputs for sockets, hosts and files; see [`crate::run`].

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use afferent_host::disk::FsDisk;
use afferent_host::stop;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Body, Event, LifeCycle, PreviousStop};
use afferent_protocol::ids::{Subject, Timestamp};
use afferent_protocol::limits::TEXT_BYTES_MAX;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::core::{AgentCore, CoreSettings};
use crate::intake::sink::{EventSink, Refusal, Ticket, Waiting};
use crate::keep::{Keeper, Kept};
use crate::limits::OUTBOX_MESSAGES_MAX;
use crate::mailbox::{Inbound, Intake, Link, LinkState, Outbound, Shared};
use crate::metrics::Registry;
use crate::ring_log::{OpenError, Recovery, RingIdentity, WitnessSync};
use crate::sequencer::CommitSettings;
use crate::ship::{ShipSettings, Speaker};
use crate::supervise::{Supervisor, Task};
use crate::writer::{self, Status, WriterParts, WriterThread};

/// What an agent is started with.
pub struct AgentParts {
    /// The agent's name and key.
    pub who: RingIdentity,
    /// The directory of the ring log's files.
    pub ring_directory: PathBuf,
    /// The directory of the ring's witness: beside the ring log's, not in it.
    pub witness_directory: PathBuf,
    /// Whether the agent's key existed before this start: then a new ring has replaced an earlier one.
    pub identity_existed: bool,
    /// The directory of the files beside the ring log: the pin, the receipt, the attestations.
    pub keep_directory: PathBuf,
    /// Ring log and session.
    pub core: CoreSettings,
    /// The registry of its metrics and troubles.
    pub registry: Registry,
    /// How long commits may wait.
    pub commit: CommitSettings,
    /// Where to ship; `None` keeps everything in the ring log.
    pub ship: Option<watch::Receiver<ShipSettings>>,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u64,
    /// Reads the machine's clocks.
    pub clock: Box<dyn FnMut() -> ClockReading + Send>,
    /// Is called by the writer in every round, at least every second: feeds a watchdog.
    pub alive: Box<dyn FnMut() + Send>,
}

impl std::fmt::Debug for AgentParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentParts").field("who", &self.who).finish_non_exhaustive()
    }
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory of the ring log cannot be made or read.
    #[error("{path}: {error}; the agent needs a writable directory there")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The ring log cannot be opened.
    #[error("{path}: {error}")]
    Ring {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be opened.
        error: OpenError,
    },
    /// A thread cannot be started.
    #[error("the agent cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    who: RingIdentity,
    intake: Intake,
    writer: WriterThread,
    supervisor: Supervisor,
    ship: Option<JoinHandle<()>>,
    /// Keeps a connection that has failed while the agent stops from being tried again.
    stop_ship: stop::StopSender,
    status: watch::Receiver<Status>,
    link: watch::Receiver<LinkState>,
}

impl Agent {
    /// Opens the ring log and starts writer and connection. The first event states how the agent had stopped before.
    ///
    /// It blocks while the ring log is scanned. Call it inside a tokio runtime.
    pub fn start(mut parts: AgentParts) -> Result<(Self, Recovery), StartError> {
        let path = parts.ring_directory;
        let disk = FsDisk::new(&path).map_err(|error| StartError::Directory { path: path.clone(), error })?;
        let witness_path = parts.witness_directory;
        let witness =
            FsDisk::new(&witness_path).map_err(|error| StartError::Directory { path: witness_path, error })?;
        let clock = (parts.clock)();
        let mut entropy = || getrandom::u64().expect("the kernel gives random numbers");
        let opened = AgentCore::open(disk, witness, parts.core, parts.who.clone(), &clock, &mut entropy);
        let (mut core, mut recovery) = opened.map_err(|error| StartError::Ring { path, error })?;
        core.remember(Kept::read(&parts.keep_directory));
        recovery.note_identity(parts.identity_existed);
        let sync_witness = syncing(core.ring().witness_sync());
        let supervisor = Supervisor::new(parts.registry.clone());
        let keeper = Keeper::start(&supervisor, parts.keep_directory, sync_witness).map_err(StartError::Thread)?;
        let (durable, durable_seen) = watch::channel([0; 2]);
        let shared = Arc::new(Shared::new(parts.commit, core.open_batch_bytes_max(), durable_seen));
        shared.lock().open.restore(recovery.tables.clone());
        let intake = Intake(shared.clone());
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let (status, status_seen) = watch::channel(Status::default());
        let (link_state, link_seen) = watch::channel(LinkState::Starting);
        let shared_clock = Arc::new(Mutex::new(parts.clock));
        let read = shared_clock.clone();
        let read = move || (read.lock().unwrap_or_else(PoisonError::into_inner))();
        let (who, instance, former) = (parts.who.clone(), core.instance(), core.former_names().collect());
        let speaker = Speaker { who, instance, former, clock: Arc::new(read.clone()) };
        let writer_parts = WriterParts {
            core,
            clock: Box::new(read),
            outbox,
            durable,
            status,
            link: link_state.clone(),
            alive: parts.alive,
            keeper,
            heartbeat_ms: parts.heartbeat_ms,
        };
        let writer = writer::start(&supervisor, shared.clone(), writer_parts).map_err(StartError::Thread)?;
        let (stop_ship, stop) = stop::channel();
        let connection = Connection { speaker, link: Link(shared), messages: Arc::new(messages.into()), link_state };
        let ship = parts.ship.map(|settings| supervisor.task("ship", stop, move || connection.run(settings.clone())));
        let (status, link) = (status_seen, link_seen);
        let agent = Self { who: parts.who, intake, writer, supervisor, ship, stop_ship, status, link };
        agent.log_started(&recovery, clock);
        Ok((agent, recovery))
    }

    /// The handle through which inputs push events.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Watches the agent's tasks and threads.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The writer's state, a few times a second.
    pub fn status(&self) -> &watch::Receiver<Status> {
        &self.status
    }

    /// The connection's state.
    pub fn link(&self) -> &watch::Receiver<LinkState> {
        &self.link
    }

    /// Pushes an event about the agent itself, with the given time.
    pub fn log_life_cycle(&self, event: LifeCycle<'_>, time: Timestamp) -> Result<Ticket, Refusal> {
        let subject = Subject::new(self.who.source.as_str()).expect("a source's name is a subject");
        self.intake.push(&Event { time, subject, body: Body::LifeCycle(event) }, Waiting::Nobody)
    }

    fn log_started(&self, recovery: &Recovery, clock: ClockReading) {
        let previous = previous_stop(recovery, &clock);
        let repairs = within(&recovery.to_string(), TEXT_BYTES_MAX);
        let started = LifeCycle::Started { previous, version: env!("CARGO_PKG_VERSION"), repairs: &repairs };
        self.log_life_cycle(started, clock.wall).expect("the first event of an empty open batch is taken");
        if let Some(message) = &recovery.replaced {
            let replaced = LifeCycle::RingReplaced { message: &within(message, TEXT_BYTES_MAX) };
            self.log_life_cycle(replaced, clock.wall).expect("the second event of an open batch is taken");
        }
    }

    /// Makes all accepted events durable, logs the stop, gives the last events a moment to arrive, and ends.
    pub async fn stop(self, reason: &str, time: Timestamp) {
        let (writer, reason) = (self.writer, reason.to_owned());
        let stopped = tokio::task::spawn_blocking(move || writer.stop(&reason, time)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::error!(
                "the writer had failed before the stop; events that it had not committed were never accepted"
            );
        }
        // The writer's end of the outbox is gone now, which ends the connection.
        self.stop_ship.stop();
        if let Some(ship) = self.ship {
            let _ = ship.await;
        }
    }
}

/// What a connection is made with, and made again should its task fail.
#[derive(Clone)]
struct Connection {
    speaker: Speaker,
    link: Link,
    messages: Arc<tokio::sync::Mutex<mpsc::Receiver<Outbound>>>,
    link_state: watch::Sender<LinkState>,
}

impl Connection {
    fn run(&self, settings: watch::Receiver<ShipSettings>) -> Task {
        let Self { speaker, link, messages, link_state } = self.clone();
        Box::pin(async move {
            // The state that an earlier task had set for its connection is outdated.
            link.bring(Inbound::LinkDown);
            link_state.send_replace(LinkState::Starting);
            let mut messages = messages.lock().await;
            crate::ship::ship(speaker, settings, link, &mut messages, link_state).await;
            Ok(())
        })
    }
}

/// Brings the ring's witness to the disk, whenever it is called.
fn syncing(witness: WitnessSync<File>) -> impl FnMut() + Send {
    let mut trouble = None;
    move || {
        // What the disk refuses is remembered with the witness.
        let _ = witness.sync();
        let now = witness.trouble();
        match &now {
            Some(why) if now != trouble => tracing::warn!(
                "the ring's witness cannot be written: {why}; events are accepted, but files of the ring log \
                 may vanish unnoticed"
            ),
            None if trouble.is_some() => tracing::info!("the ring's witness can be written again"),
            _ => {}
        }
        trouble = now;
    }
}

/// As much of the text as fits, cut between characters.
fn within(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_string()
}

/// How the agent had stopped, from what the ring log holds: its last critical event, and the boot that it was written
/// in.
fn previous_stop(recovery: &Recovery, clock: &ClockReading) -> PreviousStop {
    match &recovery.last_critical {
        None => PreviousStop::None,
        Some(last) if last.stopped => PreviousStop::Clean,
        Some(last) if last.clock.boot == clock.boot => PreviousStop::Crash,
        Some(_) => PreviousStop::PowerLoss,
    }
}
