mod extracted;
mod forging;
mod known;
mod parted;
mod retention;
mod witnesses;

use afferent_host::disk::simulated::SimDisk;
use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{Batch, BatchBuilder, ClockReading, Lineage};
use afferent_protocol::endorsement::ENDORSEMENT_LEN;
use afferent_protocol::event::{Body, Event, LaneEnd, LaneEnds, LifeCycle};
use afferent_protocol::ids::{Epoch, Sequence, Stream, Subject};
use afferent_protocol::limits::HEARTBEAT_BYTES_MAX;
use afferent_protocol::session::Check;

use super::*;
use crate::core::{Core, OwnIdentity};
use crate::log::{EmbeddedLog, LogSettings, Trust, UnifiedLog, inspect};
use crate::simulated::{Agent, clock, greet, identity, source};
use crate::sources::Sources;

type TestCore = Core<EmbeddedLog<SimDisk>>;

const SETTINGS: LogSettings = LogSettings { segment_bytes: 256 * 1024 };
/// The second at which the collector begins: statements of agents are older.
const BEGIN: u64 = 1000;
/// The seed of the collector's key.
const KEY: u8 = 99;

fn start(disk: &SimDisk, key: u8, seconds: u64) -> TestCore {
    start_endorsed(disk, key, seconds, Vec::new())
}

fn start_endorsed(disk: &SimDisk, key: u8, seconds: u64, endorsements: Vec<[u8; ENDORSEMENT_LEN]>) -> TestCore {
    let (source, epoch) = (source("collector"), Epoch::new(5));
    let own = OwnIdentity { source, identity: identity(key), epoch, challenge: [3; 32], endorsements };
    let mut sources = Sources::new(own.source);
    let each = &mut |head: &_, batch: &Batch<'_>| sources.rebuild(head, batch);
    let (log, recovery) = EmbeddedLog::open(disk.clone(), SETTINGS, &mut || 7, clock(seconds).wall, each).unwrap();
    let mut core = Core::new(log, sources, own, &recovery, &clock(seconds));
    core.begin(&clock(seconds)).unwrap();
    core
}

/// A collector that appends; a payload comes every ten seconds.
struct World {
    disk: SimDisk,
    core: TestCore,
    seconds: u64,
}

impl World {
    fn new() -> Self {
        Self::with_key(KEY)
    }

    fn with_key(key: u8) -> Self {
        let disk = SimDisk::of_seed(1);
        Self { core: start(&disk, key, BEGIN), disk, seconds: BEGIN }
    }

    fn greet(&mut self, agent: &Agent, first: u64) {
        self.seconds += 1;
        greet(&mut self.core, agent, first, &clock(self.seconds)).unwrap();
    }

    fn give(&mut self, agent: &Agent, payload: &[u8]) {
        self.seconds += 10;
        let received = self.core.receive(agent.name, payload, None, &clock(self.seconds));
        assert_eq!(received.refusal, None);
        self.core.commit(&clock(self.seconds)).unwrap();
    }

    fn say(&mut self, notice: crate::core::Notice) {
        self.core.record(notice, &clock(self.seconds));
        self.core.commit(&clock(self.seconds)).unwrap();
    }

    /// The collector dies and restarts.
    fn restart(&mut self) {
        self.core = start(&self.disk, KEY, self.seconds);
    }

    fn end(&mut self) -> Vec<ForgedEntry> {
        let now = clock(self.seconds + 10);
        self.core.ending(&now);
        self.core.commit(&now).unwrap();
        self.core.commit(&now).unwrap();
        entries(&self.disk)
    }
}

/// The material of a forger who can write files: batches, and offset, stamp and clock offset of each.
type ForgedEntry = (u64, Timestamp, Vec<u8>, Option<i64>);

fn entries(disk: &SimDisk) -> Vec<ForgedEntry> {
    let mut entries = Vec::new();
    let each = &mut |head: &afferent_protocol::segment::EntryHead, batch: &Batch<'_>| {
        entries.push((head.ordinal, head.stamp, batch.bytes().to_vec(), head.clock_offset_us()));
    };
    let report = inspect::dump(disk, each).unwrap();
    assert!(report.is_sound());
    entries
}

/// A batch of one event of the agent about itself, made at this second of its clock.
fn own_event(agent: &mut Agent, seconds: u64, life_cycle: LifeCycle<'_>) -> Vec<u8> {
    own_body(agent, seconds, Body::LifeCycle(life_cycle))
}

