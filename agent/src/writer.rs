//! The one thread that owns the core: it commits what is due and keeps the session going.
//!
//! It waits in one place, on the condition variable that intakes and transport wake: for events, for what the transport
//! brings, for a time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use afferent_host::disk::Disk;
use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::event::{Body, Event, LifeCycle};
use afferent_protocol::ids::{Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::{Held, Lane};
use afferent_protocol::sign::PublicKey;
use tokio::sync::{mpsc, watch};

use crate::core::{AgentCore, Ignored, Now, Outgoing};
use crate::intake::sink::{Commits, Waiting};
use crate::keep::{Keeper, Keepsake};
use crate::limits::{STATUS_MS, WRITER_DRAIN_MS, WRITER_NAP_MS};
use crate::mailbox::{Inbound, LinkState, Outbound, Shared, SharedState};
use crate::ring_log::RingStatus;
use crate::supervise::{Ended, Supervisor, planted};
use crate::trust::line_to_add;

/// The writer's status, published a few times a second.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The ring log.
    pub ring: RingStatus,
    /// The events that are not acked yet.
    pub held: Vec<Held>,
    /// Whether the collector has answered and batches flow.
    pub streaming: bool,
    /// Why the ring log cannot be written.
    pub trouble: Option<Arc<str>>,
    /// Lanes that were sealed again because the collector has different events, since the start.
    pub resealed: u64,
    /// Lanes that were sent again because the collector's log was restored from a copy, since the start.
    pub rewound: u64,
    /// Former names of the agent, each with the number of events held under it.
    pub held_former: Vec<(SourceId, u64)>,
    /// Milliseconds since the last of these events arrived; 0 when none is left.
    pub stalled_former_ms: u64,
    /// Milliseconds since the collector's last ack while events were waiting; 0 when none wait.
    pub stalled_ms: u64,
    /// Durable commits of both streams since the start.
    pub commits: [u64; 2],
    /// Messages that were ignored, since the start.
    pub ignored: Ignored,
    /// The key of a collector that answers but is not trusted, while no trusted one answers.
    pub stranger: Option<PublicKey>,
}

impl Status {
    /// Events that are on disk here and not yet known to be on the collector's.
    pub fn unacked(&self, stream: Stream) -> u64 {
        self.held.iter().filter(|held| held.lane.stream == stream).map(|held| held.end.since(held.first)).sum()
    }

    /// Number of events held under former names.
    pub fn held_events(&self) -> u64 {
        self.held_former.iter().map(|(_, events)| events).sum()
    }
}

/// The running writer thread.
#[derive(Debug)]
pub struct WriterThread {
    shared: Arc<Shared>,
    thread: JoinHandle<Ended>,
}

impl WriterThread {
    /// Commits everything, logs the ends of all lanes and the stop, gives the last events a moment to arrive, and
    /// ends. Blocks until then. The error is why the thread has failed.
    pub fn stop(self, reason: &str, time: Timestamp) -> Ended {
        self.shared.lock().inbox.stop = Some((reason.to_owned(), time));
        self.shared.wake.notify_one();
        self.thread.join().unwrap_or_else(|_| Err("the writer has panicked twice".to_owned()))
    }
}

/// What the writer thread works with.
pub struct WriterParts<D: Disk> {
    /// The core; the writer owns it.
    pub core: AgentCore<D>,
    /// Reads the machine's clocks.
    pub clock: Box<dyn FnMut() -> ClockReading + Send>,
    /// The channel to the transport.
    pub outbox: mpsc::Sender<Outbound>,
    /// Receives the durable commits; closed when the writer ends.
    pub durable: watch::Sender<Commits>,
    /// Receives the writer's status.
    pub status: watch::Sender<Status>,
    /// The connection's state: the writer adds whether the answering collector is trusted.
    pub link: watch::Sender<LinkState>,
    /// Called in every round, at least every second: feeds a watchdog.
    pub alive: Box<dyn FnMut() + Send>,
    /// Stores the files beside the ring log.
    pub keeper: Keeper,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u64,
}

impl<D: Disk> std::fmt::Debug for WriterParts<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterParts").finish_non_exhaustive()
    }
}

