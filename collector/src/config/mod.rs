//! The configuration: one TOML file, every key with a default, unknown keys refused.
//!
//! ```toml
//! data = "afferent-data"              # data directory: log and key
//! name = "collector"                  # the collector's own name as a source
//! # broker = "mqtts://broker:8883"    # connect to this broker instead of listening
//!
//! [mqtt]                              # the endpoint that agents connect to
//! listen = "127.0.0.1:1883"
//! connections_max = 16000
//! handshake_s_max = 10
//! # tls = { cert = "server.pem", key = "server.key", client_ca = "clients.pem" } # client_ca replaces users
//! # [[mqtt.user]]
//! # name = "press-88"
//! # password = { file = "/run/secrets/press-88" }   # or { env = "…" }, { credential = "…" } (systemd)
//!
//! [broker_client]                     # for `broker`
//! # user = "collector"
//! # password = { file = "…" }
//! # ca = "ca.pem"                     # default: the system's CAs
//! # cert = "client.pem"
//! # key = "client.key"
//!
//! [http]
//! listen = "127.0.0.1:8080"
//! # names = ["collector.plant.example"] # accepted host names, besides loopback and the address it listens on
//! # insecure = true                   # allow an address beyond loopback: there is no login yet
//!
//! [names]                             # new agents without a login or a certificate
//! new_max = 1024                      # new names of one client address, or of the broker, in ten minutes
//!
//! [storage]
//! segment_mib = 64
//!
//! [retention]                         # by default everything is kept forever
//! # age = "365d"                      # remove segments whose newest event was appended longer ago
//! # samples_age = "30d"               # remove samples earlier; breakdowns, alarms and all else stay
//! # size_mib = 500000                 # remove the oldest segments when the log is larger
//!
//! [attest]                            # the log's attestations, one a minute
//! # file = "/mnt/elsewhere/heads"     # append them to this file, which belongs on another machine
//!
//! # [[model]]                         # a version of a model beside the built-in ones, which are version 1
//! # name = "kpi"
//! # version = 2
//! # of = "kpi"
//! # [model.settings]
//! # not_failures = ["PM"]
//! # no_data_s = 900                   # seconds until a silent machine is unknown; this and the next 2 also for states
//! # no_data_s_of = { "88-C/shift/**" = 28800 }  # the same for some subjects
//! # on_change = ["77-*"]              # machines that report only changes: their agent's heartbeat counts
//!
//! # [[forward]]                       # the log in another system, from a checkpoint that is kept for it
//! # name = "work-orders"
//! # from = "end"                        # where a new one begins: first (the default), end, an offset, a time
//! # filter = { type = "breakdown", subject = "88-C/**" }
//! # [forward.webhook]                   # its destination: see README
//! # url = "https://cmms.example/hook"
//!
//! [log]                               # the collector's own log, on standard error
//! format = "text"                     # or "json"
//! level = "info"
//! ```

mod http;
mod mistake;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use afferent_host::secret::{Secret, SecretError};
use afferent_host::url::BrokerUrl;
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use serde::Deserialize;

pub use http::Http;

use crate::endpoint::{Access, EndpointSettings, Tls, TlsError, TlsFiles, User};
use crate::forward::config::{self as forwards, ForwardConfig, ForwardConfigError};
use crate::limits::{
    CONFIG_BYTES_MAX, CONNECTIONS_MAX, LOG_SEGMENT_BYTES, MODELS_MAX, NAMES_NEW_OF_ONE, NAMES_NEW_OF_ONE_MAX,
};
use crate::models::{Definition, with_built_ins};
use crate::retention::{Age, Rules};

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Data directory: log and key.
    pub data: PathBuf,
    /// The collector's own name as a source of events.
    pub name: SourceId,
    /// An external broker that replaces the endpoint.
    pub broker: Option<BrokerUrl>,
    /// The endpoint.
    pub mqtt: Mqtt,
    /// Login and TLS at the external broker.
    pub broker_client: BrokerClient,
    /// The HTTP server.
    pub http: Http,
    /// Limits of new names.
    pub names: NamesConfig,
    /// The log on disk.
    pub storage: StorageConfig,
    /// How long events are kept.
    pub retention: RetentionConfig,
    /// Where attestations are copied to.
    pub attest: AttestConfig,
    /// Versions of models beside the built-in ones.
    pub model: Vec<Definition>,
    /// The log in other systems.
    pub forward: Vec<ForwardConfig>,
    /// The collector's own log.
    pub log: Logging,
}

/// The endpoint that agents connect to.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Address and port.
    pub listen: SocketAddr,
    /// Largest number of connections.
    pub connections_max: NonZeroU32,
    /// Seconds from the open socket to the CONNECT.
    pub handshake_s_max: NonZeroU32,
    /// TLS; plain without it.
    pub tls: Option<MqttTls>,
    /// The logins.
    pub user: Vec<MqttUser>,
}

