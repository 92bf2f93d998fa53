//! librdkafka's clients: their settings, and what they report.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use super::config::{Compression, KafkaConfig, Mode, NewTopicConfig};
use crate::limits::{KAFKA_IN_FLIGHT_MAX, KAFKA_REASON_CHARS_MAX, KAFKA_RECORD_BYTES_MAX};

/// The settings of a sink, secrets and files read.
#[derive(Clone)]
pub(super) struct Settings {
    /// The destination for people, without secrets.
    pub target: String,
    pub topic: String,
    pub create: Option<NewTopicConfig>,
    pub checkpoint_topic: String,
    pub mode: Mode,
    /// The time of one request.
    pub timeout: Duration,
    /// What all clients have in common.
    common: ClientConfig,
    compression: Compression,
}

impl Settings {
    /// Reads the configuration. Connects to nothing.
    pub fn read(config: &KafkaConfig) -> Result<Self, String> {
        config.check()?;
        let timeout = config.timeout()?;
        let mut common = ClientConfig::new();
        common.set_log_level(RDKafkaLogLevel::Info);
        common.set("bootstrap.servers", config.brokers.join(","));
        common.set("client.id", "afferent-collector");
        common.set("socket.timeout.ms", millis(timeout));
        common.set("socket.keepalive.enable", "true");
        common.set("reconnect.backoff.max.ms", "2000");
        common.set("allow.auto.create.topics", "false");
        for (name, value) in &config.properties {
            common.set(name, value.to_text());
        }
        secure(&mut common, config)?;
        let settings = Self {
            target: format!("kafka://{}/{}", config.brokers.join(","), config.topic),
            topic: config.topic.clone(),
            create: config.create,
            checkpoint_topic: config.checkpoint_topic.clone(),
            mode: config.mode,
            timeout,
            common,
            compression: config.compression,
        };
        let made = settings.producer("check", 1 << 20).create_native_config();
        made.map(|_| settings).map_err(|error| match error {
            // The value may be a secret.
            KafkaError::ClientConfig(_, why, name, _) => format!("properties: {name:?}: {why}"),
            error => error.to_string(),
        })
    }

    /// The settings of a producer under a transactional id. `batch_bytes_max` is the topic's limit.
    pub fn producer(&self, transactional_id: &str, batch_bytes_max: usize) -> ClientConfig {
        let mut config = self.common.clone();
        if config.get("linger.ms").or(config.get("queue.buffering.max.ms")).is_none() {
            config.set("linger.ms", "2");
        }
        config.set("transactional.id", transactional_id);
        config.set("acks", "all");
        config.set("message.timeout.ms", millis(self.timeout));
        config.set("transaction.timeout.ms", millis(2 * self.timeout));
        // The same partition as Java's clients choose for a key.
        config.set("partitioner", "murmur2_random");
        config.set("compression.codec", codec(self.compression));
        config.set("queue.buffering.max.messages", (2 * KAFKA_IN_FLIGHT_MAX).to_string());
        // The brokers have the last word on one large record: it is alone in its batch, and compressed.
        config.set("message.max.bytes", KAFKA_RECORD_BYTES_MAX.to_string());
        config.set("batch.size", batch_bytes_max.min(1_000_000).to_string());
        config
    }

    /// The settings of a client that asks for topics and makes them.
    pub fn admin(&self) -> ClientConfig {
        self.common.clone()
    }

    /// The settings of a reader of checkpoints.
    pub fn reader(&self, isolation: &str) -> ClientConfig {
        let mut config = self.common.clone();
        config.set("isolation.level", isolation);
        // It is assigned a partition and commits nothing, but librdkafka wants a name.
        config.set("group.id", "afferent-checkpoints");
        config.set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error");
        config.set("queued.max.messages.kbytes", "2048");
        config
    }
}

fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// TLS and login.
fn secure(common: &mut ClientConfig, config: &KafkaConfig) -> Result<(), String> {
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => return Ok(()),
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    common.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        if tls.cert.is_some() != tls.key.is_some() {
            return Err("tls: cert and key go together; set both or neither".to_owned());
        }
        let files = [("ca", &tls.ca, "ssl.ca.location"), ("cert", &tls.cert, "ssl.certificate.location")];
        for (key, path, name) in files.into_iter().chain([("key", &tls.key, "ssl.key.location")]) {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|error| format!("tls.{key}: cannot read {}: {error}", path.display()))?;
            common.set(name, path.display().to_string());
        }
    }
    if let Some(sasl) = &config.sasl {
        if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&&*sasl.mechanism) {
            let given = &sasl.mechanism;
            return Err(format!("sasl.mechanism is {given:?}; write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"));
        }
        let password = sasl.password.read().map_err(|error| format!("sasl.password: {error}"))?;
        common.set("sasl.mechanism", &sasl.mechanism);
        common.set("sasl.username", &sasl.user);
        common.set("sasl.password", password.reveal());
    }
    Ok(())
}

/// What the clients of one session report: the outcome of each record, and their last words on a connection.
#[derive(Clone, Default)]
pub(super) struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    failures: Vec<(usize, RDKafkaErrorCode)>,
    last_words: Option<(RDKafkaErrorCode, String)>,
}

/// Failures that are kept of one transaction: the first ones say why.
const FAILURES_MAX: usize = 16;

impl Reports {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each part of the state is set as a whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is handed over.
    pub fn sent(&self) {
        self.lock().in_flight += 1;
    }

    /// A record was not taken.
    pub fn not_sent(&self) {
        self.lock().in_flight -= 1;
    }

    /// Records without an outcome.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// Waits until at most `count` records have no outcome.
    pub async fn at_most(&self, count: usize) {
        while self.in_flight() > count {
            self.0.changed.notified().await;
        }
    }

    /// Whether a record has failed.
    pub fn has_failed(&self) -> bool {
        !self.lock().failures.is_empty()
    }

    /// Takes the failed records: the index in the part, and why.
    pub fn take_failures(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut self.lock().failures)
    }

    /// What a client said last of its connections.
    pub fn last_words(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.lock().last_words.clone()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, "librdkafka: {text}");
    }

    fn error(&self, error: KafkaError, text: &str) {
        tracing::debug!(%error, "librdkafka: {text}");
        // That all are down says less than what was wrong with one of them.
        let code = match error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown) {
            // A certificate that the broker refuses after its own part of the handshake (TLS 1.3) closes the connection.
            RDKafkaErrorCode::BrokerTransportFailure if text.contains("SSL routines") => RDKafkaErrorCode::SSL,
            code => code,
        };
        if code != RDKafkaErrorCode::AllBrokersDown {
            let text = text.chars().filter(|c| !c.is_control()).take(KAFKA_REASON_CHARS_MAX).collect();
            self.lock().last_words = Some((code, text));
        }
    }
}

impl ConsumerContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Err((error, _)) = result
            && state.failures.len() < FAILURES_MAX
        {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            state.failures.push((index, code));
        }
        if state.in_flight == 0 || state.in_flight == KAFKA_IN_FLIGHT_MAX / 2 {
            self.0.changed.notify_one();
        }
    }
}
