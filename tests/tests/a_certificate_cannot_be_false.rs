//! A certificate of completeness is refuted by a segment that was deleted, edited or put elsewhere, by a key that is not the
//! log's, and by what was kept outside of the log.

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Rig, binary, copy_files, run_to_end, wait_for};
use serde_json::Value;

const FROM: &str = "2021-09-13T00:00:00Z";
const UNTIL: &str = "2021-09-13T01:00:00Z";
/// Samples, one a second: the last ones lie behind the span.
const SAMPLES: u64 = 4000;
/// The exit codes.
const COMPLETE: i32 = 0;
const INCOMPLETE: i32 = 1;
const WRONG: i32 = 2;
const REFUTED: i32 = 3;

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

/// What the files prove, with these arguments: the exit code, and the certificate.
fn certify(rig: &Rig, more: &[&str]) -> (i32, Value) {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["certificate", "--machine", "88-C", "--from", FROM, "--until", UNTIL, "--output", "json", "--data"]);
    let (status, printed) = run_to_end(command.arg(rig.collector_data()).args(more));
    let json = printed.find('{').map(|at| serde_json::from_str(&printed[at..]).expect("JSON")).unwrap_or_default();
    (status.code().expect("it exits"), json)
}

/// Whether the files are as they were written, and what is said about that.
fn verify(rig: &Rig, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary("afferent-collector"));
    let (status, printed) = run_to_end(command.args(["log", "verify", "--data"]).arg(rig.collector_data()).args(more));
    (status.success(), printed)
}

/// What the running collector says.
fn told(rig: &Rig, source: &str, output: &str) -> (i32, String) {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["certificate", "--source", source, "--from", FROM, "--until", UNTIL, "--output", output, "--http"]);
    let (status, printed) = run_to_end(command.arg(rig.http.to_string()));
    (status.code().expect("it exits"), printed)
}

fn segments(rig: &Rig) -> Vec<PathBuf> {
    files(rig, "seg")
}

fn files(rig: &Rig, ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(rig.collector_data().join("log/0")).expect("there is a log");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files.sort();
    files
}

fn is_refuted(rig: &Rig, what: &str, path: &Path) {
    let (code, certificate) = certify(rig, &[]);
    assert_eq!(code, REFUTED, "{what} {}: {certificate:#}", path.display());
}

/// A log with all samples, whose agent has said so, and whose collector has attested it and stopped.
fn filled(name: &str) -> Rig {
    let mut rig = Rig::new(name);
    rig.collector_extra = "storage.segment_mib = 1".into();
    rig.agent_own = "heartbeat_s = 1".into();
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    fill(&rig);
    wait_for("all of it is in the log", || (rig.log_end()? > SAMPLES && rig.agent_lag()? == 0).then_some(()));
    // An attestation comes once a minute, and when the collector stops.
    wait_for("the agent has said how far it is", || {
        let (code, live) = told(&rig, "press-88", "json");
        let live: Value = serde_json::from_str(&live).expect("JSON");
        let open = live["open"].as_array().expect("texts");
        let is_unbound =
            |text: &Value| text.as_str().expect("a text").contains("no attestation of the collector binds");
        (code == COMPLETE || open.iter().all(is_unbound)).then_some(())
    });
    let (_, text) = told(&rig, "press-88", "table");
    assert!(text.contains("source press-88") && text.contains("all present"), "{text}");
    assert!(text.lines().count() <= 70, "it fits a page: {text}");
    let (code, said) = told(&rig, "press-89", "table");
    assert!(code == WRONG && said.contains("press-89"), "of whom nothing is known there is no certificate: {said}");
    // Beside sealed segments their extracts are made when there is time.
    let extracts_are_there = || files(&rig, "ext").len() + 2 >= segments(&rig).len();
    wait_for("the extracts are there", || extracts_are_there().then_some(()));
    agent.terminate();
    collector.terminate();
    rig
}

