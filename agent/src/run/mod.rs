//! A whole agent from its configuration: data directory, ring log, connection, intakes, metrics; reloaded on SIGHUP.

mod autonomy;
mod intakes;
mod links;
mod observe;
mod probation;
mod report;
mod way;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use afferent_host::files;
use afferent_host::key::KeyError;
use afferent_host::lock::{DirectoryLock, LockError};
use afferent_host::stop::{self, Stop, StopSender};
use afferent_protocol::event::{Body, Event};
use afferent_protocol::ids::Subject;
use afferent_protocol::session::SenderSettings;
use afferent_protocol::sign::Identity;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::{Agent, AgentParts, StartError};
use crate::clock::{Clock, SystemClock, step_between};
use crate::config::last_working::FellBack;
use crate::config::{Config, ConfigError};
use crate::core::CoreSettings;
use crate::http::HealthProbe;
use crate::identity::{self, Origin};
use crate::intake::input::Ways;
use crate::intake::sink::{EventSink, Waiting};
use crate::keep::LOCK_FILE;
use crate::limits::CLOCK_LOOK;
use crate::mailbox::Intake;
use crate::metrics::Registry;
use crate::notify::Notifier;
use crate::ring_log::{Recovery, RingIdentity, RingSettings};
use crate::sequencer::CommitSettings;
use crate::ship::ShipSettings;
use crate::supervise::{Ended, Supervisor, Task, endless};
use crate::trouble::Troubles;
use intakes::Intakes;
pub use observe::health;
pub use probation::Reload;
pub(crate) use way::credentials;

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be made.
    #[error("{path}: {error}; the agent needs a writable directory there")]
    Data {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key cannot be read or made.
    #[error(transparent)]
    Identity(#[from] KeyError),
    /// The ring log or the writer does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It has run, and something has died that it cannot do without.
    #[error("{0}; restart the agent")]
    Died(String),
}

/// A running agent with everything around it.
#[derive(Debug)]
pub struct Running {
    config: Config,
    agent: Agent,
    clock: Arc<SystemClock>,
    registry: Registry,
    ship: watch::Sender<ShipSettings>,
    /// The parts that a reload restarts.
    intakes: Intakes,
    /// Those that stay.
    others: Others,
    notifier: Arc<Notifier>,
    _lock: DirectoryLock,
}

/// Tasks that live as long as the agent, and how to end them.
#[derive(Debug)]
struct Others {
    supervisor: Supervisor,
    stop: StopSender,
    tasks: Vec<JoinHandle<()>>,
}

impl Others {
    fn start(&mut self, name: &str, make: impl FnOnce(Stop) -> Box<dyn FnMut() -> Task + Send>) {
        let stop = self.stop.listener();
        self.tasks.push(self.supervisor.task(name, stop.clone(), make(stop)));
    }

    /// Asks all of them to end, and waits until they have.
    async fn end(self) {
        self.stop.stop();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

impl Running {
    /// Starts everything that the configuration asks for.
    pub async fn start(config: Config) -> Result<Self, RunError> {
        let data = &config.agent.data_dir;
        let made = files::make_directory(data);
        made.map_err(|error| RunError::Data { path: data.clone(), error })?;
        let lock = DirectoryLock::take(data, LOCK_FILE)?;
        if files::is_open_to_all(data) {
            let data = data.display();
            tracing::warn!("{data} is readable by all users of this machine; run: chmod 700 {data}");
        }
        let clock = Arc::new(SystemClock::new());
        let notifier = Arc::new(Notifier::from_env());
        let registry = Registry::default();
        let (ship, ship_settings) = watch::channel(way::ship_settings(&config, registry.troubles()));
        let (identity, identity_existed) = identity(&config)?;
        let parts = AgentParts {
            registry: registry.clone(),
            who: RingIdentity { source: config.agent.name, identity },
            ring_directory: data.join("ring"),
            witness_directory: data.join("witness"),
            identity_existed,
            keep_directory: data.clone(),
            core: core_settings(&config),
            commit: commit_settings(&config),
            ship: Some(ship_settings),
            heartbeat_ms: u64::from(config.agent.heartbeat_s) * 1000,
            clock: reading(clock.clone()),
            alive: feeding(notifier.clone()),
        };
        let started = tokio::task::spawn_blocking({
            let runtime = tokio::runtime::Handle::current();
            move || {
                let _inside = runtime.enter();
                Agent::start(parts)
            }
        });
        let (agent, recovery) = started.await.expect("starting does not panic")?;
        log_recovery(&recovery);
        let supervisor = agent.supervisor().clone();
        let others = Others { supervisor: supervisor.clone(), stop: stop::channel().0, tasks: Vec::new() };
        let mut running = Self {
            config,
            registry,
            agent,
            clock,
            ship,
            intakes: Intakes::new(supervisor),
            others,
            notifier,
            _lock: lock,
        };
        running.watch_everything();
        let opened = running.intakes.open_what_can_be(&running.config).await;
        running.swap_intakes(opened).await;
        let _ = running.notifier.ready();
        Ok(running)
    }

    /// The handle through which inputs push events.
    pub fn intake(&self) -> &Intake {
        self.agent.intake()
    }

    /// The agent itself.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// What goes wrong, for health and for people.
    pub fn troubles(&self) -> &Troubles {
        self.registry.troubles()
    }

    /// Returns with the reason when the agent cannot go on, and takes nothing more.
    pub async fn failed(&self) -> String {
        self.agent.supervisor().failed().await
    }

    /// Starts what observes the agent and lives as long as it does.
    fn watch_everything(&mut self) {
        let (status, link) = (self.agent.status().clone(), self.agent.link().clone());
        observe::metrics(&self.registry, status.clone(), link.clone());
        if let Some(address) = self.config.http.address {
            let parts = (self.registry.clone(), observe::probe(status.clone(), link.clone(), self.troubles().clone()));
            // A port that is taken is no reason to capture nothing.
            let serve = move |((registry, probe), stop): ((Registry, HealthProbe), Stop)| async move {
                let listener = crate::http::listen(address).await.map_err(|error| {
                    format!(
                        "cannot listen on {address} for metrics and health: {error}; is a different program using it?"
                    )
                })?;
                crate::http::serve(listener, registry, probe, stop.clone()).await;
                endless(&stop)
            };
            self.others.start("http", |stop| making((parts, stop), serve));
        }
        let link_log = (self.clock.clone(), self.intake().clone(), self.subject());
        let clocks = |((clock, intake, subject), stop): ((_, _, _), Stop)| async move {
            watch_clock(clock, intake, subject, stop.clone()).await;
            endless(&stop)
        };
        self.others.start("clock", |stop| making((link_log.clone(), stop), clocks));
        let ring = |((clock, intake, subject), status, stop): ((_, _, _), _, Stop)| async move {
            autonomy::watch(status, clock, intake, subject, stop.clone()).await;
            endless(&stop)
        };
        self.others.start("autonomy", |stop| making((link_log.clone(), status.clone(), stop), ring));
        let losses = |(status, link, troubles, stop): (_, _, _, Stop)| async move {
            report::watch(status, link, troubles, stop.clone()).await;
            endless(&stop)
        };
        let parts = (status, link.clone(), self.troubles().clone());
        self.others.start("status", |stop| making((parts.0, parts.1, parts.2, stop), losses));
        let links = |(link_log, link, stop): (links::LinkLog, _, Stop)| async move {
            links::watch(link_log, link, stop.clone()).await;
            endless(&stop)
        };
        let (clock, intake, subject) = link_log;
        let help = "Connections that have ended, or were not made";
        let failures = self.registry.counter("afferent_agent_connection_failures_total", help, &[]);
        let (peer, troubles) = (self.ship.subscribe(), self.troubles().clone());
        let link_log = links::LinkLog { peer, clock, intake, subject, troubles, failures };
        self.others.start("links", |stop| making((link_log, link, stop), links));
    }

    async fn swap_intakes(&mut self, opened: intakes::NewIntakes) {
        let (sink, clock) = (self.agent.intake().clone(), self.clock.clone());
        let ways = Ways { sink, clock, registry: self.registry.clone() };
        self.intakes.swap(&self.config, opened, &ways).await;
    }

    fn subject(&self) -> String {
        self.config.agent.name.as_str().to_owned()
    }

    /// Ends everything in order: the intakes, then the writer with the connection.
    pub async fn stop(self, reason: &str) {
        let _ = self.notifier.stopping();
        self.intakes.end().await;
        self.others.end().await;
        self.agent.stop(reason, self.clock.wall()).await;
    }
}

/// Makes a task of the same parts each time.
fn making<P: Clone + Send + 'static, F: Future<Output = Ended> + Send + 'static>(
    parts: P,
    run: impl Fn(P) -> F + Send + 'static,
) -> Box<dyn FnMut() -> Task + Send> {
    Box::new(move || Box::pin(run(parts.clone())))
}

/// Where the configuration is, and what became of it at the start.
#[derive(Debug, Default)]
pub struct ConfigSource {
    /// The main file; none for the defaults.
    pub path: Option<PathBuf>,
    /// Why the one in use is not the one that is there.
    pub fell_back: Option<FellBack>,
}

/// Runs until a signal ends it; SIGHUP reads the configuration again by `load`.
pub async fn run(
    config: Config,
    source: ConfigSource,
    load: impl Fn() -> Result<Config, ConfigError>,
) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = |kind| signal(kind).expect("the runtime takes signals");
    let (mut interrupt, mut terminate) = (signals(SignalKind::interrupt()), signals(SignalKind::terminate()));
    let mut hangup = signals(SignalKind::hangup());
    let mut running = Running::start(config).await?;
    let mut reload = Reload::begin(&running, source);
    let reason = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok("SIGINT"),
            _ = terminate.recv() => break Ok("SIGTERM"),
            _ = hangup.recv() => reload.read(&mut running, &load).await,
            () = reload.due() => reload.judge(&mut running),
            reason = running.failed() => break Err(reason),
        }
    };
    running.stop(reason.as_deref().unwrap_or("it has failed")).await;
    reason.map(drop).map_err(RunError::Died)
}

