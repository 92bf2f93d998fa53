//! Admission: every payload is checked, and each of its batches is refused, kept back, or appended to the log.
//!
//! It has no clock and no socket. The writer thread passes payloads and times in ([`Core::receive`]), decides when to
//! commit ([`Core::commit`]), and sends the answers.
//!
//! What must hold:
//! - Nothing is acked that is not on disk. What a failed commit had accepted is forgotten, and comes again.
//! - A batch is appended where its lane ends in the log, without a hole that no event of the log names.
//! - Every payload costs a bounded amount of memory, and no panic.

mod admit;
mod answer;
mod attest;
mod challenge;
mod clocks;
mod commit;
mod early;
mod gaps;
mod hello;
mod names;
mod notice;
mod operate;
mod own;
mod pieces;
mod post;
#[cfg(test)]
mod proof_tests;
mod questions;
mod receipt;
mod refusal;
mod removal;
mod sessions;
mod state;
mod term;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use notice::Notice;
pub use operate::{NotOperated, Operation};
pub use questions::{AgentQuestion, common};
pub use receipt::Receipt;
pub use refusal::{Reason, Refusal};
pub use removal::{NotAttested, Removal, RemovalKind};
pub use sessions::MessageConnection;
pub use term::Troubles;

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::batch::{ClockReading, split};
use afferent_protocol::endorsement::ENDORSEMENT_LEN;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Timestamp};
use afferent_protocol::limits::MESSAGE_PAYLOAD_BYTES_MAX;
use afferent_protocol::piece;
use afferent_protocol::session::signed::{Instance, Nonce, is_signed};
use afferent_protocol::session::{Control, Lane};
use afferent_protocol::sign::Identity;

use crate::log::{Recovery, UnifiedLog};
use crate::posted::{EventKey, NoPostedIds, PostedIds};
use crate::shares::ClientAddress;
use crate::sources::{ChangedSource, LinkState, Sources};
use challenge::Challenges;
use clocks::Clocks;
use early::Early;
use gaps::Gaps;
use hello::PendingHello;
use names::NewNames;
use own::OwnEvents;
use pieces::Pieces;
use refusal::RefusedEvents;
use sessions::Sessions;

/// The collector as a source of events.
#[derive(Clone, Debug)]
pub struct OwnIdentity {
    /// Its name: `collector` unless configured. No agent can have that name.
    pub source: SourceId,
    /// Its key pair.
    pub identity: Identity,
    /// A random number: the epoch to begin when the log's last one cannot be continued.
    pub epoch: Epoch,
    /// Secret random bytes for the challenges that agents answer.
    pub challenge: [u8; 32],
    /// Endorsements that lead from earlier keys to its key, as far as the log may not know them yet.
    pub endorsements: Vec<[u8; ENDORSEMENT_LEN]>,
}

/// When the transport may confirm a message (PUBACK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// At once: nothing of it goes to the log.
    Now,
    /// After the next commit that succeeds; never when that commit fails.
    AfterCommit,
}

/// The outcome of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When the transport may confirm it.
    pub confirm: Confirm,
    /// Appended batches, including those that had been kept back until now.
    pub accepted: u32,
    /// Batches that the log already held.
    pub duplicates: u32,
    /// Batches that came too early and are kept back, or dropped when there is no room: they come again.
    pub early: u32,
    /// The first refusal.
    pub refusal: Option<Refusal>,
    /// The run of the agent that has proved its key with it.
    pub proved: Option<Instance>,
}

/// Sender, connection and arrival of a message.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    /// The agent on whose topic it came.
    agent: SourceId,
    /// Its connection; `None` through a broker.
    connection: Option<MessageConnection>,
    clock: &'a ClockReading,
}