/// The name of the writer's thread.
const NAME: &str = "ring-writer";

/// Starts the writer thread.
pub(crate) fn start<D: Disk + Send + 'static>(
    supervisor: &Supervisor,
    shared: Arc<Shared>,
    parts: WriterParts<D>,
) -> io::Result<WriterThread>
where
    D::File: Send + Sync,
{
    let round = Round {
        shared: shared.clone(),
        parts,
        spare: [BatchBuilder::new(), BatchBuilder::new()],
        taken: [None; 2],
        inbound: VecDeque::new(),
        poll_at_ms: Some(0),
        outbox_full: false,
        trouble: None,
        status_at_ms: 0,
        progress: AckProgress::default(),
        former: (0, 0),
        heartbeat_at_ms: None,
        stop_at_ms: None,
        has_said_goodbye: false,
    };
    let run = |round: &mut Option<Round<D>>| {
        while round.as_mut().is_some_and(Round::run_once) {}
        if let Some(round) = round.take() {
            round.end();
        }
    };
    // Before the events that it had taken out are lost: none may be answered as accepted, and no more may come.
    let died = |round: &mut Option<Round<D>>, reason: &str| {
        if let Some(round) = round {
            round.shared.fail(reason);
            round.parts.status.send_modify(|status| status.trouble = Some(reason.into()));
        }
    };
    let thread = supervisor.vital_thread(NAME, Some(round), run, died)?;
    Ok(WriterThread { shared, thread })
}

/// When the acked ends last moved.
#[derive(Debug, Default)]
struct AckProgress {
    /// The oldest sequence that waits for its ack.
    oldest: Option<(Lane, Sequence)>,
    at_ms: u64,
}

struct Round<D: Disk> {
    shared: Arc<Shared>,
    parts: WriterParts<D>,
    spare: [BatchBuilder; 2],
    /// Commit numbers of the batches in `spare` that were taken out in this round.
    taken: [Option<u64>; 2],
    inbound: VecDeque<Inbound>,
    /// When the session has something to do again.
    poll_at_ms: Option<u64>,
    outbox_full: bool,
    trouble: Option<Arc<str>>,
    status_at_ms: u64,
    progress: AckProgress,
    /// Events held under former names, and when that last changed.
    former: (u64, u64),
    /// `None` until the first commit.
    heartbeat_at_ms: Option<u64>,
    stop_at_ms: Option<u64>,
    has_said_goodbye: bool,
}

impl<D: Disk> Round<D> {
    /// Runs one round; returns `false` after the last.
    fn run_once(&mut self) -> bool {
        self.wait();
        planted(NAME);
        (self.parts.alive)();
        let now = self.now();
        for inbound in std::mem::take(&mut self.inbound) {
            self.poll_at_ms = Some(now.ms);
            match inbound {
                Inbound::LinkUp(nonce, trust) => {
                    self.parts.core.trust(trust);
                    self.parts.core.link_up(nonce);
                }
                Inbound::LinkDown => self.parts.core.link_down(),
                Inbound::Line(bytes_per_s) => self.parts.core.line(bytes_per_s),
                Inbound::Message(message) => self.parts.core.receive(&message, &now),
                Inbound::Forbidden(name) => self.parts.core.forbidden(name, &now),
            }
        }
        self.keep(&now);
        self.commit();
        self.beat();
        self.send();
        let now_ms = self.shared.now_ms();
        self.publish_status(now_ms);
        let Some(at_ms) = self.stop_at_ms else { return true };
        // The next round commits the event of the stop.
        let is_done = std::mem::replace(&mut self.has_said_goodbye, true) && self.is_drained();
        !is_done && now_ms < at_ms
    }

    /// Whether the last round is done.
    fn end(mut self) {
        let now = self.now();
        self.parts.core.finish();
        let last = std::iter::from_fn(|| self.parts.core.keepsake(&now, true)).collect();
        self.parts.keeper.stop(last);
    }

