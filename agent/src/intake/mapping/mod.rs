//! The mapping room: what values that come from outside as columns or fields mean. Subject, time, unit, kind of value
//! and missing values are set here, in the same way for every input; ambiguous values are refused, never
//! guessed.
//!
//! A row becomes lines in the socket's format, one for each value: so it passes the same checks as all other lines, on
//! whichever side of the socket it is mapped. A new statement about values (a scale, a dead band) is a field of
//! [`Mapping`] and is applied in [`Mapping::lines`].
//!
//! - [`Cells`]: one row, as it is in a file or in a JSON object ([`members`])
//! - [`kind`]: what a column of values holds, as it is stated or as its first rows show

mod cells;
pub mod kind;
pub mod members;

use afferent_protocol::ids::Timestamp;

use crate::intake::time::{Reading, rfc3339};
use crate::intake::unit::Unit;
use crate::limits::COLUMNS_LISTED_MAX;
pub use cells::Cells;
use kind::{Kind, quoted};
use members::plain;

/// What the columns of a file (or the fields of its JSON objects) mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The subject of all rows; with several value columns or a subject column, the prefix of their names.
    pub subject: String,
    /// A column whose text is appended to the subject.
    pub subject_column: Option<String>,
    /// The column with the time. None: the time of the replay.
    pub time_column: Option<String>,
    /// Format and zone of the times in it.
    pub time: Reading,
    /// The columns with values, each a sample. None in a file of JSON lines: its lines are those of the socket.
    pub value_columns: Vec<String>,
    /// Value columns whose cells are text, even if they look like numbers.
    pub text_columns: Vec<String>,
    /// Value columns whose cells are numbers, whatever the first rows look like.
    pub number_columns: Vec<String>,
    /// Texts of cells without a value, beside empty cells.
    pub missing: Vec<String>,
    /// The decimal separator.
    pub decimal: u8,
    /// The unit of all values.
    pub unit: Unit,
    /// The character between the columns of a CSV file.
    pub delimiter: u8,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            subject: String::new(),
            subject_column: None,
            time_column: None,
            time: Reading::default(),
            value_columns: vec![],
            text_columns: vec![],
            number_columns: vec![],
            missing: vec![],
            decimal: b'.',
            unit: Unit::default(),
            delimiter: b',',
        }
    }
}

impl Mapping {
    /// Refuses a mapping that contradicts itself or is incomplete.
    pub fn check(&self) -> Result<(), String> {
        self.time.check()?;
        if self.delimiter == self.decimal {
            return Err("the delimiter is also the decimal separator; set a different delimiter".to_owned());
        }
        if !self.value_columns.is_empty() && self.subject.is_empty() && self.subject_column.is_none() {
            return Err("no subject is given; name the subject of the values, such as 88-C/temperature".to_owned());
        }
        let mut names = self.value_columns.iter().enumerate();
        if let Some((_, twice)) = names.find(|(at, name)| self.value_columns[..*at].contains(name)) {
            return Err(format!("the value column {twice:?} is named twice; remove one"));
        }
        let stated = self.text_columns.iter().chain(&self.number_columns);
        if let Some(other) = stated.clone().find(|name| !self.value_columns.contains(name)) {
            return Err(format!("{other:?} is declared as text or number, but is not a value column; name it as one"));
        }
        match self.text_columns.iter().find(|name| self.number_columns.contains(name)) {
            Some(both) => Err(format!("{both:?} is declared as text and as number; remove one")),
            None => Ok(()),
        }
    }

    /// One line for the socket per value; missing values have none. `kinds` are those of the value columns.
    pub fn lines(&self, kinds: &[Kind], cells: &Cells) -> Result<(String, Option<Timestamp>), String> {
        assert!(kinds.len() == self.value_columns.len(), "every column of values has a kind");
        let time = cells.time.as_ref().map(|time| self.time.read(time)).transpose()?;
        let mut text = String::new();
        for ((name, kind), cell) in self.value_columns.iter().zip(kinds).zip(&cells.values) {
            let cell = if cells.is_json && *kind != Kind::Json { &plain(cell) } else { cell };
            let Some(value) = self.value(*kind, name, cell)? else { continue };
            let column = (self.value_columns.len() > 1).then_some(name.as_str());
            let own = Some(self.subject.as_str()).filter(|own| !own.is_empty());
            let levels: Vec<&str> = [own, cells.subject.as_deref(), column].into_iter().flatten().collect();
            text.push_str(&format!("{{\"subject\":{},\"value\":{value}", quoted(&levels.join("/"))));
            if !self.unit.is_empty() {
                text.push_str(&format!(",\"unit\":{}", quoted(self.unit.as_str())));
            }
            if let Some(time) = time {
                text.push_str(&format!(",\"time\":\"{}\"", rfc3339(time)));
            }
            text.push_str("}\n");
        }
        Ok((text, time))
    }

    /// What the columns hold, for people.
    pub fn declared(&self, kinds: &[Kind], left_out: &[String]) -> String {
        let time = match &self.time_column {
            Some(name) => format!("{name}: {}", self.time),
            None => "time: that of the replay".to_owned(),
        };
        let subject = self.subject_column.iter().map(|name| format!("{name}: subject"));
        let values = self.value_columns.iter().zip(kinds).map(|(name, kind)| format!("{name}: {kind}"));
        let mut said: Vec<String> = [time].into_iter().chain(subject).chain(values).collect();
        if !left_out.is_empty() {
            said.push(format!("left out: {}", listed(left_out)));
        }
        said.join(" · ")
    }
}

/// Names for a message.
pub fn listed(names: &[String]) -> String {
    let more = if names.len() > COLUMNS_LISTED_MAX { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(COLUMNS_LISTED_MAX)].join(", "))
}
