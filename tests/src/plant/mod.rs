//! Agents and a collector, wired up, driven, hurt, healed and judged.
//!
//! Time is a number that goes from one thing to do to the next; everything that is random comes from the seed. First
//! things go wrong for a while, then nothing does any more, and the plant must come to rest: all that was accepted is
//! at the collector. Then the [oracle](crate::oracle) reads the collector's platter.

mod agent;
mod auditor;
mod collector;
mod hits;
mod producer;
mod settings;
mod stranger;

use std::fmt;

use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::Identity;

pub use agent::{AgentNode, Stop};
pub use collector::CollectorNode;
pub use producer::OwnedEvent;
pub use settings::{Hit, PlantSettings};

use crate::faults::{Fault, FaultCounts};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::sim_net::{Delivery, Path, SimNet};
use crate::trace::Trace;

/// How long the plant may take to come to rest once nothing goes wrong any more, in simulated microseconds.
const REST_MAX_US: u64 = 600_000_000;
/// Certificates that are asked for at the end.
const QUESTIONS_LAST: u32 = 3;
/// Turns that one run may take: beyond it, something turns in circles.
const TURNS_MAX: u64 = 2_000_000;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Faults that fired.
    pub counts: FaultCounts,
    /// Events that producers pushed.
    pub pushed: usize,
    /// Events that producers were told are accepted.
    pub accepted: usize,
    /// Events in the log at the end.
    pub logged: usize,
    /// Certificates that called events complete.
    pub certified: u64,
}

/// What is not a machine's own.
pub struct World {
    /// What the run is like.
    pub settings: PlantSettings,
    /// Simulated time.
    pub now_us: u64,
    /// The network.
    pub net: SimNet,
    /// The judge.
    pub oracle: Oracle,
    /// What happened.
    pub trace: Trace,
    /// Faults of machines as a whole.
    pub counts: FaultCounts,
    names: Vec<SourceId>,
    /// The collector's key pair, for bugs that act as if an ack had come.
    collector_key: Identity,
    /// Certificates that called something complete, and were right.
    pub certified: u64,
    /// What a stranger has recorded.
    pub recorded: stranger::Recorded,
}

impl World {
    /// Adds a line to the trace.
    pub fn tell(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now_us, what);
    }

    /// The machines with this name: one, unless it was cloned.
    pub fn agents_of(&self, name: SourceId) -> Vec<usize> {
        let named = self.names.iter().enumerate().filter(|(_, known)| **known == name);
        named.map(|(index, _)| index).collect()
    }
}

/// The whole plant.
pub struct Plant {
    world: World,
    agents: Vec<AgentNode>,
    collector: CollectorNode,
    rng: Rng,
    /// The agent that may be cloned, to the last one.
    original: usize,
    hit_at_us: u64,
    trouble_ends_us: Vec<(u64, Option<usize>)>,
}

impl Plant {
    /// A plant whose machines start now.
    pub fn new(settings: PlantSettings) -> Self {
        let mut rng = Rng::new(settings.seed ^ 0xAFFE);
        let mut agents: Vec<AgentNode> =
            (0..settings.agents).map(|at| AgentNode::new(at, &settings, &mut rng)).collect();
        // A machine that may become a copy of one of them.
        let original = rng.index(agents.len());
        let twin = agents[original].twin(agents.len(), &mut rng);
        agents.push(twin);
        let keys: Vec<_> = agents.iter().map(|agent| (agent.name, agent.identity().public_key())).collect();
        let collector = CollectorNode::new(&settings, &mut rng);
        let mut net = SimNet::new(settings.path, agents.len(), rng.fork());
        net.set_faults(settings.net);
        let hit_at_us = rng.below(2 * settings.hit_every_us);
        let world = World {
            settings,
            now_us: 0,
            net,
            oracle: Oracle::new(&keys),
            trace: Trace::default(),
            counts: FaultCounts::default(),
            names: keys.iter().map(|(name, _)| *name).collect(),
            collector_key: collector.identity().clone(),
            certified: 0,
            recorded: stranger::Recorded::default(),
        };
        Self { world, agents, collector, rng, original, hit_at_us, trouble_ends_us: Vec::new() }
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.world.trace
    }

    /// Runs to the end and judges.
    pub fn run(&mut self) -> Result<Report, Failure> {
        let trouble_us = self.world.settings.trouble_us;
        let mut turns = 0;
        while self.next_at_us(true) < trouble_us {
            self.turn(true)?;
            turns += 1;
            if turns > TURNS_MAX {
                return Err(Failure("it turns in circles".to_owned()));
            }
        }
        self.world.now_us = trouble_us;
        self.heal();
        self.come_to_rest(&mut turns)?;
        // Who has nothing to send learns with its next heartbeat that the log was put back.
        self.agents.iter_mut().for_each(|agent| agent.beat(&mut self.world));
        self.come_to_rest(&mut turns)?;
        self.judge()
    }

    /// When something happens next.
    fn next_at_us(&self, hurting: bool) -> u64 {
        let agents = self.agents.iter().map(|agent| agent.wake_at_us(hurting)).min();
        let net = self.world.net.next_at_us();
        let hit = hurting.then_some(self.hit_at_us);
        let all = [agents, net, hit, Some(self.collector.wake_at_us())];
        all.into_iter().flatten().min().unwrap_or(u64::MAX).max(self.world.now_us)
    }

