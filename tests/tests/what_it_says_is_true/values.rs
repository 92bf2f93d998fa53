//! Values come out as they went in, and nothing is guessed in silence.
//!
//! What comes out is read by hand and not by the programs' own parsers, so that a fault in one cannot hide in the other.

mod columns;
mod future;
mod numbers;
mod posted;
mod replays;
mod times;

use std::process::Command;

use afferent_tests::process::{Process, Rig, Said, binary, get_text, run_in_pipe, wait_for};
use serde_json::Value;

/// A collector and an agent.
struct Pair {
    rig: Rig,
    _collector: Process,
    agent: Process,
}

fn pair(name: &str) -> Pair {
    let rig = Rig::new(name);
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    Pair { rig, _collector: collector, agent }
}

/// Runs a command of the agent against the agent of a rig.
fn agent(rig: &Rig, arguments: &[&str], input: &[u8]) -> Said {
    let mut command = Command::new(binary("afferent-agent"));
    command.args(arguments).arg("--socket").arg(rig.socket());
    run_in_pipe(&mut command, input)
}

/// Replays `text` as a file of this name.
fn replay(rig: &Rig, name: &str, text: &str, arguments: &[&str]) -> Said {
    let path = rig.folder.join(name);
    std::fs::write(&path, text).expect("the folder can be written");
    let path = path.display().to_string();
    let begin = ["replay", path.as_str(), "--subject", "88-C/v", "--speed", "max"];
    agent(rig, &[&begin[..], arguments].concat(), b"")
}

/// The lines of the log about what lies below a subject, as they are sent, once there are `count` of them.
fn lines_about(rig: &Rig, subject: &str, count: usize) -> Vec<String> {
    let path = format!("/v1/events?from=0&limit=all&subject={subject}");
    wait_for(&format!("{count} events about {subject} are in the log"), || {
        let lines: Vec<String> = get_text(rig.http, &path)?.lines().map(str::to_owned).collect();
        assert!(lines.len() <= count, "more than {count} events: {lines:#?}");
        (lines.len() == count).then_some(lines)
    })
}

/// The text of a member of `data`, up to what ends it: digits as they are written.
fn member<'t>(line: &'t str, name: &str) -> &'t str {
    let begin = format!("\"{name}\":");
    let (_, data) = line.split_once("\"data\":").unwrap_or_else(|| panic!("no data: {line}"));
    let (_, rest) = data.split_once(begin.as_str()).unwrap_or_else(|| panic!("no {name}: {line}"));
    if let Some(text) = rest.strip_prefix('"') {
        return &rest[..text.find('"').expect("a text ends") + 2];
    }
    &rest[..rest.find([',', '}', ']']).expect("a value ends")]
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