    /// Hands files to be stored beside the ring log to the keeper.
    fn keep(&mut self, now: &Now) {
        while let Some(keepsake) = self.parts.core.keepsake(now, false) {
            let pins = match &keepsake {
                Keepsake::Pins(pins) => Some(pins.clone()),
                _ => None,
            };
            match (self.parts.keeper.keep(keepsake), pins) {
                (true, Some(pins)) => self.parts.core.pinned(pins, now),
                (true, None) => {}
                // It comes again with what leads to it.
                (false, _) => return,
            }
        }
    }

    /// Logs a heartbeat with the ends of all lanes: when it is due, and before a stop.
    fn beat(&mut self) {
        let stopping = self.stop_at_ms.is_some() && !self.has_said_goodbye;
        let now_ms = self.shared.now_ms();
        if !stopping && self.heartbeat_at_ms.is_none_or(|at_ms| now_ms < at_ms) {
            return;
        }
        let now = self.now();
        self.heartbeat_at_ms = Some(now.ms + self.parts.heartbeat_ms);
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let core = &self.parts.core;
        let mut said = core.heartbeat(&mut state.open, &now).map(drop);
        if let (true, Some((reason, time))) = (stopping, &state.inbox.stop) {
            let (reason, time) = (reason.clone(), *time);
            let subject = Subject::new(core.ring().who().source.as_str()).expect("a source's name is a subject");
            let body = Body::LifeCycle(LifeCycle::Stopped { reason: &reason });
            // It is the last event: that is how the next start knows of it.
            said = state.open.push(&Event { time, subject, body }, Waiting::Nobody, now.ms).map(drop);
            state.open.stop();
        }
        drop(state);
        match said {
            Ok(()) => {}
            Err(refusal) if stopping => {
                tracing::warn!("the ring log does not record that this stop was intended: {refusal}");
            }
            Err(refusal) => tracing::debug!("a heartbeat is not in the ring log: {refusal}"),
        }
    }

