//! Every task and thread: its end is reported with the reason, and it is started again or the collector ends.

use afferent_collector::supervise::{PLANTED_PANIC, Part, Remedy};
use afferent_tests::process::{Process, Rig, ask, get, get_text, wait_for};

use super::figure;

/// A rig whose collector has this part. A part that is new has to be told here how it comes to run.
fn rig_of(part: Part) -> Rig {
    let mut rig = Rig::new("parts");
    let heads = rig.folder.join("heads");
    match part {
        Part::Broker => rig.collector_extra = format!("broker = \"mqtt://{}\"\n", rig.mqtt),
        Part::Attestations => rig.collector_extra = format!("[attest]\nfile = {heads:?}\n"),
        Part::Forward => {
            let sink = "[[forward]]\nname = \"hook\"\n[forward.webhook]\nurl = \"http://127.0.0.1:9/\"\nallow = [\"127.0.0.1\"]\n";
            rig.collector_extra = sink.to_owned();
        }
        Part::Endpoint
        | Part::Web
        | Part::Writer
        | Part::Indexer
        | Part::Retention
        | Part::Questions
        | Part::PostedIds
        | Part::Models
        | Part::ModelRebuild => {}
    }
    rig
}

fn start(rig: &Rig, planted: &str) -> Process {
    let mut command = rig.collector_command();
    command.env(PLANTED_PANIC, planted);
    Process::start("collector", &mut command, &rig.folder.join("collector.log"))
}

/// What comes only by asking for it.
fn ask_for(part: Part, rig: &Rig) {
    if part == Part::ModelRebuild {
        wait_for("a model is recomputed", || {
            let answer = ask(rig.http, "POST", "/v1/models/kpi@1/recompute", "application/json", "").ok()?;
            (answer.status == 202 || answer.status == 200 || answer.status == 204).then_some(())
        });
    }
}

#[test]
fn a_part_that_panics_is_named_and_started_again_or_the_collector_ends_with_an_error() {
    // Nothing can be planted in a release.
    if !cfg!(debug_assertions) {
        return;
    }
    for part in Part::ALL {
        let (rig, name) = (rig_of(part), part.name());
        let mut process = start(&rig, name);
        if part.remedy() == Remedy::Exit {
            let log = rig.folder.join("collector.log");
            let status = process.wait();
            let printed = std::fs::read_to_string(log).expect("it has a log");
            assert!(!status.success(), "{name}: {printed}");
            let last = printed.lines().last().unwrap_or_default();
            assert!(
                last.contains(&format!("the part `{name}` has failed: it has panicked (a panic was planted")),
                "{printed}"
            );
            continue;
        }
        wait_for("the API answers", || get(rig.http, "/metrics").ok());
        ask_for(part, &rig);
        let (_, words) = wait_for(&format!("health names {name}"), || {
            rig.collector_health().filter(|(healthy, words)| !healthy && words.contains(&format!("`{name}`")))
        });
        assert!(words.contains("a panic was planted"), "{words}");
        let restarts = format!("afferent_part_restarts_total{{part=\"{name}\"}}");
        wait_for(&format!("{name} is started again and again"), || figure(&rig, &restarts).filter(|count| *count >= 2));
        assert!(process.is_running(), "the rest goes on");
    }
}

#[test]
fn a_part_that_is_well_again_makes_the_collector_well_again() {
    if !cfg!(debug_assertions) {
        return;
    }
    let rig = rig_of(Part::PostedIds);
    let _collector = start(&rig, "posted ids:1");
    wait_for("the part was started again", || {
        figure(&rig, "afferent_part_restarts_total{part=\"posted ids\"}").filter(|count| *count == 1)
    });
    let event = r#"{"specversion":"1.0","id":"1","source":"/wear","type":"com.example.wear.v1","subject":"88-C"}"#;
    wait_for("what is posted is taken", || {
        let answer = ask(rig.http, "POST", "/v1/events", "application/cloudevents+json", event).ok()?;
        (answer.status == 200).then_some(())
    });
    wait_for("the collector is well", || rig.collector_health().filter(|(healthy, _)| *healthy));
    // The control: all parts of a collector with its own endpoint run, by their names.
    let metrics = get_text(rig.http, "/metrics").expect("the API answers");
    let is_of_it =
        |part: &&Part| !matches!(part, Part::Broker | Part::Attestations | Part::ModelRebuild | Part::Forward);
    for part in Part::ALL.iter().filter(is_of_it) {
        let line = format!("afferent_part_running{{part=\"{}\"}} 1\n", part.name());
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}
