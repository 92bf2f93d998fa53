//! The embedded log, as readers see it.

use std::ops::{ControlFlow, Range};

use std::sync::Arc;

use afferent_protocol::disk::Disk;
use afferent_protocol::ids::{Offset, Timestamp};

use super::{EachEntry, ReadLog, ReadLogError};
use crate::limits::LOG_READ_BYTES;
use crate::log::{LogReader, ReadError, TimeKind};

impl<D: Disk + 'static> ReadLog for LogReader<D>
where
    Self: Send + Sync,
{
    fn another(&self) -> Arc<dyn ReadLog> {
        Arc::new(self.clone())
    }

    fn kept(&self) -> Range<Offset> {
        self.first()..self.durable_end()
    }

    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        self.seek_time(TimeKind::Ingest, time).map_err(|error| told(error, self.first()))
    }

    fn read(&self, from: Offset, scratch: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError> {
        let mut from = from;
        loop {
            let chunk = LogReader::read(self, from, LOG_READ_BYTES, scratch).map_err(|error| told(error, from))?;
            if chunk.is_empty() {
                let end = chunk.next();
                let reason = String::from("the log ends in a hole");
                return if end > from { Err(ReadLogError::Damaged { first: from, end, reason }) } else { Ok(()) };
            }
            for entry in chunk.entries() {
                if let ControlFlow::Break(()) = each(&entry.head, &entry.batch) {
                    return Ok(());
                }
            }
            from = chunk.next();
        }
    }
}

fn told(error: ReadError, at: Offset) -> ReadLogError {
    match error {
        ReadError::Disk { .. } => ReadLogError::Disk { at, reason: error.to_string() },
        ReadError::Corrupt { file, first, end } => ReadLogError::Damaged { first, end, reason: format!("in {file}") },
    }
}
