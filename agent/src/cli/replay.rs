//! `replay`: a recorded file to the agent, at its own speed or faster.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{SendError, TargetArgs, outcome};
use crate::client::{self, Report};
use crate::intake::file::{Mapping, Pace, ReplayError, Row, Rows, Speed};

/// Send a recorded CSV file or JSON lines to the agent
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The file: .csv with a head, .jsonl or .ndjson
    file: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// What the values are about, as 88-C/temperature
    #[arg(long, default_value = "")]
    subject: String,
    /// A column that goes on the subject
    #[arg(long, value_name = "COLUMN")]
    subject_column: Option<String>,
    /// The column with the time; now if not given
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// A column with values; may be given several times
    #[arg(long = "value-column", value_name = "COLUMN")]
    value_columns: Vec<String>,
    /// Unit of the values, a UCUM code
    #[arg(long, default_value = "")]
    unit: String,
    /// What stands between the columns
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// original, max, or how many times faster
    #[arg(long, default_value = "original")]
    speed: Speed,
    /// Stop at the first wrong row; without this, wrong rows are reported, counted and left out
    #[arg(long)]
    strict: bool,
}

/// Wrong rows that are reported one by one.
const ROWS_TOLD_MAX: u64 = 10;

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" || text == "tab" => Ok(b'\t'),
        _ => Err("it is one ASCII character, or tab".to_owned()),
    }
}

impl ReplayArgs {
    /// Replays; an error unless every row was right and every event accepted. Progress goes to standard error, when that is
    /// a terminal.
    pub fn run(&self) -> Result<Report, SendError> {
        let mapping = Mapping {
            subject: self.subject.clone(),
            subject_column: self.subject_column.clone(),
            time_column: self.time_column.clone(),
            value_columns: self.value_columns.clone(),
            unit: self.unit.clone(),
            delimiter: self.delimiter,
        };
        let rows = Rows::open(&self.file, mapping)?;
        let (mut failure, mut refused) = (None, None);
        let mut lines = Paced {
            rows,
            pace: Pace::new(self.speed),
            started: Instant::now(),
            progress: Progress::new(),
            strict: self.strict,
            failure: &mut failure,
            refused: &mut refused,
        };
        let lines = std::iter::from_fn(move || lines.next_row()).flat_map(|text| {
            let lines: Vec<_> = text.lines().map(|line| Ok(line.as_bytes().to_vec())).collect();
            lines
        });
        let mut first = None;
        let note = |line: u64, error: &str| {
            first.get_or_insert_with(|| format!("line {line}: {error}"));
        };
        let report = client::send(&self.target.target(), self.target.timeout(), lines, note)?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        let report = outcome(report, first)?;
        match refused {
            Some((refused, first)) => Err(SendError::Rows { refused, first }),
            None => Ok(report),
        }
    }
}

/// Rows, each when it is due.
struct Paced<'f> {
    rows: Rows,
    pace: Pace,
    started: Instant,
    progress: Progress,
    strict: bool,
    failure: &'f mut Option<ReplayError>,
    /// How many rows were wrong, and the first one of them.
    refused: &'f mut Option<(u64, ReplayError)>,
}

impl Paced<'_> {
    fn next_row(&mut self) -> Option<String> {
        loop {
            match self.rows.next()? {
                Ok(row) => {
                    let due = row.time.map_or(Duration::ZERO, |time| self.pace.due(time));
                    std::thread::sleep(due.saturating_sub(self.started.elapsed()));
                    self.progress.say(&row);
                    return Some(row.text);
                }
                Err(error @ ReplayError::Row { .. }) if !self.strict => self.refuse(error),
                Err(error) => {
                    *self.failure = Some(error);
                    return None;
                }
            }
        }
    }

    fn refuse(&mut self, error: ReplayError) {
        let count = self.refused.as_ref().map_or(0, |(count, _)| *count) + 1;
        if count <= ROWS_TOLD_MAX {
            let rest = if count == ROWS_TOLD_MAX { "; the next ones are only counted" } else { "" };
            // A terminal that is gone is no reason to stop.
            let _ = writeln!(io::stderr(), "refused: {error}{rest}");
        }
        match self.refused {
            Some((known, _)) => *known = count,
            None => *self.refused = Some((count, error)),
        }
    }
}

struct Progress {
    shown: bool,
    said: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), said: None }
    }

    fn say(&mut self, row: &Row) {
        let due = self.said.is_none_or(|said| said.elapsed() >= Duration::from_millis(200)) || row.percent == 100;
        if self.shown && due {
            self.said = Some(Instant::now());
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r{:3} % of the file, row {}", row.percent, row.number);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.said.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
