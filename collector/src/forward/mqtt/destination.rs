//! From the settings to the sink.

use afferent_protocol::ids::SourceId;

use super::super::sink::Destination;
use super::config::MqttConfig;
use super::sink::MqttSink;

impl MqttConfig {
    /// The destination, secrets and files read.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    pub fn destination(&self, forward: SourceId) -> Result<Destination, String> {
        let settings = self.settings(forward).map_err(|message| format!("mqtt: {message}"))?;
        Ok(Destination {
            kind: "mqtt",
            target: settings.target.clone(),
            is_kept_there: false,
            sink: Box::new(MqttSink::new(settings)),
        })
    }
}
