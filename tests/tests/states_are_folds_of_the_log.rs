//! A state is a function of the log before a place, and of nothing else: whatever was killed, saved, damaged or assumed on the
//! way. The judge is a fold of the log's files from the first event, without a collector and without anything it has saved.

use std::process::Command;

use afferent_tests::process::{Folder, Process, Rig, binary, get, get_text, run_to_end, wait_for};
use serde_json::Value;

const MODELS: [&str; 6] = ["states@1", "breakdowns@1", "alarms@1", "last@1", "kpi@1", "sources@1"];

/// Breakdowns, recoveries, states, alarms and samples of two machines, the same for the same number.
fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |number: u64| {
        let machine = if number.is_multiple_of(5) { "77-A" } else { "88-C" };
        let time = 1_700_000_000_000_000 + number * 3_000_000;
        let rest = match number % 8 {
            0 => r#""type":"state","state":"executing""#,
            1 => r#""type":"breakdown","code":"BELT-1","severity":"error","message":"torn""#,
            2 => r#""type":"recovery","code":"BELT-1""#,
            3 => r#""type":"alarm","condition":"slip","transition":"raised","priority":700"#,
            4 => r#""type":"breakdown","code":"OIL","severity":"error","message":"low""#,
            5 => r#""type":"recovery","code":"OIL""#,
            _ => r#""value":81.5,"unit":"Cel""#,
        };
        format!("{{\"subject\":\"{machine}/part\",\"time\":{time},{rest}}}\n")
    };
    numbers.map(line).collect()
}

/// Has the agent take events, and waits until all of them are in the log. Gives the log's end.
fn produce(rig: &Rig, numbers: std::ops::Range<u64>) -> u64 {
    let before = rig.log_end().expect("the collector tells its end");
    let mut producer = rig.producer();
    producer.send(lines(numbers.clone()).as_bytes()).expect("the agent reads");
    let count = numbers.end - numbers.start;
    producer.wait_accepted(count).expect("the agent answers");
    assert!(producer.refused().is_empty(), "{:?}", producer.refused());
    wait_for("the events are in the log", || rig.log_end().filter(|end| *end >= before + count))
}

fn get_json(rig: &Rig, path: &str) -> Value {
    let text = wait_for(path, || get_text(rig.http, path));
    serde_json::from_str(&text).expect("the API answers with JSON")
}

/// Waits until all models have seen everything before `end`.
fn wait_models(rig: &Rig, end: u64) {
    wait_for("the models have caught up", || {
        let list: Value = serde_json::from_str(&get_text(rig.http, "/v1/models")?).ok()?;
        let seen = |model: &Value| {
            let offset: u64 = model["offset"].as_str().and_then(|offset| offset.parse().ok()).unwrap_or(0);
            model["state"] == "live" && offset >= end
        };
        list.as_array()?.iter().all(seen).then_some(())
    });
}

/// What the running collector says of a place.
fn told(rig: &Rig, model: &str, as_of: u64) -> Value {
    get_json(rig, &format!("/v1/models/{model}?as_of={as_of}"))
}