fn core_settings(config: &Config) -> CoreSettings {
    let mut ring = RingSettings::for_pool(config.ring.pool_bytes.0);
    if let Some(segment_bytes) = config.ring.segment_bytes {
        ring.segment_bytes = segment_bytes.0;
    }
    if let Some(reserve) = config.ring.critical_reserve_segments {
        ring.critical_reserve_segments = reserve;
    }
    let sender = SenderSettings {
        window_bytes: usize::try_from(config.ship.window_bytes.0).unwrap_or(usize::MAX),
        timeout_ms: u64::from(config.ship.timeout_ms),
        ..SenderSettings::default()
    };
    CoreSettings { ring, sender }
}

fn commit_settings(config: &Config) -> CommitSettings {
    CommitSettings {
        wait_max_ms: u64::from(config.commit.wait_max_ms),
        samples_wait_max_ms: u64::from(config.commit.samples_wait_max_ms),
    }
}

/// The agent's key, and whether it had one. An agent that has lost its key still captures events.
fn identity(config: &Config) -> Result<(Identity, bool), RunError> {
    let data = &config.agent.data_dir;
    let taken = identity::take(data)?;
    let had_ring = std::fs::read_dir(data.join("ring")).is_ok_and(|mut files| files.next().is_some());
    let found = match &taken.origin {
        Origin::Kept => return Ok((taken.identity, true)),
        Origin::Made if !had_ring => return Ok((taken.identity, false)),
        Origin::Made => format!("there is a ring log, but no {}", identity::KEY_FILE),
        Origin::Replaced(aside) => format!("the file was not a key; it was renamed to {}", aside.display()),
    };
    let (name, key) = (config.agent.name, taken.identity.public_key());
    tracing::warn!(
        "this agent has lost its key: {found}. It has a new key and keeps capturing; the events in its ring log are \
         sealed again with it. The collector refuses the agent until an operator confirms that it is still {name}: \
         afferent-collector agents replace {name} --key {key} --why …"
    );
    Ok((taken.identity, true))
}

