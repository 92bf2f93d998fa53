//! From the settings to the sink.

use super::super::sink::Destination;
use super::config::InfluxConfig;
use super::sink::InfluxSink;

impl InfluxConfig {
    /// The destination, secrets and files read.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    pub fn destination(&self) -> Result<Destination, String> {
        let settings = self.settings().map_err(|message| format!("influx: {message}"))?;
        Ok(Destination {
            kind: "influx",
            target: settings.target.clone(),
            is_kept_there: false,
            sink: Box::new(InfluxSink::new(settings)),
        })
    }
}
