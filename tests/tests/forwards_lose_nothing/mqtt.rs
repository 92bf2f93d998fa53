//! MQTT: everything is published where its subject is, at least once and in order. mosquitto_sub is the independent
//! reader.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use afferent_tests::process::{Folder, Load, Mosquitto, Process, Proxy, Rig, run_to_end, wait_for};
use serde_json::{Value, json};

use super::certificates::check_certificates;
use super::plant::{Arrived, Promise, accepted_more, check, configuration, order, report, wait_delivered, wait_error};

const NAME: &str = "uns";
const README: &str = include_str!("../../../collector/src/forward/mqtt/README.md");
/// Kills of each kind.
const KILLS: usize = 20;

/// A message as mosquitto_sub prints it.
#[derive(Clone, Debug, PartialEq)]
struct Published {
    is_retained: bool,
    topic: String,
    event: Value,
}

/// What mosquitto_sub has printed: its own words are left out.
fn published(printed: &str) -> Vec<Published> {
    let of_line = |line: &str| {
        let (retained, rest) = line.split_once('\t')?;
        let (topic, payload) = rest.split_once('\t')?;
        let event = serde_json::from_str(payload).ok()?;
        Some(Published { is_retained: retained == "1", topic: topic.to_owned(), event })
    };
    printed.lines().filter_map(of_line).collect()
}

