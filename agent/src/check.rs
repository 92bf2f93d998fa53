//! Checks everything that may keep a configuration from working: the files that it names, this machine
//! ([`everything`]), and the connection to the collector ([`connect`]).

mod connect;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_host::lock::holder_of;
use rustix::fs::statvfs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::Certificate;
use crate::config::Config;
use crate::intake::kinds::Shared;
use crate::keep::LOCK_FILE;
use crate::look::{free, writable};
use crate::mailbox::Intake;
pub use connect::connect;

/// What is wrong, each with its remedy.
#[derive(Debug, thiserror::Error)]
#[error("{} problems:\n- {}", .0.len(), .0.join("\n- "))]
pub struct Problems(pub Vec<String>);

/// Checks everything that needs no connection.
pub fn everything(config: &Config) -> Result<(), Problems> {
    let mut found = Vec::new();
    let mut look = |result: Result<(), String>| found.extend(result.err());
    look(crate::run::credentials(config).map(drop));
    look(own_certificate(config));
    look(authorities(config));
    look(writable(&config.agent.data_dir, "agent.data_dir"));
    look(room(config));
    if holder_of(&config.agent.data_dir, LOCK_FILE).is_none() {
        config.http.address.into_iter().for_each(|address| look(free(address, "http.address")));
    }
    let home = config.home();
    // The shared state of the inputs is not used: none of them is opened.
    let wanted = Shared::default().wanted::<Intake>(&config.intake, &home);
    wanted.values().for_each(|input| look(input.look(&home)));
    if found.is_empty() { Ok(()) } else { Err(Problems(found)) }
}

/// Checks that the disk has room for the whole ring log.
fn room(config: &Config) -> Result<(), String> {
    let data = &config.agent.data_dir;
    let above = data.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(disk) = above.into_iter().find_map(|path| statvfs(path).ok()) else { return Ok(()) };
    let files = std::fs::read_dir(data.join("ring")).into_iter().flatten().flatten();
    let taken: u64 = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    let (room, pool) = (disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(taken), config.ring.pool_bytes.0);
    if room >= pool {
        return Ok(());
    }
    Err(format!(
        "`ring.pool_bytes` is {pool}, but the disk of {} has room for {room} bytes: lower it, or free some",
        data.display()
    ))
}

fn certificates(path: &Path) -> Vec<Certificate> {
    let found = CertificateDer::pem_file_iter(path).into_iter().flatten().flatten();
    found.filter_map(|der| Certificate::read(&der)).collect()
}

/// Checks that the agent's certificate is valid now and has the agent's name.
fn own_certificate(config: &Config) -> Result<(), String> {
    let Some(path) = &config.ship.cert_file else { return Ok(()) };
    let Some(certificate) = certificates(path).into_iter().next() else { return Ok(()) };
    is_good_now(&certificate, "ship.cert_file", path)?;
    let (name, shown) = (config.agent.name.as_str(), certificate.common_name.unwrap_or_default());
    if shown == name {
        return Ok(());
    }
    Err(format!(
        "`ship.cert_file` {}: its common name is {shown:?}, but `agent.name` is {name:?}: a collector identifies an \
         agent by its certificate, and rejects events under a different name",
        path.display()
    ))
}

fn authorities(config: &Config) -> Result<(), String> {
    let Some(path) = &config.ship.ca_file else { return Ok(()) };
    let all = certificates(path);
    all.iter().try_for_each(|certificate| is_good_now(certificate, "ship.ca_file", path))
}

fn is_good_now(certificate: &Certificate, key: &str, path: &Path) -> Result<(), String> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let days = |seconds: i64| seconds / 86_400;
    let what = match certificate {
        Certificate { not_after_s, .. } if *not_after_s < now_s => {
            format!("has expired, {} days ago", days(now_s - not_after_s))
        }
        Certificate { not_before_s, .. } if *not_before_s > now_s => {
            format!("is not valid yet, for {} days", days(not_before_s - now_s))
        }
        _ => return Ok(()),
    };
    Err(format!("`{key}` {}: the certificate {what}; renew it, or correct this machine's clock", path.display()))
}
