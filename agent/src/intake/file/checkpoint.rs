//! How far a file is replayed: a small file in the data directory, written after the events are accepted.
//!
//! The ring log does not know how far it is, for it releases what is acked. So the cursor is recorded beside it, never
//! before the events of it are on disk: a stop in order leaves it exact, and after a crash what was accepted since the
//! last record comes again, at most about a second's worth. Nothing is ever left out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use afferent_host::{files, hex};
use afferent_protocol::sign::sha256;
use serde::{Deserialize, Serialize};

use super::FileSettings;
use crate::limits::REPLAY_KNOWN_BYTES_MAX;

/// A reader's cursor in a file: the rows and lines that are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCursor {
    /// Number of rows that are done.
    pub rows: u64,
    /// Number of lines of the next row that are done: a row has one for each of its values.
    pub lines: u64,
}

/// Identifies the file of a cursor: a different file with the same name is replayed from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beginning {
    bytes: usize,
    sha256: String,
}

/// The cursor of a replay by hand that has not ended yet, or was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunCursor {
    /// The run's name, by which the agent knows its lines.
    pub name: String,
    /// The cursor at which it began.
    pub from: RowCursor,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// For people.
    file: PathBuf,
    #[serde(flatten)]
    cursor: RowCursor,
    begins: Beginning,
    /// Bytes of the file that were replayed when it was at its end; 0 before.
    #[serde(default)]
    bytes: u64,
    /// The run that has not ended, and where it began; empty when none has.
    #[serde(default)]
    run: String,
    #[serde(default)]
    run_rows: u64,
    #[serde(default)]
    run_lines: u64,
}

/// The checkpoint of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How far it is replayed.
    pub cursor: RowCursor,
    /// Bytes of the file when it was replayed to its end; 0 before.
    pub bytes: u64,
    /// The replay that has not ended.
    pub run: Option<RunCursor>,
}

/// The checkpoint file of one replayed file.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    file: PathBuf,
    begins: Beginning,
}

impl CheckpointFile {
    /// Reads the cursor in the file of these settings: its beginning when there is none, or when it is a different file
    /// now. A record that is damaged is an error: from the beginning, all rows would come twice.
    pub fn open(settings: &FileSettings) -> io::Result<(Self, Known)> {
        let path = settings.checkpoints.join(format!("{}.json", name_of(settings)));
        let known = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice::<Record>(&bytes).map_err(|_| damaged(&path))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let len = fs::metadata(&settings.path)?.len();
        let known = match known {
            Some(record) if len < record.bytes => Known { bytes: record.bytes, ..Known::default() },
            Some(record) if Beginning::of(&settings.path, record.begins.bytes)? == record.begins => {
                let from = RowCursor { rows: record.run_rows, lines: record.run_lines };
                let run = Some(RunCursor { name: record.run, from }).filter(|run| !run.name.is_empty());
                Known { cursor: record.cursor, bytes: record.bytes, run }
            }
            _ => Known::default(),
        };
        let begins = Beginning::of(&settings.path, REPLAY_KNOWN_BYTES_MAX)?;
        Ok((Self { path, file: settings.path.clone(), begins }, known))
    }

    /// Takes the cursor for one replay alone, until the lock is dropped.
    pub fn lock(&self) -> io::Result<File> {
        let lock = files::open_lock(&self.path.with_extension("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => {
                io::Error::other("a replay of this file is already running; wait for its end")
            }
        })?;
        Ok(lock)
    }

    /// Records the cursor; it is on disk when this returns, and after a power cut in between the one before is.
    pub fn record(&self, cursor: RowCursor, bytes: u64, run: Option<&RunCursor>) -> io::Result<()> {
        files::make_directory(self.path.parent().expect("it was made from a directory and a name"))?;
        let (file, begins) = (self.file.clone(), self.begins.clone());
        let (run, from) = run.map_or(Default::default(), |run| (run.name.clone(), run.from));
        let record = Record { file, cursor, begins, bytes, run, run_rows: from.rows, run_lines: from.lines };
        files::replace(&self.path, &serde_json::to_vec(&record)?)
    }
}

fn damaged(path: &Path) -> io::Error {
    let text = format!(
        "the record of how far it is replayed, {}, is damaged; nothing is replayed, as all rows might come twice. \
         Remove that file to replay it from its beginning",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Beginning {
    fn of(path: &Path, bytes_max: usize) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(bytes_max.min(REPLAY_KNOWN_BYTES_MAX) as u64).read_to_end(&mut bytes)?;
        Ok(Self { bytes: bytes.len(), sha256: hex::encode(&sha256(&bytes)) })
    }
}

/// The same file is replayed apart for every mapping.
fn name_of(settings: &FileSettings) -> String {
    let mapping = &settings.mapping;
    let columns = [&mapping.subject_column, &mapping.time_column].map(|column| column.as_deref().unwrap_or_default());
    let mut text = settings.path.as_os_str().as_encoded_bytes().to_vec();
    let mapped = [mapping.subject.as_str(), mapping.unit.as_str()].into_iter().chain(columns);
    for part in mapped.chain(mapping.value_columns.iter().map(String::as_str)) {
        text.push(0);
        text.extend_from_slice(part.as_bytes());
    }
    hex::encode(&sha256(&text)[..8])
}
