//! The common face of the log's engines.

use std::io;

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::LogId;

use super::LogDamage;
use crate::terms::Terms;

/// What admission needs of a log, whichever engine it is.
pub trait UnifiedLog {
    /// Takes a batch into the buffer of the next commit, and gives the offset of its first event. `clock_offset_us` is what
    /// has to be added to the batch's clock to have the collector's, where that was measured.
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset;
    /// The same for a batch whose clock nobody has measured.
    fn append(&mut self, batch: &Batch<'_>, ingest: Timestamp) -> Offset {
        self.append_measured(batch, ingest, None)
    }
    /// Makes everything appended durable, and gives the durable end. After an error nothing that was appended since the
    /// last commit counts, and the next one goes to a new place.
    fn commit(&mut self) -> Result<Offset, CommitError>;
    /// The first offset that is not durable.
    fn durable_end(&self) -> Offset;
    /// Bytes that wait for the next commit.
    fn buffered_bytes(&self) -> usize;
    /// The log's id.
    fn log_id(&self) -> LogId;
    /// The number of the term: drawn at random when the log was opened.
    fn term(&self) -> u64;
    /// Shows readers the table of terms; its newest one is the term from now on.
    fn publish_terms(&mut self, terms: Terms);
    /// What readers and the indexer found damaged since the last time.
    fn take_damage(&mut self) -> Vec<LogDamage>;
    /// Whether there is any.
    fn has_damage(&self) -> bool;
}

/// Why a commit failed. Nothing of it counts; its senders are not acked and will send again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A new segment could not be made: the disk is full, read-only or gone.
    #[error("no new segment {name} of {bytes} bytes can be made: {error}; {}", remedy(error))]
    Create {
        /// The file's name.
        name: String,
        /// The bytes that it needs.
        bytes: u64,
        /// What the disk says.
        error: io::Error,
    },
    /// A write failed.
    #[error("writing to {name} failed: {error}; {}; the log goes on in a new segment", remedy(error))]
    Write {
        /// The file's name.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
    /// A sync failed: what was written may or may not be on disk.
    #[error("making {name} durable failed: {error}; {}; the log goes on in a new segment", remedy(error))]
    Sync {
        /// The file's name.
        name: String,
        /// What the disk says.
        error: io::Error,
    },
}

/// What to do about what the log's disk says.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    use rustix::io::Errno;
    match (error.kind(), Errno::from_io_error(error)) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => "free space on the log's disk, or enlarge it",
        (ErrorKind::ReadOnlyFilesystem, _) => {
            "the file system is read-only, as after an error of its disk; look into the kernel's log, then mount it anew"
        }
        (_, Some(Errno::IO)) => "the disk itself fails; look into the kernel's log (dmesg), and replace it",
        (ErrorKind::PermissionDenied, _) => "let the collector's user write in the log's directory",
        (ErrorKind::NotFound, _) => "the log's directory is gone; put it back, or mount its disk",
        _ => "look at the log's disk and at the kernel's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(errno: rustix::io::Errno) -> String {
        CommitError::Write { name: "x".to_owned(), error: errno.into() }.to_string()
    }

    #[test]
    fn a_full_disk_is_no_failing_disk_and_each_has_its_remedy() {
        use rustix::io::Errno;
        for (errno, words) in [(Errno::NOSPC, "free space"), (Errno::DQUOT, "free space"), (Errno::ROFS, "read-only")] {
            assert!(says(errno).contains(words), "{}", says(errno));
        }
        let failing = says(Errno::IO);
        assert!(failing.contains("the disk itself fails") && !failing.contains("free space"), "{failing}");
    }
}
