//! Somebody who is nobody here: reads everything that passes, and sends what it likes in the name of others.

use std::collections::VecDeque;

use afferent_protocol::batch::split;
use afferent_protocol::ids::{Epoch, Sequence, SequenceRange, Stream};
use afferent_protocol::session::signed::Nonce;
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::Identity;

use super::Plant;
use crate::faults::Fault;
use crate::planted::Planted;
use crate::rng::Rng;
use crate::said;

/// Messages that it remembers.
const REMEMBERED: usize = 64;

/// What it has recorded, by the agent that it was from or for.
#[derive(Debug, Default)]
pub struct Recorded {
    up: VecDeque<(usize, Vec<u8>)>,
    down: VecDeque<(usize, Vec<u8>)>,
}

impl Recorded {
    /// An agent has said this.
    pub fn up(&mut self, agent: usize, message: &[u8]) {
        keep(&mut self.up, agent, message);
    }

    /// This was said to an agent.
    pub fn down(&mut self, agent: usize, message: &[u8]) {
        keep(&mut self.down, agent, message);
    }
}

fn keep(list: &mut VecDeque<(usize, Vec<u8>)>, agent: usize, message: &[u8]) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back((agent, message.to_vec()));
}

impl Plant {
    /// It sends some messages to this agent, or in this agent's name.
    pub(super) fn stranger(&mut self, at: usize) {
        for _ in 0..=self.rng.below(4) {
            let to_agent = self.rng.coin();
            let recorded = &self.world.recorded;
            let list = if to_agent { &recorded.down } else { &recorded.up };
            let replayed: Vec<_> = list.iter().filter(|(agent, _)| *agent == at).collect();
            let message = match replayed.len() {
                0 => None,
                count if self.rng.coin() => Some(replayed[self.rng.index(count)].1.clone()),
                _ => None,
            };
            let fault = if message.is_some() { Fault::MessageReplayed } else { Fault::MessageForged };
            self.world.counts.fired(fault);
            let message = message.unwrap_or_else(|| self.forged(at, to_agent));
            let what = super::agent::describe(&message);
            if to_agent {
                self.world.tell(format_args!("a stranger says to agent {at}: {what}"));
                self.agents[at].receive(&mut self.world, &message);
            } else {
                self.world.tell(format_args!("a stranger says as agent {at}: {what}"));
                let name = self.agents[at].name;
                self.collector.receive(&mut self.world, name, &message, None);
            }
        }
    }

    /// A message that says what suits it, under a key of its own or unsigned.
    fn forged(&mut self, at: usize, to_agent: bool) -> Vec<u8> {
        let held = self.agents[at].held();
        let (name, nonce, place) = (self.agents[at].name, self.agents[at].nonce(), self.agents[at].place());
        let batches = self.world.recorded.up.iter().filter(|(agent, _)| *agent == at);
        let right = batches.flat_map(|(_, message)| split(message).map_while(Result::ok)).last().map(|batch| Resume {
            lane: Lane { stream: batch.header().stream, epoch: batch.header().epoch },
            end: batch.header().end(),
            check: Some(Check::of(&batch.chain_hash())),
        });
        if let Some(right) = right.filter(|_| to_agent && self.world.settings.planted == Planted::AckOfAnyKey) {
            let ack = Control::Ack([right].into_iter().collect());
            return said::down(&name, &self.world.collector_key, nonce, place, ack);
        }
        let control = forged_control(&held, right, to_agent, &mut self.rng);
        let stranger = Identity::from_seed(&self.rng.bytes());
        // What it has seen it knows; a nonce is no secret on a broker without access rules.
        let nonce = if self.rng.per_mille(700) { nonce } else { Nonce(self.rng.bytes()) };
        match self.rng.below(4) {
            0 => control.encode().to_vec(),
            _ if to_agent => said::down(&name, &stranger, nonce, place, control),
            _ => said::up(&name, &stranger, nonce, Nonce(self.rng.bytes()), control),
        }
    }
}

/// Something that would do harm if it were believed.
///
/// Whoever has seen a batch knows the `right` check of its end.
fn forged_control(held: &[Held], right: Option<Resume>, to_agent: bool, rng: &mut Rng) -> Control {
    let unknown = Held {
        lane: Lane { stream: Stream::Critical, epoch: Epoch::new(rng.number()) },
        first: Sequence::ZERO,
        end: Sequence::new(rng.below(100)),
    };
    let one = if held.is_empty() { unknown } else { held[rng.index(held.len())] };
    let lane = one.lane;
    let end = if rng.coin() { one.end } else { Sequence::new(rng.below(one.end.get() + 10)) };
    let check = if rng.per_mille(800) { Some(Check(rng.number())) } else { None };
    let resume = right.filter(|_| rng.coin()).unwrap_or(Resume { lane, end, check });
    if !to_agent {
        // That all which it holds will never come.
        let held = Held { lane, first: one.end, end: one.end };
        return Control::Hello(Hello { session: rng.number() as u32, lanes: [held].into_iter().collect() });
    }
    let range = SequenceRange { first: one.first, end: one.end };
    match rng.below(5) {
        0 => Control::Ack([resume].into_iter().collect()),
        1 => Control::Welcome(Welcome { session: rng.number() as u32, lanes: [resume].into_iter().collect() }),
        2 => Control::Nack { lane, from: end },
        3 => Control::Common(resume),
        _ => Control::Again { lane, range },
    }
}
