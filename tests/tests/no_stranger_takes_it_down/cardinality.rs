//! A producer that makes up machines, conditions and values, while others report what is real.

use std::fmt::Write;
use std::ops::Range;

use afferent_tests::process::{Browser, Process, Rig, get, get_text, wait_for};
use serde_json::Value;

use crate::siege::Siege;

/// More than models have room for, all sources together.
const MADE_UP: usize = 20_000;
const ROOM: usize = 16_384;
/// So many more come while somebody looks.
const MORE: usize = 10;
/// Of this, so much is for one source.
const SHARE: u64 = 4096;
const STRANGER: &str = "press-9";

/// An agent of the same collector, whose producer makes things up.
fn stranger(of: &Rig) -> (Rig, Process) {
    let mut rig = Rig::new("cardinality-stranger");
    rig.agent_name = STRANGER.into();
    rig.mqtt = of.mqtt;
    let agent = rig.start_agent();
    (rig, agent)
}

fn send(rig: &Rig, lines: &[String]) {
    let mut producer = rig.producer();
    for part in lines.chunks(1000) {
        producer.send(part.concat().as_bytes()).expect("the agent reads");
        let sent = producer.accepted() + part.len() as u64;
        producer.wait_accepted(sent).expect("the agent answers");
    }
    assert!(producer.refused().is_empty(), "{:?}", producer.refused());
}

fn model(siege: &Siege, path: &str) -> Value {
    let (status, body) = get(siege.rig.http, &format!("/v1/models/{path}")).expect("it is answered");
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).expect("JSON")
}

/// The state of a model that has seen all that is in the log now.
fn state(siege: &Siege, name: &str) -> Value {
    let end = siege.rig.log_end().expect("metrics answer");
    let has_seen =
        |answer: &Value| answer["offset"].as_str().is_some_and(|at| at.parse::<u64>().is_ok_and(|at| at >= end));
    wait_for(&format!("{name} has seen everything"), || Some(model(siege, name)).filter(has_seen))
}

fn has_metric(siege: &Siege, line: &str) -> bool {
    get_text(siege.rig.http, "/metrics").is_some_and(|metrics| metrics.lines().any(|known| known == line))
}

