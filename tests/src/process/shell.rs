//! Commands as in a shell: with something to read, output and complaints apart, and somebody who may stop reading.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;

use super::{Folder, PATIENCE, Process, wait_for};

/// What a command has said.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Said {
    /// The output of a command that has nothing to complain of.
    ///
    /// # Panics
    /// When it has.
    pub fn well(self) -> String {
        assert!(self.status.success() && self.err.is_empty(), "{}: {}{}", self.status, self.err, self.out);
        self.out
    }
}

/// Runs a command to its end, with `input` to read.
///
/// # Panics
/// When it does not end within [`PATIENCE`].
pub fn run_in_pipe(command: &mut Command, input: &[u8]) -> Said {
    let folder = Folder::new("pipe");
    let (input_path, out, err) = (folder.join("input"), folder.join("out"), folder.join("err"));
    std::fs::write(&input_path, input).expect("the folder can be written");
    let created = |path: &Path| File::create(path).expect("the folder can be written");
    command.stdin(File::open(&input_path).expect("it was written")).stdout(created(&out)).stderr(created(&err));
    let status = end_of(command, &err);
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("it was made")).into_owned();
    Said { status, out: read(&out), err: read(&err) }
}

/// Runs a command whose output nobody reads.
///
/// # Panics
/// When it does not end within [`PATIENCE`].
pub fn run_unread(command: &mut Command) -> Said {
    let folder = Folder::new("unread");
    let err = folder.join("err");
    let (reader, writer) = io::pipe().expect("the system gives a pipe");
    drop(reader);
    command.stdin(Stdio::null()).stdout(writer).stderr(File::create(&err).expect("the folder can be written"));
    let status = end_of(command, &err);
    let err = std::fs::read(&err).expect("it was made");
    Said { status, out: String::new(), err: String::from_utf8_lossy(&err).into_owned() }
}

fn end_of(command: &mut Command, log: &Path) -> ExitStatus {
    let child = command.spawn().unwrap_or_else(|error| panic!("it cannot be started ({command:?}): {error}"));
    let mut process = Process { name: "the command".into(), child, log: log.into() };
    wait_for(&format!("{command:?} ends"), || process.child.try_wait().expect("it is our child"))
}

/// A command between two pipes, read line by line: what is not read waits in the pipe, and then the command waits.
#[derive(Debug)]
pub struct Piped {
    /// The command.
    pub process: Process,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Piped {
    /// Starts it; what it complains of goes to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let err = File::create(log).expect("the log file can be opened");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(err).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{name} cannot be started ({command:?}): {error}"));
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { process: Process { name: name.into(), child, log: log.into() }, input, output }
    }

    /// Gives it something to read.
    ///
    /// # Panics
    /// When it does not read any more.
    pub fn send(&mut self, text: &str) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Reads so many lines, and not one byte more than comes with them.
    ///
    /// # Panics
    /// When they do not come within [`PATIENCE`].
    pub fn read_lines(&mut self, count: usize) -> Vec<String> {
        let mut output = self.output.take().expect("its output is open");
        let (to, read) = channel();
        std::thread::spawn(move || {
            let lines: io::Result<Vec<_>> = output.by_ref().lines().take(count).collect();
            let _ = to.send((output, lines));
        });
        let (output, lines) = read.recv_timeout(PATIENCE).expect("it goes on writing");
        self.output = Some(output);
        let lines = lines.expect("it writes text");
        assert_eq!(lines.len(), count, "it ended before so many lines");
        lines
    }

    /// Reads no more, as `head` does, and gives no more.
    pub fn hang_up(self) -> Process {
        self.process
    }
}
