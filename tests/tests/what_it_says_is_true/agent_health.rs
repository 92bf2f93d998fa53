//! An agent says what has died, what was refused and what it cannot do.

mod check;
mod reload;
mod silence;
mod up;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Process, Producer, Rig, free_address, get_text, wait_for};

/// Waits until the agent's health tells this; gives all of it.
fn wait_told(rig: &Rig, part: &str) -> String {
    let told = |(healthy, words): &(bool, String)| !healthy && words.contains(part);
    wait_for(&format!("health says {part:?}"), || rig.agent_health().filter(told)).1
}

/// Waits until the agent's log has a warning with this in it; gives its line.
fn wait_warned(agent: &Process, part: &str) -> String {
    wait_for(&format!("the log warns of {part:?}"), || warnings(agent, part).into_iter().next())
}

/// The warnings in the agent's log with this in them.
fn warnings(agent: &Process, part: &str) -> Vec<String> {
    let printed = agent.printed();
    let fits = |line: &&str| line.contains(" WARN ") && line.contains(part);
    printed.lines().filter(fits).map(str::to_owned).collect()
}

/// Every task and thread that the agent's supervisor knows, with how often it has failed.
fn tasks(rig: &Rig) -> Vec<(String, u64)> {
    let text = get_text(rig.agent_http, "/metrics").unwrap_or_default();
    let failures = text.lines().filter_map(|line| line.strip_prefix("afferent_agent_task_failures_total{task=\""));
    let parse = |line: &str| {
        let (name, count) = line.rsplit_once("\"} ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    failures.filter_map(parse).collect()
}

fn failures(rig: &Rig, name: &str) -> u64 {
    tasks(rig).into_iter().find(|(known, _)| known == name).map_or(0, |(_, count)| count)
}

/// An agent with an intake of every kind, each of which has something to do for long; gives its command.
fn with_every_intake(rig: &mut Rig, tcp: std::net::SocketAddr) -> Command {
    let (line, recorded) = (rig.folder.join("line"), rig.folder.join("recorded.csv"));
    // A row a day: begun anew, the one that is next comes at once.
    let rows: String = (1..9).map(|day| format!("2024-01-0{day}T00:00:00Z,{day}\n")).collect();
    std::fs::write(&recorded, format!("t,v\n{rows}")).expect("it can be written");
    rig.agent_extra = format!(
        "[intake.socket]\ntcp = \"{tcp}\"\n[[intake.exec]]\nname = \"plc\"\ncommand = [\"sleep\", \"1000\"]\n\
         [[intake.serial]]\nport = \"unix:{}\"\ndevice = \"spindle-1\"\n\
         [[intake.file]]\npath = {recorded:?}\nsubject = \"88-C/t\"\ntime_column = \"t\"\nvalue_columns = [\"v\"]\n",
        line.display(),
    );
    let command = rig.agent_command();
    let config = rig.folder.join("agent.toml");
    let text = std::fs::read_to_string(&config).expect("it was written");
    std::fs::write(&config, text.replace("[intake.host]\nenabled = false", "[intake.host]\nenabled = true"))
        .expect("it can be written");
    command
}

/// Has a task panic; returns when it has.
fn plant(file: &Path, name: &str) {
    let unfinished = file.with_extension("new");
    std::fs::write(&unfinished, name).expect("the folder can be written");
    std::fs::rename(&unfinished, file).expect("the folder can be written");
    wait_for(&format!("{name} takes its panic"), || (!file.exists()).then_some(()));
}

/// A line that a device could be on, which takes connections and says nothing.
fn silent_line(path: &Path) {
    let listener = UnixListener::bind(path).expect("the folder can be written");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        listener.incoming().for_each(|connection| held.push(connection));
    });
}

