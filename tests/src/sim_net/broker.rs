//! The broker in between: it acknowledges at once, and then does what brokers do.

use std::collections::VecDeque;

use super::{Delivery, Path, SimNet};
use crate::faults::Fault;

/// How far the broker can be trusted; chances in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct BrokerSettings {
    /// It forgets a message that it has acknowledged.
    pub forget: u32,
    /// It sends one of the last messages again.
    pub replay: u32,
    /// Messages in its queue; those beyond it are dropped.
    pub queue_max: usize,
    /// How long a message may lie in its queue.
    pub linger_max_us: u64,
}

impl BrokerSettings {
    /// A broker that does as it should.
    pub const HONEST: Self = Self { forget: 0, replay: 0, queue_max: usize::MAX, linger_max_us: 1 };
}

/// Messages that the broker remembers to replay.
const REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Broker {
    queued: usize,
    /// When the last message of the queue leaves it.
    last_us: u64,
    old: VecDeque<(usize, Vec<u8>)>,
}

impl Broker {
    /// A message has left the queue.
    pub(super) fn taken(&mut self) {
        self.queued = self.queued.saturating_sub(1);
    }

    /// It restarts with an empty memory; what it had sent before it may have written to its own disk.
    pub(super) fn forget(&mut self) {
        self.queued = 0;
    }
}

impl SimNet {
    pub(super) fn publish_to_broker(&mut self, now_us: u64, agent: usize, message: u64, payload: Vec<u8>) {
        debug_assert_eq!(self.path, Path::Broker);
        let link = &self.links[agent];
        if link.broken || !link.established || now_us < link.cut_until_us {
            self.counts.fired(Fault::MessageLost);
            return;
        }
        let at_us = now_us + self.latency();
        self.schedule(at_us + 100, Delivery::Puback { agent, message });
        let settings = self.faults.broker;
        if self.rng.per_mille(settings.forget) {
            self.counts.fired(Fault::BrokerForgot);
            return;
        }
        if self.broker.queued >= settings.queue_max {
            self.counts.fired(Fault::BrokerDropped);
            return;
        }
        let mut delivery = Delivery::Up { agent, payload };
        self.corrupt(&mut delivery);
        let Delivery::Up { payload, .. } = &delivery else { unreachable!("it is the one from above") };
        self.broker.old.push_back((agent, payload.clone()));
        if self.broker.old.len() > REMEMBERED {
            self.broker.old.pop_front();
        }
        let leaves_us = (at_us + self.rng.below(settings.linger_max_us)).max(self.broker.last_us);
        self.broker.last_us = leaves_us;
        self.broker.queued += 1;
        self.schedule(leaves_us, delivery);
        if self.rng.per_mille(settings.replay) {
            let old = self.rng.index(self.broker.old.len());
            let (agent, payload) = self.broker.old[old].clone();
            self.counts.fired(Fault::BrokerReplayed);
            let again_us = at_us + self.rng.below(5_000_000);
            self.broker.queued += 1;
            self.schedule(again_us, Delivery::Up { agent, payload });
        }
    }
}