impl Origin<'_> {
    /// The name that the connection is tied to, where that differs from the topic's.
    fn guest(&self) -> Option<SourceId> {
        self.connection.and_then(|connection| connection.name).filter(|name| *name != self.agent)
    }

    /// The client address of the connection; `None` through a broker.
    fn address(&self) -> Option<ClientAddress> {
        self.connection.and_then(|connection| connection.peer).map(|peer| ClientAddress::of(peer.ip()))
    }

    /// Whether a login or a certificate vouches for the name.
    fn is_vouched(&self) -> bool {
        self.guest().is_none() && self.connection.is_some_and(|connection| connection.is_vouched)
    }

    /// The source that a refusal is counted for: a guest's refusals count for the guest, not for the name that it has
    /// taken.
    fn speaker(&self) -> SourceId {
        self.guest().unwrap_or(self.agent)
    }
}

/// Admission, and the log that it appends to.
pub struct Core<L: UnifiedLog> {
    log: L,
    sources: Sources,
    own: OwnEvents,
    early: Early,
    pieces: Pieces,
    /// Lanes to ack once everything is on disk.
    acks: BTreeSet<(SourceId, Lane)>,
    /// Lanes to nack for what is missing.
    nacks: BTreeMap<(SourceId, Lane), Sequence>,
    /// Hellos to answer once everything is on disk.
    hellos: BTreeMap<(SourceId, Nonce), PendingHello>,
    sessions: Sessions,
    challenges: Challenges,
    clocks: Clocks,
    names: NewNames,
    gaps: Gaps,
    /// Questions that must be answered from the log.
    questions: Vec<AgentQuestion>,
    /// Answers to questions.
    common: BTreeMap<(SourceId, Nonce), Control>,
    /// Ranges that agents must send once more.
    again: Vec<(SourceId, Nonce, Control)>,
    refused_events: RefusedEvents,
    posted_ids: Box<dyn PostedIds>,
    /// Posted events that are not yet on disk.
    posted: BTreeMap<EventKey, Offset>,
    /// Whether the term is in the log.
    is_begun: bool,
    /// Whether the outcome of a commit is unknown: then the log must be reopened, and a new core built from what that
    /// finds.
    is_lost: bool,
    /// Ingest time of the last entry that the log held when it was opened.
    opened_at: Timestamp,
    troubles: Troubles,
}

impl<L: UnifiedLog> Core<L> {
    /// Starts admission over a log that was just opened, and the sources that were rebuilt from it.
    ///
    /// # Panics
    /// When `sources` was made for a different collector name.
    pub fn new(log: L, sources: Sources, own: OwnIdentity, recovery: &Recovery, clock: &ClockReading) -> Self {
        let (mut log, mut sources) = (log, sources);
        let opened_at = sources.last_stamp();
        let mut troubles = Troubles::default();
        Self::report_holes(recovery, &mut troubles);
        let challenges = Challenges::new(own.challenge);
        let endorsements = own.endorsements.clone();
        let own = OwnEvents::new(own, &mut sources, recovery, clock);
        term::draw(&mut log, &mut sources);
        // The collector has no connection to itself; it counts as connected as long as it runs.
        if let Some(source) = sources.get_or_add(own.source()) {
            source.linked(LinkState::Online, clock.wall);
        }
        let mut core = Self {
            log,
            sources,
            own,
            early: Early::default(),
            pieces: Pieces::default(),
            acks: BTreeSet::new(),
            nacks: BTreeMap::new(),
            hellos: BTreeMap::new(),
            sessions: Sessions::default(),
            challenges,
            clocks: Clocks::default(),
            names: NewNames::default(),
            gaps: Gaps::default(),
            questions: Vec::new(),
            common: BTreeMap::new(),
            again: Vec::new(),
            refused_events: RefusedEvents::default(),
            posted_ids: Box::new(NoPostedIds),
            posted: BTreeMap::new(),
            is_begun: false,
            is_lost: false,
            opened_at,
            troubles,
        };
        for endorsement in endorsements {
            if !core.sources.knows(&endorsement) {
                core.record(Notice::KeyEndorsed { endorsement }, clock);
            }
        }
        core
    }