/// TLS of the endpoint; all files are PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttTls {
    /// The certificate, with those that lead to its CA.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CA of client certificates; their common name is the agent's name.
    pub client_ca: Option<PathBuf>,
}

/// A login.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttUser {
    /// The agent's name, and the user name.
    pub name: SourceId,
    /// The source of the password.
    pub password: Secret,
}

/// Login and TLS at the external broker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerClient {
    /// The client id; random without it.
    pub client_id: Option<String>,
    /// The user name.
    pub user: Option<String>,
    /// The source of the password.
    pub password: Option<Secret>,
    /// The CA of the broker's certificate; the system's without it.
    pub ca: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// Limits of new names without a login or a certificate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesConfig {
    /// New names of one client address at once, and as many again within ten minutes; behind a broker, of all
    /// clients together.
    pub new_max: u32,
}

impl Default for NamesConfig {
    fn default() -> Self {
        Self { new_max: NAMES_NEW_OF_ONE }
    }
}

/// The log on disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Size of a segment file, in MiB.
    pub segment_mib: u64,
}

/// How long events are kept; forever by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long an event is kept, from when it was appended.
    pub age: Option<Age>,
    /// How long samples are kept.
    pub samples_age: Option<Age>,
    /// Largest size of the log, in MiB.
    pub size_mib: Option<u64>,
}

/// Where attestations are copied to, besides the log itself and agents.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttestConfig {
    /// A file to which they are appended, one line of hexadecimal digits each.
    pub file: Option<PathBuf>,
}

/// The collector's own log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Text for people, or JSON for programs.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,afferent_collector::endpoint=debug`.
    pub level: String,
}

