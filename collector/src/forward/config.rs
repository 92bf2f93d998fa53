//! `[[forward]]` in the configuration.
//!
//! ```toml
//! [[forward]]
//! name = "work-orders"
//! from = "end"                        # where a new forward begins: first (the default), end, an offset or a time
//! filter = { type = "breakdown", subject = "88-C/**" }   # as in GET /v1/events; by default all events
//! [forward.webhook]                   # one destination: webhook, parquet
//! url = "https://cmms.example/hooks/afferent"
//! ```

use afferent_host::clock;
use afferent_protocol::ids::SourceId;
use serde::Deserialize;

use super::parquet::ParquetConfig;
use super::sink::Sink;
use super::webhook::WebhookConfig;
use crate::config::ConfigError;
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
    /// HTTP requests.
    pub webhook: Option<WebhookConfig>,
    /// Files in a directory or a bucket.
    pub parquet: Option<ParquetConfig>,
}

fn first() -> String {
    "first".to_owned()
}

/// Where a forward delivers to.
pub struct Destination {
    /// `webhook`, and so on.
    pub kind: &'static str,
    /// The destination for people, and to tell whether it has changed; without secrets.
    pub target: String,
    /// Whether it keeps the checkpoint with the events.
    pub is_kept_there: bool,
    /// The sink.
    pub sink: Box<dyn Sink>,
}

impl ForwardConfig {
    /// The destination, secrets and files read. Connects to nothing.
    ///
    /// # Errors
    /// When there is none, or several, or its settings cannot be used.
    pub fn destination(&self) -> Result<Destination, ConfigError> {
        let all = [("webhook", self.webhook.is_some()), ("parquet", self.parquet.is_some())];
        let given: Vec<&str> = all.iter().filter(|(_, is_given)| *is_given).map(|(kind, _)| *kind).collect();
        if given.len() > 1 {
            let why =
                format!("has {} destinations ({}); give each a forward of its own", given.len(), given.join(", "));
            return Err(self.mistake(&why));
        }
        let destination = match (&self.webhook, &self.parquet) {
            (Some(webhook), _) => webhook.destination(),
            (_, Some(parquet)) => parquet.destination(self.name),
            (None, None) => Err("has no destination; add one of [forward.webhook], [forward.parquet]".to_owned()),
        };
        destination.map_err(|message| self.mistake(&message))
    }

    /// The filter.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn filter(&self) -> Result<Filter, ConfigError> {
        let mut filter = self.filter.clone();
        if self.webhook.as_ref().is_some_and(|webhook| webhook.episodes) {
            if filter.kind.is_some() || filter.severity.is_some() {
                let why = "filter: `type` and `severity` cannot be set with webhook.episodes, which needs breakdowns and \
                           what ends them; remove them";
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
    pub fn from(&self) -> Result<Start, ConfigError> {
        let start: Start = self.from.parse().map_err(|error| self.mistake(&format!("from: {error}")))?;
        if start.to_come(clock::wall()).is_some() {
            return Err(self.mistake("from: the time is in the future; use `end`"));
        }
        Ok(start)
    }

    /// A mistake in this forward.
    fn mistake(&self, message: &str) -> ConfigError {
        ConfigError::Forward { name: self.name, message: message.to_owned() }
    }
}

/// Checks all forwards; returns the first mistake.
pub(crate) fn check(forwards: &[ForwardConfig]) -> Result<(), ConfigError> {
    if forwards.len() > FORWARDS_MAX {
        let message = format!("there are {}; the limit is {FORWARDS_MAX}", forwards.len());
        return Err(ConfigError::Together { key: "forward", message });
    }
    for (at, forward) in forwards.iter().enumerate() {
        if forwards[..at].iter().any(|before| before.name == forward.name) {
            return Err(forward.mistake("is listed twice; choose another name"));
        }
        forward.filter()?;
        forward.from()?;
    }
    Ok(())
}
