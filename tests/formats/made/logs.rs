//! Segments of both logs.

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, CHAIN_START};
use afferent_protocol::event::Event;
use afferent_protocol::ids::{Epoch, Offset, Stream, Timestamp};
use afferent_protocol::segment::{self, EntryHead, LogKind, STOP_LEN, SegmentHeader};
use afferent_protocol::sign::Running;

use super::{LOG_ID, LOG_KEY, MadeBatch, TERM, events, time};

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

fn segment_header(kind: LogKind, first_ordinal: u64) -> SegmentHeader {
    let ring = kind == LogKind::Ring;
    SegmentHeader {
        kind,
        log_id: if ring { [0x11; 16] } else { LOG_ID },
        generation: 5,
        stream: Stream::Critical,
        epoch: Epoch::new(if ring { 0x0102_0304_0506_0708 } else { 0 }),
        first_ordinal,
        begun: time(1_631_577_270_000_000),
    }
}

/// A segment that grows.
struct Growing {
    header: SegmentHeader,
    bytes: Vec<u8>,
    places: Vec<usize>,
    ordinal: u64,
    hash: Running,
    stamp: Timestamp,
}

impl Growing {
    fn new(header: SegmentHeader) -> Self {
        let (bytes, ordinal) = (header.encode().to_vec(), header.first_ordinal);
        Self { header, bytes, places: vec![], ordinal, hash: Running::default(), stamp: header.begun }
    }

    fn push(&mut self, bytes: &[u8]) {
        let batch = Batch::parse(bytes).unwrap().0;
        let (at, is_ring) = (self.places.len() as u64, self.header.kind == LogKind::Ring);
        self.stamp = time(1_631_577_301_000_000 + 20_000 * at as i64);
        let acked_end = if is_ring { 3 * at } else { self.ordinal };
        let mut head = EntryHead::new(batch.header(), self.ordinal, acked_end, self.stamp);
        if is_ring {
            head.other = (Epoch::new(0x0102_0304_0506_0709), 1000 * at);
        }
        self.places.push(self.bytes.len());
        segment::put_entry(&mut self.bytes, self.header.seed(), &head, bytes);
        self.hash.push(Offset::new(self.ordinal), self.stamp, head.count, &batch.chain_hash());
        self.ordinal = head.end_ordinal();
    }

    fn stop(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + STOP_LEN, 0);
        self.bytes
    }
}

/// A log from its first offset on: term, keys, batches of an agent, one of them emptied, and two attestations.
fn attested() -> Vec<u8> {
    let mut log = Growing::new(segment_header(LogKind::Unified, 0));
    let [one, two, _] = <[Vec<u8>; 3]>::try_from(chained()).unwrap();
    let samples = MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples()).seal();
    let (mut own_first, mut own_chain, mut previous) = (0, CHAIN_START, [0; 32]);
    let mut own = |events: Vec<Event<'static>>| {
        let made = MadeBatch::of_collector(own_first, own_chain, events);
        let bytes = made.seal();
        (own_first, own_chain) = (own_first + made.events.len() as u64, Batch::parse(&bytes).unwrap().0.chain_hash());
        bytes
    };
    log.push(&own(events::beginning()));
    log.push(&one);
    log.push(&Batch::parse(&samples).unwrap().0.emptied());
    for number in 0..2 {
        let attestation = Attestation {
            key: LOG_KEY.public_key(),
            log_id: LOG_ID,
            partition: 0,
            term: TERM,
            number,
            end: Offset::new(log.ordinal),
            time: log.stamp,
            previous,
            hash: log.hash,
        };
        previous = attestation.digest();
        log.push(&own(events::attested(attestation.sign(&LOG_KEY))));
        if number == 0 {
            log.push(&two);
        }
    }
    log.stop()
}

pub fn segments() -> Vec<(&'static str, Vec<u8>)> {
    let (mut ring, mut unified) =
        (Growing::new(segment_header(LogKind::Ring, 0)), Growing::new(segment_header(LogKind::Unified, 1000)));
    for batch in chained() {
        ring.push(&batch);
        unified.push(&batch);
    }
    let mut ring = ring.stop();
    ring.resize(ring.len().next_multiple_of(4096), 0);
    let places = unified.places.clone();
    let whole = unified.stop();
    let mut torn = whole.clone();
    // The last write reached the disk up to a sector's end; what the file held there before were zeros.
    torn[(places[2] + 100).next_multiple_of(512)..].fill(0);
    let mut corrupt = whole;
    corrupt[places[1] + 300] ^= 0x10;
    vec![
        ("segment-ring-v2", ring),
        ("segment-unified-v2", attested()),
        ("segment-unified-torn-v2", torn),
        ("segment-unified-corrupt-v2", corrupt),
    ]
}
