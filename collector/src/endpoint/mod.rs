//! The MQTT server: agents (and any other client) connect here, publish as themselves, and get their acks.
//!
//! MQTT 3.1.1 and 5 on one port. It is no broker: nothing is forwarded between clients, nothing is retained, no session
//! outlives its connection. What holds:
//!
//! - A client is who its certificate or its login says ([`Access`]). It may publish to `…/up` and `…/state` of its own,
//!   and subscribe to `…/down` of its own; everything else is refused and counted.
//! - PUBACK says that the message is on the collector's disk. PUBACKs keep the order of the messages.
//! - Reading a socket stops while the log's writer has no room; the keep-alive does not run meanwhile.
//! - Whoever does not finish the handshake in time, or does not read what it is sent, is disconnected.
//! - Each connection is answered by itself. One over which a run of an agent has proved itself (see [`crate::core`]) ends
//!   older ones of the same run; one that has not proved itself touches no other: it may have the name and not the key.
//! - An agent is online while a connection stands over which it has proved itself. Its state topic and last will are
//!   taken and say nothing: the endpoint knows better.
//! - Messages to clients go out with quality of service 0: they are acks, cumulative, and whoever misses one asks again.

mod access;
mod answers;
mod connection;
mod handshake;
mod in_flight;
mod packets;
mod registry;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use access::{Access, User};
pub use registry::Registry;
pub use tls::{Tls, TlsError, TlsFiles};
pub(crate) use tls::{authorities, certificates, private_key};

use crate::intake::{Health, Intake, Way};
use crate::limits::{FAREWELL_MAX, REFUSALS_AT_ONCE};
use crate::shutdown::Stopping;
use answers::{ConnectRefusal, Farewell};
use connection::End;
use handshake::{Greeted, NotGreeted};

/// How the endpoint listens.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Address and port.
    pub listen: SocketAddr,
    /// Who may come.
    pub access: Access,
    /// TLS; plain without it.
    pub tls: Option<Arc<Tls>>,
    /// Connections at a time.
    pub connections_max: usize,
    /// From the open socket to the CONNECT, TLS included.
    pub handshake_max: Duration,
}

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Anybody could connect from elsewhere, and act as any agent.
    #[error(
        "{listen} can be reached from other machines, and clients would not have to prove who they are; add \
         [[mqtt.user]] entries or [mqtt.tls] with client_ca, or listen on 127.0.0.1"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {listen} for MQTT: {error}; is another program using it?")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

impl EndpointSettings {
    /// Whether clients must prove who they are, where they can come from elsewhere.
    pub fn check(&self) -> Result<(), BindError> {
        let listen = self.listen;
        if self.access.is_enough_for(&listen) { Ok(()) } else { Err(BindError::Open { listen }) }
    }
}

/// What connections need of the rest of the collector.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    intake: Intake,
    registry: Arc<Registry>,
    health: Arc<Health>,
    stopping: Stopping,
}

/// A socket that listens.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    settings: Arc<EndpointSettings>,
    context: Context,
}

impl Endpoint {
    /// Begins to listen.
    pub async fn bind(
        settings: EndpointSettings,
        intake: Intake,
        registry: Arc<Registry>,
        health: Arc<Health>,
        stopping: Stopping,
    ) -> Result<Self, BindError> {
        settings.check()?;
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| BindError::Listen { listen, error })?;
        let context = Context { intake, registry, health, stopping };
        Ok(Self { listener, settings: Arc::new(settings), context })
    }

    /// Where it listens: the port that the system chose, where 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the collector stops, and every connection has ended.
    pub async fn serve(self) {
        let Self { listener, settings, context } = self;
        let places = Arc::new(Semaphore::new(settings.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
        let mut stopping = context.stopping.clone();
        let mut connections = JoinSet::new();
        context.health.set_way(Way::Open);
        loop {
            let accepted = tokio::select! {
                () = stopping.wait() => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest(&context, &error).await;
                    continue;
                }
            };
            context.health.set_way(Way::Open);
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

/// What the system refuses now (most likely: no more file descriptors) it may grant a little later.
async fn rest(context: &Context, error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept connections");
    context.health.set_way(Way::Closed { why: format!("connections cannot be accepted: {error}") });
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// One connection from its open socket to its end.
async fn connect(
    socket: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
    refusal: Option<ConnectRefusal>,
    settings: &EndpointSettings,
    context: &Context,
) {
    if let Err(error) = tune(&socket) {
        tracing::debug!(%peer, %error, "options of a socket could not be set");
    }
    match &settings.tls {
        None => greet_and_serve(socket, peer, None, refusal, settings, settings.handshake_max, context).await,
        Some(tls) => {
            let begun = tokio::time::Instant::now();
            let accepted = timeout(settings.handshake_max, TlsAcceptor::from(tls.current()).accept(socket)).await;
            let stream = match accepted {
                Ok(Ok(stream)) => stream,
                failed => {
                    context.health.counters.handshakes_failed.count();
                    let error = failed.map_or_else(
                        |_| "it took too long".to_owned(),
                        |f| f.err().map_or_else(String::new, |e| e.to_string()),
                    );
                    tracing::info!(%peer, error, "TLS handshake failed");
                    return;
                }
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let name = certificates.and_then(|chain| tls::common_name(chain.first()?));
            let left = settings.handshake_max.saturating_sub(begun.elapsed());
            greet_and_serve(stream, peer, name, refusal, settings, left, context).await;
        }
    }
}

async fn greet_and_serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: SocketAddr,
    certificate: Option<afferent_protocol::ids::SourceId>,
    refusal: Option<ConnectRefusal>,
    settings: &EndpointSettings,
    handshake_max: Duration,
    context: &Context,
) {
    let counters = &context.health.counters;
    let mut stopping = context.stopping.clone();
    let greeting = timeout(handshake_max, handshake::greet(&mut stream, &settings.access, certificate, refusal));
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        () = stopping.wait() => return,
    };
    let greeted = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => {
            match error {
                NotGreeted::Refused(ConnectRefusal::TooMany) => {}
                NotGreeted::Foreign | NotGreeted::Protocol(_) | NotGreeted::Io(_) => {
                    counters.handshakes_failed.count();
                }
                NotGreeted::Refused(_) => counters.logins_refused.count(),
            }
            tracing::info!(%peer, %error, "a client was not let in");
            return;
        }
        Err(_) => {
            counters.handshakes_failed.count();
            tracing::info!(%peer, "a client did not finish its handshake in time");
            return;
        }
    };
    let Greeted { client_id, identity, .. } = &greeted;
    tracing::info!(%peer, client_id, agent = identity.map(tracing::field::display), "connected");
    counters.connections_taken.count();
    counters.connections.count();
    // Boxed: what a served connection needs is no burden to those that never get there.
    let ended = Box::pin(connection::serve(stream, peer, greeted, context)).await;
    counters.connections.less();
    match ended {
        End::ByClient | End::Here(Farewell::TakenOver | Farewell::Stopping | Farewell::KeepAlive) => {}
        End::Here(Farewell::SlowReader) => counters.slow_readers.count(),
        End::Here(Farewell::NotAuthorized) => {}
        End::Broken | End::Here(_) => counters.protocol_errors.count(),
    }
    tracing::info!(%peer, ?ended, "disconnected");
}

/// Small packets go out at once; a peer that vanished without a word is noticed by the system.
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
