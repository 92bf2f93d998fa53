//! One agent's machine: the real core on a simulated disk, clock and network.

mod line;

use std::collections::{BTreeMap, VecDeque};

use afferent_agent::core::{AgentCore, CoreSettings, Now};
use afferent_agent::intake::sink::{Refusal, Waiting};
use afferent_agent::keep::Kept;
use afferent_agent::ring_log::{RingIdentity, RingSettings};
use afferent_agent::sequencer::{CommitSettings, OpenBatches};
use afferent_agent::trust::TrustSettings;
use afferent_protocol::event::{Body, Event, LifeCycle};
use afferent_protocol::ids::{SourceId, Stream, Subject};
use afferent_protocol::session::signed::{Nonce, Place};
use afferent_protocol::session::{Held, Resume, SenderSettings};
use afferent_protocol::sign::Identity;

use super::producer::OwnedEvent;
use super::{Failure, PlantSettings, World};
use crate::faults::{Fault, FaultCounts};
use crate::oracle::{Ends, Pushed, SeenRing, find_in_ring};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::sim_clock::SimClock;
use crate::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

pub use line::describe;

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its process dies.
    Crash,
    /// Its power goes.
    PowerCut,
}

impl Stop {
    /// The disk as the machine's next start finds it; a power cut restarts its clock as well.
    pub(super) fn left_of(self, disk: &SimDisk, clock: &mut SimClock, now_us: u64, rng: &mut Rng) -> SimDisk {
        match self {
            Self::Crash => disk.process_end(),
            Self::PowerCut => {
                clock.reboot(now_us, rng);
                disk.power_cut()
            }
        }
    }
}

/// One agent's machine.
pub struct AgentNode {
    /// Its place among the agents.
    pub index: usize,
    /// Its name.
    pub name: SourceId,
    /// What the trace calls it.
    label: String,
    /// Where the collector's log was by its last message: no secret for whoever listens.
    place: Place,
    /// Its disk.
    pub disk: SimDisk,
    /// The directory of its ring's witness.
    pub witness: SimDisk,
    /// Its clocks.
    pub clock: SimClock,
    /// What stops it in the middle of the operation that its disk was told to stop in.
    pub planned_stop: Option<Stop>,
    identity: Identity,
    rng: Rng,
    /// A copy of its disk, and what it had accepted when it was made.
    copy: Option<Copied>,
    /// What it keeps beside its ring log.
    kept: Kept,
    life: Option<Life>,
    /// Whether its key has been used.
    has_run: bool,
    up_at_us: u64,
    push_at_us: u64,
    pushed: u64,
    thrown_away: FaultCounts,
}

/// A copy of a machine's disk.
struct Copied {
    ring: Vec<(String, Vec<u8>)>,
    witness: Vec<(String, Vec<u8>)>,
    accepted: Ends,
}

/// A running process.
struct Life {
    core: AgentCore<CheatingDisk>,
    open: OpenBatches,
    /// Events that are in a commit and not durable, by [`Stream::number`].
    waiting: [VecDeque<(u64, OwnedEvent)>; 2],
    connect_at_us: Option<u64>,
    poll_at_us: Option<u64>,
    message: Vec<u8>,
    /// What is in messages that the next hop has not confirmed: for bugs that trust it.
    unconfirmed: BTreeMap<u64, Vec<Resume>>,
}

impl AgentNode {
    /// A machine that starts at once.
    pub fn new(index: usize, settings: &PlantSettings, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        Self {
            index,
            name: SourceId::new(&format!("press-{index}")).expect("it is a name"),
            label: format!("press-{index}"),
            place: Place::default(),
            disk: SimDisk::new(rng.fork()),
            witness: SimDisk::new(rng.fork()),
            clock: SimClock::new(0, settings.drifts, &mut rng),
            planned_stop: None,
            identity: Identity::from_seed(&rng.bytes()),
            copy: None,
            kept: Kept::default(),
            life: None,
            has_run: false,
            up_at_us: 0,
            push_at_us: 0,
            pushed: 0,
            thrown_away: FaultCounts::default(),
            rng,
        }
    }

    /// Its key pair.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The faults of all disks that it had.
    pub fn counts(&self) -> FaultCounts {
        let mut counts = self.thrown_away.clone();
        counts.add_disk(&self.disk.counts());
        counts
    }

    fn now(&self, now_us: u64) -> Now {
        // The process counts its milliseconds from its start, but what it keeps does not outlive it either.
        Now { ms: now_us / 1000, clock: self.clock.reading(now_us) }
    }

