//! Sends answers to agents: to their connection, or to the broker.

use std::sync::Arc;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Instance;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::endpoint::Registry;

/// The receiver of answers to agents. Sending never waits: answers are cumulative, and a sender that misses one asks
/// again.
#[derive(Clone, Debug)]
pub enum Outbox {
    /// To the connections of the endpoint.
    Endpoint(Arc<Registry>),
    /// To the client of an external broker.
    Broker(mpsc::Sender<(SourceId, Bytes)>),
}

impl Outbox {
    /// Sends `message` to the agent's `down` topic, over this connection where there is no broker; returns whether it
    /// was queued.
    pub fn send(&self, agent: &SourceId, connection: Option<u64>, message: Bytes) -> bool {
        match self {
            Self::Endpoint(registry) => connection.is_some_and(|number| registry.send(agent, number, message)),
            Self::Broker(queue) => queue.try_send((*agent, message)).is_ok(),
        }
    }

    /// Records that a run of the agent has proved its key over this connection; returns whether older ones ended.
    pub(super) fn mark_proved(&self, agent: &SourceId, connection: u64, instance: Instance) -> bool {
        match self {
            Self::Endpoint(registry) => registry.mark_proved(agent, connection, instance),
            // The broker manages its connections itself.
            Self::Broker(_) => false,
        }
    }
}
