//! Columns of which all rows of a row group are the same: most have no value, or one for many thousand rows.
//!
//! The library encodes each once; the encoded column is appended as often as it comes.

use std::sync::LazyLock;

use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, get_column_writer, get_typed_column_writer};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::SchemaDescriptor;

use super::schema::{PROPERTIES, SCHEMA};
use crate::limits::PARQUET_UNIFORM_MAX;

static COLUMNS: LazyLock<SchemaDescriptor> = LazyLock::new(|| SchemaDescriptor::new(SCHEMA.clone()));

/// An encoded column of a row group.
pub(super) struct Encoded {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
}

/// What all rows have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum UniformValue {
    None,
    Number(i32),
    Text(ByteArray),
}

/// Columns that were encoded: number of the column, rows, value.
#[derive(Default)]
pub(super) struct Uniform(Vec<((usize, usize, UniformValue), Encoded)>);

impl Uniform {
    /// The encoded column, which `encode` makes where it is new.
    pub fn get(
        &mut self,
        column: usize,
        rows: usize,
        value: UniformValue,
        encode: impl FnOnce(usize) -> Result<Encoded, ParquetError>,
    ) -> Result<&Encoded, ParquetError> {
        let key = (column, rows, value);
        let known = self.0.iter().position(|(known, _)| *known == key);
        let at = match known {
            Some(at) => at,
            None => {
                if self.0.len() >= PARQUET_UNIFORM_MAX {
                    self.0.clear();
                }
                self.0.push((key, encode(column)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[at].1)
    }
}

/// Encodes a column by itself.
pub(super) fn encoded<T: DataType>(
    column: usize,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<Encoded, ParquetError> {
    let mut sink = TrackedWrite::new(Vec::new());
    let pages = Box::new(SerializedPageWriter::new(&mut sink));
    let writer = get_column_writer(COLUMNS.column(column), PROPERTIES.clone(), pages);
    let mut writer = get_typed_column_writer::<T>(writer);
    writer.write_batch(values, levels, None)?;
    let close = writer.close()?;
    Ok(Encoded { bytes: sink.into_inner()?.into(), close })
}
