//! Followed files with real processes: logrotate itself rotates what a program writes without a rest, the agent is killed
//! again and again, and every line is in the unified log once and in order, or what is lost is declared.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use afferent_tests::process::{Ledger, Process, Rig, get_text, line, run_to_end, wait_for};

/// Kills of the agent, each with rotations before and behind it.
const KILLS: u32 = 20;
/// Lines between two of them.
const LINES_BETWEEN: u64 = 150;

/// A program that writes numbered lines to a file, and opens it again when logrotate asks for it.
struct Program {
    written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    fn start(path: &Path) -> Self {
        let (written, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped, path) = (written.clone(), stop.clone(), path.to_owned());
        let open = move |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut file, reopen) = (open(&path), reopen(&path));
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    let number = counted.load(Ordering::Relaxed);
                    file.write_all(line(number).as_bytes()).unwrap();
                    counted.store(number + 1, Ordering::Relaxed);
                }
                if reopen.exists() {
                    file = open(&path);
                    fs::remove_file(&reopen).unwrap();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { written, stop, thread: Some(thread) }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn writes_more(&self) {
        let before = self.written();
        wait_for("more lines are written", || (self.written() >= before + LINES_BETWEEN).then_some(()));
    }

    /// Ends it; gives the numbers that it has written.
    fn stop(mut self) -> std::ops::Range<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        0..self.written()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The file by which logrotate asks a program to open its log again.
fn reopen(path: &Path) -> PathBuf {
    path.with_extension("reopen")
}

/// A rig whose agent follows a log, and logrotate for it.
struct Plant {
    rig: Rig,
    log: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Plant {
    fn new(name: &str, how: &str) -> Self {
        let mut rig = Rig::new(name);
        let folder = rig.folder.join("log");
        fs::create_dir(&folder).unwrap();
        let (log, config, state) = (folder.join("press.log"), rig.folder.join("rotate"), rig.folder.join("state"));
        let ask = reopen(&log);
        let (log_name, ask) = (log.display(), ask.display());
        let script = format!("touch {ask}\nwhile [ -e {ask} ]; do sleep 0.01; done");
        let text = format!("{log_name} {{\nsu root root\nrotate 50\n{how}\npostrotate\n{script}\nendscript\n}}\n");
        let text = if rustix::process::geteuid().is_root() { text } else { text.replace("su root root\n", "") };
        fs::write(&config, text).unwrap();
        rig.agent_extra = format!("[[intake.tail]]\nname = \"press\"\npaths = [\"{log_name}*\"]\ninterval_ms = 50\n");
        Self { rig, log, config, state }
    }

    fn rotate(&self) {
        let mut logrotate = Command::new("logrotate");
        logrotate.arg("--force").arg("--state").arg(&self.state).arg(&self.config);
        let (status, printed) = run_to_end(&mut logrotate);
        assert!(status.success() && printed.is_empty(), "logrotate (a Debian package of this name): {printed}");
    }

    /// Kills the agent again and again, with rotations while it runs and while it is gone. `is_ready` waits until there may
    /// be a rotation or a kill.
    fn kill_and_rotate(&self, program: &Program, is_ready: impl Fn(&Self, &Program)) -> Process {
        let mut agent = self.rig.start_agent();
        for round in 0..KILLS {
            program.writes_more();
            is_ready(self, program);
            self.rotate();
            program.writes_more();
            is_ready(self, program);
            agent.kill();
            if round % 2 == 0 {
                program.writes_more();
                self.rotate();
            }
            agent = self.rig.start_agent();
        }
        agent
    }

    /// Waits until the last line is logged; gives the log.
    fn settled(&self, numbers: &std::ops::Range<u64>) -> Vec<serde_json::Value> {
        let is_last = |event: &serde_json::Value| number_of(event).is_some_and(|number| number + 1 == numbers.end);
        wait_for("the last line is in the log", || self.rig.events().into_iter().rev().find(is_last));
        // The last line is the last to be read; its stream may be the first to be shipped.
        wait_for("the agent holds nothing", || self.rig.agent_lag().filter(|lag| *lag == 0));
        self.rig.events()
    }

    /// Waits until something of what is written now is in the unified log: then the agent knows the file as it is now.
    fn knows_the_file(&self, program: &Program) {
        let (written, mut from) = (program.written(), self.rig.log_end().unwrap_or(0));
        wait_for("what is written now is in the log", || {
            let text = get_text(self.rig.http, &format!("/v1/events?from={from}&limit=50000"))?;
            let events = text.lines().map(|line| serde_json::from_str(line).expect("every line is an event"));
            let numbers: Vec<Option<u64>> = events.map(|event| number_of(&event)).collect();
            from += numbers.len() as u64;
            numbers.into_iter().flatten().any(|number| number >= written).then_some(())
        });
    }

    /// The numbers of all lines that are in files of the log now.
    fn kept(&self) -> HashSet<u64> {
        let mut numbers = HashSet::new();
        for entry in fs::read_dir(self.log.parent().unwrap()).unwrap() {
            let mut text = String::new();
            File::open(entry.unwrap().path()).unwrap().read_to_string(&mut text).unwrap();
            numbers.extend(text.lines().filter_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                line["value"].as_u64().or_else(|| line["code"].as_str()?.parse().ok())
            }));
        }
        numbers
    }
}

