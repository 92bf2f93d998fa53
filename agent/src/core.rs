//! The agent without threads, sockets or clocks: open batches, ring log and session in one piece.
//!
//! The writer thread drives it with real times and a real transport; the simulated plant drives the same code with
//! times, disks and networks of its own.

mod listen;
mod mend;
mod source_session;
mod talk;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::event::{Body, Event, LaneEnds, LifeCycle};
use afferent_protocol::ids::{SourceId, Stream, Subject};
use afferent_protocol::limits::{EVENT_BYTES_MAX, HEARTBEAT_BYTES_MAX, HEARTBEAT_LANES_MAX, SUBJECT_BYTES_MAX};
use afferent_protocol::session::signed::{Instance, Nonce};
use afferent_protocol::session::{Holding, Sender, SenderSettings};
use afferent_protocol::sign::PublicKey;

use crate::intake::sink::{Refusal, Ticket, Waiting};
use crate::keep::Kept;
use crate::limits::{DISK_RETRY_MS, FORMER_SESSIONS_MAX, OPEN_BATCH_BYTES_MAX};
use crate::ring_log::{AppendError, OpenError, Recovery, RingIdentity, RingLog, RingSettings};
use crate::sequencer::OpenBatches;
use crate::trust::{Trust, TrustSettings};
pub use listen::Ignored;
use listen::Memory;
use mend::Mending;
use source_session::SourceSession;

/// How a core goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreSettings {
    /// The ring log's.
    pub ring: RingSettings,
    /// The session's.
    pub sender: SenderSettings,
}

/// The time, twice.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward: for timeouts.
    pub ms: u64,
    /// What batches are stamped with.
    pub clock: ClockReading,
}

/// What the core wants of its transport.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Send what was put into the buffer, as one message, on the topic of this name.
    Message(SourceId),
    /// Nothing before this time, or before something comes in.
    Wait {
        /// Milliseconds; `None` is forever.
        until_ms: Option<u64>,
    },
    /// Close the connection and open a new one.
    Reconnect,
}

/// What a round of commits has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Whether the durable commits moved.
    pub moved: bool,
    /// Why the ring log could not be written.
    pub trouble: Option<Arc<str>>,
}

/// A commit that the disk has refused.
#[derive(Debug)]
struct Pending {
    commit: u64,
    /// The batch, when the ring log has not even sealed it; otherwise the ring log keeps its bytes.
    unsealed: Option<BatchBuilder>,
}

/// Ring log and session of one agent.
pub struct AgentCore<D: Disk> {
    ring: RingLog<D>,
    /// The agent's own name; while one of `others` speaks, that.
    current: SourceSession,
    /// Former names that the ring log holds events under.
    others: Vec<SourceSession>,
    former_warned_at_ms: Option<u64>,
    spare: BatchBuilder,
    /// Commits that wait for a disk that takes them.
    pending: [Option<Pending>; 2],
    retry_at_ms: Option<u64>,
    durable: [u64; 2],
    /// This run.
    instance: Instance,
    trust: Trust,
    memory: Memory,
    ignored: Ignored,
    /// The key of a collector that answers over this connection but is not trusted, while no trusted one answers.
    stranger: Option<PublicKey>,
    /// Whether it has answered since the session last gave up waiting.
    stranger_answers: bool,
    mending: Mending,
    released: u64,
}

impl<D: Disk> std::fmt::Debug for AgentCore<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCore").field("ring", &self.ring.status()).finish_non_exhaustive()
    }
}

