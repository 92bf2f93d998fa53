//! What the writer thread needs of the core: so little that a test can stand in for it.

use std::collections::BTreeSet;
use std::fmt;

use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::Resume;
use afferent_protocol::session::signed::{Instance, Nonce};

use crate::core::{
    Answer, Connection, Core, NotAttested, NotOperated, Operation, Question, Reason, Refusal, Removal, Troubles,
};
use crate::log::{CommitError, UnifiedLog};
use crate::posted::{NewEvent, Placed, PostRefusal};
use crate::sources::ChangedSource;

/// The bytes of an attestation.
pub type Statement = [u8; ATTESTATION_LEN];

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, or was there before: what it held is durable once this is told.
    Taken,
    /// Something of it was refused: damaged, forged, or not of this agent. It is counted with the agent's source.
    Refused,
    /// It was taken, and its sender has proved to be this run of the agent.
    Proved(Instance),
    /// Its sender has another key than the one that its name is held to, so that nothing of it will ever be taken.
    OtherKey,
    /// It is refused for now, and may be taken later.
    Later,
}

/// Judges messages and fills the log.
pub trait Admission: Send + 'static {
    /// Why a commit failed.
    type CommitError: fmt::Display;

    /// Begins the log's term; nothing is taken before. After an error it is asked once more.
    fn begin(&mut self, _clock: &ClockReading) -> Result<(), Self::CommitError> {
        Ok(())
    }
    /// Whether there is something to commit although nothing has come.
    fn is_due(&self, _clock: &ClockReading) -> bool {
        false
    }
    /// The newest attestation that is on disk.
    fn newest_attestation(&self) -> Option<Statement> {
        None
    }
    /// What is wrong with the log, by kind, in words.
    fn troubles(&self) -> Troubles {
        Troubles::default()
    }
    /// Judges a message of `agent`, to whom the connection belongs; what is taken goes into the next commit. A refusal
    /// says why something of it was refused.
    fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<Connection>,
        clock: &ClockReading,
    ) -> Result<Verdict, Refusal>;
    /// Gives posted events their places; they go into the next commit, and may have been there before. After a commit
    /// that failed this is asked once more, as for messages.
    fn post(&mut self, _events: &[NewEvent], _clock: &ClockReading) -> Result<Vec<Placed>, PostRefusal> {
        Err(PostRefusal::Broken("posted events are not taken here".to_owned()))
    }
    /// Says that retention is about to remove something; it may do so once the next commit is on disk. After a commit that
    /// failed this is asked once more.
    fn remove(&mut self, _removal: &Removal, _clock: &ClockReading) -> Result<(), NotAttested> {
        Err(NotAttested { attested_until: Offset::ZERO })
    }
    /// Does what an operator says; it is in the log once the next commit is on disk. After a commit that failed this is
    /// asked once more.
    fn operate(&mut self, _operation: &Operation, _clock: &ClockReading) -> Result<(), NotOperated> {
        Err(NotOperated::Nowhere)
    }
    /// A message came on the agent's state topic.
    fn state(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Result<Verdict, Refusal>;
    /// A connection of the agent has ended.
    fn closed(&mut self, agent: SourceId, connection: u64, clock: &ClockReading);
    /// Questions of agents that the log is to be read for.
    fn take_questions(&mut self) -> Vec<Question> {
        Vec::new()
    }
    /// The answer to one of them.
    fn found(&mut self, _agent: SourceId, _nonce: Nonce, _found: Resume) {}
    /// The names that gave way to others since this was asked last.
    fn take_gave_way(&mut self) -> BTreeSet<SourceId> {
        BTreeSet::new()
    }
    /// Makes everything that was taken durable; gives the answers to send. After an error nothing that was
    /// received since the last commit counts: the same messages are passed to [`Admission::receive`] once more.
    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, Self::CommitError>;
    /// Whether the outcome of a commit is unknown, so that nothing can be taken until the log is reopened.
    fn is_lost(&self) -> bool {
        false
    }
    /// The last commit follows: what is to be said about that is said now.
    fn ending(&mut self, clock: &ClockReading);
    /// The first offset that is not on disk.
    fn durable_end(&self) -> Offset;
    /// The sources that have changed since this was called last, as they are now. What it costs does not grow with the
    /// number of the others.
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

    fn newest_attestation(&self) -> Option<Statement> {
        Core::newest_attestation(self)
    }

    fn troubles(&self) -> Troubles {
        Core::troubles(self).clone()
    }

    fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<Connection>,
        clock: &ClockReading,
    ) -> Result<Verdict, Refusal> {
        let received = Core::receive(self, agent, payload, connection, clock);
        match (received.refusal, received.proved) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(instance)) => Ok(Verdict::Proved(instance)),
            (None, None) => Ok(Verdict::Taken),
        }
    }

    fn post(&mut self, events: &[NewEvent], clock: &ClockReading) -> Result<Vec<Placed>, PostRefusal> {
        Core::post(self, events, clock)
    }

    fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotAttested> {
        Core::remove(self, removal, clock)
    }

    fn operate(&mut self, operation: &Operation, clock: &ClockReading) -> Result<(), NotOperated> {
        Core::operate(self, operation, clock)
    }

    fn state(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Result<Verdict, Refusal> {
        Core::state(self, agent, payload, clock).map(|()| Verdict::Taken)
    }

    fn closed(&mut self, agent: SourceId, connection: u64, clock: &ClockReading) {
        Core::closed(self, agent, connection, clock);
    }

    fn take_questions(&mut self) -> Vec<Question> {
        Core::take_questions(self)
    }

    fn take_gave_way(&mut self) -> BTreeSet<SourceId> {
        Core::take_gave_way(self)
    }

    fn found(&mut self, agent: SourceId, nonce: Nonce, found: Resume) {
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

impl From<&Refusal> for Verdict {
    fn from(refusal: &Refusal) -> Self {
        match refusal.reason {
            Reason::OtherKey => Self::OtherKey,
            Reason::FirstContacts => Self::Later,
            _ => Self::Refused,
        }
    }
}
