//! `[forward.mqtt]` in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use afferent_host::secret::Secret;
use afferent_host::url::{BrokerUrl, is_this_machine};
use afferent_protocol::ids::SourceId;
use rumqttc::v5::MqttOptions;
use rumqttc::{TlsConfiguration, Transport};
use serde::Deserialize;

use super::topic::TopicTemplate;
use crate::limits::{
    BROKER_HANDSHAKE_S_MAX, BROKER_KEEP_ALIVE, MQTT_CLIENT_ID_BYTES_MAX, MQTT_EVENTS_MAX, MQTT_IN_FLIGHT_MAX,
    MQTT_INCOMING_BYTES_MAX,
};
use crate::tls_client;

/// Seconds that the broker may take for a confirmation, unless configured otherwise.
const TIMEOUT_S: f64 = 30.0;

/// Messages at another broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// The broker.
    pub url: BrokerUrl,
    /// The topic of an event: a template with `{machine}`, `{source}`, `{subject}`, `{type}`.
    pub topic: String,
    /// Whether the broker keeps the last message of each topic.
    #[serde(default)]
    pub retain: bool,
    /// The client id; `afferent-` and the forward's name without it.
    pub client_id: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The CA of the broker's certificate; the system's without it.
    pub ca: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Seconds that the broker may take to confirm a message.
    pub timeout_s: Option<f64>,
    /// Largest number of events of one part.
    pub events_max: Option<usize>,
}

/// The settings of a sink, secrets and files read.
pub(super) struct Settings {
    pub options: MqttOptions,
    /// The destination for people.
    pub target: String,
    pub topic: TopicTemplate,
    pub retain: bool,
    pub timeout: Duration,
    pub events_max: usize,
}

impl MqttConfig {
    /// The settings of a sink, secrets and files read.
    pub(super) fn settings(&self, forward: SourceId) -> Result<Settings, String> {
        let timeout_s = self.timeout_s.unwrap_or(TIMEOUT_S);
        if !(0.1..=600.0).contains(&timeout_s) {
            return Err(format!("timeout_s is {timeout_s}; it must be from 0.1 to 600"));
        }
        let events_max = self.events_max.unwrap_or(MQTT_EVENTS_MAX);
        if !(1..=MQTT_EVENTS_MAX).contains(&events_max) {
            return Err(format!("events_max is {events_max}; it must be from 1 to {MQTT_EVENTS_MAX}"));
        }
        Ok(Settings {
            options: self.options(forward)?,
            target: format!("{} {}", self.url, self.topic),
            topic: TopicTemplate::new(&self.topic)?,
            retain: self.retain,
            timeout: Duration::from_secs_f64(timeout_s),
            events_max,
        })
    }

    /// The secret that leaves this machine unencrypted, and what to do.
    pub(in crate::forward) fn open_secret(&self) -> Option<(&'static str, &'static str)> {
        let is_open = self.password.is_some() && !self.url.tls && !is_this_machine(&self.url.host);
        is_open.then_some(("mqtt.password", "use an mqtts:// URL in `url`"))
    }

    fn options(&self, forward: SourceId) -> Result<MqttOptions, String> {
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("afferent-{forward}"));
        if client_id.is_empty() || client_id.len() > MQTT_CLIENT_ID_BYTES_MAX {
            let bytes = client_id.len();
            return Err(format!("client_id has {bytes} bytes; it must have 1 to {MQTT_CLIENT_ID_BYTES_MAX}"));
        }
        let mut options = MqttOptions::new(client_id, self.url.host.clone(), self.url.port);
        options.set_keep_alive(BROKER_KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_connection_timeout(BROKER_HANDSHAKE_S_MAX);
        options.set_max_packet_size(Some(MQTT_INCOMING_BYTES_MAX));
        options.set_outgoing_inflight_upper_limit(MQTT_IN_FLIGHT_MAX);
        match (&self.user, &self.password) {
            (Some(user), Some(password)) => {
                let password = password.read().map_err(|error| format!("password: {error}"))?;
                options.set_credentials(user.clone(), password.reveal().to_owned());
            }
            (None, None) => {}
            _ => return Err("user and password go together; set both or neither".to_owned()),
        }
        let own = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err("cert and key go together; set both or neither".to_owned()),
        };
        if self.url.tls {
            let tls = tls_client::config(self.ca.as_deref(), own)?;
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        } else if self.ca.is_some() || own.is_some() {
            return Err("ca, cert and key need an mqtts:// URL in `url`".to_owned());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let config: MqttConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.settings(SourceId::literal("uns"))
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        let good = "url = \"mqtt://b.example\"\ntopic = \"works/{subject}\"\n";
        let made = settings(good).unwrap();
        assert_eq!(
            (&*made.target, made.options.client_id()),
            ("mqtt://b.example:1883 works/{subject}", "afferent-uns".to_owned())
        );
        for (more, said) in [
            ("user = \"a\"", "user and password go together"),
            ("cert = \"a\"", "cert and key go together"),
            ("ca = \"a\"", "need an mqtts:// URL"),
            ("client_id = \"\"", "client_id has 0 bytes"),
            ("timeout_s = 0.0", "timeout_s is 0"),
            ("events_max = 0", "events_max is 0"),
            ("password = \"a\"", "a secret does not stand in the configuration"),
            ("retained = true", "unknown field"),
        ] {
            let error = settings(&format!("{good}{more}")).err().unwrap();
            assert!(error.contains(said), "{more}: {error}");
        }
        let own = settings("url = \"mqtt://b.example\"\ntopic = \"afferent/x\"").err().unwrap();
        assert!(own.contains("tree of agents and collectors"), "{own}");
        let login = settings("url = \"mqtt://u:hush@b.example\"\ntopic = \"a/b\"").err().unwrap();
        assert!(login.contains("login and files have separate keys"), "{login}");
    }
}
