//! Retention removes the oldest part of the log, says so in the log before, and forgets nothing that is needed: agents go
//! on, what was posted stays posted, readers are told what they have missed. Without it nothing ever goes.

use std::path::PathBuf;
use std::process::Command;

use afferent_tests::process::{Process, Rig, ask, binary, run_to_end, wait_for};
use serde_json::{Value, json};

const LINES: u64 = 8000;

/// A log of about nine segments: an agent's samples, and one posted event, which comes first.
fn filled(rig: &Rig) -> (Process, Process) {
    let collector = rig.start_collector();
    post(rig);
    let subscription = ask(rig.http, "PUT", "/v1/subscriptions/archive", "application/json", r#"{"from":"first"}"#);
    assert_eq!(subscription.expect("the API answers").status, 201);
    let agent = rig.start_agent();
    let mut producer = rig.producer();
    let line =
        |number: u64| format!("{{\"subject\":\"88-C/spindle/note\",\"value\":\"{number} {}\"}}\n", "x".repeat(1000));
    producer.send((0..LINES).map(line).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(LINES).expect("the agent answers");
    wait_for("all of it is in the log", || (rig.log_end()? > LINES && rig.agent_lag()? == 0).then_some(()));
    (collector, agent)
}

/// Posts an event; gives its offset and whether it was there before.
fn post(rig: &Rig) -> (String, bool) {
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/wear", "type": "com.example.wear.v1", "subject": "88-C"});
    wait_for("the event is taken", || {
        let answer = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", &event.to_string()).ok()?;
        let told: Value = serde_json::from_str(&answer.body).ok()?;
        let placed = &told["events"][0];
        Some((placed["offset"].as_str()?.to_owned(), placed["duplicate"] == true))
    })
}

fn get(rig: &Rig, path: &str) -> (u16, String) {
    let answer = ask(rig.http, "GET", path, "text/plain", "").expect("the API answers");
    (answer.status, answer.body)
}

fn segments(rig: &Rig) -> Vec<PathBuf> {
    let files = std::fs::read_dir(rig.collector_data().join("log/0")).expect("there is a log");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    files.sort();
    files
}

/// Whether every byte and batch of the log can be proved.
fn is_sound(rig: &Rig) -> (bool, String) {
    let mut command = Command::new(binary("afferent-collector"));
    let (status, printed) = run_to_end(command.args(["log", "verify", "--data"]).arg(rig.collector_data()));
    (status.success(), printed)
}

/// The first segment of which the log does not say that it goes: the stop may have come between the word and the removal.
fn first_to_stay(rig: &Rig) -> PathBuf {
    let mut command = Command::new(binary("afferent-collector"));
    let (_, printed) = run_to_end(command.args(["log", "dump", "--data"]).arg(rig.collector_data()));
    let events = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let trimmed = events.filter(|event| event["data"]["change"] == "trimmed");
    let until = trimmed.filter_map(|event| event["data"]["until"].as_str()?.parse::<u64>().ok()).max();
    let first_of = |path: &PathBuf| path.file_name()?.to_str()?.split('-').next()?.parse::<u64>().ok();
    let mut staying = segments(rig).into_iter().filter(|path| first_of(path) >= until);
    until.and_then(|_| staying.next()).expect("the log says what goes, and keeps the rest")
}

#[test]
fn samples_go_earlier_and_breakdowns_stay() {
    let mut rig = Rig::new("retention-samples");
    rig.collector_extra = "storage.segment_mib = 1\n".into();
    let (collector, agent) = filled(&rig);
    rig.break_down("E77");
    rig.wait_logged("E77");
    let span = "from=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z";
    let certificate = |rig: &Rig, what: &str| {
        let (_, body) = get(rig, &format!("/v1/certificate?source=press-88&{span}"));
        let certificate: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{what}: {body}"));
        certificate["causes"].to_string()
    };
    // Nobody has retired the agent, and no span ends behind what it will say: that much is open.
    assert_eq!(certificate(&rig, "whole"), r#"["open"]"#);
    let first_sample = |rig: &Rig| {
        let (_, line) = get(rig, "/v1/events?type=sample&limit=1");
        let event: Value = serde_json::from_str(&line).expect("there is a sample");
        event["offset"].as_str().expect("an offset").parse::<u64>().expect("a number")
    };
    let before = first_sample(&rig);
    let bytes = |rig: &Rig| -> u64 { segments(rig).iter().map(|path| path.metadata().expect("a file").len()).sum() };
    let bytes_before = bytes(&rig);
    collector.terminate();

    rig.collector_extra += "retention.samples_age = \"1s\"\n";
    let collector = rig.start_collector();
    wait_for("old samples are gone", || {
        let emptied = rig.collector_figure("afferent_samples_emptied_total")?;
        (emptied > LINES / 2 && first_sample(&rig) > before).then_some(())
    });
    assert!(bytes(&rig) < bytes_before / 2, "{} bytes are left of {bytes_before}", bytes(&rig));
    assert_eq!(rig.collector_figure("afferent_log_first_offset"), Some(0), "their places stay");
    let (_, breakdowns) = get(&rig, "/v1/events?type=breakdown");
    assert!(breakdowns.lines().count() == 1 && breakdowns.contains("E77"), "{breakdowns}");
    let (_, told) = get(&rig, "/v1/events?type=lifecycle&limit=1000");
    assert!(told.contains(r#""change":"emptied","stream":"samples""#), "{told}");
    assert_eq!(certificate(&rig, "without samples"), r#"["removed","open"]"#);
    let (status, all) = get(&rig, "/v1/events?limit=100000");
    assert!(status == 200 && !all.contains("unreadable"), "what is gone is passed over");
    rig.break_down("E78");
    wait_for("agents go on", || get(&rig, "/v1/events?type=breakdown").1.contains("E78").then_some(()));
    agent.terminate();
    collector.terminate();
    let (proved, printed) = is_sound(&rig);
    assert!(proved, "{printed}");
}

#[test]
fn the_oldest_part_goes_and_nothing_that_is_needed_goes_with_it() {
    let mut rig = Rig::new("retention");
    rig.collector_extra = "storage.segment_mib = 1\n".into();
    let (collector, agent) = filled(&rig);
    collector.terminate();
    assert!(segments(&rig).len() > 6, "{} segments", segments(&rig).len());

    // The control: started again without a rule, it keeps everything.
    let collector = rig.start_collector();
    let (posted_at, duplicate) = post(&rig);
    assert!(duplicate && rig.collector_figure("afferent_log_first_offset") == Some(0));
    collector.terminate();

    rig.collector_extra += "retention.size_mib = 4\n";
    let collector = rig.start_collector();
    let first = wait_for("the oldest segments are gone", || {
        let gone = rig.collector_figure("afferent_segments_trimmed_total")? > 0;
        let first = rig.collector_figure("afferent_log_first_offset")?;
        (gone && first > 0 && segments(&rig).len() <= 5).then_some(first)
    });
    let trimmed = rig.wait_event("the log says so", |event| event["data"]["change"] == "trimmed");
    assert_eq!(trimmed["data"], json!({"change": "trimmed", "until": first.to_string(), "rule": "more than 4 MiB"}));

    let (status, problem) = get(&rig, "/v1/events?from=0");
    assert!(status == 410 && problem.contains(&first.to_string()), "{status} {problem}");
    let fetched = ask(rig.http, "POST", "/v1/subscriptions/archive/fetch?member=a", "text/plain", "");
    let fetched = fetched.expect("the API answers");
    assert!(fetched.status == 410 && fetched.body.contains(&format!("reset it to {first}")), "{}", fetched.body);
    assert_eq!(post(&rig), (posted_at, true), "what was posted once is there, although its place is gone");

    rig.break_down("E77");
    rig.wait_logged("E77");
    let missing = rig.collector_figure("afferent_agent_missing_events");
    assert_eq!(missing, Some(0), "what retention has removed is not missing");
    agent.terminate();
    collector.terminate();

    let collector = rig.start_collector();
    let lost = rig.collector_figure("afferent_agent_missing_events");
    assert_eq!(lost, Some(0), "nor after a start that has only the rest to go by");
    assert!(!rig.events().iter().any(|event| event["data"]["change"] == "gap"));
    collector.terminate();
    let (proved, printed) = is_sound(&rig);
    assert!(proved, "{printed}");
    std::fs::remove_file(first_to_stay(&rig)).expect("it can be removed");
    let (proved, printed) = is_sound(&rig);
    assert!(!proved, "what goes without a word is found: {printed}");
}
