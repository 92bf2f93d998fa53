//! From the sockets to the log: a bounded queue, and the one thread that writes.
//!
//! A reader of messages (a connection of the endpoint, the client of a broker) first asks for [`Intake::room`] and
//! waits for it; while it waits it reads no further, so that a slow disk pushes back on the sockets. The message's
//! [`Done`] is notified once the commit that holds it is on disk.

mod admission;
mod health;
mod outbox;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Resume;
use afferent_protocol::session::signed::Nonce;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use admission::{Admission, Admitted, AttestationBytes};
pub use health::{AgentAccess, Counter, Counters, Health, Storage};
pub use outbox::Outbox;
pub use writer::{WriterError, WriterThread, WriterViews, spawn};

use crate::core::{MessageConnection, NotAttested, NotOperated, Operation, Removal};
use crate::limits::{INTAKE_BYTES_MAX, INTAKE_MESSAGES_MAX};
use crate::posted::{NewEvent, PostRefusal, PostedAt};
use crate::turns::{Commits, Pending};

/// Content of a handed-over item.
#[derive(Debug)]
pub enum IncomingContent {
    /// A message of an agent's `up` topic.
    Message {
        /// The payload of the message.
        payload: Bytes,
        /// The endpoint's connection that it came over.
        connection: Option<MessageConnection>,
    },
    /// Events that were posted over HTTP.
    Post {
        /// The events, checked.
        events: Vec<NewEvent>,
        /// Receives their addresses, once they are on disk.
        to: oneshot::Sender<Result<Vec<PostedAt>, PostRefusal>>,
    },
    /// Retention is about to remove something.
    Remove {
        /// The removal.
        removal: Removal,
        /// Receives the permission, once the removal is in the log and on disk.
        to: oneshot::Sender<Result<(), NotAttested>>,
    },
    /// An operator's decision about a source.
    Operate {
        /// The decision.
        operation: Operation,
        /// Is notified once the decision is in the log and on disk.
        to: oneshot::Sender<Result<(), NotOperated>>,
    },
    /// A message of an agent's `state` topic, through a broker.
    State {
        /// The payload of the message.
        payload: Bytes,
    },
    /// A connection of an agent has ended.
    Closed {
        /// Its number.
        connection: u64,
    },
    /// The answer to an agent's question.
    Found {
        /// The nonce of the connection that the question came over.
        nonce: Nonce,
        /// The answer.
        found: Resume,
    },
}

impl IncomingContent {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message { payload, .. } | Self::State { payload } => payload.len(),
            Self::Post { events, .. } => events.iter().map(NewEvent::bytes).sum(),
            Self::Closed { .. } | Self::Found { .. } | Self::Remove { .. } | Self::Operate { .. } => 0,
        }
    }
}

/// Where the writer reports that it is done with a message, in the order in which messages were handed over.
#[derive(Clone, Debug)]
pub struct Done {
    /// The channel of the reports.
    pub to: mpsc::UnboundedSender<Released>,
    /// The message's number, counted by the receiver of the report.
    pub number: u64,
}

/// The writer is done with a message: what was taken of it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The number that [`Done`] was made with.
    pub number: u64,
    /// The outcome of the message.
    pub verdict: Admitted,
}

/// One item for the writer thread.
#[derive(Debug)]
pub struct Incoming {
    /// The agent that it concerns; `None` for posted events, which are the collector's own.
    agent: Option<SourceId>,
    content: IncomingContent,
    done: Option<Done>,
    _room: OwnedSemaphorePermit,
    /// Until this is dropped, which is after its commit, followers of the log let the writer go first.
    _pending: Pending,
}

impl Incoming {
    /// The agent that it concerns; `None` for posted events, which are the collector's own.
    pub fn agent(&self) -> Option<SourceId> {
        self.agent
    }

    /// Its content.
    pub fn content(&self) -> &IncomingContent {
        &self.content
    }

    /// The writer is done with a message: reports that, and frees the message's room.
    pub fn release(self, verdict: Admitted) {
        if let Some(Done { to, number }) = self.done {
            // A connection that is gone needs no notice.
            let _ = to.send(Released { number, verdict });
        }
    }
}

/// The collector is stopping: it takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the collector is stopping")]
pub struct Stopping;

/// The way in to the writer thread.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Incoming>,
    room: Arc<Semaphore>,
    commits: Commits,
    connections: Arc<AtomicU64>,
}

