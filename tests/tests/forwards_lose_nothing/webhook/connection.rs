//! Whom a webhook talks to: the address that was checked, and a server whose certificate is valid now.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{HookServer, Process, Rig, free_address, get, wait_for};

use super::super::certificates::check_certificates;
use super::super::plant::{Promise, check, order, wait_delivered, wait_error};
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

#[test]
fn a_certificate_that_has_expired_or_is_of_another_authority_is_named_as_that() {
    let server = HookServer::start();
    let configured = |address: SocketAddr, ca: &Path| {
        format!(
            "[[forward]]\nname = \"hook\"\n[forward.webhook]\nurl = \"https://{address}/\"\n\
             allow = [\"127.0.0.1\"]\nca = {ca:?}\n"
        )
    };
    let (rig, _running) = check_certificates("hook-tls", "hook", server.address, configured);
    check(&rig.events(), &arrived(&server), Promise::AtLeastOnce);
}
