//! Who believes whom, what proves a log, and where a reader goes on, as README tells it.

use std::process::Command;

use afferent_tests::process::{Process, Rig, binary, run_to_end, wait_for};
use rustix::process::Signal;

/// The exit codes of certificates.
const COMPLETE: i32 = 0;
const INCOMPLETE: i32 = 1;
const REFUTED: i32 = 3;

/// What the collector's program exits with, and what it prints.
pub fn collector(arguments: &[&str]) -> (i32, String) {
    let (status, printed) = run_to_end(Command::new(binary("afferent-collector")).args(arguments));
    (status.code().expect("it exits"), printed)
}

/// `key show` or `key rotate`: the key that it prints.
pub fn key(rig: &Rig, what: &str) -> String {
    let (code, printed) = collector(&["key", what, "--data", data(rig)]);
    let is_key = |line: &&str| line.len() == 64 && line.bytes().all(|digit| digit.is_ascii_hexdigit());
    assert_eq!(code, 0, "{printed}");
    printed.lines().find(is_key).unwrap_or_else(|| panic!("no key: {printed}")).to_owned()
}

pub fn data(rig: &Rig) -> &'static str {
    rig.collector_data().to_str().expect("a path").to_owned().leak()
}

/// `log verify` of the files with more arguments.
fn verify(rig: &Rig, more: &[&str]) -> (i32, String) {
    collector(&[&["log", "verify", "--data", data(rig)], more].concat())
}

/// A certificate of press-88: of the files, or of whoever answers.
fn certify(more: &[&str]) -> (i32, String) {
    let span = ["--from", "2021-09-13T00:00:00Z", "--until", "2021-09-14T00:00:00Z"];
    collector(&[&["certificate", "--source", "press-88"], &span[..], more].concat())
}

