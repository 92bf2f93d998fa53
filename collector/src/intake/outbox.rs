//! Where answers to agents go: to their connection, or to the broker.

use std::sync::Arc;

use afferent_protocol::ids::SourceId;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::endpoint::{Proved, Registry};

/// Where answers to agents go. Sending never waits: answers are cumulative, and a sender that misses one asks again.
#[derive(Clone, Debug)]
pub enum Outbox {
    /// To the connections of the endpoint.
    Endpoint(Arc<Registry>),
    /// To the client of an external broker.
    Broker(mpsc::Sender<(SourceId, Bytes)>),
}

impl Outbox {
    /// Sends `message` to the agent's `down` topic; tells whether it is on its way.
    pub fn send(&self, agent: &SourceId, message: Bytes) -> bool {
        match self {
            Self::Endpoint(registry) => registry.send(agent, message),
            Self::Broker(queue) => queue.try_send((*agent, message)).is_ok(),
        }
    }

    /// A message of the agent that came over this connection was taken. Tells when answers to the agent go to it only
    /// from now on.
    pub(super) fn prove(&self, agent: &SourceId, connection: u64) -> Option<Proved> {
        match self {
            Self::Endpoint(registry) => registry.prove(agent, connection),
            // A broker lets an agent have one connection.
            Self::Broker(_) => None,
        }
    }
}
