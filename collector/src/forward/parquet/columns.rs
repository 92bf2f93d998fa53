//! The rows of one file that are not encoded yet, by columns, and their encoding.

use std::collections::HashMap;

use bytes::Bytes;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::uniform::{Encoded, Uniform, UniformValue, encoded};
use crate::limits::PARQUET_ROW_GROUP_ROWS;

/// Texts that many rows have, once each.
#[derive(Default)]
pub(super) struct Texts {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<ByteArray>,
}

/// A text of [`Texts`], remembered because the next row mostly has the same.
#[derive(Default)]
pub(super) struct LastText {
    text: String,
    number: Option<u32>,
}

impl LastText {
    pub fn number(&self) -> Option<u32> {
        self.number
    }
}

/// Bytes of a text beside its own.
const TEXT_BYTES: usize = 128;

impl Texts {
    /// The number of a text; adds the bytes of a new one to `bytes`.
    pub fn number(&mut self, text: &str, bytes: &mut usize) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(ByteArray::from(text.as_bytes().to_vec()));
        self.numbers.insert(text.into(), number);
        *bytes += 2 * text.len() + TEXT_BYTES;
        number
    }

    /// The same, of a text that is mostly that of the row before.
    pub fn same(&mut self, last: &mut LastText, text: &str, bytes: &mut usize) -> u32 {
        if let Some(number) = last.number.filter(|_| last.text == text) {
            return number;
        }
        let number = self.number(text, bytes);
        last.text.clear();
        last.text.push_str(text);
        last.number = Some(number);
        number
    }

    /// The same, of a text out of a few that the program has.
    #[inline]
    pub fn named(&mut self, last: &mut Option<(&'static str, u32)>, text: &'static str, bytes: &mut usize) -> u32 {
        if let Some((_, number)) = last.filter(|(last, _)| std::ptr::eq(*last, text)) {
            return number;
        }
        let number = self.number(text, bytes);
        *last = Some((text, number));
        number
    }

    pub fn is(&self, number: u32, text: &str) -> bool {
        self.texts.get(number as usize).is_some_and(|known| known.data() == text.as_bytes())
    }

    pub fn clear(&mut self) {
        self.numbers.clear();
        self.texts.clear();
    }
}

static PRESENT: [i16; PARQUET_ROW_GROUP_ROWS] = [1; PARQUET_ROW_GROUP_ROWS];
static ABSENT: [i16; PARQUET_ROW_GROUP_ROWS] = [0; PARQUET_ROW_GROUP_ROWS];

/// Which rows of a column have a value: mostly all, or none.
#[derive(Default)]
struct Levels {
    rows: usize,
    present: usize,
    mixed: Vec<i16>,
}

impl Levels {
    #[inline]
    fn push(&mut self, is_present: bool) {
        if !self.mixed.is_empty() {
            self.mixed.push(i16::from(is_present));
        } else if self.rows > 0 && (self.present > 0) != is_present {
            self.mixed.resize(self.rows, i16::from(!is_present));
            self.mixed.push(i16::from(is_present));
        }
        self.rows += 1;
        self.present += usize::from(is_present);
    }

    fn levels(&self) -> &[i16] {
        match (self.mixed.is_empty(), self.present) {
            (false, _) => &self.mixed,
            (true, 0) => &ABSENT[..self.rows],
            (true, _) => &PRESENT[..self.rows],
        }
    }

    fn clear(&mut self) {
        self.mixed.clear();
        (self.rows, self.present) = (0, 0);
    }
}

/// A column that may have no value in a row.
pub(super) struct Cells<T> {
    levels: Levels,
    values: Vec<T>,
}

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self { levels: Levels::default(), values: Vec::new() }
    }
}

impl<T> Cells<T> {
    #[inline]
    pub fn push(&mut self, value: Option<T>) {
        self.levels.push(value.is_some());
        self.values.extend(value);
    }

    /// The last value.
    pub fn last(&self) -> Option<&T> {
        self.values.last()
    }

    fn clear(&mut self) {
        self.levels.clear();
        self.values.clear();
    }
}

