//! Followed files of a configuration as inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::INPUT_NAME_BYTES_MAX;
use serde::Deserialize;

use super::lines::{LineForm, LinePattern};
use super::pattern::Pattern;
use super::{TailMetrics, run};
use crate::intake::file::Sign;
use crate::intake::input::{Home, Input, Ways};
use crate::intake::mapping::Mapping;
use crate::intake::sink::Sink;
use crate::intake::time::{Form, Reading, Zone};
use crate::intake::unit::Unit;
use crate::limits::{TAIL_INPUTS_MAX, TAIL_INTERVAL_MS_MAX, TAIL_INTERVAL_MS_MIN};
use crate::section::{Key, Value, optional};
use crate::supervise::Ended;
use afferent_host::stop::Stop;

/// The section `[[intake.tail]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TailConfig {
    /// The name of the input in logs, in metrics, and in the ring log, which holds its cursors.
    pub name: String,
    /// The files.
    pub paths: Vec<Pattern>,
    /// The format of their lines.
    pub form: LineForm,
    /// The meaning of their columns.
    pub mapping: Mapping,
    /// Whether to begin at the end of files that exist at the first look.
    pub from_end: bool,
    /// Time between two looks at the files.
    pub interval: Duration,
}

/// What a file's lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
    Plain,
}

/// Where a file that is there at the first look is followed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    Start,
    End,
}

/// What becomes of lines that the pattern does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unmatched {
    #[default]
    Refuse,
    Skip,
}

/// A [`TailConfig`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    paths: Vec<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    from: From,
    interval_ms: Option<u32>,
    #[serde(default)]
    columns: Vec<String>,
    pattern: Option<String>,
    #[serde(default)]
    unmatched: Unmatched,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    subject: String,
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
}

impl TryFrom<Written> for TailConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let name = written.name.clone();
        written.parsed().map_err(|error| format!("`intake.tail` {name:?}: {error}"))
    }
}

impl Written {
    fn parsed(self) -> Result<TailConfig, String> {
        let form = self.form()?;
        if self.name.is_empty() || self.name.len() > INPUT_NAME_BYTES_MAX {
            return Err(format!("`name` has {} bytes; it goes from 1 to {INPUT_NAME_BYTES_MAX}", self.name.len()));
        }
        if self.paths.is_empty() {
            return Err("`paths` is empty; name files, such as /var/log/press*.log".to_owned());
        }
        let interval_ms = self.interval_ms.unwrap_or(INTERVAL_MS_DEFAULT);
        if !(TAIL_INTERVAL_MS_MIN..=TAIL_INTERVAL_MS_MAX).contains(&interval_ms) {
            return Err(format!(
                "`interval_ms` is {interval_ms}; it goes from {TAIL_INTERVAL_MS_MIN} to {TAIL_INTERVAL_MS_MAX}"
            ));
        }
        let mapping = Mapping {
            subject: self.subject,
            subject_column: self.subject_column,
            time_column: self.time_column,
            time: Reading { form: self.time_format, zone: self.time_zone },
            value_columns: self.value_columns,
            text_columns: self.text_columns,
            number_columns: self.number_columns,
            missing: self.missing,
            decimal: self.decimal.map_or(b'.', |sign| sign.0),
            unit: self.unit,
            delimiter: self.delimiter.map_or(b',', |sign| sign.0),
        };
        mapping.check()?;
        let paths = self.paths.iter().map(|path| Pattern::new(path)).collect::<Result<_, _>>()?;
        let (from_end, interval) = (self.from == From::End, Duration::from_millis(interval_ms.into()));
        Ok(TailConfig { name: self.name, paths, form, mapping, from_end, interval })
    }

    fn form(&self) -> Result<LineForm, String> {
        let is_plain = self.format == Format::Plain;
        if !is_plain && (self.pattern.is_some() || !self.fields.is_empty()) {
            return Err("`pattern` and `fields` are for plain lines; set `format = \"plain\"`".to_owned());
        }
        if self.format != Format::Csv && !self.columns.is_empty() {
            return Err("`columns` is for CSV; set `format = \"csv\"`".to_owned());
        }
        match self.format {
            Format::Json => Ok(LineForm::Json),
            Format::Csv if self.value_columns.is_empty() => {
                Err("`value_columns` is missing; name the columns that hold values".to_owned())
            }
            Format::Csv => Ok(LineForm::Csv { columns: self.columns.clone() }),
            Format::Plain => {
                let pattern = self.pattern.as_deref().ok_or("`pattern` is missing; plain lines need it")?;
                let pattern = LinePattern::new(pattern)?;
                let mapped = [&self.subject_column, &self.time_column].into_iter().flatten().chain(&self.value_columns);
                if let Some(missing) = mapped.into_iter().find(|name| !pattern.names().any(|group| group == **name)) {
                    return Err(format!("`pattern` has no group named {missing:?}, which the mapping names"));
                }
                let (fields, skips) = (self.fields.clone(), self.unmatched == Unmatched::Skip);
                Ok(LineForm::Plain { pattern, fields, skips })
            }
        }
    }
}

