//! The commands read the log and add to it as the API does, and stand in pipes: in order, each event once, over kills; a
//! line that is wrong is named, and where nobody reads any more they end without a word.

mod emit;
mod output;
mod package;
mod places;
mod replay;
mod tap;

use std::ops::Range;
use std::process::Command;

use afferent_tests::process::{Rig, ask, binary, run_in_pipe, wait_for};
use serde_json::{Value, json};

const KIND: &str = "com.example.count.v1";

/// The command line of these words.
fn collector(words: &str) -> Command {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(words.split_whitespace());
    command
}

/// The same, which asks the rig's collector.
fn asking(rig: &Rig, words: &str) -> Command {
    let mut command = collector(words);
    command.arg("--http").arg(rig.http.to_string());
    command
}

/// What such a command writes when all is well.
fn said(rig: &Rig, words: &str) -> String {
    run_in_pipe(&mut asking(rig, words), b"").well()
}

/// The event of a number, which happened so many seconds after midnight.
fn event(number: u64) -> Value {
    let time = format!("2021-09-13T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60);
    json!({"specversion": "1.0", "id": number.to_string(), "source": "/counter", "type": KIND, "subject": "88-C",
        "time": time, "data": {"number": number}})
}

fn lines(numbers: Range<u64>) -> String {
    numbers.map(|number| event(number).to_string() + "\n").collect()
}

/// Posts events beside the command line; gives the number and offset of each.
fn post(rig: &Rig, numbers: Range<u64>) -> Vec<(u64, u64)> {
    let part = |at: u64| {
        let body = lines(at..(at + 500).min(numbers.end));
        let answer = wait_for("events are taken", || {
            let answer = ask(rig.http, "POST", "/v1/events", "application/x-ndjson", &body).ok()?;
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{}", answer.body);
        let told: Value = serde_json::from_str(&answer.body).expect("the answer is JSON");
        told["events"].as_array().expect("a list of events").clone()
    };
    let placed = numbers.clone().step_by(500).flat_map(part);
    placed.map(|event| (decimal(&event["id"]), decimal(&event["offset"]))).collect()
}

fn decimal(text: &Value) -> u64 {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a number in a text: {text}"))
}

/// Number and offset of each event of an output of lines.
fn numbers(output: &str) -> Vec<(u64, u64)> {
    output.lines().map(number_and_offset).collect()
}

fn number_and_offset(line: &str) -> (u64, u64) {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (event["data"]["number"].as_u64().unwrap_or_else(|| panic!("not one of ours: {line}")), decimal(&event["offset"]))
}

/// The numbers that stand in the log, in its order, as the API tells.
fn in_the_log(rig: &Rig) -> Vec<(u64, u64)> {
    let events = rig.events().into_iter().filter(|event| event["type"] == KIND);
    events.map(|event| number_and_offset(&event.to_string())).collect()
}
