//! `[[forward]]` in the configuration.
//!
//! ```toml
//! [[forward]]
//! name = "work-orders"
//! from = "end"                        # where a new forward begins: first (the default), end, an offset or a time
//! filter = { type = "breakdown", subject = "88-C/**" }   # as in GET /v1/events; by default all events
//! [forward.webhook]                   # one destination: influx, kafka, mqtt, parquet, postgres, webhook
//! url = "https://cmms.example/hooks/afferent"
//! ```

use afferent_host::clock;
use afferent_protocol::ids::SourceId;
use serde::Deserialize;

use super::influx::InfluxConfig;
use super::kafka::KafkaConfig;
use super::mqtt::MqttConfig;
use super::parquet::ParquetConfig;
use super::postgres::PostgresConfig;
use super::sink::Destination;
use super::webhook::WebhookConfig;
use crate::limits::FORWARDS_MAX;
use crate::subscribe::named::FilterText;
use crate::subscribe::{Filter, Start};

/// A forward.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Its name: its checkpoint is kept under it.
    pub name: SourceId,
    /// Where it begins when it is new: `first`, `end`, an offset, a place or a time.
    #[serde(default = "first")]
    pub from: String,
    /// The events that it delivers.
    #[serde(default)]
    pub filter: FilterText,
    /// Rows in a table of PostgreSQL.
    pub postgres: Option<PostgresConfig>,
    /// Parquet files in a directory or an object store.
    pub parquet: Option<ParquetConfig>,
    /// HTTP requests.
    pub webhook: Option<WebhookConfig>,
    /// Records of a Kafka topic.
    pub kafka: Option<KafkaConfig>,
    /// Messages at another broker.
    pub mqtt: Option<MqttConfig>,
    /// Points in InfluxDB, or what else takes line protocol.
    pub influx: Option<InfluxConfig>,
}

/// A forward cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("forward {name}: {message}")]
pub struct ForwardConfigError {
    /// Its name.
    pub name: SourceId,
    /// What is wrong, and what to do.
    pub message: String,
}

fn first() -> String {
    "first".to_owned()
}

impl ForwardConfig {
    /// The destination, secrets and files read. Connects to nothing.
    ///
    /// # Errors
    /// When there is none, or several, or its settings cannot be used.
    pub fn destination(&self) -> Result<Destination, ForwardConfigError> {
        let of_influx = self.influx.as_ref().map(InfluxConfig::destination);
        let of_kafka = self.kafka.as_ref().map(KafkaConfig::destination);
        let of_mqtt = self.mqtt.as_ref().map(|mqtt| mqtt.destination(self.name));
        let of_parquet = self.parquet.as_ref().map(|parquet| parquet.destination(self.name));
        let of_postgres = self.postgres.as_ref().map(|postgres| postgres.destination(self.name));
        let of_webhook = self.webhook.as_ref().map(WebhookConfig::destination);
        let mut all = [of_influx, of_kafka, of_mqtt, of_parquet, of_postgres, of_webhook].into_iter().flatten();
        let destination = match (all.next(), all.next()) {
            (Some(one), None) => one,
            (None, _) => {
                let kinds = "influx, kafka, mqtt, parquet, postgres, webhook";
                Err(format!("has no destination; add [forward.KIND] with one of these kinds: {kinds}"))
            }
            (Some(_), Some(_)) => {
                Err("has several destinations; keep one, and add a forward for each of the others".to_owned())
            }
        };
        destination.map_err(|message| self.mistake(&message))
    }

    /// The filter.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn filter(&self) -> Result<Filter, ForwardConfigError> {
        let mut filter = self.filter.clone();
        if self.webhook.as_ref().is_some_and(|webhook| webhook.episodes) {
            if filter.kind.is_some() || filter.severity.is_some() {
                let why = "filter: `type` and `severity` cannot be set with webhook.episodes, which needs breakdowns \
                           and what ends them; remove them";
                return Err(self.mistake(why));
            }
            filter.kind = Some("breakdown,recovery,state".to_owned());
        }
        filter.fresh().map_err(|error| self.mistake(&format!("filter: {error}")))
    }

    /// The start.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from(&self) -> Result<Start, ForwardConfigError> {
        let start: Start = self.from.parse().map_err(|error| self.mistake(&format!("from: {error}")))?;
        if start.to_come(clock::wall()).is_some() {
            return Err(self.mistake("from: the time is in the future; use `end`"));
        }
        Ok(start)
    }

    /// That a secret leaves this machine unencrypted.
    pub fn warning(&self) -> Option<String> {
        let all = [
            self.influx.as_ref().and_then(InfluxConfig::open_secret),
            self.kafka.as_ref().and_then(KafkaConfig::open_secret),
            self.mqtt.as_ref().and_then(MqttConfig::open_secret),
            self.webhook.as_ref().and_then(WebhookConfig::open_secret),
        ];
        let (key, remedy) = all.into_iter().flatten().next()?;
        Some(format!("forward {}: {key} is sent unencrypted; {remedy}", self.name))
    }

    /// A mistake in this forward.
    fn mistake(&self, message: &str) -> ForwardConfigError {
        ForwardConfigError { name: self.name, message: message.to_owned() }
    }
}

/// Checks all forwards; returns the first mistake.
pub(crate) fn check(forwards: &[ForwardConfig]) -> Result<(), ForwardConfigError> {
    for (at, forward) in forwards.iter().enumerate() {
        if at >= FORWARDS_MAX {
            return Err(forward.mistake(&format!("is one too many; the limit is {FORWARDS_MAX} forwards")));
        }
        if forwards[..at].iter().any(|before| before.name == forward.name) {
            return Err(forward.mistake("is listed twice; choose another name"));
        }
        forward.filter()?;
        forward.from()?;
    }
    Ok(())
}
