//! The names that an agent speaks under: its own, and former ones that its ring log still holds events under. Each has
//! a session of its own, over the same connection.

use std::collections::VecDeque;

use afferent_host::disk::Disk;
use afferent_protocol::ids::{SequenceRange, SourceId};
use afferent_protocol::session::signed::{Nonce, Place};
use afferent_protocol::session::{Lane, Sender, SenderSettings};
use afferent_protocol::topic::{Leaf, Topic};

use super::talk::LookUp;
use super::{AgentCore, Now, Outgoing};
use crate::limits::{FORMER_REST_MS, REPORT_MS};

/// The session of one name of the agent.
#[derive(Debug)]
pub(super) struct SourceSession {
    pub name: SourceId,
    pub sender: Sender,
    /// The nonce of the open connection.
    pub nonce: Nonce,
    /// What the newest welcome over it brought.
    pub answer: Nonce,
    /// Where the log was that has welcomed.
    pub at: Option<Place>,
    pub look_ups: Vec<LookUp>,
    pub look_up_at_ms: u64,
    /// What the collector asks for once more.
    pub again: VecDeque<(Lane, SequenceRange)>,
    /// Nothing is sent before this time, because no collector answers.
    rests_until_ms: u64,
}

impl SourceSession {
    pub fn new(name: SourceId, settings: SenderSettings, session: u32) -> Self {
        Self {
            name,
            sender: Sender::new(settings, session),
            nonce: Nonce::NONE,
            answer: Nonce::NONE,
            at: None,
            look_ups: Vec::new(),
            look_up_at_ms: 0,
            again: VecDeque::new(),
            rests_until_ms: 0,
        }
    }

    pub fn link_up(&mut self, nonce: Nonce) {
        (self.nonce, self.answer, self.at, self.rests_until_ms) = (nonce, Nonce::NONE, None, 0);
        self.sender.link_up();
    }

    pub fn link_down(&mut self) {
        self.nonce = Nonce::NONE;
        self.again.clear();
        self.sender.link_down();
    }
}

impl<D: Disk> AgentCore<D> {
    /// Former names that the ring log holds events under, as far as there are sessions for them.
    pub fn former_names(&self) -> impl Iterator<Item = SourceId> {
        self.others.iter().map(|other| other.name)
    }

    /// The broker denies the agent a former name: its events wait for the next connection.
    pub fn forbidden(&mut self, name: SourceId, now: &Now) {
        let Some(other) = self.others.iter_mut().find(|other| other.name == name) else { return };
        other.rests_until_ms = u64::MAX;
        self.warn_held(name, "the broker denies this agent that name", now);
    }

    /// What to send next; the message is put into `message`, whatever was in it before. What is held under former names
    /// goes when the agent's own has nothing to send now.
    pub fn poll(&mut self, now: &Now, message: &mut Vec<u8>) -> Outgoing {
        let mut outgoing = self.poll_current(now, message);
        if !self.current.sender.is_streaming() {
            return outgoing;
        }
        for at in 0..self.others.len() {
            let Outgoing::Wait { until_ms } = outgoing else { break };
            outgoing = match self.speaking(at, |core| core.poll_former(now, message)) {
                Outgoing::Wait { until_ms: other_ms } => {
                    Outgoing::Wait { until_ms: until_ms.into_iter().chain(other_ms).min() }
                }
                outgoing => outgoing,
            };
        }
        outgoing
    }

    fn poll_former(&mut self, now: &Now, message: &mut Vec<u8>) -> Outgoing {
        let name = self.current.name;
        let nothing_held = self.ring.held_under(&name).is_empty();
        if now.ms < self.current.rests_until_ms || nothing_held {
            let until_ms = (!nothing_held).then_some(self.current.rests_until_ms);
            return Outgoing::Wait { until_ms };
        }
        self.report_held();
        match self.poll_current(now, message) {
            // The collector answers under the agent's own name over this connection: a new one would not help.
            Outgoing::Reconnect => {
                self.warn_held(name, "no collector answers under that name", now);
                let nonce = self.current.nonce;
                self.current.link_down();
                self.current.link_up(nonce);
                self.current.rests_until_ms = now.ms + FORMER_REST_MS;
                Outgoing::Wait { until_ms: Some(self.current.rests_until_ms) }
            }
            outgoing => outgoing,
        }
    }

    /// Runs `f` with the session of the given name as the current one.
    pub(super) fn speaking<T>(&mut self, at: usize, act: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.current, &mut self.others[at]);
        let done = act(self);
        std::mem::swap(&mut self.current, &mut self.others[at]);
        done
    }

    /// Whether it speaks under its own name now.
    pub(super) fn is_itself(&self) -> bool {
        self.current.name == self.ring.who().source
    }

    fn warn_held(&mut self, name: SourceId, why: &str, now: &Now) {
        if self.former_warned_at_ms.is_some_and(|at_ms| now.ms < at_ms + REPORT_MS) {
            return;
        }
        self.former_warned_at_ms = Some(now.ms);
        let held = self.ring.held_under_former_names();
        let events = held.iter().find(|(known, _)| *known == name).map_or(0, |(_, events)| *events);
        let [up, down] = [Leaf::Up, Leaf::Down].map(|leaf| Topic { agent: name, leaf }.text());
        tracing::warn!(
            "{events} events that were accepted under the former name {name} are held in the ring log: {why}. Let this \
             agent write to {up} and read {down} until they have arrived (mosquitto's ACL: `topic write {up}`, `topic \
             read {down}`), or give it its former name back"
        );
    }
}
