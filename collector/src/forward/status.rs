//! How a forward is, for metrics, API and people.

use std::time::Instant;

use afferent_protocol::ids::{Offset, Timestamp};

use super::checkpoint::Checkpoint;
use crate::log::address::Partition;

/// What a forward does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not delivered anything since the collector's start, and connects.
    Starting,
    /// It delivers, or everything is delivered.
    Running,
    /// The last try failed; it waits for the next one.
    Retrying,
    /// The operator has paused it.
    Paused,
    /// It needs the operator: it does not know what to deliver next.
    Stuck,
}

impl Phase {
    /// `starting`, `running`, `retrying`, `paused`, `stuck`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::Stuck => "stuck",
        }
    }
}

/// The last failure of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, where, and what to do.
    pub text: String,
    /// When, by the collector's clock.
    pub at: Timestamp,
}

/// What the runner of a forward shows.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub phase: Phase,
    /// Events delivered since the start.
    pub delivered: u64,
    /// Dead letters since the start.
    pub dead: u64,
    /// Failed tries since the start.
    pub failures: u64,
    pub last_failure: Option<Failure>,
    /// When a failed delivery is tried again.
    pub next_try: Option<Instant>,
    /// The ingest time of the oldest event that is read and not delivered.
    pub oldest: Option<Timestamp>,
    /// How far the log was read: events before it are delivered or not wanted.
    pub passed: Offset,
    /// The generation of the checkpoint that it was read from.
    pub generation: u32,
}

impl Progress {
    /// Begins to read from a checkpoint.
    pub fn begin(&mut self, checkpoint: &Checkpoint) {
        self.next_try = None;
        // After a failure it runs once something is delivered.
        if self.phase != Phase::Retrying {
            self.phase = Phase::Running;
        }
        if self.generation != checkpoint.generation {
            (self.generation, self.passed, self.oldest) = (checkpoint.generation, checkpoint.next(), None);
        }
    }

    /// Whether all is delivered that was read, since the operator's last order.
    pub fn is_idle(&self, checkpoint: &Checkpoint) -> bool {
        self.oldest.is_none() && self.phase == Phase::Running && self.generation == checkpoint.generation
    }

    pub fn new() -> Self {
        Self {
            phase: Phase::Starting,
            delivered: 0,
            dead: 0,
            failures: 0,
            last_failure: None,
            next_try: None,
            oldest: None,
            passed: Offset::ZERO,
            generation: 0,
        }
    }
}

/// A forward in one partition, at one moment.
#[derive(Clone, Debug)]
pub struct ForwardView {
    /// Its name.
    pub name: String,
    /// The kind of its destination.
    pub sink: &'static str,
    /// The destination, without secrets.
    pub target: String,
    /// Its partition of the log.
    pub partition: Partition,
    /// How far it has come; `None` before its first start.
    pub checkpoint: Option<Checkpoint>,
    /// What it does.
    pub phase: Phase,
    /// Offsets from its place to the log's end.
    pub lag: u64,
    /// Seconds since the oldest event that is not delivered was appended; 0 if all are delivered, `None` if unknown.
    pub lag_s: Option<f64>,
    /// Events delivered since the collector's start.
    pub delivered: u64,
    /// Events that the destination will never take, since the collector's start.
    pub dead: u64,
    /// Failed tries since the collector's start.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<Failure>,
    /// Seconds until the next try.
    pub next_try_s: Option<f64>,
}
