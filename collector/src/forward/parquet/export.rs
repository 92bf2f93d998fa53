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
    pub fn into(directory: &Path, wanted: Wanted) -> Result<Self, ExportError> {
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