/// What `afferent-collector models …` prints as JSON.
fn command(arguments: &[&str]) -> Value {
    let (status, printed) = run_to_end(Command::new(binary("afferent-collector")).arg("models").args(arguments));
    assert!(status.success(), "{arguments:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// What the log's files say of a place.
fn judged(rig: &Rig, model: &str, as_of: u64) -> Value {
    let data = rig.collector_data();
    let data = data.to_str().expect("a path of letters");
    command(&["show", model, "--as-of", &as_of.to_string(), "--log", data, "--output", "json"])
}

fn assert_as_judged(rig: &Rig, as_of: u64) {
    for model in MODELS {
        assert_eq!(told(rig, model, as_of), judged(rig, model, as_of), "{model} as of {as_of}");
    }
}

fn snapshots(rig: &Rig) -> u64 {
    let list = get_json(rig, "/v1/models");
    list.as_array().expect("a list").iter().map(|model| model["snapshots"].as_u64().expect("a count")).sum()
}

#[test]
fn states_are_made_again_after_a_kill_from_what_was_saved_and_what_came_after_it() {
    let rig = Rig::new("models-kill");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let saved_at = produce(&rig, 0..400);
    wait_models(&rig, saved_at);
    // A clean stop saves; a kill does not.
    assert!(collector.terminate().success());
    let collector = rig.start_collector();
    let end = produce(&rig, 400..700);
    wait_models(&rig, end);
    collector.kill();
    let running = rig.start_collector();
    wait_models(&rig, end);
    assert!(snapshots(&rig) >= MODELS.len() as u64, "it goes on from what was saved");
    assert_as_judged(&rig, end);
    // The control: what came after the save, and was killed, makes a difference.
    assert_ne!(told(&rig, "kpi@1", end)["state"], told(&rig, "kpi@1", saved_at)["state"]);
    running.kill();
    std::fs::remove_dir_all(rig.collector_data().join("models")).expect("there are snapshots");
    let _running = rig.start_collector();
    wait_models(&rig, end);
    assert_as_judged(&rig, end);
}

#[test]
fn as_of_any_offset_a_state_is_what_a_replay_to_there_gives() {
    let rig = Rig::new("models-as-of");
    let _agent = rig.start_agent();
    let mut ends = vec![0];
    for round in 0..3 {
        let collector = rig.start_collector();
        let end = produce(&rig, round * 150..(round + 1) * 150);
        wait_models(&rig, end);
        ends.push(end);
        assert!(collector.terminate().success());
    }
    let _collector = rig.start_collector();
    wait_models(&rig, ends[3]);
    let mut rng = afferent_tests::rng::Rng::new(4);
    let random = (0..4).map(|_| rng.below(ends[3] + 1));
    for offset in ends.iter().copied().chain(random) {
        assert_as_judged(&rig, offset);
    }
    // As of a time is before the first event that was ingested then.
    let events = rig.events();
    let ingested = |offset: u64| events[offset as usize]["ingesttime"].as_str().expect("a time").to_owned();
    let time = ingested(ends[2] + 10);
    let by_time = get_json(&rig, &format!("/v1/models/kpi@1?as_of={time}"));
    let offset: u64 = by_time["offset"].as_str().and_then(|offset| offset.parse().ok()).expect("an offset");
    assert!(ingested(offset) == time && ingested(offset - 1) < time, "{offset} is the first of {time}");
    assert_eq!((&by_time["time"], &by_time["state"]), (&Value::from(time), &judged(&rig, "kpi@1", offset)["state"]));

    let (status, body) = get(rig.http, &format!("/v1/models/kpi?as_of={}", ends[3] + 1_000_000)).expect("an answer");
    assert_eq!(status, 416, "{}", String::from_utf8_lossy(&body));
}

#[test]
fn a_snapshot_of_another_log_is_not_believed() {
    let foreign = Rig::new("models-foreign");
    let collector = foreign.start_collector();
    let agent = foreign.start_agent();
    let foreign_end = produce(&foreign, 0..50);
    wait_models(&foreign, foreign_end);
    let foreign_kpi = told(&foreign, "kpi@1", foreign_end)["state"].clone();
    assert!(collector.terminate().success());
    drop(agent);

    let rig = Rig::new("models-own");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let end = produce(&rig, 1000..1700);
    wait_models(&rig, end);
    assert!(collector.terminate().success());
    let (own, other) = (rig.collector_data().join("models"), foreign.collector_data().join("models"));
    std::fs::remove_dir_all(&own).expect("there are snapshots");
    let (status, said) = run_to_end(Command::new("cp").arg("-r").arg(&other).arg(&own));
    assert!(status.success(), "{said}");

    let collector: Process = rig.start_collector();
    wait_models(&rig, end);
    assert_as_judged(&rig, end);
    assert!(collector.printed().contains("another log"), "it is said: {}", collector.printed());
    // The control: believed, it would have been wrong from there on.
    assert_ne!(judged(&rig, "kpi@1", foreign_end)["state"], foreign_kpi);
}

#[test]
fn a_recomputed_model_is_that_of_a_fresh_run_and_is_told_meanwhile() {
    let rig = Rig::new("models-recompute");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let end = produce(&rig, 0..300);
    wait_models(&rig, end);
    let http = rig.http.to_string();
    for from in [None, Some("100")] {
        let mut recompute = Command::new(binary("afferent-collector"));
        recompute.args(["models", "recompute", "kpi@1", "--http", &http]);
        from.into_iter().for_each(|from| _ = recompute.args(["--from", from]));
        let (status, said) = run_to_end(&mut recompute);
        assert!(status.success() && said.contains("recomputed"), "{said}");
        assert_eq!(get(rig.http, "/v1/models/kpi@1").expect("an answer").0, 200);
        assert_as_judged(&rig, end);
    }
}

#[test]
fn a_what_if_that_assumes_nothing_is_exactly_what_happened_and_one_that_does_is_not() {
    let rig = Rig::new("models-what-if");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let end = produce(&rig, 0..300);
    wait_models(&rig, end);
    let folder = Folder::new("plan");
    let plan = folder.join("plan.toml");
    let text = "[[alternative]]\nname = \"nothing\"\n[[alternative]]\nname = \"no belt failures\"\n\
                [[alternative.rule]]\naction = \"drop\"\ntype = \"breakdown\"\nwhen = 'code.startsWith(\"BELT\")'\n";
    std::fs::write(&plan, text).expect("the folder can be written");
    let log = || {
        let files = std::fs::read_dir(rig.collector_data().join("log").join("0")).expect("there is a log");
        let content = |file: std::fs::DirEntry| (file.file_name(), std::fs::read(file.path()).expect("a segment"));
        files.map(|file| content(file.expect("a file"))).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = log();
    let (plan, http, until) = (plan.to_str().expect("letters"), rig.http.to_string(), end.to_string());
    let report = command(&["what-if", plan, "--until", &until, "--http", &http, "--output", "json"]);
    for model in MODELS {
        let actual = &told(&rig, model, end)["state"];
        assert_eq!(&report["actual"][model], actual, "{model}");
        assert_eq!(&report["alternatives"][0]["states"][model], actual, "{model}");
    }
    assert_eq!(report["alternatives"][0]["changes"], serde_json::json!({}));
    let failures = |states: &Value| states["kpi@1"]["machines"]["88-C"]["failures"].as_u64().expect("a count");
    assert!(failures(&report["alternatives"][1]["states"]) < failures(&report["actual"]));
    assert_eq!(log(), before, "the log is as it was");
    let data = rig.collector_data();
    let data = data.to_str().expect("letters");
    let offline = command(&["what-if", plan, "--until", &until, "--log", data, "--output", "json"]);
    assert_eq!((&offline["actual"], &offline["alternatives"]), (&report["actual"], &report["alternatives"]));
}

#[test]
fn questions_that_make_no_sense_are_refused_and_the_models_go_on() {
    let rig = Rig::new("models-bad-input");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let end = produce(&rig, 0..20);
    wait_models(&rig, end);
    for (path, status, named) in [
        ("/v1/models/kpis", 404, "kpis"),
        ("/v1/models/kpi@2", 404, "kpi@2"),
        ("/v1/models/kpi@99999999999", 404, "kpi@99999999999"),
        ("/v1/models/..%2F..%2Fetc", 404, "etc"),
        ("/v1/models/kpi?as_of=yesterday", 400, "as_of"),
        ("/v1/models/kpi?as_of=99999999", 416, "99999999"),
        ("/v1/models/kpi?asof=1", 400, "asof"),
        ("/v1/models/kpi?as_of=1&as_of=2", 400, "twice"),
        ("/v1/models/diff?left=kpi@1", 400, "right"),
        ("/v1/models/diff?left=kpi@1&right=last@1", 400, "last@1"),
        ("/v1/models/kpi/recompute", 405, "method"),
    ] {
        let (got, body) = get(rig.http, path).expect("an answer");
        let body = String::from_utf8_lossy(&body);
        assert!(got == status && body.contains(named), "{path}: {got} {body}");
    }
    let folder = Folder::new("bad-plan");
    let http = rig.http.to_string();
    let rule = |rule: &str| format!("[[alternative]]\nname = \"x\"\n[[alternative.rule]]\naction = \"drop\"\n{rule}\n");
    for (plan, named) in [
        (rule("when = 'code =='"), "alternative \"x\", rule 1"),
        (rule("when = 'value > 3.0'"), "rule 1: `when` cannot be evaluated for the event at offset"),
        (rule("when = '[1].all(x, true)'"), "loops over a list"),
        ("x".repeat(100_000), "more than 65536 bytes"),
    ] {
        std::fs::write(folder.join("plan.toml"), plan).expect("the folder can be written");
        let mut what_if = Command::new(binary("afferent-collector"));
        what_if.current_dir(folder.path()).args(["models", "what-if", "plan.toml", "--http", &http]);
        let (status, said) = run_to_end(&mut what_if);
        assert!(!status.success() && said.contains(named), "{named}: {said}");
    }
    assert_as_judged(&rig, end);
}
