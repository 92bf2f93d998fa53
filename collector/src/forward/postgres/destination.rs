//! From the settings to the sink.

use afferent_protocol::ids::SourceId;

use super::super::sink::Destination;
use super::config::PostgresConfig;

impl PostgresConfig {
    /// The destination of the forward of this name, secrets and files read.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    #[cfg(feature = "postgres")]
    pub fn destination(&self, name: SourceId) -> Result<Destination, String> {
        let settings = super::settings::Settings::new(self, name).map_err(|message| format!("postgres: {message}"))?;
        let (target, sink) = (settings.target.clone(), super::sink::PostgresSink::new(settings));
        Ok(Destination { kind: "postgres", target, is_kept_there: true, sink: Box::new(sink) })
    }

    /// The destination, which this collector lacks.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "postgres"))]
    pub fn destination(&self, _: SourceId) -> Result<Destination, String> {
        Err("this collector was built without the feature `postgres`; install one that was built with it".to_owned())
    }
}
