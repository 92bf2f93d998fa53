//! Rows of a recorded file, as lines that the socket takes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use afferent_protocol::ids::Timestamp;

use super::ReplayError;
use super::columns::Columns;
use super::csv::Records;
use crate::intake::cell::{Look, look};
use crate::intake::line::LineParser;
use crate::intake::mapping::kind::{Kind, Looks};
use crate::intake::mapping::{Cells, Mapping};
use crate::limits::{ROW_BYTES_MAX, TYPED_ROWS_MAX};

/// A row of the file, with its lines in the socket's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of the row, from 1.
    pub number: u64,
    /// The recorded time of the row.
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
    /// What each column of values holds.
    kinds: Vec<Kind>,
    /// What the columns hold, for people.
    declared: String,
    parser: LineParser,
    source: Source,
    number: u64,
    bytes: u64,
    ended: bool,
}

enum Source {
    Csv { records: Box<Records<BufReader<File>>>, columns: Columns },
    Json { reader: BufReader<File>, read: u64 },
}

impl Rows {
    /// Opens a file, and learns from its first rows what its columns hold. A CSV file must have a head with their
    /// names.
    pub fn open(path: &Path, mapping: Mapping) -> Result<Self, ReplayError> {
        mapping.check().map_err(|why| ReplayError::Mapping { path: path.to_owned(), why })?;
        let mut first = Self::begin(path, mapping)?;
        first.learn()?;
        let (kinds, declared) = (first.kinds, first.declared);
        Ok(Self { kinds, declared, ..Self::begin(path, first.mapping)? })
    }