fn own_body(agent: &mut Agent, seconds: u64, body: Body<'_>) -> Vec<u8> {
    let name = agent.name;
    let event = Event { time: clock(seconds).wall, subject: Subject::new(name.as_str()).unwrap(), body };
    sealed(agent, &clock(seconds), &event)
}

fn sealed(agent: &mut Agent, at: &ClockReading, event: &Event<'_>) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(event).unwrap();
    let (stream, epoch) = (agent.lane.stream, agent.lane.epoch);
    let lineage =
        Lineage { source: agent.name, stream, epoch, first: Sequence::new(agent.next), previous: agent.chain };
    let mut bytes = Vec::new();
    let (header, chain) = builder.seal(&lineage, at, &agent.identity, &mut bytes);
    (agent.next, agent.chain) = (header.end().get(), chain);
    bytes
}

/// A heartbeat in the lane of `by`, about these lanes and its own.
pub(crate) fn heartbeat(by: &mut Agent, others: &[&Agent], seconds: u64) -> Vec<u8> {
    let end = |agent: &Agent| {
        let (stream, epoch, end) = (agent.lane.stream, agent.lane.epoch, Sequence::new(agent.next));
        LaneEnd { stream, epoch, end, check: Check::of(&agent.chain).0 }
    };
    let mut ends = vec![end(by)];
    ends.extend(others.iter().map(|agent| end(agent)));
    stated(by, &ends, seconds)
}

/// A heartbeat with these ends.
fn stated(by: &mut Agent, ends: &[LaneEnd], seconds: u64) -> Vec<u8> {
    let mut out = [0; HEARTBEAT_BYTES_MAX];
    let lanes = LaneEnds::write(ends, &mut out).unwrap();
    own_event(by, seconds, LifeCycle::Heartbeat { instance: [1; 16], lanes })
}

/// An agent with both streams.
struct Machine {
    samples: Agent,
    critical: Agent,
}

impl Machine {
    fn new(name: &str, epoch: u64) -> Self {
        Self {
            samples: Agent::new(name, Stream::Samples, epoch),
            critical: Agent::new(name, Stream::Critical, epoch + 1),
        }
    }

    /// Sends a hello to a collector.
    fn greet(&self, world: &mut World) {
        world.greet(&self.samples, self.samples.next);
        world.greet(&self.critical, self.critical.next);
    }

    /// Sends this number of samples, one a second.
    fn works(&mut self, world: &mut World, count: u64) {
        let batch = self.samples.samples(count);
        world.give(&self.samples, &batch);
    }

    /// Sends a heartbeat at this second of its clock.
    fn beats(&mut self, world: &mut World, seconds: u64) {
        let batch = heartbeat(&mut self.critical, &[&self.samples], seconds);
        world.give(&self.critical, &batch);
    }

    fn says(&mut self, world: &mut World, seconds: u64, body: Body<'_>) {
        let batch = own_body(&mut self.critical, seconds, body);
        world.give(&self.critical, &batch);
    }
}

/// Two agents, and a collector that is killed in between. Samples of both have sequences 0 to 60 with an event a
/// second; they send heartbeats at the seconds 35 and 60.
fn history() -> Vec<ForgedEntry> {
    lived(KEY, &["press", "lathe"]).end()
}

fn lived(key: u8, names: &[&str]) -> World {
    let mut world = World::with_key(key);
    let mut machines: Vec<Machine> =
        names.iter().zip([1, 10, 20]).map(|(name, epoch)| Machine::new(name, epoch)).collect();
    machines.iter().for_each(|machine| machine.greet(&mut world));
    for round in 0..12 {
        machines.iter_mut().for_each(|machine| machine.works(&mut world, 5));
        if round == 6 {
            machines.iter_mut().for_each(|machine| machine.beats(&mut world, 35));
            if key == KEY {
                world.restart();
            }
        }
    }
    machines.iter_mut().for_each(|machine| machine.beats(&mut world, 60));
    world
}

/// The first thirty seconds.
fn span() -> Span {
    seconds(0, 30)
}

fn seconds(from: u64, until: u64) -> Span {
    Span { from: clock(from).wall, until: clock(until).wall }
}

/// Judges by the collector's key.
fn by_key() -> CheckMaterial {
    CheckMaterial { trust: Trust::Named(vec![identity(KEY).public_key()]), ..CheckMaterial::default() }
}

