//! Metrics that Prometheus takes, commands that show what was asked for, and a view that ends with its terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use afferent_tests::process::{Process, Rig, ask, binary, get_text, run_in_pipe, wait_for};

use rustix::process::{Pid, Signal, kill_process};

use super::collector;

/// What `promtool check metrics` says of this text, where there is one.
fn promtool(metrics: &str) -> Option<String> {
    Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let said = run_in_pipe(Command::new("promtool").args(["check", "metrics"]), metrics.as_bytes());
    Some(said.out + &said.err)
}

/// The rules of Prometheus' text format and of its linter, as far as metrics here can break them.
fn complaints(metrics: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut help, mut kinds) = (BTreeSet::new(), BTreeMap::new());
    let (mut current, mut closed, mut seen) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for line in metrics.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, text] if !text.is_empty() => {
                wrong.extend((!help.insert((*name).to_owned())).then(|| format!("{name} has HELP twice")));
            }
            ["#", "TYPE", name, kind] => {
                wrong.extend((!["counter", "gauge"].contains(kind)).then(|| format!("{name} is of no kind: {kind}")));
                let is_total = name.ends_with("_total");
                wrong.extend((is_total != (*kind == "counter")).then(|| format!("{name} is a {kind}")));
                wrong.extend(kinds.insert((*name).to_owned(), *kind).map(|_| format!("{name} has TYPE twice")));
                closed.insert(std::mem::replace(&mut current, (*name).to_owned()));
            }
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap_or((line, ""));
                let name = sample.split('{').next().unwrap_or_default();
                let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                wrong.extend((!is_name || name.is_empty()).then(|| format!("{name:?} is no name")));
                wrong
                    .extend((name != current || closed.contains(name)).then(|| format!("{name} is not with its TYPE")));
                wrong.extend((!help.contains(name)).then(|| format!("{name} has no HELP")));
                wrong.extend(value.parse::<f64>().is_err().then(|| format!("{name} has no number: {value:?}")));
                wrong.extend((!seen.insert(sample.to_owned())).then(|| format!("{sample} is told twice")));
                let labels = sample.strip_prefix(name).unwrap_or_default();
                let is_whole = labels.is_empty() || (labels.starts_with('{') && labels.ends_with("\"}"));
                wrong.extend((!is_whole).then(|| format!("the labels of {sample} are not whole")));
            }
        }
    }
    wrong
}

#[test]
fn prometheus_takes_the_metrics_and_its_linter_finds_nothing() {
    let rig = Rig::new("metrics");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    rig.wait_logged("E1");
    let metrics = get_text(rig.http, "/metrics").expect("the API answers");
    assert!(metrics.lines().count() > 60, "{metrics}");
    assert_eq!(complaints(&metrics), [""; 0]);
    if let Some(said) = promtool(&metrics) {
        assert_eq!(said.trim(), "");
    }
    // The control: what was told before, and other mistakes.
    for wrong in [
        "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a_end A.\n# TYPE a_end counter\na_end 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
    ] {
        assert!(!complaints(wrong).is_empty(), "{wrong}");
    }
    assert_ne!(promtool("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n"), Some(String::new()));
}

#[test]
fn tap_begins_with_the_last_events_that_are_asked_for() {
    let rig = Rig::new("tap-last");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    for code in ["E1", "E2", "E3"] {
        rig.break_down(code);
    }
    let samples: String = (0..3000).map(|value| format!("{{\"subject\":\"88-C/t\",\"value\":{value}}}\n")).collect();
    let mut producer = rig.producer();
    producer.send(samples.as_bytes()).expect("the agent reads");
    producer.wait_accepted(3000).expect("the agent answers");
    wait_for("all of it is in the log", || rig.log_end().filter(|end| *end >= 3003));
    let mut tap = collector(&["tap", "--last", "2", "--type", "breakdown", "--output", "json", "--limit", "2"]);
    let said = run_in_pipe(tap.args(["--http", &rig.http.to_string()]), b"").well();
    let codes: Vec<_> =
        said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")).collect();
    let codes: Vec<_> = codes.iter().map(|event| event["data"]["code"].clone()).collect();
    assert_eq!(codes, ["E2", "E3"], "3,000 samples stand behind them");
    // The control: the last 2 offsets hold none of them.
    let end = rig.log_end().expect("the API answers");
    let last = get_text(rig.http, &format!("/v1/events?from={}&type=breakdown", end - 2)).expect("it answers");
    assert_eq!(last, "");
}

