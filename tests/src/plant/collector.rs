//! The collector's machine: the real log and admission on a simulated disk, clock and network.

use std::collections::BTreeMap;

use afferent_collector::core::{Answer, Core, MessageConnection, OwnIdentity, common};
use afferent_collector::log::{EmbeddedLog, LogSettings, UnifiedLog};
use afferent_collector::sources::Sources;
use afferent_protocol::batch::split;
use afferent_protocol::ids::{Epoch, SourceId};
use afferent_protocol::session::signed::{Nonce, Up};
use afferent_protocol::session::{Check, Control, Lane, Resume};
use afferent_protocol::sign::Identity;

use super::agent::{Stop, describe};
use super::{Failure, PlantSettings, World, auditor};
use crate::faults::{Fault, FaultCounts};
use crate::oracle::{Acks, LogView};
use crate::planted::{CheatingLog, Planted};
use crate::rng::Rng;
use crate::said;
use crate::sim_clock::SimClock;
use crate::sim_disk::{CheatingDisk, SimDisk};
use crate::sim_net::Path;

type RealCore = Core<CheatingLog<EmbeddedLog<CheatingDisk>>>;

/// Bytes of one segment of the log: small, so that every run fills some.
const SEGMENT_BYTES: u64 = 64 * 1024;
/// After so many commits it ends, whatever is left.
const COMMITS_TO_END_MAX: u32 = 4;
/// So many batches the bug that forgets forgets.
const FORGOTTEN: usize = 8;

/// The files of a disk: names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// The collector's machine.
pub struct CollectorNode {
    /// Its disk.
    pub disk: SimDisk,
    /// Its clocks.
    pub clock: SimClock,
    /// What stops it in the middle of the operation that its disk was told to stop in.
    pub planned_stop: Option<Stop>,
    identity: Identity,
    rng: Rng,
    core: Option<RealCore>,
    up_at_us: u64,
    commit_at_us: Option<u64>,
    commits: u64,
    /// A copy of its disk, and what was acked when it was made.
    copy: Option<(Files, Acks)>,
    thrown_away: FaultCounts,
    /// A bug's doing: acks of what was not taken.
    forged: Vec<Answer>,
    /// Over which nonce each agent is answered.
    nonces: BTreeMap<SourceId, Nonce>,
}

impl CollectorNode {
    /// A machine that starts at once.
    pub fn new(settings: &PlantSettings, rng: &mut Rng) -> Self {
        let mut rng = rng.fork();
        Self {
            disk: SimDisk::new(rng.fork()),
            clock: SimClock::new(0, settings.drifts, &mut rng),
            planned_stop: None,
            identity: Identity::from_seed(&rng.bytes()),
            core: None,
            up_at_us: 0,
            commit_at_us: None,
            commits: 0,
            copy: None,
            thrown_away: FaultCounts::default(),
            forged: Vec::new(),
            nonces: BTreeMap::new(),
            rng,
        }
    }

    /// Its key pair.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When it has something to do.
    pub fn wake_at_us(&self) -> u64 {
        if self.core.is_none() { self.up_at_us } else { self.commit_at_us.unwrap_or(u64::MAX) }
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// Whether everything that it took is on its disk.
    pub fn is_quiet(&self) -> bool {
        self.core.as_ref().is_some_and(|core| !core.is_pending())
    }

    /// Does what is due.
    pub fn turn(&mut self, world: &mut World) -> Result<(), Failure> {
        if self.core.is_none() {
            return if world.now_us >= self.up_at_us { self.start(world) } else { Ok(()) };
        }
        if self.commit_at_us.is_some_and(|at_us| at_us <= world.now_us) {
            self.commit(world)?;
        }
        self.stop_if_planned(world);
        Ok(())
    }

    fn start(&mut self, world: &mut World) -> Result<(), Failure> {
        world.oracle.acks_hold(&self.disk.durable_files()).map_err(Failure)?;
        let clock = self.clock.reading(world.now_us);
        let own = OwnIdentity {
            source: SourceId::new("collector").expect("it is a name"),
            identity: self.identity.clone(),
            epoch: Epoch::new(self.rng.number()),
            challenge: self.rng.bytes(),
            endorsements: Vec::new(),
        };
        let mut rng = self.rng.fork();
        let disk = CheatingDisk::new(self.disk.clone(), world.settings.planted.collector_disk());
        let settings = LogSettings { segment_bytes: SEGMENT_BYTES };
        let mut sources = Sources::new(own.source);
        let forgets = world.settings.planted == Planted::SourcesForgotten;
        let mut late = std::collections::VecDeque::new();
        let mut each = |head: &_, batch: &afferent_protocol::batch::Batch<'_>| {
            if !forgets {
                sources.rebuild(head, batch);
                return;
            }
            late.push_back((*head, batch.bytes().to_vec()));
            if late.len() > FORGOTTEN
                && let Some((head, bytes)) = late.pop_front()
                && let Ok((batch, _)) = afferent_protocol::batch::Batch::parse(&bytes)
            {
                sources.rebuild(&head, &batch);
            }
        };
        let opened = EmbeddedLog::open(disk, settings, &mut || rng.number(), clock.wall, &mut each);
        if self.disk.is_stopped() {
            drop(opened);
            self.stop_if_planned(world);
            return Ok(());
        }
        match opened {
            Ok((log, recovery)) => {
                world.tell(format_args!("collector starts: {recovery:?}"));
                let log = CheatingLog::new(log, world.settings.planted);
                let mut core = Core::new(log, sources, own, &recovery, &clock);
                let begun = core.begin(&clock);
                if self.disk.is_stopped() {
                    drop(core);
                    self.stop_if_planned(world);
                    return Ok(());
                }
                if let Err(error) = begun {
                    world.tell(format_args!("collector cannot begin its term: {error}"));
                    self.up_at_us = world.now_us + 1_000_000;
                    return Ok(());
                }
                self.core = Some(core);
                self.see_places(world)?;
                self.commit_at_us = Some(world.now_us + 1_000);
            }
            Err(error) => {
                world.tell(format_args!("collector cannot start: {error}"));
                self.up_at_us = world.now_us + 1_000_000;
            }
        }
        Ok(())
    }