#[test]
fn a_certificate_is_complete_until_a_segment_is_deleted_edited_or_put_elsewhere() {
    let rig = filled("certificate");
    let (code, certificate) = certify(&rig, &[]);
    assert!(code == COMPLETE && certificate["complete"] == true, "{certificate:#}");
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
        is_refuted(&rig, "without", path);
        std::fs::rename(&aside, path).expect("it can be moved back");
        let whole = std::fs::read(path).expect("it can be read");
        let mut edited = whole.clone();
        edited[whole.len() / 3] ^= 1;
        std::fs::write(path, edited).expect("it can be written");
        is_refuted(&rig, "edited", path);
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
        let (code, under_other_names) = certify(&rig, &[]);
        assert!(code == COMPLETE && under_other_names == certificate, "{under_other_names:#}");
        swapped();
    }
    assert_eq!(certify(&rig, &[]).0, COMPLETE, "put back, it is complete again");

    // What lies beside a segment for certificates is believed as far as the collector has signed it, and replaces nothing.
    let extracts = files(&rig, "ext");
    assert!(extracts.len() >= is_in_span.len() - 1, "{} extracts", extracts.len());
    for pair in extracts.windows(2) {
        let [one, other] = pair else { unreachable!("a window of two") };
        let whole = std::fs::read(one).expect("it can be read");
        for at in [20, 60, whole.len() / 2, whole.len() - 1] {
            let mut edited = whole.clone();
            edited[at] ^= 1;
            std::fs::write(one, edited).expect("it can be written");
            assert_eq!(certify(&rig, &[]), (COMPLETE, certificate.clone()), "byte {at} of {}", one.display());
        }
        std::fs::copy(other, one).expect("it can be copied");
        assert_eq!(certify(&rig, &[]), (COMPLETE, certificate.clone()), "that of another segment");
        std::fs::remove_file(one).expect("it can be removed");
        assert_eq!(certify(&rig, &[]), (COMPLETE, certificate.clone()), "without {}", one.display());
        std::fs::write(one, whole).expect("it can be written");
    }
}

/// The attestations of a log, a line each, as an operator keeps them.
fn attestations(rig: &Rig) -> String {
    let mut command = Command::new(binary("afferent-collector"));
    let (_, dump) = run_to_end(command.args(["log", "dump", "--data"]).arg(rig.collector_data()));
    let events = dump.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let attested = events.filter(|event| event["data"]["change"] == "attested");
    attested.map(|event| format!("{}\n", event["data"]["attestation"].as_str().expect("hexadecimal"))).collect()
}

#[test]
fn keys_witnesses_and_rings_from_outside_find_out_what_a_log_alone_cannot() {
    let rig = filled("witness");
    let key = rig.collector_data().join("collector.pub");
    let key = key.to_str().expect("a path");
    let stranger = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let (code, certificate) = certify(&rig, &["--key", key]);
    assert_eq!((code, &certificate["log"]["key_origin"]), (COMPLETE, &"named".into()), "{certificate:#}");
    assert_eq!(certify(&rig, &[]).1["log"]["key_origin"], "found", "the control");
    assert_eq!(certify(&rig, &["--key", stranger]).0, REFUTED);
    assert_eq!(certify(&rig, &["--key", "press-88"]).0, WRONG);
    // The private key is not needed, and not looked at.
    std::fs::remove_file(rig.collector_data().join("collector.key")).expect("it was there");
    assert_eq!(certify(&rig, &["--key", key]).0, COMPLETE);

    let witness = rig.folder.join("witness");
    std::fs::write(&witness, attestations(&rig)).expect("the folder can be written");
    let witness = witness.to_str().expect("a path");
    let ring = rig.agent_data().join("ring");
    let with_all = ["--key", key, "--witness", witness, "--ring", ring.to_str().expect("a path")];
    let (code, certificate) = certify(&rig, &with_all);
    assert_eq!(code, COMPLETE, "{certificate:#}");
    assert!(certificate["log"]["witnessed"].is_object(), "{certificate:#}");
    let (is_sound, said) = verify(&rig, &with_all);
    assert!(is_sound && said.contains("from outside agrees up to offset"), "{said}");

    // The tail is cut off: the log is an older log, in itself as good as it was.
    let newest = segments(&rig).pop().expect("a segment");
    std::fs::remove_file(newest).expect("it can be removed");
    let (is_sound, said) = verify(&rig, &["--key", key]);
    assert!(is_sound && said.contains("cannot tell whether the log's tail was cut off"), "the control: {said}");
    assert!([COMPLETE, INCOMPLETE].contains(&certify(&rig, &["--key", key]).0), "the control");
    let (is_sound, said) = verify(&rig, &["--key", key, "--witness", witness]);
    assert!(!is_sound && said.contains("its tail was cut off"), "{said}");
    assert_eq!(certify(&rig, &["--key", key, "--witness", witness]).0, REFUTED);
}

/// Lets the agent fill the log once more, behind what is there; both have stopped then.
fn filled_again(rig: &Rig) {
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    let before = rig.log_end().expect("the collector tells its end");
    fill(rig);
    wait_for("all of it is in the log", || (rig.log_end()? > before + SAMPLES && rig.agent_lag()? == 0).then_some(()));
    agent.terminate();
    collector.terminate();
}

