//! The agent's ring log against a model, on a disk that refuses, tears and loses power: what was accepted is there, in
//! order and once, until the next log has it or a loss says that it was evicted. No sequence is given twice, and a
//! ring always starts.
//!
//! Input: eight bytes of the disk's chance, then four bytes a step: what is done, and its figures.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use afferent_agent::ring_log::{Appended, ReadError, RingIdentity, RingLog, RingSettings};
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::{BatchBuilder, ClockReading, split};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Breakdown, Event, Loss, LossReason, Quality, Sample, Severity, Value};
use afferent_protocol::ids::{Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::{Held, Lane};
use afferent_protocol::sign::Identity;
use libfuzzer_sys::fuzz_target;

const STEPS_MAX: usize = 48;
const SEGMENT_BYTES: u64 = 64 * 1024;
/// Small enough that a few batches fill it.
const SEGMENTS: u64 = 6;
/// Bytes of the longest event; the longest batch fills a third of a segment.
const EVENT_BYTES: usize = 4096;
const READ_BYTES: usize = 40_000;

fn clock(boot: u8) -> ClockReading {
    ClockReading { wall: Timestamp::clamped(1_000_000), monotonic_us: 5, synchronised: true, boot: [boot; 16] }
}

/// Events that are numbered from `mark` on: the time of each is its number.
fn batch(stream: Stream, mark: i64, count: i64, bytes: usize) -> BatchBuilder {
    let mut batch = BatchBuilder::new();
    let text = "x".repeat(bytes);
    for mark in mark..mark + count {
        let body = match stream {
            Stream::Critical => Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: &text }),
            Stream::Samples => Body::Sample(Sample { value: Value::Text(&text), unit: "", quality: Quality::Good }),
        };
        let event = Event { time: Timestamp::clamped(mark), subject: Subject::literal("press-1/x"), body };
        batch.push(&event).expect("it is an event of the right stream");
    }
    batch
}

fn open(disk: &SimDisk, boot: u8) -> Option<RingLog<SimDisk>> {
    let settings = RingSettings {
        pool_bytes: SEGMENTS * SEGMENT_BYTES,
        segment_bytes: SEGMENT_BYTES,
        critical_reserve_segments: 2,
    };
    let who = RingIdentity { source: SourceId::literal("press-1"), identity: Identity::from_seed(&[3; 32]) };
    let mut drawn = disk.content_operations().wrapping_mul(77);
    let mut entropy = || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        drawn
    };
    RingLog::open(disk.clone(), disk.beside(), settings, who, &clock(boot), &mut entropy).ok().map(|(log, _)| log)
}

/// The ring, and what must be true of it.
struct Model {
    disk: SimDisk,
    log: RingLog<SimDisk>,
    boot: u8,
    /// The number of the next event.
    mark: i64,
    accepted: BTreeMap<(Lane, u64), i64>,
    /// First event and count of the sealed batch of each stream that waits for the disk.
    waiting: [Option<(i64, i64)>; 2],
    /// How far the next log has each lane.
    acked: BTreeMap<Lane, Sequence>,
    /// Losses that the next log has.
    told: BTreeSet<(Lane, u64, u64)>,
}

/// What is held of all lanes, as a read shows it.
#[derive(Default)]
struct Found {
    events: BTreeMap<(Lane, u64), i64>,
    losses: BTreeSet<(Lane, u64, u64)>,
}

impl Found {
    fn take(&mut self, bytes: &[u8]) {
        for batch in split(bytes) {
            let batch = batch.expect("a batch that is read is whole");
            let header = batch.header();
            let lane = Lane { stream: header.stream, epoch: header.epoch };
            for record in codec::records(&batch, &mut []).expect("its codec is known") {
                let record = record.expect("it can be decoded");
                let at = (lane, record.sequence.get());
                if let Body::Loss(Loss { stream, epoch, first, end, reason, .. }) = record.event.body {
                    assert_ne!(reason, LossReason::Corrupt, "a power cut is no damage");
                    assert!(first < end, "a loss names something");
                    if reason == LossReason::Evicted {
                        self.losses.insert((Lane { stream, epoch }, first.get(), end.get()));
                    }
                } else {
                    assert_eq!(self.events.insert(at, record.event.time.micros()), None, "{at:?} is held twice");
                }
            }
        }
    }
}

