//! Rows of a recorded file, as lines that the socket takes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use afferent_protocol::ids::Timestamp;
use serde_json::{Map, Value};

use crate::intake::line::LineParser;
use crate::intake::time::{self, Zone};
use crate::limits::ROW_BYTES_MAX;

/// What the columns of a file (or the fields of its JSON objects) mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The subject of all rows; with several value columns or a subject column, what stands before their names.
    pub subject: String,
    /// A column that goes on the subject.
    pub subject_column: Option<String>,
    /// The column with the time: RFC 3339, without a zone taken as UTC, or a Unix time in s, ms, µs or ns, told apart by
    /// its size. None: the time of the replay.
    pub time_column: Option<String>,
    /// The columns with values, each a sample. None in a file of JSON lines: its lines are those of the socket.
    pub value_columns: Vec<String>,
    /// The unit of all values.
    pub unit: String,
    /// What stands between the columns of a CSV file.
    pub delimiter: u8,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            subject: String::new(),
            subject_column: None,
            time_column: None,
            value_columns: vec![],
            unit: String::new(),
            delimiter: b',',
        }
    }
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Neither CSV nor JSON lines.
    #[error("{} ends neither with .csv nor with .jsonl, .ndjson or .json; name it by what is in it", .0.display())]
    Format(PathBuf),
    /// A column that the file does not have.
    #[error("{} has no column {column:?}; it has {known}", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What the mapping names.
        column: String,
        /// What there is.
        known: String,
    },
    /// A mapping that says too little.
    #[error("{}: {why}", .path.display())]
    Mapping {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: &'static str,
    },
    /// A row that cannot be read; those behind it can.
    #[error("{}, row {row}: {why}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1, the head not counted.
        row: u64,
        /// What is wrong.
        why: String,
    },
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1.
    pub number: u64,
    /// Its recorded time.
    pub time: Option<Timestamp>,
    /// Lines for the socket, one per value, each with its end.
    pub text: String,
    /// How much of the file is read.
    pub percent: u8,
}

/// The rows of a file, in its order. A row that is wrong ([`ReplayError::Row`]) does not end them.
pub struct Rows {
    path: PathBuf,
    mapping: Mapping,
    source: Source,
    number: u64,
    bytes: u64,
    ended: bool,
}

enum Source {
    Csv { reader: Box<csv::Reader<File>>, columns: Columns, record: csv::StringRecord },
    Json { reader: BufReader<File>, read: u64 },
}

/// Where the mapped columns of a CSV file are.
struct Columns {
    subject: Option<usize>,
    time: Option<usize>,
    values: Vec<usize>,
}

