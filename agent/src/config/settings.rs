//! The configuration's sections. What the keys mean stands in [`super::keys`].

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use afferent_host::key::parse_public;
use afferent_host::secret::Secret;
use afferent_host::url::{BrokerUrl, BrokerUrlError};
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SOURCE_BYTES_MAX};
use afferent_protocol::sign::PublicKey;
use serde::{Deserialize, Deserializer, de};
use tracing_subscriber::filter::LevelFilter;

use super::Size;
use crate::intake::exec::ExecSettings;
use crate::intake::file::{FileSettings, Mapping, Speed};
use crate::intake::host::HostSettings;
use crate::intake::serial::SerialSettings;
use crate::intake::serial::port::Address;
use crate::intake::socket::SocketSettings;
use crate::intake::time::Reading;
use crate::limits::{COLLECTOR_KEYS_MAX, CONFIRM_S_MIN, CONNECTIONS_MAX, HEARTBEAT_S_MAX, SERIAL_PORTS_MAX};
use crate::trust::is_loopback;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

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
        #[serde(deserialize_with = "ship_url")]
        url: BrokerUrl = BrokerUrl::plain((Ipv4Addr::LOCALHOST, 1883).into()),
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
    /// `[intake.…]`: where events come from.
    IntakeConfig {
        /// `[intake.socket]`
        socket: SocketConfig = SocketConfig::default(),
        /// `[intake.host]`
        host: HostConfig = HostConfig::default(),
        /// `[[intake.exec]]`
        exec: Vec<ExecConfig> = vec![],
        /// `[[intake.file]]`
        file: Vec<FileConfig> = vec![],
        /// `[[intake.serial]]`
        serial: Vec<SerialConfig> = vec![],
    }
}

section! {
    /// `[intake.socket]`
    SocketConfig {
        /// Whether there is one.
        enabled: bool = true,
        /// The Unix socket's path; `agent.sock` in the data directory when not given.
        path: Option<PathBuf> = None,
        /// Its permission bits, in octal.
        mode: String = "0660".to_owned(),
        /// A TCP address too.
        tcp: Option<SocketAddr> = None,
        /// Whether that address may be reached from other machines.
        tcp_beyond_loopback: bool = false,
        /// Producers at once.
        connections_max: usize = 256,
    }
}

section! {
    /// `[intake.host]`
    HostConfig {
        /// Whether this machine is watched.
        enabled: bool = true,
        /// From look to look, in milliseconds.
        interval_ms: u32 = 5000,
    }
}

/// One `[[intake.exec]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// Stands in logs and metrics.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// One `[[intake.file]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// What its values are about.
    #[serde(default)]
    pub subject: String,
    /// A column that goes on the subject.
    pub subject_column: Option<String>,
    /// The column with the time.
    pub time_column: Option<String>,
    /// The form of its times.
    pub time_format: Option<String>,
    /// The zone of those that say none.
    pub time_zone: Option<String>,
    /// The columns with values.
    #[serde(default)]
    pub value_columns: Vec<String>,
    /// Those of them that hold text.
    #[serde(default)]
    pub text_columns: Vec<String>,
    /// Those of them that hold numbers.
    #[serde(default)]
    pub number_columns: Vec<String>,
    /// Cells that mean no value.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The decimal sign.
    pub decimal: Option<String>,
    /// What stands between the columns.
    pub delimiter: Option<String>,
    /// Their unit.
    #[serde(default)]
    pub unit: String,
    /// `original`, `max`, or how many times faster.
    pub speed: Option<String>,
}

/// One `[[intake.serial]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// Where the line is.
    pub port: String,
    /// Bits a second.
    #[serde(default = "baud_of_firmware")]
    pub baud: u32,
    /// The name that the device must have.
    pub device: SourceId,
}

const fn baud_of_firmware() -> u32 {
    115_200
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
        in_range("intake.host.interval_ms", self.intake.host.interval_ms, 100, 86_400_000)?;
        let connections = u32::try_from(self.intake.socket.connections_max).unwrap_or(u32::MAX);
        in_range("intake.socket.connections_max", connections, 1, CONNECTIONS_MAX as u32)?;
        self.ship.check()?;
        self.intake.check()?;
        match self.intake.serial.iter().find(|serial| serial.device == self.agent.name) {
            Some(serial) => {
                Err(format!("`intake.serial.device` {:?} is the agent's own name; take another", serial.device))
            }
            None => Ok(()),
        }
    }

    /// Whether the first collector that answers is believed, where no key is named: it may be, or it is on this machine.
    pub fn trusts_first(&self) -> bool {
        self.ship.trust_first || is_loopback(&self.ship.url.host)
    }

    /// What the socket intake needs; none when it is switched off.
    pub fn socket_settings(&self) -> Option<SocketSettings> {
        let socket = &self.intake.socket;
        socket.enabled.then(|| SocketSettings {
            path: Some(socket.path.clone().unwrap_or_else(|| self.agent.data_dir.join("agent.sock"))),
            mode: socket.mode().unwrap_or(0o660),
            tcp: socket.tcp,
            tcp_beyond_loopback: socket.tcp_beyond_loopback,
            connections_max: socket.connections_max,
        })
    }

    /// What the intake of this machine needs; none when it is switched off.
    pub fn host_settings(&self) -> Option<HostSettings> {
        let interval = Duration::from_millis(u64::from(self.intake.host.interval_ms));
        self.intake.host.enabled.then_some(HostSettings { agent: self.agent.name, interval })
    }

    /// The child to watch.
    pub fn exec_settings(exec: &ExecConfig) -> ExecSettings {
        ExecSettings { name: exec.name.clone(), command: exec.command.clone() }
    }

    /// The serial line; none when its address is none, which [`Config::check`] refuses.
    pub fn serial_settings(&self, serial: &SerialConfig) -> Option<SerialSettings> {
        let port = serial.port.parse().ok()?;
        Some(SerialSettings { agent: self.agent.name, device: serial.device, port, baud: serial.baud })
    }

    /// The file to replay.
    pub fn file_settings(&self, file: &FileConfig) -> FileSettings {
        FileSettings {
            path: file.path.clone(),
            mapping: file.mapping().unwrap_or_default(),
            speed: file.speed().unwrap_or(Speed::Original),
            places: self.agent.data_dir.join("replay"),
        }
    }
}

