//! What the writer thread needs of the core: so little that a test can stand in for it.

use std::fmt;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::Control;

use super::LinkState;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, or was there before: what it held is durable once this is told.
    Taken,
    /// Something of it was refused: damaged, forged, or not of this agent. It is counted with the agent's source.
    Refused,
}

/// Judges messages and fills the log.
pub trait Admission: Send + 'static {
    /// The picture of the sources that readers get.
    type Sources: Clone + Send + Sync + 'static;
    /// Why a commit failed.
    type CommitError: fmt::Display;

    /// Judges a message of `agent`, to whom the connection belongs; what is taken goes into the next commit.
    fn receive(&mut self, agent: SourceId, payload: &[u8], clock: &ClockReading) -> Verdict;
    /// An agent came or went.
    fn link(&mut self, agent: SourceId, state: LinkState, clock: &ClockReading);
    /// Makes everything that was taken durable; gives the answers to send. After an error nothing is durable, and the
    /// next commit tries the same again.
    fn commit(&mut self, clock: &ClockReading) -> Result<Vec<(SourceId, Control)>, Self::CommitError>;
    /// The first offset that is not on disk.
    fn durable_end(&self) -> Offset;
    /// The sources, as they are now.
    fn sources(&self) -> Self::Sources;
}
