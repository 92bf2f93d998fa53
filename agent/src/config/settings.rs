//! The configuration's sections. What the keys mean stands in [`super::keys`].

use std::net::SocketAddr;
use std::path::PathBuf;

use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SOURCE_BYTES_MAX};
use afferent_protocol::sign::PublicKey;
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use super::{Secret, Size};
use crate::intake::input::Home;
use crate::intake::kinds::IntakeConfig;
use crate::limits::{COLLECTOR_KEYS_MAX, CONFIRM_S_MIN, HEARTBEAT_S_MAX};
use crate::section::{in_range, section};
use crate::trust::{is_loopback, parse_key};

section! {
    /// All of it.
    Config {
        /// `[agent]`
        agent: AgentConfig = AgentConfig::default(),
        /// `[ring]`
        ring: RingConfig = RingConfig::default(),
        /// `[commit]`
        commit: CommitConfig = CommitConfig::default(),
        /// `[ship]`
        ship: ShipConfig = ShipConfig::default(),
        /// `[intake.…]`
        intake: IntakeConfig = IntakeConfig::default(),
        /// `[http]`
        http: HttpConfig = HttpConfig::default(),
        /// `[log]`
        log: LogConfig = LogConfig::default(),
    }
}

section! {
    /// `[agent]`: who it is, and where it keeps what it must not lose.
    AgentConfig {
        /// The agent's name.
        name: SourceId = name_of_host(&rustix::system::uname().nodename().to_string_lossy()),
        /// The data directory.
        data_dir: PathBuf = PathBuf::from("afferent-data/agent"),
        /// Seconds between two events that say how far everything is.
        heartbeat_s: u32 = 60,
    }
}

section! {
    /// `[ring]`: the ring log.
    RingConfig {
        /// Its size on disk.
        pool_bytes: Size = Size(256 << 20),
        /// The size of one of its files; chosen by the pool's size when not given.
        segment_bytes: Option<Size> = None,
        /// Segments that only critical events may take; an eighth of all when not given.
        critical_reserve_segments: Option<u32> = None,
    }
}

section! {
    /// `[commit]`: how long events wait for company before they are written.
    CommitConfig {
        /// What a producer waits for, in milliseconds.
        wait_max_ms: u32 = 20,
        /// Samples that nobody waits for, in milliseconds.
        samples_wait_max_ms: u32 = 1000,
    }
}

section! {
    /// `[ship]`: the way to the collector.
    ShipConfig {
        /// `mqtt://` or `mqtts://`, host and port.
        url: String = "mqtt://127.0.0.1:1883".to_owned(),
        /// The certificates that are trusted, PEM; the system's when not given.
        ca_file: Option<PathBuf> = None,
        /// The agent's certificate, PEM.
        cert_file: Option<PathBuf> = None,
        /// Its private key, PEM.
        key_file: Option<PathBuf> = None,
        /// The keys of the collectors that are believed, in hexadecimal.
        collector_keys: Vec<String> = vec![],
        /// Whether the first collector that answers is believed, where no key is named.
        trust_first: bool = false,
        /// Login name.
        username: Option<String> = None,
        /// Login password.
        password: Option<Secret> = None,
        /// Bytes of each stream that are under way at once.
        window_bytes: Size = Size(256 << 10),
        /// The longest wait without progress, in milliseconds.
        timeout_ms: u32 = 2000,
        /// How long a new way has to prove itself after a reload, in seconds.
        confirm_s: u32 = 60,
    }
}

section! {
    /// `[http]`: metrics and health.
    HttpConfig {
        /// The address; none for no such server.
        address: Option<SocketAddr> = None,
    }
}

section! {
    /// `[log]`: the agent's own log.
    LogConfig {
        /// From which level.
        level: LogLevel = LogLevel::Info,
        /// As text or JSON.
        format: LogFormat = LogFormat::Text,
    }
}

/// Levels of the agent's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And what is only for finding faults.
    Debug,
    /// All.
    Trace,
}

