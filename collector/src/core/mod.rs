//! Admission: every payload is checked, and each of its batches refused, kept back, or appended to the log.
//!
//! It has no clock and no socket. The writer thread passes payloads and times in ([`Core::receive`]), decides when to
//! commit ([`Core::commit`]), and carries the answers away.

mod notice;
mod refusal;

pub use notice::Notice;
pub use refusal::{Reason, Refusal};

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Epoch, Offset, SourceId};
use afferent_protocol::session::Control;
use afferent_protocol::sign::Identity;

use crate::log::{CommitError, Recovery, UnifiedLog};
use crate::sources::Sources;

/// Who the collector itself is, as a source of events.
#[derive(Clone, Debug)]
pub struct OwnIdentity {
    /// Its name: `collector` unless configured. No agent can have it.
    pub source: SourceId,
    /// Its key pair.
    pub identity: Identity,
    /// A random number: the epoch to begin when the log's last one cannot be continued.
    pub epoch: Epoch,
}

/// When the transport may confirm a message (PUBACK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// At once: nothing of it goes to the log.
    Now,
    /// After the next commit that succeeds; not at all when that fails.
    AfterCommit,
}

/// What became of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When to confirm it.
    pub confirm: Confirm,
    /// Batches that were appended, those included that had been kept back until now.
    pub accepted: u32,
    /// Batches that were there already.
    pub duplicates: u32,
    /// Batches that came before their turn and are kept back (or dropped when there is no room: they come again).
    pub early: u32,
    /// The first thing that was refused.
    pub refusal: Option<Refusal>,
}

/// Admission, with the log behind it.
pub struct Core<L: UnifiedLog> {
    log: L,
    sources: Sources,
}

impl<L: UnifiedLog> Core<L> {
    /// Over a log that was just opened, and the sources that were rebuilt from it.
    pub fn new(log: L, sources: Sources, own: OwnIdentity, recovery: &Recovery, clock: &ClockReading) -> Self {
        let _ = (own, recovery, clock);
        Self { log, sources }
    }

    /// Takes the payload of one message that came on the topic of `agent`, which is already tied to its connection.
    pub fn receive(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Received {
        let _ = (agent, payload, clock);
        unimplemented!()
    }

    /// The agent's state topic says that it came or went.
    pub fn state(&mut self, agent: SourceId, online: bool, clock: &ClockReading) {
        let _ = (agent, online, clock);
    }

    /// Something about the collector itself that is to stand in the log.
    pub fn tell(&mut self, notice: Notice, clock: &ClockReading) {
        let _ = (notice, clock);
    }

    /// Makes durable what was accepted, answers hellos, and gives the messages to send. After an error nothing since the
    /// last commit counts: no message that waits for it may be confirmed.
    pub fn commit(&mut self, clock: &ClockReading) -> Result<Vec<(SourceId, Control)>, CommitError> {
        let _ = clock;
        unimplemented!()
    }

    /// Whether a commit has anything to do: something to write, or something to answer.
    pub fn is_pending(&self) -> bool {
        unimplemented!()
    }

    /// Bytes that wait for a commit; see [`crate::limits::COMMIT_BYTES_MAX`].
    pub fn buffered_bytes(&self) -> usize {
        self.log.buffered_bytes()
    }

    /// The first offset that is not durable.
    pub fn durable_end(&self) -> Offset {
        self.log.durable_end()
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// What is known of every source.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }
}
