//! The part of the core that the writer thread uses: so small that tests can replace it.

use std::collections::BTreeSet;
use std::fmt;

use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::Resume;
use afferent_protocol::session::signed::{Instance, Nonce};

use crate::core::{
    AgentQuestion, Answer, Core, MessageConnection, NotAttested, NotOperated, Operation, Reason, Refusal, Removal,
    Troubles,
};
use crate::log::{CommitError, UnifiedLog};
use crate::posted::{NewEvent, PostRefusal, PostedAt};
use crate::sources::ChangedSource;

/// The bytes of an attestation.
pub type AttestationBytes = [u8; ATTESTATION_LEN];

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It was taken, or the log held it before: its events are durable once the sender receives this.
    Taken,
    /// Some of it was refused: damaged, forged, or not of this agent. The refusal counts for the agent's source.
    Refused,
    /// It was taken, and its sender has proved the key of this run of the agent.
    Proved(Instance),
    /// Its sender has a different key than its name is held to, so nothing of it will ever be taken.
    OtherKey,
    /// It is refused for now, and may be taken later.
    Later,
}

/// Checks messages and fills the log.
pub trait Admission: Send + 'static {
    /// Why a commit failed.
    type CommitError: fmt::Display;

    /// Begins the log's term; nothing is taken before. Call it again after an error.
    fn begin(&mut self, _clock: &ClockReading) -> Result<(), Self::CommitError> {
        Ok(())
    }
    /// Whether there is something to commit although nothing has come.
    fn is_due(&self, _clock: &ClockReading) -> bool {
        false
    }
    /// The newest attestation that is on disk.
    fn newest_attestation(&self) -> Option<AttestationBytes> {
        None
    }
    /// The log's troubles in words, by kind.
    fn troubles(&self) -> Troubles {
        Troubles::default()
    }
    /// Checks a message of `agent`, which owns the connection; what is taken goes into the next commit. The refusal
    /// names the reason.
    fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<MessageConnection>,
        clock: &ClockReading,
    ) -> Result<Admitted, Refusal>;
    /// Returns the addresses of posted events; they go into the next commit, unless the log holds them already. Call it
    /// again after a failed commit, as for messages.
    fn post(&mut self, _events: &[NewEvent], _clock: &ClockReading) -> Result<Vec<PostedAt>, PostRefusal> {
        Err(PostRefusal::Broken("this collector does not accept posted events".to_owned()))
    }
    /// Announces a removal of retention, which may make it once the next commit is on disk. Call it again after a
    /// failed commit.
    fn remove(&mut self, _removal: &Removal, _clock: &ClockReading) -> Result<(), NotAttested> {
        Err(NotAttested { attested_until: Offset::ZERO })
    }
    /// Carries out an operator's decision; it is in the log once the next commit is on disk. Call it again after a
    /// failed commit.
    fn operate(&mut self, _operation: &Operation, _clock: &ClockReading) -> Result<(), NotOperated> {
        Err(NotOperated::Nowhere)
    }
    /// A message came on the agent's state topic.
    fn state(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Result<Admitted, Refusal>;
    /// A connection of the agent has ended.
    fn closed(&mut self, agent: SourceId, connection: u64, clock: &ClockReading);
    /// Questions of agents that must be answered from the log.
    fn take_questions(&mut self) -> Vec<AgentQuestion> {
        Vec::new()
    }
    /// The answer to such a question.
    fn answer_question(&mut self, _agent: SourceId, _nonce: Nonce, _found: Resume) {}
    /// The names that were dropped for others since the last call.
    fn take_dropped_names(&mut self) -> BTreeSet<SourceId> {
        BTreeSet::new()
    }
    /// Makes everything that was taken durable; returns the answers to send. After an error nothing since the last
    /// commit counts: the same messages are passed to [`Admission::receive`] again.
    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, Self::CommitError>;
    /// Whether the outcome of a commit is unknown, so that the core takes nothing until the log is reopened.
    fn is_lost(&self) -> bool {
        false
    }
    /// The last commit follows: queues the events about the stop.
    fn ending(&mut self, clock: &ClockReading);
    /// The first offset that is not on disk.
    fn durable_end(&self) -> Offset;
    /// The sources that have changed since the last call, as they are now. Its cost does not grow with the number of
    /// the others.
    fn take_changed(&mut self) -> Vec<ChangedSource> {
        Vec::new()
    }
}

impl<L: UnifiedLog + Send + 'static> Admission for Core<L> {
    type CommitError = CommitError;

    fn begin(&mut self, clock: &ClockReading) -> Result<(), CommitError> {
        Core::begin(self, clock)
    }

    fn is_due(&self, clock: &ClockReading) -> bool {
        Core::is_due(self, clock)
    }

    fn newest_attestation(&self) -> Option<AttestationBytes> {
        Core::newest_attestation(self)
    }

    fn troubles(&self) -> Troubles {
        Core::troubles(self).clone()
    }

    fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<MessageConnection>,
        clock: &ClockReading,
    ) -> Result<Admitted, Refusal> {
        let received = Core::receive(self, agent, payload, connection, clock);
        match (received.refusal, received.proved) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(instance)) => Ok(Admitted::Proved(instance)),
            (None, None) => Ok(Admitted::Taken),
        }
    }

    fn post(&mut self, events: &[NewEvent], clock: &ClockReading) -> Result<Vec<PostedAt>, PostRefusal> {
        Core::post(self, events, clock)
    }

    fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotAttested> {
        Core::remove(self, removal, clock)
    }

    fn operate(&mut self, operation: &Operation, clock: &ClockReading) -> Result<(), NotOperated> {
        Core::operate(self, operation, clock)
    }

    fn state(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Result<Admitted, Refusal> {
        Core::state(self, agent, payload, clock).map(|()| Admitted::Taken)
    }

    fn closed(&mut self, agent: SourceId, connection: u64, clock: &ClockReading) {
        Core::closed(self, agent, connection, clock);
    }

    fn take_questions(&mut self) -> Vec<AgentQuestion> {
        Core::take_questions(self)
    }

    fn take_dropped_names(&mut self) -> BTreeSet<SourceId> {
        Core::take_dropped_names(self)
    }

    fn answer_question(&mut self, agent: SourceId, nonce: Nonce, found: Resume) {
        self.found_common(agent, nonce, found);
    }

    fn is_lost(&self) -> bool {
        Core::is_lost(self)
    }

    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, CommitError> {
        if self.is_pending() || Core::is_due(self, clock) { Core::commit(self, clock) } else { Ok(Vec::new()) }
    }

    fn ending(&mut self, clock: &ClockReading) {
        Core::ending(self, clock);
    }

    fn durable_end(&self) -> Offset {
        Core::durable_end(self)
    }

    fn take_changed(&mut self) -> Vec<ChangedSource> {
        Core::take_changed(self)
    }
}

impl From<&Refusal> for Admitted {
    fn from(refusal: &Refusal) -> Self {
        match refusal.reason {
            Reason::OtherKey => Self::OtherKey,
            Reason::FirstContacts => Self::Later,
            _ => Self::Refused,
        }
    }
}
