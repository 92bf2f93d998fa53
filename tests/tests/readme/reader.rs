//! `protocol/README.md` is enough to read a log: a reader in Python that was made from it reads what the programs have written.

use super::keys::{collector, data, key};
use super::*;
use afferent_tests::process::Rig;

/// What `tests/formats/reader.py` prints of the log's only segment; `None` where there is no Python.
fn read(rig: &Rig, key: &str) -> Option<String> {
    let folder = rig.collector_data().join("log/0");
    let mut segments: Vec<_> =
        std::fs::read_dir(folder).expect("there is a log").map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    assert_eq!(segments.len(), 1);
    let script = root().join("tests/formats/reader.py");
    let mut python = Command::new("python3");
    match python.arg("-B").arg(script).args(["--key", key]).arg(&segments[0]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => Some(String::from_utf8(output.expect("python3 starts").stdout).expect("it prints UTF-8")),
    }
}

#[test]
fn a_log_of_two_terms_and_two_keys_is_read_and_held_against_itself_from_the_specification_alone() {
    let mut rig = Rig::new("readme-reader");
    rig.collector_extra = "storage.segment_mib = 1".into();
    let (running, agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    rig.wait_logged("E1");
    let first = key(&rig, "show");
    running.terminate();
    key(&rig, "rotate");
    let running = rig.start_collector();
    rig.break_down("E2");
    rig.wait_logged("E2");
    agent.terminate();
    running.terminate();

    let Some(text) = read(&rig, &first) else {
        println!("NOT CHECKED: a log by reader.py, because there is no python3");
        return;
    };
    let wrong: Vec<_> =
        text.lines().filter(|line| line.starts_with("problem: ") || line.starts_with("refused: ")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let count = |kind: &str| text.lines().filter(|line| line.starts_with("event: ") && line.contains(kind)).count();
    assert_eq!((count(" termbegun "), count(" keyendorsed ")), (2, 1));
    assert!(count(" attested ") >= 2, "each stop attests: {text}");

    let (_, dump) = collector(&["log", "dump", "--data", data(&rig)]);
    let events = dump.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let place = |event: serde_json::Value| {
        let sequence: u64 = event["sequence"].as_str()?.parse().ok()?;
        Some(format!("sequence={sequence} {}", event["subject"]))
    };
    let expected: Vec<_> = events.filter_map(place).collect();
    let read = text.lines().filter_map(|line| {
        let (sequence, rest) = line.strip_prefix("event: ")?.split_once(" time=")?;
        let (_, subject) = rest.split_once(" subject=")?;
        Some(format!("{sequence} \"{}\"", subject.split('"').nth(1)?))
    });
    assert_eq!(read.collect::<Vec<_>>(), expected);
    assert!(expected.len() > 8, "{expected:?}");
    let stranger = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert!(self::read(&rig, stranger).is_some_and(|text| text.contains("problem: ")), "the control");
}
