//! The network between the agents and the collector, with what such networks do.
//!
//! Three kinds of paths, each as bad as it may be: a *stream* (TCP straight to the collector: order is kept, and what
//! goes wrong breaks the connection), *datagrams* (anything may be lost, doubled, late or out of order; nothing here is
//! that bad, which is why a session must survive it), and a *broker*, which acknowledges what it then forgets.

mod broker;

use std::collections::BTreeMap;

use broker::Broker;
pub use broker::BrokerSettings;

use crate::faults::{Fault, FaultCounts};
use crate::rng::Rng;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// TCP to the collector's own endpoint.
    Stream,
    /// Every message by itself.
    Datagrams,
    /// Through a broker.
    Broker,
}

/// How bad the network is; chances in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct NetFaults {
    /// A message is lost (on a stream, and everything after it with the connection).
    pub loss: u32,
    /// A message comes twice (not on a stream).
    pub duplicate: u32,
    /// A message takes up to `delay_max_us` more; without a stream, later ones overtake it.
    pub delay: u32,
    /// The longest such delay.
    pub delay_max_us: u64,
    /// Bits of a message flip.
    pub corrupt: u32,
    /// What the broker does.
    pub broker: BrokerSettings,
}

impl NetFaults {
    /// A network without faults.
    pub const NONE: Self =
        Self { loss: 0, duplicate: 0, delay: 0, delay_max_us: 1, corrupt: 0, broker: BrokerSettings::HONEST };
}

/// What the network brings somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The agent's connection stands.
    Connected {
        /// The agent.
        agent: usize,
        /// Names the connection.
        connection: u64,
    },
    /// The agent's connection is gone, or could not be made.
    Closed {
        /// The agent.
        agent: usize,
        /// Names the connection.
        connection: u64,
    },
    /// The next hop has acknowledged a message (MQTT's PUBACK), which says nothing about any disk.
    Puback {
        /// The agent.
        agent: usize,
        /// The message's number, as [`SimNet::publish`] gave it.
        message: u64,
    },
    /// A message for the collector.
    Up {
        /// Who sent it.
        agent: usize,
        /// The message.
        payload: Vec<u8>,
    },
    /// A message for an agent.
    Down {
        /// For whom.
        agent: usize,
        /// The message.
        payload: Vec<u8>,
    },
}

#[derive(Clone, Debug, Default)]
struct Link {
    /// The connection that stands or is being made.
    connection: Option<u64>,
    established: bool,
    /// A stream that has lost something: nothing gets through any more.
    broken: bool,
    cut_until_us: u64,
    /// When the last message of a stream arrives, per direction.
    last_us: [u64; 2],
}

/// The whole network.
#[derive(Debug)]
pub struct SimNet {
    path: Path,
    faults: NetFaults,
    rng: Rng,
    links: Vec<Link>,
    under_way: BTreeMap<(u64, u64), Delivery>,
    numbers: u64,
    broker: Broker,
    counts: FaultCounts,
}

/// The least and the most time of a way through the network, in microseconds.
const LATENCY_US: (u64, u64) = (100, 3_000);

const UP: usize = 0;
const DOWN: usize = 1;

impl SimNet {
    /// A network for so many agents.
    pub fn new(path: Path, agents: usize, rng: Rng) -> Self {
        Self {
            path,
            faults: NetFaults::NONE,
            rng,
            links: vec![Link::default(); agents],
            under_way: BTreeMap::new(),
            numbers: 0,
            broker: Broker::default(),
            counts: FaultCounts::default(),
        }
    }

    /// From now on it is so bad.
    pub fn set_faults(&mut self, faults: NetFaults) {
        self.faults = faults;
    }

    /// The faults that have fired.
    pub fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// When the next delivery is due.
    pub fn next_at_us(&self) -> Option<u64> {
        self.under_way.keys().next().map(|(at_us, _)| *at_us)
    }

