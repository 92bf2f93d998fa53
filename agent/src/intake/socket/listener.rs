//! The doors: binding the sockets, a stale socket file, the limit of connections.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::answers::Answers;
use super::connection::Connection;
use super::slots::{Slot, Slots};
use super::{Door, SocketSettings};
use crate::intake::sink::EventSink;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on the Unix socket.
    #[error("a different process listens on {}; stop it, or change `intake.socket.path`", .0.display())]
    InUse(PathBuf),
    /// The path is not a socket.
    #[error("{} is not a socket; remove it, or change `intake.socket.path`", .0.display())]
    NotASocket(PathBuf),
    /// The TCP address can be reached from other machines.
    #[error(
        "{0} can be reached from other machines without encryption; use 127.0.0.1, or set \
         `intake.socket.tcp_beyond_loopback = true`"
    )]
    BeyondLoopback(SocketAddr),
    /// The operating system refused to listen.
    #[error("cannot listen on {address}: {error}")]
    Io {
        /// The path or address.
        address: String,
        /// The error of the operating system.
        error: io::Error,
    },
}

/// Sockets that listen. The Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub struct Listeners {
    unix: Option<(UnixListener, SocketFile)>,
    tcp: Option<TcpListener>,
    slots: Arc<Slots>,
}

/// Removes the socket's file when dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Opens the sockets of `settings`. Must be called within a tokio runtime.
    pub async fn bind(settings: &SocketSettings) -> Result<Self, BindError> {
        let unix = match &settings.path {
            Some(path) => Some((bind_unix(path, settings.mode)?, SocketFile(path.clone()))),
            None => None,
        };
        let tcp = match settings.tcp {
            Some(address) if !address.ip().is_loopback() && !settings.tcp_beyond_loopback => {
                return Err(BindError::BeyondLoopback(address));
            }
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| BindError::Io { address: address.to_string(), error })?,
            ),
            None => None,
        };
        Ok(Self { unix, tcp, slots: Slots::new(settings.connections_max) })
    }

    /// Connections are counted together with those of others.
    pub fn sharing(self, slots: Arc<Slots>) -> Self {
        Self { slots, ..self }
    }

    /// The TCP address that was given, with the port that the system chose where it was 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

fn bind_unix(path: &Path, mode: u32) -> Result<UnixListener, BindError> {
    let failed = |error| BindError::Io { address: path.display().to_string(), error };
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    set_mode(path, mode).map_err(failed)?;
    Ok(listener)
}

/// Sets the permission bits of a socket.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Removes the file of a socket without a listener, which a killed agent leaves behind.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io { address: path.display().to_string(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

/// Accepts connections until the agent stops, and waits for those that are open.
pub(super) async fn run<S: EventSink>(listeners: Listeners, door: Arc<Door<S>>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.requested() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            stream = accept_unix(listeners.unix.as_ref()) => stream.map(Stream::Unix),
            stream = accept_tcp(listeners.tcp.as_ref()) => stream.map(Stream::Tcp),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                let text = format!("cannot accept a producer's connection: {error}; check `ulimit -n`");
                door.metrics.supervisor.registry().troubles().happened("producers", text);
                // Out of file descriptors: trying again at once would only turn in a circle.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(slot) = listeners.slots.take() else {
            door.metrics.turned_away.add(1);
            let why = format!(
                "{} producers are connected, which is `intake.socket.connections_max`, and all have sent lines \
                 recently; close one or raise it",
                listeners.slots.max()
            );
            turn_away(stream, &why);
            door.metrics.supervisor.registry().troubles().happened("producers", format!("one was turned away: {why}"));
            continue;
        };
        let (door, stop) = (door.clone(), stop.clone());
        connections.spawn(async move {
            door.metrics.connections.add(1.0);
            let connection = async {
                if let Err(error) = serve(&door, stream, &slot, stop).await {
                    tracing::debug!(%error, "a producer's connection ended");
                }
            };
            door.metrics.supervisor.once("socket connection", connection).await;
            door.metrics.connections.add(-1.0);
            drop(slot);
        });
    }
    drop(listeners);
    while connections.join_next().await.is_some() {}
}

enum Stream {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

async fn serve<S: EventSink>(door: &Door<S>, stream: Stream, slot: &Slot, stop: Stop) -> io::Result<()> {
    match stream {
        Stream::Unix(mut stream) => {
            let (reader, writer) = stream.split();
            Connection::new(door, slot).run(reader, writer, stop).await
        }
        Stream::Tcp(mut stream) => {
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.split();
            Connection::new(door, slot).run(reader, writer, stop).await
        }
    }
}

/// Says why, as far as the socket's own buffer takes it, and closes.
fn turn_away(stream: Stream, why: &str) {
    let mut answers = Answers::default();
    answers.ends(why);
    // A new connection's buffer is empty and takes these bytes at once; if not, the close is the answer.
    let _ = match stream {
        Stream::Unix(stream) => stream.try_write(answers.unwritten()),
        Stream::Tcp(stream) => stream.try_write(answers.unwritten()),
    };
}

async fn accept_unix(listener: Option<&(UnixListener, SocketFile)>) -> io::Result<tokio::net::UnixStream> {
    match listener {
        Some((listener, _)) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}
