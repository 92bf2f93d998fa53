//! What can go wrong, per operation.

use std::io;

use afferent_protocol::ids::{Sequence, SequenceRange, Stream};
use afferent_protocol::session::Lane;

/// Why a ring log does not start. Damaged files are no reason: they are mended.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be read.
    #[error("the ring log's directory cannot be read: {0}; check that it exists and belongs to the agent's user")]
    List(#[source] io::Error),
    /// There is no room for even the smallest ring, and nothing in it that could be shipped to make some.
    #[error(
        "there are {have} of the {needed} ring log segments that are needed, {missing_bytes} bytes are missing: {}",
        why_not_made(Some(source))
    )]
    NoSpace {
        /// Segments that could be made.
        have: usize,
        /// Segments that are needed.
        needed: usize,
        /// Bytes that are missing.
        missing_bytes: u64,
        /// What the disk said.
        source: io::Error,
    },
}

/// Why a batch is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The builder has no event in it, and nothing waits to be written again.
    #[error("there is nothing to append")]
    Empty,
    /// It cannot fit a segment. The builder is as it was.
    #[error("the batch has up to {bytes} bytes, and a segment of the ring log takes {bytes_max}: seal it earlier")]
    TooLarge {
        /// What it has, at most.
        bytes: usize,
        /// What is taken.
        bytes_max: usize,
    },
    /// An earlier batch of this stream is not on disk yet and must be first. The builder is as it was.
    #[error("an earlier batch of `{stream}` is not on disk yet")]
    Pending {
        /// The stream.
        stream: Stream,
    },
    /// The disk refused on every file that was tried. When the stream is *pending* now, its sealed bytes are kept.
    #[error("the disk does not take what is to be written to `{stream}`: {source}")]
    Unwritable {
        /// The stream whose batch, or whose declaration of a loss, was refused.
        stream: Stream,
        /// What the disk said last.
        source: io::Error,
    },
    /// What is to be sealed again cannot be read; trying again may help, and after some tries it counts as damaged.
    #[error("the disk does not give back what is to be sealed again: {source}")]
    Unreadable {
        /// What the disk said.
        source: io::Error,
    },
    /// No segment is free, none can be made and none may be given up. When the stream is *pending* now, its sealed
    /// bytes are kept; otherwise the builder is as it was.
    #[error(
        "no segment is free for `{stream}`, and another of {missing_bytes} bytes cannot be made: {}",
        why_not_made(source.as_ref())
    )]
    NoSegment {
        /// The stream that needs one.
        stream: Stream,
        /// Bytes that would be needed.
        missing_bytes: u64,
        /// What the disk said when one was to be made.
        source: Option<io::Error>,
    },
}

/// Why there is no more room in the ring log: a full disk is something else than a broken one.
fn why_not_made(error: Option<&io::Error>) -> String {
    let is_full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    match error {
        None => "the pool has its size, and what it holds must not be given up; raise `ring.pool_bytes`".to_owned(),
        Some(error) if is_full(error.kind()) => {
            format!("the disk has no room ({error}); free some, or make `ring.pool_bytes` smaller")
        }
        Some(error) => {
            format!("the disk fails ({error}); look at the disk, and at what the kernel says of it")
        }
    }
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No batch that begins there is held: released, given up, or never written. Ask what is held again.
    #[error("nothing that begins at {from} is held")]
    NotHeld {
        /// What was asked for.
        from: Sequence,
    },
    /// What stood there is damaged. It is declared as lost, durably, and is not held any more: ask what is held again.
    #[error("the events {} to {} were damaged on disk and are declared as lost", range.first, range.end)]
    Corrupt {
        /// The lane.
        lane: Lane,
        /// What is lost.
        range: SequenceRange,
    },
    /// The disk did not give it; trying again may help, and after some tries it counts as damaged.
    #[error("the disk does not give back what was written: {0}")]
    Io(#[from] io::Error),
    /// What stood there is damaged, and the disk does not take the declaration.
    #[error("a damaged stretch could not be declared as lost: {0}")]
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
