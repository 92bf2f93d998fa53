//! What README shows is so: its configurations are valid, its links lead somewhere, and machine 88-C breaks down.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Folder, Process, binary, free_address, get_text, run_to_end, wait_for};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("there is a README")
}

/// The TOML blocks of this kind.
fn configurations(kind: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```toml {kind}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("split gives at least one").to_owned())
        .collect()
}

/// Has the program check the text as its configuration; gives what it says, or what is wrong.
fn check(program: &str, text: &str) -> Result<String, String> {
    let folder = Folder::new("readme-config");
    let path = folder.join("config.toml");
    std::fs::write(&path, text).expect("the folder can be written");
    let mut command = Command::new(binary(program));
    command.arg("check").arg("--config").arg(&path).env("AFFERENT_PASSWORD", "a password");
    let (status, said) = run_to_end(&mut command);
    if status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn every_configuration_is_valid_and_one_with_another_key_is_not() {
    for (kind, count) in [("agent", 1), ("collector", 2)] {
        let found = configurations(kind);
        assert_eq!(found.len(), count, "configurations of the {kind}");
        for text in found {
            let program = format!("afferent-{kind}");
            check(&program, &text).unwrap_or_else(|said| panic!("{said}\n{text}"));
            let wrong = text.replacen("data", "dada", 1);
            assert!(check(&program, &wrong).is_err(), "an unknown key was taken: {wrong}");
        }
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let text = readme();
    let targets: Vec<_> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let files = targets.iter().filter(|target| !target.contains("://"));
    let missing: Vec<_> = files.filter(|target| !root().join(target).exists()).collect();
    assert!(missing.is_empty(), "README links to what is not there: {missing:?}");
    assert!(targets.len() > 20, "the links were found: {targets:?}");
}

#[test]
fn up_shows_this_machines_events_and_machine_88_c_breaks_down_with_an_offset() {
    let folder = Folder::new("readme-up");
    let (data, http) = (folder.join("afferent-data"), free_address());
    let up = |name: &str| {
        let mut command = Command::new(binary("afferent-collector"));
        command.arg("up").arg("--data").arg(&data).arg("--http").arg(http.to_string());
        command.arg("--mqtt").arg(free_address().to_string());
        Process::start("up", &mut command, &folder.join(name))
    };
    let running = up("first.log");
    wait_for("this machine's events are on the screen", || running.printed().contains("cpu").then_some(()));
    let emit = "breakdown 88-C --code E42 --severity error --time 2021-09-13T23:54:31Z --message";
    let mut command = Command::new(binary("afferent-agent"));
    command.arg("emit").arg("--socket").arg(data.join("agent.sock")).args(emit.split(' '));
    let (status, said) = run_to_end(command.arg("Machine 88-C breaks down"));
    assert!(status.success(), "{said}");
    let find = || {
        let events = get_text(http, "/v1/events?from=0&limit=all")?;
        let mut events =
            events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"));
        events.find(|event| event["subject"] == "88-C")
    };
    let event = wait_for("the breakdown is in the log", find);
    assert!(event["time"].as_str().is_some_and(|time| time.starts_with("2021-09-13T23:54:31")), "{event}");
    assert_eq!(event["data"]["message"], "Machine 88-C breaks down");
    let offset: u64 = event["offset"].as_str().and_then(|offset| offset.parse().ok()).expect("it has an offset");
    let by_offset = get_text(http, &format!("/v1/events?from={offset}&limit=1")).expect("it is read back");
    assert!(by_offset.contains("Machine 88-C breaks down"), "{by_offset}");

    running.signal(rustix::process::Signal::INT);
    let mut running = running;
    wait_for("Ctrl-C ends it", || (!running.is_running()).then_some(()));
    let again = up("second.log");
    wait_for("it goes on where it was", || find().filter(|found| *found == event));
    let (status, said) = (again.terminate(), "it ends cleanly");
    assert!(status.success(), "{said}");
}
