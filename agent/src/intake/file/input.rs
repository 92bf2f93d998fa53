//! Recorded files of a configuration as inputs.

use std::fs::File;
use std::path::{Path, PathBuf};

use afferent_host::stop::Stop;
use afferent_protocol::ids::Subject;
use serde::Deserialize;

use super::{FileSettings, Speed, run};
use crate::intake::input::{Home, Input, Ways};
use crate::intake::mapping::Mapping;
use crate::intake::sink::DeviceSink;
use crate::intake::take::LineMetrics;
use crate::intake::time::{Form, Reading, Zone};
use crate::intake::unit::Unit;
use crate::section::{Key, Value, optional};
use crate::supervise::Ended;

/// The section `[[intake.file]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct FileConfig {
    /// Path of the file.
    pub path: PathBuf,
    /// The meaning of its columns.
    pub mapping: Mapping,
    /// How fast it is replayed.
    pub speed: Speed,
}

/// A [`FileConfig`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: PathBuf,
    #[serde(default)]
    subject: Front,
    subject_column: Option<String>,
    time_column: Option<String>,
    #[serde(default)]
    time_format: Form,
    time_zone: Option<Zone>,
    #[serde(default)]
    value_columns: Vec<String>,
    #[serde(default)]
    text_columns: Vec<String>,
    #[serde(default)]
    number_columns: Vec<String>,
    #[serde(default)]
    missing: Vec<String>,
    decimal: Option<Sign>,
    delimiter: Option<Sign>,
    #[serde(default)]
    unit: Unit,
    speed: Option<Speed>,
}

/// What subjects begin with: one by itself, or nothing.
#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
struct Front(String);

impl TryFrom<String> for Front {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Subject::new(&text) {
            Err(error) if !text.is_empty() => Err(format!("the subject {text:?}: {error}")),
            _ => Ok(Self(text)),
        }
    }
}

/// A separator: one ASCII character.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Sign(pub u8);

impl TryFrom<String> for Sign {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            [sign] if sign.is_ascii() => Ok(Self(*sign)),
            _ => Err(format!("{text:?} is not one ASCII character")),
        }
    }
}

impl TryFrom<Written> for FileConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mapping = Mapping {
            subject: written.subject.0,
            subject_column: written.subject_column,
            time_column: written.time_column,
            time: Reading { form: written.time_format, zone: written.time_zone },
            value_columns: written.value_columns,
            text_columns: written.text_columns,
            number_columns: written.number_columns,
            missing: written.missing,
            decimal: written.decimal.map_or(b'.', |sign| sign.0),
            unit: written.unit,
            delimiter: written.delimiter.map_or(b',', |sign| sign.0),
        };
        mapping.check().map_err(|error| format!("`intake.file` of {}: {error}", written.path.display()))?;
        Ok(Self { path: written.path, mapping, speed: written.speed.unwrap_or(Speed::Original) })
    }
}

/// A recorded file that can be read.
#[derive(Debug)]
pub struct FileReplay(FileSettings);

impl Input for FileReplay {
    type Section = Vec<FileConfig>;
    type Config = FileSettings;
    type Shared = ();

    const REPEATS: bool = true;
    const HELP: &'static str =
        "A recorded file that is replayed once; the next start continues where it was. May be repeated.";
    #[rustfmt::skip]
    const KEYS: &'static [Key] = &[
        optional("path", Value::Text, "\"recorded.csv\"",
            "The file: .csv with a header line, .jsonl, .ndjson. Required."),
        optional("subject", Value::Text, "\"88-C/temperature\"", "The subject of the values."),
        optional("subject_column", Value::Text, "\"sensor\"", "A column whose text is appended to the subject."),
        optional("time_column", Value::Text, "\"timestamp\"",
            "The column with the time. Default: the time of the replay."),
        optional("time_format", Value::Text, "\"%Y%m%d%H%M%S\"",
            "rfc3339, unix, unix_ms, unix_us, unix_ns, excel, or a pattern of %Y %m %d %H %M %S %f %z. Default: \
             rfc3339."),
        optional("time_zone", Value::Text, "\"UTC\"",
            "The zone of times without one: UTC, or an offset such as +02:00. Default: such times are refused."),
        optional("value_columns", Value::Texts, "[\"value\", \"lot\"]",
            "The columns with values. Without it, JSON lines have the socket's format."),
        optional("text_columns", Value::Texts, "[\"lot\"]",
            "Value columns that hold text. Default: detected from the first rows."),
        optional("number_columns", Value::Texts, "[\"value\"]",
            "Value columns that hold numbers. Default: detected from the first rows."),
        optional("missing", Value::Texts, "[\"NaN\"]", "Texts of cells without a value, beside empty cells."),
        optional("decimal", Value::Text, "\",\"", "The decimal separator. Default: a point."),
        optional("delimiter", Value::Text, "\";\"", "The character between the columns. Default: a comma."),
        optional("unit", Value::Text, "\"Cel\"", "The values' unit, a UCUM code."),
        optional("speed", Value::Text, "\"max\"",
            "original, max, or a factor such as 60 for 60 times faster. Default: original."),
    ];

    fn inputs(section: &Vec<FileConfig>, home: &Home) -> Vec<(String, FileSettings)> {
        let one = |FileConfig { path, mapping, speed }: &FileConfig| {
            let checkpoints = home.data_dir.join("replay");
            let settings = FileSettings { path: path.clone(), mapping: mapping.clone(), speed: *speed, checkpoints };
            (path.display().to_string(), settings)
        };
        section.iter().map(one).collect()
    }

    fn look(config: &FileSettings, _: &Home) -> Result<(), String> {
        can_read(&config.path)
    }

    async fn open(config: &FileSettings, (): &()) -> Result<Self, String> {
        can_read(&config.path).map(|()| Self(config.clone()))
    }

    async fn run<S: DeviceSink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        let metrics = LineMetrics::new(&ways.registry, &self.0.path.display().to_string());
        let replayed = run(self.0, ways.sink, ways.clock, metrics, stop).await;
        replayed.map_err(|error| format!("the replay ended early: {error}"))
    }
}

fn can_read(path: &Path) -> Result<(), String> {
    File::open(path).map(drop).map_err(|error| format!("`intake.file.path` {}: {error}", path.display()))
}
