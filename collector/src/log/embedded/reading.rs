//! The embedded log, as readers see it.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};

use super::extract::Extracts;
use super::points::TimeKind;
use super::reader::{LogReader, ReadError};
use crate::limits::LOG_READ_BYTES;
use crate::log::address::Partition;
use crate::log::marks::Wanted;
use crate::log::read_log::{EachEntry, ReadLog, ReadLogError};
use crate::terms::Terms;

impl<D: Disk + 'static> ReadLog for LogReader<D>
where
    Self: Send + Sync,
{
    fn partition(&self) -> Partition {
        Partition::EMBEDDED
    }

    fn clone_reader(&self) -> Arc<dyn ReadLog> {
        Arc::new(self.clone())
    }

    fn kept(&self) -> Range<Offset> {
        self.first()..self.durable_end()
    }

    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        self.seek_time(TimeKind::Ingest, time).map_err(|error| read_log_error(error, self.first()))
    }

    fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        LogReader::end_at_time(self, time).map_err(|error| read_log_error(error, self.first()))
    }

    fn read(&self, from: Offset, scratch: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError> {
        self.read_part(from, Offset::new(u64::MAX), scratch, each)
    }

    fn read_part(
        &self,
        from: Offset,
        until: Offset,
        scratch: &mut Vec<u8>,
        each: &mut EachEntry<'_>,
    ) -> Result<(), ReadLogError> {
        let mut from = from;
        while from < until {
            let chunk = match self.read_until(from, until, LOG_READ_BYTES, scratch) {
                Err(ReadError::Corrupt { .. }) if self.mend_index(from) => continue,
                read => {
                    read.inspect_err(|error| self.report_damage(error)).map_err(|error| read_log_error(error, from))?
                }
            };
            if chunk.is_empty() {
                let end = chunk.next();
                let reason = String::from("the log ends with a gap");
                return if end > from { Err(ReadLogError::Damaged { first: from, end, reason }) } else { Ok(()) };
            }
            for entry in chunk.entries() {
                if let ControlFlow::Break(()) = each(&entry.head, &entry.batch) {
                    return Ok(());
                }
            }
            from = chunk.next();
        }
        Ok(())
    }

    fn next_range(&self, from: Offset, wanted: &Wanted) -> Option<Range<Offset>> {
        LogReader::next_range(self, from, wanted)
    }

    fn collector_name(&self) -> Option<SourceId> {
        LogReader::collector_name(self)
    }

    fn terms(&self) -> Arc<Terms> {
        LogReader::terms(self)
    }

    fn with_extracts(&self, own: &SourceId, take: &mut dyn FnMut(&dyn Extracts)) {
        match self.extracts(own) {
            Ok(extracts) => take(&extracts),
            Err(error) => tracing::debug!(%error, "cannot read the log's extracts; reading its entries instead"),
        }
    }

    fn bytes_read(&self) -> u64 {
        LogReader::bytes_read(self)
    }

    fn bytes_read_by_all(&self) -> u64 {
        LogReader::bytes_read_by_all(self)
    }
}

fn read_log_error(error: ReadError, at: Offset) -> ReadLogError {
    match error {
        ReadError::Disk { .. } => ReadLogError::Disk { at, reason: error.to_string() },
        ReadError::Corrupt { file, first, end } => ReadLogError::Damaged { first, end, reason: format!("in {file}") },
    }
}
