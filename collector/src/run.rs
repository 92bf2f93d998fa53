//! The whole collector: starts its parts in order, watches them, and stops them in order.
//!
//! The order is: data directory, log, writer thread, the entrance (endpoint or broker), models, HTTP. To stop, the
//! entrance closes first, then the accepted messages are committed, then the log closes.

mod check;
mod engine;
mod partition;
mod reload;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use afferent_host::files;
use afferent_host::stop::{self, Stop, StopSender};
use afferent_protocol::ids::Offset;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{self, ApiState};
use crate::broker::{Broker, BrokerError, BrokerHandles, BrokerSettings};
use crate::config::{Config, ConfigError};
use crate::data_directory::{DataDirectory, DataDirectoryError, first_public_key};
use crate::endpoint::{BindError, Endpoint, EndpointSettings, Registry};
use crate::forward::{ForwardThreads, Forwards, ForwardsError, ForwardsSettings};
use crate::intake::{Health, Intake, Outbox, WriterError};
use crate::limits::{EXIT_TIME_MAX, FAREWELL_LOOKS_EVERY, HTTP_FAREWELL_MAX};
use crate::log::EngineError;
use crate::models::runner::{Models, Settings as ModelSettings, Threads as ModelThreads};
use crate::models::with_built_ins;
use crate::open_files::{self, TooFewFiles};
use crate::partitions::Partitions;
use crate::subscribe::named::{StoreError, Subscriptions};
use crate::supervise::{Part, PartEnded, Supervisor};
pub use check::{Scope, check, connect};
use partition::{OpenedPartition, RunningPartition, Surroundings, WriterChannels};
use reload::ReloadTarget;