#[test]
fn a_type_that_does_not_exist_is_refused_wherever_one_is_given() {
    let rig = Rig::new("types");
    let _collector = rig.start_collector();
    let http = rig.http.to_string();
    for command in
        [&["sub"][..], &["tap"], &["tap", "--last", "3"], &["replay"], &["sub", "--name", "x", "--from", "first"]]
    {
        let mut command = collector(command);
        let said = run_in_pipe(command.args(["--type", "breakdowns", "--http", &http]), b"");
        assert!(!said.status.success(), "{}", said.out);
        assert!(
            said.err.contains("breakdowns") && said.err.contains("recovery"),
            "it names those that exist: {}",
            said.err
        );
    }
    for path in ["/v1/events?type=breakdowns", "/v1/stream?type=breakdowns"] {
        let answer = ask(rig.http, "GET", path, "text/plain", "").expect("it answers");
        assert!(answer.status == 400 && answer.body.contains("breakdown, recovery"), "{path}: {}", answer.body);
    }
    let body = r#"{"filter":{"type":"breakdowns"}}"#;
    let answer = ask(rig.http, "PUT", "/v1/subscriptions/wear", "application/json", body).expect("it answers");
    assert_eq!(answer.status, 400, "{}", answer.body);
    let plan = "models = [\"kpi\"]\n[[alternative]]\nname = \"a\"\n[[alternative.rule]]\naction = \"drop\"\n\
                type = \"breakdowns\"\n";
    let answer = ask(rig.http, "POST", "/v1/what-if", "application/toml", plan).expect("it answers");
    assert!((400..500).contains(&answer.status) && answer.body.contains("breakdowns"), "{}", answer.body);
    let answer = ask(rig.http, "GET", "/v1/events?type=breakdown,com.example.wear.v1", "text/plain", "");
    assert_eq!(answer.expect("it answers").status, 200, "the control: these can be");
}

/// Processes whose command line has this.
fn running(part: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        words.len() > 1 && words[0].ends_with("afferent-collector") && words.iter().any(|word| word == part)
    };
    pids.filter(has_it).collect()
}

/// Ends what would be left behind where the test fails: nobody else holds these processes.
struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for pid in running(&self.0).into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn the_live_view_ends_with_its_terminal_also_where_hangups_are_ignored() {
    let rig = Rig::new("top");
    let _collector = rig.start_collector();
    let http = rig.http.to_string();
    let _leftovers = Leftovers(http.clone());
    let shown = |name: &str, command: &str| {
        let mut terminal = Command::new("bash");
        // As nohup does; `script` gives it a terminal, and takes it away when it is killed.
        terminal.args(["-c", "trap '' HUP; exec script --quiet --flush --command \"$SHOWN\" /dev/null"]);
        terminal.env("SHOWN", command).env("TERM", "xterm-256color");
        let log = rig.folder.join(name);
        Process::start(name, &mut terminal, &log)
    };
    let top = format!("stty cols 120 rows 30; exec {} top --http {http}", binary("afferent-collector").display());
    let terminal = shown("top", &top);
    wait_for("it is shown", || terminal.printed().contains("events/s").then_some(()));
    wait_for("it runs", || (running(&http).len() == 1).then_some(()));
    // The control: another program goes on without its terminal where hangups are ignored.
    let following = format!("exec {} sub --http {http} --limit 1", binary("afferent-collector").display());
    let other = shown("sub", &following);
    wait_for("both run", || (running(&http).len() == 2).then_some(()));
    terminal.kill();
    other.kill();
    wait_for("the view has ended", || (running(&http).len() == 1).then_some(()));
    let left = running(&http);
    let emitted = run_in_pipe(
        collector(&["emit", "--type", "com.example.end.v1", "--subject", "a", "--id", "1", "--http", &http])
            .args(["--data", "{}"]),
        b"",
    );
    assert!(emitted.status.success(), "{}", emitted.err);
    wait_for("the other one ends by itself", || running(&http).is_empty().then_some(()));
    assert_eq!(left.len(), 1, "it had gone on");
}

#[test]
fn words_about_tls_are_for_people() {
    let rig = Rig::new("tls-words");
    let process = rig.start_collector();
    // The beginning of a handshake in TLS, on a port without.
    let mut mqtt = afferent_tests::process::Mqtt::open(rig.endpoint).expect("the endpoint takes connections");
    mqtt.send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).expect("it reads");
    assert!(mqtt.is_closed());
    wait_for("it is told in words", || process.printed().contains("the client speaks TLS (mqtts://)").then_some(()));
}