/// Text for people, or JSON for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Values of the command line, which override the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--mqtt`
    pub mqtt: Option<SocketAddr>,
    /// `--http`
    pub http: Option<SocketAddr>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: the file has {bytes} bytes; the limit is {CONFIG_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// What it says is not valid.
    #[error("{}:{line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A secret cannot be read.
    #[error("{key}: {error}")]
    Secret {
        /// The key in the file.
        key: String,
        /// What is wrong.
        error: SecretError,
    },
    /// The TLS files cannot be used.
    #[error("mqtt.tls: {0}")]
    Tls(#[from] TlsError),
    /// A forward cannot be used.
    #[error(transparent)]
    Forward(#[from] ForwardConfigError),
    /// Values that are each fine do not go together.
    #[error("{key}: {message}")]
    Together {
        /// The key in the file.
        key: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl Config {
    /// Reads a file, or takes the defaults where there is none, and puts the command line's words over it.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut config = match path {
            Some(path) => Self::parse(&read(path)?, path)?,
            None => Self::default(),
        };
        if let Some(data) = &overrides.data {
            config.data.clone_from(data);
        }
        config.mqtt.listen = overrides.mqtt.unwrap_or(config.mqtt.listen);
        config.http.listen = overrides.http.unwrap_or(config.http.listen);
        config.check()?;
        Ok(config)
    }

    /// Reads the text of a file; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let (line, message) = mistake::explain(text, &error);
            ConfigError::Content { path: path.to_owned(), line, message }
        })
    }

    /// Looks at what no single key tells.
    fn check(&self) -> Result<(), ConfigError> {
        let together = |key, message: String| Err(ConfigError::Together { key, message });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes()) {
            let (min, max) = (SEGMENT_BYTES_MIN.div_ceil(1 << 20), SEGMENT_BYTES_MAX >> 20);
            let given = self.storage.segment_mib;
            return together("storage.segment_mib", format!("is {given}; it must be from {min} to {max}"));
        }
        if let Some(size) = self.retention.size_mib
            && size < 2 * self.storage.segment_mib
        {
            let segment = self.storage.segment_mib;
            let message = format!("is {size}; it must be at least two segments, with storage.segment_mib = {segment}");
            return together("retention.size_mib", message);
        }
        if u64::from(self.mqtt.connections_max.get()) > CONNECTIONS_MAX {
            let message = format!("is {}; it must be at most {CONNECTIONS_MAX}", self.mqtt.connections_max);
            return together("mqtt.connections_max", message);
        }
        if !(1..=NAMES_NEW_OF_ONE_MAX).contains(&self.names.new_max) {
            let message = format!("is {}; it must be from 1 to {NAMES_NEW_OF_ONE_MAX}", self.names.new_max);
            return together("names.new_max", message);
        }
        if self.mqtt.user.iter().any(|user| user.name == self.name) {
            let message = format!("{} is the collector's own name; choose another name", self.name);
            return together("mqtt.user", message);
        }
        if let Some(twice) = self.mqtt.user.iter().enumerate().find_map(|(at, user)| {
            self.mqtt.user[..at].iter().any(|before| before.name == user.name).then_some(user.name)
        }) {
            return together("mqtt.user", format!("{twice} is listed twice; remove one of them"));
        }
        self.check_http()?;
        forwards::check(&self.forward)?;
        self.check_for_nothing()?;
        let models = with_built_ins(&self.model);
        if models.len() > MODELS_MAX {
            let message =
                format!("there are {} models with the built-in ones; the limit is {MODELS_MAX}", models.len());
            return together("model", message);
        }
        if let Some(twice) = models
            .iter()
            .enumerate()
            .find_map(|(at, model)| models[..at].iter().any(|before| before.id == model.id).then_some(&model.id))
        {
            return together("model", format!("{twice} exists already; choose another version"));
        }
        if self.broker_client.cert.is_some() != self.broker_client.key.is_some() {
            return together("broker_client", "cert and key go together; set both or neither".to_owned());
        }
        let tls_for_nothing = self.broker_client.ca.is_some() || self.broker_client.cert.is_some();
        if tls_for_nothing && self.broker.as_ref().is_none_or(|broker| !broker.tls) {
            return together("broker_client", "ca, cert and key need an mqtts:// URL in `broker`".to_owned());
        }
        Ok(())
    }

    /// Looks for what would be ignored: whoever wrote it believes that it is in force.
    fn check_for_nothing(&self) -> Result<(), ConfigError> {
        let together = |key, message: &str| Err(ConfigError::Together { key, message: message.to_owned() });
        let has_users = !self.mqtt.user.is_empty();
        let has_client_ca = self.mqtt.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if has_users && has_client_ca {
            let message = "users would be ignored: with mqtt.tls.client_ca, certificates identify the clients; remove \
                           the users or client_ca";
            return together("mqtt.user", message);
        }
        if self.broker.is_some() && (has_users || self.mqtt.tls.is_some()) {
            let message =
                "users and tls would be ignored: with `broker`, no client connects here; remove them or `broker`";
            return together("mqtt", message);
        }
        let BrokerClient { client_id, user, password, .. } = &self.broker_client;
        if self.broker.is_none() && (client_id.is_some() || user.is_some() || password.is_some()) {
            return together(
                "broker_client",
                "it would be ignored, as `broker` is not set; set `broker`, or remove it",
            );
        }
        if password.is_some() && user.is_none() {
            return together("broker_client.password", "it would be ignored without broker_client.user; add the user");
        }
        Ok(())
    }

    /// What is kept.
    pub fn retention(&self) -> Rules {
        let bytes = self.retention.size_mib.map(|mib| mib.saturating_mul(1 << 20));
        let RetentionConfig { age, samples_age, .. } = self.retention.clone();
        Rules { age, bytes, samples_age }
    }

    /// Bytes of a segment file.
    pub fn segment_bytes(&self) -> u64 {
        self.storage.segment_mib.saturating_mul(1 << 20)
    }

    /// The endpoint's settings, with secrets and certificates read.
    pub fn endpoint(&self) -> Result<EndpointSettings, ConfigError> {
        let tls = match &self.mqtt.tls {
            None => None,
            Some(MqttTls { cert, key, client_ca }) => {
                let files = TlsFiles { certificate: cert.clone(), key: key.clone(), client_ca: client_ca.clone() };
                Some(Arc::new(Tls::load(&files)?))
            }
        };
        let access = if tls.as_ref().is_some_and(|tls| tls.asks_for_certificates()) {
            Access::Certificates
        } else if self.mqtt.user.is_empty() {
            Access::Open
        } else {
            let users = self.mqtt.user.iter().map(|user| {
                let key = || format!("mqtt.user {}: password", user.name);
                let password = user.password.read().map_err(|error| ConfigError::Secret { key: key(), error })?;
                Ok(User::new(user.name, password.reveal().as_bytes()))
            });
            Access::Users(users.collect::<Result<_, ConfigError>>()?)
        };
        Ok(EndpointSettings {
            listen: self.mqtt.listen,
            access,
            tls,
            connections_max: self.mqtt.connections_max.get() as usize,
            handshake_max: Duration::from_secs(u64::from(self.mqtt.handshake_s_max.get())),
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |error| ConfigError::Read { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned(), bytes });
    }
    std::fs::read_to_string(path).map_err(failed)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("afferent-data"),
            name: SourceId::new("collector").expect("a valid name"),
            broker: None,
            mqtt: Mqtt::default(),
            broker_client: BrokerClient::default(),
            http: Http::default(),
            names: NamesConfig::default(),
            storage: StorageConfig::default(),
            retention: RetentionConfig::default(),
            attest: AttestConfig::default(),
            model: Vec::new(),
            forward: Vec::new(),
            log: Logging::default(),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            connections_max: NonZeroU32::new(16_000).expect("is not zero"),
            handshake_s_max: NonZeroU32::new(10).expect("is not zero"),
            tls: None,
            user: Vec::new(),
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { segment_mib: LOG_SEGMENT_BYTES >> 20 }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let config = Config::parse(text, Path::new("collector.toml"))?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let config = parse("").unwrap();
        assert_eq!(config.mqtt.listen, "127.0.0.1:1883".parse().unwrap());
        assert_eq!(config.http.listen, "127.0.0.1:8080".parse().unwrap());
        assert!(matches!(config.endpoint().unwrap().access, Access::Open));
    }

    #[test]
    fn the_example_in_the_documentation_is_valid_with_every_comment_taken_off() {
        let text = include_str!("mod.rs");
        let example: Vec<&str> =
            text.lines().skip_while(|line| *line != "//! ```toml").skip(1).take_while(|l| *l != "//! ```").collect();
        assert!(example.len() > 20, "the example was not found");
        for strip in ["", "# "] {
            let lines = example.iter().map(|line| line.strip_prefix("//!").unwrap().trim_start());
            let text: Vec<&str> = lines.map(|line| line.strip_prefix(strip).unwrap_or(line)).collect();
            let config = Config::parse(&text.join("\n"), Path::new("example.toml")).unwrap();
            // Endpoint and broker, users and client_ca are alternatives to each other.
            assert_eq!(config.check().is_ok(), strip.is_empty());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_name() {
        let error = parse("data = \"x\"\n[mqtt]\nlissten = \"127.0.0.1:1\"\n").unwrap_err().to_string();
        assert!(error.starts_with("collector.toml:3: "), "{error}");
        assert!(error.contains("`lissten`") && error.contains("did you mean `listen`?"), "{error}");
    }

    #[test]
    fn a_models_settings_are_checked_like_every_other_key() {
        let model = |of: &str, settings: &str| {
            let text = format!("[[model]]\nname = \"kpi\"\nversion = 2\nof = \"{of}\"\n[model.settings]\n{settings}\n");
            parse(&text).map_err(|error| error.to_string())
        };
        assert_eq!(model("kpi", "not_failures = [\"PM\"]").unwrap().model[0].id.to_string(), "kpi@2");
        let error = model("kpi", "not_failure = [\"PM\"]").unwrap_err();
        assert!(error.starts_with("collector.toml:1: ") && error.contains("did you mean `not_failures`?"), "{error}");
        assert!(model("kpis", "").unwrap_err().contains("did you mean `kpi`?"));
    }

    #[test]
    fn values_that_do_not_go_together_are_refused_with_their_key() {
        let one = "[[mqtt.user]]\nname = \"a\"\npassword = { env = \"A\" }\n";
        let twice = one.repeat(2);
        for (text, key) in [
            ("[storage]\nsegment_mib = 0", "storage.segment_mib"),
            ("[storage]\nsegment_mib = 99999999999999999", "storage.segment_mib"),
            ("[mqtt]\nconnections_max = 4000000000", "mqtt.connections_max"),
            ("[names]\nnew_max = 0", "names.new_max"),
            ("[names]\nnew_max = 65537", "names.new_max"),
            ("[http]\nlisten = \"0.0.0.0:8080\"", "http.listen"),
            ("[http]\nlisten = \"[::ffff:10.0.0.7]:8080\"", "http.listen"),
            ("[http]\nnames = [\"http://a\"]", "http.names"),
            ("[broker_client]\nuser = \"c\"", "broker_client"),
            ("broker = \"mqtt://x\"\n[broker_client]\npassword = { env = \"A\" }", "broker_client.password"),
            (&format!("broker = \"mqtt://x\"\n{one}"), "mqtt"),
            (&format!("[mqtt]\ntls = {{ cert = \"c\", key = \"k\", client_ca = \"a\" }}\n{one}"), "mqtt.user"),
            ("broker = \"mqtt://x\"\n[broker_client]\nca = \"ca.pem\"", "broker_client"),
            ("[broker_client]\ncert = \"c.pem\"", "broker_client"),
            ("[[model]]\nname = \"kpi\"\nversion = 1\nof = \"kpi\"\n", "model"),
            ("[[mqtt.user]]\nname = \"collector\"\npassword = { env = \"A\" }\n", "mqtt.user"),
            (&twice, "mqtt.user"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let overrides = Overrides { data: Some("/x".into()), mqtt: Some("127.0.0.1:1".parse().unwrap()), http: None };
        let config = Config::load(None, &overrides).unwrap();
        assert_eq!(config.data, Path::new("/x"));
        assert_eq!(config.mqtt.listen.port(), 1);
        assert_eq!(config.http.listen.port(), 8080);
    }
}
