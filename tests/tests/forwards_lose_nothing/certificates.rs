//! Which certificates a destination may show.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{Authority, Certificate, Process, Rig, free_address, wait_for};

use super::plant::{order, report, wait_delivered};

/// Serves TLS in front of a server, one connection after another.
fn start_tls(rig: &Rig, address: SocketAddr, certificate: &Certificate, server: SocketAddr) -> Process {
    let mut socat = Command::new("socat");
    socat.arg(format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,reuseaddr,verify=0,cert={},key={}",
        address.port(),
        certificate.cert.display(),
        certificate.key.display()
    ));
    Process::start("socat", socat.arg(format!("TCP:{server}")), &rig.folder.join("socat.log"))
}

/// Has a forward of this name deliver to a server over TLS, by its configuration for an address and a CA: an expired
/// certificate and one of another CA are errors that say so, and nothing is delivered until there is a good one. Returns
/// the rig, whose log is delivered, and what runs of it.
pub fn check_certificates(
    rig_name: &str,
    name: &str,
    server: SocketAddr,
    configured: impl FnOnce(SocketAddr, &Path) -> String,
) -> (Rig, [Process; 2]) {
    let mut rig = Rig::new(rig_name);
    let (own, other) = (Authority::new(&rig.folder, "own-ca"), Authority::new(&rig.folder, "other-ca"));
    let address = free_address();
    rig.collector_extra = configured(address, &own.ca);
    let running = [rig.start_collector(), rig.start_agent()];
    rig.break_down("E1");
    rig.wait_logged("E1");
    for (certificate, says) in [
        (own.issue_for("expired", 1975..2020), Some(["expired", "Expired"])),
        (other.issue("other"), Some(["UnknownIssuer", "CA that this side does not trust"])),
        (own.issue("own"), None),
    ] {
        let mut tls = start_tls(&rig, address, &certificate, server);
        wait_for(&format!("{says:?}: {:?}", report(&rig, name)), || {
            if tls.ended().is_some() {
                tls = start_tls(&rig, address, &certificate, server);
            }
            let report = report(&rig, name)?;
            let error = report["last_error"].as_str().unwrap_or_default();
            let is_said = match says {
                Some(says) => says.iter().any(|says| error.contains(says)) && error.contains(&address.to_string()),
                None => report["delivered"] != 0,
            };
            assert!(is_said || says.is_none() || report["delivered"] == 0, "{report}");
            if !is_said && report["state"] == "retrying" {
                order(&rig, name, "resume", None);
            }
            is_said.then_some(())
        });
        if says.is_none() {
            wait_delivered(&rig, name);
        }
    }
    (rig, running)
}
