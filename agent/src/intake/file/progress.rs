//! The progress of a replay: the cursors that are pushed, accepted and recorded.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::checkpoint::{CheckpointFile, RowCursor};
use crate::intake::sink::{Commits, Ticket};
use crate::limits::{DRAIN_MS, REPLAY_PLACE_MS};

/// The progress of a replay.
pub struct ReplayProgress {
    file: CheckpointFile,
    durable: watch::Receiver<Commits>,
    /// Commits that everything so far is in.
    needed: Commits,
    /// The cursor so far.
    pub cursor: RowCursor,
    /// Cursors that are not accepted yet, each with the commits that it waits for; one for each state of these.
    pushed: VecDeque<(RowCursor, Commits)>,
    accepted: RowCursor,
    recorded: RowCursor,
    recorded_at: Instant,
    /// The record that is being written: never two at once.
    recording: Option<(RowCursor, JoinHandle<io::Result<()>>)>,
}

impl ReplayProgress {
    /// A replay that starts at this cursor.
    pub fn new(file: CheckpointFile, cursor: RowCursor, durable: watch::Receiver<Commits>) -> Self {
        let (needed, pushed) = ([0; 2], VecDeque::new());
        let (accepted, recorded, recorded_at, recording) = (cursor, cursor, Instant::now(), None);
        Self { file, durable, needed, cursor, pushed, accepted, recorded, recorded_at, recording }
    }

    /// A line is done: with the ticket of its event, if it had one.
    pub fn line_done(&mut self, ticket: Option<Ticket>) {
        if let Some(Ticket { stream, commit }) = ticket {
            let needed = &mut self.needed[usize::from(stream.number())];
            *needed = commit.max(*needed);
        }
        self.cursor.lines += 1;
        self.pushed();
    }

    /// All lines of a row are done.
    pub fn row_done(&mut self) {
        self.cursor = RowCursor { rows: self.cursor.rows + 1, lines: 0 };
        self.pushed();
    }

    fn pushed(&mut self) {
        match self.pushed.back_mut() {
            Some((cursor, needed)) if *needed == self.needed => *cursor = self.cursor,
            _ => self.pushed.push_back((self.cursor, self.needed)),
        }
    }

    /// Keeps the record up to date until then.
    pub async fn wait_until(&mut self, due: Instant) {
        loop {
            self.record_if_due().await;
            let next_record = self.recorded_at + Duration::from_millis(REPLAY_PLACE_MS);
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = tokio::time::sleep_until(next_record), if self.accepted != self.recorded => {}
                Ok(()) = self.durable.changed(), if !self.pushed.is_empty() => {}
            }
        }
    }

    /// Records what is accepted, unless the last record is young.
    pub async fn record_if_due(&mut self) {
        self.accept();
        if self.recorded_at.elapsed() >= Duration::from_millis(REPLAY_PLACE_MS) {
            self.record().await;
        }
    }

    /// Waits until everything is accepted, or nothing is any more.
    pub async fn all_accepted(&mut self) {
        loop {
            self.record_if_due().await;
            if self.pushed.is_empty() || self.durable.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until everything is accepted, if that does not take too long, and records it.
    pub async fn finish(mut self) {
        // A disk that takes nothing must not keep the agent from stopping.
        let _ = tokio::time::timeout(Duration::from_millis(DRAIN_MS), self.all_accepted()).await;
        self.accept();
        self.record().await;
    }

    fn accept(&mut self) {
        let durable = *self.durable.borrow_and_update();
        let is_durable = |needed: &Commits| needed.iter().zip(durable).all(|(needed, durable)| *needed <= durable);
        let count = self.pushed.iter().take_while(|(_, needed)| is_durable(needed)).count();
        if let Some((cursor, _)) = self.pushed.drain(..count).next_back() {
            let order = |at: RowCursor| (at.rows, at.lines);
            assert!(order(cursor) >= order(self.accepted), "a replay does not go back");
            self.accepted = cursor;
        }
    }

    async fn record(&mut self) {
        self.end_recording().await;
        if self.accepted == self.recorded {
            return;
        }
        let (file, cursor) = (self.file.clone(), self.accepted);
        self.recording = Some((cursor, tokio::task::spawn_blocking(move || file.record(cursor, 0, None))));
        self.end_recording().await;
    }

    /// Waits for the record that is being written; continues where it was, should this be dropped meanwhile.
    async fn end_recording(&mut self) {
        let Some((cursor, recording)) = &mut self.recording else { return };
        let (done, cursor) = (recording.await, *cursor);
        self.recording = None;
        self.recorded_at = Instant::now();
        match done.expect("recording a cursor does not panic") {
            Ok(()) => self.recorded = cursor,
            Err(error) => tracing::warn!(%error, "how far a file is replayed cannot be recorded: rows may come again"),
        }
    }
}
