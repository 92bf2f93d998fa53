//! What the golden files hold, as values.

mod events;
mod logs;
mod messages;
mod signatures;

use std::sync::LazyLock;

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, Lineage};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::Event;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::sign::{Identity, PublicKey};

pub use events::time;
pub use logs::{segments, witness};
pub use messages::{LINE_FRAME_MAX, attestation, controls, downs, line, payloads, statements, ups};
pub use signatures::VECTORS;

/// The agent.
pub const SOURCE: &str = "press-88.C_1";
/// The collector.
const COLLECTOR: &str = "collector";
/// The log.
pub const LOG_ID: [u8; 16] = [0x22; 16];
/// Its term.
const TERM: u64 = 0x7E12_0000_0000_0001;
/// The term after that.
const NEXT_TERM: u64 = 0x1A05_0000_0000_0002;

/// The agent's key.
pub static KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[0x42; 32]));
/// The log's key.
pub static LOG_KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[0x43; 32]));
/// The key of a collector that works on the same log.
static COLLEAGUE_KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[0x44; 32]));

/// The key that takes the place of the log's.
static SUCCESSOR_KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[0x45; 32]));

/// The keys that a reader is told.
pub fn keys() -> Vec<[u8; 32]> {
    vec![KEY.public_key().0, LOG_KEY.public_key().0, SUCCESSOR_KEY.public_key().0]
}

/// The identity with this key.
pub fn identity_of(key: &PublicKey) -> &'static Identity {
    [&KEY, &LOG_KEY, &COLLEAGUE_KEY].into_iter().find(|known| known.public_key() == *key).expect("a key of these files")
}

/// A batch and what it is made of.
pub struct MadeBatch {
    pub identity: &'static Identity,
    pub lineage: Lineage,
    pub clock: ClockReading,
    pub events: Vec<Event<'static>>,
}

impl MadeBatch {
    fn new(stream: Stream, first: u64, previous: ChainHash, events: Vec<Event<'static>>) -> Self {
        let source = SourceId::new(SOURCE).unwrap();
        let epoch = Epoch::new(0x0102_0304_0506_0708 + u64::from(stream.number()));
        let lineage = Lineage { source, stream, epoch, first: Sequence::new(first), previous };
        let synchronised = stream == Stream::Critical;
        let clock = ClockReading {
            wall: time(1_631_577_300_000_000),
            monotonic_us: 123_456_789,
            synchronised,
            boot: *b"0123456789abcdef",
        };
        Self { identity: &KEY, lineage, clock, events }
    }

    /// One of the collector's own.
    fn of_collector(first: u64, previous: ChainHash, events: Vec<Event<'static>>) -> Self {
        let mut made = Self::new(Stream::Critical, first, previous, events);
        (made.lineage.source, made.lineage.epoch) = (SourceId::literal(COLLECTOR), Epoch::new(0x0C01));
        Self { identity: &LOG_KEY, ..made }
    }

    fn of_epoch(self, epoch: u64) -> Self {
        Self { lineage: Lineage { epoch: Epoch::new(epoch), ..self.lineage }, ..self }
    }

    pub fn seal(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for event in &self.events {
            event.check().unwrap();
            builder.push(event).unwrap();
        }
        let mut bytes = vec![];
        builder.seal(&self.lineage, &self.clock, self.identity, &mut bytes);
        bytes
    }
}

pub fn batches() -> Vec<(&'static str, MadeBatch)> {
    let critical = |first, previous, events| MadeBatch::new(Stream::Critical, first, [previous; 32], events);
    let collectors = |first, previous, events| MadeBatch::of_collector(first, [previous; 32], events);
    vec![
        ("batch-samples-v1", MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples())),
        ("batch-extremes-v1", MadeBatch::new(Stream::Samples, u64::MAX - 100, [0xEE; 32], events::extremes())),
        ("batch-critical-v1", critical(7, 0xAB, events::critical())),
        ("batch-losses-v1", critical(300, 0xAC, events::losses())),
        ("batch-life-cycle-v1", critical(70_000, 0xAD, events::life_cycle())),
        ("batch-heartbeat-v1", critical(75_000, 0xAF, events::heartbeats())),
        ("batch-progress-v1", critical(80_000, 0xAE, events::progress())),
        ("batch-followed-v1", critical(80_500, 0xB6, events::followed())),
        ("batch-derived-v1", critical(81_000, 0xB1, events::derived())),
        ("batch-collector-v1", collectors(70, 0xB2, events::of_collector())),
        ("batch-proof-v1", collectors(80, 0xB3, events::proof(attestation().sign(&LOG_KEY)))),
        ("batch-retention-v1", collectors(90, 0xB0, events::retention())),
        ("batch-forgotten-v1", collectors(95, 0xB7, events::forgotten())),
        ("batch-posted-v1", collectors(100, 0xB4, events::posted())),
        ("batch-resealed-old-v1", MadeBatch::new(Stream::Samples, 100, [0xB5; 32], events::samples()).of_epoch(0x01D)),
        (
            "batch-resealed-new-v1",
            MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::resealed(Epoch::new(0x01D), 100)).of_epoch(0x2E3),
        ),
    ]
}

/// What a device makes: no signature, the link chain, ticks for times. Two batches of a lane, and one that knows UTC.
pub fn devices() -> Vec<(&'static str, Vec<u8>)> {
    let mut previous = [0; 32];
    let names = ["batch-device-v1", "batch-device-next-v1", "batch-device-synchronised-v1"];
    let seal = |(at, name): (usize, &'static str)| {
        let mut made = MadeBatch::new(Stream::Critical, 2 * at as u64, previous, events::of_device(at as i64));
        made.lineage.source = SourceId::literal("spindle-1");
        let (monotonic_us, synchronised) = (7_000_000 + 1_000_000 * at as u64, at == 2);
        let wall = time(if synchronised { 1_631_577_000_000_000 } else { 0 } + monotonic_us as i64);
        made.clock = ClockReading { wall, monotonic_us, synchronised, boot: *b"fedcba9876543210" };
        let mut bytes = made.seal();
        bytes[8..72].fill(0);
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        previous[..4].copy_from_slice(&crc);
        (name, bytes)
    };
    names.into_iter().enumerate().map(seal).collect()
}

/// Keys, hashes and signatures, one after the other.
pub fn signatures() -> Vec<u8> {
    let digits: String = VECTORS.iter().flat_map(|(_, digits)| digits.split(' ')).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// What retention leaves of a batch.
pub fn emptied() -> Vec<(&'static str, Vec<u8>)> {
    let (_, made) = batches().remove(0);
    let bytes = made.seal();
    vec![("batch-removed-v1", Batch::parse(&bytes).unwrap().0.emptied().to_vec())]
}
