//! Certificates of one source and day out of a log of a gigabyte, and of four.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use afferent_collector::log::{EmbeddedLog, Indexed, LogSettings, UnifiedLog};
use afferent_host::disk::FsDisk;
use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, Lineage};
use afferent_protocol::event::{
    Body, Breakdown, Event, LaneEnd, LaneEnds, LifeCycle, Quality, Sample, Severity, Value,
};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::limits::HEARTBEAT_BYTES_MAX;
use afferent_protocol::session::Check;
use afferent_protocol::sign::{Identity, Running};
use afferent_tests::process::{Rig, binary, run_to_end};

use crate::table::{Must, Table};

const AGENTS: usize = 20;
/// Whose certificate is asked for, and of which day after the first.
const AGENT: usize = 7;
const DAY: i64 = 1;
/// Samples of one agent in one minute: one a second of each sensor. About four days are a gigabyte.
const SAMPLES: usize = 600;
const SENSORS: usize = 10;
/// Each agent has a breakdown every so many minutes.
const BREAKDOWN_EVERY: i64 = 120;
const MINUTES_OF_DAY: i64 = 24 * 60;
/// 2023-11-15T00:00:00Z.
const BEGUN_S: i64 = 1_700_006_400;
/// Certificates are made so often; the one in the middle counts.
const ROUNDS: usize = 7;

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-certificates");
    let data = rig.collector_data();
    let mut plant = Plant::new(&data);
    let mut seconds = Vec::new();
    for gib in [1, 4] {
        plant.live_until(gib << 30);
        let days = plant.minute as f64 / MINUTES_OF_DAY as f64;
        let warm = middle(|| certify(&data));
        let cold = middle(|| {
            forget(&data.join("log").join("0"));
            certify(&data)
        });
        seconds.push(warm);
        let figure = format!("certificate of one of {AGENTS} agents and one day, out of {gib} GiB ({days:.1} days)");
        table.add(figure, warm, "s", if gib == 1 { Must::Most(0.5) } else { Must::Shown });
        table.add("… page cache dropped", cold, "s", Must::Shown);
    }
    table.add("certificate out of 4 GiB against out of 1 GiB", seconds[1] / seconds[0], "times", Must::Most(1.5));
    let (log, extracts) = (bytes_of(&data, "seg"), bytes_of(&data, "ext"));
    table.add("… bytes kept for certificates, of those of the log", 100.0 * extracts / log, "%", Must::Shown);
}

fn middle(mut measured: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| measured()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}

/// Asks for a certificate as an operator does; gives how long it took.
fn certify(data: &Path) -> f64 {
    let (from, until) = (text(DAY), text(DAY + 1));
    let mut command = Command::new(binary("afferent-collector"));
    command.args(["certificate", "--source", name(AGENT).as_str(), "--from", &from, "--until", &until, "--data"]);
    let started = Instant::now();
    let (status, printed) = run_to_end(command.arg(data));
    let seconds = started.elapsed().as_secs_f64();
    assert!(status.success(), "it is complete: {printed}");
    seconds
}

/// The beginning of a day of the log.
fn text(day: i64) -> String {
    format!("2023-11-{}T00:00:00Z", 15 + day)
}

fn time(minute: i64) -> Timestamp {
    Timestamp::clamped((BEGUN_S + minute * 60) * 1_000_000)
}

fn name(agent: usize) -> SourceId {
    SourceId::new(&format!("agent-{agent:02}")).expect("a name")
}

fn files(data: &Path) -> impl Iterator<Item = PathBuf> {
    let directory = std::fs::read_dir(data.join("log").join("0")).expect("the folder is there");
    directory.flatten().map(|entry| entry.path())
}

fn bytes_of(data: &Path, ending: &str) -> f64 {
    let is_wanted = |path: &PathBuf| path.extension().is_some_and(|found| found == ending);
    let bytes = |path: PathBuf| path.metadata().expect("the file is there").len();
    files(data).filter(is_wanted).map(bytes).sum::<u64>() as f64
}

