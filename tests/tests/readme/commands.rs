//! README's commands, run by a shell as they are written: only where the collector listens is another place, so that
//! tests do not meet, and what `cargo run` would compile is there already.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use afferent_tests::process::{Process, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};

/// Where README's commands find the collector, and its agents.
pub const HTTP: &str = "127.0.0.1:8080";
/// Where `up` listens for agents.
pub const MQTT: &str = "127.0.0.1:1883";

/// A shell in a folder of its own, for which the collector listens on free ports.
pub struct Shell {
    folder: PathBuf,
    lives: Cell<usize>,
}

impl Shell {
    /// One whose folder gets what stands in for cargo.
    pub fn new(folder: &Path, http: SocketAddr, mqtt: SocketAddr) -> Self {
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin).expect("the folder can be written");
        let cargo = bin.join("cargo");
        std::fs::write(&cargo, stand_in(http, mqtt)).expect("the folder can be written");
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).expect("it is ours");
        // Recordings that are part of the repository.
        std::os::unix::fs::symlink(super::root().join("tests"), folder.join("tests"))
            .expect("the folder can be written");
        Self { folder: folder.to_path_buf(), lives: Cell::new(0) }
    }

    fn bash(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", script]).current_dir(&self.folder);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        shell
    }

    /// Runs a command to its end: how it ends, and what it prints. What it has started ends with it.
    pub fn run(&self, command: &str) -> (ExitStatus, String) {
        let mut live = self.start(command);
        let status = wait_for("the command ends", || live.0.ended());
        (status, live.printed())
    }

    /// Starts a command that does not end by itself.
    pub fn start(&self, command: &str) -> Live {
        self.live(command, &mut self.bash(command))
    }

    /// Starts a command that needs a terminal, 160 columns wide and 40 lines high.
    pub fn start_in_terminal(&self, command: &str) -> Live {
        let mut shell = self.bash("exec script --quiet --return --flush --command \"$SHOWN\" /dev/null");
        shell.env("SHOWN", format!("stty cols 160 rows 40; {command}")).env("TERM", "xterm-256color");
        self.live(command, &mut shell)
    }

    fn live(&self, command: &str, shell: &mut Command) -> Live {
        self.lives.set(self.lives.get() + 1);
        let log = self.folder.join(format!("live-{}.log", self.lives.get()));
        Live(Process::start(command, shell.process_group(0), &log))
    }
}

/// A command that runs until it is ended, with everything that it has started.
pub struct Live(Process);

impl Live {
    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.0.printed()
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
