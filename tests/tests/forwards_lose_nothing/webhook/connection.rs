//! Whom a webhook talks to: the address that was checked, and a server whose certificate is valid now.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{Authority, Certificate, HookServer, Process, Rig, free_address, get, wait_for};

use super::super::plant::{Promise, check, order, report, wait_delivered, wait_error};
use super::arrived;

/// Starts the collector on a machine that knows these names. It needs root.
fn start_knowing(rig: &Rig, names: &Path) -> Process {
    let collector = rig.collector_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(names);
    command.arg(collector.get_program()).args(collector.get_args());
    let process = Process::start("collector", &mut command, &rig.folder.join("collector.log"));
    wait_for("the collector's API answers", || get(rig.http, "/healthz").ok());
    process
}

#[test]
fn a_name_that_leads_elsewhere_after_it_was_checked_is_not_followed_there() {
    let mut meant = HookServer::start_at(SocketAddr::new([127, 0, 0, 2].into(), free_address().port()));
    let inside = HookServer::start_at(SocketAddr::new([127, 0, 0, 1].into(), meant.address.port()));
    let mut rig = Rig::new("hook-name");
    let names = rig.folder.join("hosts");
    let leads_to = |address: &str| std::fs::write(&names, format!("{address} hook.test\n")).expect("it can be written");
    let configured = |allow: &str| {
        let port = meant.address.port();
        format!(
            "[[forward]]\nname = \"hook\"\n[forward.webhook]\nurl = \"http://hook.test:{port}/\"\nallow = [{allow}]\n"
        )
    };
    let permissions = [configured("\"127.0.0.2\""), configured("\"127.0.0.0/8\"")];
    rig.collector_extra.clone_from(&permissions[0]);
    leads_to("127.0.0.2");
    let (collector, _agent) = (start_knowing(&rig, &names), rig.start_agent());
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_delivered(&rig, "hook");
    leads_to("127.0.0.1");
    meant.kill();
    rig.break_down("E2");
    wait_error(&rig, "hook", "127.0.0.1 is this machine itself");
    leads_to("127.0.0.2");
    meant.listen();
    order(&rig, "hook", "resume", None);
    rig.wait_logged("E2");
    wait_delivered(&rig, "hook");
    check(&rig.events(), &arrived(&meant), Promise::AtLeastOnce);
    assert!(inside.taken().is_empty());
    // The control: with the permission it is followed.
    collector.kill();
    leads_to("127.0.0.1");
    rig.collector_extra.clone_from(&permissions[1]);
    let _collector = start_knowing(&rig, &names);
    rig.break_down("E3");
    wait_for("it arrives there", || (!inside.taken().is_empty()).then_some(()));
}

/// Serves TLS in front of a server, one connection after another.
fn start_tls(rig: &Rig, address: SocketAddr, certificate: &Certificate, server: &HookServer) -> Process {
    let mut socat = Command::new("socat");
    socat.arg(format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,reuseaddr,verify=0,cert={},key={}",
        address.port(),
        certificate.cert.display(),
        certificate.key.display()
    ));
    Process::start("socat", socat.arg(format!("TCP:{}", server.address)), &rig.folder.join("socat.log"))
}

#[test]
fn a_certificate_that_has_expired_or_is_of_another_authority_is_named_as_that() {
    let mut rig = Rig::new("hook-tls");
    let server = HookServer::start();
    let (own, other) = (Authority::new(&rig.folder, "own-ca"), Authority::new(&rig.folder, "other-ca"));
    let (address, ca) = (free_address(), own.ca.clone());
    rig.collector_extra = format!(
        "[[forward]]\nname = \"hook\"\n[forward.webhook]\nurl = \"https://{address}/\"\nallow = [\"127.0.0.1\"]\nca = {ca:?}\n"
    );
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    for (certificate, says) in [
        (own.issue_for("expired", 1975..2020), Some("certificate expired")),
        (other.issue("other"), Some("invalid peer certificate")),
        (own.issue("own"), None),
    ] {
        let mut tls = start_tls(&rig, address, &certificate, &server);
        wait_for(&format!("{says:?}: {:?}", report(&rig, "hook")), || {
            if tls.ended().is_some() {
                tls = start_tls(&rig, address, &certificate, &server);
            }
            let report = report(&rig, "hook")?;
            let error = report["last_error"].as_str().unwrap_or_default();
            let is_said = match says {
                Some(says) => error.contains(says) && error.contains(&address.to_string()),
                None => report["lag"] == "0",
            };
            if !is_said && report["state"] == "retrying" {
                order(&rig, "hook", "resume", None);
            }
            is_said.then_some(())
        });
        assert_eq!(server.taken().is_empty(), says.is_some());
    }
    rig.wait_logged("E1");
    wait_delivered(&rig, "hook");
    check(&rig.events(), &arrived(&server), Promise::AtLeastOnce);
}