impl LogLevel {
    /// For the log's filter.
    pub const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Forms of the agent's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A machine's name as an agent's name: other characters become `-`.
pub fn name_of_host(host: &str) -> SourceId {
    let plain: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(SOURCE_BYTES_MAX)
        .collect();
    let plain = plain.trim_matches(|c| c == '.' || c == '-');
    SourceId::new(plain).unwrap_or_else(|_| SourceId::new("agent").expect("a plain name"))
}

impl Config {
    /// Checks what the types cannot: ranges, and keys that need each other. The message names the key.
    pub fn check(&self) -> Result<(), String> {
        let ring = &self.ring;
        let segment = ring.segment_bytes.unwrap_or(Size(SEGMENT_BYTES_MIN)).0;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment) {
            return Err("`ring.segment_bytes` goes from 64KiB to 256MiB".to_owned());
        }
        if ring.pool_bytes.0 < 8 * segment {
            return Err(format!("`ring.pool_bytes` holds fewer than 8 segments; take at least {} bytes", 8 * segment));
        }
        if u64::from(ring.critical_reserve_segments.unwrap_or(0)) > ring.pool_bytes.0 / segment / 2 {
            return Err("`ring.critical_reserve_segments` is over half of the ring; take less".to_owned());
        }
        in_range("commit.wait_max_ms", self.commit.wait_max_ms, 0, 1_000)?;
        in_range("commit.samples_wait_max_ms", self.commit.samples_wait_max_ms, 0, 60_000)?;
        if !(64 << 10..=64 << 20).contains(&self.ship.window_bytes.0) {
            return Err("`ship.window_bytes` goes from 64KiB to 64MiB".to_owned());
        }
        in_range("agent.heartbeat_s", self.agent.heartbeat_s, 1, HEARTBEAT_S_MAX)?;
        in_range("ship.confirm_s", self.ship.confirm_s, CONFIRM_S_MIN, 3600)?;
        in_range("ship.timeout_ms", self.ship.timeout_ms, 100, 600_000)?;
        self.ship.check()?;
        self.intake.check(&self.home())
    }

    /// Whose inputs they are.
    pub fn home(&self) -> Home {
        Home { agent: self.agent.name, data_dir: self.agent.data_dir.clone() }
    }

    /// Whether the first collector that answers is believed, where no key is named: it may be, or it is on this machine.
    pub fn trusts_first(&self) -> bool {
        self.ship.trust_first || is_loopback(&self.ship.address().0)
    }
}

impl ShipConfig {
    /// Host, port and whether TLS is spoken; ports default to 1883 and 8883. An IPv6 address stands in brackets.
    pub fn address(&self) -> (String, u16, bool) {
        let secure = self.url.starts_with("mqtts://");
        let default = if secure { 8883 } else { 1883 };
        let address =
            self.url.split_once("://").map_or(self.url.as_str(), |(_, address)| address).trim_end_matches('/');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(default)),
            _ => (address, default),
        };
        (host.trim_matches(['[', ']']).to_owned(), port, secure)
    }

    /// The keys of the collectors that are believed.
    pub fn trusted_keys(&self) -> Vec<PublicKey> {
        self.collector_keys.iter().filter_map(|text| parse_key(text)).collect()
    }

    fn check(&self) -> Result<(), String> {
        let address = self.url.strip_prefix("mqtt://").or_else(|| self.url.strip_prefix("mqtts://"));
        let port_is_wrong = |address: &str| {
            let port = address.trim_end_matches('/').rsplit_once(':').map(|(_, port)| port);
            port.is_some_and(|port| !port.contains(']') && !port.parse::<u16>().is_ok_and(|port| port > 0))
        };
        if address.is_none_or(|a| a.is_empty() || a.starts_with(':') || a.contains(['@', ' ']) || port_is_wrong(a)) {
            // The url itself is not repeated: somebody may have written a password into it.
            let remedy = "a login goes into `ship.username` and `ship.password`";
            return Err(format!("`ship.url` is not mqtt://HOST:PORT or mqtts://HOST:PORT; {remedy}"));
        }
        if let Some(wrong) = self.collector_keys.iter().find(|text| parse_key(text).is_none()) {
            return Err(format!(
                "`ship.collector_keys` has {wrong:?}, which is no key; a key has 64 hexadecimal digits, as the collector \
                 shows it at its start"
            ));
        }
        if self.collector_keys.len() > COLLECTOR_KEYS_MAX {
            return Err(format!("`ship.collector_keys` names over {COLLECTOR_KEYS_MAX} keys; leave out old ones"));
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("`ship.cert_file` and `ship.key_file` need each other; give both or none".to_owned());
        }
        let secure = self.url.starts_with("mqtts://");
        if !secure && (self.ca_file.is_some() || self.cert_file.is_some()) {
            return Err("`ship.ca_file` and `ship.cert_file` need TLS; write mqtts:// in `ship.url`".to_owned());
        }
        if self.password.is_some() && self.username.is_none() {
            return Err("`ship.password` needs `ship.username`".to_owned());
        }
        Ok(())
    }
}
