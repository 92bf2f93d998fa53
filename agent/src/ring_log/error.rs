//! Errors of the ring log, one type per operation.

use std::io;

use afferent_protocol::ids::{Sequence, SequenceRange, Stream};
use afferent_protocol::session::Lane;

/// Why a ring log cannot be opened. Damaged files are not an error: they are repaired.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be read.
    #[error("cannot read the ring log's directory: {0}; check that it exists and belongs to the agent's user")]
    List(#[source] io::Error),
    /// The disk has no room for the smallest ring, and the ring holds no event whose shipping would free some.
    #[error(
        "the ring log has {have} of the {needed} segments that it needs; {missing_bytes} bytes are missing: {}",
        why_not_made(Some(source))
    )]
    NoSpace {
        /// Number of segments that could be created.
        have: usize,
        /// Number of segments that the ring needs.
        needed: usize,
        /// Bytes of the missing segments.
        missing_bytes: u64,
        /// The error of the disk.
        source: io::Error,
    },
}

/// Why a batch could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The builder is empty, and no batch waits to be written again.
    #[error("there is nothing to append")]
    Empty,
    /// The batch is larger than a segment. The builder is unchanged.
    #[error("the batch may have {bytes} bytes, and a segment of the ring log takes {bytes_max}: seal it earlier")]
    TooLarge {
        /// Upper bound of the batch's bytes.
        bytes: usize,
        /// Bytes that fit a segment.
        bytes_max: usize,
    },
    /// An earlier batch of this stream must be written first. The builder is unchanged.
    #[error("an earlier batch of `{stream}` is not on disk yet")]
    Pending {
        /// The stream.
        stream: Stream,
    },
    /// The write failed on every file that was tried. If the stream is *pending* now, its sealed bytes are kept.
    #[error("cannot write `{stream}` to the disk: {source}")]
    Unwritable {
        /// The stream whose batch, or whose declaration of a loss, was refused.
        stream: Stream,
        /// The last error of the disk.
        source: io::Error,
    },
    /// Events to be sealed again cannot be read. A retry may help; after some retries they count as damaged.
    #[error("cannot read the events to be sealed again: {source}")]
    Unreadable {
        /// The error of the disk.
        source: io::Error,
    },
    /// No segment is free, none can be created and none may be evicted. If the stream is *pending* now, its sealed
    /// bytes are kept; otherwise the builder is unchanged.
    #[error(
        "no segment is free for `{stream}`, and a new one of {missing_bytes} bytes cannot be created: {}",
        why_not_made(source.as_ref())
    )]
    NoSegment {
        /// The stream that needs a segment.
        stream: Stream,
        /// Bytes of a new segment.
        missing_bytes: u64,
        /// The error of the disk when creating one.
        source: Option<io::Error>,
    },
}

/// Why the ring log cannot grow. It distinguishes a full disk from a broken one.
fn why_not_made(error: Option<&io::Error>) -> String {
    let is_full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match error {
        None => "the pool is full, and its events must not be evicted; raise `ring.pool_bytes`".to_owned(),
        Some(error) if is_full(error.kind()) => {
            format!("the disk has no room ({error}); free some, or lower `ring.pool_bytes`")
        }
        Some(error) => {
            format!("the disk fails ({error}); check the disk and the kernel's log")
        }
    }
}

/// Why a read of the ring log failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No batch begins at this sequence: it is released, evicted or was never written. Query the held ranges again.
    #[error("the ring log holds no batch that begins at {from}")]
    NotHeld {
        /// The requested sequence.
        from: Sequence,
    },
    /// The events are damaged. They are durably declared as lost and not held any more: query the held ranges again.
    #[error("the events {} to {} are damaged on disk and declared as lost", range.first, range.end)]
    Corrupt {
        /// The lane.
        lane: Lane,
        /// The lost events.
        range: SequenceRange,
    },
    /// The read failed. A retry may help; after some retries the batch counts as damaged.
    #[error("cannot read the ring log: {0}")]
    Io(#[from] io::Error),
    /// The events are damaged, and the loss could not be written.
    #[error("damaged events cannot be declared as lost: {0}")]
    Undeclared(#[source] AppendError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_not_called_full() {
        let says = |kind: Option<io::ErrorKind>| {
            let source = kind.map(io::Error::from);
            AppendError::NoSegment { stream: Stream::Critical, missing_bytes: 65_536, source }.to_string()
        };
        assert!(says(Some(io::ErrorKind::StorageFull)).contains("the disk has no room"));
        // EIO has no kind of its own.
        let failing = says(Some(io::ErrorKind::Other));
        assert!(failing.contains("the disk fails") && !failing.contains("no room"), "{failing}");
        assert!(says(None).contains("raise `ring.pool_bytes`"));
        let source = io::Error::other("Input/output error");
        let open = OpenError::NoSpace { have: 1, needed: 8, missing_bytes: 9, source }.to_string();
        assert!(open.contains("the disk fails (Input/output error)"), "{open}");
    }
}
