//! The columns of every file. All files have the same ones, so that one query reads all types.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// The version of the columns, in the metadata of every file.
pub(super) const VERSION: &str = "1";

const COLUMNS: &str = "
message event {
    required int64 offset;
    required binary id (STRING);
    required binary source (STRING);
    optional binary subject (STRING);
    required binary event_type (STRING);
    optional int64 time (TIMESTAMP(MICROS, true));
    optional int64 correctedtime (TIMESTAMP(MICROS, true));
    optional int64 recordedtime (TIMESTAMP(MICROS, true));
    optional int64 ingesttime (TIMESTAMP(MICROS, true));
    optional binary stream (STRING);
    optional binary epoch (STRING);
    optional int64 sequence;
    required int32 severitynumber;
    optional double value;
    optional int64 value_int;
    optional boolean value_bool;
    optional binary value_text (STRING);
    optional binary unit (STRING);
    optional binary quality (STRING);
    optional binary datacontenttype (STRING);
    optional binary data (STRING);
    optional binary extensions (STRING);
}";

/// The columns.
pub(super) static SCHEMA: LazyLock<TypePtr> =
    LazyLock::new(|| Arc::new(parse_message_type(COLUMNS).expect("the columns are well-formed")));

/// Numbers that grow, or stay for a while: differences take less room than a dictionary.
const DELTA: [&str; 7] = ["offset", "time", "correctedtime", "recordedtime", "ingesttime", "sequence", "value_int"];

/// Texts whose least and greatest one keep no reader from reading a row group: nearly every one has all of them.
const NOT_SOUGHT: [&str; 11] = [
    "id",
    "source",
    "subject",
    "event_type",
    "stream",
    "epoch",
    "unit",
    "quality",
    "datacontenttype",
    "data",
    "extensions",
];

/// How files are written.
pub(super) static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("afferent-collector ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(column("value"), false)
        .set_column_dictionary_enabled(column("id"), false)
        .set_column_encoding(column("id"), Encoding::DELTA_BYTE_ARRAY);
    for name in NOT_SOUGHT {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    for name in DELTA {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    Arc::new(properties.build())
});
