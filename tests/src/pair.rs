//! One agent and one collector, driven by hand: for promises that are told in a few steps.

use afferent_agent::core::{AgentCore, CoreSettings, Now, Outgoing};
use afferent_agent::intake::sink::Waiting;
use afferent_agent::ring_log::{RingIdentity, RingSettings};
use afferent_agent::sequencer::{CommitSettings, OpenBatches};
use afferent_agent::trust::TrustSettings;
use afferent_collector::core::{Answer, Core, OwnIdentity, Received};
use afferent_collector::log::{EmbeddedLog, LogSettings};
use afferent_collector::sources::Sources;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Body, Breakdown, Event, Quality, Sample, Severity, Value};
use afferent_protocol::ids::{Epoch, SourceId, Subject, Timestamp};
use afferent_protocol::session::SenderSettings;
use afferent_protocol::session::signed::{Nonce, is_signed};
use afferent_protocol::sign::Identity;

use crate::rng::Rng;
use crate::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

/// The agent's name.
pub const AGENT: &str = "press-88";

/// Clocks that show this moment.
pub fn clock(ms: u64) -> ClockReading {
    let wall = Timestamp::clamped(1_767_225_600_000_000 + ms as i64 * 1000);
    ClockReading { wall, monotonic_us: ms * 1000, synchronised: true, boot: [7; 16] }
}

/// An agent's core with its open batches.
pub struct Agent {
    /// The core.
    pub core: AgentCore<CheatingDisk>,
    /// Its open batches.
    pub open: OpenBatches,
    /// Its time, which every step moves on.
    pub now_ms: u64,
}

impl Agent {
    /// Opens it on this disk, with so many segments of 64 KiB.
    pub fn open(disk: CheatingDisk, segments: u64, rng: &mut Rng) -> Result<Self, String> {
        let witness = CheatingDisk::new(SimDisk::new(rng.fork()), DiskCheat::Honest);
        let ring =
            RingSettings { pool_bytes: segments * 64 * 1024, segment_bytes: 64 * 1024, critical_reserve_segments: 2 };
        let settings = CoreSettings { ring, sender: SenderSettings::default() };
        let who = RingIdentity {
            source: SourceId::new(AGENT).expect("it is a name"),
            identity: Identity::from_seed(&[7; 32]),
        };
        let opened = AgentCore::open(disk, witness, settings, who, &clock(0), &mut || rng.number());
        let (mut core, _) = opened.map_err(|error| error.to_string())?;
        core.trust(TrustSettings { keys: vec![collector_identity().public_key()], trust_first: false });
        let open = OpenBatches::new(CommitSettings::default(), core.open_batch_bytes_max());
        Ok(Self { core, open, now_ms: 1 })
    }

    /// The time.
    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, clock: clock(self.now_ms) }
    }

    /// Pushes an event and commits it; tells whether it is accepted.
    pub fn accept(&mut self, event: &Event<'_>) -> bool {
        self.now_ms += 1;
        let Ok(ticket) = self.open.push(event, Waiting::Producer, self.now_ms) else { return false };
        let now = self.now();
        self.core.commit_due(&mut self.open, true, &now);
        self.core.durable_commits()[usize::from(ticket.stream.number())] >= ticket.commit
    }

    /// The messages that it wants to send now.
    pub fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            let mut message = Vec::new();
            let now = self.now();
            match self.core.poll(&now, &mut message) {
                Outgoing::Message(_) => messages.push(message),
                Outgoing::Wait { .. } | Outgoing::Reconnect => return messages,
            }
        }
    }

    /// Hands it a message.
    pub fn hear(&mut self, message: &[u8]) {
        let now = self.now();
        self.core.receive(message, &now);
    }

    /// Its connection stands.
    pub fn link_up(&mut self) {
        self.core.link_up(Nonce([1; 16]));
    }
}

/// A collector's core with its log.
pub struct Collector {
    /// The core.
    pub core: Core<EmbeddedLog<CheatingDisk>>,
}

impl Collector {
    /// Opens it on this disk.
    pub fn open(disk: CheatingDisk, rng: &mut Rng) -> Result<Self, String> {
        let source = SourceId::new("collector").expect("it is a name");
        let own = OwnIdentity {
            source,
            identity: collector_identity(),
            epoch: Epoch::new(rng.number()),
            challenge: [3; 32],
            endorsements: Vec::new(),
        };
        let mut sources = Sources::new(source);
        let settings = LogSettings { segment_bytes: 64 * 1024 };
        let mut each = |head: &_, batch: &afferent_protocol::batch::Batch<'_>| sources.rebuild(head, batch);
        let opened = EmbeddedLog::open(disk, settings, &mut || rng.number(), clock(0).wall, &mut each);
        let (log, recovery) = opened.map_err(|error| error.to_string())?;
        let mut core = Core::new(log, sources, own, &recovery, &clock(0));
        core.begin(&clock(0)).map_err(|error| error.to_string())?;
        Ok(Self { core })
    }

    /// Takes a message of the agent.
    pub fn take(&mut self, message: &[u8]) -> Received {
        self.core.receive(SourceId::new(AGENT).expect("it is a name"), message, None, &clock(1))
    }

    /// Commits, and gives what it answers.
    pub fn answers(&mut self) -> Vec<Answer> {
        self.core.commit(&clock(1)).unwrap_or_default()
    }
}

/// Lets the agent say hello and prove itself; gives the batches that it then sends.
pub fn greet(agent: &mut Agent, collector: &mut Collector) -> Vec<Vec<u8>> {
    loop {
        let (hellos, batches): (Vec<_>, Vec<_>) = agent.messages().into_iter().partition(|message| is_signed(message));
        if hellos.is_empty() {
            return batches;
        }
        hellos.iter().for_each(|hello| drop(collector.take(hello)));
        collector.answers().iter().for_each(|answer| agent.hear(&answer.message));
        if !batches.is_empty() {
            return batches;
        }
    }
}

/// The key pair of [`Collector`].
pub fn collector_identity() -> Identity {
    Identity::from_seed(&[9; 32])
}

/// Lets the two talk until neither has anything to say; the agent's link must be up.
pub fn talk(agent: &mut Agent, collector: &mut Collector) {
    loop {
        let messages = agent.messages();
        if messages.is_empty() {
            return;
        }
        messages.iter().for_each(|message| drop(collector.take(message)));
        collector.answers().iter().for_each(|answer| agent.hear(&answer.message));
    }
}

/// A breakdown with this code.
pub fn breakdown(code: &str) -> Event<'_> {
    let body = Body::Breakdown(Breakdown { code, severity: Severity::Error, message: "" });
    Event { time: clock(0).wall, subject: Subject::new("88-C").expect("it is a path"), body }
}

/// A sample with this text as its value.
pub fn sample(value: &str) -> Event<'_> {
    let body = Body::Sample(Sample { value: Value::Text(value), unit: "", quality: Quality::Good });
    Event { time: clock(0).wall, subject: Subject::new("88-C/spindle").expect("it is a path"), body }
}
