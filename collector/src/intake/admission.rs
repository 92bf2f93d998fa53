//! What the writer thread needs of the core: so little that a test can stand in for it.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, SourceId};

use super::Presence;
use crate::core::{Answer, Core, NotOperated, NotSealed, Operation, Reason, Removal};
use crate::log::{CommitError, UnifiedLog};
use crate::posted::{NewEvent, Placed, PostRefusal};
use crate::sources::SourceView;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, or was there before: what it held is durable once this is told.
    Taken,
    /// Something of it was refused: damaged, forged, or not of this agent. It is counted with the agent's source.
    Refused,
    /// Its sender has another key than the one that its name is held to, so that nothing of it will ever be taken.
    OtherKey,
}

/// Judges messages and fills the log.
pub trait Admission: Send + 'static {
    /// The picture of the sources that readers get.
    type Sources: Clone + Send + Sync + 'static;
    /// Why a commit failed.
    type CommitError: fmt::Display;

    /// Judges a message of `agent`, to whom the connection belongs; what is taken goes into the next commit.
    fn receive(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Verdict;
    /// Gives posted events their places; they go into the next commit, and may have been there before. After a commit
    /// that failed this is asked once more, as for messages.
    fn post(&mut self, _events: &[NewEvent], _clock: &ClockReading) -> Result<Vec<Placed>, PostRefusal> {
        Err(PostRefusal::Broken("posted events are not taken here".to_owned()))
    }
    /// Says that retention is about to remove something; it may do so once the next commit is on disk. After a commit that
    /// failed this is asked once more.
    fn remove(&mut self, _removal: &Removal, _clock: &ClockReading) -> Result<(), NotSealed> {
        Err(NotSealed { sealed_until: Offset::ZERO })
    }
    /// Does what an operator says; it is in the log once the next commit is on disk. After a commit that failed this is
    /// asked once more.
    fn operate(&mut self, _operation: &Operation, _clock: &ClockReading) -> Result<(), NotOperated> {
        Err(NotOperated::Nowhere)
    }
    /// An agent came or went.
    fn link(&mut self, agent: SourceId, presence: Presence, clock: &ClockReading);
    /// Makes everything that was taken durable; gives the answers to send. After an error nothing that was
    /// received since the last commit counts: the same messages are passed to [`Admission::receive`] once more.
    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, Self::CommitError>;
    /// The last commit follows: what is to be said about that is said now.
    fn ending(&mut self, clock: &ClockReading);
    /// The first offset that is not on disk.
    fn durable_end(&self) -> Offset;
    /// The sources, as they are now.
    fn sources(&self) -> Self::Sources;
}

impl<L: UnifiedLog + Send + 'static> Admission for Core<L> {
    type Sources = Vec<SourceView>;
    type CommitError = CommitError;

    fn receive(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Verdict {
        match Core::receive(self, agent, payload, clock).refusal {
            None => Verdict::Taken,
            Some(refusal) => {
                tracing::debug!(%agent, reason = refusal.reason.name(), message = refusal.message, "refused");
                if refusal.reason == Reason::OtherKey { Verdict::OtherKey } else { Verdict::Refused }
            }
        }
    }

    fn post(&mut self, events: &[NewEvent], clock: &ClockReading) -> Result<Vec<Placed>, PostRefusal> {
        Core::post(self, events, clock)
    }

    fn remove(&mut self, removal: &Removal, clock: &ClockReading) -> Result<(), NotSealed> {
        Core::remove(self, removal, clock)
    }

    fn operate(&mut self, operation: &Operation, clock: &ClockReading) -> Result<(), NotOperated> {
        Core::operate(self, operation, clock)
    }

    fn link(&mut self, agent: SourceId, presence: Presence, clock: &ClockReading) {
        self.state(agent, presence == Presence::Online, clock);
    }

    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<Answer>, CommitError> {
        if self.is_pending() { Core::commit(self, clock) } else { Ok(Vec::new()) }
    }

    fn ending(&mut self, clock: &ClockReading) {
        Core::ending(self, clock);
    }

    fn durable_end(&self) -> Offset {
        Core::durable_end(self)
    }

    fn sources(&self) -> Vec<SourceView> {
        Core::sources(self).views()
    }
}
