//! README's commands, run by a shell as they are written: only where the collector listens is another place, so that
//! tests do not meet, and what `cargo run` would compile is there already.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use afferent_tests::process::{Process, binary, run_to_end, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};

use super::readme;

/// The address that README's commands ask.
const ADDRESS: &str = "127.0.0.1:8080";

/// All commands in the order in which README tells them.
pub fn all() -> Vec<String> {
    let text = readme();
    // Fenced blocks are configurations and pictures.
    let prose: String = text.split("```").step_by(2).collect();
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in prose.lines() {
        let Some(line) = line.strip_prefix("    ") else { continue };
        let line = line.trim();
        let (text, more) = line.strip_suffix('\\').map_or((line, false), |begin| (begin, true));
        match commands.last_mut() {
            Some(last) if goes_on => last.push_str(text),
            // Comments, and what a program writes into a socket.
            _ if line.starts_with(['#', '{']) => continue,
            _ => commands.push(text.to_owned()),
        }
        goes_on = more;
    }
    commands
}

/// Runs commands of README, each once.
pub struct Told {
    folder: PathBuf,
    http: SocketAddr,
    left: BTreeSet<String>,
}

impl Told {
    /// Those that `fits` chooses, in a folder that gets what stands in for cargo, and with the collector at `http`.
    pub fn new(folder: &Path, http: SocketAddr, mqtt: SocketAddr, fits: impl Fn(&str) -> bool) -> Self {
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin).expect("the folder can be written");
        let cargo = bin.join("cargo");
        std::fs::write(&cargo, stand_in(http, mqtt)).expect("the folder can be written");
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).expect("it is ours");
        // Recordings that are part of the repository.
        let tests = folder.join("tests");
        if !tests.exists() {
            std::os::unix::fs::symlink(super::root().join("tests"), tests).expect("the folder can be written");
        }
        let left = all().into_iter().filter(|command| fits(command)).collect();
        Self { folder: folder.to_path_buf(), http, left }
    }

    /// The only command with this part.
    fn take(&mut self, part: &str) -> String {
        let found: Vec<_> = self.left.iter().filter(|command| command.contains(part)).cloned().collect();
        assert_eq!(found.len(), 1, "commands with {part:?}: {found:?} of {:?}", self.left);
        self.left.remove(&found[0]);
        found[0].clone()
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        let script = script.replace(ADDRESS, &self.http.to_string());
        shell.args(["-o", "pipefail", "-c", &script]).current_dir(&self.folder);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        shell
    }

    /// How it ends, and what it prints, if it is written so.
    pub fn tried(&self, command: &str) -> (ExitStatus, String) {
        run_to_end(&mut self.shell(command))
    }

    /// Runs the command with this part to its good end; gives what it prints.
    pub fn run(&mut self, part: &str) -> String {
        let command = self.take(part);
        let (status, printed) = self.tried(&command);
        assert!(status.success(), "{command}: {printed}");
        printed
    }

    /// Runs it until it comes to its good end and prints this: what it is about may be on its way.
    pub fn run_until(&mut self, part: &str, says: &str) -> String {
        let command = self.take(part);
        let says_so = || {
            let (status, printed) = self.tried(&command);
            (status.success() && printed.contains(says)).then_some(printed)
        };
        wait_for(&format!("{command} says {says:?}"), says_so)
    }

    /// Starts one that does not end by itself.
    pub fn start(&mut self, part: &str) -> Live {
        let command = self.take(part);
        let mut shell = self.shell(&command);
        let log = self.folder.join(format!("live-{}.log", self.left.len()));
        Live(Process::start(part, shell.process_group(0), &log))
    }

    /// Starts one that needs a terminal.
    pub fn start_in_terminal(&mut self, part: &str) -> Live {
        let command = self.take(part);
        let mut shell = self.shell("exec script --quiet --return --flush --command \"$SHOWN\" /dev/null");
        shell.env("SHOWN", format!("stty cols 160 rows 40; {command}")).env("TERM", "xterm-256color");
        let log = self.folder.join("terminal.log");
        Live(Process::start(part, shell.process_group(0), &log))
    }

    /// Those that were not run.
    pub fn left(self) -> Vec<String> {
        self.left.into_iter().collect()
    }
}

/// A command that runs until it is ended, with everything that it has started.
pub struct Live(Process);

impl Live {
    /// Waits until it has printed this.
    pub fn wait_says(&self, says: &str) {
        wait_for(&format!("it prints {says:?}"), || self.0.printed().contains(says).then_some(()));
    }

    /// Whether it has printed this.
    pub fn says(&self, says: &str) -> bool {
        self.0.printed().contains(says)
    }

    /// What Ctrl-C does.
    pub fn interrupt(mut self) {
        self.signal(Signal::INT);
        wait_for("Ctrl-C ends it", || (!self.0.is_running()).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.0.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A cargo that knows nothing but `cargo run --release [-p PACKAGE] -- ARGUMENTS`.
fn stand_in(http: SocketAddr, mqtt: SocketAddr) -> String {
    let programs = binary("afferent-collector");
    let programs = programs.parent().expect("a program lies in a folder").display();
    format!(
        r#"#!/usr/bin/env bash
[[ $1 == run && $2 == --release ]] || {{ echo "not known here: cargo $*"; exit 97; }}
shift 2
# What the workspace runs when no package is named.
program=afferent-collector
[[ $1 == -p ]] && {{ program=$2; shift 2; }}
[[ $1 == -- ]] || {{ echo "arguments stand behind --"; exit 97; }}
shift
case "$program $*" in
    "afferent-collector up"*) set -- "$@" --http {http} --mqtt {mqtt} ;;
    # These read a log's files.
    "afferent-collector "*" --data afferent-data"* | "afferent-collector "*" --log "*) ;;
    "afferent-collector "*) set -- "$@" --http {http} ;;
esac
exec "{programs}/$program" "$@"
"#
    )
}
