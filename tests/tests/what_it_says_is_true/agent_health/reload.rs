//! A change of the configuration takes effect as a whole or not at all, and stops no capture.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use afferent_tests::process::{Authority, PATIENCE, Process, Rig, free_address, run_to_end, wait_for};
use rustix::process::Signal;

use super::{accepts, wait_told, wait_warned};

fn reload(rig: &Rig, agent: &Process) {
    rig.write_agent_config();
    agent.signal(Signal::HUP);
}

/// What the agent has said of its configurations.
fn told(agent: &Process, part: &str) -> usize {
    agent.printed().matches(part).count()
}

fn wait_said(agent: &Process, part: &str, count: usize) {
    wait_for(&format!("the agent says {part:?}"), || (told(agent, part) >= count).then_some(()));
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = wait_for("the TCP socket is open", || TcpStream::connect(address).ok());
    stream.set_read_timeout(Some(PATIENCE)).expect("a time can be set");
    stream
}

#[test]
fn a_reload_whose_port_is_taken_leaves_every_intake_as_it_was() {
    let mut rig = Rig::new("taken-port");
    let agent = rig.start_agent();
    let mut producer = rig.producer();
    let taken = TcpListener::bind(free_address()).expect("it is free");
    let address = taken.local_addr().expect("it listens");
    rig.agent_extra = format!("[intake.socket]\ntcp = \"{address}\"\n");
    reload(&rig, &agent);
    wait_said(&agent, "the new configuration was refused, the previous one stays", 1);
    producer.send(b"{\"subject\":\"88-C\",\"value\":1}\n").expect("the connection stands");
    producer.wait_accepted(1).expect("the agent answers");
    rig.break_down("a-new-connection");
    // The control: with the port free the same configuration is taken.
    drop(taken);
    reload(&rig, &agent);
    wait_said(&agent, "the new configuration is in use", 1);
    accepts(&mut tcp(address), "over-tcp").expect("the new socket takes events");
}

#[test]
fn a_reload_that_changes_one_intake_cuts_no_other() {
    let mut rig = Rig::new("one-changes");
    let (first, second) = (free_address(), free_address());
    rig.agent_extra = format!("[intake.socket]\ntcp = \"{first}\"\n");
    let agent = rig.start_agent();
    let (mut unix, mut changed) = (rig.producer(), tcp(first));
    accepts(&mut changed, "before").expect("it is open");
    let child = "[[intake.exec]]\nname = \"plc\"\ncommand = [\"sleep\", \"1000\"]\n";
    rig.agent_extra = format!("[intake.socket]\ntcp = \"{second}\"\nmode = \"0600\"\nconnections_max = 100\n{child}");
    reload(&rig, &agent);
    wait_said(&agent, "the new configuration is in use", 1);
    unix.send(b"{\"subject\":\"88-C\",\"value\":1}\n").expect("the connection stands");
    unix.wait_accepted(1).expect("the agent answers");
    accepts(&mut tcp(second), "after").expect("the new one is open");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(rig.socket()).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600, "what can be changed in place is");
    // The control: the one that was changed is cut.
    assert!(accepts(&mut changed, "gone").is_err());
    assert!(TcpStream::connect(first).is_err());
}

#[test]
fn a_password_renewed_at_the_same_path_is_used_after_a_reload() {
    let mut rig = Rig::new("renewed");
    let secret = rig.folder.join("secret");
    let of_collector = rig.folder.join("secret-of-collector");
    for path in [&secret, &of_collector] {
        std::fs::write(path, "old").expect("the folder can be written");
    }
    rig.collector_mqtt = format!("[[mqtt.user]]\nname = \"press-88\"\npassword = {{ file = {of_collector:?} }}\n");
    rig.agent_ship = format!("username = \"press-88\"\npassword = {{ file = {secret:?} }}\nconfirm_s = 5");
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.wait_healthy();
    // The control: a reload that changes nothing makes no new connection.
    reload(&rig, &agent);
    wait_said(&agent, "the new configuration is in use", 1);
    rig.break_down("same");
    rig.wait_logged("same");
    assert_eq!(told(&agent, "INFO connected to"), 1);
    // One that is wrong is seen at once, and given up for the one that has worked.
    std::fs::write(&secret, "wrong").expect("the folder can be written");
    reload(&rig, &agent);
    wait_warned(&agent, "it rejects user name or password: check `ship.username`");
    wait_said(&agent, "does not work", 1);
    rig.wait_healthy();
    rig.break_down("rolled-back");
    rig.wait_logged("rolled-back");
}

