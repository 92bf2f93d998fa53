//! The MQTT server: agents (and any other client) connect here, publish as themselves, and get their acks.
//!
//! MQTT 3.1.1 and 5 on one port. It is no broker: it forwards nothing between clients, retains nothing, and no session
//! outlives its connection. What must hold:
//!
//! - A client has the name in its certificate or login ([`Access`]). It may publish to its own `…/up` and `…/state`,
//!   and subscribe to its own `…/down`; everything else is refused and counted.
//! - A PUBACK confirms that the message is on the collector's disk. PUBACKs keep the order of the messages.
//! - Reading a socket stops while the log's writer has no room; the keep-alive does not run meanwhile.
//! - A client that does not finish the handshake in time, or does not read its messages, is disconnected.
//! - Each connection is answered by itself. A connection over which a run of an agent has proved its key (see
//!   [`crate::core`]) ends older ones of the same run; a connection without a proved key touches no other: its client
//!   may have the name and not the key.
//! - An agent is online while a connection is open over which it has proved its key. The endpoint accepts its state
//!   topic and last will and ignores them: the connection itself shows more.
//! - Messages to clients have quality of service 0: they are acks, cumulative, and a client that misses one asks again.

mod access;
mod answers;
mod connection;
mod gate;
mod handshake;
mod in_flight;
mod packets;
mod registry;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afferent_host::stop::Stop;
use afferent_protocol::ids::SourceId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use access::{Access, User};
pub use gate::Gate;
pub use registry::Registry;
pub(crate) use tls::check_validity;
pub use tls::{Tls, TlsError, TlsFiles};

use crate::intake::{AgentAccess, Health, Intake};
use crate::limits::{FAREWELL_MAX, REFUSALS_AT_ONCE};
use crate::refused::{RefusalKind, Refused};
use crate::seldom::Seldom;
use crate::tls_words;
use answers::{ConnectRefusal, Farewell};
use connection::SessionEnd;
use gate::AccessRules;
use handshake::{Claimed, Greeted, NotGreeted};

/// How the endpoint listens.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How clients authenticate.
    pub access: Access,
    /// TLS settings; `None` listens without TLS.
    pub tls: Option<Arc<Tls>>,
    /// Limit of connections at a time.
    pub connections_max: usize,
    /// Time limit from the open socket to the CONNECT, TLS included.
    pub handshake_max: Duration,
}

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Clients of other machines could connect without a login, as any agent.
    #[error(
        "other machines can reach {listen} without a login; add [[mqtt.user]] entries or [mqtt.tls] with client_ca, or \
         listen on 127.0.0.1"
    )]
    Open {
        /// The configured address.
        listen: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {listen} for MQTT: {error}; is another program using it?")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
}

impl EndpointSettings {
    /// Checks that clients must authenticate, where they can connect from other machines.
    pub fn check(&self) -> Result<(), BindError> {
        let listen = self.listen;
        if self.access.is_enough_for(&listen) { Ok(()) } else { Err(BindError::Open { listen }) }
    }
}

/// What connections use of the rest of the collector.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    intake: Intake,
    registry: Arc<Registry>,
    gate: Arc<Gate>,
    health: Arc<Health>,
    stopping: Stop,
}

/// Serves clients over any byte stream.
#[derive(Clone, Debug)]
pub struct Server {
    settings: Arc<EndpointSettings>,
    context: Context,
}

impl Server {
    /// A server that does not listen yet.
    ///
    /// # Errors
    /// When these settings would let clients of other machines in without a login.
    pub fn new(
        settings: EndpointSettings,
        intake: Intake,
        registry: Arc<Registry>,
        health: Arc<Health>,
        stopping: Stop,
    ) -> Result<Self, BindError> {
        settings.check()?;
        let gate = Arc::new(Gate::new(&settings, Arc::clone(&registry)));
        Ok(Self { settings: Arc::new(settings), context: Context { intake, registry, gate, health, stopping } })
    }

    /// Serves one client over this stream, from its first byte to its end, without TLS, which the socket adds.
    pub async fn serve_plain<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, peer: SocketAddr) {
        let entry = self.context.gate.current();
        let greeter = Greeter { entry: &entry, peer, refusal: None, context: &self.context };
        greeter.serve(stream, None, self.settings.handshake_max).await;
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    server: Server,
}

impl Endpoint {
    /// Binds the socket and starts to listen.
    pub async fn bind(
        settings: EndpointSettings,
        intake: Intake,
        registry: Arc<Registry>,
        health: Arc<Health>,
        stopping: Stop,
    ) -> Result<Self, BindError> {
        let listen = settings.listen;
        let server = Server::new(settings, intake, registry, health, stopping)?;
        let listener = TcpListener::bind(listen).await.map_err(|error| BindError::Listen { listen, error })?;
        Ok(Self { listener, server })
    }

    /// The gate, whose settings can be replaced while the endpoint serves.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.server.context.gate)
    }

    /// The address that it listens on: with the port that the system chose, where 0 was configured.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the collector stops, and every connection has ended.
    pub async fn serve(self) {
        let Self { listener, server: Server { settings, context } } = self;
        let places = Arc::new(Semaphore::new(settings.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
        let mut stopping = context.stopping.clone();
        let mut connections = JoinSet::new();
        let mut refusing = Seldom::default();
        context.health.set_agent_access(AgentAccess::Open);
        loop {
            let accepted = tokio::select! {
                () = stopping.requested() => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_accepting(&context, &error, &mut refusing).await;
                    continue;
                }
            };
            context.health.set_agent_access(AgentAccess::Open);
            let (place, refusal) = match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => (place, None),
                Err(_) => {
                    context.health.counters.connections_refused.count();
                    let Ok(place) = Arc::clone(&refusals).try_acquire_owned() else { continue };
                    (place, Some(ConnectRefusal::TooMany))
                }
            };
            let (settings, context) = (Arc::clone(&settings), context.clone());
            connections.spawn(async move { connect(socket, peer, place, refusal, &settings, &context).await });
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }
}