impl<D: Disk> AgentCore<D> {
    /// Opens the ring log, and its witness in a different directory. `entropy` gives random numbers, for new epochs and
    /// the session.
    pub fn open(
        disk: D,
        witness: D,
        settings: CoreSettings,
        who: RingIdentity,
        clock: &ClockReading,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<(Self, Recovery), OpenError> {
        let session = entropy() as u32;
        let instance = Instance(random(entropy));
        let (ring, recovery) = RingLog::open(disk, witness, settings.ring, who, clock, entropy)?;
        let name = ring.who().source;
        let former = ring.held_under_former_names().into_iter().take(FORMER_SESSIONS_MAX);
        let others = former.map(|(former, _)| SourceSession::new(former, settings.sender, entropy() as u32)).collect();
        let mut core = Self {
            ring,
            current: SourceSession::new(name, settings.sender, session),
            others,
            former_warned_at_ms: None,
            spare: BatchBuilder::new(),
            pending: [None, None],
            retry_at_ms: None,
            durable: [0; 2],
            instance,
            trust: Trust::default(),
            memory: Memory::default(),
            ignored: Ignored::default(),
            stranger: None,
            stranger_answers: false,
            mending: Mending::default(),
            released: 0,
        };
        core.report_held();
        Ok((core, recovery))
    }

    /// Bytes at which an open batch is full, so that it fits a segment of the ring log with one event more.
    pub fn open_batch_bytes_max(&self) -> usize {
        let with_room = self.ring.batch_bytes_max().saturating_sub(EVENT_BYTES_MAX + SUBJECT_BYTES_MAX);
        OPEN_BATCH_BYTES_MAX.min(with_room)
    }

    /// The ring log, to look at.
    pub fn ring(&self) -> &RingLog<D> {
        &self.ring
    }

    /// What the open connection was made with.
    pub fn nonce(&self) -> Nonce {
        self.current.nonce
    }

    /// The session, to look at.
    pub fn sender(&self) -> &Sender {
        &self.current.sender
    }

    /// Numbers of the last durable commits, by [`Stream::number`].
    pub fn durable_commits(&self) -> [u64; 2] {
        self.durable
    }

    /// This run.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Takes what an earlier run has kept beside the ring log.
    pub fn remember(&mut self, kept: Kept) {
        self.memory.take(kept.receipt, kept.attestations);
        self.trust.pinned(kept.pins);
    }

    /// Believes these collectors from now on.
    pub fn trust(&mut self, settings: TrustSettings) {
        self.trust.set(settings);
    }

    /// Lanes that were sealed again because the receiver had something else, since the start.
    pub fn resealed(&self) -> u64 {
        self.mending.resealed
    }

    /// Lanes that went back because the receiver's log had been, since the start.
    pub fn rewound(&self) -> u64 {
        self.mending.rewound
    }

    /// Messages from the transport that did not count, since the start.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// The key of a collector that answers over this connection but is not trusted, while no trusted one answers.
    pub fn stranger(&self) -> Option<PublicKey> {
        self.stranger
    }

    /// How often the collector has made events durable that the agent then released, since the start.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// The line takes about so many bytes a second, as the transport has measured.
    pub fn line(&mut self, bytes_per_s: u64) {
        self.current.sender.line(bytes_per_s);
        self.others.iter_mut().for_each(|other| other.sender.line(bytes_per_s));
    }

    /// When [`AgentCore::retry`] has something to do without new events.
    pub fn retry_at_ms(&self) -> Option<u64> {
        let mending = self.is_mending().then_some(self.mending.at_ms);
        [self.retry_at_ms, mending].into_iter().flatten().min()
    }

    /// Whether the stream's batch waits for a disk that takes it; others must not be taken out meanwhile.
    pub fn is_pending(&self, stream: Stream) -> bool {
        self.pending[usize::from(stream.number())].is_some()
    }

    /// Commits a batch that [`OpenBatches::take`] gave under the number `commit`, and leaves the builder empty.
    pub fn commit(&mut self, stream: Stream, commit: u64, batch: &mut BatchBuilder, now: &Now) -> Committed {
        let at = usize::from(stream.number());
        assert!(self.pending[at].is_none(), "the batch before must be on disk first");
        match self.ring.append(stream, batch, &now.clock) {
            Ok(appended) => {
                assert_eq!(appended.lane.stream, stream, "a batch is written to the lane of its stream");
                assert!(appended.range.first < appended.range.end, "a commit moves the end of its lane");
                assert!(batch.is_empty(), "what is durable has left the open batch");
                assert!(commit > self.durable[at], "commits become durable in their order");
                self.durable[at] = commit;
                self.report_held();
                Committed { moved: true, trouble: None }
            }
            Err(error) => {
                let unsealed = (!batch.is_empty()).then(|| std::mem::take(batch));
                self.pending[at] = Some(Pending { commit, unsealed });
                self.troubled(&error, now)
            }
        }
    }

    /// Commits what is due of `open`, critical first; `all` commits what is not due yet as well.
    pub fn commit_due(&mut self, open: &mut OpenBatches, all: bool, now: &Now) -> Committed {
        let mut committed = self.retry(now);
        for stream in Stream::ALL {
            let due = open.due_ms(stream).is_some_and(|due_ms| all || due_ms <= now.ms);
            if !due || self.is_pending(stream) {
                continue;
            }
            let mut batch = std::mem::take(&mut self.spare);
            if let Some(commit) = open.take(stream, &mut batch) {
                let done = self.commit(stream, commit, &mut batch, now);
                committed.moved |= done.moved;
                committed.trouble = committed.trouble.or(done.trouble);
            }
            self.spare = batch;
        }
        committed
    }

    /// A clean stop: the ring's witness is on disk. Nothing may be committed afterwards.
    pub fn finish(&mut self) {
        self.ring.finish();
    }

    /// Says how far everything is that was accepted by now, in an event of the stream `critical`.
    pub fn heartbeat(&self, open: &mut OpenBatches, now: &Now) -> Result<Ticket, Refusal> {
        let mut ends = self.ring.lane_ends();
        // What is held, or written to, comes first.
        ends.truncate(HEARTBEAT_LANES_MAX);
        let mut bytes = [0; HEARTBEAT_BYTES_MAX];
        let lanes = LaneEnds::write(&ends, &mut bytes).expect("there is room for so many lanes");
        let subject = Subject::new(self.ring.who().source.as_str()).expect("a source's name is a subject");
        let body = Body::LifeCycle(LifeCycle::Heartbeat { instance: self.instance.0, lanes });
        open.push(&Event { time: now.clock.wall, subject, body }, Waiting::Nobody, now.ms)
    }

    /// Tries again what the disk refused, when it is time to.
    pub fn retry(&mut self, now: &Now) -> Committed {
        let moved = self.mend(now);
        let mut committed = Committed { moved, trouble: None };
        if self.retry_at_ms.is_none_or(|at_ms| now.ms < at_ms) {
            return committed;
        }
        self.retry_at_ms = None;
        let refused = self.ring.retry(&now.clock).err();
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            match self.pending[at].take() {
                None => {}
                // What one stream cannot write does not keep back what the other has written.
                Some(pending @ Pending { unsealed: None, .. }) if self.ring.is_pending(stream) => {
                    self.pending[at] = Some(pending);
                }
                Some(pending @ Pending { unsealed: Some(_), .. }) if refused.is_some() => {
                    self.pending[at] = Some(pending);
                }
                Some(Pending { commit, unsealed: None }) => {
                    assert!(commit > self.durable[at], "commits become durable in their order");
                    self.durable[at] = commit;
                    committed.moved = true;
                }
                Some(Pending { commit, unsealed: Some(mut batch) }) => {
                    let done = self.commit(stream, commit, &mut batch, now);
                    committed.moved |= done.moved;
                    committed.trouble = committed.trouble.or(done.trouble);
                }
            }
        }
        if let Some(error) = refused {
            committed.trouble = self.troubled(&error, now).trouble;
        }
        self.report_held();
        committed
    }

