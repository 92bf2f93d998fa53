//! Which agent has which connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use afferent_protocol::ids::SourceId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::answers::Farewell;

/// The connections of all agents that are known by name; at most one each.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<SourceId, Handle>>,
}

/// One connection, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    /// Numbers count up: a later connection has a higher one.
    pub number: u64,
    /// Messages to write.
    pub down: mpsc::Sender<Bytes>,
    /// Ends the connection.
    pub end: Arc<watch::Sender<Option<Farewell>>>,
}

impl Registry {
    /// Sends a message to an agent's connection; tells whether it is on its way. A connection that does not read what
    /// it is sent is ended.
    pub fn send(&self, agent: &SourceId, message: Bytes) -> bool {
        let connections = self.lock();
        let Some(handle) = connections.get(agent) else { return false };
        match handle.down.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                handle.end(Farewell::SlowReader);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Gives the agent's name to a connection, and ends the one that had it; tells whether there was one.
    pub(super) fn claim(&self, agent: SourceId, handle: Handle) -> bool {
        let before = self.lock().insert(agent, handle);
        before.is_some_and(|before| {
            before.end(Farewell::TakenOver);
            true
        })
    }

    /// Takes the name back, if the connection still has it; tells whether it had.
    pub(super) fn release(&self, agent: &SourceId, number: u64) -> bool {
        let mut connections = self.lock();
        let had = connections.get(agent).is_some_and(|handle| handle.number == number);
        if had {
            connections.remove(agent);
        }
        had
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Handle>> {
        // The map is whole at any time, also when a holder panicked.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// The first reason stands.
    fn end(&self, why: Farewell) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(why);
            first
        });
    }
}
