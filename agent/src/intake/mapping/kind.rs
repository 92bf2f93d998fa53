//! What a column of values holds, as it is stated or as its first rows show it, for all rows.

use std::fmt;

use super::Mapping;
use super::members::plain;
use crate::intake::cell::{self, Look};

/// What a column of values holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// `true` and `false`.
    Switch,
    /// Texts, unchanged.
    Text,
    /// As its JSON value.
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
    /// Takes the look of one more cell into account.
    pub fn add(&mut self, look: Look) {
        self.0 |= 1 << look as u8;
    }

    fn has(self, look: Look) -> bool {
        self.0 & (1 << look as u8) != 0
    }

    /// What the column holds; the error states why that is ambiguous.
    fn kind(self) -> Result<Kind, &'static str> {
        if self.has(Look::Comma) {
            return Err(
                "numbers with a comma; set the decimal separator (--decimal ,), or declare the column as text (--text)",
            );
        }
        match [Look::Number, Look::Switch, Look::Text].map(|look| self.has(look)) {
            [true, false, false] => Ok(Kind::Number),
            [false, true, false] => Ok(Kind::Switch),
            [false, false, true] => Ok(Kind::Text),
            [false, false, false] if self.has(Look::Exponent) => {
                Err("only cells that may be names or numbers, such as 1E5; declare what it is (--number, --text)")
            }
            [false, false, false] => Ok(Kind::Number),
            _ => Err("more than one kind of value in its first rows; declare what it is (--number, --text)"),
        }
    }
}

impl Mapping {
    /// What the column of values `name` holds, by what is stated or by the looks of its first cells.
    pub fn kind_of(&self, name: &str, looks: Looks, is_json: bool) -> Result<Kind, String> {
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

    /// A cell as JSON; none where it holds nothing. The error states why it does not fit its column.
    pub fn value(&self, kind: Kind, name: &str, cell: &str) -> Result<Option<String>, String> {
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
        let remedy = "name cells without a value (--missing), or declare the column as text (--text)";
        value.map(Some).map_err(|why| format!("column {name:?} ({kind}): {why}; {remedy}"))
    }
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
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
