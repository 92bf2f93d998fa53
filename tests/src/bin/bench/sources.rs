//! What the number of sources costs the log's writer: the same small batches from ten thousand sources and from ten.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use afferent_collector::core::{Core, OwnIdentity};
use afferent_collector::intake::{self, Done, IncomingContent, Intake, Outbox};
use afferent_collector::log::{EmbeddedLog, LogSettings};
use afferent_collector::sources::Sources;
use afferent_collector::supervise::{Part, Supervisor};
use afferent_host::clock::SystemClock;
use afferent_host::disk::FsDisk;
use afferent_host::stop;
use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ChainHash, Lineage};
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_protocol::sign::Identity;
use afferent_tests::process::Folder;
use tokio::sync::mpsc;

use crate::table::{Must, Table};

const MANY: usize = 10_000;
const FEW: usize = 10;
const BATCH_EVENTS: u64 = 10;
/// Each of many sends one batch meanwhile: what is done for sources that have sent nothing shows.
const PACED_BATCHES: usize = MANY;
const PACED_PER_S: u64 = 1_000;
const FAST_BATCHES: usize = 50_000;
/// Names that are greeted at once: those that have delivered nothing give way when there are too many.
const GREETED_AT_ONCE: usize = 1_000;
const LANE: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1) };

pub fn measure(table: &mut Table) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let [many, few] = [MANY, FEW].map(|sources| runtime.block_on(measured(sources)));
    let per_million = |cpu: Duration| cpu.as_secs_f64() * 1e6 / (PACED_BATCHES as u64 * BATCH_EVENTS) as f64;
    let batches = format!("batches of {BATCH_EVENTS} samples");
    let figure = format!("{MANY} sources, {batches}, as fast as they are taken");
    table.add(figure, many.events_per_s, "events/s", Must::Shown);
    table.add(format!("… with {FEW} sources"), few.events_per_s, "events/s", Must::Shown);
    let figure = format!("{MANY} sources, {PACED_PER_S} {batches} a second: CPU of the writer's thread for 1 M events");
    table.add(figure, per_million(many.cpu), "s", Must::Shown);
    table.add(format!("… with {FEW} sources"), per_million(few.cpu), "s", Must::Shown);
    let ratio = few.cpu.as_secs_f64() / many.cpu.as_secs_f64();
    table.add(format!("… CPU with {FEW} sources, of that with {MANY}"), ratio * 100.0, "%", Must::Least(75.0));
}

struct Measured {
    events_per_s: f64,
    /// Of the writer's thread, while batches came at their pace.
    cpu: Duration,
}

async fn measured(count: usize) -> Measured {
    let folder = Folder::new("bench-sources");
    let mut senders: Vec<Sender> = (0..count).map(Sender::new).collect();
    let core = greeted(&folder, &mut senders);
    let (intake, incoming) = Intake::new();
    let (_stop, stopping) = stop::channel();
    let supervisor = Supervisor::new(Default::default(), stopping);
    let (questions, _asked) = mpsc::channel(1);
    let outbox = Outbox::Endpoint(Default::default());
    let (writer, _views) =
        intake::spawn(core, incoming, outbox, questions, &supervisor).expect("the system has a thread");
    let fast = sealed(&mut senders, FAST_BATCHES);
    let started = Instant::now();
    handed_over(&intake, fast, None).await;
    let events_per_s = (FAST_BATCHES as u64 * BATCH_EVENTS) as f64 / started.elapsed().as_secs_f64();
    let paced = sealed(&mut senders, PACED_BATCHES);
    let before = writer_cpu();
    handed_over(&intake, paced, Some(Duration::from_secs(1) / PACED_PER_S as u32)).await;
    let cpu = writer_cpu() - before;
    drop(intake);
    writer.joined().await.expect("the log can be written");
    Measured { events_per_s, cpu }
}