fn started(name: &str) -> (Rig, Process, Process) {
    let rig = Rig::new(name);
    let (collector, agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    rig.wait_logged("E1");
    (rig, collector, agent)
}

#[test]
fn a_key_that_was_rotated_is_believed_and_the_log_is_proved_by_either_key() {
    let (rig, collector, agent) = started("readme-rotate");
    let first = key(&rig, "show");
    collector.terminate();
    let second = key(&rig, "rotate");
    assert_ne!(first, second);

    let collector = rig.start_collector();
    assert_eq!(key(&rig, "show"), second);
    let (_, shown) = self::collector(&["key", "show", "--data", data(&rig)]);
    assert!(shown.contains(&format!("began with the key {first}")), "{shown}");
    rig.break_down("E2");
    rig.wait_logged("E2");
    let pin = std::fs::read_to_string(rig.agent_data().join("collector.pin")).expect("the agent keeps what it learned");
    assert!(pin.contains(&format!("\n{first}\n{second} by {first}\n")), "{pin}");
    assert!(agent.printed().contains(&second), "the agent says so");
    let (code, printed) = certify(&["--http", &rig.http.to_string()]);
    assert_ne!(code, REFUTED, "the collector that answers knows how its log began: {printed}");
    agent.terminate();
    collector.terminate();

    let (code, printed) = verify(&rig, &[]);
    assert!(code == 0 && printed.contains(&format!("with the key {first} found there")), "{printed}");
    for named in [&first, &second] {
        let (code, printed) = verify(&rig, &["--key", named]);
        assert!(code == 0 && printed.contains("with the given key"), "{printed}");
    }
    for more in [&[][..], &["--key", &first], &["--key", &second]] {
        let (code, printed) = certify(&[&["--data", data(&rig)], more].concat());
        assert_eq!(code, COMPLETE, "{printed}");
    }
    let stranger = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(certify(&["--data", data(&rig), "--key", stranger]).0, REFUTED, "the control");
}

#[test]
fn a_lost_key_of_the_collector_stops_no_agent_and_certificates_then_need_both_keys() {
    let (mut rig, collector, agent) = started("readme-lost-key");
    let first = key(&rig, "show");
    collector.terminate();
    std::fs::remove_file(rig.collector_data().join("collector.key")).expect("it was there");

    let collector = rig.start_collector();
    let second = key(&rig, "show");
    assert!(
        collector.printed().contains("is lost; the collector has generated a new key")
            && collector.printed().contains(&second)
    );
    rig.break_down("E2");
    let line = format!("collector_keys = [\"{second}\"]");
    wait_for("the agent says which line to add", || agent.printed().contains(&line).then_some(()));
    assert!(rig.agent_lag().is_some_and(|lag| lag > 0), "it captures, and lets go of nothing");
    rig.agent_ship = line;
    rig.write_agent_config();
    agent.signal(Signal::HUP);
    rig.wait_logged("E2");
    agent.terminate();
    collector.terminate();

    assert_ne!(verify(&rig, &["--key", &first]).0, 0, "the new key is nobody's successor");
    assert_ne!(verify(&rig, &["--key", &second]).0, 0);
    let both = ["--key", &first, "--key", &second];
    let (code, printed) = verify(&rig, &both);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = certify(&[&["--data", data(&rig)], &both[..]].concat());
    assert_eq!(code, COMPLETE, "{printed}");
}

#[test]
fn a_lost_key_of_an_agent_needs_an_operators_word_and_then_what_its_ring_holds_arrives() {
    let (rig, running, agent) = started("readme-lost-identity");
    running.terminate();
    rig.break_down("E2");
    agent.terminate();
    std::fs::remove_file(rig.agent_data().join("identity.key")).expect("it was there");
    let _agent = rig.start_agent();
    rig.break_down("E3");

    let _collector = rig.start_collector();
    let refused = rig.wait_event("the agent is refused", |event| event["data"]["change"] == "refused");
    let reason = refused["data"]["reason"].as_str().expect("a text").to_owned();
    let (_, rest) =
        reason.split_once("agents replace press-88 --key ").unwrap_or_else(|| panic!("no remedy: {reason}"));
    let (code, printed) = collector(&[
        "agents",
        "replace",
        "press-88",
        "--key",
        &rest[..64],
        "--why",
        "its disk",
        "--http",
        &rig.http.to_string(),
    ]);
    assert_eq!(code, 0, "{printed}");
    rig.wait_logged("E2");
    rig.wait_logged("E3");
    let events = rig.events();
    let changes = |change: &str| events.iter().find(|event| event["data"]["change"] == change).cloned();
    let resealed = changes("resealed").expect("what the ring held is sealed again");
    assert_eq!(resealed["data"]["reason"], "other_key", "{resealed}");
    assert_eq!(changes("key_replaced").expect("it is an event")["data"]["key"], rest[..64]);
}

#[test]
fn a_source_that_is_silent_is_open_until_an_operator_retires_it() {
    let (rig, running, agent) = started("readme-retire");
    agent.terminate();
    running.terminate();
    let until_2100 = ["--from", "2021-09-13T00:00:00Z", "--until", "2100-01-01T00:00:00Z", "--data", data(&rig)];
    let certify = || collector(&[&["certificate", "--source", "press-88"], &until_2100[..]].concat());
    let (code, printed) = certify();
    assert_eq!(code, INCOMPLETE, "{printed}");

    let running = rig.start_collector();
    let (code, printed) =
        collector(&["agents", "retire", "press-88", "--why", "scrapped", "--http", &rig.http.to_string()]);
    assert_eq!(code, 0, "{printed}");
    running.terminate();
    let (code, printed) = certify();
    assert!(code == COMPLETE && printed.contains("scrapped"), "{printed}");
}

#[test]
fn attestations_that_left_the_machine_are_witnesses() {
    let mut rig = Rig::new("readme-witness");
    let kept = rig.folder.join("kept-elsewhere");
    rig.collector_extra = format!("attest.file = {kept:?}");
    let (collector, agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    rig.wait_logged("E1");
    // A collector attests when it stops, and the next ack of the log brings that to the agent.
    collector.terminate();
    let collector = rig.start_collector();
    rig.break_down("E2");
    let of_agent = rig.agent_data().join("attestations");
    wait_for("the agent keeps an attestation", || std::fs::read(&of_agent).ok().filter(|text| !text.is_empty()));
    agent.terminate();
    collector.terminate();

    for witness in [&of_agent, &kept] {
        let path = witness.to_str().expect("a path");
        let (code, printed) = verify(&rig, &["--witness", path]);
        assert!(code == 0 && printed.contains("from outside agrees up to offset"), "{printed}");
        let text = std::fs::read_to_string(witness).expect("it is there");
        let other = if text.as_bytes()[300] == b'0' { "1" } else { "0" };
        std::fs::write(witness, [&text[..300], other, &text[301..]].concat()).expect("it can be written");
        assert_ne!(verify(&rig, &["--witness", path]).0, 0, "the control: a witness that nobody has signed");
    }
}

/// Places and events of the log, as `GET /v1/stream` gives them.
fn stream(rig: &Rig) -> Vec<(String, serde_json::Value)> {
    let url = format!("http://{}/v1/stream?from=0", rig.http);
    let (_, printed) = run_to_end(Command::new("curl").args(["-sN", "--max-time", "2", &url]));
    let (mut place, mut events) = (String::new(), vec![]);
    for line in printed.lines() {
        if let Some(id) = line.strip_prefix("id: ") {
            place = id.to_owned();
        } else if let Some(Ok(event)) = line.strip_prefix("data: ").map(serde_json::from_str) {
            events.push((place.clone(), event));
        }
    }
    events
}

#[test]
fn a_place_names_offset_term_and_log_and_every_start_begins_a_term() {
    let (rig, collector, _agent) = started("readme-places");
    collector.terminate();
    let _collector = rig.start_collector();
    rig.break_down("E2");
    rig.wait_logged("E2");
    let events = stream(&rig);
    let begun: Vec<_> = events.iter().filter(|(_, event)| event["data"]["change"] == "term_begun").collect();
    assert_eq!(begun.len(), 2, "a start each: {events:?}");
    for (_, event) in &begun {
        assert_eq!(event["data"]["first"], event["offset"], "it stands before all that the term takes");
    }
    let (log, mut term) = (begun[0].1["data"]["log_id"].clone(), serde_json::Value::Null);
    for (place, event) in &events {
        if event["data"]["change"] == "term_begun" {
            term = event["data"]["term"].clone();
        }
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        assert_eq!(*place, format!("{}@{}.{}", text(&event["offset"]), text(&term), text(&log)));
    }
}