    /// When it has something to do.
    pub fn wake_at_us(&self, pushing: bool) -> u64 {
        let Some(life) = &self.life else { return self.up_at_us };
        let due = Stream::ALL.into_iter().filter(|stream| !life.core.is_pending(*stream));
        let due = due.filter_map(|stream| life.open.due_ms(stream)).min();
        let ms = [due, life.core.retry_at_ms()].into_iter().flatten().min().map(|ms| ms * 1000);
        let push = pushing.then_some(self.push_at_us);
        [ms, push, life.connect_at_us, life.poll_at_us].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Whether everything that it ever accepted is off its hands.
    pub fn is_quiet(&self) -> bool {
        self.is_dormant()
            || self.life.as_ref().is_some_and(|life| {
                let open = Stream::ALL.into_iter().any(|stream| life.open.due_ms(stream).is_some());
                let pending = Stream::ALL.into_iter().any(|stream| life.core.is_pending(stream));
                !open
                    && !pending
                    && !life.core.ring().resealing()
                    && life.core.ring().held().iter().all(|held| held.first >= held.end)
            })
    }

    /// What it still has, for people.
    pub fn state(&self) -> String {
        match &self.life {
            None => "down".to_owned(),
            Some(life) => format!(
                "holds {:?}, {}, session {:?}",
                life.core.ring().held(),
                if life.core.ring().resealing() { "sealing again" } else { "at rest" },
                life.core.sender()
            ),
        }
    }

    /// Does what is due.
    pub fn turn(&mut self, world: &mut World, pushing: bool) -> Result<(), Failure> {
        if self.life.is_none() {
            if world.now_us >= self.up_at_us {
                self.start(world);
            }
            return Ok(());
        }
        if pushing && world.now_us >= self.push_at_us && !self.is_dormant() {
            self.push(world);
        }
        self.commit(world)?;
        self.connect(world);
        self.send(world)?;
        self.stop_if_planned(world);
        Ok(())
    }

    fn start(&mut self, world: &mut World) {
        let settings = CoreSettings {
            ring: RingSettings {
                pool_bytes: world.settings.ring_segments * 64 * 1024,
                segment_bytes: 64 * 1024,
                critical_reserve_segments: 2,
            },
            sender: SenderSettings { window_bytes: 48 * 1024, message_bytes_max: 16 * 1024, timeout_ms: 400 },
        };
        let disk = CheatingDisk::new(self.disk.clone(), world.settings.planted.agent_disk());
        if world.settings.planted == Planted::TornTailReused {
            self.witness = SimDisk::new(self.rng.fork());
        }
        let witness = CheatingDisk::new(self.witness.clone(), DiskCheat::Honest);
        let who = RingIdentity { source: self.name, identity: self.identity.clone() };
        let clock = self.clock.reading(world.now_us);
        let mut rng = self.rng.fork();
        let opened = AgentCore::open(disk, witness, settings, who, &clock, &mut || rng.number());
        if self.disk.is_stopped() {
            drop(opened);
            self.stop_if_planned(world);
            return;
        }
        match opened {
            Ok((mut core, mut recovery)) => {
                recovery.note_identity(self.has_run);
                self.has_run = true;
                world.tell(format_args!("{} starts: {recovery:?}", self.label));
                core.remember(self.kept.clone());
                core.trust(TrustSettings { keys: vec![world.collector_key.public_key()], trust_first: false });
                let mut open = OpenBatches::new(CommitSettings::default(), core.open_batch_bytes_max());
                if let Some(message) = &recovery.replaced {
                    let subject = Subject::new(self.name.as_str()).expect("a name is a subject");
                    let body = Body::LifeCycle(LifeCycle::RingReplaced { message });
                    let event = Event { time: clock.wall, subject, body };
                    open.push(&event, Waiting::Nobody, world.now_us / 1000).expect("the first event is taken");
                }
                self.life = Some(Life {
                    core,
                    open,
                    waiting: Default::default(),
                    connect_at_us: Some(world.now_us),
                    poll_at_us: None,
                    message: Vec::new(),
                    unconfirmed: BTreeMap::new(),
                });
            }
            Err(error) => {
                world.tell(format_args!("{} cannot start: {error}", self.label));
                self.up_at_us = world.now_us + 1_000_000;
            }
        }
    }

    /// The machine's process is gone. What was said to nobody before was not said.
    pub fn stop(&mut self, world: &mut World, stop: Stop) {
        world.tell(format_args!("{} stops: {stop:?}", self.label));
        self.life = None;
        self.planned_stop = None;
        world.net.disconnect(self.index);
        self.disk = stop.left_of(&self.disk, &mut self.clock, world.now_us, &mut self.rng);
        self.witness = match stop {
            Stop::Crash => self.witness.process_end(),
            Stop::PowerCut => self.witness.power_cut(),
        };
        world.counts.fired(match stop {
            Stop::Crash => Fault::AgentCrash,
            Stop::PowerCut => Fault::AgentPowerCut,
        });
        self.up_at_us = world.now_us + self.rng.between(10_000, 1_500_000);
    }

    fn stop_if_planned(&mut self, world: &mut World) {
        if self.disk.is_stopped() {
            let stop = self.planned_stop.unwrap_or(Stop::Crash);
            self.stop(world, stop);
        }
    }

    /// The disk is replaced with an empty one: what was on it and not shipped, nobody can even name.
    pub fn lose_disk(&mut self, world: &mut World) {
        self.stop(world, Stop::PowerCut);
        world.counts.fired(Fault::AgentDiskLost);
        self.thrown_away.add_disk(&self.disk.counts());
        self.disk = SimDisk::new(self.rng.fork());
        self.witness = SimDisk::new(self.rng.fork());
        let lanes = world.oracle.ledger.accepted().keys().filter(|(agent, _)| *agent == self.index);
        world.oracle.excuses[self.index].thrown_away.extend(lanes.map(|(_, lane)| *lane));
    }

    /// A machine that is not there until it becomes a copy of this one.
    pub fn twin(&self, index: usize, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        Self {
            index,
            name: self.name,
            label: format!("{}'s twin", self.name),
            place: self.place,
            disk: SimDisk::new(rng.fork()),
            witness: SimDisk::new(rng.fork()),
            clock: self.clock.clone(),
            planned_stop: None,
            identity: self.identity.clone(),
            copy: None,
            kept: Kept::default(),
            life: None,
            has_run: true,
            up_at_us: u64::MAX,
            push_at_us: 0,
            pushed: 0,
            thrown_away: FaultCounts::default(),
            rng,
        }
    }

    /// Whether it is not there yet.
    pub fn is_dormant(&self) -> bool {
        self.life.is_none() && self.up_at_us == u64::MAX
    }

    /// Goes on from what the other machine has on its disk now.
    pub fn become_copy_of(&mut self, original: &Self, world: &mut World) {
        world.tell(format_args!("{} is cloned to machine {}", self.label, self.index));
        self.disk = SimDisk::of_files(&original.disk.durable_files(), self.rng.fork());
        self.witness = SimDisk::of_files(&original.witness.durable_files(), self.rng.fork());
        self.clock.reboot(world.now_us, &mut self.rng);
        self.pushed = original.pushed;
        self.up_at_us = world.now_us;
    }

    /// Its disk is copied; or a copy that was made is put back.
    pub fn copy_or_put_back(&mut self, world: &mut World) {
        match self.copy.take() {
            None => {
                world.tell(format_args!("the disk of {} is copied", self.label));
                let accepted = world.oracle.ledger.ends(self.index);
                let (ring, witness) = (self.disk.durable_files(), self.witness.durable_files());
                self.copy = Some(Copied { ring, witness, accepted });
            }
            Some(Copied { ring, witness, accepted }) => {
                self.stop(world, Stop::PowerCut);
                world.tell(format_args!("the disk of {} is put back from the copy", self.label));
                world.counts.fired(Fault::AgentRestored);
                self.thrown_away.add_disk(&self.disk.counts());
                self.disk = SimDisk::of_files(&ring, self.rng.fork());
                // Of all of its data, or of the ring's directory alone: then the witness knows better.
                if self.rng.coin() {
                    self.witness = SimDisk::of_files(&witness, self.rng.fork());
                }
                world.oracle.ledger.strand(self.index, &accepted);
                world.oracle.excuses[self.index].parted = true;
            }
        }
    }

    /// A file of its ring log is gone while its machine is off.
    pub fn lose_segment(&mut self, world: &mut World) {
        let mut files = self.disk.durable_files();
        let of_ring = |(name, bytes): &(String, Vec<u8>)| name.starts_with("ring-") && bytes.iter().any(|b| *b != 0);
        let held: Vec<usize> = files.iter().enumerate().filter(|(_, file)| of_ring(file)).map(|(at, _)| at).collect();
        if held.is_empty() {
            return;
        }
        self.stop(world, Stop::PowerCut);
        let lost = held[self.rng.index(held.len())];
        let name = files[lost].0.clone();
        match self.rng.below(3) {
            0 => drop(files.remove(lost)),
            1 => files[lost].1.fill(0),
            _ => files[lost].1.clear(),
        }
        world.tell(format_args!("{} loses {name} of its ring", self.label));
        world.counts.fired(Fault::SegmentLost);
        self.thrown_away.add_disk(&self.disk.counts());
        self.disk = SimDisk::of_files(&files, self.rng.fork());
        world.oracle.excuses[self.index].files_lost = true;
    }

    /// Its ring.
    pub fn ring(&self) -> SeenRing {
        let ring = self.life.as_ref().map(|life| life.core.ring());
        let lanes =
            ring.iter().flat_map(|ring| ring.held().into_iter().map(|held| (held.lane, ring.oldest(held.lane))));
        SeenRing {
            files: self.disk.durable_files(),
            oldest: lanes.map(|(lane, oldest)| (lane, oldest.get())).collect(),
        }
    }

    /// What it holds, as a stranger may know it.
    pub fn held(&self) -> Vec<Held> {
        self.life.as_ref().map(|life| life.core.ring().held()).unwrap_or_default()
    }

    /// Where the collector's log was by its last message.
    pub fn place(&self) -> Place {
        self.place
    }

    /// That of its connection.
    pub fn nonce(&self) -> Nonce {
        self.life.as_ref().map_or(Nonce::NONE, |life| life.core.nonce())
    }

    /// Says where its lanes end.
    pub fn beat(&mut self, world: &mut World) {
        let now = self.now(world.now_us);
        if let Some(life) = &mut self.life {
            world.oracle.beats(self.index, now.clock.wall);
            // A full batch takes none: another time.
            let _ = life.core.heartbeat(&mut life.open, &now);
        }
    }

    fn push(&mut self, world: &mut World) {
        self.push_at_us = world.now_us + 1 + self.rng.below(2 * world.settings.push_every_us);
        if self.rng.per_mille(200) {
            self.beat(world);
        }
        let Some(life) = &mut self.life else { return };
        let settings = &world.settings;
        let waiting = if self.rng.coin() { Waiting::Producer } else { Waiting::Nobody };
        for _ in 0..=self.rng.below(settings.burst_max) {
            let time = self.clock.reading(world.now_us).wall;
            let owned = OwnedEvent::new(self.index, self.pushed, time, settings.text_bytes_max, &mut self.rng);
            let event = owned.event();
            match life.open.push(&event, waiting, world.now_us / 1000) {
                Ok(ticket) => {
                    let pushed = Pushed { agent: self.index, stream: ticket.stream, index: self.pushed, time };
                    world.oracle.ledger.push(owned.content(), pushed);
                    life.waiting[usize::from(ticket.stream.number())].push_back((ticket.commit, owned));
                    self.pushed += 1;
                }
                Err(Refusal::Full | Refusal::Unwritable(_)) => return,
                Err(refusal) => unreachable!("the plant's events are right, and nobody stops it: {refusal}"),
            }
        }
    }

    fn commit(&mut self, world: &mut World) -> Result<(), Failure> {
        let now = self.now(world.now_us);
        for retries in [true, false] {
            let Some(life) = &mut self.life else { return Ok(()) };
            let committed =
                if retries { life.core.retry(&now) } else { life.core.commit_due(&mut life.open, false, &now) };
            if self.disk.is_stopped() {
                self.stop_if_planned(world);
                return Ok(());
            }
            if let Some(trouble) = &committed.trouble {
                world.tell(format_args!("{} has trouble: {trouble}", self.label));
            }
            if committed.moved || committed.trouble.is_some() {
                life.open.set_trouble(committed.trouble);
            }
            if committed.moved && self.rng.per_mille(300) {
                // Somebody else's thread does it, now and then.
                let _ = life.core.ring().witness_sync().sync();
            }
            if committed.moved {
                life.poll_at_us = Some(world.now_us);
                self.accept(world)?;
            }
        }
        Ok(())
    }

    /// Tells the producers what is accepted now.
    fn accept(&mut self, world: &mut World) -> Result<(), Failure> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let durable = life.core.durable_commits();
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            let count = life.waiting[at].iter().take_while(|(commit, _)| *commit <= durable[at]).count();
            let accepted: Vec<OwnedEvent> = life.waiting[at].drain(..count).map(|(_, owned)| owned).collect();
            if accepted.is_empty() {
                continue;
            }
            // Where they stand is read from the platter: what is not there was accepted too early.
            let is_same = |at: usize, event: &Event<'_>| accepted[at].event() == *event;
            let found = find_in_ring(&self.disk.durable_files(), stream, accepted.len(), is_same);
            let Some((lane, sequences)) = found else {
                return Err(Failure(format!(
                    "{} accepted {count} events of {stream} that are not on its disk",
                    self.name
                )));
            };
            let first = sequences.first().copied().unwrap_or_default();
            world.tell(format_args!("{} accepts {stream}-{}-{first} +{}", self.label, lane.epoch, accepted.len()));
            for (sequence, owned) in sequences.into_iter().zip(&accepted) {
                world.oracle.ledger.accept(self.index, lane, sequence, owned.content()).map_err(Failure)?;
            }
        }
        Ok(())
    }
}
