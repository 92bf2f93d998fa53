//! The socket: one JSON object a line in, answers as lines out.
//!
//! `{"accepted":N}`: the lines 1 to N of this connection are on disk, save for those that were refused. It is
//! cumulative, sent at most once per group commit, and producers need not wait for it before they send more.
//! `{"line":n,"error":"…"}`: line n was refused; the lines around it are not touched by that. N never stands on a
//! refused line, so a producer is done when every line of it is either refused or not above N. Empty lines count, and
//! hold nothing. `{"line":0,"error":"…"}`: the connection ends, or has no slot; the lines of it are answered as ever.
//! `replays` has the two lines that are no events.

mod answers;
mod connection;
mod input;
mod listener;
mod replays;
mod slots;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use afferent_host::stop::Stop;

use crate::clock::Clock;
use crate::intake::sink::EventSink;
use crate::metrics::{Counter, Gauge, Registry};
use crate::supervise::Supervisor;
pub use input::{Socket, SocketConfig};
pub use listener::{BindError, Listeners, set_mode};
pub use slots::Slots;

/// The sockets to open.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketSettings {
    /// The Unix socket's path; none for no such socket.
    pub path: Option<PathBuf>,
    /// Permission bits of the Unix socket.
    pub mode: u32,
    /// The TCP address; none for no such socket.
    pub tcp: Option<SocketAddr>,
    /// Whether the TCP address may be one that other machines can reach. Nothing on it is encrypted or asks who it is.
    pub tcp_beyond_loopback: bool,
    /// Connections at once, on both together.
    pub connections_max: usize,
}

/// The counters of the socket.
#[derive(Clone)]
pub struct SocketMetrics {
    connections: Gauge,
    turned_away: Counter,
    accepted: Counter,
    refused: Counter,
    bytes: Counter,
    /// Watches the connections.
    supervisor: Supervisor,
}

impl SocketMetrics {
    /// Registers the counters in `registry`.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        Self {
            connections: registry.gauge("afferent_socket_connections", "Producers that are connected.", &[]),
            turned_away: counter("afferent_socket_turned_away_total", "Connections refused, as there were too many."),
            accepted: counter("afferent_socket_lines_total", "Lines that were taken."),
            refused: counter("afferent_socket_lines_refused_total", "Lines that were refused."),
            bytes: counter("afferent_socket_read_bytes_total", "Bytes read from producers."),
            supervisor: Supervisor::new(registry.clone()),
        }
    }
}

/// Shared by all connections of a socket.
struct Door<S> {
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: SocketMetrics,
    replays: replays::Replays,
}

/// Serves producers until the agent stops, then answers what was taken and returns.
pub async fn serve<S: EventSink>(
    listeners: Listeners,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: SocketMetrics,
    stop: Stop,
) {
    listener::run(listeners, Arc::new(Door { sink, clock, metrics, replays: Default::default() }), stop).await;
}

#[cfg(test)]
mod tests;