#[test]
fn a_witness_of_what_retention_has_removed_says_nothing_and_one_of_what_is_kept_still_tells() {
    let mut rig = filled("trimmed-witness");
    let early = attestations(&rig);
    filled_again(&rig);
    // Another future of the same log: whoever has its key may have gone on with a copy.
    let other = Rig::new("other-future");
    copy_files(&rig.collector_data(), &other.collector_data());
    other.start_collector().terminate();
    let forked = attestations(&other).lines().last().expect("it has attested its end").to_owned();

    rig.collector_extra += "\nretention.size_mib = 2";
    let collector = rig.start_collector();
    let first = wait_for("the oldest segments are gone", || {
        rig.collector_figure("afferent_log_first_offset").filter(|first| *first > SAMPLES)
    });
    // What is given up is said first, and then its files go.
    let kept = format!("{first:020}-");
    wait_for("their files are gone", || {
        let oldest = segments(&rig).into_iter().min()?;
        (*oldest.file_name()?.to_str()? >= *kept).then_some(())
    });
    collector.terminate();
    let late = attestations(&rig).lines().last().expect("it has attested its end").to_owned();
    let witness = rig.folder.join("witness");
    let told = |lines: &str| {
        std::fs::write(&witness, lines).expect("the folder can be written");
        let more = ["--witness", witness.to_str().expect("a path")];
        let (code, certificate) = certify(&rig, &more);
        let log = &certificate["log"];
        (code, log["witnessed"].is_object(), log["witnesses_passed"].as_u64(), verify(&rig, &more))
    };
    let passed = early.lines().count() as u64;
    let (code, agrees, counted, (is_sound, said)) = told(&early);
    assert!(code != REFUTED && !agrees && counted == Some(passed) && is_sound, "before offset {first}: {said}");
    assert!(
        said.contains("end before the oldest kept entry") || said.contains("ends before the oldest kept entry"),
        "{said}"
    );
    let (code, agrees, counted, (is_sound, said)) = told(&format!("{early}{late}\n"));
    assert!(code != REFUTED && agrees && counted == Some(passed) && is_sound, "{said}");
    let (code, _, _, (is_sound, said)) = told(&forked);
    assert!(code == REFUTED && !is_sound, "another future of the log passes for this one: {said}");
}

#[test]
fn a_ring_whose_key_was_lost_leaves_a_certificate_open_until_the_key_is_replaced() {
    let rig = filled("lost-key");
    let ring = rig.agent_data().join("ring");
    let with_ring = ["--ring", ring.to_str().expect("a path")];
    assert_eq!(certify(&rig, &with_ring).0, COMPLETE, "the control");
    let agent = rig.start_agent();
    rig.break_down("held");
    agent.terminate();
    std::fs::remove_file(rig.agent_data().join("identity.key")).expect("it was there");
    // It seals again what it holds, and nobody has said yet whose key that is.
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.break_down("under another key");
    let (_, words) = wait_for("the agent says what is wrong", || {
        rig.agent_health().filter(|(healthy, words)| !healthy && words.contains("a different key"))
    });
    let health = |key: &str| rig.refused("press-88", key);
    wait_for("the collector has refused it", || (health("other-key") > 0).then_some(()));
    let (code, certificate) = certify(&rig, &with_ring);
    assert_eq!(code, INCOMPLETE, "{words}; {certificate:#}");
    let says = |certificate: &Value, what: &str| certificate["open"].to_string().contains(what);
    assert!(says(&certificate, "`agents replace press-88 --key KEY --why …`"), "{certificate:#}");

    let refused = rig.wait_event("whose key it is", |event| {
        event["data"]["change"] == "refused"
            && event["data"]["reason"].as_str().is_some_and(|why| why.contains("replace"))
    });
    let reason = refused["data"]["reason"].as_str().expect("a text").to_owned();
    let key = reason.split_whitespace().nth_back(2).expect("the command names the key");
    let mut replace = Command::new(binary("afferent-collector"));
    replace.args(["agents", "replace", "press-88", "--key", key, "--why", "its key was lost", "--http"]);
    let (status, said) = run_to_end(replace.arg(rig.http.to_string()));
    assert!(status.success(), "{said}");
    ["held", "under another key"].iter().for_each(|code| drop(rig.wait_logged(code)));
    wait_for("everything is acknowledged", || (rig.agent_lag() == Some(0)).then_some(()));
    agent.terminate();
    collector.terminate();
    // What lies in files of the ring that are free again came under another epoch.
    let (code, certificate) = certify(&rig, &with_ring);
    assert_eq!(code, COMPLETE, "{certificate:#}");
    let (is_sound, said) = verify(&rig, &with_ring);
    assert!(is_sound, "{said}");
}
