//! Why a file cannot be replayed.

use std::io;
use std::path::PathBuf;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Neither CSV nor JSON lines.
    #[error("{} ends neither with .csv nor with .jsonl, .ndjson or .json; rename it after its format", .0.display())]
    Format(PathBuf),
    /// A column that the file does not have.
    #[error("{} has no column {column:?}; it has {known}", .path.display())]
    Column {
        /// Path of the file.
        path: PathBuf,
        /// The column that the mapping names.
        column: String,
        /// The columns of the file, as a list.
        known: String,
    },
    /// The mapping is incomplete, or names columns that the file does not have.
    #[error("{}: {why}", .path.display())]
    Mapping {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A row that cannot be read; those behind it can.
    #[error("{}, row {row}: {why}", .path.display())]
    Row {
        /// Path of the file.
        path: PathBuf,
        /// The row, from 1, the head not counted.
        row: u64,
        /// What is wrong with the row.
        why: String,
    },
}