/// A core that knows every sender, each with a batch in the log.
fn greeted(folder: &Folder, senders: &mut [Sender]) -> Core<EmbeddedLog<FsDisk>> {
    let own = OwnIdentity {
        source: SourceId::literal("collector"),
        identity: Identity::from_seed(&[99; 32]),
        epoch: Epoch::new(5),
        challenge: [3; 32],
        endorsements: Vec::new(),
    };
    let clock = SystemClock::new();
    let disk = FsDisk::new(folder.join("log")).expect("the folder can be written");
    let mut sources = Sources::new(own.source);
    let now = clock.read().wall;
    let opened = EmbeddedLog::open_by_indexes(disk, LogSettings::default(), &mut || 7, now, &mut sources);
    let (log, recovery) = opened.expect("an empty folder takes a log");
    let mut core = Core::new(log, sources, own, &recovery, &clock.read()).with_new_names(MANY as u32);
    core.begin(&clock.read()).expect("the log can be written");
    for senders in senders.chunks_mut(GREETED_AT_ONCE) {
        let mut say = |messages: Vec<(SourceId, Vec<u8>)>| {
            for (name, message) in messages {
                let refusal = core.receive(name, &message, None, &clock.read()).refusal;
                assert_eq!(refusal, None, "nothing is wrong with what {name} says");
            }
            core.commit(&clock.read()).expect("the log can be written")
        };
        let answers = say(senders.iter().map(|sender| (sender.name, sender.hello(Nonce::NONE))).collect());
        let challenge = |message: &[u8]| Down::read(message).expect("it is a signed message").claim().answer;
        let challenges: BTreeMap<SourceId, Nonce> =
            answers.iter().map(|answer| (answer.agent, challenge(&answer.message))).collect();
        say(senders.iter().map(|sender| (sender.name, sender.hello(challenges[&sender.name]))).collect());
        say(senders.iter_mut().map(|sender| (sender.name, sender.batch())).collect());
    }
    core
}

/// So many batches, of one sender after the other.
fn sealed(senders: &mut [Sender], count: usize) -> Vec<(SourceId, Vec<u8>)> {
    let len = senders.len();
    let batch = |at: usize| {
        let sender = &mut senders[at % len];
        (sender.name, sender.batch())
    };
    (0..count).map(batch).collect()
}

/// Hands batches over, one each `pace`, and waits until all of them are on disk.
async fn handed_over(intake: &Intake, batches: Vec<(SourceId, Vec<u8>)>, pace: Option<Duration>) {
    let count = batches.len();
    let (to, mut released) = mpsc::unbounded_channel();
    let mut ticks = pace.map(tokio::time::interval);
    for (number, (name, payload)) in batches.into_iter().enumerate() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let content = IncomingContent::Message { payload: payload.into(), connection: None };
        let room = intake.room(content_bytes(&content)).await.expect("the writer runs");
        room.fill(name, content, Some(Done { to: to.clone(), number: number as u64 }));
    }
    for _ in 0..count {
        let released = released.recv().await.expect("every batch is answered");
        assert_eq!(released.verdict, intake::Admitted::Taken);
    }
}

fn content_bytes(content: &IncomingContent) -> usize {
    match content {
        IncomingContent::Message { payload, .. } => payload.len(),
        _ => 0,
    }
}

/// CPU time of the writer's thread so far.
fn writer_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux shows threads");
    let name = Part::Writer.name();
    let is_writer =
        |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let writer = tasks.flatten().find(is_writer).expect("the writer's thread runs");
    let stat = fs::read_to_string(writer.path().join("schedstat")).expect("Linux counts a thread's time");
    let ns = stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first figure is the time on a CPU");
    Duration::from_nanos(ns)
}

/// One agent with one lane.
struct Sender {
    name: SourceId,
    identity: Identity,
    next: Sequence,
    chain: ChainHash,
    builder: BatchBuilder,
    clock: SystemClock,
}

impl Sender {
    fn new(number: usize) -> Self {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Self {
            name: SourceId::new(&format!("press-{number}")).expect("it is a name"),
            identity: Identity::from_seed(&seed),
            next: Sequence::ZERO,
            chain: CHAIN_START,
            builder: BatchBuilder::new(),
            clock: SystemClock::new(),
        }
    }

    fn hello(&self, answer: Nonce) -> Vec<u8> {
        let lanes = [Held { lane: LANE, first: Sequence::ZERO, end: self.next }].into_iter().collect();
        let up = Up {
            log_id: [0; 16],
            nonce: Nonce([1; 16]),
            answer,
            key: self.identity.public_key(),
            instance: Instance([1; 16]),
            clock: self.clock.read(),
            former: Vec::new(),
            content: UpContent::Control(Control::Hello(Hello { session: 1, lanes })),
        };
        up.sign(&self.name, &self.identity)
    }

    fn batch(&mut self) -> Vec<u8> {
        let clock = self.clock.read();
        for index in 0..BATCH_EVENTS {
            let value = Value::Integer(index as i64);
            let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
            let event = Event { time: clock.wall, subject: Subject::literal("88-C/spindle/temperature"), body };
            self.builder.push(&event).expect("it is a sample");
        }
        let Lane { stream, epoch } = LANE;
        let lineage = Lineage { source: self.name, stream, epoch, first: self.next, previous: self.chain };
        let mut bytes = Vec::new();
        let (header, chain) = self.builder.seal(&lineage, &clock, &self.identity, &mut bytes);
        (self.next, self.chain) = (header.end(), chain);
        bytes
    }
}