    /// Sleeps until there is something to do, then takes it out of what is shared.
    fn wait(&mut self) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let asleep_at_ms = shared.now_ms();
        loop {
            assert!(state.open.failed().is_none(), "{}", state.open.failed().unwrap_or_default());
            let now_ms = shared.now_ms();
            let wake_at_ms = self.wake_at_ms(&state).min(asleep_at_ms + WRITER_NAP_MS);
            if wake_at_ms <= now_ms || !state.inbox.inbound.is_empty() {
                break;
            }
            state = shared.wait(state, Some(wake_at_ms));
        }
        if std::mem::take(&mut state.inbox.room) && self.outbox_full {
            self.outbox_full = false;
            self.poll_at_ms = Some(0);
        }
        if state.inbox.stop.is_some() && self.stop_at_ms.is_none() {
            self.stop_at_ms = Some(shared.now_ms() + WRITER_DRAIN_MS);
        }
        std::mem::swap(&mut self.inbound, &mut state.inbox.inbound);
        state.inbox.released = self.parts.core.released();
        let now_ms = shared.now_ms();
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            let due = state.open.due_ms(stream).is_some_and(|due_ms| due_ms <= now_ms || self.stop_at_ms.is_some());
            if due && !self.parts.core.is_pending(stream) {
                self.taken[at] = state.open.take(stream, &mut self.spare[at]);
            }
        }
        drop(state);
        if self.taken != [None; 2] {
            shared.taken.notify_waiters();
        }
    }

    fn wake_at_ms(&self, state: &SharedState) -> u64 {
        let core = &self.parts.core;
        let due = Stream::ALL.into_iter().filter(|stream| !core.is_pending(*stream));
        let due = due.filter_map(|stream| state.open.due_ms(stream)).min();
        let poll = self.poll_at_ms.filter(|_| !self.outbox_full);
        let stop = (state.inbox.stop.is_some() && self.stop_at_ms.is_none()).then_some(0);
        let room = (state.inbox.room && self.outbox_full).then_some(0);
        let times = [due, poll, stop, room, core.retry_at_ms(), self.heartbeat_at_ms];
        times.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn now(&mut self) -> Now {
        Now { ms: self.shared.now_ms(), clock: (self.parts.clock)() }
    }

    /// Commits the batches of this round, critical first, and those that the disk refused before.
    fn commit(&mut self) {
        let now = self.now();
        let mut committed = self.parts.core.retry(&now);
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            if let Some(commit) = self.taken[at].take() {
                let now = self.now();
                let done = self.parts.core.commit(stream, commit, &mut self.spare[at], &now);
                if done.moved && stream == Stream::Critical {
                    // Whoever waits for a breakdown does not wait for the samples' commit.
                    self.publish_durable();
                }
                committed.moved |= done.moved;
                committed.trouble = committed.trouble.or(done.trouble);
            }
        }
        if committed.moved {
            self.heartbeat_at_ms.get_or_insert(0);
            self.poll_at_ms = Some(0);
            self.publish_durable();
        }
        if committed.moved || committed.trouble.is_some() {
            self.set_trouble(committed.trouble);
        }
    }

    /// Wakes the producers whose events are durable now.
    fn publish_durable(&self) {
        let commits = self.parts.core.durable_commits();
        self.parts.durable.send_modify(|known| {
            let is_ahead = known.iter().zip(&commits).all(|(before, now)| before <= now);
            assert!(is_ahead, "what was accepted stays accepted");
            *known = commits;
        });
    }

    fn set_trouble(&mut self, trouble: Option<Arc<str>>) {
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                tracing::error!("the ring log cannot be written: {trouble}; the agent retries every second")
            }
            None => tracing::info!("the ring log can be written again"),
        }
        self.trouble.clone_from(&trouble);
        self.shared.lock().open.set_trouble(trouble);
    }

    /// Lets the session send as much as the outbox takes.
    fn send(&mut self) {
        let now = self.now();
        while self.poll_at_ms.is_some_and(|at_ms| at_ms <= now.ms) && !self.outbox_full {
            let permit = match self.parts.outbox.try_reserve() {
                Ok(permit) => permit,
                Err(_) => {
                    self.outbox_full = true;
                    return;
                }
            };
            let mut message = Vec::new();
            match self.parts.core.poll(&now, &mut message) {
                Outgoing::Wait { until_ms } => self.poll_at_ms = until_ms,
                Outgoing::Message(agent) => permit.send(Outbound::Message(agent, message)),
                Outgoing::Reconnect => {
                    self.parts.core.link_down();
                    permit.send(Outbound::Reconnect);
                }
            }
        }
    }

    fn is_drained(&self) -> bool {
        let nothing_left = self.parts.core.ring().held().iter().all(|held| held.first == held.end);
        nothing_left || !self.parts.core.sender().is_streaming()
    }

    /// Publishes the status, a few times a second.
    fn publish_status(&mut self, now_ms: u64) {
        if now_ms < self.status_at_ms {
            return;
        }
        self.status_at_ms = now_ms + STATUS_MS;
        let core = &self.parts.core;
        let stranger = core.stranger();
        self.parts.link.send_if_modified(|link| match (&*link, stranger) {
            (LinkState::Up, Some(key)) => {
                *link = LinkState::Untrusted(format!(
                    "a collector answers with the key {key}, which this agent does not trust; if it is your \
                     collector's key, add: {}",
                    line_to_add(&key)
                ));
                true
            }
            (LinkState::Untrusted(_), None) => {
                *link = LinkState::Up;
                true
            }
            _ => false,
        });
        let held = core.ring().held();
        let waiting = held.iter().find(|held| held.first < held.end).copied();
        if waiting.is_none() || waiting.map(|held| (held.lane, held.first)) != self.progress.oldest {
            self.progress = AckProgress { oldest: waiting.map(|held| (held.lane, held.first)), at_ms: now_ms };
        }
        let held_former = core.ring().held_under_former_names();
        let events: u64 = held_former.iter().map(|(_, events)| events).sum();
        if events == 0 || events != self.former.0 {
            self.former = (events, now_ms);
        }
        let status = Status {
            ring: core.ring().status(),
            stalled_former_ms: now_ms - self.former.1,
            held_former,
            streaming: core.sender().is_streaming(),
            trouble: self.trouble.clone(),
            resealed: core.resealed(),
            rewound: core.rewound(),
            stalled_ms: now_ms - self.progress.at_ms,
            commits: core.durable_commits(),
            ignored: core.ignored(),
            stranger,
            held,
        };
        self.parts.status.send_replace(status);
    }
}