fn made_up(number: usize) -> String {
    let mut lines = String::new();
    // The most serious things there are, so that they matter most.
    let _ = writeln!(lines, r#"{{"subject":"m{number}","type":"breakdown","code":"E1","severity":"fatal"}}"#);
    let _ = writeln!(
        lines,
        r#"{{"subject":"m{number}","type":"alarm","condition":"c{number}","transition":"raised","priority":1000}}"#
    );
    let _ = writeln!(lines, r#"{{"subject":"m{number}/x","value":{number}}}"#);
    lines
}

/// The stranger reports about so many more machines that do not exist; returns when they are in the log.
fn make_up(siege: &Siege, other: &Rig, numbers: Range<usize>) {
    let events = |number| made_up(number).lines().map(|line| format!("{line}\n")).collect::<Vec<_>>();
    let lines: Vec<String> = numbers.flat_map(events).collect();
    let end = siege.rig.log_end().expect("metrics answer") + lines.len() as u64;
    send(other, &lines);
    wait_for("what was made up is in the log", || siege.rig.log_end().filter(|at| *at >= end));
}

fn has(state: &Value, list: &str, key: &str, value: &str) -> bool {
    state[list].as_array().is_some_and(|all| all.iter().any(|one| one[key] == value))
}

#[test]
fn what_a_stranger_makes_up_hides_nothing_of_others_and_what_is_not_shown_is_said() {
    let siege = Siege::start("cardinality");
    let (other, _agent) = stranger(&siege.rig);
    make_up(&siege, &other, 0..MADE_UP);
    siege.holds("while machines are made up");
    // What is real, and comes after all that.
    let real = [
        r#"{"subject":"77-A","type":"state","state":"executing"}"#,
        r#"{"subject":"77-A/pump","type":"breakdown","code":"REAL","severity":"error","message":"no pressure"}"#,
        r#"{"subject":"77-A/pump","type":"alarm","condition":"pressure","transition":"raised","priority":1}"#,
        r#"{"subject":"77-A/pump/pressure","value":0.5}"#,
    ];
    send(&siege.rig, &real.map(|line| format!("{line}\n")));
    siege.rig.wait_event("what is real was measured", |event| event["subject"] == "77-A/pump/pressure");
    siege.rig.wait_logged("REAL");
    // The attack goes on.
    make_up(&siege, &other, MADE_UP..MADE_UP + MORE);
    // As the page asks.
    let states = state(&siege, "states?intervals=0")["state"].take();
    let alarms = state(&siege, "alarms")["state"].take();
    assert_eq!(states["machines"]["77-A"]["state"], "not_available");
    assert!(has(&alarms, "active", "condition", "pressure"));
    assert_eq!(state(&siege, "kpi")["state"]["machines"]["77-A"]["failures"], 1);
    assert_eq!(state(&siege, "last")["state"]["subjects"]["77-A/pump/pressure"]["value"], 0.5);
    assert!(has(&state(&siege, "breakdowns")["state"], "episodes", "code", "REAL"));
    // The control: those that came first would have taken all of the room, and hardly a quarter of it is taken.
    let kept = states["machines"].as_object().expect("machines by name").len() as u64;
    assert!(MADE_UP > ROOM && (SHARE..SHARE + 9).contains(&kept), "{kept} machines are kept");
    said(&siege, &other, &states, &alarms);
    let browser = page_says_so(&siege, &other);
    siege.holds("when it has said so");
    is_over(&siege);
    // The page has no sentence any more.
    browser.go(&format!("http://{}/", siege.rig.http));
    browser.wait("document.querySelector('.card') && !document.querySelector('.not-shown')");
}

/// What is not shown is said by the answers, by health and by metrics.
fn said(siege: &Siege, other: &Rig, states: &Value, alarms: &Value) {
    for not_shown in [&states["not_shown"], &alarms["not_shown"]] {
        let first = &not_shown["sources"][0];
        assert_eq!((&not_shown["now"], &first["source"]), (&true.into(), &STRANGER.into()), "{not_shown}");
    }
    assert_eq!(states["not_shown"]["sources"][0]["kept"], SHARE);
    assert_eq!(alarms["dropped"]["count"], (MADE_UP + MORE) as u64 - SHARE);
    make_up(siege, other, MADE_UP + MORE..MADE_UP + 2 * MORE);
    let words = wait_for("health says so", || {
        siege.rig.collector_health().map(|(_, words)| words).filter(|words| words.contains("\nnot-shown: "))
    });
    assert!(words.starts_with("degraded\n") && words.contains(STRANGER) && words.contains("machines"), "{words}");
    for (model, what) in
        [("states@1", "machines"), ("kpi@1", "machines"), ("breakdowns@1", "machines"), ("alarms@1", "alarms")]
    {
        let line = format!("afferent_model_not_shown{{model=\"{model}\",what=\"{what}\"}} 1");
        wait_for(&line, || has_metric(siege, &line).then_some(()));
    }
}

/// In a browser: a sentence beside the machines, among which the one that is real is found.
fn page_says_so(siege: &Siege, other: &Rig) -> Browser {
    make_up(siege, other, MADE_UP + 2 * MORE..MADE_UP + 3 * MORE);
    let browser = Browser::start("cardinality", siege.rig.folder.path());
    browser.go(&format!("http://{}/", siege.rig.http));
    let sentence = "document.querySelector('.not-shown')?.textContent";
    browser.wait(&format!("{sentence}?.includes('{STRANGER} (4,096 kept)')"));
    browser.run(
        "const search = document.querySelector('input[type=search]'); search.value = '77-A'; \
         search.dispatchEvent(new Event('input', { bubbles: true }));",
    );
    browser.wait("[...document.querySelectorAll('.card .name')].some((name) => name.textContent === '77-A')");
    browser
}

/// When nothing more is made up, nothing is said any more; the past is what it was.
fn is_over(siege: &Siege) {
    wait_for("health has nothing to say", || siege.rig.collector_health().filter(|(_, words)| words == "ok\n"));
    assert!(has_metric(siege, "afferent_model_not_shown{model=\"states@1\",what=\"machines\"} 0"));
    let now = state(siege, "states?intervals=0");
    for not_shown in [&now["state"]["not_shown"], &state(siege, "alarms")["state"]["not_shown"]] {
        assert_eq!(not_shown["now"], false, "{not_shown}");
    }
    let at = now["offset"].as_str().expect("an offset");
    let then = model(siege, &format!("states?intervals=0&as_of={at}"));
    let names = |answer: &Value| -> Vec<String> {
        answer["state"]["machines"].as_object().expect("machines by name").keys().cloned().collect()
    };
    assert_eq!(names(&now), names(&then));
    siege.holds("after the attack");
}
