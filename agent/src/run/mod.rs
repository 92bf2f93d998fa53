//! A whole agent from its configuration: data directory, ring log, connection, intakes, metrics; reloaded on SIGHUP.

mod autonomy;
mod links;
mod observe;
mod probation;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use afferent_protocol::event::{Body, Event};
use afferent_protocol::ids::Subject;
use afferent_protocol::session::SenderSettings;
use afferent_protocol::sign::Identity;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::{Agent, AgentParts, StartError};
use crate::clock::{Clock, SystemClock, step_between};
use crate::config::{Config, ConfigError, SecretError};
use crate::core::CoreSettings;
use crate::identity::{self, IdentityError, Origin};
use crate::intake::exec::LineMetrics;
use crate::intake::serial::SerialMetrics;
use crate::intake::sink::{EventSink, Waiting};
use crate::intake::socket::{BindError, Listeners, SocketMetrics};
use crate::intake::{exec, file, host, serial, socket};
use crate::lock::{DirectoryLock, LockError};
use crate::metrics::Registry;
use crate::notify::Notifier;
use crate::ring_log::{Recovery, RingIdentity, RingSettings};
use crate::sequencer::{CommitSettings, Intake};
use crate::ship::{ShipSettings, TlsError, TlsFiles};
use crate::stop::{self, Stop, StopSender};
use crate::trust::TrustSettings;

pub use observe::health;
pub use probation::Reload;

/// How often the clocks are compared, to notice that one was set.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret of the configuration cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The files for TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The data directory cannot be made.
    #[error("{path}: {error}; the agent needs a directory there that it can write")]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ring log or the writer does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A door for producers cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The door for metrics cannot be opened.
    #[error("cannot listen on {address} for metrics and health: {error}; is another program using it?")]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// A running agent with everything around it.
#[derive(Debug)]
pub struct Running {
    config: Config,
    agent: Agent,
    clock: Arc<SystemClock>,
    registry: Registry,
    ship: watch::Sender<ShipSettings>,
    /// Those that a reload starts anew.
    intakes: Tasks,
    /// Those that stay.
    others: Tasks,
    notifier: Arc<Notifier>,
    _lock: DirectoryLock,
}

/// Tasks, and how to end them.
#[derive(Debug)]
struct Tasks {
    stop: StopSender,
    set: JoinSet<()>,
}

impl Tasks {
    fn new() -> Self {
        Self { stop: stop::channel().0, set: JoinSet::new() }
    }

    fn stop(&self) -> Stop {
        self.stop.listener()
    }

    /// Asks all of them to end, and waits until they have.
    async fn end(mut self) {
        self.stop.stop();
        while let Some(ended) = self.set.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the agent has panicked");
            }
        }
    }
}

