//! What happens to whole machines and links.

use super::{Failure, Hit, Plant, Stop};
use crate::faults::Fault;
use crate::rng::Rng;
use crate::sim_disk::{DiskFaults, SimDisk};

/// A stop in the middle of an operation comes within so many of them.
const OPERATIONS_TO_STOP: u64 = 24;

/// Certificates that are asked for while the collector is off.
const QUESTIONS: u32 = 2;

impl Plant {
    /// Something happens to somebody.
    pub(super) fn hit(&mut self) -> Result<(), Failure> {
        self.end_trouble();
        let hits = &self.world.settings.hits;
        let hit = hits[self.rng.index(hits.len())];
        let at = self.rng.index(self.world.settings.agents);
        let now_us = self.world.now_us;
        match hit {
            Hit::AgentCrash => self.stop_agent(at, Stop::Crash),
            Hit::AgentPowerCut => self.stop_agent(at, Stop::PowerCut),
            Hit::AgentDiskLost if self.rng.coin() => self.agents[at].lose_disk(&mut self.world),
            Hit::AgentDiskLost => self.stop_agent(at, Stop::PowerCut),
            Hit::AgentBitRot => {
                let rotten = self.agents[at].disk.rot();
                self.world.tell(format_args!("agent {at}: a bit flips in {rotten:?}"));
            }
            Hit::CollectorCrash => self.stop_collector(Stop::Crash),
            Hit::CollectorPowerCut => self.stop_collector(Stop::PowerCut),
            Hit::Partition => {
                let until_us = now_us + self.rng.between(50_000, 4_000_000);
                self.world.tell(format_args!("agent {at} is cut off until {until_us}"));
                self.world.net.partition(now_us, at, until_us);
            }
            Hit::Reset => self.world.net.reset(now_us, at),
            Hit::BrokerRestart => self.world.net.restart_broker(now_us),
            Hit::ClockStep => self.step_clock(at),
            Hit::AgentDiskTrouble => self.trouble(Some(at)),
            Hit::CollectorDiskTrouble => self.trouble(None),
            Hit::Stranger => self.stranger(at),
            Hit::AgentRestored => self.agents[at].copy_or_put_back(&mut self.world),
            Hit::AgentCloned => self.clone_agent(),
            Hit::SegmentLost => self.agents[at].lose_segment(&mut self.world),
            Hit::CollectorEnded => self.collector.end(&mut self.world, QUESTIONS)?,
            Hit::CollectorRestored => self.collector.copy_or_put_back(&mut self.world)?,
        }
        Ok(())
    }

    /// Now, or in the middle of one of the next operations of its disk.
    fn stop_agent(&mut self, at: usize, stop: Stop) {
        if self.rng.per_mille(300) {
            self.agents[at].stop(&mut self.world, stop);
        } else {
            let agent = &mut self.agents[at];
            agent.planned_stop = Some(plan(&agent.disk, stop, &mut self.rng));
        }
    }

    fn stop_collector(&mut self, stop: Stop) {
        if self.rng.per_mille(300) {
            self.collector.stop(&mut self.world, stop);
        } else {
            self.collector.planned_stop = Some(plan(&self.collector.disk, stop, &mut self.rng));
        }
    }

    fn step_clock(&mut self, at: usize) {
        let collector = self.rng.per_mille(250);
        self.world.counts.fired(if collector { Fault::CollectorClockStepped } else { Fault::ClockStepped });
        let clock = if collector { &mut self.collector.clock } else { &mut self.agents[at].clock };
        let step = clock.step(&mut self.rng);
        let whose = if collector { "the collector's".to_owned() } else { format!("agent {at}'s") };
        self.world.tell(format_args!("{whose} clock steps by {step}"));
    }

    /// A disk fails for a while.
    fn trouble(&mut self, agent: Option<usize>) {
        let until_us = self.world.now_us + self.rng.between(100_000, 3_000_000);
        let mut faults = self.world.settings.disk;
        if agent.is_none() {
            // Nothing can be done about a log that cannot be read back, and its losses are not excused.
            faults.read_error = 0;
        }
        self.world.tell(format_args!("the disk of {agent:?} fails until {until_us}"));
        self.disk(agent).set_faults(faults);
        self.trouble_ends_us.push((until_us, agent));
        // Files are made and removed where a disk is in trouble: often that is when somebody pulls the plug.
        if self.rng.per_mille(600) {
            self.disk(agent).stop_at_names();
            let planned = agent.map_or(&mut self.collector.planned_stop, |at| &mut self.agents[at].planned_stop);
            *planned = Some(Stop::PowerCut);
        }
    }

    fn end_trouble(&mut self) {
        let now_us = self.world.now_us;
        let over: Vec<_> = self.trouble_ends_us.iter().filter(|(until_us, _)| *until_us <= now_us).copied().collect();
        self.trouble_ends_us.retain(|(until_us, _)| *until_us > now_us);
        over.into_iter().for_each(|(_, agent)| self.disk(agent).set_faults(DiskFaults::default()));
    }

    fn disk(&self, agent: Option<usize>) -> &SimDisk {
        agent.map_or(&self.collector.disk, |at| &self.agents[at].disk)
    }
}

/// Plans a stop in the middle of an operation. Names change rarely: when they do, the power goes.
fn plan(disk: &SimDisk, stop: Stop, rng: &mut Rng) -> Stop {
    if rng.per_mille(400) {
        disk.stop_at_names();
        return Stop::PowerCut;
    }
    disk.stop_after(rng.below(OPERATIONS_TO_STOP));
    stop
}