fn reading(clock: Arc<SystemClock>) -> Box<dyn FnMut() -> afferent_protocol::batch::ClockReading + Send> {
    Box::new(move || clock.read())
}

/// Feeds the watchdog of the service manager, as often as it wants.
fn feeding(notifier: Arc<Notifier>) -> Box<dyn FnMut() + Send> {
    let interval = notifier.watchdog_interval();
    let mut fed: Option<Instant> = None;
    Box::new(move || {
        let Some(interval) = interval else { return };
        if fed.is_none_or(|at| at.elapsed() >= interval / 2) {
            fed = Some(Instant::now());
            let _ = notifier.alive();
        }
    })
}

fn log_recovery(recovery: &Recovery) {
    if let Some(replaced) = &recovery.replaced {
        tracing::error!("the ring log is new: {replaced}");
    } else if recovery.is_new && recovery.is_clean() {
        tracing::info!("the ring log is new");
    } else if recovery.is_clean() {
        tracing::info!("the ring log is whole");
    } else {
        tracing::warn!("the ring log was repaired: {recovery}");
    }
}

/// Detects that the wall clock was set, and logs an event.
async fn watch_clock(clock: Arc<SystemClock>, intake: Intake, subject: String, mut stop: Stop) {
    let subject = Subject::new(&subject).expect("an agent's name is a subject");
    let mut ticks = tokio::time::interval(CLOCK_LOOK);
    let mut earlier = clock.read();
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = ticks.tick() => {}
        }
        let later = clock.read();
        if let Some(step) = step_between(&earlier, &later) {
            let event = Event { time: later.wall, subject, body: Body::ClockStep(step) };
            if let Err(refusal) = intake.push(&event, Waiting::Nobody) {
                tracing::warn!("the clock was set, but the event is not in the ring log: {refusal}");
            }
        }
        earlier = later;
    }
}
