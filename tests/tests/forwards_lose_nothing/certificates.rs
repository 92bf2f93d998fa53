//! Which certificates a destination may show.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{Authority, Certificate, Process, Rig, free_address, wait_for};

use super::plant::{order, wait_delivered, wait_error};

/// Serves TLS in front of a server.
fn start_tls(rig: &Rig, address: SocketAddr, certificate: &Certificate, server: SocketAddr) -> Process {
    let mut socat = Command::new("socat");
    socat.arg(format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={},key={}",
        address.port(),
        certificate.cert.display(),
        certificate.key.display()
    ));
    let process = Process::start("socat", socat.arg(format!("TCP:{server}")), &rig.folder.join("socat.log"));
    wait_for("socat listens", || TcpStream::connect(address).ok());
    process
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
        (own.issue_for("expired", 1975..2020), Some("expired")),
        (other.issue("other"), Some("UnknownIssuer")),
        (own.issue("own"), None),
    ] {
        let _tls = start_tls(&rig, address, &certificate, server);
        order(&rig, name, "resume", None);
        match says {
            Some(says) => {
                let report = wait_error(&rig, name, says);
                assert!(report["last_error"].as_str().is_some_and(|error| error.contains(&address.to_string())));
                assert_eq!(report["delivered"], 0, "{report}");
            }
            None => wait_delivered(&rig, name),
        }
    }
    (rig, running)
}
