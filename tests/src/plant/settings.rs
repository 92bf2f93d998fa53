//! What one run is like: the seed decides which faults are in it at all, and how bad they are.

use crate::planted::Planted;
use crate::rng::Rng;
use crate::sim_disk::DiskFaults;
use crate::sim_net::{BrokerSettings, NetFaults, Path};

/// What happens to whole machines and links, and how often in comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// An agent's process dies.
    AgentCrash,
    /// An agent's machine loses power.
    AgentPowerCut,
    /// An agent's disk is replaced.
    AgentDiskLost,
    /// A bit of an agent's disk flips.
    AgentBitRot,
    /// The collector's process dies.
    CollectorCrash,
    /// The collector's machine loses power.
    CollectorPowerCut,
    /// The collector ends as it was told to.
    CollectorEnded,
    /// An agent is cut off.
    Partition,
    /// A connection is reset.
    Reset,
    /// The broker restarts.
    BrokerRestart,
    /// A wall clock is set.
    ClockStep,
    /// An agent's disk fails for a while.
    AgentDiskTrouble,
    /// The collector's disk fails for a while.
    CollectorDiskTrouble,
    /// A stranger sends messages in the name of others, or sends again what it has recorded.
    Stranger,
    /// An agent's disk is copied, and later put back.
    AgentRestored,
    /// An agent's disk is copied to a second machine.
    AgentCloned,
    /// A file of an agent's ring log is gone.
    SegmentLost,
    /// The collector's disk is copied, and later put back.
    CollectorRestored,
}

impl Hit {
    const ALL: [Self; 18] = [
        Self::AgentCrash,
        Self::AgentPowerCut,
        Self::AgentDiskLost,
        Self::AgentBitRot,
        Self::CollectorCrash,
        Self::CollectorPowerCut,
        Self::CollectorEnded,
        Self::Partition,
        Self::Reset,
        Self::BrokerRestart,
        Self::ClockStep,
        Self::AgentDiskTrouble,
        Self::CollectorDiskTrouble,
        Self::Stranger,
        Self::AgentRestored,
        Self::AgentCloned,
        Self::SegmentLost,
        Self::CollectorRestored,
    ];

    /// Whether histories part by it, which excuses something.
    const fn parts(self) -> bool {
        matches!(self, Self::AgentRestored | Self::AgentCloned | Self::SegmentLost | Self::CollectorRestored)
    }
}

/// What one run is like.
#[derive(Clone, Debug)]
pub struct PlantSettings {
    /// Decides everything.
    pub seed: u64,
    /// How many agents.
    pub agents: usize,
    /// How they reach the collector.
    pub path: Path,
    /// How bad the network is.
    pub net: NetFaults,
    /// How bad a disk is while it is in trouble.
    pub disk: DiskFaults,
    /// What happens to whole machines and links.
    pub hits: Vec<Hit>,
    /// Microseconds between two of these, on average.
    pub hit_every_us: u64,
    /// How long things go wrong, in microseconds.
    pub trouble_us: u64,
    /// Microseconds between two bursts of events of one agent, on average.
    pub push_every_us: u64,
    /// Events in a burst, at most.
    pub burst_max: u64,
    /// Bytes of the longest text in an event.
    pub text_bytes_max: u64,
    /// Segments of 64 KiB in a ring.
    pub ring_segments: u64,
    /// In how many pieces a batch goes over the line; 0 is as a whole.
    pub cuts: usize,
    /// Whether clocks drift.
    pub drifts: bool,
    /// The bug that is in it.
    pub planted: Planted,
}

impl PlantSettings {
    /// What the seed decides.
    pub fn of_seed(seed: u64, planted: Planted) -> Self {
        let mut rng = Rng::new(seed);
        let path = [Path::Stream, Path::Datagrams, Path::Broker][rng.index(3)];
        let mut hits: Vec<Hit> = Hit::ALL.into_iter().filter(|_| rng.per_mille(600)).collect();
        if hits.is_empty() {
            hits.push(Hit::AgentPowerCut);
        }
        // Few runs lose disks or bits: both excuse much, and what is excused is not tested.
        let excusing = rng.per_mille(350);
        hits.retain(|hit| excusing || !matches!(hit, Hit::AgentDiskLost | Hit::AgentBitRot));
        // The same for histories that part: one way in a run, so that the others are seen alone.
        let parting = if rng.per_mille(550) { Some(rng.index(4)) } else { None };
        let ways = [Hit::AgentRestored, Hit::AgentCloned, Hit::SegmentLost, Hit::CollectorRestored];
        hits.retain(|hit| !hit.parts());
        if let Some(way) = parting {
            // Often enough to happen, whatever else does.
            hits.extend([ways[way]; 3]);
        }
        if planted == Planted::TornTailReused {
            // It has no witness either, which would be found for the sake of files that are lost. What power cuts tear
            // nobody was told to be accepted; it takes a tail that rots.
            hits.retain(|hit| !hit.parts());
            hits.extend([Hit::AgentBitRot; 4]);
            hits.extend([Hit::AgentPowerCut; 4]);
        }
        if planted == Planted::StaleSeed {
            // Old entries come back only where a start reads a segment that was started over.
            hits.retain(|hit| !hit.parts());
            hits.extend([Hit::AgentCrash; 4]);
            hits.extend([Hit::AgentPowerCut; 4]);
        }
        let heavy = rng.per_mille(350);
        Self {
            seed,
            agents: 1 + rng.index(3),
            path,
            net: Self::net(&mut rng),
            disk: DiskFaults {
                write_error: 200 * u32::from(rng.coin()),
                sync_error: 200 * u32::from(rng.coin()),
                read_error: 50 * u32::from(excusing && rng.coin()),
                no_space: 500 * u32::from(rng.coin()),
            },
            hits,
            hit_every_us: rng.between(150_000, 2_000_000),
            trouble_us: rng.between(3_000_000, 10_000_000),
            push_every_us: rng.between(20_000, 150_000),
            burst_max: rng.between(1, 16),
            text_bytes_max: if heavy { 8_000 } else { rng.between(8, 600) },
            ring_segments: rng.between(5, 9),
            // Not drawn, so that a seed is otherwise the run that it was. Pieces come in order, or not at all.
            cuts: if path == Path::Stream { [0, 2, 4][(seed % 3) as usize] } else { 0 },
            drifts: rng.coin(),
            planted,
        }
    }

    fn net(rng: &mut Rng) -> NetFaults {
        let mut sometimes = |parts_max: u64| if rng.coin() { rng.below(parts_max) as u32 } else { 0 };
        let (loss, duplicate, delay, corrupt) = (sometimes(150), sometimes(200), sometimes(200), sometimes(40));
        let (forget, replay) = (sometimes(150), sometimes(200));
        let queue_max = if rng.coin() { rng.between(1, 20) as usize } else { usize::MAX };
        let broker = BrokerSettings { forget, replay, queue_max, linger_max_us: rng.between(1, 200_000) };
        NetFaults { loss, duplicate, delay, delay_max_us: rng.between(1_000, 2_000_000), corrupt, broker }
    }
}
