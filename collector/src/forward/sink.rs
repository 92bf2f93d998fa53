//! The seam between the runner of a forward and its destination.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use afferent_host::stop::Stop;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::session::signed::{LogId, Place};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::checkpoint::Checkpoint;
use super::event::ForwardEvent;
use crate::log::address::Partition;
use crate::subscribe::Filter;

/// A destination of events.
///
/// The runner adds events in the order of the log and delivers them as one part. After an error it drops the part,
/// reads the log again from the checkpoint, and tries again: a sink keeps nothing that is not delivered.
pub trait Sink: Send {
    /// The limits of one part.
    fn limits(&self) -> PartLimits;

    /// Connects, and makes what the destination needs where it may. Returns the checkpoint that the destination keeps
    /// with the events, if it keeps one: then that one counts. Called before the first part and after each error.
    ///
    /// # Errors
    /// When the destination is out of reach, or not as it has to be.
    fn open(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable>;

    /// Learns the checkpoint that the next part begins at, which is not always that of [`Sink::open`]; `holds` says
    /// whether a place is of this log. Called after each [`Sink::open`]. Returns the end of the next part if it has to be
    /// there: the part does not go beyond it, and does not wait for more events once it has come so far.
    ///
    /// # Errors
    /// As [`Sink::open`].
    fn begin(
        &mut self,
        _context: &SinkContext,
        _checkpoint: &Checkpoint,
        _holds: &dyn Fn(&Place) -> bool,
    ) -> Result<Option<Offset>, Unavailable> {
        Ok(None)
    }

    /// Tries the way to the destination without changing anything there, and without disturbing a collector that delivers
    /// to it now. Returns what it has found, for people.
    ///
    /// # Errors
    /// As [`Sink::open`].
    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable>;

    /// Events before the first part that the sink must know, for example breakdowns that are open.
    fn recalls(&self) -> Option<Filter> {
        None
    }

    /// Takes one of these events into account; it was delivered before, or is not to be.
    fn recall(&mut self, _event: &ForwardEvent<'_>) {}

    /// Adds an event to the next part.
    ///
    /// # Errors
    /// When the destination can never take this event; then it is not part of it.
    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection>;

    /// Bytes of memory of the events that were added.
    fn bytes(&self) -> usize;

    /// Delivers the added events, perhaps none, and with them the checkpoint behind them; on return both are durable at
    /// the destination and the part is empty. `checkpoint` has the generation and the offsets that say whether events
    /// may be there already ([`Checkpoint::may_be_there`]).
    ///
    /// # Errors
    /// [`DeliverError`]; then the runner calls [`Sink::drop_part`].
    fn deliver(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError>;

    /// Drops the events that were added since the last part.
    fn drop_part(&mut self);

    /// Closes what is open; [`Sink::open`] comes before the next part.
    fn close(&mut self);
}

/// Where a forward delivers to.
pub struct Destination {
    /// `webhook`, and so on.
    pub kind: &'static str,
    /// The destination for people, and to tell whether it has changed; without secrets.
    pub target: String,
    /// Whether it keeps the checkpoint with the events.
    pub is_kept_there: bool,
    /// The sink.
    pub sink: Box<dyn Sink>,
}

/// The limits of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Largest number of events.
    pub events_max: usize,
    /// A part with so many bytes is delivered.
    pub bytes_max: usize,
    /// How long a part waits for more events; zero delivers what is there.
    pub wait: Duration,
}

/// What a destination keeps a checkpoint under: names of forwards repeat from collector to collector, logs do not.
///
/// As text: the forward, the log as 32 hexadecimal digits and the partition, as `erp/00…a1/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardKey {
    /// The forward.
    pub forward: SourceId,
    /// The log that it reads.
    pub log_id: LogId,
    /// The partition that it reads.
    pub partition: Partition,
}

impl fmt::Display for ForwardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:032x}/{}", self.forward, u128::from_be_bytes(self.log_id), self.partition)
    }
}

/// What a sink may use of the collector.
#[derive(Clone)]
pub struct SinkContext {
    /// Which forward delivers.
    pub key: ForwardKey,
    /// Runs futures of sinks.
    pub runtime: Handle,
    /// The collector's stop.
    pub stopping: Stop,
    /// Changes when the operator has paused or moved the forward.
    pub(super) orders: watch::Receiver<u64>,
}

impl SinkContext {
    /// For a single try, outside of a running collector.
    pub fn for_probe(forward: SourceId, runtime: Handle, stopping: Stop) -> Self {
        // A probe reads no log.
        let key = ForwardKey { forward, log_id: LogId::default(), partition: Partition::EMBEDDED };
        Self { key, runtime, stopping, orders: watch::Sender::new(0).subscribe() }
    }

    /// Runs a future of a sink to its end, for `timeout` at most, and only while the forward runs. `doing` completes
    /// "timed out while …".
    ///
    /// # Errors
    /// When the time is over, or the collector stops, or the operator has paused or moved the forward: then the outcome
    /// is unknown.
    pub fn wait<T>(&self, timeout: Duration, doing: &str, future: impl Future<Output = T>) -> Result<T, Unavailable> {
        let (mut stopping, mut orders) = (self.stopping.clone(), self.orders.clone());
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                done = future => Ok(done),
                () = stopping.requested() => Err(Unavailable::interrupted("the collector stops")),
                Ok(()) = orders.changed() => Err(Unavailable::interrupted("the operator has changed the forward")),
                () = tokio::time::sleep(timeout) => {
                    let reason = format!("timed out after {} s while {doing}", timeout.as_secs_f64());
                    Err(Unavailable::new(reason, "check that the destination answers, and the network between"))
                }
            }
        })
    }
}

/// The destination cannot take events now; they are delivered later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Unavailable {
    /// What is wrong, and at which place of the destination.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// How long the destination asks to wait.
    pub after: Option<Duration>,
    /// Number of added events, from the first on, that are durable there all the same.
    pub taken: usize,
    /// Whether nothing is wrong: the forward was interrupted.
    pub(super) is_interrupted: bool,
}

impl Unavailable {
    /// None of the events is known to be there.
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into(), after: None, taken: 0, is_interrupted: false }
    }

    fn interrupted(reason: &str) -> Self {
        Self { is_interrupted: true, ..Self::new(reason, "delivery goes on afterwards") }
    }
}

/// The destination will never take one event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(pub String);

/// A part was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Never, because of one event of the part.
    #[error("{reason}")]
    Refused {
        /// Index of that event among the added ones; `None` if the destination does not say which.
        index: Option<usize>,
        /// Number of added events, from the first on, that are durable there all the same.
        taken: usize,
        /// The answer of the destination.
        reason: String,
    },
}