fn number_of(event: &serde_json::Value) -> Option<u64> {
    let data = &event["data"];
    data["value"].as_u64().or_else(|| data["code"].as_str()?.parse().ok()).filter(|_| event["subject"] == "88-C/load")
}

fn ledger_of(numbers: impl IntoIterator<Item = u64> + Clone) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.send(numbers.clone());
    ledger.accept(numbers);
    ledger
}

fn unread(events: &[serde_json::Value]) -> Vec<&serde_json::Value> {
    events.iter().filter(|event| event["data"]["change"] == "unread").collect()
}

#[test]
fn every_line_is_logged_once_across_rotation_and_twenty_kills() {
    let plant = Plant::new("tail-create", "create");
    let _collector = plant.rig.start_collector();
    let program = Program::start(&plant.log);
    let _agent = plant.kill_and_rotate(&program, |_, _| {});
    let numbers = program.stop();
    let events = plant.settled(&numbers);
    ledger_of(numbers).check(&events);
    assert_eq!(unread(&events), [] as [&serde_json::Value; 0]);
}

#[test]
fn what_was_compressed_before_it_was_read_is_read_from_there() {
    let plant = Plant::new("tail-gzip", "create\ncompress");
    let _collector = plant.rig.start_collector();
    let program = Program::start(&plant.log);
    let _agent = plant.kill_and_rotate(&program, |_, _| {});
    let numbers = program.stop();
    let events = plant.settled(&numbers);
    ledger_of(numbers).check(&events);
    assert_eq!(unread(&events), [] as [&serde_json::Value; 0]);
}

#[test]
fn what_copytruncate_keeps_is_logged_once_and_what_it_may_lose_is_declared() {
    let plant = Plant::new("tail-copytruncate", "copytruncate");
    let _collector = plant.rig.start_collector();
    let program = Program::start(&plant.log);
    let _agent = plant.kill_and_rotate(&program, Plant::knows_the_file);
    let numbers = program.stop();
    let events = plant.settled(&numbers);
    let logged: HashSet<u64> = events.iter().filter_map(number_of).collect();
    let kept = plant.kept();
    // Nothing twice, and nothing out of order.
    let mut ledger = ledger_of(kept.iter().copied());
    ledger.send(numbers.clone());
    ledger.check(&events);
    // Each hole is what one truncation has taken, and each is declared, as are truncations that took nothing. Of lines that
    // were read after the copy was made, a kill can take the samples, while the breakdowns are on disk.
    let is_lost = |number: &u64| !number.is_multiple_of(25) && !logged.contains(number);
    let holes = numbers
        .clone()
        .filter(|number| is_lost(number) && !is_lost(&number.saturating_sub(if number % 25 == 1 { 2 } else { 1 })));
    let (holes, declared) = (holes.count(), unread(&events).len());
    assert!(declared >= holes && declared as u32 >= KILLS, "{declared} truncations are declared, {holes} took lines");
    assert!(kept.len() > numbers.end as usize / 2, "most of it was there to be read");
}
