//! The columns of a CSV file: where those that are mapped are.

use std::io::BufRead;
use std::path::Path;

use super::ReplayError;
use super::csv::Records;
use crate::intake::mapping::{Mapping, listed};

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
        records.advance().map_err(failed)?.map_err(|why| wrong(format!("its header line: {why}")))?;
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
                    Err(wrong(format!("{both}; rename one in the header line")))
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

    /// Refuses a record that has not as many cells as the head: it is unknown which of them is which.
    pub fn fits<R: BufRead>(&self, records: &Records<R>) -> Result<(), String> {
        let (cells, lines) = (records.count(), records.lines());
        if cells == self.count {
            return Ok(());
        }
        let quote = if lines > 1 { format!("; it has {lines} lines: is a quote not closed?") } else { String::new() };
        Err(format!("it has {cells} cells, but the header line has {}{quote}", self.count))
    }
}
