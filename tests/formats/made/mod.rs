//! What the golden files hold, as values.

mod events;

use std::sync::LazyLock;

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, Lineage};
use afferent_protocol::event::Event;
use afferent_protocol::frame;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::segment::{self, EntryHead, LogKind, STOP_LEN, SegmentHeader};
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::Identity;

pub use events::time;

/// Who has signed everything.
const SOURCE: &str = "press-88.C_1";

pub static KEY: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[0x42; 32]));

/// A batch and what it is made of.
pub struct MadeBatch {
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
        Self { lineage, clock, events }
    }

    pub fn seal(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for event in &self.events {
            event.check().unwrap();
            builder.push(event).unwrap();
        }
        let mut bytes = vec![];
        builder.seal(&self.lineage, &self.clock, &KEY, &mut bytes);
        bytes
    }
}

pub fn batches() -> Vec<(&'static str, MadeBatch)> {
    vec![
        ("batch-samples-v1", MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples())),
        ("batch-extremes-v1", MadeBatch::new(Stream::Samples, u64::MAX - 100, [0xEE; 32], events::extremes())),
        ("batch-critical-v1", MadeBatch::new(Stream::Critical, 7, [0xAB; 32], events::critical())),
        ("batch-losses-v1", MadeBatch::new(Stream::Critical, 300, [0xAC; 32], events::losses())),
        ("batch-life-cycle-v1", MadeBatch::new(Stream::Critical, 70_000, [0xAD; 32], events::life_cycle())),
        ("batch-life-cycle-2-v1", MadeBatch::new(Stream::Critical, 75_000, [0xAF; 32], events::life_cycle_2())),
        ("batch-retention-v1", MadeBatch::new(Stream::Critical, 76_000, [0xB0; 32], events::retention())),
        ("batch-progress-v1", MadeBatch::new(Stream::Critical, 80_000, [0xAE; 32], events::progress())),
    ]
}

/// What retention leaves of a batch.
pub fn emptied() -> Vec<(&'static str, Vec<u8>)> {
    let (_, made) = batches().remove(0);
    let bytes = made.seal();
    vec![("batch-removed-v1", Batch::parse(&bytes).unwrap().0.emptied().to_vec())]
}

/// Three batches of one lane, each of which continues the chain.
fn chained() -> Vec<Vec<u8>> {
    let (mut first, mut previous) = (0, CHAIN_START);
    let parts = [events::critical(), events::losses(), events::life_cycle()];
    let seal = |events: Vec<Event<'static>>| {
        let count = events.len() as u64;
        let bytes = MadeBatch::new(Stream::Critical, first, previous, events).seal();
        previous = Batch::parse(&bytes).unwrap().0.chain_hash();
        first += count;
        bytes
    };
    parts.into_iter().map(seal).collect()
}

fn segment_header(kind: LogKind) -> SegmentHeader {
    let ring = kind == LogKind::Ring;
    SegmentHeader {
        kind,
        log_id: [if ring { 0x11 } else { 0x22 }; 16],
        generation: 5,
        stream: Stream::Critical,
        epoch: Epoch::new(if ring { 0x0102_0304_0506_0708 } else { 0 }),
        first_ordinal: if ring { 0 } else { 1000 },
        begun: time(1_631_577_270_000_000),
    }
}

/// The segment of these batches, and where each entry begins.
fn segment(kind: LogKind, batches: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let header = segment_header(kind);
    let mut bytes = header.encode().to_vec();
    let (mut ordinal, mut places) = (header.first_ordinal, vec![]);
    for (at, batch) in batches.iter().enumerate() {
        let batch_header = *Batch::parse(batch).unwrap().0.header();
        let acked_end = if kind == LogKind::Ring { 3 * at as u64 } else { 0 };
        let stamp = Timestamp::new(1_631_577_301_000_000 + 20_000 * at as i64).unwrap();
        let head = EntryHead::new(&batch_header, ordinal, acked_end, stamp);
        places.push(bytes.len());
        segment::put_entry(&mut bytes, header.seed(), &head, batch);
        ordinal = head.end_ordinal();
    }
    bytes.resize(bytes.len() + STOP_LEN, 0);
    (bytes, places)
}

pub fn segments() -> Vec<(&'static str, Vec<u8>)> {
    let batches = chained();
    let (mut ring, _) = segment(LogKind::Ring, &batches);
    ring.resize(ring.len().next_multiple_of(4096), 0);
    let (whole, places) = segment(LogKind::Unified, &batches);
    let mut torn = whole.clone();
    // The last write reached the disk up to a sector's end; what the file held there before were zeros.
    torn[(places[2] + 100).next_multiple_of(512)..].fill(0);
    let mut corrupt = whole;
    corrupt[places[1] + 300] ^= 0x10;
    vec![("segment-ring-v1", ring), ("segment-unified-torn-v1", torn), ("segment-unified-corrupt-v1", corrupt)]
}

pub fn controls() -> Vec<(&'static str, Control)> {
    let critical = Lane { stream: Stream::Critical, epoch: Epoch::new(0x0102_0304_0506_0708) };
    let samples = Lane { stream: Stream::Samples, epoch: Epoch::new(u64::MAX) };
    let held = |lane, first, end| Held { lane, first: Sequence::new(first), end: Sequence::new(end) };
    let resume = |lane, end, check| Resume { lane, end: Sequence::new(end), check };
    let check = Some(Check(0x1122_3344_5566_7788));
    let lanes = [held(critical, 5, 300), held(samples, 0, u64::MAX)].into_iter().collect();
    let resumes = [resume(critical, 7, check), resume(samples, 0, None)].into_iter().collect();
    let hello = Hello { session: 70_000, lanes };
    vec![
        ("control-hello-v1", Control::Hello(hello)),
        ("control-welcome-v1", Control::Welcome(Welcome { session: 70_000, lanes: resumes })),
        ("control-ack-v1", Control::Ack([resume(critical, 300, check)].into_iter().collect())),
        ("control-nack-v1", Control::Nack { lane: samples, from: Sequence::new(129) }),
    ]
}

/// A serial line: noise, frames, a frame with a flipped bit, one that is too long, and half a frame at the end.
pub fn line() -> Vec<u8> {
    let frame = |payload: &[u8]| {
        let mut out = vec![0; frame::frame_len_max(payload.len())];
        let len = frame::encode(payload, &mut out).unwrap();
        out.truncate(len);
        out
    };
    let acks = controls().into_iter().map(|(_, control)| frame(&control.encode()));
    let mut flipped = frame(b"flipped");
    flipped[3] ^= 4;
    let long: Vec<u8> = (0..=255).chain(0..=255).chain(1..=60).collect();
    let parts = [b"noise\x05 before the first frame\0\0".to_vec(), frame(b"")]
        .into_iter()
        .chain(acks)
        .chain([flipped, frame(&[0; 300]), frame(&[0xFF; 300]), frame(&long), vec![1; 700], vec![0], frame(b"last")])
        .chain([frame(b"half of this")[..6].to_vec()]);
    parts.flatten().collect()
}
