//! What the HTTP handlers see of the collector.

use std::sync::Arc;

use afferent_host::stop::Stop;
use afferent_protocol::ids::{Offset, SourceId};
use afferent_protocol::sign::PublicKey;
use tokio::sync::watch;

use super::budget::Budgets;
use super::tail::Tail;
use crate::intake::{Health, WeakIntake};
use crate::log::ReadLog;
use crate::models::runner::Models;
use crate::sources::SourceViews;
use crate::subscribe::named::Subscriptions;

/// Who the collector is, for whoever holds the log against it.
pub type Own = (SourceId, PublicKey);

/// What the HTTP handlers see of the collector.
#[derive(Clone)]
pub struct ApiState {
    /// Who the collector is.
    pub own: Own,
    /// Reads what is durable.
    pub reader: Arc<dyn ReadLog>,
    /// The first offset that is not on disk; its changes wake live followers.
    pub durable: watch::Receiver<Offset>,
    /// The sources by name, as they were a moment ago.
    pub sources: SourceViews,
    /// Places that are kept for readers.
    pub subscriptions: Arc<Subscriptions>,
    /// The way to the writer, for what is posted.
    pub intake: WeakIntake,
    /// How the collector is, and what it counts.
    pub health: Arc<Health>,
    /// States that are folded from the log.
    pub models: Models,
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
    /// A reader with its own place in the log.
    pub(super) fn log(&self) -> Arc<dyn ReadLog> {
        self.state.reader.another()
    }
}
