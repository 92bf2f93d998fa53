//! Open files: how many the system grants the collector, and how they are shared out.
//!
//! Every connection is an open file, and the connections of agents and of readers draw from one limit. Each kind gets
//! its own share, so that no crowd on one side starves the other, or the log.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{FILES_MIN, FILES_OF_HTTP_CONNECTION, FILES_OWN, HTTP_CONNECTIONS_MAX, REFUSALS_AT_ONCE};

/// Limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections of agents.
    pub mqtt: usize,
    /// Connections of readers.
    pub http: usize,
}

/// The system grants the collector too few open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit is {files} open files, but the collector needs at least {FILES_MIN}; raise LimitNOFILE (ulimit -n)")]
pub struct TooFewFiles {
    /// The system's limit of open files.
    pub files: u64,
}

/// Raises the limit as far as the system permits (it is often 1,024 at first), and shares it out; `mqtt_max`
/// connections of agents are wanted.
pub fn share(mqtt_max: usize) -> Result<ConnectionLimits, TooFewFiles> {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let shares = shares(files, mqtt_max)?;
    if shares.mqtt < mqtt_max {
        let ConnectionLimits { mqtt, http } = shares;
        tracing::warn!(
            files,
            wanted = mqtt_max,
            mqtt,
            http,
            "the collector accepts fewer connections than configured: the limit of open files is too low; raise \
             LimitNOFILE (ulimit -n)"
        );
    }
    Ok(shares)
}

/// Readers get up to a quarter of what the log leaves, and agents the rest; a few files stay free to refuse connections
/// above the limits.
fn shares(files: u64, mqtt_max: usize) -> Result<ConnectionLimits, TooFewFiles> {
    if files < FILES_MIN {
        return Err(TooFewFiles { files });
    }
    let left = files - FILES_OWN - REFUSALS_AT_ONCE as u64;
    let http = (left / 4 / FILES_OF_HTTP_CONNECTION).min(HTTP_CONNECTIONS_MAX as u64);
    let mqtt = left - http * FILES_OF_HTTP_CONNECTION;
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(ConnectionLimits { mqtt: count(mqtt).min(mqtt_max), http: count(http) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_add_up_to_more_than_the_total() {
        for files in [FILES_MIN, 1024, 4096, 5000, 65_536, 1 << 30] {
            let ConnectionLimits { mqtt, http } = shares(files, 16_000).unwrap();
            let used = mqtt as u64 + FILES_OF_HTTP_CONNECTION * http as u64 + FILES_OWN + REFUSALS_AT_ONCE as u64;
            assert!(used <= files && mqtt > 0 && http >= 8, "{files}: {mqtt} and {http}");
        }
        assert_eq!(shares(1 << 20, 16_000).unwrap(), ConnectionLimits { mqtt: 16_000, http: HTTP_CONNECTIONS_MAX });
        assert_eq!(shares(FILES_MIN - 1, 16_000), Err(TooFewFiles { files: FILES_MIN - 1 }));
    }
}
