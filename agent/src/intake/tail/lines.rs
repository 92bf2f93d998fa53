//! A line of a followed file as lines that the socket takes: it is one, or it is mapped, or a pattern takes it apart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex_lite::{Captures, Regex};

use super::follow::Chunk;
use crate::intake::cell::{Look, look};
use crate::intake::file::columns::Columns;
use crate::intake::file::csv::Records;
use crate::intake::line::Field;
use crate::intake::mapping::kind::{Kind, quoted};
use crate::intake::mapping::{Cells, Mapping};
use crate::intake::time::rfc3339;

/// A regular expression with named groups.
#[derive(Clone, Debug)]
pub struct LinePattern(Regex);

impl LinePattern {
    /// Reads one; the error states what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| format!("`pattern` {pattern:?}: {error}"))?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(format!("`pattern` {pattern:?} has no named group; add one such as (?<message>.*)"));
        }
        Ok(Self(regex))
    }

    /// The names of its groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }
}

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// What the lines of an input are.
#[derive(Clone, Debug, PartialEq)]
pub enum LineForm {
    /// JSON objects.
    Json,
    /// Records of a CSV file. No names: the first line of each file has them.
    Csv {
        /// The names of the columns, where files have no head.
        columns: Vec<String>,
    },
    /// Whatever a pattern takes apart.
    Plain {
        /// The pattern.
        pattern: LinePattern,
        /// Fields that all of them have.
        fields: BTreeMap<String, String>,
        /// Whether lines that it does not fit are left out, and not refused.
        skips: bool,
    },
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It already has the socket's format.
    AsItIs,
    /// The lines in the socket's format are in the given text.
    Lines,
    /// It is a header line without values.
    Nothing,
    /// It is skipped, as configured.
    Skipped,
}

/// Makes lines of the socket of an input's lines.
pub struct LineMaker {
    form: LineForm,
    mapping: Mapping,
    /// The columns of the file whose lines came last.
    columns: Option<(u64, Columns)>,
}

impl LineMaker {
    /// Of this form, with this mapping.
    pub fn new(form: LineForm, mapping: Mapping) -> Self {
        Self { form, mapping, columns: None }
    }

    /// Whether the first line of each file names its columns.
    pub fn wants_head(&self) -> bool {
        matches!(&self.form, LineForm::Csv { columns } if columns.is_empty())
    }

    /// Appends the socket's lines to `text`. The error states why the line cannot be taken.
    pub fn make(&mut self, chunk: &Chunk, start: u64, line: &[u8], text: &mut String) -> Result<Made, String> {
        if matches!(self.form, LineForm::Json) && self.mapping.value_columns.is_empty() {
            return Ok(Made::AsItIs);
        }
        if self.wants_head() && start == 0 {
            return Ok(Made::Nothing);
        }
        let line =
            std::str::from_utf8(line).map_err(|error| format!("its byte {} is not UTF-8", error.valid_up_to() + 1))?;
        let cells = match &self.form {
            LineForm::Json => self.mapping.cells_of_json(line)?,
            LineForm::Csv { .. } => self.cells_of_csv(chunk, line)?,
            LineForm::Plain { pattern, fields, skips } => {
                let Some(groups) = pattern.0.captures(line) else {
                    return if *skips { Ok(Made::Skipped) } else { Err("`pattern` does not match it".to_owned()) };
                };
                if self.mapping.value_columns.is_empty() {
                    text.push_str(&self.fields(&groups, pattern, fields)?);
                    return Ok(Made::Lines);
                }
                self.cells_of_groups(&groups)
            }
        };
        let kinds: Vec<Kind> =
            self.mapping.value_columns.iter().zip(&cells.values).map(|(name, cell)| self.kind(name, cell)).collect();
        text.push_str(&self.mapping.lines(&kinds, &cells)?.0);
        Ok(Made::Lines)
    }

