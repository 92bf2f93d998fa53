//! Events as rows.

use afferent_protocol::event::{Sample, Value};
use serde_json::value::RawValue;

use super::super::event::{Content, ForwardEvent};
use super::columns::{LastText, Rows, Texts};
use crate::cloud_event::names;
use crate::limits::PARQUET_ROW_BYTES;

/// Makes rows of events: what the rows of all files of a part have in common.
#[derive(Default)]
pub(super) struct RowMaker {
    pub texts: Texts,
    lasts: Lasts,
    /// The number of the last unit of a subject, by the number of the subject.
    units: Vec<u32>,
    data: Vec<u8>,
    /// Bytes of memory, with those of the rows.
    pub bytes: usize,
}

#[derive(Default)]
struct Lasts {
    source: LastText,
    subject: LastText,
    event_type: LastText,
    stream: Option<(&'static str, u32)>,
    epoch: (u64, LastText),
    quality: Option<(&'static str, u32)>,
    content_type: LastText,
}

impl RowMaker {
    /// Appends the row of an event.
    #[inline]
    pub fn put(&mut self, rows: &mut Rows, event: &ForwardEvent<'_>) {
        self.put_head(rows, event);
        match event.sample() {
            Some(sample) => self.put_sample(rows, sample),
            None => self.put_data(rows, event),
        }
        self.bytes += PARQUET_ROW_BYTES + event.id.len();
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
        rows.stream.push(Some(texts.named(&mut lasts.stream, stream.name(), bytes)));
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
        rows.quality.push(Some(self.texts.named(&mut self.lasts.quality, quality, &mut self.bytes)));
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

    pub fn clear(&mut self) {
        self.texts.clear();
        self.units.clear();
        self.lasts = Lasts::default();
        self.bytes = 0;
    }
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