    fn troubled(&mut self, error: &AppendError, now: &Now) -> Committed {
        self.retry_at_ms = Some(now.ms + DISK_RETRY_MS);
        Committed { moved: false, trouble: Some(error.to_string().into()) }
    }

    /// The transport is connected, with this nonce. Each former name has one of its own that follows from it.
    pub fn link_up(&mut self, nonce: Nonce) {
        self.stranger = None;
        self.memory.is_shown_at = None;
        self.current.link_up(nonce);
        for (at, other) in self.others.iter_mut().enumerate() {
            let mut nonce = nonce;
            nonce.0[0] ^= at as u8 + 1;
            other.link_up(nonce);
        }
        self.report_held();
    }

    /// The transport is gone.
    pub fn link_down(&mut self) {
        self.stranger = None;
        self.current.link_down();
        self.others.iter_mut().for_each(SourceSession::link_down);
    }

    /// Reports to the session what the ring log holds now.
    fn report_held(&mut self) {
        let Self { ring, current: SourceSession { name, sender, .. }, .. } = self;
        let held = if *name == ring.who().source { ring.held() } else { ring.held_under(name) };
        let holdings = held.into_iter().map(|held| Holding {
            lane: held.lane,
            oldest: ring.oldest(held.lane),
            first: held.first,
            end: held.end,
        });
        sender.held(holdings);
    }
}

/// Sixteen random bytes.
fn random(entropy: &mut dyn FnMut() -> u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&entropy().to_le_bytes());
    bytes[8..].copy_from_slice(&entropy().to_le_bytes());
    bytes
}
