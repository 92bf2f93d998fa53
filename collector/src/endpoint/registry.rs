//! Which agent has which connections.
//!
//! A name costs nothing where nobody logs in, and a login can be stolen: whoever connects is answered over its own
//! connection and touches no other, until it has proved that it has the name's key. Then an older connection of the same run
//! of the agent, which is dead or about to be, ends. Connections of other runs stay: they may be another machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Instance;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::answers::Farewell;
use crate::limits::{SESSIONS_PROVED_MAX, SESSIONS_UNPROVED_MAX};

/// The connections of all agents that are known by name.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<SourceId, Vec<Handle>>>,
}

/// One connection, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    /// Numbers count up: a later connection has a higher one.
    pub number: u64,
    /// The run of the agent that has proved itself over it.
    pub proved: Option<Instance>,
    /// Messages to write.
    pub down: mpsc::Sender<Bytes>,
    /// Ends the connection.
    pub end: Arc<watch::Sender<Option<Farewell>>>,
}

impl Registry {
    /// Sends a message to this connection of an agent; tells whether it is on its way. A connection that does not read what
    /// it is sent is ended.
    pub fn send(&self, agent: &SourceId, connection: u64, message: Bytes) -> bool {
        let connections = self.lock();
        let mut of_agent = connections.get(agent).into_iter().flatten();
        let Some(handle) = of_agent.find(|handle| handle.number == connection) else { return false };
        match handle.down.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                handle.end(Farewell::SlowReader);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Ties a connection to an agent's name. Of those that have not proved themselves only so many wait; the oldest ends.
    pub(super) fn claim(&self, agent: SourceId, handle: Handle) {
        let mut connections = self.lock();
        let of_agent = connections.entry(agent).or_default();
        end_oldest(of_agent, SESSIONS_UNPROVED_MAX, |handle| handle.proved.is_none());
        of_agent.push(handle);
    }

    /// Ties a connection to another name that its agent says it had before. It waits its turn: it ends no connection of that
    /// name, and finds no room where so many wait that have not proved themselves.
    pub(super) fn claim_as_guest(&self, agent: SourceId, handle: Handle) -> bool {
        let mut connections = self.lock();
        let of_agent = connections.entry(agent).or_default();
        let has_room = of_agent.iter().filter(|handle| handle.proved.is_none()).count() < SESSIONS_UNPROVED_MAX;
        if has_room {
            of_agent.push(handle);
        }
        has_room
    }

    /// A run of the agent has proved itself over this connection. Tells whether older ones ended for it.
    pub(crate) fn prove(&self, agent: &SourceId, number: u64, instance: Instance) -> bool {
        let mut connections = self.lock();
        let Some(of_agent) = connections.get_mut(agent) else { return false };
        let Some(handle) = of_agent.iter_mut().find(|handle| handle.number == number) else { return false };
        if handle.proved.replace(instance) == Some(instance) {
            return false;
        }
        let before = of_agent.len();
        of_agent.retain(|other| {
            let is_older = other.number < number && other.proved == Some(instance);
            if is_older {
                other.end(Farewell::TakenOver);
            }
            !is_older
        });
        let took_over = of_agent.len() < before;
        end_oldest(of_agent, SESSIONS_PROVED_MAX + 1, |handle| handle.proved.is_some());
        took_over
    }

    /// Forgets a connection.
    pub(super) fn release(&self, agent: &SourceId, number: u64) {
        let mut connections = self.lock();
        if let Some(of_agent) = connections.get_mut(agent) {
            of_agent.retain(|handle| handle.number != number);
            if of_agent.is_empty() {
                connections.remove(agent);
            }
        }
    }

    /// Ends the connections of all agents but those that `stays` names; gives how many.
    pub(super) fn end_all_but(&self, stays: impl Fn(&SourceId) -> bool) -> usize {
        let connections = self.lock();
        let gone = connections.iter().filter(|(agent, _)| !stays(agent)).flat_map(|(_, handles)| handles);
        gone.map(|handle| handle.end(Farewell::NotAuthorized)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Vec<Handle>>> {
        // The map is whole at any time, also when a holder panicked.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the oldest of these connections until there is room for one more.
fn end_oldest(of_agent: &mut Vec<Handle>, count_max: usize, which: impl Fn(&Handle) -> bool) {
    while of_agent.iter().filter(|handle| which(handle)).count() >= count_max {
        let oldest = of_agent.iter().position(&which).expect("there are some");
        of_agent.remove(oldest).end(Farewell::TakenOver);
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

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: SourceId = SourceId::literal("press-88");

    type End = watch::Receiver<Option<Farewell>>;

    /// Connections with these numbers, all of which claim the name.
    fn claimed(registry: &Registry, numbers: &[u64]) -> Vec<End> {
        let claim = |number: &u64| {
            let ((down, _), (end, ended)) = (mpsc::channel(1), watch::channel(None));
            registry.claim(AGENT, Handle { number: *number, proved: None, down, end: Arc::new(end) });
            ended
        };
        numbers.iter().map(claim).collect()
    }

    fn run(byte: u8) -> Instance {
        Instance([byte; 16])
    }

    fn ended(ends: &[End]) -> Vec<bool> {
        ends.iter().map(|end| end.borrow().is_some()).collect()
    }

    #[test]
    fn a_proof_that_comes_late_ends_no_connection_that_is_newer() {
        let registry = Registry::default();
        let ends = claimed(&registry, &[1, 2, 3]);
        assert!(!registry.prove(&AGENT, 2, run(7)), "nobody has proved anything before");
        assert!(!registry.prove(&AGENT, 1, run(7)), "what was said over the first one was judged late");
        assert_eq!(ended(&ends), [false; 3]);
        // The control: the newest one of this run ends both, and no connection of another run.
        let other = claimed(&registry, &[4]);
        assert!(!registry.prove(&AGENT, 4, run(8)));
        assert!(registry.prove(&AGENT, 3, run(7)));
        assert_eq!((ended(&ends), ended(&other)), (vec![true, true, false], vec![false]));
        assert!(!registry.prove(&AGENT, 3, run(7)), "once");
    }

    #[test]
    fn guests_end_no_connection_of_the_name_that_they_take() {
        let registry = Registry::default();
        let own = claimed(&registry, &[0]);
        let taken = (1..99).filter(|number| {
            let ((down, _), (end, _)) = (mpsc::channel(1), watch::channel(None));
            registry.claim_as_guest(AGENT, Handle { number: *number, proved: None, down, end: Arc::new(end) })
        });
        assert_eq!(taken.count(), SESSIONS_UNPROVED_MAX - 1);
        assert_eq!(ended(&own), [false], "whoever is tied to the name stays");
        // The control: connections that are tied to the name end older ones of it.
        let _others: Vec<End> = (100..).take(SESSIONS_UNPROVED_MAX).flat_map(|n| claimed(&registry, &[n])).collect();
        assert_eq!(ended(&own), [true]);
    }

    #[test]
    fn a_proof_over_a_connection_that_is_gone_ends_nothing_and_keeps_no_name() {
        let registry = Registry::default();
        let ends = claimed(&registry, &[1, 2]);
        assert!(!registry.prove(&AGENT, 1, run(7)));
        registry.release(&AGENT, 2);
        assert!(!registry.prove(&AGENT, 2, run(7)));
        assert_eq!(ended(&ends), [false; 2], "who is there stays, whatever was on its way from who is not");
        assert_eq!(registry.lock()[&AGENT].iter().map(|handle| handle.number).collect::<Vec<_>>(), [1]);
        registry.release(&AGENT, 1);
        assert!(!registry.prove(&AGENT, 1, run(7)));
        assert!(registry.lock().is_empty());
    }
}
