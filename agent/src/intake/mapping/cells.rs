//! What is in the mapped columns of one row, or in the mapped fields of one JSON object.

use super::Mapping;
use super::members::{Members, plain};

/// One row: text as it is written, save for time and subject, which are plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// What goes on the subject.
    pub subject: Option<String>,
    /// The time.
    pub time: Option<String>,
    /// The values, in the order of [`Mapping::value_columns`]; empty where there is none.
    pub values: Vec<String>,
    /// Whether the values are JSON.
    pub is_json: bool,
}

impl Mapping {
    /// The mapped fields of a JSON object.
    pub fn cells_of_json(&self, line: &str) -> Result<Cells, String> {
        let members: Members<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let time = match &self.time_column {
            Some(name) => Some(plain(members.get(name).ok_or_else(|| format!("it has no field {name:?}"))?)),
            None => None,
        };
        let subject = self.subject_column.as_ref().and_then(|name| members.get(name)).map(plain);
        let values = self.value_columns.iter().map(|name| match members.get(name) {
            Some(value) if value.starts_with(['[', '{']) => {
                Err(format!("the field {name:?} is neither a number nor true, false or a text"))
            }
            value => Ok(value.unwrap_or_default().to_owned()),
        });
        Ok(Cells { subject, time, values: values.collect::<Result<_, _>>()?, is_json: true })
    }
}
