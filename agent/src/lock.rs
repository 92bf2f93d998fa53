//! One process per data directory.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use afferent_host::files;

/// The name of the lock's file in the data directory.
pub const LOCK_FILE: &str = "lock";

/// Holds the data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is in use by {holder}; stop that, or take another data directory", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process, as far as it can be told.
        holder: String,
    },
    /// The directory or its lock cannot be opened.
    #[error("cannot lock {}: {error}; the agent needs a directory that it can write", .path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl DirectoryLock {
    /// Takes `directory`, which must exist.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK_FILE);
        let failed = |error| LockError::Io { path: path.clone(), error };
        let mut file = files::open_lock(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse { directory: directory.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The pid is for the message alone; the lock itself is the kernel's.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who holds the directory, if somebody does.
pub fn holder_of(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join(LOCK_FILE)).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| holder(&mut file))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("process {pid} ({})", name.trim()),
            Err(_) => format!("process {pid}"),
        },
        Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_the_refusal_names_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let refusal = DirectoryLock::take(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        drop(lock);
        DirectoryLock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_is_missing_is_refused() {
        let refusal = DirectoryLock::take(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(refusal.contains("/nonexistent/lock"), "{refusal}");
    }
}