/// A weak [`Intake`], which does not keep the writer from ending.
#[derive(Clone, Debug)]
pub struct WeakIntake {
    queue: mpsc::WeakSender<Incoming>,
    room: Arc<Semaphore>,
    commits: Commits,
    connections: Arc<AtomicU64>,
}

impl WeakIntake {
    /// The intake, until the collector stops.
    pub fn upgrade(&self) -> Result<Intake, Stopping> {
        let queue = self.queue.upgrade().ok_or(Stopping)?;
        let (room, connections) = (Arc::clone(&self.room), Arc::clone(&self.connections));
        Ok(Intake { queue, room, commits: self.commits.clone(), connections })
    }
}

/// Reserved room for one message; see [`Intake::room`].
#[derive(Debug)]
pub struct Reservation<'a> {
    permit: mpsc::Permit<'a, Incoming>,
    bytes: OwnedSemaphorePermit,
    pending: Pending,
}

/// Bytes per permit of the semaphore.
const GRAIN: usize = 1024;

impl Intake {
    /// Creates an intake, and its other end for the writer.
    pub fn new() -> (Self, mpsc::Receiver<Incoming>) {
        let (queue, incoming) = mpsc::channel(INTAKE_MESSAGES_MAX);
        let room = Arc::new(Semaphore::new(INTAKE_BYTES_MAX / GRAIN));
        (Self { queue, room, commits: Commits::default(), connections: Arc::default() }, incoming)
    }

    /// A weak handle, for tasks that come and go.
    pub fn downgrade(&self) -> WeakIntake {
        let (room, connections) = (Arc::clone(&self.room), Arc::clone(&self.connections));
        WeakIntake { queue: self.queue.downgrade(), room, commits: self.commits.clone(), connections }
    }

    /// The items that wait for their commit.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Hands posted events over; the answer has their addresses, once they are on disk.
    pub async fn post(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<oneshot::Receiver<Result<Vec<PostedAt>, PostRefusal>>, Stopping> {
        let room = self.room(events.iter().map(NewEvent::bytes).sum()).await?;
        let (to, placed) = oneshot::channel();
        room.hand_over(None, IncomingContent::Post { events, to }, None);
        Ok(placed)
    }

    /// Announces a removal of retention, which may make it once the answer has come.
    pub async fn remove(&self, removal: Removal) -> Result<oneshot::Receiver<Result<(), NotAttested>>, Stopping> {
        let room = self.room(0).await?;
        let (to, said) = oneshot::channel();
        room.hand_over(None, IncomingContent::Remove { removal, to }, None);
        Ok(said)
    }

    /// Hands an operator's decision over; it is in the log once the answer has come.
    pub async fn operate(&self, operation: Operation) -> Result<oneshot::Receiver<Result<(), NotOperated>>, Stopping> {
        let room = self.room(0).await?;
        let (to, done) = oneshot::channel();
        room.hand_over(None, IncomingContent::Operate { operation, to }, None);
        Ok(done)
    }

    /// Waits until there is room for a message of so many bytes. Waiting callers are served in the order of their
    /// calls.
    pub async fn room(&self, bytes: usize) -> Result<Reservation<'_>, Stopping> {
        let grains = bytes.div_ceil(GRAIN).clamp(1, INTAKE_BYTES_MAX / GRAIN) as u32;
        let bytes = Arc::clone(&self.room).acquire_many_owned(grains).await.map_err(|_| Stopping)?;
        let place = self.queue.reserve().await.map_err(|_| Stopping)?;
        Ok(Reservation { permit: place, bytes, pending: self.commits.pending() })
    }

    /// Reports that a connection of an agent has ended.
    pub async fn closed(&self, agent: SourceId, connection: u64) -> Result<(), Stopping> {
        self.room(0).await?.fill(agent, IncomingContent::Closed { connection }, None);
        Ok(())
    }

    /// Hands over the answer to an agent's question.
    pub async fn answer_question(&self, agent: SourceId, nonce: Nonce, found: Resume) -> Result<(), Stopping> {
        self.room(0).await?.fill(agent, IncomingContent::Found { nonce, found }, None);
        Ok(())
    }

    /// A number for a new connection, higher than all before.
    pub fn connection_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Reservation<'_> {
    /// Hands a message over.
    pub fn fill(self, agent: SourceId, content: IncomingContent, done: Option<Done>) {
        self.hand_over(Some(agent), content, done);
    }

    fn hand_over(self, agent: Option<SourceId>, content: IncomingContent, done: Option<Done>) {
        self.permit.send(Incoming { agent, content, done, _room: self.bytes, _pending: self.pending });
    }
}