impl Rows {
    /// Opens a file; a CSV file must have a head with the names of its columns.
    pub fn open(path: &Path, mapping: Mapping) -> Result<Self, ReplayError> {
        let failed = |error| ReplayError::Io { path: path.to_owned(), error };
        let wrong = |why| ReplayError::Mapping { path: path.to_owned(), why };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let source = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv" | "tsv" | "txt") => {
                if mapping.value_columns.is_empty() {
                    return Err(wrong("no value column is named; name the columns that hold values"));
                }
                let mut reader =
                    csv::ReaderBuilder::new().delimiter(mapping.delimiter).flexible(true).from_reader(file);
                let columns = Columns::find(path, &mut reader, &mapping)?;
                Source::Csv { reader: Box::new(reader), columns, record: csv::StringRecord::new() }
            }
            Some("jsonl" | "ndjson" | "json") => Source::Json { reader: BufReader::new(file), read: 0 },
            _ => return Err(ReplayError::Format(path.to_owned())),
        };
        if !mapping.value_columns.is_empty() && mapping.subject.is_empty() && mapping.subject_column.is_none() {
            return Err(wrong("no subject is given; say what the values are about, as 88-C/temperature"));
        }
        Ok(Self { path: path.to_owned(), mapping, source, number: 0, bytes, ended: false })
    }

    fn read(&mut self) -> Result<Option<Row>, Fault> {
        let number = self.number;
        let bytes = self.bytes;
        let percent = |read: u64| u8::try_from((read * 100).checked_div(bytes).unwrap_or(100).min(100)).unwrap_or(100);
        match &mut self.source {
            Source::Csv { reader, columns, record } => {
                if !reader.read_record(record).map_err(Fault::of_csv)? {
                    return Ok(None);
                }
                let percent = percent(reader.position().byte());
                let cell = |at: usize| record.get(at).unwrap_or("").trim();
                let time = columns.time.map(|at| read_time(cell(at))).transpose().map_err(Fault::Row)?;
                let values = columns.values.iter().zip(&self.mapping.value_columns);
                let cells = values.map(|(at, name)| (name.as_str(), value_of(cell(*at))));
                let text = self.mapping.lines(columns.subject.map(cell), time, cells);
                Ok(Some(Row { number, time, text, percent }))
            }
            Source::Json { reader, read } => {
                let mut bytes = Vec::new();
                let limit = ROW_BYTES_MAX as u64;
                let len = reader.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(Fault::File)?;
                *read += len as u64;
                if len == 0 {
                    return Ok(None);
                }
                if len as u64 == limit && !bytes.ends_with(b"\n") {
                    *read += reader.skip_until(b'\n').map_err(Fault::File)? as u64;
                    return Err(Fault::Row(format!("it has over {ROW_BYTES_MAX} bytes")));
                }
                let line = String::from_utf8(bytes).map_err(|error| {
                    Fault::Row(format!("its byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1))
                })?;
                // What some editors put before the first line.
                let line = if number == 1 { line.trim_start_matches('\u{feff}').to_owned() } else { line };
                self.mapping.of_json(line, number, percent(*read)).map(Some).map_err(Fault::Row)
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Row, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.number += 1;
        let row = self.read();
        self.ended = !matches!(row, Ok(Some(_)) | Err(Fault::Row(_)));
        let (path, row_number) = (&self.path, self.number);
        row.map_err(|fault| fault.at(path, row_number)).transpose()
    }
}

/// Why there is no row.
enum Fault {
    /// This one is wrong.
    Row(String),
    /// Nothing can be read any more.
    File(io::Error),
}

impl Fault {
    fn at(self, path: &Path, row: u64) -> ReplayError {
        let path = path.to_owned();
        match self {
            Self::Row(why) => ReplayError::Row { path, row, why },
            Self::File(error) => ReplayError::Io { path, error },
        }
    }

    fn of_csv(error: csv::Error) -> Self {
        let text = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::File(error),
            _ => Self::Row(text),
        }
    }
}

impl Columns {
    fn find(path: &Path, reader: &mut csv::Reader<File>, mapping: &Mapping) -> Result<Self, ReplayError> {
        let head = reader
            .headers()
            .map_err(|error| ReplayError::Row { path: path.to_owned(), row: 0, why: error.to_string() })?
            .clone();
        let find = |column: &String| {
            head.iter().position(|name| name.trim().trim_start_matches('\u{feff}') == column).ok_or_else(|| {
                let known: Vec<&str> = head.iter().take(64).collect();
                ReplayError::Column { path: path.to_owned(), column: column.clone(), known: known.join(", ") }
            })
        };
        Ok(Self {
            subject: mapping.subject_column.as_ref().map(find).transpose()?,
            time: mapping.time_column.as_ref().map(find).transpose()?,
            values: mapping.value_columns.iter().map(find).collect::<Result<_, _>>()?,
        })
    }
}

impl Mapping {
    /// One line for the socket per value; missing values have none.
    fn lines<'c>(
        &self,
        subject: Option<&str>,
        time: Option<Timestamp>,
        cells: impl Iterator<Item = (&'c str, Option<Value>)>,
    ) -> String {
        let mut text = String::new();
        for (name, value) in cells {
            let Some(value) = value else { continue };
            let column = (self.value_columns.len() > 1).then_some(name);
            let own = Some(self.subject.as_str()).filter(|own| !own.is_empty());
            let levels: Vec<&str> = [own, subject, column].into_iter().flatten().collect();
            let mut line = Map::new();
            line.insert("subject".to_owned(), levels.join("/").into());
            line.insert("value".to_owned(), value);
            if !self.unit.is_empty() {
                line.insert("unit".to_owned(), self.unit.as_str().into());
            }
            if let Some(time) = time {
                line.insert("time".to_owned(), time.micros().into());
            }
            text.push_str(&Value::Object(line).to_string());
            text.push('\n');
        }
        text
    }

    fn of_json(&self, line: String, number: u64, percent: u8) -> Result<Row, String> {
        if self.value_columns.is_empty() {
            let time = LineParser::default().parse(line.trim_end().as_bytes()).ok().and_then(|parsed| parsed.time());
            return Ok(Row { number, time, text: line, percent });
        }
        let object: Map<String, Value> = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let plain = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let field = |name: &String| object.get(name).map(plain);
        let time = match &self.time_column {
            Some(name) => Some(read_time(&field(name).ok_or_else(|| format!("it has no field {name:?}"))?)?),
            None => None,
        };
        let subject = self.subject_column.as_ref().and_then(field);
        let cells = self.value_columns.iter().map(|name| {
            let value = object.get(name).filter(|value| value.is_number() || value.is_boolean() || value.is_string());
            (name.as_str(), value.cloned())
        });
        Ok(Row { number, time, text: self.lines(subject.as_deref(), time, cells), percent })
    }
}

/// A CSV cell: whole number, number, switch or text; nothing when it is empty or no finite number.
fn value_of(cell: &str) -> Option<Value> {
    if cell.is_empty() {
        return None;
    }
    if let Ok(whole) = cell.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(number) = cell.parse::<f64>() {
        return serde_json::Number::from_f64(number).map(Value::Number);
    }
    Some(match cell {
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        text => text.into(),
    })
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    let time = time::parse_unix(text).or_else(|| time::parse(text, Zone::UtcWithout));
    time.ok_or_else(|| format!("{text:?} is no time; RFC 3339 (2013-12-02 21:15:00) and Unix times are read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str, mapping: Mapping) -> Result<Vec<Row>, ReplayError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Rows::open(&path, mapping)?.collect()
    }

    fn mapping(values: &[&str]) -> Mapping {
        Mapping {
            subject: "88-C".to_owned(),
            time_column: Some("t".to_owned()),
            value_columns: values.iter().map(|name| (*name).to_owned()).collect(),
            ..Mapping::default()
        }
    }

    #[test]
    fn a_row_that_is_wrong_does_not_end_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let outcomes = |name: &str, bytes: &[u8], mapping: Mapping| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let told = |row: Result<Row, ReplayError>| match row {
                Ok(row) => format!("{}: {}", row.number, row.text.trim_end()),
                Err(ReplayError::Row { row, why, .. }) => format!("{row} refused: {why}"),
                Err(error) => panic!("{error}"),
            };
            Rows::open(&path, mapping).unwrap().map(told).collect::<Vec<_>>()
        };
        let csv = outcomes("a.csv", b"t,v\n1,1\nnever,2\n3,\xFF\n4,4\n", mapping(&["v"]));
        assert_eq!(csv[0], r#"1: {"subject":"88-C","time":1000000,"value":1}"#);
        assert!(csv[1].starts_with("2 refused: \"never\" is no time"), "{csv:?}");
        assert!(csv[2].starts_with("3 refused: ") && csv[2].contains("UTF-8"), "{csv:?}");
        assert_eq!(csv[3], r#"4: {"subject":"88-C","time":4000000,"value":4}"#);
        let long =
            [b"\xEF\xBB\xBF{\"subject\":\"a\",\"value\":1}\n", &vec![b'x'; ROW_BYTES_MAX + 9][..], b"\n\xFF\nlast"]
                .concat();
        let json = outcomes("a.jsonl", &long, Mapping::default());
        assert_eq!(json[0], r#"1: {"subject":"a","value":1}"#);
        assert!(json[1].starts_with("2 refused: it has over"), "{json:?}");
        assert_eq!(json[2..], ["3 refused: its byte 1 is not UTF-8", "4: last"]);
    }

    #[test]
    fn wide_rows_become_a_line_per_value() {
        let text = "t,temp,\"on, off\"\n10,81.5,true\n11,,x\n12,NaN,7\n";
        let rows = rows("a.csv", text, mapping(&["temp", "on, off"])).unwrap();
        let lines: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(
            lines[0].lines().collect::<Vec<_>>(),
            [
                r#"{"subject":"88-C/temp","time":10000000,"value":81.5}"#,
                r#"{"subject":"88-C/on, off","time":10000000,"value":true}"#,
            ]
        );
        assert_eq!(lines[1], "{\"subject\":\"88-C/on, off\",\"time\":11000000,\"value\":\"x\"}\n");
        assert_eq!(lines[2], "{\"subject\":\"88-C/on, off\",\"time\":12000000,\"value\":7}\n");
        assert_eq!(rows[2].percent, 100);
    }

    #[test]
    fn json_lines_are_mapped_or_taken_as_the_sockets_own() {
        let mapped = Mapping { subject_column: Some("machine".to_owned()), unit: "Cel".to_owned(), ..mapping(&["v"]) };
        let rows_mapped =
            rows("a.jsonl", "{\"t\":\"2013-12-02T21:15:00Z\",\"machine\":\"x\",\"v\":3,\"w\":1}\n", mapped);
        assert_eq!(
            rows_mapped.unwrap()[0].text,
            "{\"subject\":\"88-C/x\",\"time\":1386018900000000,\"unit\":\"Cel\",\"value\":3}\n"
        );
        let own = rows("a.ndjson", "{\"subject\":\"a\",\"value\":1,\"time\":5}\nbad", Mapping::default()).unwrap();
        assert_eq!((own[0].time, own[1].time), (Timestamp::new(5), None));
        assert_eq!(own[1].text, "bad");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refused = |name, text, mapping| rows(name, text, mapping).unwrap_err().to_string();
        assert!(refused("a.csv", "t,b\n", mapping(&["temp"])).ends_with("has no column \"temp\"; it has t, b"));
        assert!(
            refused("a.csv", "t,temp\n1,1\nyesterday,2\n", mapping(&["temp"]))
                .contains("row 2: \"yesterday\" is no time")
        );
        assert!(refused("a.xlsx", "", mapping(&["temp"])).contains("ends neither with .csv"));
        assert!(refused("a.csv", "t\n", Mapping::default()).contains("no value column"));
        assert!(refused("a.jsonl", "[]\n", mapping(&["temp"])).contains("row 1"));
    }
}