/// Why the collector cannot run, or failed to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirectoryError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] EngineError),
    /// The subscriptions cannot be read.
    #[error(transparent)]
    Subscriptions(#[from] StoreError),
    /// The forwards cannot start.
    #[error(transparent)]
    Forwards(#[from] ForwardsError),
    /// The endpoint cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The client of the broker cannot be set up.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The HTTP server cannot listen.
    #[error("cannot listen on {listen} for HTTP: {error}; is another program using it?")]
    Http {
        /// The address.
        listen: SocketAddr,
        /// The error of the system.
        error: std::io::Error,
    },
    /// Too few open files are allowed.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// The system refuses a thread, random numbers or signals.
    #[error("the system does not provide {what}: {error}")]
    System {
        /// The refused resource.
        what: &'static str,
        /// The error of the system.
        error: String,
    },
    /// A required part ended.
    #[error(transparent)]
    Part(#[from] PartEnded),
    /// The writer ended early or with an error.
    #[error(transparent)]
    Writer(#[from] WriterError),
}

/// A thread of the collector.
type JoinThread = std::thread::JoinHandle<()>;

/// The running collector.
pub struct Collector {
    /// The address for agents; `None` with an external broker.
    pub mqtt: Option<SocketAddr>,
    /// The address of the HTTP server.
    pub http: SocketAddr,
    /// The state behind the HTTP server, for users in the same process.
    pub state: ApiState,
    switch: StopSender,
    way_in: JoinHandle<()>,
    web: JoinHandle<()>,
    partitions: Vec<RunningPartition>,
    models: ModelThreads,
    forwards: ForwardThreads,
    door: ReloadTarget,
    supervisor: Supervisor,
    _data: DataDirectory,
}

/// Runs the collector until `until`, and stops it. On SIGHUP it reads its configuration with `again`.
pub async fn run(
    config: Config,
    again: impl Fn() -> Result<Config, ConfigError>,
    until: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let hangups = reload::hangups()?;
    let collector = Collector::start(&config).await?;
    let ended = tokio::select! {
        () = until => None,
        ended = collector.part_ended() => Some(ended),
        () = reload::on_hangup(hangups, &collector.door, config, again) => {
            tracing::error!("can no longer receive SIGHUP; stopping");
            None
        }
    };
    collector.stop_after(ended).await
}

/// Waits for SIGINT or SIGTERM; both are handled from the call on, also while other parts are still being started.
///
/// # Panics
/// Outside a tokio runtime.
pub fn terminated() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        match signals {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            // Without signals only a kill can end it, which it survives.
            _ => std::future::pending().await,
        }
    }
}

impl Collector {
    /// Starts all parts; on an error none stays running.
    pub async fn start(config: &Config) -> Result<Self, RunError> {
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let data = DataDirectory::open(&config.data)?;
        if files::is_open_to_all(data.path()) {
            let data = data.path().display();
            tracing::warn!("every user of this machine can read {data}; run: chmod 700 {data}");
        }
        let shares = open_files::share(config.mqtt.connections_max.get() as usize)?;
        let key = data.identity()?.public_key();
        data.show_public_key(&key)?;
        let opened = OpenedPartition::of(config, &data).await?;
        let health = Arc::new(Health::default());
        let (switch, stopping) = stop::channel();
        let supervisor = Supervisor::new(Arc::clone(&health), stopping.clone());
        let (intake, incoming) = Intake::new();
        let http = listen_http(config.http.listen).await?;
        let http_address = http.local_addr().map_err(system("the address of a socket"))?;

        let (posts, commits) = (intake.downgrade(), intake.commits().clone());
        let way_in = WayIn::open(config, shares.mqtt, intake, &health, &stopping).await?;
        let WayIn { outbox, address: mqtt, door, serving } = way_in;
        let way_part = if mqtt.is_some() { Part::Endpoint } else { Part::Broker };
        let around =
            Surroundings { config, data: data.path(), supervisor: &supervisor, health: &health, stopping: &stopping };
        let ways = WriterChannels { incoming, outbox, posts, commits: commits.clone() };
        let (running, held) = RunningPartition::start(opened, ways, &around)?;
        let models = ModelSettings {
            definitions: with_built_ins(&config.model),
            snapshots: Some(data.path().join("models")),
            log: Arc::clone(&held.reader),
            durable: held.durable.clone(),
            stopping: stopping.clone(),
            supervisor: supervisor.clone(),
            commits: commits.clone(),
        };
        let (models, threads) = start_models(models).await?;
        let run = getrandom::u64().map_err(system("random numbers"))?;
        let subscriptions = Arc::new(Subscriptions::open(&data.path().join("subscriptions"), run)?);
        // The log's first key verifies it.
        let own = (config.name, first_public_key(data.path()).unwrap_or(key));
        let (forwards, forward_threads) = Forwards::start(&ForwardsSettings {
            forwards: &config.forward,
            own: config.name,
            directory: &data.path().join("forwards"),
            held: &held,
            commits,
            stopping: stopping.clone(),
            supervisor: &supervisor,
        })?;
        let partitions = Partitions::new(vec![held]);
        let state = ApiState { own, partitions, subscriptions, health, models, forwards };
        Ok(Self {
            mqtt,
            http: http_address,
            state: state.clone(),
            switch,
            way_in: supervisor.task(way_part, serving),
            web: supervisor.task(Part::Web, api::serve(http, state, config.http_names(), shares.http, stopping)),
            partitions: vec![running],
            models: threads,
            forwards: forward_threads,
            door,
            supervisor,
            _data: data,
        })
    }

    /// The first offset that is not on disk.
    pub fn durable(&self) -> watch::Receiver<Offset> {
        self.state.partitions.first().durable.clone()
    }

    /// Waits until a required part has ended, which does not happen in normal operation.
    pub async fn part_ended(&self) -> PartEnded {
        self.supervisor.part_ended().await
    }

    /// Stops; after the end of a part, the wait for the others is short, and the error names that part.
    pub async fn stop_after(self, ended: Option<PartEnded>) -> Result<(), RunError> {
        let Some(ended) = ended else { return self.stop().await };
        match tokio::time::timeout(EXIT_TIME_MAX, self.stop()).await {
            Ok(Ok(())) => {}
            // The error of a write is a better reason than the end of the writer.
            Ok(Err(error @ RunError::Writer(WriterError::Unwritten(_) | WriterError::Unknown(_)))) => {
                return Err(error);
            }
            Ok(Err(error)) => tracing::error!(%error, "the collector did not stop cleanly"),
            Err(_) => tracing::error!("the collector did not stop in time; exiting anyway"),
        }
        Err(ended.into())
    }

    /// Stops taking messages, commits the taken ones, and closes the log.
    pub async fn stop(self) -> Result<(), RunError> {
        let Self { state, switch, way_in, web, partitions, models, forwards, .. } = self;
        switch.stop();
        if let Err(error) = way_in.await {
            tracing::error!(%error, "the input from agents ended unexpectedly");
        }
        let mut written = Ok(());
        let mut attesting = Vec::new();
        for RunningPartition { writer, attesting: thread } in partitions {
            written = written.and(writer.joined().await);
            attesting.extend(thread);
        }
        let aborting = web.abort_handle();
        match tokio::time::timeout(HTTP_FAREWELL_MAX, web).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the HTTP server ended unexpectedly"),
            Err(_) => aborting.abort(),
        }
        drop(state);
        // A file that hangs does not keep the collector from ending.
        let until = tokio::time::Instant::now() + HTTP_FAREWELL_MAX;
        while !attesting.iter().all(JoinThread::is_finished) && tokio::time::Instant::now() < until {
            tokio::time::sleep(FAREWELL_LOOKS_EVERY).await;
        }
        if !attesting.iter().all(JoinThread::is_finished) {
            tracing::error!("cannot write to the file for attestations; it lacks the last ones");
        }
        if let Err(error) = tokio::task::spawn_blocking(|| models.join()).await {
            tracing::error!(%error, "the models ended unexpectedly");
        }
        if let Err(error) = tokio::task::spawn_blocking(|| forwards.join()).await {
            tracing::error!(%error, "the forwards ended unexpectedly");
        }
        Ok(written?)
    }
}