fn reader(address: SocketAddr) -> Command {
    let mut command = Command::new("stdbuf");
    let port = address.port().to_string();
    command.args(["-oL", "mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "works/#"]);
    command.args(["-F", "%r\t%t\t%p"]);
    command
}

/// Begins to read, with a session that the broker keeps.
fn read_live(rig: &Rig, address: SocketAddr) -> Process {
    let mut command = reader(address);
    command.args(["-i", "reader", "-c", "-x", "100000"]);
    Process::start("mosquitto_sub", &mut command, &rig.folder.join("reader.log"))
}

/// The last messages that the broker keeps.
fn read_retained(address: SocketAddr) -> HashMap<String, Value> {
    let (_, printed) = run_to_end(reader(address).args(["--retained-only", "-W", "3"]));
    let messages = published(&printed).into_iter();
    messages.inspect(|message| assert!(message.is_retained)).map(|message| (message.topic, message.event)).collect()
}

fn configured(address: SocketAddr, of_forward: &str, of_mqtt: &str) -> String {
    format!(
        "[[forward]]\nname = \"{NAME}\"\n{of_forward}\n[forward.mqtt]\nurl = \"mqtt://{address}\"\n\
         topic = \"works/{{source}}/{{subject}}/{{type}}\"\n{of_mqtt}\n"
    )
}

fn rig(name: &str, address: SocketAddr, of_forward: &str, of_mqtt: &str) -> Rig {
    let mut rig = Rig::new(name);
    rig.collector_extra = configured(address, of_forward, of_mqtt);
    rig
}

fn wait_some_delivered(rig: &Rig) {
    wait_for(&format!("more is delivered: {:?}", report(rig, NAME)), || {
        report(rig, NAME).filter(|report| report["delivered"].as_u64().is_some_and(|delivered| delivered > 0))
    });
}

/// The topic of an event, by what the README says of plain names.
fn topic_of(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let kind = text("type");
    let kind = kind.strip_prefix("afferent.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(&kind);
    format!("works/{}/{}/{kind}", text("source"), text("subject"))
}

fn ids(events: impl Iterator<Item = Value>) -> HashSet<(String, String)> {
    events.map(|event| (event["source"].to_string(), event["id"].to_string())).collect()
}

#[test]
fn kills_of_collector_and_agent_and_cut_connections_lose_nothing_and_change_no_order() {
    let folder = Folder::new("mqtt-kills");
    let mosquitto = Mosquitto::new(&folder, "max_inflight_messages 0");
    let _broker = mosquitto.start();
    let proxy = Proxy::start(mosquitto.address);
    let rig = rig("mqtt-kills-rig", proxy.address, "", "");
    let reader = read_live(&rig, mosquitto.address);
    // The reader is there before anything is published.
    wait_for("the reader has subscribed", || {
        let log = std::fs::read_to_string(folder.join("mosquitto.log")).ok()?;
        log.contains("as reader").then_some(())
    });
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        accepted_more(&load);
        proxy.cut();
        agent.kill();
        agent = rig.start_agent();
        order(&rig, NAME, "resume", None);
        wait_some_delivered(&rig);
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    order(&rig, NAME, "resume", None);
    wait_delivered(&rig, NAME);
    let logged = rig.events();
    ledger.check(&logged);
    let expected = ids(logged.iter().cloned());
    wait_for("the reader has everything", || {
        let arrived = ids(published(&reader.printed()).into_iter().map(|message| message.event));
        expected.is_subset(&arrived).then_some(())
    });
    let messages = published(&reader.printed());
    let of_log: Vec<_> = messages
        .iter()
        .filter(|message| expected.contains(&(message.event["source"].to_string(), message.event["id"].to_string())))
        .collect();
    check(&logged, &of_log.iter().map(|message| Arrived::of(&message.event)).collect::<Vec<_>>(), Promise::AtLeastOnce);
    for message in of_log {
        assert_eq!(message.topic, topic_of(&message.event));
    }
    drop(collector);
}

#[test]
fn a_killed_broker_is_waited_for_and_what_it_had_confirmed_and_lost_comes_again_by_a_rewind() {
    let folder = Folder::new("mqtt-broker");
    let mosquitto = Mosquitto::new(&folder, "");
    let mut broker = mosquitto.start();
    let rig = rig("mqtt-broker-rig", mosquitto.address, "filter = { subject = \"88-C/**\" }", "retain = true");
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        broker.kill();
        accepted_more(&load);
        broker = mosquitto.start();
        order(&rig, NAME, "resume", None);
        let before = report(&rig, NAME).map(|report| report["offset"].clone());
        wait_for("it delivers on", || report(&rig, NAME).filter(|now| Some(now["offset"].clone()) != before));
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, NAME);
    let of_machine = |event: &Value| event["subject"] == "88-C/load";
    let logged: Vec<_> = rig.events().into_iter().filter(of_machine).collect();
    let delivered = || report(&rig, NAME).and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
    let before = delivered();
    order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
    wait_for("all of it is published again", || (delivered() >= before + logged.len() as u64).then_some(()));
    wait_delivered(&rig, NAME);
    let last: HashMap<_, _> = logged.iter().map(|event| (topic_of(event), event.clone())).collect();
    assert_eq!(last.len(), 2, "samples and breakdowns");
    assert_eq!(read_retained(mosquitto.address), last, "the last event of each topic, as the API returns it");
    drop(broker);
}

#[test]
fn a_broker_that_is_down_a_wrong_login_and_a_missing_right_are_errors_with_a_remedy() {
    let folder = Folder::new("mqtt-login");
    let mosquitto = Mosquitto::guarded(&folder, "user afferent\ntopic write works/+/88-C/#\n", &[("afferent", "hush")]);
    let password = folder.join("password");
    std::fs::write(&password, "hush, not this one").expect("the folder can be written");
    let login = format!("user = \"afferent\"\npassword = {{ file = \"{}\" }}", password.display());
    let filter = "filter = { type = \"breakdown\" }";
    let mut rig = rig("mqtt-login-rig", mosquitto.address, filter, &login);
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let down = wait_error(&rig, NAME, "no connection");
    assert!(down["last_error"].as_str().unwrap().contains("check that the broker runs"), "{down}");
    let _broker = mosquitto.start();
    order(&rig, NAME, "resume", None);
    let refused = wait_error(&rig, NAME, "NotAuthorized");
    let text = refused["last_error"].as_str().unwrap();
    assert!(text.contains("check `user` and `password`") && !text.contains("hush"), "{text}");
    collector.kill();
    std::fs::write(&password, "hush").expect("the folder can be written");
    let collector = rig.start_collector();
    wait_delivered(&rig, NAME);
    let mut producer = rig.producer();
    producer.send(b"{\"subject\":\"77-A\",\"type\":\"breakdown\",\"code\":\"E2\"}\n").expect("the agent reads");
    producer.wait_accepted(1).expect("the agent answers");
    let refused = wait_error(&rig, NAME, "does not take a message on works/press-88/77-A/breakdown: NotAuthorized");
    assert!(refused["last_error"].as_str().unwrap().contains("let this user write there"), "{refused}");
    assert_eq!(refused["dead_letters"], 0);
    collector.kill();
    rig.collector_extra = configured(mosquitto.address, filter, &login).replace("works/", "afferent/v1/");
    let _collector = rig.start_collector();
    let stuck = wait_error(&rig, NAME, "is in the tree of agents and collectors; choose another first level");
    assert_eq!(stuck["state"], "stuck");
}

#[test]
fn hostile_subjects_are_no_wildcards_and_large_events_are_dead_letters() {
    check_form("mqtt-form-packet", "max_packet_size 2000", "larger than the 2000 bytes");
    // This one the broker tells nobody before.
    check_form("mqtt-form-message", "message_size_limit 2000", "more than the broker takes of a message");
}

fn check_form(name: &str, limit: &str, says: &str) {
    let folder = Folder::new(name);
    let mosquitto = Mosquitto::new(&folder, limit);
    let _broker = mosquitto.start();
    let rig =
        rig(&format!("{name}-rig"), mosquitto.address, "filter = { type = \"breakdown,sample\" }", "retain = true");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let subjects = ["#", "+/+", "$SYS/x", "100%", "a b/Öl", "\u{FFFE}"];
    let mut lines: String =
        subjects.iter().map(|subject| json!({"subject": subject, "value": 1.5}).to_string() + "\n").collect();
    let message = "x".repeat(3000);
    lines += &(json!({"subject": "88-C", "type": "breakdown", "code": "LARGE", "message": message}).to_string() + "\n");
    lines += &(json!({"subject": "88-C", "type": "breakdown", "code": "LAST"}).to_string() + "\n");
    let mut producer = rig.producer();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(lines.lines().count() as u64).expect("the agent answers");
    rig.wait_logged("LAST");
    let letter = rig.wait_event("a dead letter", |event| event["type"] == "afferent.deadletter.v1");
    assert!(letter["data"]["reason"].as_str().unwrap().contains(says), "{letter}");
    assert_eq!(letter["data"]["offset"], rig.wait_logged("LARGE")["offset"]);
    wait_delivered(&rig, NAME);
    let retained = read_retained(mosquitto.address);
    let logged = rig.events();
    for (subject, level) in subjects.iter().zip(["%23", "%2B/%2B", "$SYS/x", "100%25", "a b/Öl", "%EF%BF%BE"]) {
        let event = logged.iter().find(|event| event["subject"] == *subject).expect("it is in the log");
        assert_eq!(retained.get(&format!("works/press-88/{level}/sample")), Some(event), "{subject:?}");
    }
    assert_eq!(retained["works/press-88/88-C/breakdown"]["data"]["code"], "LAST");
}

#[test]
fn the_readmes_configuration_works_as_it_is() {
    let folder = Folder::new("mqtt-readme");
    let mosquitto = Mosquitto::guarded(&folder, "user afferent\ntopic readwrite works/#\n", &[("afferent", "hush")]);
    let _broker = mosquitto.start();
    let password = folder.join("password");
    std::fs::write(&password, "hush\n").expect("the folder can be written");
    let mut rig = Rig::new("mqtt-readme-rig");
    let (url, secret) = (format!("mqtt://{}", mosquitto.address), password.display().to_string());
    let replaced = [("mqtts://broker.example:8883", &*url), ("/run/secrets/broker", &*secret)];
    rig.collector_extra = configuration(README, 0, &replaced);
    let run = rig.collector_command();
    let config: Vec<_> = run.get_args().skip(1).collect();
    let (status, said) =
        run_to_end(Command::new(run.get_program()).args(["check", "--connect", "--reload"]).args(config));
    assert!(status.success() && said.contains("the broker admits this collector"), "{said}");
    let _collector = rig.start_collector();
    wait_for("it has begun", || report(&rig, "uns").filter(|report| report["state"] == "running"));
    let _agent = rig.start_agent();
    rig.break_down("E42");
    let event = rig.wait_logged("E42");
    wait_delivered(&rig, "uns");
    let mut command = reader(mosquitto.address);
    let (_, printed) = run_to_end(command.args(["-u", "afferent", "-P", "hush", "--retained-only", "-W", "3"]));
    let kept = published(&printed).into_iter().find(|message| message.topic == "works/press-88/88-C/breakdown");
    assert_eq!(kept.map(|message| message.event), Some(event), "{printed}");
}

#[test]
fn a_certificate_that_has_expired_or_is_of_another_authority_is_named_as_that() {
    let folder = Folder::new("mqtt-tls");
    let mosquitto = Mosquitto::new(&folder, "");
    let _broker = mosquitto.start();
    let configured = |address: SocketAddr, ca: &Path| {
        configured(address, "", &format!("retain = true\nca = {ca:?}")).replace("mqtt://", "mqtts://")
    };
    let (rig, _running) = check_certificates("mqtt-tls-rig", NAME, mosquitto.address, configured);
    let code = rig.wait_logged("E1")["data"]["code"].clone();
    assert!(read_retained(mosquitto.address).values().any(|event| event["data"]["code"] == code));
}
