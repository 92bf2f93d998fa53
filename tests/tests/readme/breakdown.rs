//! Machine 88-C breaks down, and is read of, asked after and replayed, as README tells it.

use std::os::unix::fs::PermissionsExt;

use afferent_tests::process::{Folder, Producer, free_address, get_text, run_to_end, wait_for};
use serde_json::Value;

use super::commands::{Live, Told};
use super::states::is_of_states;
use super::*;

/// The lines that README has a producer write.
fn producer_lines() -> String {
    let text = readme();
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with('{'));
    lines.map(|line| line.to_owned() + "\n").collect()
}

fn is_about_88_c(text: &str) {
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let of_88_c = events.iter().filter(|event| event["subject"].as_str().is_some_and(|s| s.starts_with("88-C")));
    assert!(of_88_c.count() > 0, "{text}");
}

#[test]
fn machine_88_c_breaks_down_and_every_command_does_what_is_told() {
    let folder = Folder::new("readme-up");
    let http = free_address();
    let mut told = Told::new(folder.path(), http, free_address(), |command| !is_of_states(command));
    let up = told.start("-- up");
    up.wait_says("cpu");
    told.run("-- emit --socket afferent-data/agent.sock");
    let found = told.run_until("from=0&subject=88-C'", "Machine 88-C breaks down");
    let event: Value = serde_json::from_str(found.trim()).expect("one event");
    assert_eq!(event["data"]["message"], "Machine 88-C breaks down");
    assert!(event["time"].as_str().is_some_and(|time| time.starts_with("2021-09-13T23:54:31")), "{event}");

    let lines = producer_lines();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let socket = folder.join("afferent-data").join("agent.sock");
    let mut producer = Producer::connect(&socket).expect("the agent listens");
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(2).expect("it answers as it is told");
    assert!(producer.refused().is_empty(), "{:?}", producer.refused());

    reading(&mut told);
    adding(&mut told, &folder);

    up.interrupt();
    // What is left needs the log's files alone.
    told.run("-- log verify");
    let certificate = told.run("-- certificate");
    assert!(certificate.contains("88-C"), "{certificate}");
    let (status, printed) = told.tried("cargo run --release -- agents");
    assert!(!status.success() && printed.contains("is it running?"), "the control: a command that fails is noticed");
    assert_eq!(told.left(), ["tests/run                      # everything that continuous integration runs"]);

    let mut again = Told::new(folder.path(), http, free_address(), |command| command.contains("-- up"));
    let again = again.start("-- up");
    let same = |text: String| text.lines().any(|line| serde_json::from_str::<Value>(line).is_ok_and(|e| e == event));
    wait_for("it goes on where it was", || get_text(http, "/v1/events?from=0").filter(|text| same(text.clone())));
    again.interrupt();
}

/// What reads.
fn reading(told: &mut Told) {
    assert_eq!(told.run("from=0&limit=10'").lines().count(), 10, "as many events as were asked for");
    told.start("curl -sN").wait_says("data: {");
    told.start("-- sub --from").wait_says("Machine 88-C breaks down");
    assert!(told.run("-- agents").contains("the log holds offsets"));
    told.start_in_terminal("-- top").wait_says("online");
    is_about_88_c(&told.run_until("subject=88-C/**&time=event", "breaks down"));
    let batch: Vec<Value> = serde_json::from_str(&told.run("severity=warning..' -H")).expect("a batch");
    assert!(batch.iter().any(|event| event["data"]["code"] == "E42"), "{batch:?}");
    let replayed = told.run("-- replay --from");
    assert!(replayed.contains("Machine 88-C breaks down"), "{replayed}");
}

/// What adds, and what follows by name.
fn adding(told: &mut Told, folder: &Folder) {
    assert!(told.run("-- emit --type").trim().parse::<u64>().is_ok(), "it tells an offset");
    assert!(told.run("-d '{\"specversion\"").contains("wear-18"));
    let wear = folder.join("wear");
    std::fs::write(&wear, "#!/bin/sh\nexec head -n 3 >wear.events\n").expect("the folder can be written");
    std::fs::set_permissions(&wear, PermissionsExt::from_mode(0o755)).expect("it is ours");
    told.run("| ./wear");
    let got = std::fs::read_to_string(folder.join("wear.events")).expect("it was written");
    let is_sample =
        |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|event| event["type"] == "afferent.sample.v1");
    assert!(got.lines().count() == 3 && got.lines().all(is_sample), "{got}");
    assert!(told.run("-- lag").contains("wear"));
    let tap: Live = told.start("-- tap --last 20");
    let emit = commands::all().into_iter().find(|command| command.contains("-- emit --socket")).expect("it is told");
    wait_for("a breakdown comes by", || {
        let (status, said) = told.tried(&emit);
        assert!(status.success(), "{said}");
        tap.says("Machine 88-C breaks down").then_some(())
    });
}

#[test]
fn the_agents_defaults_are_a_configuration_that_it_takes() {
    let mut command = Command::new(binary("afferent-agent"));
    let (status, printed) = run_to_end(command.args(["config", "default"]));
    assert!(status.success(), "{printed}");
    check("afferent-agent", &printed).unwrap_or_else(|said| panic!("{said}\n{printed}"));
}
