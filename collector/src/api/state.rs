//! What the HTTP handlers see of the collector.

use std::sync::Arc;

use afferent_host::stop::Stop;
use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::PublicKey;

use super::budget::Budgets;
use super::problem::Problem;
use super::tail::Tail;
use crate::forward::Forwards;
use crate::intake::Health;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::models::runner::Models;
use crate::partitions::{PartitionHandles, Partitions};
use crate::subscribe::Start;
use crate::subscribe::named::Subscriptions;

/// Who the collector is, for whoever holds the log against it.
pub type CollectorIdentity = (SourceId, PublicKey);

/// What the HTTP handlers see of the collector.
#[derive(Clone)]
pub struct ApiState {
    /// Who the collector is.
    pub own: CollectorIdentity,
    /// The log.
    pub partitions: Partitions,
    /// Places that are kept for readers.
    pub subscriptions: Arc<Subscriptions>,
    /// How the collector is, and what it counts.
    pub health: Arc<Health>,
    /// States that are folded from the log.
    pub models: Models,
    /// The log in other systems.
    pub forwards: Forwards,
}

/// What every handler gets.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) state: ApiState,
    pub(super) stopping: Stop,
    /// What followers share.
    pub(super) tail: Arc<Tail>,
    /// What clients may take.
    pub(super) budgets: Arc<Budgets>,
}

impl Api {
    /// The partition that a question names; else the one of the place where it begins; else the first.
    pub(super) fn held_by(&self, named: Option<Partition>, start: Option<Start>) -> Result<&PartitionHandles, Problem> {
        let of_start = match start {
            Some(Start::Place(place)) => Some(Partition::new(place.partition)),
            _ => None,
        };
        let Some(asked) = named.or(of_start) else { return Ok(self.held()) };
        Ok(self.state.partitions.get(asked)?)
    }

    /// The partition that is meant where a question names none.
    pub(super) fn held(&self) -> &PartitionHandles {
        self.state.partitions.first()
    }

    /// A reader with its own place in the log.
    pub(super) fn log(&self) -> Arc<dyn ReadLog> {
        self.held().reader.clone_reader()
    }
}
