//! Events into the files of a part: one file for each day and type, and for each stretch of offsets that is not there yet.
//!
//! So each file has all events of the offsets in its name: whichever of them is removed is written again by a rewind.

use afferent_protocol::event::Kind;
use afferent_protocol::ids::Offset;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::super::event::{Content, ForwardEvent};
use super::columns::{Rows, Texts};
use super::names::{Group, PartRange, day_of};
use super::present::{Present, Stretch};
use super::row::RowMaker;
use super::schema::{PROPERTIES, SCHEMA, VERSION};
use super::uniform::Uniform;
use crate::limits::{PARQUET_FILE_BYTES, PARQUET_ROW_GROUP_ROWS};
use crate::terms::PlaceText;

/// A file of a part.
pub(super) struct PartFile {
    /// Below the root.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Collects the events of a part.
#[derive(Default)]
pub(super) struct Encoder {
    /// What is there already is left out.
    present: Present,
    uniform: Uniform,
    files: Vec<OpenFile>,
    /// The file of the event before.
    last: usize,
    maker: RowMaker,
    /// The offset of the first event.
    first: Option<Offset>,
    error: Option<ParquetError>,
}

struct OpenFile {
    group: Group,
    /// Its offsets, beyond the part's.
    stretch: Stretch,
    rows: Rows,
    /// Bytes of the rows.
    rows_bytes: usize,
    /// `None` before its first row group.
    writer: Option<SerializedFileWriter<Vec<u8>>>,
}

impl Encoder {
    /// Leaves events out that are there already.
    pub fn leave_out(&mut self, present: Present) {
        self.present = present;
    }

    /// Bytes of memory of what was added.
    pub fn bytes(&self) -> usize {
        self.maker.bytes
    }

    /// The offset of the first event that was added, also if it was left out.
    pub fn first(&self) -> Option<Offset> {
        self.first
    }

    /// Adds an event.
    #[inline]
    pub fn add(&mut self, event: &ForwardEvent<'_>) {
        let offset = event.address.offset;
        self.first = self.first.or(Some(offset));
        let at = self.file_of(event);
        if self.files[at].stretch.is_there {
            return;
        }
        let file = &mut self.files[at];
        let before = self.maker.bytes;
        self.maker.put(&mut file.rows, event);
        file.rows_bytes += self.maker.bytes - before;
        if file.rows.len() >= PARQUET_ROW_GROUP_ROWS {
            self.write_rows(at);
        }
    }

    fn file_of(&mut self, event: &ForwardEvent<'_>) -> usize {
        let kind = event.body().map(|body| body.kind().name());
        let kind = kind.unwrap_or(match event.content {
            Content::Posted { .. } | Content::Record { .. } => Kind::Derived.name(),
            Content::Unreadable { .. } | Content::Hole { .. } => "unreadable",
        });
        let (time, offset) = (event.best_time(), event.address.offset);
        let is_it = |file: &OpenFile| {
            file.group.has(time) && file.group.is_of(kind) && file.stretch.offsets.contains(&offset.get())
        };
        if !self.files.get(self.last).is_some_and(is_it) {
            let known = self.files.iter().rposition(is_it);
            self.last = known.unwrap_or_else(|| self.begin_file(Group { day: time.map(day_of), kind }, offset));
        }
        self.last
    }

    /// Begins the file of a group that has this offset.
    fn begin_file(&mut self, group: Group, offset: Offset) -> usize {
        let stretch = self.present.around(&group, offset);
        self.maker.bytes += if stretch.is_there { size_of::<OpenFile>() } else { PARQUET_FILE_BYTES };
        self.files.push(OpenFile { group, stretch, rows: Rows::default(), rows_bytes: 0, writer: None });
        self.files.len() - 1
    }

    /// Encodes the rows of a file.
    fn write_rows(&mut self, at: usize) {
        let file = &mut self.files[at];
        let written = file.write_rows(&self.maker.texts, &mut self.uniform);
        self.maker.bytes = self.maker.bytes + written.as_ref().unwrap_or(&0) - file.rows_bytes;
        file.rows_bytes = 0;
        file.rows.clear();
        if let Err(error) = written {
            self.error = self.error.take().or(Some(error));
        }
    }

    /// The files of the part, which is empty then; those of which everything is there already are left out.
    ///
    /// # Errors
    /// When the library cannot encode them.
    pub fn finish(&mut self, forward: &str, range: &PartRange) -> Result<Vec<PartFile>, String> {
        for at in 0..self.files.len() {
            if self.files[at].rows.len() > 0 {
                self.write_rows(at);
            }
        }
        let (mut files, error) = (std::mem::take(&mut self.files), self.error.take());
        self.clear();
        error.map_or(Ok(()), Err).map_err(|error| error.to_string())?;
        files.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut done = Vec::new();
        for file in files {
            let Some(mut writer) = file.writer else { continue };
            let range = range.within(&file.stretch.offsets);
            about(forward, &range).for_each(|about| writer.append_key_value_metadata(about));
            let bytes = writer.into_inner().map_err(|error| error.to_string())?;
            done.push(PartFile { path: format!("{}/{}", file.group, range.file(forward)), bytes });
        }
        Ok(done)
    }

    /// Drops what was added.
    pub fn clear(&mut self) {
        self.files = Vec::new();
        self.maker.clear();
        (self.last, self.first, self.error) = (0, None, None);
    }
}

impl OpenFile {
    fn order(&self) -> (&Group, u64) {
        (&self.group, self.stretch.offsets.start)
    }

    /// Encodes its rows; returns by how many bytes the file has grown.
    fn write_rows(&mut self, texts: &Texts, uniform: &mut Uniform) -> Result<usize, ParquetError> {
        if self.writer.is_none() {
            self.writer = Some(SerializedFileWriter::new(Vec::new(), SCHEMA.clone(), PROPERTIES.clone())?);
        }
        let writer = self.writer.as_mut().expect("it was made");
        let before = writer.bytes_written();
        self.rows.write(texts, uniform, writer)?;
        Ok(writer.bytes_written() - before)
    }
}

/// The metadata of a file.
fn about(forward: &str, range: &PartRange) -> impl Iterator<Item = KeyValue> {
    let end = range.end;
    let log = u128::from_be_bytes(end.log_id);
    [
        ("afferent.schema", VERSION.to_owned()),
        ("afferent.forward", forward.to_owned()),
        ("afferent.log", format!("{log:032x}")),
        ("afferent.partition", end.partition.to_string()),
        ("afferent.first_offset", range.from.to_string()),
        ("afferent.end_offset", end.offset.to_string()),
        ("afferent.end_place", PlaceText(end).to_string()),
    ]
    .into_iter()
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
}