    /// The next delivery that is due.
    pub fn next(&mut self, now_us: u64) -> Option<Delivery> {
        loop {
            let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now_us)?;
            let delivery = entry.remove();
            if self.arrives(now_us, &delivery) {
                return Some(delivery);
            }
        }
    }

    /// Whether a message gets through its last hop.
    fn arrives(&mut self, now_us: u64, delivery: &Delivery) -> bool {
        match *delivery {
            Delivery::Connected { agent, connection } => {
                let link = &mut self.links[agent];
                link.established = link.connection == Some(connection);
                link.established
            }
            Delivery::Closed { agent, connection } => {
                let link = &mut self.links[agent];
                let current = link.connection == Some(connection);
                if current {
                    *link = Link { cut_until_us: link.cut_until_us, ..Link::default() };
                }
                current
            }
            Delivery::Up { .. } => {
                self.broker.taken();
                true
            }
            Delivery::Puback { agent, .. } | Delivery::Down { agent, .. } => {
                self.links[agent].established && now_us >= self.links[agent].cut_until_us
            }
        }
    }

    fn schedule(&mut self, at_us: u64, delivery: Delivery) {
        self.numbers += 1;
        self.under_way.insert((at_us, self.numbers), delivery);
    }

    fn latency(&mut self) -> u64 {
        self.rng.between(LATENCY_US.0, LATENCY_US.1)
    }

    /// The agent begins to connect; [`Delivery::Connected`] or [`Delivery::Closed`] follows.
    pub fn connect(&mut self, now_us: u64, agent: usize) {
        self.numbers += 1;
        let connection = self.numbers;
        let cut_until_us = self.links[agent].cut_until_us;
        self.links[agent] = Link { connection: Some(connection), cut_until_us, ..Link::default() };
        let at_us = now_us + 2 * self.latency();
        if now_us < cut_until_us {
            self.schedule(at_us + 500_000, Delivery::Closed { agent, connection });
        } else {
            self.schedule(at_us, Delivery::Connected { agent, connection });
        }
    }

    /// The agent closes its connection, or its machine is gone. What is under way may still arrive.
    pub fn disconnect(&mut self, agent: usize) {
        let link = &mut self.links[agent];
        *link = Link { cut_until_us: link.cut_until_us, ..Link::default() };
        if self.path == Path::Stream && self.rng.coin() {
            self.under_way
                .retain(|_, delivery| !matches!(delivery, Delivery::Up { agent: from, .. } if *from == agent));
        }
    }

    /// The connection is reset, if there is one: what was under way in it is lost, the agent is told.
    pub fn reset(&mut self, now_us: u64, agent: usize) {
        let Some(connection) = self.links[agent].connection else { return };
        self.counts.fired(Fault::ConnectionReset);
        self.links[agent].broken = true;
        if self.path == Path::Stream {
            self.under_way.retain(|_, delivery| {
                !matches!(delivery, Delivery::Up { agent: of, .. } | Delivery::Down { agent: of, .. } if *of == agent)
            });
        }
        let at_us = now_us + self.latency();
        self.schedule(at_us, Delivery::Closed { agent, connection });
    }

    /// Cuts the agent off until then. Its connection looks alive until somebody looks closer.
    pub fn partition(&mut self, now_us: u64, agent: usize, until_us: u64) {
        self.counts.fired(Fault::Partition);
        let link = &mut self.links[agent];
        link.cut_until_us = until_us;
        link.broken = link.connection.is_some();
        let connection = link.connection;
        if let (Some(connection), true) = (connection, self.rng.coin()) {
            let at_us = now_us + self.rng.below(2_000_000);
            self.schedule(at_us, Delivery::Closed { agent, connection });
        }
    }

    /// The broker restarts: what it held in memory is gone, and so are all connections.
    pub fn restart_broker(&mut self, now_us: u64) {
        if self.path != Path::Broker {
            return;
        }
        self.counts.fired(Fault::BrokerRestarted);
        self.broker.forget();
        self.under_way.retain(|_, delivery| !matches!(delivery, Delivery::Up { .. } | Delivery::Down { .. }));
        for agent in 0..self.links.len() {
            if let Some(connection) = self.links[agent].connection {
                self.links[agent].broken = true;
                let at_us = now_us + self.latency();
                self.schedule(at_us, Delivery::Closed { agent, connection });
            }
        }
    }

    /// All cuts end now.
    pub fn heal(&mut self, now_us: u64) {
        self.faults = NetFaults::NONE;
        self.links.iter_mut().for_each(|link| link.cut_until_us = link.cut_until_us.min(now_us));
    }

    /// An agent sends a message; gives the number that its [`Delivery::Puback`] will have.
    pub fn publish(&mut self, now_us: u64, agent: usize, payload: Vec<u8>) -> u64 {
        self.numbers += 1;
        let message = self.numbers;
        if self.path == Path::Broker {
            self.publish_to_broker(now_us, agent, message, payload);
        } else if let Some(at_us) = self.travel(now_us, agent, UP, Delivery::Up { agent, payload }) {
            self.schedule(at_us + 500, Delivery::Puback { agent, message });
        }
        message
    }

    /// The collector sends a message to an agent.
    pub fn answer(&mut self, now_us: u64, agent: usize, payload: Vec<u8>) {
        self.travel(now_us, agent, DOWN, Delivery::Down { agent, payload });
    }

    /// One way through the network, with its faults; gives when the message arrives, if it does.
    fn travel(&mut self, now_us: u64, agent: usize, direction: usize, mut delivery: Delivery) -> Option<u64> {
        let stream = self.path != Path::Datagrams;
        let unreachable = now_us < self.links[agent].cut_until_us || (stream && self.links[agent].broken);
        let gone = self.links[agent].connection.is_none();
        if unreachable || gone || self.rng.per_mille(self.faults.loss) {
            self.counts.fired(Fault::MessageLost);
            if stream && !unreachable && !gone {
                self.reset(now_us + 1_000, agent);
            }
            return None;
        }
        self.corrupt(&mut delivery);
        let mut at_us = now_us + self.latency();
        if self.rng.per_mille(self.faults.delay) {
            self.counts.fired(Fault::MessageDelayed);
            at_us += self.rng.below(self.faults.delay_max_us);
        }
        let last_us = &mut self.links[agent].last_us[direction];
        if stream {
            at_us = at_us.max(*last_us);
        } else if at_us < *last_us {
            self.counts.fired(Fault::MessageReordered);
        }
        *last_us = at_us.max(*last_us);
        if !stream && self.rng.per_mille(self.faults.duplicate) {
            self.counts.fired(Fault::MessageDuplicated);
            let again_us = at_us + self.rng.below(1_000_000);
            self.schedule(again_us, delivery.clone());
        }
        self.schedule(at_us, delivery);
        Some(at_us)
    }

    fn corrupt(&mut self, delivery: &mut Delivery) {
        if !self.rng.per_mille(self.faults.corrupt) {
            return;
        }
        if let Delivery::Up { payload, .. } | Delivery::Down { payload, .. } = delivery
            && !payload.is_empty()
        {
            self.counts.fired(Fault::MessageCorrupted);
            let at = self.rng.index(payload.len());
            payload[at] ^= 1 << self.rng.below(8);
            if self.rng.per_mille(200) {
                payload.truncate(at);
            }
        }
    }
}
