//! For tests: an agent that seals batches.

use afferent_protocol::batch::{
    Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, HEADER_LEN, Header, Lineage, SIGNED_FROM,
};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Body, Event, Loss, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_protocol::sign::{Identity, sha256};

use crate::core::{Answer, Core, Refusal};
use crate::log::UnifiedLog;

pub(crate) fn clock(seconds: u64) -> ClockReading {
    let wall = Timestamp::clamped(1_700_000_000_000_000 + seconds as i64 * 1_000_000);
    ClockReading { wall, monotonic_us: seconds * 1_000_000, synchronised: true, boot: [7; 16] }
}

pub(crate) fn source(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

pub(crate) fn parse(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).unwrap().0
}

/// One lane of an agent: seals batch after batch.
#[derive(Debug)]
pub(crate) struct Agent {
    pub name: SourceId,
    pub identity: Identity,
    pub lane: Lane,
    pub next: u64,
    pub chain: ChainHash,
    /// The run of the agent: a different run has a different instance and connection.
    pub run: u8,
    /// The number of its next hello.
    pub session: u32,
    builder: BatchBuilder,
}

impl Agent {
    pub fn new(name: &str, stream: Stream, epoch: u64) -> Self {
        let identity = identity(name.bytes().fold(1, |sum, byte| sum ^ byte));
        let lane = Lane { stream, epoch: Epoch::new(epoch) };
        let (chain, builder) = (CHAIN_START, BatchBuilder::new());
        Self { name: source(name), identity, lane, next: 0, chain, run: 1, session: 1, builder }
    }

    fn seal(&mut self) -> Vec<u8> {
        let Lane { stream, epoch } = self.lane;
        let first = Sequence::new(self.next);
        let lineage = Lineage { source: self.name, stream, epoch, first, previous: self.chain };
        let mut bytes = Vec::new();
        let (header, chain) = self.builder.seal(&lineage, &clock(self.next), &self.identity, &mut bytes);
        (self.next, self.chain) = (header.end().get(), chain);
        bytes
    }

    /// A batch of this number of samples.
    pub fn samples(&mut self, count: u64) -> Vec<u8> {
        for index in 0..count {
            let subject = Subject::new("88-C/spindle/temperature").unwrap();
            let value = Value::Integer((self.next + index) as i64);
            let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
            self.builder.push(&Event { time: clock(self.next + index).wall, subject, body }).unwrap();
        }
        self.seal()
    }

    /// A batch with one event.
    pub fn event(&mut self, body: Body<'_>) -> Vec<u8> {
        let subject = Subject::new("88-C").unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body }).unwrap();
        self.seal()
    }

    /// A batch with one event, whose subject is the agent itself.
    pub fn of_itself(&mut self, body: Body<'_>) -> Vec<u8> {
        let name = self.name;
        let subject = Subject::new(name.as_str()).unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body }).unwrap();
        self.seal()
    }

    /// A batch that declares a loss.
    pub fn loss(&mut self, loss: Loss) -> Vec<u8> {
        let name = self.name;
        let subject = Subject::new(name.as_str()).unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body: Body::Loss(loss) }).unwrap();
        self.seal()
    }

    /// As [`Agent::samples`], but the lane stays: the next batch has the same sequences.
    pub fn samples_of(&mut self, count: u64) -> Vec<u8> {
        let (next, chain) = (self.next, self.chain);
        let bytes = self.samples(count);
        (self.next, self.chain) = (next, chain);
        bytes
    }

    /// A batch of one sample, signed, whose header has a wrong count and codec. The lane stays.
    pub fn lie(&mut self, count: u32, codec: u8) -> Vec<u8> {
        let mut bytes = self.samples_of(1);
        let header = Header { count, codec, ..*parse(&bytes).header() };
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        let signature = self.identity.sign(&sha256(&bytes[SIGNED_FROM..]));
        bytes[8..SIGNED_FROM].copy_from_slice(&signature);
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        bytes
    }

    /// The hello of an agent that holds its lane from `first` on, without an answer to a challenge.
    pub fn hello(&self, first: u64) -> Vec<u8> {
        self.hello_over(first, Nonce::NONE)
    }

    /// The same, with the answer to a challenge.
    pub fn hello_over(&self, first: u64, answer: Nonce) -> Vec<u8> {
        let held = Held { lane: self.lane, first: Sequence::new(first), end: Sequence::new(self.next.max(first)) };
        let lanes = [held].into_iter().collect();
        self.up(answer, Control::Hello(Hello { session: self.session, lanes }))
    }

    /// A control message of the agent, signed.
    pub fn up(&self, answer: Nonce, control: Control) -> Vec<u8> {
        self.said_over(answer, UpContent::Control(control))
    }

    /// As [`Agent::up`], without an answer to a challenge.
    pub fn said(&self, content: UpContent) -> Vec<u8> {
        self.said_over(Nonce::NONE, content)
    }

    fn said_over(&self, answer: Nonce, content: UpContent) -> Vec<u8> {
        let up = Up {
            log_id: [0; 16],
            nonce: Nonce([self.run; 16]),
            answer,
            key: self.identity.public_key(),
            instance: Instance([self.run; 16]),
            clock: clock(self.next),
            former: Vec::new(),
            content,
        };
        up.sign(&self.name, &self.identity)
    }
}

/// Sends a hello and the answer to the challenge; returns the collector's reply.
pub(crate) fn greet<L: UnifiedLog>(
    core: &mut Core<L>,
    agent: &Agent,
    first: u64,
    clock: &ClockReading,
) -> Result<Vec<Answer>, Refusal> {
    let mut say = |message: &[u8]| {
        core.receive(agent.name, message, None, clock).refusal.map_or(Ok(()), Err)?;
        Ok(core.commit(clock).expect("the disk works"))
    };
    let answers = say(&agent.hello(first))?;
    let welcomed = |answer: &Answer| answer.agent == agent.name && matches!(answer.control, Control::Welcome(_));
    let welcome = answers.iter().find(|answer| welcomed(answer)).expect("a hello is answered");
    let challenge = Down::read(&welcome.message).expect("it is a signed message").claim().answer;
    say(&agent.hello_over(first, challenge))
}
