//! Events into the files of a part: one file for each day and type, and for each stretch of offsets that is not there yet.
//!
//! So each file has all events of the offsets in its name: whichever of them is removed is written again by a rewind.

use afferent_protocol::event::{Kind, Sample, Value};
use afferent_protocol::ids::Offset;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use serde_json::value::RawValue;

use super::super::event::{Content, ForwardEvent};
use super::columns::{LastText, Rows, Texts};
use super::names::{Group, PartRange, day_of};
use super::present::{Present, Stretch};
use super::schema::{PROPERTIES, SCHEMA, VERSION};
use super::uniform::Uniform;
use crate::cloud_event::names;
use crate::limits::{PARQUET_FILE_BYTES, PARQUET_ROW_BYTES, PARQUET_ROW_GROUP_ROWS};
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
    texts: Texts,
    lasts: Lasts,
    /// The number of the last unit of a subject, by the number of the subject.
    units: Vec<u32>,
    /// Bytes of memory.
    bytes: usize,
    /// The offset of the first event.
    first: Option<Offset>,
    data: Vec<u8>,
    error: Option<ParquetError>,
}

#[derive(Default)]
struct Lasts {
    source: LastText,
    subject: LastText,
    event_type: LastText,
    stream: LastText,
    epoch: (u64, LastText),
    quality: LastText,
    content_type: LastText,
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
        self.bytes
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
        let before = self.bytes;
        let mut rows = std::mem::take(&mut self.files[at].rows);
        self.put_head(&mut rows, event);
        match event.sample() {
            Some(sample) => self.put_sample(&mut rows, sample),
            None => self.put_data(&mut rows, event),
        }
        self.bytes += PARQUET_ROW_BYTES + event.id.len();
        let file = &mut self.files[at];
        file.rows = rows;
        file.rows_bytes += self.bytes - before;
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
        let (day, offset) = (event.best_time().map(day_of), event.address.offset);
        let is_it = |file: &OpenFile| {
            file.group.day == day && file.group.kind == kind && file.stretch.offsets.contains(&offset.get())
        };
        if !self.files.get(self.last).is_some_and(is_it) {
            let known = self.files.iter().rposition(is_it);
            self.last = known.unwrap_or_else(|| self.begin_file(Group { day, kind }, offset));
        }
        self.last
    }

    /// Begins the file of a group that has this offset.
    fn begin_file(&mut self, group: Group, offset: Offset) -> usize {
        let stretch = self.present.around(&group, offset);
        self.bytes += if stretch.is_there { size_of::<OpenFile>() } else { PARQUET_FILE_BYTES };
        self.files.push(OpenFile { group, stretch, rows: Rows::default(), rows_bytes: 0, writer: None });
        self.files.len() - 1
    }

    fn put_head(&mut self, rows: &mut Rows, event: &ForwardEvent<'_>) {
        let Self { texts, lasts, bytes, .. } = self;
        rows.offset.push(event.address.offset.get().cast_signed());
        rows.id.push(Some(event.id.as_bytes()));
        rows.source.push(texts.same(&mut lasts.source, event.source, bytes));
        rows.subject.push(event.subject.map(|subject| texts.same(&mut lasts.subject, subject, bytes)));
        rows.event_type.push(texts.same(&mut lasts.event_type, event.kind, bytes));
        rows.time.push(event.time.map(|time| time.micros()));
        rows.corrected.push(event.corrected.map(|time| time.micros()));
        rows.recorded.push(event.recorded.map(|time| time.micros()));
        rows.ingest.push(event.ingest.map(|time| time.micros()));
        rows.severity.push(event.severity.into());
        let Some((stream, epoch, sequence)) = event.lane else {
            rows.stream.push(None);
            rows.epoch.push(None);
            rows.sequence.push(None);
            return;
        };
        rows.stream.push(Some(texts.same(&mut lasts.stream, stream.name(), bytes)));
        let (last_epoch, last) = &mut lasts.epoch;
        let number = last.number().filter(|_| *last_epoch == epoch.get());
        let number = number.unwrap_or_else(|| texts.same(last, &epoch.to_string(), bytes));
        *last_epoch = epoch.get();
        rows.epoch.push(Some(number));
        rows.sequence.push(Some(sequence.get().cast_signed()));
    }

    fn put_sample(&mut self, rows: &mut Rows, sample: &Sample<'_>) {
        let (number, whole) = match sample.value {
            Value::Float(value) => (Some(value), None),
            // The nearest double, so that one column has all numbers.
            Value::Integer(value) => (Some(value as f64), Some(value)),
            Value::Bool(_) | Value::Text(_) => (None, None),
        };
        rows.value.push(number);
        rows.value_int.push(whole);
        rows.value_bool.push(if let Value::Bool(value) = sample.value { Some(value) } else { None });
        let text = if let Value::Text(text) = sample.value { Some(text) } else { None };
        rows.value_text.push(text.map(str::as_bytes));
        self.bytes += text.map_or(0, str::len);
        let unit = (!sample.unit.is_empty()).then(|| self.unit(rows, sample.unit));
        rows.unit.push(unit);
        let quality = names::quality(sample.quality);
        rows.quality.push(Some(self.texts.same(&mut self.lasts.quality, quality, &mut self.bytes)));
        rows.content_type.push(None);
        rows.data.push(None);
        rows.extensions.push(None);
    }

    /// The number of a unit. A subject mostly has the same one.
    fn unit(&mut self, rows: &Rows, unit: &str) -> u32 {
        let Some(subject) = rows.subject.last() else { return self.texts.number(unit, &mut self.bytes) };
        let subject = *subject as usize;
        if let Some(number) = self.units.get(subject).filter(|number| self.texts.is(**number, unit)) {
            return *number;
        }
        let number = self.texts.number(unit, &mut self.bytes);
        if self.units.len() <= subject {
            self.bytes += 4 * (subject + 1 - self.units.len());
            self.units.resize(subject + 1, u32::MAX);
        }
        self.units[subject] = number;
        number
    }

    fn put_data(&mut self, rows: &mut Rows, event: &ForwardEvent<'_>) {
        rows.value.push(None);
        rows.value_int.push(None);
        rows.value_bool.push(None);
        rows.value_text.push(None);
        rows.unit.push(None);
        rows.quality.push(None);
        self.data.clear();
        let content_type = event.put_data(&mut self.data);
        let has_data = !self.data.is_empty();
        let content_type =
            has_data.then(|| self.texts.same(&mut self.lasts.content_type, &content_type, &mut self.bytes));
        rows.content_type.push(content_type);
        rows.data.push(has_data.then_some(&*self.data));
        let extensions = extensions(event);
        rows.extensions.push(extensions.as_deref().map(str::as_bytes));
        self.bytes += self.data.len() + extensions.map_or(0, |text| text.len());
    }

    /// Encodes the rows of a file.
    fn write_rows(&mut self, at: usize) {
        let file = &mut self.files[at];
        let written = file.write_rows(&self.texts, &mut self.uniform);
        self.bytes = self.bytes + written.as_ref().unwrap_or(&0) - file.rows_bytes;
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
        self.texts.clear();
        self.units.clear();
        self.lasts = Lasts::default();
        (self.last, self.bytes, self.first, self.error) = (0, 0, None, None);
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

/// Attributes that have columns, or are about the form of the JSON.
const KNOWN: [&str; 18] = [
    "specversion",
    "id",
    "source",
    "subject",
    "time",
    "correctedtime",
    "type",
    "datacontenttype",
    "sequence",
    "epoch",
    "stream",
    "recordedtime",
    "ingesttime",
    "partition",
    "offset",
    "severitynumber",
    "data",
    "data_base64",
];

/// The other attributes of a posted event, as a JSON object.
fn extensions(event: &ForwardEvent<'_>) -> Option<String> {
    if !matches!(event.content, Content::Posted { .. }) {
        return None;
    }
    let mut json = Vec::new();
    event.put_json(&mut json);
    let mut all: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&json).ok()?;
    KNOWN.iter().for_each(|known| {
        all.remove(*known);
    });
    (!all.is_empty()).then(|| serde_json::to_string(&all).expect("an object has texts as keys"))
}