/// The entrance of agents' messages, not yet serving.
struct WayIn {
    outbox: Outbox,
    address: Option<SocketAddr>,
    door: ReloadTarget,
    serving: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl WayIn {
    async fn open(
        config: &Config,
        connections_max: usize,
        intake: Intake,
        health: &Arc<Health>,
        stopping: &Stop,
    ) -> Result<Self, RunError> {
        let (health, stopping) = (Arc::clone(health), stopping.clone());
        if let Some(settings) = broker_settings(config)? {
            let (broker, BrokerHandles { answers, door }) = Broker::new(&settings, intake, health, stopping)?;
            let serving = Box::pin(broker.serve());
            return Ok(Self {
                outbox: Outbox::Broker(answers),
                address: None,
                door: ReloadTarget::Broker(door),
                serving,
            });
        }
        let settings = EndpointSettings { connections_max, ..config.endpoint()? };
        let registry = Arc::new(Registry::default());
        let endpoint = Endpoint::bind(settings, intake, Arc::clone(&registry), health, stopping).await?;
        let address = endpoint.address().map_err(system("the address of a socket"))?;
        let door = ReloadTarget::Endpoint(endpoint.gate());
        let serving = Box::pin(endpoint.serve());
        Ok(Self { outbox: Outbox::Endpoint(registry), address: Some(address), door, serving })
    }
}

/// Loads the models' snapshots, outside the async tasks, and starts to follow the log.
async fn start_models(settings: ModelSettings) -> Result<(Models, ModelThreads), RunError> {
    let starting = tokio::task::spawn_blocking(|| Models::start(settings));
    let started = starting.await.map_err(system("a task for the start of the models"))?;
    started.map_err(system("a thread for the models"))
}

/// The settings of the external broker's client, secrets read; `None` without such a broker.
fn broker_settings(config: &Config) -> Result<Option<BrokerSettings>, RunError> {
    let Some(url) = config.broker.clone() else { return Ok(None) };
    let client = &config.broker_client;
    let random = getrandom::u32().map_err(system("random numbers"))?;
    let client_id = client.client_id.clone().unwrap_or_else(|| format!("afferent-{}-{random:08x}", config.name));
    let login = match &client.user {
        None => None,
        Some(user) => {
            let secret = |error| ConfigError::Secret { key: "broker_client.password".to_owned(), error };
            let password = client.password.as_ref().map(|password| password.read()).transpose().map_err(secret)?;
            Some((user.clone(), password.map(|password| password.reveal().to_owned()).unwrap_or_default()))
        }
    };
    let certificate = client.cert.clone().zip(client.key.clone());
    Ok(Some(BrokerSettings { url, client_id, login, ca: client.ca.clone(), certificate }))
}

async fn listen_http(listen: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(listen).await.map_err(|error| RunError::Http { listen, error })
}

fn system<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> RunError {
    move |error| RunError::System { what, error: error.to_string() }
}