impl Running {
    /// Starts everything that the configuration asks for.
    pub async fn start(config: Config) -> Result<Self, RunError> {
        let data = &config.agent.data_dir;
        let made = std::fs::create_dir_all(data);
        made.map_err(|error| RunError::Data { path: data.clone(), error })?;
        let lock = DirectoryLock::take(data)?;
        let clock = Arc::new(SystemClock::new());
        let notifier = Arc::new(Notifier::from_env());
        let (ship, ship_settings) = watch::channel(ship_settings(&config)?);
        let (identity, identity_existed) = identity(&config)?;
        let parts = AgentParts {
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
        tell_recovery(&recovery);
        let registry = Registry::default();
        let mut running = Self {
            config,
            agent,
            clock,
            registry,
            ship,
            intakes: Tasks::new(),
            others: Tasks::new(),
            notifier,
            _lock: lock,
        };
        running.watch_everything().await?;
        running.open_intakes().await?;
        let _ = running.notifier.ready();
        Ok(running)
    }

    /// Where events come in.
    pub fn intake(&self) -> &Intake {
        self.agent.intake()
    }

    /// The agent itself.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Starts what observes the agent and lives as long as it does.
    async fn watch_everything(&mut self) -> Result<(), RunError> {
        observe::metrics(&self.registry, self.agent.status().clone(), self.agent.link().clone());
        if let Some(address) = self.config.http.address {
            let listener = crate::http::listen(address).await.map_err(|error| RunError::Http { address, error })?;
            let probe = observe::probe(self.agent.status().clone(), self.agent.link().clone());
            let stop = self.others.stop();
            self.others.set.spawn(crate::http::serve(listener, self.registry.clone(), probe, stop));
        }
        let clocks = watch_clock(self.clock.clone(), self.intake().clone(), self.subject(), self.others.stop());
        self.others.set.spawn(clocks);
        let status = self.agent.status().clone();
        let ring =
            autonomy::watch(status, self.clock.clone(), self.intake().clone(), self.subject(), self.others.stop());
        self.others.set.spawn(ring);
        let peer = self.ship.subscribe();
        let link = self.agent.link().clone();
        let links =
            links::watch(link, peer, self.clock.clone(), self.intake().clone(), self.subject(), self.others.stop());
        self.others.set.spawn(links);
        Ok(())
    }

    /// Opens every intake of the configuration. What cannot be opened leaves the others running and is the error.
    async fn open_intakes(&mut self) -> Result<(), RunError> {
        let intake = self.intake().clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let listeners = match self.config.socket_settings() {
            Some(settings) => Some(Listeners::bind(&settings).await?),
            None => None,
        };
        let tasks = &mut self.intakes;
        if let Some(listeners) = listeners {
            let metrics = SocketMetrics::new(&self.registry);
            tasks.set.spawn(socket::serve(listeners, intake.clone(), clock.clone(), metrics, tasks.stop()));
        }
        if let Some(settings) = self.config.host_settings() {
            tasks.set.spawn(host::run(settings, intake.clone(), clock.clone(), tasks.stop()));
        }
        for settings in self.config.exec_settings() {
            let metrics = LineMetrics::new(&self.registry, &settings.name);
            tasks.set.spawn(exec::run(settings, intake.clone(), clock.clone(), metrics, tasks.stop()));
        }
        for settings in self.config.serial_settings() {
            let metrics = SerialMetrics::new(&self.registry, settings.device.as_str());
            tasks.set.spawn(serial::run(settings, intake.clone(), clock.clone(), metrics, tasks.stop()));
        }
        for settings in self.config.file_settings() {
            let path = settings.path.display().to_string();
            let metrics = LineMetrics::new(&self.registry, &path);
            let replay = file::run(settings, intake.clone(), clock.clone(), metrics, tasks.stop());
            tasks.set.spawn(async move {
                if let Err(error) = replay.await {
                    tracing::error!(file = path, %error, "the replay ended early");
                }
            });
        }
        Ok(())
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

/// Runs until a signal ends it; SIGHUP reads the configuration again by `load`.
pub async fn run(config: Config, load: impl Fn() -> Result<Config, ConfigError>) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = |kind| signal(kind).expect("the runtime takes signals");
    let (mut interrupt, mut terminate) = (signals(SignalKind::interrupt()), signals(SignalKind::terminate()));
    let mut hangup = signals(SignalKind::hangup());
    let mut running = Running::start(config).await?;
    let mut reload = Reload::default();
    let reason = loop {
        tokio::select! {
            _ = interrupt.recv() => break "SIGINT",
            _ = terminate.recv() => break "SIGTERM",
            _ = hangup.recv() => reload.read(&mut running, &load).await,
            () = reload.due() => reload.judge(&mut running),
        }
    };
    running.stop(reason).await;
    Ok(())
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

/// What the transport needs, with secrets and certificates read.
fn ship_settings(config: &Config) -> Result<ShipSettings, RunError> {
    let ship = &config.ship;
    let (host, port, secure) = ship.address();
    let own = ship.cert_file.clone().zip(ship.key_file.clone());
    let tls = secure.then(|| TlsFiles { ca: ship.ca_file.clone(), own }.load()).transpose()?;
    let login = match (&ship.username, &ship.password) {
        (None, _) => None,
        (Some(user), None) => Some((user.clone(), String::new())),
        (Some(user), Some(password)) => Some((user.clone(), password.read()?.reveal().to_owned())),
    };
    let trust = TrustSettings { keys: ship.trusted_keys(), trust_first: config.trusts_first() };
    Ok(ShipSettings { agent: config.agent.name, host, port, login, tls, trust })
}

/// The agent's key, and whether it had one. One that is lost does not keep the machine's events from being captured.
fn identity(config: &Config) -> Result<(Identity, bool), RunError> {
    let data = &config.agent.data_dir;
    let taken = identity::take(data)?;
    let had_ring = std::fs::read_dir(data.join("ring")).is_ok_and(|mut files| files.next().is_some());
    let found = match &taken.origin {
        Origin::Kept => return Ok((taken.identity, true)),
        Origin::Made if !had_ring => return Ok((taken.identity, false)),
        Origin::Made => format!("there is a ring log, and no {}", identity::KEY_FILE),
        Origin::Replaced(aside) => format!("what was there was no key; it is {} now", aside.display()),
    };
    let (name, key) = (config.agent.name, taken.identity.public_key());
    tracing::warn!(
        "this agent has lost its key: {found}. It has a new one and goes on capturing; what its ring log holds is sealed \
         again under it. The collector refuses it until an operator says that it is still {name}: \
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

fn tell_recovery(recovery: &Recovery) {
    if let Some(replaced) = &recovery.replaced {
        tracing::error!("the ring log is new: {replaced}");
    } else if recovery.is_new && recovery.is_clean() {
        tracing::info!("the ring log is new");
    } else if recovery.is_clean() {
        tracing::info!("the ring log is whole");
    } else {
        tracing::warn!("the ring log was mended: {recovery}");
    }
}

/// Notices that the wall clock was set, and says so in the log.
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
                tracing::warn!("the clock was set, and that is not in the log: {refusal}");
            }
        }
        earlier = later;
    }
}
