//! A log's files as parquet files, in the layout of the sink and without a forward.

use std::path::{Path, PathBuf};

use afferent_host::files;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::session::signed::Place;

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::feed::Feed;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::encoder::Encoder;
use super::names::PartRange;
use crate::limits::{PARQUET_PART_BYTES, PARQUET_ROWS_MAX};
use crate::log::address::Partition;
use crate::log::events::Entry;
use crate::subscribe::{Filter, ReadCursor};

/// The name of exported files, in place of a forward's.
const NAME: &str = "export";

/// What is exported.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The first offset.
    pub from: Offset,
    /// The offset behind the last one.
    pub until: Offset,
    /// Ingest times: from the first one on, and before the second one; `None` for all.
    pub ingested: Option<(Timestamp, Timestamp)>,
    /// The events.
    pub filter: Filter,
    /// The collector's name as a source: what was posted is in its batches.
    pub own: SourceId,
}

/// Writes entries of a log as parquet files.
pub struct Export {
    directory: PathBuf,
    cursor: ReadCursor,
    feed: Feed,
    part: ExportPart,
    /// The first offset of the part; `None` before the first entry.
    from: Option<Offset>,
    until: Offset,
    written: ExportReport,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Events.
    pub events: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Files cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Files of another export would be in the same table.
    #[error("{} is not empty; choose a new directory, so that no event is there twice", .0.display())]
    NotEmpty(PathBuf),
    /// The disk refuses.
    #[error("{}: {error}; check the disk and the permissions of the directory", path.display())]
    Disk {
        /// The directory or file.
        path: PathBuf,
        /// The answer of the system.
        error: std::io::Error,
    },
    /// The library cannot encode the events.
    #[error("the events before offset {end} cannot be encoded as parquet: {error}; report this error")]
    Encode {
        /// The end of the part.
        end: Offset,
        /// The answer of the library.
        error: String,
    },
}

impl Export {
    /// An export into a new or empty directory.
    ///
    /// # Errors
    /// When the directory is not empty or cannot be used.
    pub fn new(directory: &Path, wanted: Wanted) -> Result<Self, ExportError> {
        let failed = |error| ExportError::Disk { path: directory.to_owned(), error };
        std::fs::create_dir_all(directory).map_err(failed)?;
        if std::fs::read_dir(directory).map_err(failed)?.next().is_some() {
            return Err(ExportError::NotEmpty(directory.to_owned()));
        }
        let Wanted { from, until, ingested, filter, own } = wanted;
        let cursor = ReadCursor::part(from, until, u64::MAX, filter).owned_by(own);
        let cursor = match ingested {
            Some((from, until)) => cursor.ingested(from, until),
            None => cursor,
        };
        let (directory, part) = (directory.to_owned(), ExportPart::default());
        Ok(Self { directory, cursor, feed: Feed::new(), part, from: None, until, written: ExportReport::default() })
    }

    /// Whether everything wanted was exported.
    pub fn is_done(&self) -> bool {
        self.cursor.is_done()
    }