    /// The machine's process is gone.
    pub fn stop(&mut self, world: &mut World, stop: Stop) {
        world.tell(format_args!("collector stops: {stop:?}"));
        self.core = None;
        self.planned_stop = None;
        self.commit_at_us = None;
        self.forged.clear();
        self.disk = stop.left_of(&self.disk, &mut self.clock, world.now_us, &mut self.rng);
        world.counts.fired(match stop {
            Stop::Crash => Fault::CollectorCrash,
            Stop::PowerCut => Fault::CollectorPowerCut,
        });
        self.up_at_us = world.now_us + self.rng.between(10_000, 1_500_000);
    }

    /// The process ends as it was told to; and somebody asks its log for certificates before it is started again.
    pub fn end(&mut self, world: &mut World, questions: u32) -> Result<(), Failure> {
        let clock = self.clock.reading(world.now_us);
        let Some(core) = &mut self.core else { return Ok(()) };
        core.ending(&clock);
        for _ in 0..COMMITS_TO_END_MAX {
            self.commit(world)?;
            if self.core.as_ref().is_none_or(|core| !core.is_pending()) {
                break;
            }
        }
        if self.core.is_none() {
            return Ok(());
        }
        self.stop(world, Stop::Crash);
        let files = self.disk.durable_files();
        (0..questions).try_for_each(|_| auditor::ask(world, &files, &mut self.rng))
    }

    fn stop_if_planned(&mut self, world: &mut World) {
        if self.disk.is_stopped() {
            let stop = self.planned_stop.unwrap_or(Stop::Crash);
            self.stop(world, stop);
        }
    }

    /// The agent's connection is gone.
    pub fn closed(&mut self, world: &World, name: SourceId, agent: usize) {
        let clock = self.clock.reading(world.now_us);
        if let Some(core) = &mut self.core {
            core.closed(name, number(agent), &clock);
        }
    }

    /// The disk is copied; or a copy that was made is put back.
    pub fn copy_or_put_back(&mut self, world: &mut World) -> Result<(), Failure> {
        match self.copy.take() {
            None => {
                world.tell(format_args!("the collector's disk is copied"));
                self.copy = Some((self.disk.durable_files(), world.oracle.acks()));
            }
            Some((files, acks)) => {
                self.see_places(world)?;
                self.stop(world, Stop::PowerCut);
                world.tell(format_args!("the collector's disk is put back from the copy"));
                world.counts.fired(Fault::CollectorRestored);
                self.thrown_away.add_disk(&self.disk.counts());
                self.disk = SimDisk::of_files(&files, self.rng.fork());
                world.oracle.roll_back_acks(acks);
            }
        }
        Ok(())
    }

    /// Readers have seen what its log holds.
    pub fn see_places(&self, world: &mut World) -> Result<(), Failure> {
        let Some(core) = &self.core else { return Ok(()) };
        let view = LogView::unified(&self.disk.durable_files(), &BTreeMap::new()).map_err(Failure)?;
        let has_term = world.settings.planted != Planted::NoTermInCursor;
        world.oracle.places.see(core.sources().terms(), &view, core.durable_end(), has_term).map_err(Failure)
    }

