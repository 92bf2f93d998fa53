//! The configuration's sections. What the keys mean stands in [`super::keys`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use afferent_host::key::parse_public;
use afferent_host::secret::Secret;
use afferent_host::url::{BrokerUrl, BrokerUrlError};
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SOURCE_BYTES_MAX};
use afferent_protocol::sign::PublicKey;
use serde::{Deserialize, Deserializer, de};
use tracing_subscriber::filter::LevelFilter;

use super::Size;
use crate::intake::input::Home;
use crate::intake::kinds::IntakeConfig;
use crate::limits::COLLECTOR_KEYS_MAX;
use crate::section::section;
use crate::trust::is_loopback;

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
    /// `[agent]`: the agent's name and data.
    AgentConfig {
        /// The agent's name.
        name: SourceId = name_of_host(&rustix::system::uname().nodename().to_string_lossy()),
        /// The data directory.
        data_dir: PathBuf = PathBuf::from("afferent-data/agent"),
        /// Seconds between two heartbeats.
        heartbeat_s: u32 = 60,
    }
}

section! {
    /// `[ring]`: the ring log.
    RingConfig {
        /// Largest size of the ring log on disk, in bytes.
        pool_bytes: Size = Size(256 << 20),
        /// The size of one file, in bytes; depends on the pool's size when not given.
        segment_bytes: Option<Size> = None,
        /// Segments that only critical events may take; an eighth of all when not given.
        critical_reserve_segments: Option<u32> = None,
    }
}

section! {
    /// `[commit]`: how long samples wait to be written together.
    CommitConfig {
        /// Longest wait of samples that a producer waits for, in milliseconds.
        wait_max_ms: u32 = 20,
        /// Longest wait of samples that no producer waits for, in milliseconds.
        samples_wait_max_ms: u32 = 1000,
    }
}

section! {
    /// `[ship]`: the connection to the collector.
    ShipConfig {
        /// `mqtt://` or `mqtts://`, host and port.
        #[serde(deserialize_with = "ship_url")]
        url: BrokerUrl = BrokerUrl::plain((Ipv4Addr::LOCALHOST, 1883).into()),
        /// The certificates of the trusted authorities, PEM; the system's when not given.
        ca_file: Option<PathBuf> = None,
        /// The agent's certificate, PEM.
        cert_file: Option<PathBuf> = None,
        /// The certificate's private key, PEM.
        key_file: Option<PathBuf> = None,
        /// The keys of the trusted collectors.
        #[serde(deserialize_with = "collector_keys")]
        collector_keys: Vec<PublicKey> = vec![],
        /// Whether the first collector that answers is trusted if no key is named.
        trust_first: bool = false,
        /// Login name.
        username: Option<String> = None,
        /// Login password.
        password: Option<Secret> = None,
        /// Bytes of each stream in flight.
        window_bytes: Size = Size(256 << 10),
        /// Time without progress after which the session starts again, in milliseconds.
        timeout_ms: u32 = 2000,
        /// Seconds in which a connection changed by a reload must work.
        confirm_s: u32 = 60,
    }
}

section! {
    /// `[http]`: metrics and health.
    HttpConfig {
        /// The address to listen on; `None` for no server.
        address: Option<SocketAddr> = None,
    }
}

section! {
    /// `[log]`: the agent's own log.
    LogConfig {
        /// The lowest level that is logged.
        level: LogLevel = LogLevel::Info,
        /// The format of the log's lines.
        format: LogFormat = LogFormat::Text,
    }
}

/// Levels of the agent's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also what happens in normal operation.
    Info,
    /// Also details for finding faults.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level for the log's filter.
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

/// Formats of the agent's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, for people.
    Text,
    /// JSON, for programs.
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
    /// Checks what neither types nor ranges can: sizes, and keys that need each other. The message names the key.
    pub fn check(&self) -> Result<(), String> {
        let ring = &self.ring;
        let segment = ring.segment_bytes.unwrap_or(Size(SEGMENT_BYTES_MIN)).0;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment) {
            return Err("`ring.segment_bytes` goes from 64KiB to 256MiB".to_owned());
        }
        if ring.pool_bytes.0 < 8 * segment {
            return Err(format!("`ring.pool_bytes` holds fewer than 8 segments; set at least {} bytes", 8 * segment));
        }
        if u64::from(ring.critical_reserve_segments.unwrap_or(0)) > ring.pool_bytes.0 / segment / 2 {
            return Err("`ring.critical_reserve_segments` is over half of the ring; lower it".to_owned());
        }
        if !(64 << 10..=64 << 20).contains(&self.ship.window_bytes.0) {
            return Err("`ship.window_bytes` goes from 64KiB to 64MiB".to_owned());
        }
        self.ship.check()?;
        self.intake.check(&self.home())
    }

    /// Whose inputs they are.
    pub fn home(&self) -> Home {
        Home { agent: self.agent.name, data_dir: self.agent.data_dir.clone() }
    }

    /// Whether the first collector that answers is believed, where no key is named: it may be, or it is on this
    /// machine.
    pub fn trusts_first(&self) -> bool {
        self.ship.trust_first || is_loopback(&self.ship.url.host)
    }
}

/// `ship.url`, which a refusal names.
fn ship_url<'de, D: Deserializer<'de>>(from: D) -> Result<BrokerUrl, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|error: BrokerUrlError| de::Error::custom(format_args!("`ship.url`: {error}")))
}

/// `ship.collector_keys`: keys in hexadecimal digits.
fn collector_keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PublicKey>, D::Error> {
    let key = |text: &String| {
        parse_public(text).ok_or_else(|| {
            de::Error::custom(format_args!(
                "{text:?} is not a key; a key has 64 hexadecimal digits, as the collector prints it when it starts"
            ))
        })
    };
    Vec::<String>::deserialize(from)?.iter().map(key).collect()
}

impl ShipConfig {
    fn check(&self) -> Result<(), String> {
        if self.collector_keys.len() > COLLECTOR_KEYS_MAX {
            return Err(format!("`ship.collector_keys` names over {COLLECTOR_KEYS_MAX} keys; remove old ones"));
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("`ship.cert_file` and `ship.key_file` need each other; set both or none".to_owned());
        }
        if !self.url.tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            return Err("`ship.ca_file` and `ship.cert_file` need TLS; write mqtts:// in `ship.url`".to_owned());
        }
        if self.password.is_some() && self.username.is_none() {
            return Err("`ship.password` needs `ship.username`".to_owned());
        }
        Ok(())
    }
}
