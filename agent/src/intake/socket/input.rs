//! The sockets of a configuration as inputs: the Unix socket and the TCP address each run by themselves, and count
//! their producers together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afferent_host::lock::holder_of;
use afferent_host::stop::Stop;
use serde::Deserialize;

use super::{Listeners, Slots, SocketMetrics, SocketSettings, serve, set_mode};
use crate::intake::input::{Home, Input, Ways};
use crate::intake::sink::DeviceSink;
use crate::keep::LOCK_FILE;
use crate::limits::CONNECTIONS_MAX;
use crate::look;
use crate::section::{Key, Value, key, optional, section};
use crate::supervise::{Ended, endless};

/// Permission bits of a file, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self)
            .ok_or_else(|| format!("{text:?} is not a mode; write permission bits in octal, such as \"0660\""))
    }
}

section! {
    /// `[intake.socket]`
    SocketConfig {
        /// Whether to open the socket.
        enabled: bool = true,
        /// The Unix socket's path; `agent.sock` in the data directory when not given.
        path: Option<PathBuf> = None,
        /// The socket's permission bits.
        mode: Mode = Mode(0o660),
        /// A TCP address to listen on as well.
        tcp: Option<SocketAddr> = None,
        /// Whether the TCP address may be reached from other machines.
        tcp_beyond_loopback: bool = false,
        /// Largest number of connected producers.
        connections_max: usize = 256,
    }
}

/// One of the sockets, open.
#[derive(Debug)]
pub struct Socket(Listeners);

impl Input for Socket {
    type Section = SocketConfig;
    /// With a path or an address, and never both.
    type Config = SocketSettings;
    /// Producers at once, on all sockets together.
    type Shared = Arc<Slots>;

    const REPEATS: bool = false;
    const HELP: &'static str = "The socket for producers on this machine: one JSON object a line.";
    #[rustfmt::skip]
    const KEYS: &'static [Key] = &[
        key("enabled", Value::Switch, "true", "Whether to open the socket."),
        optional("path", Value::Text, "\"/run/afferent/agent.sock\"",
            "The Unix socket. Default: agent.sock in the data directory."),
        key("mode", Value::Text, "\"0660\"", "The socket's permission bits, in octal."),
        optional("tcp", Value::Text, "\"127.0.0.1:8800\"", "A TCP address too. Default: none."),
        key("tcp_beyond_loopback", Value::Switch, "false",
            "Allow a TCP address that other machines can reach, without encryption."),
        key("connections_max", Value::Whole(1, CONNECTIONS_MAX as u64), "256",
            "Largest number of connected producers."),
    ];

    fn check(section: &SocketConfig, _: &Home) -> Result<(), String> {
        match section.tcp {
            Some(tcp) if !tcp.ip().is_loopback() && !section.tcp_beyond_loopback => Err(format!(
                "`intake.socket.tcp` is {tcp}, which other machines can reach without encryption; use \
                 127.0.0.1, or set `intake.socket.tcp_beyond_loopback = true`"
            )),
            _ => Ok(()),
        }
    }

    fn inputs(section: &SocketConfig, home: &Home) -> Vec<(String, SocketSettings)> {
        if !section.enabled {
            return vec![];
        }
        let one = |path, tcp| SocketSettings {
            path,
            mode: section.mode.0,
            tcp,
            tcp_beyond_loopback: section.tcp_beyond_loopback,
            connections_max: section.connections_max,
        };
        let path = section.path.clone().unwrap_or_else(|| home.data_dir.join("agent.sock"));
        let unix = (String::new(), one(Some(path), None));
        let tcp = section.tcp.map(|tcp| ("tcp".to_owned(), one(None, Some(tcp))));
        [unix].into_iter().chain(tcp).collect()
    }

    fn share(slots: &Arc<Slots>, section: &SocketConfig) {
        slots.set_max(section.connections_max);
    }

    fn look(config: &SocketSettings, home: &Home) -> Result<(), String> {
        let directory = config.path.as_deref().and_then(Path::parent).filter(|path| *path != home.data_dir);
        directory.map_or(Ok(()), |directory| look::writable(directory, "intake.socket.path"))?;
        match config.tcp {
            // An agent that runs here holds its own ports.
            Some(tcp) if holder_of(&home.data_dir, LOCK_FILE).is_none() => look::free(tcp, "intake.socket.tcp"),
            _ => Ok(()),
        }
    }

    async fn open(config: &SocketSettings, slots: &Arc<Slots>) -> Result<Self, String> {
        let listeners = Listeners::bind(config).await.map_err(|error| error.to_string())?;
        Ok(Self(listeners.sharing(slots.clone())))
    }

    async fn run<S: DeviceSink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        serve(self.0, ways.sink, ways.clock, SocketMetrics::new(&ways.registry), stop.clone()).await;
        endless(&stop)
    }

    fn fits(open: &SocketSettings, wanted: &SocketSettings) -> bool {
        (&open.path, open.tcp) == (&wanted.path, wanted.tcp)
    }

    fn adjust(open: &SocketSettings, wanted: &SocketSettings) -> Result<(), String> {
        let Some(path) = wanted.path.as_deref().filter(|_| open.mode != wanted.mode) else { return Ok(()) };
        set_mode(path, wanted.mode).map_err(|error| format!("cannot set the mode of {}: {error}", path.display()))
    }
}