/// A connection that panicked is a bug; it must not take the others along.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection ended unexpectedly");
    }
}

/// Waits a little before the next accept: the system refused one, most likely for want of file descriptors.
async fn pause_accepting(context: &Context, error: &std::io::Error, refusing: &mut Seldom) {
    if let Some(before) = refusing.due(std::time::Instant::now()) {
        tracing::warn!(%error, before, "cannot accept connections; if too many files are open, raise LimitNOFILE");
    }
    context
        .health
        .set_agent_access(AgentAccess::Closed { why: format!("the endpoint cannot accept connections: {error}") });
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Runs one connection from its open socket to its end.
async fn connect(
    socket: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
    refusal: Option<ConnectRefusal>,
    settings: &EndpointSettings,
    context: &Context,
) {
    if let Err(error) = tune(&socket) {
        tracing::debug!(%peer, %error, "cannot set the options of a socket");
    }
    let entry = context.gate.current();
    let greeter = Greeter { entry: &entry, peer, refusal, context };
    match &entry.tls {
        None => greeter.serve(socket, None, settings.handshake_max).await,
        Some(tls) => {
            let begun = tokio::time::Instant::now();
            let accepted = timeout(settings.handshake_max, TlsAcceptor::from(tls.config()).accept(socket)).await;
            let stream = match accepted {
                Ok(Ok(stream)) => stream,
                failed => {
                    context.health.counters.handshakes_failed.count();
                    let why = match failed {
                        Ok(Err(error)) => tls_words::of_io(&error),
                        _ => "the TLS handshake took too long".to_owned(),
                    };
                    greeter.note(RefusalKind::Tls, &Claimed::default(), &why);
                    return;
                }
            };
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let shown = certificate.map(|certificate| TlsIdentity {
                name: tls::common_name(certificate),
                expires: tls::valid_until(certificate),
            });
            let left = settings.handshake_max.saturating_sub(begun.elapsed());
            greeter.serve(stream, shown, left).await;
        }
    }
}

/// The credentials of a client's TLS handshake.
struct TlsIdentity {
    name: Option<SourceId>,
    expires: Option<SystemTime>,
}

/// Admits one client, or refuses it.
struct Greeter<'a> {
    entry: &'a AccessRules,
    peer: SocketAddr,
    refusal: Option<ConnectRefusal>,
    context: &'a Context,
}

impl Greeter<'_> {
    fn note(&self, kind: RefusalKind, claimed: &Claimed, why: &str) {
        let Claimed { name, user, topic } = claimed;
        let (user, topic, peer) = (user.as_deref(), topic.as_deref(), Some(self.peer));
        self.context.health.refused.note(&Refused { kind, name: Some(name), user, topic, peer, why });
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        shown: Option<TlsIdentity>,
        handshake_max: Duration,
    ) {
        let counters = &self.context.health.counters;
        let mut stopping = self.context.stopping.clone();
        let (name, expires) = shown.map_or((None, None), |shown| (shown.name, shown.expires));
        let greeting = handshake::greet(&mut stream, &self.entry.access, name, self.refusal);
        let greeted = tokio::select! {
            greeted = timeout(handshake_max, greeting) => greeted,
            () = stopping.requested() => return,
        };
        let greeted = match greeted {
            Ok(Ok(greeted)) => Greeted { expires, ..greeted },
            Ok(Err(NotGreeted::Refused(refusal, claimed))) => {
                if refusal != ConnectRefusal::TooMany {
                    counters.logins_refused.count();
                }
                return self.note(refusal.kind(), &claimed, &refusal.to_string());
            }
            Ok(Err(NotGreeted::Gone)) => return counters.handshakes_failed.count(),
            Ok(Err(error)) => {
                counters.handshakes_failed.count();
                return self.note(RefusalKind::Handshake, &Claimed::default(), &error.to_string());
            }
            Err(_) => {
                counters.handshakes_failed.count();
                return self.note(
                    RefusalKind::Handshake,
                    &Claimed::default(),
                    "the client did not finish its handshake in time",
                );
            }
        };
        serve(stream, self.peer, greeted, self.context).await;
    }
}

/// Serves an admitted client until its end.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: SocketAddr, greeted: Greeted, context: &Context) {
    let counters = &context.health.counters;
    let Greeted { client_id, identity, .. } = &greeted;
    tracing::info!(%peer, client_id, agent = identity.map(tracing::field::display), "connected");
    counters.connections_taken.count();
    counters.connections.count();
    // Boxed, so that clients which are never served do not pay for its size.
    let ended = Box::pin(connection::serve(stream, peer, greeted, context)).await;
    counters.connections.subtract();
    match ended {
        SessionEnd::ByClient | SessionEnd::Here(Farewell::TakenOver | Farewell::Stopping | Farewell::KeepAlive) => {}
        SessionEnd::Here(Farewell::SlowReader) => counters.slow_readers.count(),
        SessionEnd::Here(Farewell::NotAuthorized) => {}
        SessionEnd::Broken | SessionEnd::Here(_) => counters.protocol_errors.count(),
    }
    tracing::info!(%peer, ?ended, "disconnected");
}

/// Sends small packets at once, and lets the system notice a peer that vanished.
fn tune(socket: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(20))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

const _: () = assert!(FAREWELL_MAX.as_secs() < 10, "a stop must not take long");
