//! Reading what is durable.

use std::io;
use std::sync::Arc;

use afferent_protocol::disk::Disk;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::Entry;

/// Which time [`LogReader::seek_time`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// When the collector appended it.
    Ingest,
    /// When it happened, by its source's clock.
    Event,
}

/// Whole entries, in order, their checksums checked.
#[derive(Debug)]
pub struct Chunk<'s> {
    bytes: &'s [u8],
    next: Offset,
}

impl<'s> Chunk<'s> {
    /// The entries. The first one holds the offset that was asked for, or is the first after a hole.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'s>> + use<'s> {
        let _ = self.bytes;
        std::iter::empty()
    }

    /// Where to read on: the first offset after the last entry.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Whether there is nothing durable at or after the offset yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("reading {file} failed: {error}")]
    Disk {
        /// The file's name.
        file: String,
        /// What the disk says.
        error: io::Error,
    },
    /// The disk gives back something else than what was there when the log was opened or written.
    #[error("{file} is damaged: the events from offset {first} up to {end} cannot be read; reading may go on at {end}")]
    Corrupt {
        /// The file's name.
        file: String,
        /// The first offset that cannot be read.
        first: Offset,
        /// Where to read on.
        end: Offset,
    },
}

/// Reads what is durable, from any offset, as often as it likes. Clones are independent: each has its own open file.
pub struct LogReader<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { disk: Arc::clone(&self.disk) }
    }
}

impl<D: Disk> LogReader<D> {
    /// Whole entries from the one that holds `from`, up to `bytes_max` bytes of them and at least one. `scratch` is
    /// what they are read into. The chunk is empty when nothing durable is there yet.
    pub fn read<'s>(&self, from: Offset, bytes_max: usize, scratch: &'s mut Vec<u8>) -> Result<Chunk<'s>, ReadError> {
        let _ = (from, bytes_max, scratch);
        unimplemented!()
    }

    /// The first offset that is not durable.
    pub fn durable_end(&self) -> Offset {
        unimplemented!()
    }

    /// The first offset that there is.
    pub fn first(&self) -> Offset {
        unimplemented!()
    }

    /// The offset of the first batch that has something of `time` or later; the durable end when none has. Batches
    /// after it may have earlier times: clocks differ and step.
    pub fn seek_time(&self, kind: TimeKind, time: Timestamp) -> Result<Offset, ReadError> {
        let _ = (kind, time);
        unimplemented!()
    }
}
