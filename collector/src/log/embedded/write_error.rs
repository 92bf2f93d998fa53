//! Errors of writing to segment files, and their remedies.

use std::io;

use crate::log::engine::CommitError;

/// Why a commit failed. Nothing of it counts: its segment is abandoned, and the next one begins at the durable end.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A new segment could not be created: the disk is full, read-only or gone.
    #[error("cannot create a new segment {name} of {bytes} bytes: {error}; {}", remedy(error))]
    Create {
        /// The file's name.
        name: String,
        /// The bytes that it needs.
        bytes: u64,
        /// The disk's error.
        error: io::Error,
    },
    /// A write failed.
    #[error("writing to {name} failed: {error}; {}; the log continues in a new segment", remedy(error))]
    Write {
        /// The file's name.
        name: String,
        /// The disk's error.
        error: io::Error,
    },
    /// A sync failed: the written bytes may or may not be on disk.
    #[error("syncing {name} failed: {error}; {}; the log continues in a new segment", remedy(error))]
    Sync {
        /// The file's name.
        name: String,
        /// The disk's error.
        error: io::Error,
    },
}

impl From<WriteError> for CommitError {
    fn from(error: WriteError) -> Self {
        Self::Aborted { reason: error.to_string() }
    }
}

/// The remedy for an error of the log's disk.
fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    use rustix::io::Errno;
    match (error.kind(), Errno::from_io_error(error)) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => "free space on the log's disk, or enlarge it",
        (ErrorKind::ReadOnlyFilesystem, _) => {
            "the file system is read-only, as after a disk error; check the kernel's log, then mount it again"
        }
        (_, Some(Errno::IO)) => "the disk fails; check the kernel's log (dmesg), and replace the disk",
        (ErrorKind::PermissionDenied, _) => "allow the collector's user to write to the log's directory",
        (ErrorKind::NotFound, _) => "the log's directory is gone; restore it, or mount its disk",
        _ => "check the log's disk and the kernel's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(errno: rustix::io::Errno) -> String {
        WriteError::Write { name: "x".to_owned(), error: errno.into() }.to_string()
    }

    #[test]
    fn a_full_disk_is_no_failing_disk_and_each_has_its_remedy() {
        use rustix::io::Errno;
        for (errno, words) in [(Errno::NOSPC, "free space"), (Errno::DQUOT, "free space"), (Errno::ROFS, "read-only")] {
            assert!(says(errno).contains(words), "{}", says(errno));
        }
        let failing = says(Errno::IO);
        assert!(failing.contains("the disk fails") && !failing.contains("free space"), "{failing}");
    }
}
