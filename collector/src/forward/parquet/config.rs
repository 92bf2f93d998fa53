//! `[forward.parquet]` in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use afferent_host::secret::Secret;
use serde::Deserialize;

use crate::limits::{PARQUET_EVERY_MAX_S, PARQUET_ROWS_MAX};

/// Files of events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// A directory of this machine, which exists.
    pub directory: Option<PathBuf>,
    /// A bucket instead.
    pub s3: Option<S3Config>,
    /// Seconds that a part waits for more events.
    pub every_s: Option<f64>,
    /// Largest number of events of a part.
    pub rows_max: Option<usize>,
    /// Seconds that one operation of the directory or the bucket may take.
    pub timeout_s: Option<f64>,
}

/// An S3-compatible bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// The folder in it; the bucket itself without it.
    #[serde(default)]
    pub prefix: String,
    /// Its region.
    pub region: Option<String>,
    /// The URL of the service, as `https://minio.example:9000`; that of AWS without it.
    pub endpoint: Option<String>,
    /// The id of the access key.
    pub key_id: String,
    /// The access key.
    pub secret: Secret,
    /// The token of a temporary access key.
    pub token: Option<Secret>,
    /// The CA of the service's certificate; the system's without it.
    pub ca: Option<PathBuf>,
    /// Allows an endpoint without TLS that is not on this machine.
    #[serde(default)]
    pub allow_http: bool,
}

/// How parts are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PartSettings {
    pub every: Duration,
    pub rows_max: usize,
    pub timeout: Duration,
}

const EVERY_S: f64 = 60.0;
const TIMEOUT_S: f64 = 60.0;

impl ParquetConfig {
    /// How parts are made.
    pub(super) fn settings(&self) -> Result<PartSettings, String> {
        if self.directory.is_some() == self.s3.is_some() {
            return Err("set either `directory` or `s3`".to_owned());
        }
        let every = seconds("every_s", self.every_s.unwrap_or(EVERY_S), PARQUET_EVERY_MAX_S)?;
        let timeout = seconds("timeout_s", self.timeout_s.unwrap_or(TIMEOUT_S), 600.0)?;
        let rows_max = self.rows_max.unwrap_or(PARQUET_ROWS_MAX);
        if !(1..=PARQUET_ROWS_MAX).contains(&rows_max) {
            return Err(format!("rows_max is {rows_max}; it must be from 1 to {PARQUET_ROWS_MAX}"));
        }
        Ok(PartSettings { every, rows_max, timeout })
    }
}

fn seconds(key: &str, given: f64, max: f64) -> Result<Duration, String> {
    if !(0.1..=max).contains(&given) {
        return Err(format!("{key} is {given}; it must be from 0.1 to {max}"));
    }
    Ok(Duration::from_secs_f64(given))
}