fn in_range(key: &str, value: u32, least: u32, most: u32) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` is {value}; it goes from {least} to {most}"))
    }
}

/// `ship.url`, which a refusal names.
fn ship_url<'de, D: Deserializer<'de>>(from: D) -> Result<BrokerUrl, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|error: BrokerUrlError| de::Error::custom(format_args!("`ship.url`: {error}")))
}

impl ShipConfig {
    /// The keys of the collectors that are believed.
    pub fn trusted_keys(&self) -> Vec<PublicKey> {
        self.collector_keys.iter().filter_map(|text| parse_public(text)).collect()
    }

    fn check(&self) -> Result<(), String> {
        if let Some(wrong) = self.collector_keys.iter().find(|text| parse_public(text).is_none()) {
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
        if !self.url.tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            return Err("`ship.ca_file` and `ship.cert_file` need TLS; write mqtts:// in `ship.url`".to_owned());
        }
        if self.password.is_some() && self.username.is_none() {
            return Err("`ship.password` needs `ship.username`".to_owned());
        }
        Ok(())
    }
}

impl SocketConfig {
    fn mode(&self) -> Result<u32, String> {
        let digits = self.mode.strip_prefix("0o").unwrap_or(&self.mode);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| {
            format!("`intake.socket.mode` is {:?}; write permission bits in octal, as \"0660\"", self.mode)
        })
    }
}

impl FileConfig {
    fn speed(&self) -> Result<Speed, String> {
        let speed = self.speed.as_deref().unwrap_or("original").parse::<Speed>();
        speed.map_err(|error| format!("`intake.file.speed`: {error}"))
    }

    /// What its columns mean; the error names the key that is wrong.
    fn mapping(&self) -> Result<Mapping, String> {
        let form = self.time_format.as_deref().map(str::parse).transpose();
        let form = form.map_err(|error| format!("`intake.file.time_format`: {error}"))?.unwrap_or_default();
        let zone = self.time_zone.as_deref().map(str::parse).transpose();
        let zone = zone.map_err(|error| format!("`intake.file.time_zone`: {error}"))?;
        let sign = |key: &str, sign: &Option<String>, default: u8| match sign.as_deref().map(str::as_bytes) {
            None => Ok(default),
            Some([sign]) if sign.is_ascii() => Ok(*sign),
            Some(_) => Err(format!("`intake.file.{key}` is not one ASCII character")),
        };
        let mapping = Mapping {
            subject: self.subject.clone(),
            subject_column: self.subject_column.clone(),
            time_column: self.time_column.clone(),
            time: Reading { form, zone },
            value_columns: self.value_columns.clone(),
            text_columns: self.text_columns.clone(),
            number_columns: self.number_columns.clone(),
            missing: self.missing.clone(),
            decimal: sign("decimal", &self.decimal, b'.')?,
            unit: self.unit.clone(),
            delimiter: sign("delimiter", &self.delimiter, b',')?,
        };
        mapping.check().map_err(|error| format!("`intake.file` of {}: {error}", self.path.display()))?;
        Ok(mapping)
    }
}

impl IntakeConfig {
    fn check(&self) -> Result<(), String> {
        self.socket.mode()?;
        if let Some(tcp) = self.socket.tcp
            && !tcp.ip().is_loopback()
            && !self.socket.tcp_beyond_loopback
        {
            return Err(format!(
                "`intake.socket.tcp` is {tcp}, which other machines can reach, and nothing on it is encrypted; take \
                 127.0.0.1, or set `intake.socket.tcp_beyond_loopback = true`"
            ));
        }
        let mut names = BTreeSet::new();
        for exec in &self.exec {
            if exec.command.is_empty() || exec.command[0].is_empty() {
                return Err(format!("`intake.exec.command` of {:?} is empty; name a program", exec.name));
            }
            if !names.insert(&exec.name) {
                return Err(format!("`intake.exec.name` {:?} is listed twice; names tell them apart", exec.name));
            }
        }
        self.check_serial()?;
        for file in &self.file {
            file.speed()?;
            file.mapping()?;
            crate::intake::unit::Units::default()
                .check(&file.unit)
                .map_err(|error| format!("`intake.file.unit`: {error}"))?;
        }
        Ok(())
    }

    fn check_serial(&self) -> Result<(), String> {
        if self.serial.len() > SERIAL_PORTS_MAX {
            return Err(format!(
                "`intake.serial` stands there {} times; at most {SERIAL_PORTS_MAX} are taken",
                self.serial.len()
            ));
        }
        let (mut ports, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for serial in &self.serial {
            let port = serial.port.parse::<Address>();
            port.map_err(|error| format!("`intake.serial.port` is {:?}; {error}", serial.port))?;
            in_range("intake.serial.baud", serial.baud, 50, 4_000_000)?;
            if !ports.insert(&serial.port) {
                return Err(format!("`intake.serial.port` {:?} is listed twice; a line has one device", serial.port));
            }
            if !devices.insert(serial.device) {
                return Err(format!(
                    "`intake.serial.device` {:?} is listed twice; two devices with one name cannot be told apart",
                    serial.device
                ));
            }
        }
        Ok(())
    }
}
