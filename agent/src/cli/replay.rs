//! `replay`: sends a recorded file to the agent, at the recorded speed or faster.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;

use super::resume::{Resume, print_note};
use super::{SendError, TargetArgs, outcome};
use crate::client::{self, Answer, Report};
use crate::intake::file::checkpoint::RowCursor;
use crate::intake::file::{FileSettings, Pace, ReplayError, Row, Rows, Speed};
use crate::intake::mapping::Mapping;
use crate::intake::time::{Form, Reading, Zone};
use crate::intake::unit::Unit;
use crate::limits::ROWS_REPORTED_MAX;

/// Send the rows of a CSV file or the lines of a JSON lines file to a running agent
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The file: .csv with a header line, .jsonl or .ndjson
    file: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// The subject of the values, such as 88-C/temperature
    #[arg(long, default_value = "")]
    subject: String,
    /// A column whose text is appended to the subject
    #[arg(long, value_name = "COLUMN")]
    subject_column: Option<String>,
    /// The column with the time [default: the time of sending]
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// Format of the times: rfc3339, unix, unix_ms, unix_us, unix_ns, excel, or a pattern of %Y %m %d %H %M %S %f %z
    #[arg(long, value_name = "FORMAT", default_value = "rfc3339", hide_default_value = true)]
    time_format: Form,
    /// Zone of times without one: UTC, or an offset such as +02:00 [default: such times are refused]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    time_zone: Option<Zone>,
    /// A column with values; repeat it for each column
    #[arg(long = "value-column", value_name = "COLUMN")]
    value_columns: Vec<String>,
    /// A value column whose cells are text, even if they look like numbers; repeat it for each column
    #[arg(long = "text", value_name = "COLUMN")]
    text_columns: Vec<String>,
    /// A value column whose cells are numbers; other cells are refused; repeat it for each column
    #[arg(long = "number", value_name = "COLUMN")]
    number_columns: Vec<String>,
    /// The text of a cell without a value, such as NaN; repeat it for each text
    #[arg(long, value_name = "CELL")]
    missing: Vec<String>,
    /// The decimal separator
    #[arg(long, default_value = ".", value_parser = delimiter)]
    decimal: u8,
    /// The unit of the values, a UCUM code
    #[arg(long, default_value = "", hide_default_value = true)]
    unit: Unit,
    /// The character between the columns
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// The speed: original, max, or a factor such as 60 for 60 times faster
    #[arg(long, default_value = "original")]
    speed: Speed,
    /// Replay the file from its beginning; without this, a replay continues where the previous one ended
    #[arg(long)]
    again: bool,
    /// The directory for the records of how far files are replayed [default: in the agent's data directory, or in the
    /// user's state directory]
    #[arg(long, value_name = "DIRECTORY")]
    places: Option<PathBuf>,
    /// Stop at the first wrong row; without this, wrong rows are reported, counted and skipped
    #[arg(long)]
    strict: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" || text == "tab" => Ok(b'\t'),
        _ => Err("give one ASCII character, or tab".to_owned()),
    }
}

impl ReplayArgs {
    /// Replays the file. Returns an error unless all rows were valid and all events accepted. The progress goes to
    /// standard error if that is a terminal.
    pub fn run(&self) -> Result<Report, SendError> {
        let settings = self.settings()?;
        let rows = Rows::open(&settings.path, settings.mapping.clone())?;
        print_note(format_args!("{}: {}", self.file.display(), rows.declared()));
        let resume = Resume::open(&self.target, &settings, self.again)?;
        let cut = resume.grew_in_its_last_row(&settings.path).unwrap_or(false);
        let greeting = resume.greeting();
        let resume = Mutex::new(resume);
        let mut ended = Ended::default();
        let mut paced = Paced {
            rows,
            pace: Pace::new(self.speed),
            started: Instant::now(),
            progress: ProgressLine::new(),
            strict: self.strict,
            resume: &resume,
            before: 0,
            cut,
            ended: &mut ended,
        };
        let mut lines =
            std::iter::once(Ok(greeting)).chain(std::iter::from_fn(move || paced.next_row()).flatten().map(Ok));
        let mut first = None;
        let mut note = |answer: Answer<'_>| {
            if let Answer::Refused(line, error) = answer {
                first.get_or_insert_with(|| format!("line {line}: {error}"));
            }
            lock(&resume).answered(answer);
        };
        let sent = client::send_and_watch(&self.target.target(), self.target.timeout(), &mut lines, &mut note);
        drop(lines);
        let resume = resume.into_inner().unwrap_or_else(PoisonError::into_inner);
        let complete = sent.as_ref().is_ok_and(Report::is_complete);
        let recorded = resume.finish(ended.at, complete);
        recorded.map_err(|error| SendError::Checkpoint(settings.checkpoints.clone(), error))?;
        let mut report = sent?;
        // The first line only named the run of the others.
        (report.sent, report.durable) = (report.sent.saturating_sub(1), report.durable.saturating_sub(1));
        if let Some(error) = ended.failure {
            return Err(error.into());
        }
        let report = outcome(report, first)?;
        match ended.refused {
            Some((refused, first)) => Err(SendError::Rows { refused, first }),
            None => Ok(report),
        }
    }

    fn settings(&self) -> Result<FileSettings, SendError> {
        let mapping = Mapping {
            subject: self.subject.clone(),
            subject_column: self.subject_column.clone(),
            time_column: self.time_column.clone(),
            time: Reading { form: self.time_format.clone(), zone: self.time_zone },
            value_columns: self.value_columns.clone(),
            text_columns: self.text_columns.clone(),
            number_columns: self.number_columns.clone(),
            missing: self.missing.clone(),
            decimal: self.decimal,
            unit: self.unit.clone(),
            delimiter: self.delimiter,
        };
        let failed = |error| ReplayError::Io { path: self.file.clone(), error };
        let path = std::fs::canonicalize(&self.file).map_err(failed)?;
        let checkpoints = self.places.clone().map_or_else(|| self.target.checkpoints(), Ok)?;
        Ok(FileSettings { path, mapping, speed: self.speed, checkpoints })
    }
}

