//! From the settings to the sink.

use super::super::sink::Destination;
use super::config::KafkaConfig;

impl KafkaConfig {
    /// The destination, secrets and files read. Connects to nothing.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    #[cfg(feature = "kafka")]
    pub fn destination(&self) -> Result<Destination, String> {
        let settings = super::client::Settings::read(self).map_err(|message| format!("kafka: {message}"))?;
        let target = settings.target.clone();
        let sink = Box::new(super::sink::KafkaSink::new(settings));
        Ok(Destination { kind: "kafka", target, is_kept_there: true, sink })
    }

    /// The destination: there is none without the feature.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "kafka"))]
    pub fn destination(&self) -> Result<Destination, String> {
        Err("this collector was built without the feature `kafka`; build it with `--features kafka`".to_owned())
    }
}