/// A column of texts that differ from row to row.
#[derive(Default)]
pub(super) struct Blobs {
    levels: Levels,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Blobs {
    #[inline]
    pub fn push(&mut self, text: Option<&[u8]>) {
        self.levels.push(text.is_some());
        if let Some(text) = text {
            self.bytes.extend_from_slice(text);
            self.ends.push(self.bytes.len() as u32);
        }
    }

    fn clear(&mut self) {
        self.levels.clear();
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Rows, in the order of the schema.
#[derive(Default)]
pub(super) struct Rows {
    pub offset: Vec<i64>,
    pub id: Blobs,
    pub source: Vec<u32>,
    pub subject: Cells<u32>,
    pub event_type: Vec<u32>,
    pub time: Cells<i64>,
    pub corrected: Cells<i64>,
    pub recorded: Cells<i64>,
    pub ingest: Cells<i64>,
    pub stream: Cells<u32>,
    pub epoch: Cells<u32>,
    pub sequence: Cells<i64>,
    pub severity: Vec<i32>,
    pub value: Cells<f64>,
    pub value_int: Cells<i64>,
    pub value_bool: Cells<bool>,
    pub value_text: Blobs,
    pub unit: Cells<u32>,
    pub quality: Cells<u32>,
    pub content_type: Cells<u32>,
    pub data: Blobs,
    pub extensions: Blobs,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.offset.len()
    }

    /// Appends the rows to a file, as a row group.
    pub fn write(
        &self,
        texts: &Texts,
        uniform: &mut Uniform,
        to: &mut SerializedFileWriter<Vec<u8>>,
    ) -> Result<(), ParquetError> {
        assert!((1..=PARQUET_ROW_GROUP_ROWS).contains(&self.len()), "a row group has rows, and not too many");
        let mut group = RowGroup { group: to.next_row_group()?, column: 0, rows: self.len(), uniform };
        group.put::<Int64Type>(&self.offset, None)?;
        group.put_blobs(&self.id, None)?;
        group.put_texts(texts, &self.source, None)?;
        group.put_texts(texts, &self.subject.values, Some(&self.subject.levels))?;
        group.put_texts(texts, &self.event_type, None)?;
        for times in [&self.time, &self.corrected, &self.recorded, &self.ingest] {
            group.put::<Int64Type>(&times.values, Some(&times.levels))?;
        }
        for lane in [&self.stream, &self.epoch] {
            group.put_texts(texts, &lane.values, Some(&lane.levels))?;
        }
        group.put::<Int64Type>(&self.sequence.values, Some(&self.sequence.levels))?;
        group.put_severities(&self.severity)?;
        group.put::<DoubleType>(&self.value.values, Some(&self.value.levels))?;
        group.put::<Int64Type>(&self.value_int.values, Some(&self.value_int.levels))?;
        group.put::<BoolType>(&self.value_bool.values, Some(&self.value_bool.levels))?;
        group.put_blobs(&self.value_text, Some(&self.value_text.levels))?;
        for named in [&self.unit, &self.quality, &self.content_type] {
            group.put_texts(texts, &named.values, Some(&named.levels))?;
        }
        group.put_blobs(&self.data, Some(&self.data.levels))?;
        group.put_blobs(&self.extensions, Some(&self.extensions.levels))?;
        group.group.close().map(drop)
    }

    pub fn clear(&mut self) {
        self.offset.clear();
        self.source.clear();
        self.event_type.clear();
        self.severity.clear();
        for texts in [&mut self.id, &mut self.value_text, &mut self.data, &mut self.extensions] {
            texts.clear();
        }
        for texts in [&mut self.subject, &mut self.stream, &mut self.epoch, &mut self.unit, &mut self.quality] {
            texts.clear();
        }
        self.content_type.clear();
        for numbers in [&mut self.time, &mut self.corrected, &mut self.recorded, &mut self.ingest] {
            numbers.clear();
        }
        self.sequence.clear();
        self.value.clear();
        self.value_int.clear();
        self.value_bool.clear();
    }
}

/// A row group that is being written, column by column.
struct RowGroup<'g> {
    group: SerializedRowGroupWriter<'g, Vec<u8>>,
    /// Number of columns that are written.
    column: usize,
    rows: usize,
    uniform: &'g mut Uniform,
}

/// Values that are made for the encoder at a time.
const CHUNK: usize = 4096;

impl RowGroup<'_> {
    /// Appends the next column.
    fn put<T: DataType>(&mut self, values: &[T::T], levels: Option<&Levels>) -> Result<(), ParquetError> {
        if levels.is_some_and(|levels| levels.present == 0) {
            return self.put_none::<T>();
        }
        let mut column = self.group.next_column()?.expect("the schema has the columns that are written");
        column.typed::<T>().write_batch(values, levels.map(Levels::levels), None)?;
        self.column += 1;
        column.close()
    }

