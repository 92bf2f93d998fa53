//! `check`: reports everything that a start would refuse, all at once, and starts nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use afferent_host::stop;
use tokio::runtime::Handle;

use super::{RunError, broker_settings};
use crate::config::Config;
use crate::data_directory::{DataDirectory, DataDirectoryError};
use crate::endpoint::BindError;
use crate::forward::config::ForwardConfig;
use crate::forward::sink::SinkContext;

/// The scope of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that a start needs.
    Start,
    /// Everything that SIGHUP reads: ports and data directory are in use by the running collector.
    Reload,
}

/// Checks everything that the configuration names; returns all errors.
pub fn check(config: &Config, scope: Scope) -> Vec<RunError> {
    let mut wrong = Vec::new();
    wrong.extend(check_access(config).err());
    let forwards = config.forward.iter().filter_map(|forward| forward.destination().err());
    wrong.extend(forwards.map(|error| RunError::Config(error.into())));
    if scope == Scope::Reload {
        return wrong;
    }
    wrong.extend(DataDirectory::probe(&config.data).err().map(RunError::from));
    if config.broker.is_none()
        && let Err(error) = listen(config.mqtt.listen)
    {
        wrong.push(BindError::Listen { listen: config.mqtt.listen, error }.into());
    }
    if let Err(error) = listen(config.http.listen) {
        wrong.push(RunError::Http { listen: config.http.listen, error });
    }
    if let Some(file) = &config.attest.file {
        wrong.extend(attest_file(file).err().map(RunError::from));
    }
    wrong
}

/// Tries the connections to the broker, if there is one, and to the destinations of all forwards; `say` gets the answer of
/// each hop. Returns what failed.
pub async fn connect(config: &Config, mut say: impl FnMut(&str)) -> Vec<String> {
    let mut failed = Vec::new();
    match broker_settings(config) {
        Ok(Some(settings)) => failed.extend(crate::broker::probe(&settings, &mut say).await.err()),
        Ok(None) => say("agents connect to this collector: there is no broker to test"),
        Err(error) => failed.push(error.to_string()),
    }
    for forward in &config.forward {
        match probe(forward).await {
            Ok(found) => say(&format!("forward {}: {found}", forward.name)),
            Err(error) => failed.push(format!("forward {}: {error}", forward.name)),
        }
    }
    failed
}

/// Tries the connection to the destination of a forward; returns what was found.
async fn probe(forward: &ForwardConfig) -> Result<String, String> {
    let mut destination = forward.destination().map_err(|error| error.to_string())?;
    let (name, runtime) = (forward.name, Handle::current());
    let probed = tokio::task::spawn_blocking(move || {
        let (_switch, stopping) = stop::channel();
        let found = destination.sink.probe(&SinkContext::for_probe(name, runtime, stopping));
        found.map(|found| format!("{} {found}", destination.target))
    });
    probed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn check_access(config: &Config) -> Result<(), RunError> {
    match broker_settings(config)? {
        Some(settings) => settings.check()?,
        None => config.endpoint()?.check()?,
    }
    Ok(())
}

/// Whether a port is free; it is released at once.
fn listen(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

/// Whether the file for attestations can be appended to; a missing file is not created.
fn attest_file(file: &Path) -> Result<(), DataDirectoryError> {
    let failed = |error| DataDirectoryError::Io { what: format!("cannot open attest.file {}", file.display()), error };
    match std::fs::OpenOptions::new().append(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            crate::data_directory::try_writing(folder).map_err(failed)
        }
        opened => opened.map(drop).map_err(failed),
    }
}