    fn begin(path: &Path, mapping: Mapping) -> Result<Self, ReplayError> {
        let failed = |error| ReplayError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let source = match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv" | "tsv" | "txt") => {
                let mut records = Records::new(BufReader::new(file), mapping.delimiter);
                let columns = Columns::find(path, &mut records, &mapping)?;
                Source::Csv { records: Box::new(records), columns }
            }
            Some("jsonl" | "ndjson" | "json") => Source::Json { reader: BufReader::new(file), read: 0 },
            _ => return Err(ReplayError::Format(path.to_owned())),
        };
        let (path, kinds, declared, parser) = (path.to_owned(), vec![], String::new(), LineParser::default());
        Ok(Self { path, mapping, kinds, declared, parser, source, number: 0, bytes, ended: false })
    }

    /// What the columns hold, for people.
    pub fn declared(&self) -> &str {
        &self.declared
    }

    /// Reads the first rows for what their columns hold.
    fn learn(&mut self) -> Result<(), ReplayError> {
        if self.mapping.value_columns.is_empty() {
            self.declared = "each line as the agent's socket takes it".to_owned();
            return Ok(());
        }
        let mut looks = vec![Looks::default(); self.mapping.value_columns.len()];
        let (mut read, mut unread) = (false, None);
        for row in 1..=TYPED_ROWS_MAX as u64 {
            let cells = match self.cells() {
                Ok(Some(cells)) => cells,
                Ok(None) => break,
                Err(Fault::Row(_)) => continue,
                Err(fault) => return Err(fault.at(&self.path, row)),
            };
            for (looks, cell) in looks.iter_mut().zip(&cells.values) {
                let is_missing = self.mapping.missing.contains(cell);
                looks.add(if is_missing { Look::Empty } else { look(cell, self.mapping.decimal) });
            }
            match cells.time.map(|time| self.mapping.time.read(&time)) {
                Some(Err(why)) => unread = unread.or(Some(why)),
                _ => read = true,
            }
            if self.read_bytes() > ROW_BYTES_MAX as u64 {
                break;
            }
        }
        let wrong = |why| ReplayError::Mapping { path: self.path.clone(), why };
        if let (false, Some(why)) = (read, unread) {
            return Err(wrong(format!(
                "no time of its first rows can be read: {why}; --time-format sets a different one"
            )));
        }
        let is_json = matches!(self.source, Source::Json { .. });
        let columns = self.mapping.value_columns.iter().zip(&looks);
        let kinds = columns.map(|(name, looks)| self.mapping.kind_of(name, *looks, is_json));
        self.kinds = kinds.collect::<Result<_, _>>().map_err(wrong)?;
        let left_out = match &self.source {
            Source::Csv { columns, .. } => columns.left_out.as_slice(),
            Source::Json { .. } => &[],
        };
        self.declared = self.mapping.declared(&self.kinds, left_out);
        Ok(())
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the last row that was read; of all rows at the end.
    pub fn number(&self) -> u64 {
        if self.ended { self.number - 1 } else { self.number }
    }

    /// How much of the file is read.
    pub fn read_bytes(&self) -> u64 {
        match &self.source {
            Source::Csv { records, .. } => records.read(),
            Source::Json { read, .. } => *read,
        }
    }

    /// The next row as it is in the file.
    fn cells(&mut self) -> Result<Option<Cells>, Fault> {
        match &mut self.source {
            Source::Csv { records, columns } => {
                if !records.advance().map_err(Fault::File)?.map_err(Fault::Row)? {
                    return Ok(None);
                }
                columns.fits(records).map_err(Fault::Row)?;
                let outer = |at: usize| records.cell(at).trim().to_owned();
                let values = columns.values.iter().map(|at| records.cell(*at).to_owned()).collect();
                let (subject, time) = (columns.subject.map(outer), columns.time.map(outer));
                Ok(Some(Cells { subject, time, values, is_json: false }))
            }
            Source::Json { .. } => {
                let Some(line) = self.line()? else { return Ok(None) };
                self.mapping.cells_of_json(&line).map(Some).map_err(Fault::Row)
            }
        }
    }

    /// The next line of a file of JSON lines.
    fn line(&mut self) -> Result<Option<String>, Fault> {
        let Source::Json { reader, read } = &mut self.source else { unreachable!("a CSV file has records") };
        let is_first = *read == 0;
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
        let line = String::from_utf8(bytes)
            .map_err(|error| Fault::Row(format!("its byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1)))?;
        // What some editors put before the first line.
        Ok(Some(if is_first { line.trim_start_matches('\u{feff}').to_owned() } else { line }))
    }

    fn read(&mut self) -> Result<Option<Row>, Fault> {
        let (text, time) = if self.mapping.value_columns.is_empty() {
            let Some(line) = self.line()? else { return Ok(None) };
            (line, None)
        } else {
            let Some(cells) = self.cells()? else { return Ok(None) };
            self.mapping.lines(&self.kinds, &cells).map_err(Fault::Row)?
        };
        let time = time.or(self.check(&text).map_err(Fault::Row)?);
        let percent = (self.read_bytes() * 100).checked_div(self.bytes).unwrap_or(100).min(100);
        Ok(Some(Row { number: self.number, time, text, percent: u8::try_from(percent).expect("it is at most 100") }))
    }

    /// Refuses lines that no agent takes; returns the time of the last one.
    fn check(&mut self, text: &str) -> Result<Option<Timestamp>, String> {
        let mut time = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let parsed = self.parser.parse(line.as_bytes()).map_err(|error| error.text())?;
            parsed.check().map_err(|error| error.text())?;
            time = parsed.time();
        }
        Ok(time)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::time::{Form, Reading};

    /// What becomes of each row: its lines, or why it is refused.
    fn outcomes(name: &str, bytes: &[u8], mapping: Mapping) -> Result<Vec<String>, ReplayError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let told = |row: Result<Row, ReplayError>| match row {
            Ok(row) => format!("{}: {}", row.number, row.text.trim_end()),
            Err(ReplayError::Row { row, why, .. }) => format!("{row} refused: {why}"),
            Err(error) => panic!("{error}"),
        };
        Ok(Rows::open(&path, mapping)?.map(told).collect())
    }

    fn mapping(values: &[&str]) -> Mapping {
        Mapping {
            subject: "88-C".to_owned(),
            time_column: Some("t".to_owned()),
            time: Reading { form: Form::Unix(0), zone: None },
            value_columns: values.iter().map(|name| (*name).to_owned()).collect(),
            ..Mapping::default()
        }
    }

    fn line(subject: &str, second: u32, value: &str) -> String {
        format!("{{\"subject\":\"{subject}\",\"value\":{value},\"time\":\"1970-01-01T00:00:{second:02}.000000Z\"}}")
    }

    #[test]
    fn a_row_that_is_wrong_does_not_end_the_file() {
        let bytes = b"t,v\n1,1\nnever,2\n3,\xFF\n4,NaN\n5,1e999\n6,00123\n7,8,9\n8\n9,18446744073709551615\n10,4\n";
        let numbers = || Mapping { number_columns: vec!["v".to_owned()], ..mapping(&["v"]) };
        let csv = outcomes("a.csv", bytes, numbers()).unwrap();
        assert_eq!(csv[0], format!("1: {}", line("88-C", 1, "1")));
        for (at, why) in [
            (1, "2 refused: \"never\" is not a time of the format unix"),
            (2, "3 refused: its cell 2 is not UTF-8"),
            (
                3,
                "4 refused: column \"v\" (number): \"NaN\" is not a finite number; name cells without a value (--missing)",
            ),
            (4, "5 refused: column \"v\" (number): \"1e999\" is too large"),
            (5, "6 refused: column \"v\" (number): \"00123\" is not a number"),
            (6, "7 refused: it has 3 cells, but the header line has 2"),
            (7, "8 refused: it has 1 cells, but the header line has 2"),
            (8, "9 refused: column \"v\" (number): 18446744073709551615 is outside"),
        ] {
            assert!(csv[at].starts_with(why), "{}", csv[at]);
        }
        assert_eq!(csv[9..], [format!("10: {}", line("88-C", 10, "4"))]);
        let long =
            [b"\xEF\xBB\xBF{\"subject\":\"a\",\"value\":1}\n", &vec![b'x'; ROW_BYTES_MAX + 9][..], b"\n\xFF\nlast"]
                .concat();
        let json = outcomes("a.jsonl", &long, Mapping::default()).unwrap();
        assert_eq!(json[0], r#"1: {"subject":"a","value":1}"#);
        assert!(json[1].starts_with("2 refused: it has over"), "{json:?}");
        assert_eq!(json[2], "3 refused: its byte 1 is not UTF-8");
        assert!(json[3].starts_with("4 refused: the line is not one JSON object"), "{json:?}");
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named_as_what_it_is() {
        let numbers = Mapping { number_columns: vec!["v".to_owned()], ..mapping(&["v"]) };
        let csv = outcomes("a.csv", b"t,v\n1,1\n2,\"2\n3,3\n4,4\n", numbers).unwrap();
        assert!(csv[1].contains("(number)") && csv[1].contains("is not a number"), "{csv:?}");
        let csv = outcomes("a.csv", b"t,v\n1,1\n\"2,2\n3,3\n4,4\n", mapping(&["v"])).unwrap();
        assert!(csv[1].contains("lines: is a quote not closed?"), "{csv:?}");
    }

    #[test]
    fn wide_rows_become_a_line_per_value() {
        let text = "t,temp,\"on, off\"\n10,81.5,true\n11,,False\n12,NaN,TRUE\n";
        let missing = Mapping { missing: vec!["NaN".to_owned()], ..mapping(&["temp", "on, off"]) };
        let rows = outcomes("a.csv", text.as_bytes(), missing).unwrap();
        let (first, second) = (line("88-C/temp", 10, "81.5"), line("88-C/on, off", 10, "true"));
        assert_eq!(rows[0], format!("1: {first}\n{second}"));
        assert_eq!(rows[1], format!("2: {}", line("88-C/on, off", 11, "false")));
        assert_eq!(rows[2], format!("3: {}", line("88-C/on, off", 12, "true")));
    }

    #[test]
    fn json_lines_are_mapped_or_taken_as_the_sockets_own() {
        let utc = Reading { zone: "UTC".parse().ok(), ..Reading::default() };
        let mapped = Mapping { subject_column: Some("machine".to_owned()), time: utc, ..mapping(&["v"]) };
        let text = r#"{"t":"2013-12-02T21:15:00","machine":"x","v":1.10,"w":[1]}
{"t":"2013-12-02T21:15:00","v":[1]}
{"t":"2013-12-02T21:15:00","v":1,"v":2}
{"t":"2013-12-02T21:15:00","v":18446744073709551616}
{"t":"2013-12-02T21:15:00","v":"00123"}
{"t":"2013-12-02T21:15:00","v":null}
{"v":1}"#;
        let rows = outcomes("a.jsonl", text.as_bytes(), mapped.clone()).unwrap();
        let time = "\"time\":\"2013-12-02T21:15:00.000000Z\"";
        assert_eq!(rows[0], format!("1: {{\"subject\":\"88-C/x\",\"value\":1.10,{time}}}"));
        for (row, why) in [(1, "neither a number"), (2, "\"v\" is listed twice"), (3, "is over"), (6, "no field \"t\"")]
        {
            assert!(rows[row].contains("refused") && rows[row].contains(why), "{}", rows[row]);
        }
        assert_eq!(rows[4], format!("5: {{\"subject\":\"88-C\",\"value\":\"00123\",{time}}}"));
        assert_eq!(rows[5], "6: ");
        let as_text = Mapping { text_columns: vec!["v".to_owned()], ..mapped };
        let rows = outcomes("a.jsonl", text.as_bytes(), as_text).unwrap();
        assert!(rows[0].contains("\"value\":\"1.10\"") && rows[3].contains("\"18446744073709551616\""), "{rows:?}");
    }

    #[test]
    fn what_the_first_rows_do_not_say_is_to_be_stated() {
        let refused = |text: &str, mapping: Mapping| {
            outcomes("a.csv", text.as_bytes(), mapping).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let rfc = || Mapping { time: Reading::default(), ..mapping(&["v"]) };
        for time in ["20240101120000", "20240102", "45292.5", "1386018900"] {
            let error = refused(&format!("t,v\n{time},1\n"), rfc());
            assert!(error.contains(time) && error.contains("--time-format"), "{error}");
        }
        let error = refused("t,v\n2013-12-02 21:15:00,1\n", rfc());
        assert!(error.contains("--time-zone"), "{error}");
        assert!(refused("t,v\n1,\"81,4\"\n", mapping(&["v"])).contains("--decimal ,"));
        assert!(refused("t,v\n1,1E5\n2,2E5\n", mapping(&["v"])).contains("--number, --text"));
        assert!(refused("t,v\n1,5\n2,A7\n", mapping(&["v"])).contains("--number, --text"));
        assert!(refused("t,v,v\n1,5,6\n", mapping(&["v"])).contains("columns 2 and 3 are both named \"v\""));
        assert!(refused("t,v\n1,5\n", mapping(&["v", "v"])).contains("named twice"));
        let unmapped = Mapping { text_columns: vec!["w".to_owned()], ..mapping(&["v"]) };
        assert!(refused("t,v,w\n1,5,6\n", unmapped).contains("not a value column"));
        // The controls: stated, or wrong in one of them alone, they are rows.
        let utc = Mapping { time: Reading { zone: "UTC".parse().ok(), ..Reading::default() }, ..mapping(&["v"]) };
        assert_eq!(refused("t,v\n2013-12-02 21:15:00,1\n20240102,2\n", utc), "");
        let comma = Mapping { decimal: b',', delimiter: b';', ..mapping(&["v"]) };
        assert_eq!(outcomes("a.csv", b"t;v\n1;81,4\n", comma).unwrap(), [format!("1: {}", line("88-C", 1, "81.4"))]);
        let text = Mapping { text_columns: vec!["v".to_owned()], ..mapping(&["v"]) };
        let rows = outcomes("a.csv", b"t,v,v2\n1,1E5,0\n2, 00123 ,0\n", text).unwrap();
        let kept = [line("88-C", 1, "\"1E5\""), line("88-C", 2, "\" 00123 \"")];
        assert_eq!(rows, [format!("1: {}", kept[0]), format!("2: {}", kept[1])]);
    }

    #[test]
    fn the_columns_are_declared_before_the_first_row() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        std::fs::write(&path, "t,v,lot,on,x\n2013-12-02 21:15:00,1.5,00123,true,\n").unwrap();
        let zone = "+01:00".parse().ok();
        let mapping = Mapping { time: Reading { zone, ..Reading::default() }, ..mapping(&["v", "lot", "on"]) };
        let rows = Rows::open(&path, mapping).unwrap();
        let said = "t: RFC 3339, +01:00 where it has no zone · v: number · lot: text · on: true or false · left out: x";
        assert_eq!(rows.declared(), said);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refused = |name, text: &str, mapping| outcomes(name, text.as_bytes(), mapping).unwrap_err().to_string();
        assert!(refused("a.csv", "t,b\n", mapping(&["temp"])).ends_with("has no column \"temp\"; it has t, b"));
        assert!(refused("a.xlsx", "", mapping(&["temp"])).contains("ends neither with .csv"));
        assert!(
            refused("a.csv", "t\n", Mapping { subject: "a".to_owned(), ..Mapping::default() }).contains("no value")
        );
        let rows = outcomes("a.jsonl", b"[]\n", mapping(&["temp"])).unwrap();
        assert!(rows[0].starts_with("1 refused"), "{rows:?}");
        let wrong = Mapping { subject: "88-C//x".to_owned(), ..mapping(&["v"]) };
        let rows = outcomes("a.csv", b"t,v\n1,1\n", wrong).unwrap();
        assert!(rows[0].starts_with("1 refused: the subject"), "{rows:?}");
    }
}
