//! The agent without threads, sockets or clocks: open batches, ring log and session in one piece.
//!
//! The writer thread drives it with real times and a real transport; the simulated plant drives the same code with
//! times, disks and networks of its own.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::disk::Disk;
use afferent_protocol::event::ResealReason;
use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::limits::{EVENT_BYTES_MAX, SUBJECT_BYTES_MAX};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Action, Control, Lane, Sender, SenderSettings};

use crate::limits::{DISK_RETRY_MS, OPEN_BATCH_BYTES_MAX, READ_RETRY_MS, READ_TRIES_MAX, RESEAL_STEPS_MAX};
use crate::ring_log::{AppendError, Known, OpenError, ReadError, Recovery, RingIdentity, RingLog, RingSettings};
use crate::sequencer::OpenBatches;

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
    /// Send what was put into the buffer, as one message.
    Message,
    /// Nothing before this time, or before something comes in.
    Wait {
        /// Milliseconds; `None` is for ever.
        until_ms: Option<u64>,
    },
    /// Close the connection and make another.
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
    sender: Sender,
    spare: BatchBuilder,
    /// Commits that wait for a disk that takes them.
    pending: [Option<Pending>; 2],
    retry_at_ms: Option<u64>,
    durable: [u64; 2],
    /// This run.
    instance: Instance,
    /// That of the open connection.
    nonce: Nonce,
    /// What the newest welcome over it brought.
    answer: Nonce,
    diverged: u64,
    undecodable: u64,
    look_ups: Vec<LookUp>,
    look_up_at_ms: u64,
}

/// A question of the session that the disk has not answered.
#[derive(Clone, Copy, Debug)]
struct LookUp {
    lane: Lane,
    end: Sequence,
    tries: u8,
}

impl<D: Disk> std::fmt::Debug for AgentCore<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCore").field("ring", &self.ring.status()).finish_non_exhaustive()
    }
}