    /// Adds the wanted events of the next entry.
    ///
    /// # Errors
    /// [`ExportError`]; the export is incomplete then.
    pub fn entry(&mut self, entry: Entry<'_>) -> Result<(), ExportError> {
        let end = entry.end().min(self.until);
        if self.from.is_none() {
            // What retention has removed before the first entry is no gap.
            self.cursor.continue_at(self.cursor.next().max(entry.first()));
            self.from = Some(self.cursor.next());
        }
        while self.cursor.next() < end {
            let limits = self.part.limits();
            self.cursor.one_entry(entry, &mut self.feed.to(&mut self.part, limits));
            if self.feed.part().offsets.len() >= limits.events_max || self.part.bytes() >= limits.bytes_max {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Writes the last files.
    ///
    /// # Errors
    /// [`ExportError`]; the export is incomplete then.
    pub fn finish(mut self) -> Result<ExportReport, ExportError> {
        self.write()?;
        Ok(self.written)
    }

    fn write(&mut self) -> Result<(), ExportError> {
        let end = self.cursor.next();
        // The files of a log, without the collector, do not say which term an offset is of.
        let place = Place { log_id: [0; 16], partition: Partition::EMBEDDED.get(), term: 0, offset: end };
        let done = self.part.encoder.finish(NAME, &PartRange { from: self.from.unwrap_or(end), end: place });
        for file in done.map_err(|error| ExportError::Encode { end, error })? {
            let path = self.directory.join(&file.path);
            let folder = path.parent().expect("a file lies in a day and type");
            let written = std::fs::create_dir_all(folder).and_then(|()| files::replace(&path, &file.bytes));
            written.map_err(|error| ExportError::Disk { path, error })?;
            self.written.files += 1;
            self.written.bytes += file.bytes.len() as u64;
        }
        self.written.events += self.feed.part().offsets.len() as u64;
        self.feed.clear();
        self.from = Some(end);
        Ok(())
    }
}

/// The part of an export, as a destination of events.
#[derive(Default)]
struct ExportPart {
    encoder: Encoder,
}

impl Sink for ExportPart {
    fn limits(&self) -> PartLimits {
        PartLimits { events_max: PARQUET_ROWS_MAX, bytes_max: PARQUET_PART_BYTES, wait: std::time::Duration::ZERO }
    }

    fn open(&mut self, _: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        Ok(None)
    }

    fn probe(&mut self, _: &SinkContext) -> Result<String, Unavailable> {
        Ok(String::new())
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        self.encoder.add(event);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.encoder.bytes()
    }

    fn deliver(&mut self, _: &SinkContext, _: &Checkpoint) -> Result<(), DeliverError> {
        Ok(())
    }

    fn drop_part(&mut self) {
        self.encoder.clear();
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use afferent_protocol::event::{Body, Breakdown, Event, Quality, Sample, Severity, Value};
    use afferent_protocol::ids::Subject;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::log::ReadLog;
    use crate::log::memory::MemoryLog;

    const DAY_US: i64 = 86_400_000_000;

    fn event(day: i64, body: Body<'static>) -> Event<'static> {
        Event { time: Timestamp::clamped(20_000 * DAY_US + day * DAY_US), subject: Subject::literal("88-C/x"), body }
    }

    fn sample(day: i64, value: Value<'static>) -> Event<'static> {
        event(day, Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good }))
    }

    fn wanted(filter: Filter) -> Wanted {
        let own = SourceId::literal("collector");
        Wanted { from: Offset::ZERO, until: Offset::new(u64::MAX), ingested: None, filter, own }
    }

    fn export(log: &MemoryLog, directory: &Path, wanted: Wanted) -> ExportReport {
        let mut export = Export::new(directory, wanted).unwrap();
        log.read(Offset::ZERO, &mut Vec::new(), &mut |head, batch| {
            export.entry(Entry::new(Partition::EMBEDDED, head, batch)).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
        export.finish().unwrap()
    }

    fn read(directory: &Path, below: &str) -> Vec<parquet::record::Row> {
        let file = std::fs::read_dir(directory.join(below)).unwrap().next().unwrap().unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(file.path()).unwrap()).unwrap();
        reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn days_and_types_are_files_and_values_keep_their_bits() {
        let log = MemoryLog::default();
        let values = [0.1, -0.0, f64::MIN_POSITIVE / 4.0, 1e300];
        let floats: Vec<_> = values.iter().map(|value| sample(0, Value::Float(*value))).collect();
        log.append("a", &floats, 20_000 * DAY_US);
        let others = [Value::Integer(i64::MAX), Value::Bool(true), Value::Text("on")];
        log.append("a", &others.map(|value| sample(1, value)), 20_001 * DAY_US);
        let breakdown = Breakdown { code: "E7", severity: Severity::Error, message: "hot" };
        log.append("a", &[event(1, Body::Breakdown(breakdown))], 20_001 * DAY_US);
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("lake");
        let report = export(&log, &directory, wanted(Filter::default()));
        assert_eq!((report.events, report.files), (8, 3));
        let first = read(&directory, "day=2024-10-04/type=sample");
        let bits: Vec<_> = first.iter().map(|row| row.get_double(13).unwrap().to_bits()).collect();
        assert_eq!(bits, values.map(f64::to_bits));
        let second = read(&directory, "day=2024-10-05/type=sample");
        assert_eq!(second[0].get_long(14).unwrap(), i64::MAX);
        assert!(second[1].get_bool(15).unwrap());
        assert_eq!(second[2].get_string(16).unwrap(), "on");
        assert_eq!(second[2].get_string(17).unwrap(), "Cel");
        assert!(second[2].get_double(13).is_err(), "a text has no number");
        let broken = read(&directory, "day=2024-10-05/type=breakdown");
        assert!(broken[0].get_string(20).unwrap().contains("E7"));
        assert!(matches!(Export::new(&directory, wanted(Filter::default())), Err(ExportError::NotEmpty(_))));
    }

    #[test]
    fn row_groups_and_rare_columns_do_not_shift_rows() {
        let log = MemoryLog::default();
        let count = 3 * crate::limits::PARQUET_ROW_GROUP_ROWS as i64 / 2;
        for first in (0..count).step_by(1024) {
            let value = |at: i64| if at % 7 == 0 { Value::Integer(at) } else { Value::Float(at as f64) };
            let events: Vec<_> = (first..first + 1024).map(|at| sample(0, value(at))).collect();
            log.append("a", &events, 20_000 * DAY_US);
        }
        let folder = tempfile::tempdir().unwrap();
        let report = export(&log, &folder.path().join("lake"), wanted(Filter::default()));
        assert_eq!((report.events, report.files), (count as u64, 1));
        for (at, row) in (0..count).zip(read(&folder.path().join("lake"), "day=2024-10-04/type=sample")) {
            assert_eq!((row.get_long(0).unwrap(), row.get_double(13).unwrap()), (at, at as f64));
            assert_eq!(row.get_long(14).ok(), (at % 7 == 0).then_some(at));
        }
    }

    #[test]
    fn a_filter_and_a_range_leave_the_others_out() {
        let log = MemoryLog::default();
        (0..10).for_each(|value| log.append("a", &[sample(0, Value::Integer(value))], 20_000 * DAY_US));
        let folder = tempfile::tempdir().unwrap();
        let some = Wanted { from: Offset::new(2), until: Offset::new(5), ..wanted(Filter::default()) };
        assert_eq!(export(&log, &folder.path().join("some"), some).events, 3);
        let none = wanted(Filter::new(None, Some("breakdown"), None).unwrap());
        assert_eq!(export(&log, &folder.path().join("none"), none), ExportReport::default());
    }
}
