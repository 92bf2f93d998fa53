//! What README shows is so: its configurations are valid, its links lead somewhere, and machine 88-C breaks down.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Folder, Process, Rig, binary, free_address, get_text, run_to_end, wait_for};

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
    for (kind, count) in [("agent", 1), ("collector", 4)] {
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

/// What README's commands of this kind print, run one after the other in `folder`, against the collector at `http`.
fn run_commands(begin: &str, folder: &Path, http: &str) -> Vec<(String, String)> {
    let text = readme();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(begin)).collect();
    let run = |command: &&str| {
        let mut process = Command::new(binary("afferent-collector"));
        process.current_dir(folder).arg("models").args(command.split(' '));
        if !command.contains("--log ") {
            process.arg("--http").arg(http);
        }
        let (status, said) = run_to_end(&mut process);
        assert!(status.success(), "{command}: {said}");
        (command.to_string(), said)
    };
    commands.iter().map(run).collect()
}

#[test]
fn the_stories_of_states_run_as_they_are_told() {
    let rig = Rig::new("readme-models");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let event = |second: u64, rest: &str| {
        format!("{{\"subject\":\"88-C\",\"time\":{},{rest}}}\n", 1_700_000_000_000_000 + second * 1_000_000)
    };
    let mut lines = event(0, r#""type":"state","state":"executing""#);
    for (second, code) in [(100, "BELT-1"), (300, "PM"), (500, "OIL")] {
        lines += &event(second, &format!(r#""type":"breakdown","code":"{code}","severity":"error""#));
        lines += &event(second + 100, &format!(r#""type":"recovery","code":"{code}""#));
    }
    lines += &event(1000, r#""value":1.5"#);
    let mut producer = rig.producer();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(8).expect("the agent answers");
    wait_for("the models have seen the last of it", || {
        let kpi: serde_json::Value = serde_json::from_str(&get_text(rig.http, "/v1/models/kpi")?).ok()?;
        (kpi["state"]["machines"]["88-C"]["planned_s"] == 1000.0).then_some(())
    });

    let folder = rig.folder.path();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("the folder can be written");
    write("plan.toml", &configurations("plan")[0]);
    let with_model = configurations("collector").into_iter().find(|text| text.contains("[[model]]"));
    write("collector.toml", &with_model.expect("README adds a model"));
    std::fs::create_dir(folder.join("afferent-data")).expect("the folder can be written");
    let place = folder.join("afferent-data").join("collector");
    std::os::unix::fs::symlink(rig.collector_data(), place).expect("the folder can be written");

    let said = run_commands("    cargo run --release -- models ", folder, &rig.http.to_string());
    let of = |command: &str| {
        let found = said.iter().filter(|(run, _)| run.starts_with(command)).map(|(_, said)| said.as_str());
        found.collect::<Vec<_>>().join("\n")
    };
    assert!(said.len() >= 6, "{said:?}");
    assert!(of("list").contains("kpi@1") && of("list").contains("live"), "{}", of("list"));
    assert!(of("show").contains("88-C") && of("show").contains("0.7"), "{}", of("show"));
    assert!(of("recompute").contains("made again"), "{}", of("recompute"));
    // Three failures of 100 s in 1000 s; the planned stop is none, or the belt's is away.
    let line = |text: &str| text.lines().find(|line| line.contains("88-C/availability")).map(str::to_owned);
    for command in ["diff", "what-if"] {
        let line = line(&of(command)).unwrap_or_else(|| panic!("{}", of(command)));
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["88-C/availability", "0.7", "0.8", "+0.1"],
            "{command}"
        );
    }
}
