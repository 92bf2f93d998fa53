//! A certificate of completeness is refuted by a segment that was deleted, edited or put elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Rig, binary, run_to_end, wait_for};
use serde_json::Value;

const FROM: &str = "2021-09-13T00:00:00Z";
const UNTIL: &str = "2021-09-13T01:00:00Z";
/// Samples, one a second: the last ones lie behind the span.
const SAMPLES: u64 = 4000;

fn fill(rig: &Rig) {
    let mut producer = rig.producer();
    let times = (0..SAMPLES).map(|number| 1_631_491_200_000_000 + number * 1_000_000);
    let lines: String = times
        .map(|time| {
            format!("{{\"subject\":\"88-C/spindle/note\",\"value\":\"{}\",\"time\":{time}}}\n", "x".repeat(1000))
        })
        .collect();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(SAMPLES).expect("the agent answers");
}

fn certify(rig: &Rig) -> (bool, Value) {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["certificate", "--machine", "88-C", "--from", FROM, "--until", UNTIL, "--output", "json", "--data"]);
    let (status, printed) = run_to_end(command.arg(rig.collector_data()));
    let json = printed.find('{').map(|at| serde_json::from_str(&printed[at..]).expect("JSON")).unwrap_or_default();
    (status.success(), json)
}

/// What the running collector says.
fn told(rig: &Rig, source: &str, output: &str) -> (bool, String) {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["certificate", "--source", source, "--from", FROM, "--until", UNTIL, "--output", output, "--http"]);
    let (status, printed) = run_to_end(command.arg(rig.http.to_string()));
    (status.success(), printed)
}

fn segments(rig: &Rig) -> Vec<PathBuf> {
    let files = std::fs::read_dir(rig.collector_data().join("log/0")).expect("there is a log");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    files.sort();
    files
}

fn is_refused(rig: &Rig, what: &str, path: &Path) {
    let (proved, certificate) = certify(rig);
    assert!(!proved && certificate["complete"] != true, "{what} {}: {certificate:#}", path.display());
}

#[test]
fn a_certificate_is_complete_until_a_segment_is_deleted_edited_or_put_elsewhere() {
    let mut rig = Rig::new("certificate");
    rig.collector_extra = "storage.segment_mib = 1".into();
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    fill(&rig);
    wait_for("all of it is in the log", || (rig.log_end()? > SAMPLES && rig.agent_lag()? == 0).then_some(()));
    let (proved, live) = told(&rig, "press-88", "json");
    let live: Value = serde_json::from_str(&live).expect("JSON");
    assert_eq!((&live["verdict"], live["complete"] == true), (&"complete".into(), proved), "{live:#}");
    let (proved_as_text, text) = told(&rig, "press-88", "table");
    assert!(proved_as_text || !proved, "what was proved once is");
    assert!(text.contains("source press-88") && text.contains("all present"), "{text}");
    let (proved, said) = told(&rig, "press-89", "table");
    assert!(!proved && said.contains("press-89"), "of whom nothing is known nothing is proved: {said}");
    agent.terminate();
    collector.terminate();

    let (proved, certificate) = certify(&rig);
    assert!(proved && certificate["complete"] == true, "{certificate:#}");
    let lanes = certificate["lanes"].as_array().expect("lanes");
    let samples = lanes.iter().find(|lane| lane["stream"] == "samples").expect("there are samples");
    assert_eq!(samples["ranges"][0]["fate"], "present");
    assert!(samples["ranges"][0]["end"].as_u64().expect("a number") >= 3600);

    let segments = segments(&rig);
    assert!(segments.len() > 3, "{} segments", segments.len());
    let is_in_span = &segments[..segments.len() - 1];
    for path in is_in_span {
        let aside = path.with_extension("aside");
        std::fs::rename(path, &aside).expect("it can be moved");
        is_refused(&rig, "without", path);
        std::fs::rename(&aside, path).expect("it can be moved back");
        let whole = std::fs::read(path).expect("it can be read");
        let mut edited = whole.clone();
        edited[whole.len() / 3] ^= 1;
        std::fs::write(path, edited).expect("it can be written");
        is_refused(&rig, "edited", path);
        std::fs::write(path, whole).expect("it can be written");
    }
    for pair in is_in_span.windows(2) {
        let [one, other] = pair else { unreachable!("a window of two") };
        let aside = one.with_extension("aside");
        let swap = |from: &Path, to: &Path| std::fs::rename(from, to).expect("it can be moved");
        let swapped = || {
            swap(one, &aside);
            swap(other, one);
            swap(&aside, other);
        };
        swapped();
        // Names are for people: what a file's header says counts, and nothing of that has changed.
        let (proved, under_other_names) = certify(&rig);
        assert!(proved && under_other_names == certificate, "{under_other_names:#}");
        swapped();
    }
    assert!(certify(&rig).0, "put back, it is complete again");
}