#[test]
fn every_task_and_thread_that_dies_is_told_and_the_agent_goes_on_or_ends() {
    let mut rig = Rig::new("planted");
    let _collector = rig.start_collector();
    let planted: PathBuf = rig.folder.join("panic");
    silent_line(&rig.folder.join("line"));
    let tcp = free_address();
    let mut command = with_every_intake(&mut rig, tcp);
    let mut agent =
        Process::start("agent", command.env("AFFERENT_PANIC_FILE", &planted), &rig.folder.join("agent.log"));
    wait_for("the agent is up", || rig.agent_health());
    let _producer = rig.producer();
    rig.break_down("before");
    rig.wait_logged("before");
    let known = wait_for("connections are tasks too", || {
        let known = tasks(&rig);
        known.iter().any(|(name, _)| name == "http connection").then_some(known)
    });
    let names: BTreeSet<_> = known.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["ring-writer", "keeper", "ship", "http", "clock", "autonomy", "status", "links", "host", "exec plc"] {
        assert!(names.contains(name), "{name} is not watched: {names:?}");
    }
    assert!(names.len() >= 16, "{names:?}");
    assert!(known.iter().all(|(_, failures)| *failures == 0), "the control: nothing has failed by itself: {known:?}");
    for name in names.iter().filter(|name| **name != "ring-writer") {
        // Connections are tasks while they last.
        let held = wait_for("the socket is open", || Producer::connect(&rig.socket()).ok());
        let idle = TcpStream::connect(rig.agent_http);
        plant(&planted, name);
        drop((held, idle));
        let words = wait_told(&rig, &format!("{name}: it has panicked"));
        assert!(words.contains("planted in"), "the reason is told: {words}");
        wait_for(&format!("the failure of {name} is counted"), || (failures(&rig, name) == 1).then_some(()));
        wait_warned(&agent, &format!("{name}: it has panicked"));
    }
    wait_for("everything that has died goes on", || {
        let text = get_text(rig.agent_http, "/metrics")?;
        let down: Vec<_> = text.lines().filter(|line| line.starts_with("afferent_agent_tasks{")).collect();
        let is_up = |line: &&str| !line.ends_with(" 0") || line.contains(" connection\"");
        down.iter().all(is_up).then_some(())
    });
    rig.break_down("after");
    rig.wait_logged("after");
    assert!(agent.is_running());
    the_writers_death_is_the_agents(&rig, agent, &planted);
    // Started anew, it has everything that it had accepted.
    let _agent = rig.start_agent();
    rig.break_down("anew");
    rig.wait_logged("anew");
}

/// What the writer had not committed is not accepted, nothing more is, and the process ends with the reason.
fn the_writers_death_is_the_agents(rig: &Rig, agent: Process, planted: &Path) {
    let mut producer = rig.producer();
    plant(planted, "ring-writer");
    let line = "{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"too-late\"}\n";
    let answered = producer.send(line.as_bytes()).and_then(|()| producer.answer());
    assert_eq!(producer.accepted(), 0, "nothing can be accepted any more: {answered:?}");
    let log = rig.folder.join("agent.log");
    assert!(!agent.wait().success(), "whoever started it is to see that it has failed");
    let printed = std::fs::read_to_string(log).expect("it was written");
    let reason = "afferent-agent: ring-writer: it has panicked (planted in ring-writer)";
    assert!(printed.lines().any(|line| line.starts_with(reason)), "{printed}");
}

/// Nothing runs beside the supervisor: else the test above would not know of it.
#[test]
fn every_task_and_thread_is_started_by_the_supervisor() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let own = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                let path = path.strip_prefix(root).expect("it is below");
                let is_tests = path.iter().any(|part| part == "tests" || part == "tests.rs");
                let starts = ["tokio::spawn(", "thread::spawn(", "Builder::new().name("];
                if !is_tests && starts.iter().any(|start| own.contains(start)) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    assert_eq!(found, ["supervise.rs"], "start it with the supervisor");
}

/// Sends a line and waits until it is accepted.
fn accepts(stream: &mut (impl Write + std::io::Read), code: &str) -> std::io::Result<()> {
    writeln!(stream, "{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"{code}\"}}")?;
    let mut answer = [0; 64];
    match stream.read(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        len if answer[..len].starts_with(b"{\"accepted\"") => Ok(()),
        len => Err(std::io::Error::other(String::from_utf8_lossy(&answer[..len]).into_owned())),
    }
}
