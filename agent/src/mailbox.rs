//! The mailbox between intakes, writer and transport: the open batches and the inbox under one lock, and the wake-ups.
//!
//! Intakes push events through [`Intake`], the transport passes on what it brings through [`Link`], and the writer
//! takes out both. The opposite direction uses channels: [`Outbound`] to the transport, [`LinkState`] to those who
//! watch.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use afferent_protocol::event::Event;
use afferent_protocol::ids::{SourceId, Stream, Timestamp};
use afferent_protocol::session::Lane;
use afferent_protocol::session::signed::Nonce;
use tokio::sync::{Notify, watch};

use crate::intake::sink::{Commits, DeviceSink, EventSink, FileSink, Refusal, Ticket, Waiting};
use crate::limits::INBOX_MESSAGES_MAX;
use crate::ring_log::{DeviceProgress, FollowedFiles};
use crate::sequencer::{CommitSettings, OpenBatches};
use crate::trust::TrustSettings;

/// A message from the transport to the writer.
#[derive(Debug)]
pub enum Inbound {
    /// The transport is connected, with this nonce; these collectors are trusted.
    LinkUp(Nonce, TrustSettings),
    /// The connection has ended.
    LinkDown,
    /// The line takes about so many bytes a second.
    Line(u64),
    /// A message has arrived.
    Message(Vec<u8>),
    /// The broker denies the agent this former name.
    Forbidden(SourceId),
}

/// A request of the writer to the transport.
#[derive(Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Send this, on the topic of this name.
    Message(SourceId, Vec<u8>),
    /// Close the connection and open a new one.
    Reconnect,
}

/// The state of the connection, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected, and why.
    #[default]
    Starting,
    /// Connected and subscribed.
    Up,
    /// Connected, but the other side accepts nothing under the agent's name.
    Refused,
    /// Connected, but the answering collector is not trusted: nothing is shipped. The text names the remedy.
    Untrusted(String),
    /// Not connected, and why.
    Down(String),
}

/// What waits for the writer's next round.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) inbound: VecDeque<Inbound>,
    /// The transport has taken a message out of the outbox.
    pub(crate) room: bool,
    /// How often the collector has made events durable that the agent then released.
    pub(crate) released: u64,
    /// Why, and when that was asked for.
    pub(crate) stop: Option<(String, Timestamp)>,
}