    /// The faults of all disks that it had.
    pub fn counts(&self) -> FaultCounts {
        let mut counts = self.thrown_away.clone();
        counts.add_disk(&self.disk.counts());
        counts
    }

    /// A message came on the topic of this agent, over the link of this one where there is no broker.
    pub fn receive(&mut self, world: &mut World, agent: SourceId, payload: &[u8], link: Option<usize>) {
        let clock = self.clock.reading(world.now_us);
        let Some(core) = &mut self.core else { return };
        if let Ok(up) = Up::read(payload) {
            self.nonces.insert(agent, up.claim().nonce);
        }
        let link = link.filter(|_| world.settings.path == Path::Stream);
        let connection =
            link.map(|link| MessageConnection { number: number(link), peer: None, name: None, is_vouched: false });
        let received = core.receive(agent, payload, connection, &clock);
        world.tell(format_args!(
            "collector gets from {agent}: {}; accepted {} duplicate {} early {} refused {:?}",
            describe(payload),
            received.accepted,
            received.duplicates,
            received.early,
            received.refusal
        ));
        let not_taken = received.refusal.is_some() || received.early > 0;
        if not_taken && world.settings.planted == Planted::AckOfRefused {
            let acks = split(payload).map_while(Result::ok).map(|batch| Resume {
                lane: Lane { stream: batch.header().stream, epoch: batch.header().epoch },
                end: batch.header().end(),
                check: Some(Check::of(&batch.chain_hash())),
            });
            let nonce = self.nonces.get(&agent).copied().unwrap_or(Nonce::NONE);
            let place = core.place();
            self.forged.extend(acks.map(|resume| {
                let control = Control::Ack([resume].into_iter().collect());
                let message = said::down(&agent, &self.identity, nonce, place, control.clone());
                Answer { agent, connection: None, control, message }
            }));
        }
        if core.is_pending() || !self.forged.is_empty() {
            let at_us = world.now_us + self.rng.below(4_000);
            self.commit_at_us = Some(self.commit_at_us.map_or(at_us, |due_us| due_us.min(at_us)));
        }
    }

    /// Answers agents that ask where histories have parted; the answers go out with the next commit.
    fn questions(&mut self, world: &World) {
        let Some(core) = &mut self.core else { return };
        for question in core.take_questions() {
            if let Ok(found) = common(&core.log().inner().reader(), &question) {
                core.found_common(question.agent, question.nonce, found);
                self.commit_at_us = Some(world.now_us + 1_000);
            }
        }
    }

    fn commit(&mut self, world: &mut World) -> Result<(), Failure> {
        self.commit_at_us = None;
        let clock = self.clock.reading(world.now_us);
        let Some(core) = &mut self.core else { return Ok(()) };
        let committed = core.commit(&clock);
        if self.disk.is_stopped() {
            self.stop_if_planned(world);
            return Ok(());
        }
        let mut answers = match committed {
            Ok(answers) => answers,
            Err(error) => {
                world.tell(format_args!("collector cannot commit: {error}"));
                self.commit_at_us = Some(world.now_us + 100_000);
                return Ok(());
            }
        };
        if core.is_pending() {
            self.commit_at_us = Some(world.now_us + 1_000);
        }
        world.tell(format_args!("collector commits up to {}", core.log().durable_end()));
        answers.append(&mut self.forged);
        for Answer { agent, control, .. } in &answers {
            match control {
                Control::Ack(lanes) => {
                    lanes.iter().for_each(|resume| world.oracle.acked(*agent, resume.lane, resume.end.get()));
                }
                Control::Welcome(welcome) => {
                    welcome.lanes.iter().for_each(|resume| world.oracle.acked(*agent, resume.lane, resume.end.get()));
                }
                _ => {}
            }
        }
        self.commits += 1;
        if self.commits.is_multiple_of(16) {
            world.oracle.acks_hold(&self.disk.durable_files()).map_err(Failure)?;
        }
        self.questions(world);
        for Answer { agent, connection, message: payload, .. } in answers {
            world.tell(format_args!("collector answers {agent}: {}", describe(&payload)));
            let over = connection.map(|number| number as usize - 1);
            for index in world.agents_of(agent).into_iter().filter(|index| over.is_none_or(|over| over == *index)) {
                world.net.answer(world.now_us, index, payload.clone());
            }
        }
        Ok(())
    }
}

/// The number of an agent's connection.
fn number(agent: usize) -> u64 {
    agent as u64 + 1
}
