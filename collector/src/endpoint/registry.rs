//! Which agent has which connection.
//!
//! A name costs nothing where nobody logs in, and a login can be stolen: whoever comes with a name that is connected
//! already waits beside that connection until a message of its own was taken, for which it needs the name's key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use afferent_protocol::ids::SourceId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::answers::Farewell;

/// The connections of all agents that are known by name.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<SourceId, Connections>>,
}

/// Those of one agent.
#[derive(Debug, Default)]
struct Connections {
    /// The one that gets the answers.
    holder: Option<Handle>,
    /// The last one that came while there was a holder.
    newcomer: Option<Handle>,
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
        let Some(handle) = connections.get(agent).and_then(|of_agent| of_agent.holder.as_ref()) else { return false };
        match handle.down.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                handle.end(Farewell::SlowReader);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Gives the agent's name to a connection when no other has it; tells whether it has it now.
    pub(super) fn claim(&self, agent: SourceId, handle: Handle) -> bool {
        let mut connections = self.lock();
        let of_agent = connections.entry(agent).or_default();
        if of_agent.holder.is_none() && of_agent.newcomer.is_none() {
            of_agent.holder = Some(handle);
            return true;
        }
        if let Some(before) = of_agent.newcomer.replace(handle) {
            before.end(Farewell::TakenOver);
        }
        false
    }

    /// A message of this connection was taken: if it is a newcomer, the name is its own from now on, and the connection
    /// that had it ends. Tells whether that was so.
    pub(crate) fn prove(&self, agent: &SourceId, number: u64) -> Option<Proved> {
        let mut connections = self.lock();
        let of_agent = connections.get_mut(agent)?;
        let proved = of_agent.newcomer.take_if(|newcomer| newcomer.number == number)?;
        let before = of_agent.holder.replace(proved);
        let took_over = before.is_some();
        if let Some(before) = before {
            before.end(Farewell::TakenOver);
        }
        Some(Proved { took_over })
    }

    /// Whether the name is this connection's.
    pub(super) fn holds(&self, agent: &SourceId, number: u64) -> bool {
        let connections = self.lock();
        let holder = connections.get(agent).and_then(|of_agent| of_agent.holder.as_ref());
        holder.is_some_and(|holder| holder.number == number)
    }

    /// Takes the name back, if the connection still has it; tells whether it had.
    pub(super) fn release(&self, agent: &SourceId, number: u64) -> bool {
        let mut connections = self.lock();
        let Some(of_agent) = connections.get_mut(agent) else { return false };
        let _ = of_agent.newcomer.take_if(|newcomer| newcomer.number == number);
        let had = of_agent.holder.take_if(|holder| holder.number == number).is_some();
        if of_agent.holder.is_none() && of_agent.newcomer.is_none() {
            connections.remove(agent);
        }
        had
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Connections>> {
        // The map is whole at any time, also when a holder panicked.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A newcomer has got the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    /// Whether another connection was ended for it.
    pub took_over: bool,
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
