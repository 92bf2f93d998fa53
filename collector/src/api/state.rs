//! What the HTTP handlers see of the collector.

use std::sync::Arc;

use afferent_protocol::disk::FsDisk;
use afferent_protocol::ids::Offset;
use tokio::sync::watch;

use crate::intake::Health;
use crate::log::LogReader;
use crate::sources::SourceView;

/// What the HTTP handlers see of the collector.
#[derive(Clone)]
pub struct ApiState {
    /// Reads what is durable.
    pub reader: LogReader<FsDisk>,
    /// The first offset that is not on disk; its changes wake live followers.
    pub durable: watch::Receiver<Offset>,
    /// The sources by name, as they were a moment ago.
    pub sources: watch::Receiver<Arc<Vec<SourceView>>>,
    /// How the collector is, and what it counts.
    pub health: Arc<Health>,
}
