//! The embedded log, as readers see it.

use std::ops::{ControlFlow, Range};

use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};

use super::{EachEntry, ReadLog, ReadLogError};
use crate::certificate::{self, About, Certificate, CertificateError, Means, Span};
use crate::limits::LOG_READ_BYTES;
use crate::log::{LogReader, ReadError, TimeKind, Wanted};
use crate::terms::Terms;

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

    fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        LogReader::end_at_time(self, time).map_err(|error| told(error, self.first()))
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
                read => read.inspect_err(|error| self.report_damage(error)).map_err(|error| told(error, from))?,
            };
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
        Ok(())
    }

    fn stretch(&self, from: Offset, wanted: &Wanted) -> Option<Range<Offset>> {
        LogReader::stretch(self, from, wanted)
    }

    fn own(&self) -> Option<SourceId> {
        LogReader::own(self)
    }

    fn terms(&self) -> Arc<Terms> {
        LogReader::terms(self)
    }

    fn certificate(
        &self,
        about: &About,
        span: Span,
        own: SourceId,
        means: &Means,
    ) -> Option<Result<Certificate, CertificateError>> {
        certificate::by_extracts(self, about, span, own, means)
    }

    fn bytes_read(&self) -> u64 {
        LogReader::bytes_read(self)
    }

    fn bytes_read_by_all(&self) -> u64 {
        LogReader::bytes_read_by_all(self)
    }
}

fn told(error: ReadError, at: Offset) -> ReadLogError {
    match error {
        ReadError::Disk { .. } => ReadLogError::Disk { at, reason: error.to_string() },
        ReadError::Corrupt { file, first, end } => ReadLogError::Damaged { first, end, reason: format!("in {file}") },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use afferent_host::disk::FsDisk;
    use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
    use afferent_protocol::ids::{Epoch, Sequence, Stream};
    use afferent_protocol::sign::Identity;

    use super::super::memory::sample;
    use super::super::{Filter, Format, Page, Reading};
    use super::*;
    use crate::log::{EmbeddedLog, LogSettings, UnifiedLog};

    /// A log with ten batches of three events, ingested at the seconds 1 to 10.
    fn thirty_events(directory: &std::path::Path) -> EmbeddedLog<FsDisk> {
        let mut draw = 0;
        let mut entropy = || {
            draw += 1;
            draw
        };
        let disk = FsDisk::new(directory).unwrap();
        let settings = LogSettings { segment_bytes: 64 * 1024 };
        let (mut log, _) =
            EmbeddedLog::open(disk, settings, &mut entropy, Timestamp::default(), &mut |_, _| {}).unwrap();
        let mut builder = BatchBuilder::new();
        for number in 0..10 {
            (0..3).for_each(|value| builder.push(&sample("88-C/a", value)).unwrap());
            let lineage = Lineage {
                source: SourceId::new("press-88").unwrap(),
                stream: Stream::Samples,
                epoch: Epoch::new(1),
                first: Sequence::new(number * 3),
                previous: CHAIN_START,
            };
            let mut bytes = Vec::new();
            builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
            let ingest = Timestamp::new((number as i64 + 1) * 1_000_000).unwrap();
            log.append(&Batch::parse(&bytes).unwrap().0, ingest);
            log.commit().unwrap();
        }
        log
    }

    /// Offset and type of all events from `from` on.
    fn read(log: &dyn ReadLog, from: Offset) -> Vec<(u64, String)> {
        let mut reading = Reading::follow(from, Filter::default(), Format::Lines);
        let mut out = Vec::new();
        while reading.page(log, &mut out).unwrap() == Page::More {}
        let event = |line: &[u8]| {
            let event: serde_json::Value = serde_json::from_slice(line).unwrap();
            (event["offset"].as_str().unwrap().parse().unwrap(), event["type"].as_str().unwrap().to_owned())
        };
        out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(event).collect()
    }

    fn offsets(log: &dyn ReadLog, from: Offset) -> Vec<u64> {
        read(log, from).into_iter().map(|(offset, _)| offset).collect()
    }

    #[test]
    fn the_embedded_log_is_read_from_any_offset_and_any_ingest_time() {
        let directory = tempfile::tempdir().unwrap();
        let log = thirty_events(directory.path()).reader();
        assert_eq!(ReadLog::kept(&log), Offset::new(0)..Offset::new(30));
        for from in 0..=30 {
            assert_eq!(offsets(&*log.another(), Offset::new(from)), (from..30).collect::<Vec<u64>>());
        }
        for (micros, offset) in [(0, 0), (1_000_000, 0), (1_000_001, 3), (10_000_000, 27), (10_000_001, 30)] {
            assert_eq!(log.at_time(Timestamp::new(micros).unwrap()).unwrap(), Offset::new(offset));
        }
    }

    #[test]
    fn a_flipped_bit_costs_readers_its_batch_and_they_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = thirty_events(directory.path()).reader();
        let path = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let place = |nth: usize| bytes.windows(6).enumerate().filter(|(_, six)| *six == b"88-C/a").nth(nth).unwrap().0;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"9", place(4) as u64).unwrap();
        let events = read(&*log.another(), Offset::new(0));
        let unreadable: Vec<u64> =
            events.iter().filter(|(_, kind)| kind == "afferent.unreadable.v1").map(|(offset, _)| *offset).collect();
        assert_eq!(unreadable, [12]);
        let offsets: Vec<u64> = events.into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (0..13).chain(15..30).collect::<Vec<u64>>());
    }
}
