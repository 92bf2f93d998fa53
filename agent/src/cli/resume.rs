//! Where a replay by hand continues: its checkpoint is a file, and the agent knows the lines that were in flight when
//! the previous run was cut off.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use afferent_host::{files, hex};
use afferent_protocol::sign::sha256;

use super::{SendError, TargetArgs};
use crate::client::{self, Answer, Target};
use crate::intake::file::FileSettings;
use crate::intake::file::checkpoint::{CheckpointFile, Known, RowCursor, RunCursor};
use crate::limits::{REPLAY_ASK_MS, REPLAY_PLACE_MS};

/// How far one file is replayed to one agent.
pub struct Resume {
    file: CheckpointFile,
    /// Held while the replay runs: a second replay of the same file is refused.
    _lock: File,
    /// The cursor at which the run begins.
    start: RowCursor,
    /// Lines behind `start` that the agent has accepted from the previous run.
    taken: u64,
    run: RunCursor,
    known: Known,
    /// Lines in flight: their number on the connection, and the cursor behind each.
    sent: VecDeque<(u64, RowCursor)>,
    lines: u64,
    accepted: RowCursor,
    recorded: Instant,
    /// Whether a line was refused: the checkpoint does not move beyond it.
    refused: bool,
}

impl Resume {
    /// Reads the checkpoint of a file; with `again` it starts at the beginning of the file.
    pub fn open(target: &TargetArgs, settings: &FileSettings, again: bool) -> Result<Self, SendError> {
        let failed = |error| SendError::Checkpoint(settings.checkpoints.clone(), error);
        files::make_directory(&settings.checkpoints).map_err(failed)?;
        let (file, mut known) = CheckpointFile::open(settings).map_err(failed)?;
        let lock = file.lock().map_err(failed)?;
        if again {
            known = Known::default();
        }
        let len = fs::metadata(&settings.path).map_or(0, |metadata| metadata.len());
        if len < known.bytes {
            return Err(SendError::Shrunk(settings.path.clone(), known.bytes, len));
        }
        let (mut start, mut taken) = (known.cursor, 0);
        if let Some(run) = &known.run {
            match ask(&target.target(), target.timeout(), &run.name)? {
                Some(lines) => (start, taken) = (run.from, lines + run.from.lines),
                None => print_note(format_args!(
                    "the previous run was cut off and the agent has forgotten it: the lines in flight behind row {} \
                     are sent again",
                    start.rows
                )),
            }
        }
        if taken == 0 {
            taken = start.lines;
        }
        let run = RunCursor { name: new_name()?, from: RowCursor { rows: start.rows, lines: taken } };
        let (accepted, recorded) = (run.from, Instant::now());
        let (sent, lines, refused) = (VecDeque::new(), 1, false);
        file.record(accepted, known.bytes, Some(&run)).map_err(failed)?;
        Ok(Self { file, _lock: lock, start, taken, run, known, sent, lines, accepted, recorded, refused })
    }

    /// The first line of the connection: it names the run.
    pub fn greeting(&self) -> Vec<u8> {
        format!("{{\"replay\":\"{}\"}}", self.run.name).into_bytes()
    }

    /// How many lines of a row an earlier run has sent: all, or the first ones.
    pub fn done(&mut self, row: u64, lines: u64) -> Option<u64> {
        if row <= self.start.rows {
            return None;
        }
        let (done, is_behind) = (self.taken.min(lines), self.taken > 0);
        self.taken -= done;
        (done < lines || !is_behind).then_some(done)
    }

    /// Whether the rows at this cursor are rows of an earlier run.
    pub fn is_behind(&self, row: u64) -> bool {
        row <= self.start.rows || self.taken > 0
    }

    /// Whether the file has grown although its last row was replayed without a line end: that row may have been half a
    /// row.
    pub fn grew_in_its_last_row(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        let Some(last) = self.known.bytes.checked_sub(1) else { return Ok(false) };
        let mut around = [b'\n'; 2];
        let read = File::open(path)?.read_at(&mut around, last)?;
        Ok(read == 2 && around[0] != b'\n' && !matches!(around[1], b'\n' | b'\r'))
    }

