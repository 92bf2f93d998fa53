//! `[forward.kafka]` in the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use afferent_host::secret::Secret;
use afferent_host::url::is_this_machine;
use serde::Deserialize;

use super::properties::Property;

/// Records of a Kafka topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin with, as `host:port`; the others are learned from them.
    pub brokers: Vec<String>,
    /// The topic of the events.
    pub topic: String,
    /// Makes the topic if it is missing; without it the topic must exist.
    pub create: Option<NewTopicConfig>,
    /// How events are written.
    #[serde(default)]
    pub mode: Mode,
    /// How the producer compresses.
    #[serde(default)]
    pub compression: Compression,
    /// The compacted topic of the checkpoints; several forwards and collectors may share it. It is made if it is
    /// missing.
    #[serde(default = "checkpoint_topic")]
    pub checkpoint_topic: String,
    /// Seconds that a request, and the delivery of an event, may take.
    pub timeout_s: Option<f64>,
    /// TLS; plain without it.
    pub tls: Option<Tls>,
    /// A login.
    pub sasl: Option<Sasl>,
    /// Further settings of librdkafka.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

fn checkpoint_topic() -> String {
    "afferent-checkpoints".to_owned()
}

/// A topic that is made if it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTopicConfig {
    /// Number of partitions.
    pub partitions: u16,
    /// Number of replicas of each.
    pub replication: u8,
}

/// How events are written (CloudEvents, Kafka protocol binding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The attributes in headers, the data as value.
    #[default]
    Binary,
    /// The whole event in JSON as value.
    Structured,
}

/// How the producer compresses batches of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// zlib.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    #[default]
    Lz4,
    /// Zstandard; the feature `kafka-zstd`.
    Zstd,
}

/// TLS to the brokers; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The CA of the brokers' certificates; the system's without it.
    pub ca: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

/// A login at the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl KafkaConfig {
    /// The secret that leaves this machine unencrypted, and what to do. SCRAM does not send the password.
    pub(in crate::forward) fn open_secret(&self) -> Option<(&'static str, &'static str)> {
        let is_sent = self.tls.is_none() && self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == "PLAIN");
        let is_here = |broker: &String| is_this_machine(broker.rsplit_once(':').map_or(broker, |(host, _)| host));
        let is_open = is_sent && !self.brokers.iter().all(is_here);
        is_open.then_some(("kafka.sasl.password", "set `tls`, or use SCRAM-SHA-256"))
    }
}

#[cfg(feature = "kafka")]
const TIMEOUT_S: f64 = 30.0;

#[cfg(feature = "kafka")]
impl KafkaConfig {
    /// The time of one request.
    pub(super) fn timeout(&self) -> Result<std::time::Duration, String> {
        let timeout_s = self.timeout_s.unwrap_or(TIMEOUT_S);
        if (1.0..=300.0).contains(&timeout_s) {
            Ok(std::time::Duration::from_secs_f64(timeout_s))
        } else {
            Err(format!("timeout_s is {timeout_s}; it must be from 1 to 300"))
        }
    }

    /// Checks what can be checked without a broker.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.brokers.is_empty() {
            return Err("brokers is empty; write it as [\"host:9092\"]".to_owned());
        }
        for broker in &self.brokers {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            let is_plain = broker.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
            if !is_plain || port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(format!("brokers: {broker:?} is not an address; write it as \"host:9092\""));
            }
        }
        check_topic("topic", &self.topic)?;
        check_topic("checkpoint_topic", &self.checkpoint_topic)?;
        if self.topic == self.checkpoint_topic {
            return Err("topic and checkpoint_topic are the same; choose another checkpoint_topic".to_owned());
        }
        if self.create.is_some_and(|create| create.partitions == 0 || create.replication == 0) {
            return Err("create: partitions and replication must be at least 1".to_owned());
        }
        if self.compression == Compression::Zstd && !cfg!(feature = "kafka-zstd") {
            let why = "compression: this collector was built without the feature `kafka-zstd`; use \"lz4\", or build it \
                       with `--features kafka-zstd`";
            return Err(why.to_owned());
        }
        // PLAIN alone needs no cryptography.
        let needs_tls = match (&self.tls, &self.sasl) {
            (Some(_), _) => Some("tls"),
            (None, Some(sasl)) if sasl.mechanism != "PLAIN" => Some("sasl"),
            (None, _) => None,
        };
        if let Some(key) = needs_tls.filter(|_| !cfg!(feature = "kafka-tls")) {
            return Err(format!(
                "{key}: this collector was built without the feature `kafka-tls`; build it with `--features kafka-tls`"
            ));
        }
        self.properties.keys().try_for_each(|name| super::properties::check(name))
    }
}

/// Checks a topic's name: Kafka allows no others.
#[cfg(feature = "kafka")]
fn check_topic(key: &str, name: &str) -> Result<(), String> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if is_name && (1..=249).contains(&name.len()) && name != "." && name != ".." {
        return Ok(());
    }
    Err(format!("{key}: {name:?} is not a topic's name; use up to 249 letters, digits, '.', '_' and '-'"))
}

#[cfg(all(test, feature = "kafka"))]
mod tests;

#[cfg(all(test, not(feature = "kafka")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_the_configuration_is_read_and_refused_with_what_to_do() {
        let config: KafkaConfig = toml::from_str("brokers = [\"a:9092\"]\ntopic = \"t\"").unwrap();
        let error = config.destination().map(|_| ()).unwrap_err();
        assert!(error.contains("built without the feature `kafka`"), "{error}");
    }
}