#[test]
fn a_ca_renewed_at_the_same_path_is_used_at_the_next_connection_without_a_reload() {
    let mut rig = Rig::new("renewed-ca");
    let (plant, stranger) = (Authority::new(&rig.folder, "plant"), Authority::new(&rig.folder, "stranger"));
    let server = plant.issue("collector");
    let ca = rig.folder.join("trusted.pem");
    std::fs::copy(&stranger.ca, &ca).expect("it can be copied");
    let user = rig.folder.join("secret");
    std::fs::write(&user, "x").expect("the folder can be written");
    rig.scheme = "mqtts";
    rig.collector_mqtt = format!(
        "tls = {{ cert = {:?}, key = {:?} }}\n[[mqtt.user]]\nname = \"press-88\"\npassword = {{ file = {user:?} }}\n",
        server.cert, server.key
    );
    rig.agent_ship = format!("ca_file = {ca:?}\nusername = \"press-88\"\npassword = {{ file = {user:?} }}");
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    wait_warned(&agent, "comes from an authority that this agent does not know: name it in `ship.ca_file`");
    wait_told(&rig, "ship.ca_file");
    // A file that is not there at that moment, as while it is renewed, is no reason to end.
    std::fs::remove_file(&ca).expect("it is there");
    wait_told(&rig, "trusted.pem");
    std::fs::copy(&plant.ca, &ca).expect("it can be copied");
    rig.wait_healthy();
}

#[test]
fn a_metrics_port_that_is_taken_stops_no_capture_and_is_tried_again() {
    let rig = Rig::new("metrics-port");
    let taken = TcpListener::bind(rig.agent_http).expect("it is free");
    let agent = rig.start_agent();
    rig.break_down("captured");
    wait_warned(&agent, &format!("cannot listen on {} for metrics and health", rig.agent_http));
    drop(taken);
    wait_for("the agent answers there", || rig.agent_health());
}

#[test]
fn a_socket_port_that_is_taken_at_the_start_stops_no_other_capture_and_is_told() {
    let mut rig = Rig::new("socket-port");
    let taken = TcpListener::bind(free_address()).expect("it is free");
    let address = taken.local_addr().expect("it listens");
    rig.agent_extra = format!("[intake.socket]\ntcp = \"{address}\"\n");
    let agent = rig.start_agent();
    rig.break_down("captured");
    wait_warned(&agent, &format!("cannot listen on {address}"));
    wait_told(&rig, &format!("cannot listen on {address}"));
    drop(taken);
    accepts(&mut tcp(address), "over-tcp").expect("it is open at last");
}

/// A key that nobody knows, in `conf.d`.
fn spoil(rig: &Rig) {
    let beside = rig.folder.join("conf.d");
    std::fs::create_dir_all(&beside).expect("the folder can be written");
    std::fs::write(beside.join("50-more.toml"), "[rnig]\npool_bytes = \"1GiB\"\n").expect("it can be written");
}

#[test]
fn a_wrong_configuration_at_the_start_gives_way_to_the_last_that_has_worked_and_health_says_so() {
    let rig = Rig::new("fell-back");
    let _collector = rig.start_collector();
    // The control: with none that has worked there is nothing to go on with.
    spoil(&rig);
    let (status, printed) = run_to_end(&mut rig.agent_command());
    assert!(!status.success() && printed.contains("did you mean `ring`"), "{printed}");
    std::fs::remove_dir_all(rig.folder.join("conf.d")).expect("it is there");
    let agent = rig.start_agent();
    let proven = rig.agent_data().join("config.proven");
    wait_for("the configuration has proved itself", || Path::exists(&proven).then_some(()));
    agent.terminate();
    spoil(&rig);
    let agent = rig.start_agent();
    wait_told(&rig, "the configuration cannot be used");
    wait_warned(&agent, "did you mean `ring`");
    rig.break_down("captured");
    rig.wait_logged("captured");
    rig.wait_event("the log tells it too", |event| {
        event["data"]["message"].as_str().is_some_and(|message| message.contains("the configuration cannot be used"))
    });
    std::fs::remove_dir_all(rig.folder.join("conf.d")).expect("it is there");
    reload(&rig, &agent);
    rig.wait_healthy();
}

#[test]
fn a_certificate_that_cannot_be_read_at_the_start_stops_no_capture() {
    let mut rig = Rig::new("no-ca");
    rig.scheme = "mqtts";
    rig.agent_ship = format!("ca_file = {:?}", rig.folder.join("nowhere.pem"));
    let agent = rig.start_agent();
    rig.break_down("captured");
    wait_warned(&agent, "nowhere.pem");
    wait_told(&rig, "nowhere.pem");
}
