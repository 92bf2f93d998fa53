//! SIGHUP: reads the configuration again, and applies the changes that a running collector can take.
//!
//! These are users, passwords and certificates: all of them are read and checked before any of them is in use, so that
//! a mistake leaves everything unchanged. Other changes take effect at the next start, and are listed.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broker::BrokerDoor;
use crate::config::{Config, ConfigError};
use crate::endpoint::Gate;

use super::{RunError, broker_settings, system};

/// The receiver of changes to a running collector.
pub(super) enum ReloadTarget {
    /// The endpoint.
    Endpoint(Arc<Gate>),
    /// The client of the broker.
    Broker(BrokerDoor),
}

/// Handles SIGHUP from now on: one that comes while the collector is still starting must not kill it.
pub(super) fn hangups() -> Result<Signal, RunError> {
    signal(SignalKind::hangup()).map_err(system("a handler for SIGHUP"))
}

/// Reloads the configuration at every SIGHUP, for as long as signals can be received.
pub(super) async fn on_hangup(
    mut hangups: Signal,
    door: &ReloadTarget,
    mut running: Config,
    again: impl Fn() -> Result<Config, ConfigError>,
) {
    while hangups.recv().await.is_some() {
        let taken = again().map_err(RunError::from).and_then(|fresh| {
            take(door, &running, &fresh)?;
            Ok(fresh)
        });
        match taken {
            // All other settings keep the running values: the next SIGHUP is compared with them.
            Ok(fresh) => running.mqtt.user = fresh.mqtt.user,
            Err(error) => {
                tracing::error!("SIGHUP: {error}; the previous users, passwords and certificates stay in use")
            }
        }
    }
}

fn take(door: &ReloadTarget, running: &Config, fresh: &Config) -> Result<(), RunError> {
    match (door, broker_settings(fresh)?) {
        (ReloadTarget::Endpoint(gate), None) => {
            let settings = fresh.endpoint()?;
            let ended = gate.replace(&settings)?;
            let users = fresh.mqtt.user.len();
            tracing::info!(users, tls = settings.tls.is_some(), ended, "SIGHUP: reloaded users and certificates");
        }
        (ReloadTarget::Broker(door), Some(settings)) => {
            door.replace(&settings)?;
            tracing::info!("SIGHUP: reloaded login and certificates for the broker");
        }
        // Listed below with all other changes.
        (ReloadTarget::Endpoint(_), Some(_)) | (ReloadTarget::Broker(_), None) => {}
    }
    let changed = changed(running, fresh);
    if !changed.is_empty() {
        tracing::warn!(changed = changed.join(", "), "SIGHUP: these changes take effect at the next start");
    }
    Ok(())
}

/// The changed settings that need a start.
fn changed(running: &Config, fresh: &Config) -> Vec<&'static str> {
    let keys = |config: &Config| {
        let Config { data, name, broker, mqtt, http, names, storage, retention, attest, model, forward, log, .. } =
            config;
        [
            ("data", format!("{data:?}")),
            ("name", format!("{name:?}")),
            ("broker", format!("{broker:?}")),
            ("mqtt.listen", format!("{:?}", mqtt.listen)),
            ("mqtt.connections_max", format!("{:?}", mqtt.connections_max)),
            ("mqtt.handshake_s_max", format!("{:?}", mqtt.handshake_s_max)),
            ("http", format!("{http:?}")),
            ("names", format!("{names:?}")),
            ("storage", format!("{storage:?}")),
            ("retention", format!("{retention:?}")),
            ("attest", format!("{attest:?}")),
            ("model", format!("{model:?}")),
            ("forward", format!("{forward:?}")),
            ("log", format!("{log:?}")),
        ]
    };
    let pairs = keys(running).into_iter().zip(keys(fresh));
    pairs.filter(|(running, fresh)| running.1 != fresh.1).map(|(running, _)| running.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_start_is_named_and_users_are_not_among_it() {
        let parse = |text: &str| Config::parse(text, std::path::Path::new("x.toml")).unwrap();
        let running = parse("");
        let user = "[[mqtt.user]]\nname = \"press-88\"\npassword = { env = \"P\" }\n";
        assert!(changed(&running, &parse(user)).is_empty());
        let fresh = parse("name = \"c\"\n[http]\nlisten = \"127.0.0.1:1\"\n[retention]\nage = \"3d\"\n");
        assert_eq!(changed(&running, &fresh), ["name", "http", "retention"]);
    }
}