    /// Goes to the next moment in which something is to be done, and does it.
    fn turn(&mut self, hurting: bool) -> Result<(), Failure> {
        self.world.now_us = self.next_at_us(hurting);
        while let Some(delivery) = self.world.net.next(self.world.now_us) {
            self.deliver(delivery);
        }
        self.collector.turn(&mut self.world)?;
        for agent in &mut self.agents {
            agent.turn(&mut self.world, hurting)?;
        }
        if hurting && self.hit_at_us <= self.world.now_us {
            self.hit()?;
            self.hit_at_us = self.world.now_us + 1 + self.rng.below(2 * self.world.settings.hit_every_us);
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: Delivery) {
        let world = &mut self.world;
        match delivery {
            Delivery::Connected { agent, .. } => self.agents[agent].connected(world),
            Delivery::Closed { agent, .. } => {
                self.agents[agent].closed(world);
                let name = self.agents[agent].name;
                self.collector.closed(world, name, agent);
            }
            Delivery::Puback { agent, message } => self.agents[agent].puback(world, message),
            Delivery::Down { agent, payload } => {
                world.recorded.down(agent, &payload);
                self.agents[agent].receive(world, &payload);
            }
            Delivery::Up { agent, payload } if self.collector.is_up() => {
                let name = self.agents[agent].name;
                world.recorded.up(agent, &payload);
                self.collector.receive(world, name, &payload, Some(agent));
            }
            Delivery::Up { agent, .. } => {
                world.counts.fired(Fault::MessageLost);
                if world.settings.path == Path::Stream {
                    world.net.reset(world.now_us, agent);
                }
            }
        }
    }

    /// The agent's disk is copied to a second machine, which goes on from there: once in a run.
    fn clone_agent(&mut self) {
        let (twin, agents) = self.agents.split_last_mut().expect("there is always one that may become a copy");
        if twin.is_dormant() {
            self.world.counts.fired(Fault::AgentCloned);
            self.world.oracle.excuses[self.original].parted = true;
            self.world.oracle.excuses[twin.index].parted = true;
            twin.become_copy_of(&agents[self.original], &mut self.world);
        }
    }

    /// Nothing goes wrong any more.
    fn heal(&mut self) {
        self.world.tell(format_args!("from now on nothing goes wrong"));
        let now_us = self.world.now_us;
        self.world.net.heal(now_us);
        let disks = self.agents.iter().map(|agent| &agent.disk).chain([&self.collector.disk]);
        disks.for_each(|disk| {
            disk.set_faults(crate::sim_disk::DiskFaults::default());
            disk.stop_never();
        });
        for agent in &mut self.agents {
            // A segment whose head a start could not read is left for the next one.
            if agent.counts().of(Fault::ReadError) > 0 {
                agent.stop(&mut self.world, Stop::Crash);
            }
        }
    }

    fn come_to_rest(&mut self, turns: &mut u64) -> Result<(), Failure> {
        while !self.is_quiet() {
            *turns += 1;
            let next_us = self.next_at_us(false);
            if *turns > TURNS_MAX || next_us > self.world.settings.trouble_us + REST_MAX_US {
                let states: Vec<String> =
                    self.agents.iter().map(|agent| format!("{} {}", agent.name, agent.state())).collect();
                return Err(Failure(format!("the plant does not come to rest: {}", states.join("; "))));
            }
            self.turn(false)?;
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.collector.is_quiet() && self.agents.iter().all(AgentNode::is_quiet)
    }

    fn counts(&self) -> FaultCounts {
        let mut counts = self.world.counts.clone();
        counts.add(self.world.net.counts());
        counts.add(&self.collector.counts());
        self.agents.iter().for_each(|agent| counts.add(&agent.counts()));
        counts
    }

    fn judge(&mut self) -> Result<Report, Failure> {
        for agent in &self.agents {
            let counts = agent.counts();
            let excuses = &mut self.world.oracle.excuses[agent.index];
            excuses.rotted = counts.of(Fault::BitRot) > 0;
            excuses.unread = counts.of(Fault::ReadError) > 0;
        }
        let rings: Vec<_> = self.agents.iter().map(AgentNode::ring).collect();
        let files = self.collector.disk.durable_files();
        let view = self.world.oracle.acks_hold(&files).map_err(Failure)?;
        for (offset, source, loss) in &view.losses {
            let (lane, range) = (format!("{}-{}", loss.stream, loss.epoch), format!("{}..{}", loss.first, loss.end));
            self.world.tell(format_args!("at {offset} {source} declares {lane}:{range} lost: {:?}", loss.reason));
        }
        for gap in &view.gaps {
            let lane = format!("{}-{}", gap.lane.stream, gap.lane.epoch);
            self.world
                .tell(format_args!("at {} a gap of {} {lane}:{}..{}", gap.offset, gap.source, gap.first, gap.end));
        }
        self.world.oracle.judge(&view, &rings).map_err(Failure)?;
        self.collector.see_places(&mut self.world)?;
        self.collector.end(&mut self.world, QUESTIONS_LAST)?;
        let mut counts = self.counts();
        let evicted = |reason| matches!(reason, afferent_protocol::event::LossReason::Evicted);
        view.losses.iter().filter(|(_, _, loss)| evicted(loss.reason)).for_each(|_| counts.fired(Fault::RingEvicted));
        let ledger = &self.world.oracle.ledger;
        let logged = view.batches.iter().map(|batch| batch.events.len()).sum();
        let (pushed, accepted, certified) = (ledger.pushed_count(), ledger.accepted_count(), self.world.certified);
        let report = Report { counts, pushed, accepted, logged, certified };
        self.world.tell(format_args!("well: pushed {} accepted {} logged {logged}", report.pushed, report.accepted));
        Ok(report)
    }
}