/// Takes the files of a directory out of the page cache.
fn forget(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("the folder is there").flatten() {
        let file = File::open(entry.path()).expect("the file is there");
        file.sync_all().expect("the disk takes it");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("the system forgets it");
    }
}

/// One lane, which seals batch after batch.
struct Lane {
    source: SourceId,
    stream: Stream,
    epoch: Epoch,
    next: Sequence,
    chain: ChainHash,
}

impl Lane {
    fn new(source: SourceId, stream: Stream, epoch: u64) -> Self {
        Self { source, stream, epoch: Epoch::new(epoch), next: Sequence::ZERO, chain: CHAIN_START }
    }

    fn seal(&mut self, builder: &mut BatchBuilder, minute: i64, identity: &Identity, bytes: &mut Vec<u8>) {
        let Self { source, stream, epoch, next, chain } = *self;
        let lineage = Lineage { source, stream, epoch, first: next, previous: chain };
        let clock = ClockReading { wall: time(minute), synchronised: true, ..ClockReading::default() };
        bytes.clear();
        let (header, chain) = builder.seal(&lineage, &clock, identity, bytes);
        (self.next, self.chain) = (header.end(), chain);
    }

    fn end(&self) -> LaneEnd {
        LaneEnd { stream: self.stream, epoch: self.epoch, end: self.next, check: Check::of(&self.chain).0 }
    }
}

struct Agent {
    samples: Lane,
    critical: Lane,
    identity: Identity,
    subjects: Vec<String>,
}

/// A collector's log, and the agents that it is about, minute after minute.
struct Plant {
    log: EmbeddedLog<FsDisk>,
    own: Lane,
    identity: Identity,
    agents: Vec<Agent>,
    minute: i64,
    written: u64,
    running: Running,
    /// Where the log ends, and the stamp of its last entry.
    end: (Offset, Timestamp),
    attested: Option<Attestation>,
    builder: BatchBuilder,
    bytes: Vec<u8>,
    random: u64,
}

impl Plant {
    fn new(data: &Path) -> Self {
        let disk = FsDisk::new(data.join("log").join("0")).expect("the folder can be made");
        let (log, _) = EmbeddedLog::open(disk, LogSettings::default(), &mut || 7, time(0), &mut |_, _| {})
            .expect("an empty log opens");
        let identity = Identity::from_seed(&[99; 32]);
        std::fs::write(data.join("collector.pub"), format!("{}\n", identity.public_key())).expect("it can be written");
        let agent = |at: usize| Agent {
            samples: Lane::new(name(at), Stream::Samples, 1000 + at as u64),
            critical: Lane::new(name(at), Stream::Critical, 2000 + at as u64),
            identity: Identity::from_seed(&[at as u8; 32]),
            subjects: (0..SENSORS).map(|sensor| format!("{at:02}-C/spindle/sensor-{sensor}")).collect(),
        };
        let own = Lane::new(SourceId::new("collector").expect("a name"), Stream::Critical, 5);
        let mut plant = Self {
            log,
            own,
            identity,
            agents: (0..AGENTS).map(agent).collect(),
            minute: 0,
            written: 0,
            running: Running::default(),
            end: (Offset::ZERO, time(0)),
            attested: None,
            builder: BatchBuilder::new(),
            bytes: Vec::new(),
            random: 1,
        };
        plant.begin();
        plant
    }

    /// The collector names its term, its key and those of the agents.
    fn begin(&mut self) {
        let (log_id, term) = (self.log.log_id(), self.log.term());
        self.says(LifeCycle::TermBegun { log_id, partition: 0, term, first: Offset::ZERO });
        let (own, key) = (self.own.source, self.identity.public_key());
        self.says(LifeCycle::KeyPinned { source: own.as_str(), key: key.0 });
        for at in 0..AGENTS {
            let key = self.agents[at].identity.public_key();
            self.says(LifeCycle::KeyPinned { source: name(at).as_str(), key: key.0 });
        }
    }