impl Model {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::of_seed(seed);
        let log = open(&disk, 0).expect("an empty disk takes a ring");
        let (accepted, acked, told) = Default::default();
        Self { disk, log, boot: 0, mark: 1, accepted, waiting: [None; 2], acked, told }
    }

    fn appended(&mut self, appended: &Appended) {
        let waiting = self.waiting[usize::from(appended.lane.stream.number())].take();
        let (mark, count) = waiting.expect("what is appended was handed over");
        assert_eq!(appended.range.count(), count as u64);
        for at in 0..count as u64 {
            let place = (appended.lane, appended.range.first.get() + at);
            assert_eq!(self.accepted.insert(place, mark + at as i64), None, "{place:?} is given twice");
        }
    }

    fn append(&mut self, stream: Stream, count: u8, bytes: usize) {
        // A text of a sample is short; the batch fits a third of a segment.
        let bytes = if stream == Stream::Samples { bytes % 1000 } else { bytes };
        let count = i64::from(count).clamp(1, 16).min((SEGMENT_BYTES as i64 / 3) / (bytes as i64 + 64)).max(1);
        let mut builder = batch(stream, self.mark, count, bytes);
        let was_pending = self.log.pending(stream);
        let result = self.log.append(stream, &mut builder, &clock(self.boot));
        if builder.is_empty() {
            assert!(!was_pending, "two batches of a stream wait at once");
            self.waiting[usize::from(stream.number())] = Some((self.mark, count));
        }
        assert_eq!(self.log.pending(stream), was_pending || (builder.is_empty() && result.is_err()));
        self.mark += count;
        if let Ok(appended) = result {
            self.appended(&appended);
        }
    }

    fn retry(&mut self) {
        let waited: Vec<Stream> = Stream::ALL.into_iter().filter(|stream| self.log.pending(*stream)).collect();
        match self.log.retry(&clock(self.boot)) {
            Ok(appended) => {
                assert_eq!(appended.len(), waited.len(), "what has waited is appended");
                appended.iter().for_each(|appended| self.appended(appended));
            }
            // What came through before the disk refused the other one is not returned: the durable end shows it.
            Err(_) => {
                for stream in waited.into_iter().filter(|stream| !self.log.pending(*stream)) {
                    let (lane, end) = self.log.durable_end(stream);
                    let (mark, count) = self.waiting[usize::from(stream.number())].take().expect("it has waited");
                    for at in 0..count {
                        let place = (lane, end.get() - count as u64 + at as u64);
                        assert_eq!(self.accepted.insert(place, mark + at), None, "{place:?} is given twice");
                    }
                }
            }
        }
    }

    /// Reads a lane from the first sequence that is held, `batches` reads at most; gives where that ends.
    fn read(&mut self, held: &Held, batches: u8, found: &mut Found) -> Option<Sequence> {
        let (mut from, mut out) = (held.first, Vec::new());
        for _ in 0..batches {
            if from >= held.end {
                break;
            }
            match self.log.read(held.lane, from, READ_BYTES, &clock(self.boot), &mut out) {
                Ok(sent) => {
                    for batch in &sent {
                        assert_eq!((batch.lane, batch.first), (held.lane, from), "batches follow each other");
                        from = batch.end;
                    }
                }
                Err(ReadError::Corrupt { lane, range }) => panic!("{lane:?} {range:?}: a power cut is no damage"),
                // The segment was evicted to make room for a loss.
                Err(ReadError::NotHeld { .. }) => return None,
                Err(ReadError::Io(error)) => panic!("no read is refused here: {error}"),
                Err(ReadError::Undeclared(_)) => return None,
            }
        }
        found.take(&out);
        Some(from)
    }

    /// The next log takes some of the first lane of a stream, and says so.
    fn ack(&mut self, stream: Stream, batches: u8) {
        let held = self.log.held().into_iter().find(|held| held.lane.stream == stream && held.first < held.end);
        let Some(held) = held else { return };
        let mut found = Found::default();
        let Some(end) = self.read(&held, batches, &mut found) else { return };
        self.compare(&found);
        self.told.extend(&found.losses);
        let acked = self.acked.entry(held.lane).or_default();
        *acked = end.max(*acked);
        self.log.release(held.lane, end);
    }

    fn compare(&self, found: &Found) {
        for (place, mark) in &found.events {
            // What is not known as accepted was on its way when the power went.
            assert!(self.accepted.get(place).is_none_or(|known| known == mark), "{place:?} holds another event");
        }
    }

    /// Everything that was accepted and that the next log does not have is held, or a loss says that it was evicted.
    fn check(&mut self) {
        let mut found = Found::default();
        let mut held = self.log.held();
        held.retain(|held| held.first < held.end);
        for held in held {
            let end = self.read(&held, u8::MAX, &mut found);
            assert_eq!(end, Some(held.end), "all that is held can be read");
        }
        self.compare(&found);
        for ((lane, at), mark) in &self.accepted {
            let is_lost = |(of, first, end): &(Lane, u64, u64)| of == lane && (*first..*end).contains(at);
            let has_next = self.acked.get(lane).is_some_and(|acked| *at < acked.get());
            let is_held = found.events.get(&(*lane, *at)) == Some(mark);
            let is_told = found.losses.iter().any(is_lost) || self.told.iter().any(is_lost);
            assert!(has_next || is_held || is_told, "{lane:?} {at} is gone without a word");
        }
    }

    /// The process begins again, on a disk that refuses nothing.
    fn restart(&mut self) {
        self.disk.refuse(0, 0);
        self.disk.fails_in(None);
        self.waiting = [None; 2];
        self.log = open(&self.disk, self.boot).expect("a ring always starts");
        self.check();
    }

    /// The power goes, in the middle of the `operations`-th operation that an append does.
    fn power_cut(&mut self, stream: Stream, operations: u8, bytes: usize) {
        self.disk.stop_after(u64::from(operations % 8));
        let before = self.waiting;
        let mut builder = batch(stream, self.mark, 1, bytes % 1000);
        if let Ok(appended) = self.log.append(stream, &mut builder, &clock(self.boot)) {
            self.waiting[usize::from(stream.number())] = Some((self.mark, 1));
            self.appended(&appended);
        }
        self.waiting = before;
        self.mark += 1;
        self.disk.stop_never();
        self.disk = self.disk.power_cut();
        self.boot = self.boot.wrapping_add(1);
        self.restart();
    }

    fn step(&mut self, [what, a, b, c]: [u8; 4]) {
        let stream = if a & 1 == 0 { Stream::Critical } else { Stream::Samples };
        let bytes = usize::from(u16::from_le_bytes([b, c])) % EVENT_BYTES;
        match what % 10 {
            0..=3 => self.append(stream, a >> 1, bytes),
            4 => self.ack(stream, b % 8),
            5 => self.disk.refuse(u64::from(b % 8), u64::from(c % 16)),
            6 => self.retry(),
            7 => self.restart(),
            8 => self.power_cut(stream, a >> 1, bytes),
            // So many at once that something has to go.
            _ => (0..b % 24).for_each(|_| self.append(stream, 16, EVENT_BYTES - 1)),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, steps)) = data.split_first_chunk::<8>() else { return };
    let mut model = Model::new(u64::from_le_bytes(*seed));
    for step in steps.as_chunks::<4>().0.iter().take(STEPS_MAX) {
        model.step(*step);
    }
    model.power_cut(Stream::Critical, 7, 0);
});