    /// A line is about to be sent; `cursor` is the one behind it.
    pub fn sending(&mut self, cursor: RowCursor) {
        self.lines += 1;
        self.sent.push_back((self.lines, cursor));
    }

    /// Moves the cursor of accepted lines by an answer of the agent.
    pub fn answered(&mut self, answer: Answer<'_>) {
        match answer {
            Answer::Refused(..) => self.refused = true,
            Answer::Accepted(line) if !self.refused => {
                while self.sent.front().is_some_and(|(sent, _)| *sent <= line) {
                    self.accepted = self.sent.pop_front().map_or(self.accepted, |(_, cursor)| cursor);
                }
                if self.recorded.elapsed() >= Duration::from_millis(REPLAY_PLACE_MS) {
                    self.recorded = Instant::now();
                    let run = RunCursor { name: self.run.name.clone(), from: self.run.from };
                    if let Err(error) = self.file.record(self.accepted, self.known.bytes, Some(&run)) {
                        print_note(format_args!("how far the file is replayed cannot be recorded: {error}"));
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes the checkpoint after the last line. `end` is the end of the file and its bytes, if it was reached;
    /// `complete` means that the agent accepted all lines.
    pub fn finish(self, end: Option<(RowCursor, u64)>, complete: bool) -> io::Result<()> {
        match end {
            Some((cursor, bytes)) if complete => self.file.record(cursor, bytes, None),
            _ if complete => self.file.record(self.accepted, self.known.bytes, None),
            _ => self.file.record(self.accepted, self.known.bytes, Some(&self.run)),
        }
    }
}

/// Prints a line to standard error. A closed terminal does not stop the replay.
pub fn print_note(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn new_name() -> Result<String, SendError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SendError::Checkpoint(PathBuf::new(), io::Error::other(error)))?;
    Ok(hex::encode(&bytes))
}

/// How many lines of a run the agent has accepted; `None` when it does not know the run. Waits while the agent is still
/// accepting lines of it.
fn ask(target: &Target, timeout: Duration, run: &str) -> Result<Option<u64>, SendError> {
    let begun = Instant::now();
    loop {
        let question = format!("{{\"replayed\":\"{run}\"}}").into_bytes();
        let (mut taken, mut refusal) = (None, None);
        client::send_and_watch(target, timeout, &mut std::iter::once(Ok(question)), &mut |answer| match answer {
            Answer::Taken(lines) => taken = lines,
            Answer::Refused(_, error) => refusal = Some(error.to_owned()),
            Answer::Accepted(_) => {}
        })?;
        match refusal {
            None => return Ok(taken),
            Some(error) if begun.elapsed() >= timeout => return Err(SendError::Busy(error)),
            Some(_) => std::thread::sleep(Duration::from_millis(REPLAY_ASK_MS)),
        }
    }
}

impl TargetArgs {
    /// The directory with the checkpoints of files that were replayed by hand: in the data directory of the agent where
    /// its socket shows that, else in the user's state directory.
    pub(super) fn checkpoints(&self) -> Result<PathBuf, SendError> {
        let target = self.target();
        if let Target::Unix(socket) = &target {
            let beside = socket.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let data = [beside.to_owned(), beside.join("agent")].into_iter().find(|data| data.join("ring").is_dir());
            if let Some(data) = data {
                return Ok(data.join("replayed"));
            }
        }
        let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
        let name = match &target {
            Target::Unix(socket) => fs::canonicalize(socket).unwrap_or_else(|_| socket.clone()).display().to_string(),
            Target::Tcp(address) => address.to_string(),
        };
        let hash: String = sha256(name.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        state.map(|state| state.join("afferent/replayed").join(hash)).ok_or(SendError::NoCheckpoints)
    }
}
