//! Replay of recorded files: CSV, or JSON lines, through a mapping of columns, at a chosen speed.

pub mod checkpoint;
pub(super) mod columns;
pub(super) mod csv;
mod error;
mod input;
mod pace;
mod progress;
mod rows;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::intake::line::LineParser;
use crate::intake::lines::Line;
use crate::intake::mapping::Mapping;
use crate::intake::sink::EventSink;
use crate::intake::take::{LineMetrics, Refused, take_line};
use crate::limits::{LINE_BYTES_MAX, REPLAY_RETRY_MS, REPLAY_ROWS_AHEAD};
use checkpoint::CheckpointFile;
pub use error::ReplayError;
pub(crate) use input::Sign;
pub use input::{FileConfig, FileReplay};
pub use pace::{Pace, Speed, SpeedError};
use progress::ReplayProgress;
pub use rows::{Row, Rows};

/// A file to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSettings {
    /// The file; its ending (`.csv`, `.jsonl`, `.ndjson`) names its format.
    pub path: PathBuf,
    /// The meaning of its columns.
    pub mapping: Mapping,
    /// The speed of the replay.
    pub speed: Speed,
    /// The directory in which it is recorded how far files are replayed.
    pub checkpoints: PathBuf,
}

/// Replays the file once: from where the last run had got to, to its end. Ends early when the agent stops.
///
/// A row counts as replayed only when its events are on disk; see [`checkpoint`] for what that promises.
pub async fn run<S: EventSink>(
    settings: FileSettings,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: LineMetrics,
    mut stop: Stop,
) -> Result<(), ReplayError> {
    let failed = |error| ReplayError::Io { path: settings.path.clone(), error };
    let (file, known) = CheckpointFile::open(&settings).map_err(failed)?;
    let cursor = known.cursor;
    let mut replay = Replay {
        name: settings.path.display().to_string(),
        pace: Pace::new(settings.speed),
        started: Instant::now(),
        reported_at: Instant::now(),
        progress: ReplayProgress::new(file, cursor, sink.durable()),
        parser: LineParser::default(),
        metrics,
        refused: 0,
    };
    let mut rows = read_ahead(&settings, cursor.rows)?;
    let ended = tokio::select! {
        () = stop.requested() => Ok(()),
        ended = replay.run(&mut rows, &sink, &clock) => ended,
    };
    replay.progress.finish().await;
    ended
}

struct Replay {
    name: String,
    pace: Pace,
    started: Instant,
    reported_at: Instant,
    progress: ReplayProgress,
    parser: LineParser,
    metrics: LineMetrics,
    /// Rows that were wrong.
    refused: u64,
}

impl Replay {
    /// May be dropped at any of its waits: what it has pushed and what it has counted change together.
    async fn run<S: EventSink>(
        &mut self,
        rows: &mut Ahead,
        sink: &S,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), ReplayError> {
        while let Some(row) = rows.next().await {
            let row = match row {
                Err(ReplayError::Row { row, why, .. }) => {
                    self.refuse(row, &why);
                    continue;
                }
                row => row?,
            };
            let due = self.started + row.time.map_or(Duration::ZERO, |time| self.pace.due(time));
            self.progress.wait_until(due).await;
            self.take_row(&row, sink, clock).await;
            if self.reported_at.elapsed() >= Duration::from_secs(10) {
                self.reported_at = Instant::now();
                tracing::info!(file = self.name, row = row.number, percent = row.percent, "replaying");
            }
        }
        self.progress.all_accepted().await;
        let (rows, refused) = (self.progress.cursor.rows, self.refused);
        tracing::info!(file = self.name, rows, refused, "the file is replayed");
        Ok(())
    }

    /// A row is wrong: the rest go on.
    fn refuse(&mut self, row: u64, why: &str) {
        self.metrics.refused.add(1);
        self.refused += 1;
        if self.refused == 1 {
            tracing::warn!(
                file = self.name,
                row,
                why,
                "a row was refused, and the rest go on; their number follows at the end of the file"
            );
        } else {
            tracing::debug!(file = self.name, row, why, "a row was refused");
        }
        self.progress.row_done();
    }

    async fn take_row<S: EventSink>(&mut self, row: &Row, sink: &S, clock: &Arc<dyn Clock>) {
        let done = usize::try_from(self.progress.cursor.lines).unwrap_or(usize::MAX);
        for line in row.text.lines().skip(done) {
            let line = if line.len() > LINE_BYTES_MAX { Line::TooLong } else { Line::Whole(line.as_bytes()) };
            let ticket = loop {
                match take_line(&line, &mut self.parser, sink, clock).await {
                    Ok(ticket) => {
                        self.metrics.taken.add(1);
                        break ticket;
                    }
                    Err(Refused::Stopped) => return std::future::pending().await,
                    // What is recorded can wait for the disk.
                    Err(Refused::Unwritable(_)) => {
                        self.progress.wait_until(Instant::now() + Duration::from_millis(REPLAY_RETRY_MS)).await;
                    }
                    Err(Refused::Reason(error)) => {
                        self.metrics.refuse(row.number, &error);
                        break None;
                    }
                }
            };
            self.progress.line_done(ticket);
        }
        self.progress.row_done();
    }
}

/// Reads rows on a blocking thread, a few ahead of their use; those that are done are left out.
fn read_ahead(settings: &FileSettings, done: u64) -> Result<Ahead, ReplayError> {
    let rows = Rows::open(&settings.path, settings.mapping.clone())?;
    tracing::info!(file = %settings.path.display(), columns = rows.declared(), "a file is replayed");
    let (sender, rows_ahead) = mpsc::channel(REPLAY_ROWS_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let number = |row: &Result<Row, ReplayError>| match row {
            Ok(row) => row.number,
            Err(ReplayError::Row { row, .. }) => *row,
            Err(_) => u64::MAX,
        };
        for row in rows.skip_while(|row| number(row) <= done) {
            if sender.blocking_send(row).is_err() {
                return;
            }
        }
    });
    Ok(Ahead { rows: rows_ahead, reader })
}

/// Rows that are read ahead, and who reads them.
struct Ahead {
    rows: mpsc::Receiver<Result<Row, ReplayError>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Ahead {
    /// The next row; none at the end of the file. A reader that has panicked is not the end of the file.
    async fn next(&mut self) -> Option<Result<Row, ReplayError>> {
        let row = self.rows.recv().await;
        if row.is_none()
            && let Err(error) = (&mut self.reader).await
        {
            std::panic::resume_unwind(error.into_panic());
        }
        row
    }
}