/// How reading the rows has ended.
#[derive(Default)]
struct Ended {
    /// Why the file cannot be read on, or the wrong row at which a strict replay stopped.
    failure: Option<ReplayError>,
    /// How many rows were wrong, and the error of the first.
    refused: Option<(u64, ReplayError)>,
    /// The end of the file, once it is reached: the cursor there, and the bytes read.
    at: Option<(RowCursor, u64)>,
}

/// The rows of the file, each returned when it is due.
struct Paced<'f> {
    rows: Rows,
    pace: Pace,
    started: Instant,
    progress: ProgressLine,
    strict: bool,
    resume: &'f Mutex<Resume>,
    /// Number of rows that an earlier run has sent.
    before: u64,
    /// Whether the last row of an earlier run may have been half a row.
    cut: bool,
    ended: &'f mut Ended,
}

impl Paced<'_> {
    /// The lines of the next row that no earlier run has sent.
    fn next_row(&mut self) -> Option<Vec<Vec<u8>>> {
        loop {
            let Some(row) = self.rows.next() else {
                self.report_skipped(true);
                let rows = self.rows.number();
                self.ended.at = Some((RowCursor { rows, lines: 0 }, self.rows.read_bytes()));
                return None;
            };
            let number = self.rows.number();
            match row {
                Ok(row) => {
                    let lines: Vec<_> = row.text.lines().map(|line| line.as_bytes().to_vec()).collect();
                    let count = lines.len() as u64;
                    let Some(done) = lock(self.resume).done(number, count) else {
                        self.before = number;
                        continue;
                    };
                    self.report_skipped(false);
                    let due = row.time.map_or(Duration::ZERO, |time| self.pace.due(time));
                    std::thread::sleep(due.saturating_sub(self.started.elapsed()));
                    self.progress.show(&row);
                    let mut resume = lock(self.resume);
                    for line in done + 1..=count {
                        let ends = line == count;
                        let cursor = if ends {
                            RowCursor { rows: number, lines: 0 }
                        } else {
                            RowCursor { rows: number - 1, lines: line }
                        };
                        resume.sending(cursor);
                    }
                    return Some(lines.into_iter().skip(usize::try_from(done).unwrap_or(usize::MAX)).collect());
                }
                // An earlier run has reported it.
                Err(ReplayError::Row { .. }) if lock(self.resume).is_behind(number) => self.before = number,
                Err(error @ ReplayError::Row { .. }) if !self.strict => self.refuse(error),
                Err(error) => {
                    self.ended.failure = Some(error);
                    return None;
                }
            }
        }
    }

    /// Prints once how many rows are skipped because an earlier run has sent them.
    fn report_skipped(&mut self, is_end: bool) {
        let rows = std::mem::take(&mut self.before);
        if rows == 0 {
            return;
        }
        let rest = if is_end { "nothing is left to replay" } else { "the rest follows" };
        print_note(format_args!(
            "rows 1 to {rows} were replayed before; {rest}; --again replays the file from its beginning"
        ));
        if self.cut && !is_end {
            let why = "it had no line end when it was replayed and has grown since: the added text is skipped";
            let path = self.rows.path().to_owned();
            self.refuse(ReplayError::Row { path, row: rows, why: why.to_owned() });
        }
    }

    fn refuse(&mut self, error: ReplayError) {
        let count = self.ended.refused.as_ref().map_or(0, |(count, _)| *count) + 1;
        if count <= ROWS_REPORTED_MAX {
            let rest = if count == ROWS_REPORTED_MAX { "; the next ones are only counted" } else { "" };
            print_note(format_args!("refused: {error}{rest}"));
        }
        match &mut self.ended.refused {
            Some((known, _)) => *known = count,
            None => self.ended.refused = Some((count, error)),
        }
    }
}

fn lock(resume: &Mutex<Resume>) -> MutexGuard<'_, Resume> {
    resume.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ProgressLine {
    shown: bool,
    shown_at: Option<Instant>,
}

impl ProgressLine {
    fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), shown_at: None }
    }

    fn show(&mut self, row: &Row) {
        let due = self.shown_at.is_none_or(|at| at.elapsed() >= Duration::from_millis(200)) || row.percent == 100;
        if self.shown && due {
            self.shown_at = Some(Instant::now());
            // The replay continues without its terminal.
            let _ = write!(io::stderr(), "\r{:3} % of the file, row {}", row.percent, row.number);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown_at.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
