//! Looks for everything that would keep a configuration from working: in the files that it names, on this machine
//! ([`everything`]), and on the way to the collector ([`connect`]).

mod connect;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_host::lock::holder_of;
use rustix::fs::{Access, access, statvfs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificate::Certificate;
use crate::config::{Config, ExecConfig, FileConfig, SerialConfig};
use crate::intake::serial::port::Address;
use crate::keep::LOCK_FILE;
pub use connect::connect;

/// What is wrong, each with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{} of these must be mended:\n- {}", .0.len(), .0.join("\n- "))]
pub struct Problems(pub Vec<String>);

/// Looks at everything that can be seen without a connection.
pub fn everything(config: &Config) -> Result<(), Problems> {
    let mut found = Vec::new();
    let mut look = |result: Result<(), String>| found.extend(result.err());
    look(crate::run::credentials(config).map(drop));
    look(own_certificate(config));
    look(authorities(config));
    look(writable(&config.agent.data_dir, "agent.data_dir"));
    look(room(config));
    if let Some(socket) = config.socket_settings() {
        let directory = socket.path.as_deref().and_then(Path::parent).filter(|path| *path != config.agent.data_dir);
        directory.into_iter().for_each(|directory| look(writable(directory, "intake.socket.path")));
        // An agent that runs here holds its own ports.
        if holder_of(&config.agent.data_dir, LOCK_FILE).is_none() {
            socket.tcp.into_iter().for_each(|tcp| look(free(tcp, "intake.socket.tcp")));
        }
    }
    if holder_of(&config.agent.data_dir, LOCK_FILE).is_none() {
        config.http.address.into_iter().for_each(|address| look(free(address, "http.address")));
    }
    config.intake.exec.iter().for_each(|exec| look(program(exec)));
    config.intake.file.iter().for_each(|file| look(recorded(file)));
    config.intake.serial.iter().for_each(|serial| look(port(serial)));
    if found.is_empty() { Ok(()) } else { Err(Problems(found)) }
}

/// Whether a child's program is there and can be run.
pub fn program(exec: &ExecConfig) -> Result<(), String> {
    let program = exec.command.first().map_or("", String::as_str);
    let can_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let is_there = if program.contains('/') {
        can_run(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| can_run(&directory.join(program)))
    };
    let name = &exec.name;
    if is_there {
        Ok(())
    } else {
        Err(format!("`intake.exec.command` of {name:?}: there is no program {program} that can be run"))
    }
}

/// Whether a recorded file can be read.
pub fn recorded(file: &FileConfig) -> Result<(), String> {
    let opened = File::open(&file.path);
    opened.map(drop).map_err(|error| format!("`intake.file.path` {}: {error}", file.path.display()))
}

fn port(serial: &SerialConfig) -> Result<(), String> {
    match serial.port.parse::<Address>() {
        Ok(Address::Device(path) | Address::Unix(path)) => access(&path, Access::READ_OK | Access::WRITE_OK)
            .map_err(|error| format!("`intake.serial.port` {}: {error}; is it plugged in?", path.display())),
        _ => Ok(()),
    }
}

/// Whether the directory, or the nearest one above it that there is, can be written.
fn writable(directory: &Path, key: &str) -> Result<(), String> {
    let here = Path::new(".");
    let above = directory.ancestors().map(|path| if path.as_os_str().is_empty() { here } else { path });
    let Some(nearest) = above.into_iter().find(|path| path.exists()) else { return Ok(()) };
    let refused = |why: String| format!("`{key}`: {why}; the agent needs a directory there that it can write");
    if !nearest.is_dir() {
        return Err(refused(format!("{} is no directory", nearest.display())));
    }
    access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| refused(format!("{} cannot be written: {error}", nearest.display())))
}

/// Whether the disk takes the whole ring log.
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
        "`ring.pool_bytes` is {pool}, and the disk of {} has room for {room} bytes: take less, or free some",
        data.display()
    ))
}

fn free(address: SocketAddr, key: &str) -> Result<(), String> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| format!("`{key}` {address}: {error}; is another program using it?"))
}

fn certificates(path: &Path) -> Vec<Certificate> {
    let found = CertificateDer::pem_file_iter(path).into_iter().flatten().flatten();
    found.filter_map(|der| Certificate::read(&der)).collect()
}

/// Whether the agent's certificate is good now, and is its own.
fn own_certificate(config: &Config) -> Result<(), String> {
    let Some(path) = &config.ship.cert_file else { return Ok(()) };
    let Some(certificate) = certificates(path).into_iter().next() else { return Ok(()) };
    is_good_now(&certificate, "ship.cert_file", path)?;
    let (name, shown) = (config.agent.name.as_str(), certificate.common_name.unwrap_or_default());
    if shown == name {
        return Ok(());
    }
    Err(format!(
        "`ship.cert_file` {}: its common name is {shown:?}, and `agent.name` is {name:?}: a collector knows an agent by \
         its certificate, and takes nothing under another name",
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
    Err(format!("`{key}` {}: the certificate {what}; renew it, or set this machine's clock", path.display()))
}
