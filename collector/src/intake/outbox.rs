//! Where answers to agents go: to their connection, or to the broker.

use std::sync::Arc;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Instance;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::endpoint::Registry;

/// Where answers to agents go. Sending never waits: answers are cumulative, and a sender that misses one asks again.
#[derive(Clone, Debug)]
pub enum Outbox {
    /// To the connections of the endpoint.
    Endpoint(Arc<Registry>),
    /// To the client of an external broker.
    Broker(mpsc::Sender<(SourceId, Bytes)>),
}

impl Outbox {
    /// Sends `message` to the agent's `down` topic, over this connection where there is no broker; tells whether it is on its
    /// way.
    pub fn send(&self, agent: &SourceId, connection: Option<u64>, message: Bytes) -> bool {
        match self {
            Self::Endpoint(registry) => connection.is_some_and(|number| registry.send(agent, number, message)),
            Self::Broker(queue) => queue.try_send((*agent, message)).is_ok(),
        }
    }

    /// A run of the agent has proved itself over this connection; tells whether older ones of it ended for that.
    pub(super) fn prove(&self, agent: &SourceId, connection: u64, instance: Instance) -> bool {
        match self {
            Self::Endpoint(registry) => registry.prove(agent, connection, instance),
            // A broker's connections are the broker's matter.
            Self::Broker(_) => false,
        }
    }
}