/// From look to look, where nothing is asked for.
const INTERVAL_MS_DEFAULT: u32 = 250;

/// Files to follow.
#[derive(Debug)]
pub struct Tail(SourceId, TailConfig);

impl Input for Tail {
    type Section = Vec<TailConfig>;
    type Config = (SourceId, TailConfig);
    type Shared = ();

    const REPEATS: bool = true;
    const HELP: &'static str =
        "Follows files as they grow, are rotated and compressed; takes every line once. May be repeated.";
    #[rustfmt::skip]
    const KEYS: &'static [Key] = &[
        optional("name", Value::Text, "\"press\"",
            "The name of the input and its cursors; a new name starts over. Required."),
        optional("paths", Value::Texts, "[\"/var/log/press.log*\"]",
            "The files, including rotated ones; the name may have * and ?. Required."),
        optional("format", Value::Choice(&["json", "csv", "plain"]), "\"plain\"",
            "The format of a line: JSON, CSV, or plain text for `pattern`. Default: json."),
        optional("from", Value::Choice(&["start", "end"]), "\"start\"",
            "Where to begin in files that exist at the first look; later files are read from the start."),
        optional("interval_ms", Value::Whole(TAIL_INTERVAL_MS_MIN as u64, TAIL_INTERVAL_MS_MAX as u64), "250",
            "Milliseconds between two looks at the files."),
        optional("columns", Value::Texts, "[\"time\", \"value\"]",
            "The columns of CSV files without a header line, as copytruncate leaves them. Default: the first line of \
             each file."),
        optional("pattern", Value::Text, "'^(?<timestamp>[^ ]+) (?<sensor>[^ ]+) (?<value>[^ ]+) (?<lot>.*)$'",
            "A regular expression for plain lines. Its named groups are the socket's fields, or columns where \
             `value_columns` is set."),
        optional("unmatched", Value::Choice(&["refuse", "skip"]), "\"refuse\"",
            "Whether plain lines that do not match `pattern` are refused or skipped."),
        optional("fields", Value::Texts, "{ type = \"breakdown\" }", "Fields that are added to all plain lines."),
        optional("subject", Value::Text, "\"88-C/temperature\"", "The subject of mapped values and plain lines."),
        optional("subject_column", Value::Text, "\"sensor\"", "A column whose text is appended to the subject."),
        optional("time_column", Value::Text, "\"timestamp\"",
            "The column with the time. Default: when the line is read."),
        optional("time_format", Value::Text, "\"%Y%m%d%H%M%S\"",
            "rfc3339, unix, unix_ms, unix_us, unix_ns, excel, or a pattern of %Y %m %d %H %M %S %f %z. Default: \
             rfc3339."),
        optional("time_zone", Value::Text, "\"UTC\"",
            "The zone of times without one: UTC, or an offset such as +02:00. Default: such times are refused."),
        optional("value_columns", Value::Texts, "[\"value\", \"lot\"]",
            "The columns with values. Without it, JSON lines have the socket's format."),
        optional("text_columns", Value::Texts, "[\"lot\"]",
            "Value columns that hold text. Default: numbers, true and false; other cells are refused."),
        optional("number_columns", Value::Texts, "[\"value\"]", "Value columns that hold only numbers."),
        optional("missing", Value::Texts, "[\"NaN\"]", "Texts of cells without a value, beside empty cells."),
        optional("decimal", Value::Text, "\",\"", "The decimal separator. Default: a point."),
        optional("delimiter", Value::Text, "\";\"", "The character between the columns. Default: a comma."),
        optional("unit", Value::Text, "\"Cel\"", "The values' unit, a UCUM code."),
    ];

    fn check(section: &Vec<TailConfig>, _: &Home) -> Result<(), String> {
        if section.len() > TAIL_INPUTS_MAX {
            return Err(format!(
                "`intake.tail` is listed {} times; at most {TAIL_INPUTS_MAX} are allowed",
                section.len()
            ));
        }
        let mut names = BTreeSet::new();
        match section.iter().find(|tail| !names.insert(&tail.name)) {
            Some(twice) => {
                Err(format!("`intake.tail.name` {:?} is listed twice; give each input a name of its own", twice.name))
            }
            None => Ok(()),
        }
    }

    fn inputs(section: &Vec<TailConfig>, home: &Home) -> Vec<(String, Self::Config)> {
        section.iter().map(|tail| (tail.name.clone(), (home.agent, tail.clone()))).collect()
    }

    async fn open((agent, config): &Self::Config, (): &()) -> Result<Self, String> {
        // Files and their directories come and go.
        Ok(Self(*agent, config.clone()))
    }

    async fn run<S: Sink>(self, ways: Ways<S>, stop: Stop) -> Ended {
        let metrics = TailMetrics::new(&ways.registry, &self.1.name);
        run(self.0, self.1, ways.sink, ways.clock, metrics, stop).await
    }
}