/// A log with these entries: every checksum is right.
fn log_of(entries: &[ForgedEntry]) -> SimDisk {
    let disk = SimDisk::of_seed(2);
    let (mut log, _) = EmbeddedLog::open(disk.clone(), SETTINGS, &mut || 7, clock(0).wall, &mut |_, _| {}).unwrap();
    for (_, stamp, bytes, clock_offset_us) in entries {
        log.append_measured(&Batch::parse(bytes).unwrap().0, *stamp, *clock_offset_us);
        log.commit().unwrap();
    }
    disk
}

/// The certificate that a collector with these files would issue.
fn certified_by(
    entries: &[ForgedEntry],
    about: About,
    span: Span,
    means: CheckMaterial,
) -> Result<Certificate, CertificateError> {
    let disk = log_of(entries);
    let mut evidence = Evidence::new(about.clone(), span, source("collector"), means.clone())?;
    inspect::dump(&disk, &mut |head, batch| evidence.ahead(head, batch)).unwrap();
    inspect::dump(&disk, &mut |head, batch| evidence.batch(head, batch)).unwrap();
    let certificate = evidence.certificate();
    // The same by one pass, and by extracts that a collector makes of any files that it finds.
    extracted::is_the_same(entries, &about, span, &means, &certificate);
    certificate
}

fn certified(entries: &[ForgedEntry], about: About, span: Span) -> Result<Certificate, CertificateError> {
    certified_by(entries, about, span, by_key())
}

fn of_press(entries: &[ForgedEntry]) -> Certificate {
    certified(entries, About::Source(source("press")), span()).unwrap()
}

fn of_machine(entries: &[ForgedEntry]) -> Certificate {
    certified(entries, About::Machine("88-C".into()), span()).unwrap()
}

/// Whether one of these texts contains this one.
fn says(texts: &[String], what: &str) -> bool {
    texts.iter().any(|text| text.contains(what))
}

fn attested_batches(entries: &[ForgedEntry]) -> usize {
    let until = of_press(entries).log.attested.unwrap().end.get();
    entries.iter().filter(|(offset, ..)| *offset < until).count()
}

/// The samples batches of a source, oldest first, as indexes into the entries.
fn samples_of(entries: &[ForgedEntry], name: &str) -> Vec<usize> {
    let is_wanted = |bytes: &[u8]| {
        let header = *Batch::parse(bytes).unwrap().0.header();
        header.source == source(name) && header.stream == Stream::Samples
    };
    (0..entries.len()).filter(|at| is_wanted(&entries[*at].2)).collect()
}

fn lane_of(certificate: &Certificate, stream: Stream) -> Vec<(u64, u64, Fate)> {
    let lanes = certificate.lanes.iter().filter(|lane| lane.stream == stream);
    lanes.flat_map(|lane| lane.ranges.iter().map(|range| (range.first.get(), range.end.get(), range.fate))).collect()
}

/// A folder with a ring log that holds these batches; everything before `acked_end` was acknowledged.
fn ring_of(batches: &[Vec<u8>], acked_end: u64) -> SimDisk {
    use afferent_protocol::segment::{EntryHead, LogKind, SegmentHeader, put_entry};
    let disk = SimDisk::of_seed(3);
    let first = *Batch::parse(&batches[0]).unwrap().0.header();
    let header = SegmentHeader {
        kind: LogKind::Ring,
        log_id: [8; 16],
        generation: 1,
        stream: first.stream,
        epoch: first.epoch,
        first_ordinal: first.first.get(),
        begun: clock(0).wall,
    };
    let mut bytes = header.encode().to_vec();
    for batch in batches {
        let header_of = *Batch::parse(batch).unwrap().0.header();
        let head = EntryHead::new(&header_of, header_of.first.get(), acked_end, clock(0).wall);
        put_entry(&mut bytes, header.seed(), &head, batch);
    }
    bytes.resize(bytes.len() + 512, 0);
    disk.create("0.ring", bytes.len() as u64).unwrap().write_at(&bytes, 0).unwrap();
    disk
}

/// An event that does not matter.
fn breakdown(code: &str) -> Body<'_> {
    use afferent_protocol::event::{Breakdown, Severity};
    Body::Breakdown(Breakdown { code, severity: Severity::Error, message: "" })
}
