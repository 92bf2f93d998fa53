//! The columns of a file: where they are, and what they hold, as it is stated or as the first rows show it, for all rows.

use std::fmt;
use std::io::BufRead;
use std::path::Path;

use super::csv::Records;
use super::members::plain;
use super::rows::{Mapping, ReplayError};
use crate::intake::cell::{self, Look};
use crate::limits::COLUMNS_TOLD_MAX;

/// Where the mapped columns of a CSV file are.
pub struct Columns {
    /// The column that goes on the subject.
    pub subject: Option<usize>,
    /// The column with the time.
    pub time: Option<usize>,
    /// The columns with values.
    pub values: Vec<usize>,
    /// The names of those that are not mapped.
    pub left_out: Vec<String>,
    count: usize,
}

impl Columns {
    /// Reads the head, and finds the mapped columns in it.
    pub fn find<R: BufRead>(path: &Path, records: &mut Records<R>, mapping: &Mapping) -> Result<Self, ReplayError> {
        let wrong = |why: String| ReplayError::Mapping { path: path.to_owned(), why };
        if mapping.value_columns.is_empty() {
            return Err(wrong("no value column is named; name the columns that hold values".to_owned()));
        }
        let failed = |error| ReplayError::Io { path: path.to_owned(), error };
        records.advance().map_err(failed)?.map_err(|why| wrong(format!("its head: {why}")))?;
        let name = |at| records.cell(at).trim().trim_start_matches('\u{feff}').to_owned();
        let head: Vec<String> = (0..records.count()).map(name).collect();
        let find = |column: &String| {
            let mut places = (0..head.len()).filter(|at| head[*at] == *column);
            match (places.next(), places.next()) {
                (Some(at), None) => Ok(at),
                (None, _) => {
                    let (path, column, known) = (path.to_owned(), column.clone(), listed(&head));
                    Err(ReplayError::Column { path, column, known })
                }
                (Some(first), Some(second)) => {
                    let (first, second) = (first + 1, second + 1);
                    let both = format!("its columns {first} and {second} are both named {column:?}");
                    Err(wrong(format!("{both}; give one another name in the head")))
                }
            }
        };
        let subject = mapping.subject_column.as_ref().map(find).transpose()?;
        let time = mapping.time_column.as_ref().map(find).transpose()?;
        let values = mapping.value_columns.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let is_mapped = |at: usize| subject == Some(at) || time == Some(at) || values.contains(&at);
        let left_out = (0..head.len()).filter(|at| !is_mapped(*at)).map(|at| head[at].clone()).collect();
        Ok(Self { subject, time, values, left_out, count: head.len() })
    }

    /// Refuses a record that has not as many cells as the head: nobody knows which of them is which.
    pub fn fits<R: BufRead>(&self, records: &Records<R>) -> Result<(), String> {
        let (cells, lines) = (records.count(), records.lines());
        if cells == self.count {
            return Ok(());
        }
        let quote =
            if lines > 1 { format!("; it goes over {lines} lines: is a quote not closed?") } else { String::new() };
        Err(format!("it has {cells} cells, and the head has {}{quote}", self.count))
    }
}

/// What a column of values holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// `true` and `false`.
    Switch,
    /// Texts, as they stand.
    Text,
    /// What its JSON says.
    Json,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Switch => "true or false",
            Self::Text => "text",
            Self::Json => "as its JSON says",
        })
    }
}

/// The looks of a column's first cells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks(u8);

impl Looks {
    /// One more cell.
    pub fn add(&mut self, look: Look) {
        self.0 |= 1 << look as u8;
    }

    fn has(self, look: Look) -> bool {
        self.0 & (1 << look as u8) != 0
    }

    /// What the column holds; the error says why that cannot be told.
    fn kind(self) -> Result<Kind, &'static str> {
        if self.has(Look::Comma) {
            return Err("numbers with a comma; state the decimal sign (--decimal ,), or the column as text (--text)");
        }
        match [Look::Number, Look::Switch, Look::Text].map(|look| self.has(look)) {
            [true, false, false] => Ok(Kind::Number),
            [false, true, false] => Ok(Kind::Switch),
            [false, false, true] => Ok(Kind::Text),
            [false, false, false] if self.has(Look::Exponent) => {
                Err("only what may be names as well as numbers, such as 1E5; state what it is (--number, --text)")
            }
            [false, false, false] => Ok(Kind::Number),
            _ => Err("more than one kind of value in its first rows; state what it is (--number, --text)"),
        }
    }
}

impl Mapping {
    /// Refuses what contradicts itself or says too little.
    pub fn check(&self) -> Result<(), String> {
        self.time.check()?;
        if self.delimiter == self.decimal {
            return Err("columns and decimals have the same sign; state another delimiter".to_owned());
        }
        if !self.value_columns.is_empty() && self.subject.is_empty() && self.subject_column.is_none() {
            return Err("no subject is given; say what the values are about, as 88-C/temperature".to_owned());
        }
        let mut names = self.value_columns.iter().enumerate();
        if let Some((_, twice)) = names.find(|(at, name)| self.value_columns[..*at].contains(name)) {
            return Err(format!("the value column {twice:?} is named twice; leave one out"));
        }
        let stated = self.text_columns.iter().chain(&self.number_columns);
        if let Some(other) = stated.clone().find(|name| !self.value_columns.contains(name)) {
            return Err(format!("{other:?} is stated as text or number, and is no value column; name it as one"));
        }
        match self.text_columns.iter().find(|name| self.number_columns.contains(name)) {
            Some(both) => Err(format!("{both:?} is stated as text and as number; leave one out")),
            None => Ok(()),
        }
    }

