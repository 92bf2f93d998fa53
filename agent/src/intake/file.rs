//! Replay of recorded files: CSV, or JSON lines, through a mapping of columns, at a chosen speed.

mod pace;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::intake::exec::{LineMetrics, take_lines};
use crate::intake::sink::EventSink;
use crate::limits::REPLAY_ROWS_AHEAD;
use crate::stop::Stop;
pub use pace::{Pace, Speed, SpeedError};
pub use rows::{Mapping, ReplayError, Row, Rows};

/// A file to replay.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The file; its ending (`.csv`, `.jsonl`, `.ndjson`) says what is in it.
    pub path: PathBuf,
    /// What its columns mean.
    pub mapping: Mapping,
    /// How fast.
    pub speed: Speed,
}

/// Replays the file once, from its beginning, and logs how far it is. Ends early when the agent stops.
pub async fn run<S: EventSink>(
    settings: FileSettings,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: LineMetrics,
    mut stop: Stop,
) -> Result<(), ReplayError> {
    let mut rows = read_ahead(&settings)?;
    let name = settings.path.display().to_string();
    let started = Instant::now();
    let mut said = started;
    let mut pace = Pace::new(settings.speed);
    let mut count = 0_u64;
    loop {
        let row = tokio::select! {
            () = stop.requested() => return Ok(()),
            row = rows.recv() => row,
        };
        let Some(row) = row else {
            tracing::info!(file = name, rows = count, "the file is replayed");
            return Ok(());
        };
        let row = row?;
        let due = started + row.time.map_or(Duration::ZERO, |time| pace.due(time));
        let replay = async {
            tokio::time::sleep_until(due).await;
            // A row's own lines never fail to be read: they are in memory.
            let _ = take_lines(&name, row.text.as_bytes(), &sink, &clock, &metrics).await;
        };
        tokio::select! {
            () = stop.requested() => return Ok(()),
            () = replay => {}
        }
        count += 1;
        if said.elapsed() >= Duration::from_secs(10) {
            said = Instant::now();
            tracing::info!(file = name, rows = count, percent = row.percent, "replaying");
        }
    }
}

/// Reads rows on a blocking thread, a few ahead of their use.
fn read_ahead(settings: &FileSettings) -> Result<mpsc::Receiver<Result<Row, ReplayError>>, ReplayError> {
    let rows = Rows::open(&settings.path, settings.mapping.clone())?;
    let (sender, receiver) = mpsc::channel(REPLAY_ROWS_AHEAD);
    tokio::task::spawn_blocking(move || {
        for row in rows {
            if sender.blocking_send(row).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::intake::sink::fake::FakeSink;
    use crate::metrics::Registry;

    #[tokio::test(start_paused = true)]
    async fn a_file_is_replayed_at_its_own_speed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recorded.csv");
        std::fs::write(&path, "when,reading\n2013-12-02 21:15:00,73.9\n2013-12-02 21:20:00,74\n").unwrap();
        let mapping = Mapping {
            subject: "88-C/temp".to_owned(),
            time_column: Some("when".to_owned()),
            value_columns: vec!["reading".to_owned()],
            unit: "Cel".to_owned(),
            ..Mapping::default()
        };
        let sink = FakeSink::committing();
        let metrics = LineMetrics::new(&Registry::default(), "recorded.csv");
        let (_sender, stop) = crate::stop::channel();
        let started = Instant::now();
        let settings = FileSettings { path, mapping, speed: Speed::Original };
        run(settings, sink.clone(), Arc::new(SystemClock::new()), metrics, stop).await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(300));
        let events: Vec<_> = sink.events().into_iter().map(|(event, _)| event).collect();
        assert_eq!(events.len(), 2);
        assert!(events[0].starts_with("1386018900000000 88-C/temp Sample(Sample { value: Float(73.9), unit: \"Cel\""));
    }
}
