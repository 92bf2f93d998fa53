//! Data directories of former versions, kept in `tests/data/directories`: the programs of today open them, find in them what
//! the former ones had written, and go on.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Rig, ask, binary, run_to_end, wait_for};
use serde_json::Value;

/// What was kept, one archive for each version.
fn archives() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/directories");
    let files = std::fs::read_dir(folder).expect("directories are kept").map(|file| file.expect("a file").path());
    let mut archives: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "gz")).collect();
    archives.sort();
    archives
}

/// A rig whose data directories are those of an archive.
fn unpacked(archive: &Path) -> Rig {
    let rig = Rig::new("old-directories");
    let (status, said) = run_to_end(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(rig.folder.path()));
    assert!(status.success(), "{said}");
    rig
}

fn collector(rig: &Rig, arguments: &[&str]) -> String {
    let mut command = Command::new(binary("afferent-collector"));
    let (status, said) = run_to_end(command.args(arguments).arg("--data").arg(rig.collector_data()));
    assert!(status.success(), "{arguments:?}: {said}");
    said
}

fn kept(rig: &Rig, name: &str) -> String {
    std::fs::read_to_string(rig.folder.join(name)).expect("it is in the archive")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether all that was kept is there as it was. What a later version adds does not count.
fn holds(now: &Value, kept: &Value) -> bool {
    match (now, kept) {
        (Value::Object(now), Value::Object(kept)) => {
            kept.iter().all(|(key, kept)| now.get(key).is_some_and(|now| holds(now, kept)))
        }
        (Value::Array(now), Value::Array(kept)) => {
            now.len() == kept.len() && now.iter().zip(kept).all(|(now, kept)| holds(now, kept))
        }
        (now, kept) => now == kept,
    }
}

/// Events by lines, as `log dump` prints them.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter(|line| line.starts_with('{')).map(json).collect()
}

#[test]
fn the_log_of_a_former_version_is_proved_and_read_as_it_was() {
    let archives = archives();
    assert!(!archives.is_empty(), "the archives are found");
    for archive in archives {
        let rig = unpacked(&archive);
        collector(&rig, &["log", "verify"]);
        let (now, mut before) = (events(&collector(&rig, &["log", "dump"])), events(&kept(&rig, "events.ndjson")));
        assert!(before.len() > 1_000, "{}", archive.display());
        let differs = now.iter().zip(&before).find(|(now, kept)| !holds(now, kept));
        assert_eq!((now.len(), differs), (before.len(), None), "{}", archive.display());
        let last = before.last_mut().expect("there are some");
        last["subject"] = "other".into();
        assert!(!holds(now.last().expect("there are some"), last), "the control: a difference is noticed");
    }
}

#[test]
fn a_collector_and_an_agent_go_on_where_a_former_version_stopped() {
    for archive in archives() {
        let rig = unpacked(&archive);
        let _collector = rig.start_collector();
        let get = |path: &str| json(&ask(rig.http, "GET", path, "", "").expect("it answers").body);

        // Where a subscription was, and which events were posted.
        let subscription = json(&kept(&rig, "subscription.json"));
        assert_ne!(subscription["cursors"][0], "0", "it had committed something");
        assert_eq!(get("/v1/subscriptions/wear")["cursors"], subscription["cursors"]);
        let kept_events = events(&kept(&rig, "events.ndjson"));
        let posted = kept_events.iter().find(|event| event["data"]["id"] == "wear-1").expect("it was posted");
        let again = r#"{"specversion":"1.0","id":"wear-1","source":"/command-line","type":"com.example.wear.v1",
            "subject":"88-C/belt","data":{"left_h":120.50}}"#;
        let answer = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", again).expect("it answers");
        assert_eq!(json(&answer.body)["events"][0]["offset"], posted["offset"], "{}", answer.body);

        // What the models had counted.
        let breakdowns = json(&kept(&rig, "breakdowns.json"))["state"]["episodes"].clone();
        let state = wait_for("the model has all of the log", || {
            Some(get("/v1/models/breakdowns")).filter(|answer| holds(&answer["state"]["episodes"], &breakdowns))
        });
        assert_eq!(state["state"]["episodes"].as_array().map(Vec::len), Some(1));

        // What the ring holds.
        let held = ["H1", "H2", "H3"];
        assert!(!rig.events().iter().any(|event| held.contains(&event["data"]["code"].as_str().unwrap_or_default())));
        let _agent = rig.start_agent();
        rig.wait_logged("H3");
        rig.break_down("NEW");
        rig.wait_logged("NEW");
        let codes: Vec<_> = rig
            .events()
            .iter()
            .filter_map(|event| event["data"]["code"].as_str().map(str::to_owned))
            .filter(|code| held.contains(&code.as_str()) || code == "NEW")
            .collect();
        assert_eq!(codes, ["H1", "H2", "H3", "NEW"], "once, and in order");
        let changes: Vec<_> = rig.events().iter().map(|event| event["data"]["change"].clone()).collect();
        for trouble in ["refused", "vanished", "resealed", "ring_replaced", "rolled_back", "conflict"] {
            assert!(!changes.contains(&trouble.into()), "{trouble}: {changes:?}");
        }
    }
}