    /// Takes posted events from now on, each of them once, by these ids.
    pub fn with_posted_ids(self, posted_ids: Box<dyn PostedIds>) -> Self {
        Self { posted_ids, ..self }
    }

    /// Takes the payload of one message that came on the topic of `agent`, over this connection, which is already tied
    /// to the agent's name; `None` through a broker.
    pub fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<MessageConnection>,
        clock: &ClockReading,
    ) -> Received {
        let (confirm, refusal, proved) = (Confirm::Now, None, None);
        let mut received = Received { confirm, accepted: 0, duplicates: 0, early: 0, refusal, proved };
        let origin = Origin { agent, connection, clock };
        if let Err(refusal) = self.take(origin, payload, &mut received) {
            self.refuse(origin.speaker(), &refusal, clock);
            received.refusal = Some(refusal);
        }
        received
    }

    fn take(&mut self, origin: Origin<'_>, payload: &[u8], received: &mut Received) -> Result<(), Refusal> {
        assert!(self.is_begun, "a term begins before anything is taken");
        assert!(!self.is_lost, "after a commit of unknown outcome the log is reopened");
        let agent = origin.agent;
        if agent == self.own.source() {
            return Err(Refusal::own_name(&agent));
        }
        if payload.is_empty() || payload.len() > MESSAGE_PAYLOAD_BYTES_MAX {
            return Err(Refusal::size(payload.len()));
        }
        if is_signed(payload) {
            received.proved = self.take_control(origin, payload)?;
            return Ok(());
        }
        if piece::is_piece(payload) {
            return self.take_piece(origin, payload, received);
        }
        // A refused batch does not stop those behind it; only bytes that are no batch end the message.
        let mut first = Ok(());
        for batch in split(payload) {
            let result = batch.map_err(Refusal::from).and_then(|batch| self.admit(origin, &batch, received));
            match (&first, result) {
                (Ok(()), result) => first = result,
                (Err(_), Err(refusal)) => self.refuse(origin.speaker(), &refusal, origin.clock),
                (Err(_), Ok(())) => {}
            }
        }
        first
    }

    /// Counts a refusal, and logs it unless the same was logged lately.
    fn refuse(&mut self, agent: SourceId, refusal: &Refusal, clock: &ClockReading) {
        self.note_refused_name(agent, refusal.reason);
        self.sources.refused(&agent, refusal.reason);
        if refusal.reason.becomes_event() && self.refused_events.is_due(agent, refusal.reason, clock.monotonic_us) {
            if refusal.reason == Reason::OtherKey {
                tracing::warn!("the collector refuses an agent: {}", refusal.message);
            }
            self.own.queue(Notice::Refused { source: agent, reason: refusal.message.clone() }, clock);
        }
    }

    /// The collector stops on purpose: logs that, and attests what is in the log with the commits that follow.
    pub fn ending(&mut self, clock: &ClockReading) {
        self.own.ending();
        self.own.queue(Notice::Stopped { reason: "it was told to".to_owned() }, clock);
    }

    /// Whether a commit has anything to do: something to write, or something to answer. It stays true after a failed
    /// commit: wait a while before the next one.
    pub fn is_pending(&self) -> bool {
        let answers =
            !self.acks.is_empty() || !self.nacks.is_empty() || !self.hellos.is_empty() || !self.common.is_empty();
        let answers = answers || !self.again.is_empty();
        answers || self.log.buffered_bytes() > 0 || self.own.is_pending() || self.log.has_damage()
    }

    /// Whether the outcome of a commit is unknown: the core takes nothing any more, and the log must be reopened.
    pub fn is_lost(&self) -> bool {
        self.is_lost
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

    /// The state of every source.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The sources that have changed since the last call, as they are now.
    pub fn take_changed(&mut self) -> Vec<ChangedSource> {
        self.sources.take_changed()
    }
}