    /// What the column of values `name` holds, by what is stated or by the looks of its first cells.
    pub(super) fn kind_of(&self, name: &str, looks: Looks, is_json: bool) -> Result<Kind, String> {
        let stated = |names: &[String]| names.iter().any(|known| known == name);
        if stated(&self.text_columns) {
            return Ok(Kind::Text);
        }
        if stated(&self.number_columns) {
            return Ok(Kind::Number);
        }
        if is_json {
            return Ok(Kind::Json);
        }
        looks.kind().map_err(|why| format!("the column {name:?} holds {why}"))
    }

    /// A cell as JSON; none where it holds nothing. The error says why it does not fit its column.
    pub(super) fn value(&self, kind: Kind, name: &str, cell: &str) -> Result<Option<String>, String> {
        let own = if kind == Kind::Json { plain(cell) } else { cell.trim().to_owned() };
        let is_blank = if kind == Kind::Text { cell.is_empty() } else { cell.trim().is_empty() };
        if is_blank || self.missing.contains(&own) {
            return Ok(None);
        }
        let value = match kind {
            Kind::Number => cell::number(cell, self.decimal),
            Kind::Switch => {
                cell::switch(cell).map(str::to_owned).ok_or_else(|| format!("{cell:?} is not true or false"))
            }
            Kind::Text => Ok(quoted(cell)),
            Kind::Json => Ok(cell.to_owned()),
        };
        let remedy = "state what means no value (--missing), or the column as text (--text)";
        value.map(Some).map_err(|why| format!("column {name:?} ({kind}): {why}; {remedy}"))
    }

    /// What the columns hold, for people.
    pub(super) fn declared(&self, kinds: &[Kind], left_out: &[String]) -> String {
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

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// Names for a message.
pub(super) fn listed(names: &[String]) -> String {
    let more = if names.len() > COLUMNS_TOLD_MAX { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(COLUMNS_TOLD_MAX)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(cells: &[&str]) -> Result<Kind, &'static str> {
        let mut looks = Looks::default();
        cells.iter().for_each(|cell| looks.add(cell::look(cell, b'.')));
        looks.kind()
    }

    #[test]
    fn a_column_is_what_all_its_first_cells_are_and_nothing_is_guessed() {
        assert_eq!(kind(&["1", "", "-2.5", "1E5", "NaN"]), Ok(Kind::Number));
        assert_eq!(kind(&["00123", "A7", "1E5"]), Ok(Kind::Text));
        assert_eq!(kind(&["true", "False", ""]), Ok(Kind::Switch));
        assert_eq!(kind(&["", "NaN"]), Ok(Kind::Number), "nobody knows, and what is none is refused then");
        assert!(kind(&["1E5", "2E7"]).unwrap_err().contains("1E5"));
        assert!(kind(&["123", "A7"]).unwrap_err().contains("--number"));
        assert!(kind(&["1", "true"]).unwrap_err().contains("--number"));
        assert!(kind(&["81,4", "82"]).unwrap_err().contains("decimal"));
    }

    #[test]
    fn what_is_stated_holds_against_all_looks() {
        let mapping = Mapping {
            text_columns: vec!["lot".to_owned()],
            number_columns: vec!["v".to_owned()],
            ..Mapping::default()
        };
        let mut mixed = Looks::default();
        for look in [Look::Text, Look::Number, Look::Comma] {
            mixed.add(look);
        }
        assert_eq!(mapping.kind_of("lot", mixed, false), Ok(Kind::Text));
        assert_eq!(mapping.kind_of("v", mixed, true), Ok(Kind::Number));
        assert!(mapping.kind_of("w", mixed, false).unwrap_err().contains("\"w\""));
    }

    #[test]
    fn a_cell_fits_its_column_or_is_refused() {
        let mapping = Mapping { missing: vec!["NA".to_owned()], ..Mapping::default() };
        let value = |kind, cell| mapping.value(kind, "v", cell);
        assert_eq!(value(Kind::Number, " 5 "), Ok(Some("5".to_owned())));
        assert_eq!(value(Kind::Text, " 00123 "), Ok(Some("\" 00123 \"".to_owned())), "a text keeps its outer blanks");
        assert_eq!(value(Kind::Switch, "TRUE"), Ok(Some("true".to_owned())));
        for nothing in ["", "  ", "NA"] {
            assert_eq!(value(Kind::Number, nothing), Ok(None), "{nothing:?}");
        }
        for wrong in ["NaN", "inf", "1e999", "00123", "18446744073709551615"] {
            assert!(value(Kind::Number, wrong).unwrap_err().contains("column \"v\" (number)"), "{wrong}");
        }
        assert!(value(Kind::Switch, "1").unwrap_err().contains("not true or false"));
    }
}
