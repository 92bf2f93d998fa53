//! What is asked for is found without reading the rest of the log, and what finds it is derived: with indexes that are
//! missing or wrong the answers are the same.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use afferent_tests::process::{Answer, Rig, ask, binary, run_to_end, wait_for};
use serde_json::json;

const MACHINES: u64 = 8;
const EVENTS: u64 = 600;
/// Less than half of what is in the log: one machine's events and the newest segment, which has no index yet.
const FEW: u64 = 5 << 19;

/// A rig whose log has segments of 1 MiB.
fn rig(name: &str) -> Rig {
    let mut rig = Rig::new(name);
    rig.collector_extra = "[storage]\nsegment_mib = 1\n".into();
    rig
}

/// Some MiB of events: one machine after the other.
fn fill(rig: &Rig) {
    for machine in 0..MACHINES {
        let event = |number: u64| {
            json!({"specversion": "1.0", "id": format!("{machine}-{number}"), "source": "/filler", "type": "fill.v1",
                "subject": format!("M-{machine}/a"), "data": "x".repeat(1000)})
        };
        let body: String = (0..EVENTS).map(|number| event(number).to_string() + "\n").collect();
        let answer = wait_for("events are taken", || {
            let answer = ask(rig.http, "POST", "/v1/events", "application/x-ndjson", &body).ok()?;
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn files(rig: &Rig, end: &str) -> Vec<PathBuf> {
    let log = rig.collector_data().join("log").join("0");
    let entries = std::fs::read_dir(log).expect("there is a log").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|given| given == end)).collect();
    files.sort();
    files
}

/// Waits until every segment but the newest one has its index; gives the indexes.
fn indexes(rig: &Rig) -> Vec<PathBuf> {
    wait_for("every finished segment has its index", || {
        let (segments, indexes) = (files(rig, "seg"), files(rig, "idx"));
        (segments.len() > 3 && indexes.len() + 1 == segments.len()).then_some(indexes)
    })
}

fn answer(rig: &Rig, query: &str) -> Answer {
    let answer = ask(rig.http, "GET", &format!("/v1/events?limit=2000&{query}"), "text/plain", "").expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

fn read_for(answer: &Answer) -> u64 {
    answer.header("afferent-bytes-read").and_then(|text| text.parse().ok()).expect("it tells what it has read")
}

#[test]
fn one_machines_events_are_found_without_reading_those_of_the_others() {
    let rig = rig("found");
    let collector = rig.start_collector();
    fill(&rig);
    indexes(&rig);
    // The index comes to readers with its file, or a moment before.
    let found = wait_for("only what can hold it is read", || {
        let found = answer(&rig, "subject=M-1/**");
        (read_for(&found) < FEW).then_some(found)
    });
    assert_eq!(found.body.lines().count() as u64, EVENTS);
    let nothing = answer(&rig, "type=sample");
    assert!(read_for(&nothing) < FEW, "of a kind that nobody has the newest segment alone is read");
    // The control: a pattern that names no machine reads everything.
    let all = answer(&rig, "subject=*/nowhere");
    assert!(read_for(&all) > 4 << 20, "{} bytes", read_for(&all));
    collector.kill();
    let _collector = rig.start_collector();
    let again = answer(&rig, "subject=M-1/**");
    assert!(again.body == found.body && read_for(&again) < FEW, "a start by indexes finds the same as cheaply");
}

#[test]
fn with_indexes_that_are_missing_or_wrong_the_answers_are_the_same() {
    let rig = rig("indexes");
    let collector = rig.start_collector();
    fill(&rig);
    let before = rig.events();
    let made = indexes(&rig);
    collector.kill();
    std::fs::remove_file(&made[0]).expect("it is there");
    let file = std::fs::File::options().read(true).write(true).open(&made[1]).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).expect("it is longer");
    file.write_all_at(&[byte[0] ^ 1], 100).expect("it can be written");
    std::fs::write(&made[2], b"no index").expect("it can be written");
    let collector = rig.start_collector();
    let after = rig.events();
    assert!(after.starts_with(&before), "what was there before is there, and comes first");
    indexes(&rig);
    wait_for("the wrong ones were recreated", || (std::fs::read(&made[2]).ok()? != b"no index").then_some(()));
    assert!(collector.terminate().success());
    let mut verify = Command::new(binary("afferent-collector"));
    let (status, said) = run_to_end(verify.arg("log").arg("verify").arg("--data").arg(rig.collector_data()));
    assert!(status.success(), "{said}");
    // The control: of a segment that is damaged no index hides it.
    let segment = std::fs::File::options().read(true).write(true).open(&files(&rig, "seg")[1]).expect("it is there");
    segment.write_all_at(b"?", 200_000).expect("it can be written");
    let (status, said) = run_to_end(verify.arg("--name").arg("collector"));
    assert!(!status.success() && said.contains("NOT as it was written"), "{said}");
}
