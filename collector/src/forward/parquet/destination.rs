//! From the settings to the sink.

use afferent_protocol::ids::SourceId;

use super::super::sink::Destination;
use super::config::{ParquetConfig, PartSettings};

impl ParquetConfig {
    /// The destination of the forward `name`, secrets and files read.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    pub fn destination(&self, name: SourceId) -> Result<Destination, String> {
        self.settings()
            .and_then(|settings| self.of_build(name, settings))
            .map_err(|message| format!("parquet: {message}"))
    }

    #[cfg(feature = "parquet")]
    fn of_build(&self, name: SourceId, settings: PartSettings) -> Result<Destination, String> {
        let place = super::store::Place::new(self)?;
        // Reads secrets and files: a mistake in them is one of the configuration.
        place.connect(settings.timeout)?;
        let target = place.to_string();
        let sink = super::sink::ParquetSink::new(name, place, settings);
        let is_kept_there = sink.keeps_checkpoint();
        Ok(Destination { kind: "parquet", target, is_kept_there, sink: Box::new(sink) })
    }

    #[cfg(not(feature = "parquet"))]
    fn of_build(&self, _: SourceId, _: PartSettings) -> Result<Destination, String> {
        Err("this collector was built without the feature `parquet`; use a build that has it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        let config: ParquetConfig = toml::from_str(text).unwrap();
        config.destination(SourceId::literal("lake")).err().unwrap_or_default()
    }

    #[test]
    fn mistakes_name_their_key() {
        assert!(mistake("").contains("either `directory` or `s3`"));
        assert!(mistake("directory = '/tmp'\nevery_s = 0").contains("every_s is 0"));
        assert!(mistake("directory = '/tmp'\nrows_max = 0").contains("rows_max is 0"));
        assert!(mistake("directory = '/tmp'\ntimeout_s = 1e9").contains("timeout_s"));
        assert!(toml::from_str::<ParquetConfig>("folder = '/tmp'").is_err());
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn a_build_without_the_feature_says_so() {
        assert!(mistake("directory = '/tmp'").contains("without the feature `parquet`"));
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn a_bucket_needs_its_secret_and_tls_beyond_this_machine() {
        let s3 = |more: &str| {
            format!("[s3]\nbucket = 'plant'\nkey_id = 'a'\nsecret = {{ file = '/nonexistent/key' }}\n{more}")
        };
        assert!(mistake(&s3("")).contains("/nonexistent/key"));
        assert!(mistake(&s3("endpoint = 'http://192.0.2.1:9000'")).contains("allow_http"));
        assert!(mistake(&s3("endpoint = 'minio'")).contains("endpoint"));
    }
}