    /// What a cell holds: a text or a number where that is stated, else a number or a switch, which cannot be confused.
    fn kind(&self, name: &str, cell: &str) -> Kind {
        let stated = |names: &[String]| names.iter().any(|known| known == name);
        if stated(&self.mapping.text_columns) {
            return Kind::Text;
        }
        match (&self.form, look(cell, self.mapping.decimal)) {
            _ if stated(&self.mapping.number_columns) => Kind::Number,
            (LineForm::Json, _) => Kind::Json,
            (_, Look::Switch) => Kind::Switch,
            _ => Kind::Number,
        }
    }

    fn cells_of_csv(&mut self, chunk: &Chunk, line: &str) -> Result<Cells, String> {
        let LineForm::Csv { columns } = &self.form else { unreachable!("other lines have no columns") };
        let delimiter = self.mapping.delimiter;
        let columns = match &mut self.columns {
            Some((number, known)) if *number == chunk.number => known,
            unknown => {
                let head = if columns.is_empty() {
                    chunk.head.clone().ok_or("its file has no readable header line; name its columns in `columns`")?
                } else {
                    let quoted = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
                    quoted.collect::<Vec<_>>().join(&char::from(delimiter).to_string()).into_bytes()
                };
                let path: PathBuf = chunk.path.clone();
                let found = Columns::find(&path, &mut Records::new(&head[..], delimiter), &self.mapping);
                &mut unknown.insert((chunk.number, found.map_err(|error| error.to_string())?)).1
            }
        };
        let mut records = Records::new(line.as_bytes(), delimiter);
        records.advance().map_err(|error| error.to_string())??;
        columns.fits(&records)?;
        let outer = |at: usize| records.cell(at).trim().to_owned();
        let values = columns.values.iter().map(|at| records.cell(*at).to_owned()).collect();
        Ok(Cells { subject: columns.subject.map(outer), time: columns.time.map(outer), values, is_json: false })
    }

    fn cells_of_groups(&self, groups: &Captures<'_>) -> Cells {
        let group = |name: &String| groups.name(name).map_or("", |group| group.as_str()).to_owned();
        let Mapping { subject_column, time_column, value_columns, .. } = &self.mapping;
        let values = value_columns.iter().map(group).collect();
        let (subject, time) = (subject_column.as_ref().map(group), time_column.as_ref().map(group));
        Cells { subject, time, values, is_json: false }
    }

