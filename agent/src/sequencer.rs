//! Where all intakes meet: one open batch per stream, and the promise to tell when it is on disk.
//!
//! [`OpenBatches`] is the state, driven with times from outside. [`Intake`] is the handle that intakes hold: it encodes
//! an event into the open batch under a lock and gives a [`Ticket`]; the writer takes the batch out when it is due,
//! commits it to the ring log, and moves the durable commits on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use afferent_protocol::batch::BatchBuilder;
use afferent_protocol::event::Event;
use afferent_protocol::ids::Stream;
use tokio::sync::{Notify, watch};

use crate::intake::sink::{Commits, EventSink, Refusal, Ticket, Waiting};
use crate::limits::COMMIT_BYTES;

/// How long commits may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSettings {
    /// Milliseconds that a sample waits for company while a producer waits for it.
    pub wait_max_ms: u64,
    /// Milliseconds that a sample waits for company while nobody waits for it: every commit costs flash.
    pub samples_wait_max_ms: u64,
}

impl Default for CommitSettings {
    fn default() -> Self {
        Self { wait_max_ms: 20, samples_wait_max_ms: 1000 }
    }
}

#[derive(Debug, Default)]
struct OpenBatch {
    builder: BatchBuilder,
    /// The number that its commit will have.
    commit: u64,
    due_ms: Option<u64>,
    /// An event was turned away: it takes no more until it was committed.
    full: bool,
}

/// The open batches of both streams.
#[derive(Debug)]
pub struct OpenBatches {
    settings: CommitSettings,
    bytes_max: usize,
    streams: [OpenBatch; 2],
    trouble: Option<Arc<str>>,
    stopped: bool,
}

impl OpenBatches {
    /// Empty ones, full at `bytes_max`.
    pub fn new(settings: CommitSettings, bytes_max: usize) -> Self {
        let open = || OpenBatch { commit: 1, ..OpenBatch::default() };
        Self { settings, bytes_max, streams: [open(), open()], trouble: None, stopped: false }
    }

    /// Adds an event to its stream's open batch.
    pub fn push(&mut self, event: &Event<'_>, waiting: Waiting, now_ms: u64) -> Result<Ticket, Refusal> {
        event.check()?;
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        if let Some(trouble) = &self.trouble {
            return Err(Refusal::Unwritable(trouble.clone()));
        }
        let stream = event.stream();
        let open = &mut self.streams[usize::from(stream.number())];
        let full = open.full || (!open.builder.is_empty() && open.builder.bytes() >= self.bytes_max);
        if full || open.builder.push(event).is_err() {
            open.full = true;
            open.due_ms = open.due_ms.min(Some(now_ms));
            return Err(Refusal::Full);
        }
        let wait_ms = match (stream, waiting) {
            (Stream::Critical, _) => 0,
            (Stream::Samples, _) if open.builder.bytes() >= COMMIT_BYTES => 0,
            (Stream::Samples, Waiting::Producer) => self.settings.wait_max_ms,
            (Stream::Samples, Waiting::Nobody) => self.settings.samples_wait_max_ms,
        };
        let due_ms = now_ms + wait_ms;
        open.due_ms = Some(open.due_ms.map_or(due_ms, |due| due.min(due_ms)));
        Ok(Ticket { stream, commit: open.commit })
    }

    /// When the stream's open batch is to be committed; `None` while it is empty.
    pub fn due_ms(&self, stream: Stream) -> Option<u64> {
        self.streams[usize::from(stream.number())].due_ms
    }

    /// Whether the stream's open batch takes no more events.
    pub fn is_full(&self, stream: Stream) -> bool {
        self.streams[usize::from(stream.number())].full
    }

    /// Swaps the stream's open batch for the empty `spare`; gives the number of its commit.
    ///
    /// # Panics
    /// When `spare` is not empty.
    pub fn take(&mut self, stream: Stream, spare: &mut BatchBuilder) -> Option<u64> {
        assert!(spare.is_empty(), "an open batch begins empty");
        let open = &mut self.streams[usize::from(stream.number())];
        open.due_ms.take()?;
        std::mem::swap(&mut open.builder, spare);
        open.full = false;
        let commit = open.commit;
        open.commit += 1;
        Some(commit)
    }

    /// The ring log cannot be written, for this reason; or can again.
    pub fn set_trouble(&mut self, trouble: Option<Arc<str>>) {
        self.trouble = trouble;
    }

    /// Takes no more events.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}

/// What intakes and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: Mutex<SharedState>,
    /// Wakes the writer.
    pub(crate) wake: Condvar,
    /// Wakes intakes that wait for room.
    pub(crate) taken: Notify,
    /// Closed when the writer has ended.
    durable: watch::Receiver<Commits>,
    started: Instant,
}

#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) open: OpenBatches,
    pub(crate) inbox: crate::writer::Inbox,
}

impl Shared {
    pub(crate) fn new(settings: CommitSettings, bytes_max: usize, durable: watch::Receiver<Commits>) -> Self {
        let state = SharedState { open: OpenBatches::new(settings, bytes_max), inbox: crate::writer::Inbox::default() };
        Self { state: Mutex::new(state), wake: Condvar::new(), taken: Notify::new(), durable, started: Instant::now() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().expect("nobody panics while holding the open batches")
    }

    /// Milliseconds of a clock that only goes forward.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Waits for a wake-up, or for `until_ms`.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, SharedState>,
        until_ms: Option<u64>,
    ) -> MutexGuard<'a, SharedState> {
        let poisoned = "nobody panics while holding the open batches";
        match until_ms {
            None => self.wake.wait(state).expect(poisoned),
            Some(until_ms) => {
                let left = Duration::from_millis(until_ms.saturating_sub(self.now_ms()));
                self.wake.wait_timeout(state, left).expect(poisoned).0
            }
        }
    }
}

/// The handle by which events come in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake(pub(crate) Arc<Shared>);

impl Intake {
    /// Waits until the ticket's event is on disk; [`Refusal::Stopped`] when the agent stopped before.
    pub async fn wait_durable(&self, ticket: Ticket) -> Result<(), Refusal> {
        let mut durable = self.durable();
        durable.wait_for(|commits| ticket.is_durable(commits)).await.map(|_| ()).map_err(|_| Refusal::Stopped)
    }
}

impl EventSink for Intake {
    fn push(&self, event: &Event<'_>, waiting: Waiting) -> Result<Ticket, Refusal> {
        let now_ms = self.0.now_ms();
        let mut state = self.0.lock();
        let stream = event.stream();
        let due_before = state.open.due_ms(stream);
        let pushed = state.open.push(event, waiting, now_ms);
        let earlier = state.open.due_ms(stream) != due_before;
        drop(state);
        if earlier {
            self.0.wake.notify_one();
        }
        pushed
    }

    async fn room(&self) {
        loop {
            let taken = self.0.taken.notified();
            {
                let state = self.0.lock();
                if !Stream::ALL.into_iter().any(|stream| state.open.is_full(stream)) {
                    return;
                }
            }
            taken.await;
        }
    }

    fn durable(&self) -> watch::Receiver<Commits> {
        self.0.durable.clone()
    }
}
