//! One process per data directory.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files;
use crate::limits::HOLDER_BYTES_MAX;

/// Holds the data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A different process holds the lock.
    #[error("{} is in use by {holder}; stop that process, or choose a different data directory", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process, with its name where the system gives it.
        holder: String,
    },
    /// The directory or its lock cannot be opened.
    #[error("cannot lock {}: {error}; make the data directory writable", .path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the operating system reports.
        error: io::Error,
    },
}

impl DirectoryLock {
    /// Takes `directory`, which must exist, by its lock's file of this name.
    pub fn take(directory: &Path, name: &str) -> Result<Self, LockError> {
        let path = directory.join(name);
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

/// The process that holds the directory, if one does. Takes nothing and leaves nothing behind.
pub fn holder_of(directory: &Path, name: &str) -> Option<String> {
    let mut file = File::open(directory.join(name)).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| holder(&mut file))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
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
        let lock = DirectoryLock::take(directory.path(), "lock").unwrap();
        let refusal = DirectoryLock::take(directory.path(), "lock").unwrap_err().to_string();
        let process = format!("process {}", std::process::id());
        assert!(refusal.contains(&process), "{refusal}");
        assert!(holder_of(directory.path(), "lock").is_some_and(|holder| holder.starts_with(&process)));
        drop(lock);
        assert_eq!(holder_of(directory.path(), "lock"), None);
        DirectoryLock::take(directory.path(), "lock").unwrap();
    }

    #[test]
    fn a_directory_that_is_missing_is_refused() {
        let refusal = DirectoryLock::take(Path::new("/nonexistent"), "lock").unwrap_err().to_string();
        assert!(refusal.contains("/nonexistent/lock"), "{refusal}");
    }
}
