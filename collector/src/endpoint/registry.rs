//! The connections of each agent.
//!
//! A name costs nothing without logins, and a login can be stolen: a client is answered over its own connection and
//! touches no other, until it has proved the name's key. Then an older connection of the same run of the agent, which
//! is dead or about to be, ends. Connections of other runs stay: they may be a different machine.
//!
//! A connection that is tied to one name may speak under former names of its agent, as a guest. Guests end no
//! connection and take no room of other names: the number of guests of one name under a different one is limited.

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
    connections: Mutex<HashMap<SourceId, Vec<NamedConnection>>>,
}

/// A connection under one of the names that it uses.
#[derive(Debug)]
struct NamedConnection {
    /// The name that it is tied to; a guest uses this connection under a different one.
    tied_to: SourceId,
    /// The run of the agent that has proved its key over it, under the name of this entry.
    proved: Option<Instance>,
    handle: Handle,
}

/// A connection, as other tasks use it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    /// Its number; later ones have higher numbers.
    pub number: u64,
    /// Messages to write.
    pub down: mpsc::Sender<Bytes>,
    /// Ends the connection.
    pub end: Arc<watch::Sender<Option<Farewell>>>,
}

impl Registry {
    /// Sends a message to this connection of an agent; returns whether it was queued. Ends a connection that does not
    /// read its messages.
    pub fn send(&self, agent: &SourceId, connection: u64, message: Bytes) -> bool {
        let connections = self.lock();
        let mut of_agent = connections.get(agent).into_iter().flatten();
        let Some(NamedConnection { handle, .. }) = of_agent.find(|place| place.handle.number == connection) else {
            return false;
        };
        match handle.down.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                handle.end(Farewell::SlowReader);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Ties a connection to an agent's name. The number of connections without a proved key is limited; the oldest
    /// ends.
    pub(super) fn claim(&self, agent: SourceId, handle: Handle) {
        let mut connections = self.lock();
        let of_agent = connections.entry(agent).or_default();
        end_oldest(of_agent, SESSIONS_UNPROVED_MAX, |place| place.proved.is_none() && place.tied_to == agent);
        of_agent.push(NamedConnection { tied_to: agent, proved: None, handle });
    }

    /// Lets a connection that is tied to one name speak under a former name of its agent. It ends no connection. The
    /// number of guests without a proved key that are tied to one name is limited; the oldest is dropped.
    pub(super) fn claim_as_guest(&self, agent: SourceId, tied_to: SourceId, handle: Handle) {
        assert_ne!(agent, tied_to, "nobody is a guest under its own name");
        let mut connections = self.lock();
        let of_agent = connections.entry(agent).or_default();
        remove_oldest(of_agent, SESSIONS_UNPROVED_MAX, |place| place.proved.is_none() && place.tied_to == tied_to);
        of_agent.push(NamedConnection { tied_to, proved: None, handle });
    }

    /// Records that a run of the agent has proved its key over this connection, and ends its older connections. Returns
    /// whether there were any.
    pub(crate) fn mark_proved(&self, agent: &SourceId, number: u64, instance: Instance) -> bool {
        let mut connections = self.lock();
        let Some(of_agent) = connections.get_mut(agent) else { return false };
        let Some(place) = of_agent.iter_mut().find(|place| place.handle.number == number) else { return false };
        if place.proved.replace(instance) == Some(instance) {
            return false;
        }
        let before = of_agent.len();
        of_agent.retain(|other| {
            let is_older = other.handle.number < number && other.proved == Some(instance);
            if is_older {
                other.handle.end(Farewell::TakenOver);
            }
            !is_older
        });
        let took_over = of_agent.len() < before;
        end_oldest(of_agent, SESSIONS_PROVED_MAX + 1, |place| place.proved.is_some());
        took_over
    }

    /// Forgets a connection.
    pub(super) fn release(&self, agent: &SourceId, number: u64) {
        let mut connections = self.lock();
        if let Some(of_agent) = connections.get_mut(agent) {
            of_agent.retain(|place| place.handle.number != number);
            if of_agent.is_empty() {
                connections.remove(agent);
            }
        }
    }

    /// Ends the connections of all agents but those that `stays` selects; returns how many. Guests stay with the name
    /// that they are tied to.
    pub(super) fn end_all_but(&self, stays: impl Fn(&SourceId) -> bool) -> usize {
        let connections = self.lock();
        let gone = connections.iter().filter(|(agent, _)| !stays(agent));
        let gone = gone.flat_map(|(agent, places)| places.iter().filter(|place| place.tied_to == *agent));
        gone.map(|place| place.handle.end(Farewell::NotAuthorized)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SourceId, Vec<NamedConnection>>> {
        // The map is consistent at any time, also when a holder panicked.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the oldest connections that `which` selects until there is room for a new one.
fn end_oldest(of_agent: &mut Vec<NamedConnection>, count_max: usize, which: impl Fn(&NamedConnection) -> bool) {
    remove_oldest(of_agent, count_max, which).iter().for_each(|place| place.handle.end(Farewell::TakenOver));
}

/// Removes and returns the oldest that `which` selects until there is room for a new one.
fn remove_oldest(
    of_agent: &mut Vec<NamedConnection>,
    count_max: usize,
    which: impl Fn(&NamedConnection) -> bool,
) -> Vec<NamedConnection> {
    let count = of_agent.iter().filter(|place| which(place)).count();
    let mut too_many = (count + 1).saturating_sub(count_max);
    let (gone, stay) = std::mem::take(of_agent).into_iter().partition(|place| {
        let goes = too_many > 0 && which(place);
        too_many -= usize::from(goes);
        goes
    });
    assert_eq!(too_many, 0, "as many go as are too many");
    *of_agent = stay;
    gone
}

impl Handle {
    /// Ends it; the first reason counts.
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

    fn handle(number: u64) -> (Handle, End) {
        let ((down, _), (end, ended)) = (mpsc::channel(1), watch::channel(None));
        (Handle { number, down, end: Arc::new(end) }, ended)
    }

    /// Connections with these numbers, all of which claim the name.
    fn claimed(registry: &Registry, numbers: &[u64]) -> Vec<End> {
        let claim = |number: &u64| {
            let (handle, ended) = handle(*number);
            registry.claim(AGENT, handle);
            ended
        };
        numbers.iter().map(claim).collect()
    }

    /// Connections with these numbers, all of which are tied to this name and are guests under [`AGENT`].
    fn guests(registry: &Registry, tied_to: SourceId, numbers: impl Iterator<Item = u64>) -> Vec<End> {
        let claim = |number| {
            let (handle, ended) = handle(number);
            registry.claim_as_guest(AGENT, tied_to, handle);
            ended
        };
        numbers.map(claim).collect()
    }

    fn numbers(registry: &Registry) -> Vec<u64> {
        registry.lock().get(&AGENT).into_iter().flatten().map(|place| place.handle.number).collect()
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
        assert!(!registry.mark_proved(&AGENT, 2, run(7)), "nobody has proved anything before");
        assert!(!registry.mark_proved(&AGENT, 1, run(7)), "what was said over the first one was judged late");
        assert_eq!(ended(&ends), [false; 3]);
        // The control: the newest connection of this run ends both, and no connection of a different run.
        let other = claimed(&registry, &[4]);
        assert!(!registry.mark_proved(&AGENT, 4, run(8)));
        assert!(registry.mark_proved(&AGENT, 3, run(7)));
        assert_eq!((ended(&ends), ended(&other)), (vec![true, true, false], vec![false]));
        assert!(!registry.mark_proved(&AGENT, 3, run(7)), "once");
    }

    #[test]
    fn guests_end_no_connection_and_take_the_room_of_no_other_name() {
        let registry = Registry::default();
        let [own, renamed] = [claimed(&registry, &[0]), guests(&registry, SourceId::literal("press-89"), 1..2)];
        let crowd = guests(&registry, SourceId::literal("press-77"), 2..99);
        let newest = (99 - SESSIONS_UNPROVED_MAX as u64)..99;
        assert_eq!(numbers(&registry), [0, 1].into_iter().chain(newest).collect::<Vec<_>>(), "they are bounded");
        let others: Vec<End> = (100..).take(SESSIONS_UNPROVED_MAX - 1).flat_map(|n| claimed(&registry, &[n])).collect();
        let ended_of = [&own, &renamed, &crowd, &others].map(|ends| ended(ends).contains(&true));
        assert_eq!(ended_of, [false; 4], "nobody ends for a guest, nor a guest for anybody");
        // The control: connections that are tied to the name end older ones of it.
        claimed(&registry, &[200]);
        assert_eq!(ended(&own), [true]);
    }

    #[test]
    fn a_guest_stays_with_the_name_that_it_is_tied_to() {
        let registry = Registry::default();
        let renamed = SourceId::literal("press-89");
        let ((own, of_own), (guest, ended_as_guest)) = (handle(7), handle(7));
        registry.claim(renamed, own);
        registry.claim_as_guest(AGENT, renamed, guest);
        assert_eq!(registry.end_all_but(|agent| *agent == renamed), 0, "nobody has to know its former name");
        assert_eq!(ended(&[of_own.clone(), ended_as_guest]), [false; 2]);
        // The control: the name that it is tied to no longer exists.
        assert_eq!(registry.end_all_but(|agent| *agent == AGENT), 1);
        assert_eq!(ended(&[of_own]), [true]);
    }

    #[test]
    fn a_proof_over_a_connection_that_is_gone_ends_nothing_and_keeps_no_name() {
        let registry = Registry::default();
        let ends = claimed(&registry, &[1, 2]);
        assert!(!registry.mark_proved(&AGENT, 1, run(7)));
        registry.release(&AGENT, 2);
        assert!(!registry.mark_proved(&AGENT, 2, run(7)));
        assert_eq!(ended(&ends), [false; 2], "who is there stays, whatever was on its way from who is not");
        assert_eq!(numbers(&registry), [1]);
        registry.release(&AGENT, 1);
        assert!(!registry.mark_proved(&AGENT, 1, run(7)));
        assert!(registry.lock().is_empty());
    }
}