    /// Appends a column that has no value in any row.
    fn put_none<T: DataType>(&mut self) -> Result<(), ParquetError> {
        let levels = &ABSENT[..self.rows];
        self.put_uniform(UniformValue::None, |column| encoded::<T>(column, &[], Some(levels)))
    }

    fn put_uniform(
        &mut self,
        value: UniformValue,
        encode: impl FnOnce(usize) -> Result<Encoded, ParquetError>,
    ) -> Result<(), ParquetError> {
        let Encoded { bytes, close } = self.uniform.get(self.column, self.rows, value, encode)?;
        self.column += 1;
        self.group.append_column(bytes, close.clone())
    }

    fn put_severities(&mut self, severities: &[i32]) -> Result<(), ParquetError> {
        match all_the_same(severities) {
            Some(same) => {
                self.put_uniform(UniformValue::Number(same), |column| encoded::<Int32Type>(column, severities, None))
            }
            None => self.put::<Int32Type>(severities, None),
        }
    }

    /// Appends a column of texts by their numbers.
    fn put_texts(&mut self, texts: &Texts, numbers: &[u32], levels: Option<&Levels>) -> Result<(), ParquetError> {
        let text_of = |number: &u32| texts.texts[*number as usize].clone();
        match all_the_same(numbers).filter(|_| numbers.len() == self.rows) {
            Some(same) => {
                let text = text_of(&same);
                self.put_uniform(UniformValue::Text(text.clone()), |column| {
                    encoded::<ByteArrayType>(column, &vec![text; numbers.len()], levels.map(Levels::levels))
                })
            }
            None => self.put_byte_arrays(numbers, levels, text_of),
        }
    }

    /// Appends a column of texts that differ; `levels` are absent where every row has one.
    fn put_blobs(&mut self, blobs: &Blobs, levels: Option<&Levels>) -> Result<(), ParquetError> {
        let all = Bytes::copy_from_slice(&blobs.bytes);
        let mut from = 0;
        self.put_byte_arrays(&blobs.ends, levels, |end| {
            let text = all.slice(from..*end as usize);
            from = *end as usize;
            ByteArray::from(text)
        })
    }

    /// Appends a column of texts that `text_of` makes of `values`.
    fn put_byte_arrays<V>(
        &mut self,
        values: &[V],
        levels: Option<&Levels>,
        mut text_of: impl FnMut(&V) -> ByteArray,
    ) -> Result<(), ParquetError> {
        if levels.is_some_and(|levels| levels.present == 0) {
            return self.put_none::<ByteArrayType>();
        }
        let mut column = self.group.next_column()?.expect("the schema has the columns that are written");
        let writer = column.typed::<ByteArrayType>();
        let mut left = values.iter();
        let mut chunk = Vec::with_capacity(CHUNK);
        match levels.map(Levels::levels) {
            None => {
                for values in values.chunks(CHUNK) {
                    chunk.clear();
                    chunk.extend(values.iter().map(&mut text_of));
                    writer.write_batch(&chunk, None, None)?;
                }
            }
            Some(levels) => {
                for levels in levels.chunks(CHUNK) {
                    let present = levels.iter().filter(|level| **level == 1).count();
                    chunk.clear();
                    chunk.extend(left.by_ref().take(present).map(&mut text_of));
                    writer.write_batch(&chunk, Some(levels), None)?;
                }
            }
        }
        self.column += 1;
        column.close()
    }
}

/// The value that all rows have.
fn all_the_same<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}