impl<D: Disk> AgentCore<D> {
    /// Opens the ring log, and its witness in another directory. `entropy` gives random numbers, for new epochs and the
    /// session.
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
        let mut sender = Sender::new(settings.sender, session);
        sender.held(ring.held());
        let core = Self {
            ring,
            sender,
            spare: BatchBuilder::new(),
            pending: [None, None],
            retry_at_ms: None,
            durable: [0; 2],
            instance,
            nonce: Nonce::NONE,
            answer: Nonce::NONE,
            diverged: 0,
            undecodable: 0,
            look_ups: Vec::new(),
            look_up_at_ms: 0,
        };
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
        self.nonce
    }

    /// The session, to look at.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Numbers of the last durable commits, by [`Stream::number`].
    pub fn durable_commits(&self) -> [u64; 2] {
        self.durable
    }

    /// Lanes that were sealed again because the receiver had something else, since the start.
    pub fn diverged(&self) -> u64 {
        self.diverged
    }

    /// Messages from the transport that were none of the session's, since the start.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// When [`AgentCore::commit`] has something to do again without new events.
    pub fn retry_at_ms(&self) -> Option<u64> {
        self.retry_at_ms
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
            Ok(_) => {
                self.durable[at] = commit;
                self.sender.held(self.ring.held());
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

    /// Seals a little more of what is to be sealed again; what the disk does not take now comes with the next retry.
    fn reseal(&mut self, now: &Now) {
        for _ in 0..RESEAL_STEPS_MAX {
            match self.ring.reseal_step(&now.clock) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.retry_at_ms = Some(now.ms + DISK_RETRY_MS);
                    break;
                }
            }
        }
        self.sender.held(self.ring.held());
    }

    /// A clean stop: the ring's witness is on disk. Nothing is to be committed afterwards.
    pub fn finish(&mut self) {
        self.ring.finish();
    }

    /// Tries again what the disk refused, when it is time to.
    pub fn retry(&mut self, now: &Now) -> Committed {
        if self.retry_at_ms.is_none_or(|at_ms| now.ms < at_ms) {
            return Committed::default();
        }
        self.retry_at_ms = None;
        let refused = self.ring.retry(&now.clock).err();
        let mut committed = Committed::default();
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
        self.sender.held(self.ring.held());
        committed
    }

    fn troubled(&mut self, error: &AppendError, now: &Now) -> Committed {
        self.retry_at_ms = Some(now.ms + DISK_RETRY_MS);
        Committed { moved: false, trouble: Some(error.to_string().into()) }
    }

    /// The transport is connected, with this nonce.
    pub fn link_up(&mut self, nonce: Nonce) {
        (self.nonce, self.answer) = (nonce, Nonce::NONE);
        self.sender.held(self.ring.held());
        self.sender.link_up();
    }

    /// The transport is gone.
    pub fn link_down(&mut self) {
        self.sender.link_down();
    }

    /// A message came in.
    pub fn receive(&mut self, message: &[u8], now: &Now) {
        let who = self.ring.who();
        let said = Down::read(message).ok().and_then(|said| said.verify_own_key(&who.source));
        match said.filter(|down| down.nonce == self.nonce) {
            Some(down) => {
                self.answer = down.answer;
                self.sender.control(now.ms, &down.content);
            }
            None => self.undecodable += 1,
        }
    }

    /// A message of the session, signed.
    fn say(&self, control: Control, now: &Now) -> Vec<u8> {
        let who = self.ring.who();
        let up = Up {
            log_id: [0; 16],
            nonce: self.nonce,
            answer: self.answer,
            key: who.identity.public_key(),
            instance: self.instance,
            clock: now.clock,
            former: Vec::new(),
            content: UpContent::Control(control),
        };
        up.sign(&who.source, &who.identity)
    }

    /// Asks the disk what the session wants to know. A disk that does not answer says nothing about what is held: it is
    /// asked again, and then the receiver's word is taken, for a "no" would make the session give the lane up.
    fn look_up(&mut self, now: &Now) {
        if self.look_ups.is_empty() {
            return;
        }
        // What was given up since the question came is no contradiction, if only the session knows of it.
        self.sender.held(self.ring.held());
        for mut look_up in std::mem::take(&mut self.look_ups) {
            let LookUp { lane, end, tries } = look_up;
            match self.ring.check_at(lane, end) {
                Err(_) if tries < READ_TRIES_MAX => {
                    look_up.tries += 1;
                    self.look_ups.push(look_up);
                    self.look_up_at_ms = now.ms + READ_RETRY_MS;
                }
                Ok(Known::Check(check)) => self.sender.looked_up(now.ms, lane, end, Some(check)),
                Ok(Known::Absent) => self.sender.looked_up(now.ms, lane, end, None),
                Ok(Known::Damaged) | Err(_) => self.sender.cannot_tell(now.ms, lane, end),
            }
        }
    }

    /// Until when to wait, with what the disk is to be asked again.
    fn wait_until(&self, until_ms: Option<u64>) -> Option<u64> {
        if self.look_ups.is_empty() {
            return until_ms;
        }
        Some(until_ms.map_or(self.look_up_at_ms, |until_ms| until_ms.min(self.look_up_at_ms)))
    }

    /// What to send next; the message is put into `message`, whatever was in it before.
    pub fn poll(&mut self, now: &Now, message: &mut Vec<u8>) -> Outgoing {
        if self.look_up_at_ms <= now.ms {
            self.look_up(now);
        }
        if self.ring.resealing() && self.retry_at_ms.is_none() {
            self.reseal(now);
        }
        loop {
            message.clear();
            match self.sender.next(now.ms) {
                // What is sealed again is sent as it comes.
                Action::Wait { .. } if self.ring.resealing() && self.retry_at_ms.is_none() => {
                    return Outgoing::Wait { until_ms: Some(now.ms + 1) };
                }
                Action::Wait { until_ms } => return Outgoing::Wait { until_ms: self.wait_until(until_ms) },
                Action::Reconnect => return Outgoing::Reconnect,
                Action::Hello(hello) => {
                    message.extend_from_slice(&self.say(Control::Hello(hello), now));
                    return Outgoing::Message;
                }
                Action::Send { lane, from, bytes_max } => {
                    match self.ring.read(lane, from, bytes_max, &now.clock, message) {
                        Ok(batches) => {
                            batches.into_iter().for_each(|batch| self.sender.sent(now.ms, batch));
                            return Outgoing::Message;
                        }
                        // It is declared, and not held any more: the session goes on behind it.
                        Err(ReadError::Corrupt { .. }) => {}
                        // The disk does not answer, or takes no declaration. The other stream goes on meanwhile.
                        Err(_) => self.sender.unread(lane.stream, now.ms + READ_RETRY_MS),
                    }
                    self.sender.held(self.ring.held());
                }
                Action::LookUp { lane, end } => {
                    self.look_ups.retain(|look_up| look_up.lane != lane);
                    self.look_ups.push(LookUp { lane, end, tries: 0 });
                    self.look_up(now);
                }
                Action::Release { lane, end } => {
                    self.ring.release(lane, end);
                    self.sender.held(self.ring.held());
                }
                Action::Diverged { lane } => {
                    self.diverged += 1;
                    let from = self.sender.acked_end(lane).unwrap_or(Sequence::ZERO);
                    self.ring.reseal(lane, from, ResealReason::Diverged, &now.clock);
                    self.sender.held(self.ring.held());
                }
            }
        }
    }
}

/// Sixteen random bytes.
fn random(entropy: &mut dyn FnMut() -> u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&entropy().to_le_bytes());
    bytes[8..].copy_from_slice(&entropy().to_le_bytes());
    bytes
}