impl Inbox {
    /// Takes what the transport brought. Beyond a limit it drops messages and measurements, which all repeat
    /// themselves, and what an earlier connection had brought when that is gone.
    fn put(&mut self, inbound: Inbound) {
        if self.inbound.len() >= INBOX_MESSAGES_MAX {
            match inbound {
                Inbound::LinkDown => self.inbound.clear(),
                Inbound::LinkUp(..) => {
                    self.inbound.clear();
                    self.inbound.push_back(Inbound::LinkDown);
                }
                Inbound::Line(_) | Inbound::Message(_) | Inbound::Forbidden(_) => return,
            }
        }
        self.inbound.push_back(inbound);
        assert!(self.inbound.len() <= INBOX_MESSAGES_MAX, "what waits for the writer is bounded");
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
    pub(crate) inbox: Inbox,
}

impl Shared {
    pub(crate) fn new(settings: CommitSettings, bytes_max: usize, durable: watch::Receiver<Commits>) -> Self {
        let state = SharedState { open: OpenBatches::new(settings, bytes_max), inbox: Inbox::default() };
        Self { state: Mutex::new(state), wake: Condvar::new(), taken: Notify::new(), durable, started: Instant::now() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(|poisoned| failed(poisoned.into_inner()))
    }

    /// Closes the mailbox, and wakes those who wait for room.
    pub(crate) fn fail(&self, reason: &str) {
        self.lock().open.fail(reason);
        self.taken.notify_waiters();
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
        match until_ms {
            None => self.wake.wait(state).unwrap_or_else(|poisoned| failed(poisoned.into_inner())),
            Some(until_ms) => {
                let left = Duration::from_millis(until_ms.saturating_sub(self.now_ms()));
                self.wake
                    .wait_timeout(state, left)
                    .map_or_else(|poisoned| failed(poisoned.into_inner().0), |woken| woken.0)
            }
        }
    }
}

/// A thread has panicked while it changed the open batches: their content is in doubt and must not be
/// committed.
fn failed(mut state: MutexGuard<'_, SharedState>) -> MutexGuard<'_, SharedState> {
    state.open.fail("an intake has panicked while it held the open batches");
    state
}

/// The transport's side of the writer.
#[derive(Clone, Debug)]
pub struct Link(pub(crate) Arc<Shared>);

impl Link {
    /// Passes on what the transport brought.
    pub fn bring(&self, inbound: Inbound) {
        self.0.lock().inbox.put(inbound);
        self.0.wake.notify_one();
    }

    /// How often the collector has made events durable that the agent then released, since the start.
    pub fn released(&self) -> u64 {
        self.0.lock().inbox.released
    }

    /// Notifies the writer that the outbox has room again.
    pub fn took(&self) {
        self.0.lock().inbox.room = true;
        self.0.wake.notify_one();
    }
}

/// The handle through which inputs push events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake(pub(crate) Arc<Shared>);

impl Intake {
    /// Waits until the ticket's event is on disk; [`Refusal::Stopped`] when the agent stopped before.
    pub async fn wait_durable(&self, ticket: Ticket) -> Result<(), Refusal> {
        let mut durable = self.durable();
        durable.wait_for(|commits| ticket.is_durable(commits)).await.map(|_| ()).map_err(|_| Refusal::Stopped)
    }
}

impl DeviceSink for Intake {
    fn push_device(&self, events: &[Event<'_>], device: DeviceProgress) -> Result<Ticket, Refusal> {
        let now_ms = self.0.now_ms();
        let pushed = self.0.lock().open.push_device(events, device, now_ms);
        self.0.wake.notify_one();
        pushed
    }

    fn device(&self, device: &SourceId) -> (Vec<DeviceProgress>, [Ticket; 2]) {
        self.0.lock().open.device(device)
    }

    fn keep_lanes(&self, device: &SourceId, held: &[Lane]) {
        self.0.lock().open.keep_lanes(device, held);
    }
}

impl FileSink for Intake {
    fn push_lines(&self, stream: Stream, events: &[Event<'_>], files: FollowedFiles) -> Result<Ticket, Refusal> {
        let now_ms = self.0.now_ms();
        let mut state = self.0.lock();
        let due_before = state.open.due_ms(stream);
        let pushed = state.open.push_lines(stream, events, files, now_ms);
        let earlier = state.open.due_ms(stream) != due_before;
        drop(state);
        if earlier {
            self.0.wake.notify_one();
        }
        pushed
    }

    fn followed(&self, input: &str) -> ([Option<FollowedFiles>; 2], [Ticket; 2]) {
        self.0.lock().open.followed(input)
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
                let is_full = Stream::ALL.into_iter().any(|stream| state.open.is_full(stream));
                if !is_full || state.open.failed().is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_writer_is_bounded_and_the_newest_connection_is_in_it() {
        let mut inbox = Inbox::default();
        for at in 0..3 * INBOX_MESSAGES_MAX {
            inbox.put(Inbound::Message(vec![]));
            inbox.put(Inbound::Line(at as u64));
        }
        assert_eq!(inbox.inbound.len(), INBOX_MESSAGES_MAX);
        // Connections come and go while the writer waits for its disk.
        for _ in 0..3 * INBOX_MESSAGES_MAX {
            inbox.put(Inbound::LinkDown);
            inbox.put(Inbound::LinkUp(Nonce::default(), TrustSettings::default()));
        }
        assert!(inbox.inbound.len() <= INBOX_MESSAGES_MAX);
        assert!(matches!(inbox.inbound.back(), Some(Inbound::LinkUp(..))));
    }
}
