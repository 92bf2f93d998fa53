//! The way to the collector, out of a configuration: where it is, and what is read from files before each connection.

use std::path::Path;

use afferent_host::url::BrokerUrl;
use afferent_protocol::sign::sha256;

use crate::config::Config;
use crate::ship::{Credentials, Refresh, ShipSettings, TlsFiles};
use crate::trouble::Troubles;
use crate::trust::TrustSettings;

/// What the transport needs. Nothing is read yet.
pub(super) fn ship_settings(config: &Config, troubles: &Troubles) -> ShipSettings {
    let BrokerUrl { tls: is_secure, host, port } = config.ship.url.clone();
    let trust = TrustSettings { keys: config.ship.collector_keys.clone(), trust_first: config.trusts_first() };
    let read = config.clone();
    let refresh = Some(Refresh::new(is_secure, troubles.clone(), move || credentials(&read)));
    ShipSettings { agent: config.agent.name, host, port, login: None, tls: None, trust, refresh }
}

/// Login and TLS, as the files are now.
pub(crate) fn credentials(config: &Config) -> Result<Credentials, String> {
    let ship = &config.ship;
    let own = ship.cert_file.clone().zip(ship.key_file.clone());
    let files = TlsFiles { ca: ship.ca_file.clone(), own };
    let tls = ship.url.tls.then(|| files.load()).transpose().map_err(|error| format!("TLS: {error}"))?;
    let login = match (&ship.username, &ship.password) {
        (None, _) => None,
        (Some(user), None) => Some((user.clone(), String::new())),
        (Some(user), Some(password)) => {
            let secret = password.read().map_err(|error| error.to_string())?;
            Some((user.clone(), secret.reveal().to_owned()))
        }
    };
    let mut all: Vec<u8> = login
        .iter()
        .flat_map(|(user, password)| [sha256(user.as_bytes()), sha256(password.as_bytes())])
        .flatten()
        .collect();
    let hashed = |path: &Path| std::fs::read(path).map(|bytes| sha256(&bytes)).unwrap_or_default();
    all.extend([&ship.ca_file, &ship.cert_file, &ship.key_file].into_iter().flatten().flat_map(|path| hashed(path)));
    Ok(Credentials { login, tls, stamp: sha256(&all) })
}
