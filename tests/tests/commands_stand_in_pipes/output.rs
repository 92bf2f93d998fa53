//! Output for people, for programs, and for nobody.

use std::process::Stdio;

use afferent_tests::process::{Piped, Rig, free_address, get_text, run_unread, wait_for};

use super::*;

#[test]
fn events_are_written_as_lines_for_people_as_json_lines_or_as_one_batch() {
    let rig = Rig::new("output");
    let _collector = rig.start_collector();
    let told = post(&rig, 0..30);
    let risky = event(30).to_string().replace("88-C", "\u{202e}89-C").replace("30}", "30,\"text\":\"\\u001b[2J\"}");
    run_in_pipe(&mut asking(&rig, "emit --stdin"), risky.as_bytes()).well();
    let by_api = get_text(rig.http, &format!("/v1/events?type={KIND}")).expect("the API answers");
    let name = "sub --name output --member one --from first";
    for reader in ["replay", "sub --from first --limit 31", "tap --last 9999 --limit 31", name] {
        let reader = format!("{reader} --type {KIND} --output");
        let limit = if reader.starts_with(name) { "--limit 31" } else { "" };
        let output = |kind: &str| {
            // A name that is new each time begins at the beginning.
            said(&rig, &format!("{reader} {kind} {limit}").replace("--name output", &format!("--name {kind}")))
        };
        assert_eq!(output("json"), by_api, "{reader}");
        let batch: Vec<Value> = serde_json::from_str(&output("cloudevents")).expect("one document");
        let expected: Vec<Value> = by_api.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(batch == expected, "{reader}");
        let table = output("table");
        assert_eq!(table.lines().count(), told.len() + 1, "one line each: {table}");
        let is_plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(table.chars().all(is_plain), "colours are for terminals, and nothing else is for any: {table:?}");
        for (line, (number, offset)) in table.lines().zip(&told) {
            let words: Vec<_> = line.split_whitespace().collect();
            let seconds = format!("2021-09-13T00:00:{number:02}Z");
            assert_eq!(words[..4], [&offset.to_string(), &seconds, "88-C", KIND], "{line}");
        }
    }
    for (kind, nothing) in [("json", ""), ("table", ""), ("cloudevents", "[]\n")] {
        assert_eq!(said(&rig, &format!("replay --type com.example.none.v1 --output {kind}")), nothing);
    }
}

#[test]
fn where_nobody_reads_any_more_every_command_ends_without_a_word() {
    let rig = Rig::new("unread");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    post(&rig, 0..3000);
    rig.wait_healthy();
    for begin in [
        "replay --output table".to_owned(),
        "replay --output json".to_owned(),
        "replay --output cloudevents".to_owned(),
        "sub --from first".to_owned(),
        "sub --name unread --from first".to_owned(),
        "tap --last 2000".to_owned(),
        "lag".to_owned(),
        "agents --output json".to_owned(),
        "models list".to_owned(),
        "models show kpi".to_owned(),
        "emit --type a.v1 --subject 88-C".to_owned(),
    ] {
        let said = run_unread(&mut asking(&rig, &begin));
        assert!(said.status.success() && said.err.is_empty(), "{begin}: {} {}", said.status, said.err);
    }
    let data = rig.collector_data();
    let at = data.display();
    for begin in [
        format!("log info --data {at}"),
        format!("log verify --data {at}"),
        format!("log dump --data {at}"),
        format!("certificate --source press-88 --from 2021-09-13T00:00:00Z --until 2021-09-14T00:00:00Z --data {at}"),
        format!("check --reload --data {at}"),
        "completions bash".to_owned(),
        "--help".to_owned(),
    ] {
        let said = run_unread(&mut collector(&begin));
        assert!(said.status.success() && said.err.is_empty(), "{begin}: {} {}", said.status, said.err);
    }
    // Somebody who reads a little, as `head` does.
    let mut replay = Piped::start("replay", &mut asking(&rig, "replay --output json"), &rig.folder.join("head.log"));
    replay.read_lines(3);
    let log = rig.folder.join("head.log");
    assert!(replay.hang_up().wait().success());
    assert_eq!(std::fs::read_to_string(log).expect("it was made"), "");
    // The control: another error of the same write is told.
    for begin in ["replay", "sub --from first", "lag", "emit --type a.v1 --subject 88-C"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = asking(&rig, begin).stdin(Stdio::null()).stdout(full).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("standard output"), "{begin}: {said}");
    }
}

#[test]
fn up_goes_on_when_nobody_looks_and_ends_as_it_always_does() {
    let rig = Rig::new("unseen");
    let words = format!("up --data {} --mqtt {} --http {}", rig.data.display(), free_address(), rig.http);
    let mut up = Piped::start("up", &mut collector(&words), &rig.folder.join("up.log"));
    up.read_lines(1);
    let up = up.hang_up();
    let end = wait_for("it runs", || rig.log_end());
    wait_for("events come on", || rig.log_end().filter(|now| *now > end + 10));
    let log = rig.folder.join("up.log");
    assert!(up.terminate().success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
}
