//! Why a file cannot be replayed.

use std::io;
use std::path::PathBuf;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Neither CSV nor JSON lines.
    #[error("{} ends neither with .csv nor with .jsonl, .ndjson or .json; rename it after its format", .0.display())]
    Format(PathBuf),
    /// A column that the file does not have.
    #[error("{} has no column {column:?}; it has {known}", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What the mapping names.
        column: String,
        /// What there is.
        known: String,
    },
    /// A mapping that says too little, or what the file does not hold.
    #[error("{}: {why}", .path.display())]
    Mapping {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A row that cannot be read; those behind it can.
    #[error("{}, row {row}: {why}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1, the head not counted.
        row: u64,
        /// What is wrong.
        why: String,
    },
}