    /// Lives on until the log has so many bytes, and every finished segment what belongs beside it.
    fn live_until(&mut self, bytes: u64) {
        while self.written < bytes || self.minute < (DAY + 2) * MINUTES_OF_DAY {
            self.minute += 1;
            (0..AGENTS).for_each(|at| self.agent(at));
            self.attest();
            self.log.commit().expect("the disk takes it");
        }
        let mut indexer = self.log.indexer().signing(self.own.source, self.identity.clone());
        while let Indexed::Made { .. } = indexer.step() {}
    }

    /// A minute of an agent.
    fn agent(&mut self, at: usize) {
        let begin = time(self.minute - 1).micros();
        for number in 0..SAMPLES {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (self.random >> 40) % 1000;
            let subject = Subject::new(&self.agents[at].subjects[number % SENSORS]).expect("a subject");
            let value = Value::Float(20.0 + noise as f64 / 100.0);
            let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
            let time = Timestamp::clamped(begin + number as i64 * 60_000_000 / SAMPLES as i64);
            self.builder.push(&Event { time, subject, body }).expect("there is room");
        }
        self.append(Whose::Samples(at));
        if (self.minute + at as i64) % BREAKDOWN_EVERY == 0 {
            let body = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "the belt slips" });
            self.push(&format!("{at:02}-C"), body);
            self.append(Whose::Critical(at));
        }
        let ends = [self.agents[at].critical.end(), self.agents[at].samples.end()];
        let mut out = [0; HEARTBEAT_BYTES_MAX];
        let lanes = LaneEnds::write(&ends, &mut out).expect("two lanes have room");
        self.push(name(at).as_str(), Body::LifeCycle(LifeCycle::Heartbeat { instance: [1; 16], lanes }));
        self.append(Whose::Critical(at));
    }

    /// The collector attests all that there is.
    fn attest(&mut self) {
        let (end, time) = self.end;
        let (number, previous) = self.attested.map_or((0, [0; 32]), |before| (before.number + 1, before.digest()));
        let attestation = Attestation {
            key: self.identity.public_key(),
            log_id: self.log.log_id(),
            partition: 0,
            term: self.log.term(),
            number,
            end,
            time,
            previous,
            hash: self.running,
        };
        self.says(LifeCycle::Attested { attestation: &attestation.sign(&self.identity) });
        self.attested = Some(attestation);
    }

    /// An event of the collector, in a batch of its own.
    fn says(&mut self, life_cycle: LifeCycle<'_>) {
        let own = self.own.source;
        self.push(own.as_str(), Body::LifeCycle(life_cycle));
        self.append(Whose::Own);
    }

    fn push(&mut self, subject: &str, body: Body<'_>) {
        let subject = Subject::new(subject).expect("a subject");
        self.builder.push(&Event { time: time(self.minute), subject, body }).expect("there is room");
    }

    /// Seals what was pushed, and appends it.
    fn append(&mut self, whose: Whose) {
        let (lane, identity) = match whose {
            Whose::Own => (&mut self.own, &self.identity),
            Whose::Samples(at) => {
                let Agent { samples, identity, .. } = &mut self.agents[at];
                (samples, &*identity)
            }
            Whose::Critical(at) => {
                let Agent { critical, identity, .. } = &mut self.agents[at];
                (critical, &*identity)
            }
        };
        lane.seal(&mut self.builder, self.minute, identity, &mut self.bytes);
        let (batch, stamp) = (Batch::parse(&self.bytes).expect("it was just sealed").0, time(self.minute));
        let first = self.log.append(&batch, stamp);
        let count = batch.header().count;
        self.running.push(first, stamp, count, &batch.chain_hash(), None);
        self.end = (Offset::new(first.get() + u64::from(count)), stamp);
        self.written += self.bytes.len() as u64;
    }
}

/// Whose batch it is: of which agent, and in which lane.
#[derive(Clone, Copy)]
enum Whose {
    Own,
    Samples(usize),
    Critical(usize),
}