    /// A line of the socket whose fields are the groups, and those that all lines have.
    fn fields(
        &self,
        groups: &Captures<'_>,
        pattern: &LinePattern,
        fixed: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let own = Some(self.mapping.subject.as_str()).filter(|own| !own.is_empty());
        let group = groups.name(Field::Subject.name()).map(|group| group.as_str());
        let subject: Vec<&str> = own.into_iter().chain(group).collect();
        let mut text = format!("{{\"subject\":{}", quoted(&subject.join("/")));
        let groups = pattern.names().filter_map(|name| Some((name, groups.name(name)?.as_str())));
        let fixed = fixed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in groups.chain(fixed).filter(|(name, _)| *name != Field::Subject.name()) {
            let json = match name {
                "time" => format!("\"{}\"", rfc3339(self.mapping.time.read(value)?)),
                "value" | "priority" => match self.mapping.value(self.kind(name, value), name, value)? {
                    Some(json) => json,
                    None => continue,
                },
                "data" => value.to_owned(),
                _ => quoted(value),
            };
            text.push_str(&format!(",{}:{json}", quoted(name)));
        }
        text.push_str("}\n");
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(form: LineForm, mapping: Mapping, lines: &[&str]) -> Vec<Result<String, String>> {
        let mut maker = LineMaker::new(form, mapping);
        let head = maker.wants_head().then(|| lines[0].as_bytes().to_vec());
        let (path, bytes) = (PathBuf::from("a.log"), vec![]);
        let chunk = Chunk { number: 1, path, start: 0, end: 0, bytes, head, taken: [0; 2] };
        let one = |(at, line): (usize, &&str)| {
            let mut text = String::new();
            maker.make(&chunk, at as u64, line.as_bytes(), &mut text).map(|made| format!("{made:?} {text}"))
        };
        lines.iter().enumerate().map(one).collect()
    }

    fn mapping(values: &[&str]) -> Mapping {
        let value_columns = values.iter().map(|name| (*name).to_owned()).collect();
        Mapping { subject: "88-C".to_owned(), time_column: Some("t".to_owned()), value_columns, ..Mapping::default() }
    }

    #[test]
    fn records_are_mapped_by_the_head_of_their_file_or_by_the_configuration() {
        let lines = ["t,v,on", "2021-09-13T23:54:31Z,1.5,true", "2021-09-13T23:54:32Z,,x", "a,b"];
        let expected = "Lines {\"subject\":\"88-C/v\",\"value\":1.5,\"time\":\"2021-09-13T23:54:31.000000Z\"}\n\
                        {\"subject\":\"88-C/on\",\"value\":true,\"time\":\"2021-09-13T23:54:31.000000Z\"}\n";
        let by_head = made(LineForm::Csv { columns: vec![] }, mapping(&["v", "on"]), &lines);
        assert_eq!(by_head[0].as_deref(), Ok("Nothing "));
        assert_eq!(by_head[1].as_deref(), Ok(expected));
        assert!(by_head[2].as_ref().unwrap_err().contains("column \"on\" (number): \"x\""), "{by_head:?}");
        assert!(by_head[3].as_ref().unwrap_err().contains("2 cells"), "{by_head:?}");
        let columns = ["t", "v", "on"].map(str::to_owned).to_vec();
        let stated = made(LineForm::Csv { columns }, mapping(&["v", "on"]), &lines);
        assert!(stated[0].is_err(), "a head where none is expected is no record: {stated:?}");
        assert_eq!(stated[1].as_deref(), Ok(expected));
        let other = made(LineForm::Csv { columns: vec![] }, mapping(&["w"]), &lines);
        assert!(other[1].as_ref().unwrap_err().contains("no column \"w\""), "{other:?}");
    }

    #[test]
    fn groups_are_fields_of_the_socket_or_columns() {
        let pattern = LinePattern::new(r"^(?<time>\S+) (?<subject>\S+) E(?<code>\d+) (?<message>.*)$").unwrap();
        let fields = BTreeMap::from([("type".to_owned(), "breakdown".to_owned())]);
        let form = |skips| LineForm::Plain { pattern: pattern.clone(), fields: fields.clone(), skips };
        let lines = ["2021-09-13T23:54:31Z press E42 \"stuck\"", "all is well"];
        let breakdowns = made(form(false), Mapping { value_columns: vec![], ..mapping(&[]) }, &lines);
        let expected = "Lines {\"subject\":\"88-C/press\",\"time\":\"2021-09-13T23:54:31.000000Z\",\"code\":\"42\",\
                        \"message\":\"\\\"stuck\\\"\",\"type\":\"breakdown\"}\n";
        assert_eq!(breakdowns[0].as_deref(), Ok(expected));
        assert!(breakdowns[1].as_ref().unwrap_err().contains("does not match"));
        assert_eq!(made(form(true), mapping(&[]), &lines)[1].as_deref(), Ok("Skipped "));
        let pattern = LinePattern::new("temp=(?<v>[^ ]+)").unwrap();
        let columns = LineForm::Plain { pattern, fields: BTreeMap::new(), skips: false };
        let values = made(columns, Mapping { time_column: None, ..mapping(&["v"]) }, &["x temp=81.4 y"]);
        assert_eq!(values[0].as_deref(), Ok("Lines {\"subject\":\"88-C\",\"value\":81.4}\n"));
        assert!(LinePattern::new("(.*)").is_err() && LinePattern::new("(?<a>").is_err());
    }

    #[test]
    fn json_lines_are_the_sockets_own_or_mapped() {
        let own = made(LineForm::Json, Mapping::default(), &["{}"]);
        assert_eq!(own[0].as_deref(), Ok("AsItIs "));
        let mapped = made(LineForm::Json, Mapping { time_column: None, ..mapping(&["v"]) }, &["{\"v\":\"a\",\"w\":1}"]);
        assert_eq!(mapped[0].as_deref(), Ok("Lines {\"subject\":\"88-C\",\"value\":\"a\"}\n"));
    }
}
