//! Segments of both logs.

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::Event;
use afferent_protocol::ids::{Epoch, Offset, Stream, Timestamp};
use afferent_protocol::segment::{self, EntryHead, LogKind, STOP_LEN, SegmentHeader};
use afferent_protocol::sign::{Identity, Running};

use super::{LOG_ID, LOG_KEY, MadeBatch, NEXT_TERM, SUCCESSOR_KEY, TERM, events, time};

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
    /// What was measured of the clock of the next batch.
    clock_offset_us: Option<i64>,
}

impl Growing {
    fn new(header: SegmentHeader) -> Self {
        let (bytes, ordinal) = (header.encode().to_vec(), header.first_ordinal);
        let (places, hash, stamp) = (vec![], Running::default(), header.begun);
        Self { header, bytes, places, ordinal, hash, stamp, clock_offset_us: None }
    }

    fn push(&mut self, bytes: &[u8]) {
        let batch = Batch::parse(bytes).unwrap().0;
        let (at, is_ring) = (self.places.len() as u64, self.header.kind == LogKind::Ring);
        self.stamp = time(1_631_577_301_000_000 + 20_000 * at as i64);
        let acked_end = if is_ring { 3 * at } else { self.ordinal };
        let mut head = EntryHead::new(batch.header(), self.ordinal, acked_end, self.stamp);
        if is_ring {
            head.other = (Epoch::new(0x0102_0304_0506_0709), 1000 * at);
        } else {
            head = head.with_clock_offset_us(self.clock_offset_us);
        }
        self.places.push(self.bytes.len());
        segment::put_entry(&mut self.bytes, self.header.seed(), &head, bytes);
        let (ordinal, clock_offset_us) = (Offset::new(self.ordinal), self.clock_offset_us);
        self.hash.push(ordinal, self.stamp, head.count, &batch.chain_hash(), clock_offset_us);
        self.ordinal = head.end_ordinal();
    }

    fn stop(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + STOP_LEN, 0);
        self.bytes
    }
}

/// Own batches, each of which continues the chain.
struct Own {
    identity: &'static Identity,
    epoch: u64,
    first: u64,
    chain: ChainHash,
    attested: u64,
    digest: [u8; 32],
}

impl Own {
    fn of(identity: &'static Identity, epoch: u64) -> Self {
        Self { identity, epoch, first: 0, chain: CHAIN_START, attested: 0, digest: [0; 32] }
    }

    fn say(&mut self, log: &mut Growing, events: Vec<Event<'static>>) {
        let made = MadeBatch::of_collector(self.first, self.chain, events).of_epoch(self.epoch);
        let bytes = MadeBatch { identity: self.identity, ..made }.seal();
        let batch = Batch::parse(&bytes).unwrap().0;
        (self.first, self.chain) = (batch.header().end().get(), batch.chain_hash());
        log.push(&bytes);
    }

    /// Attests all that the log has.
    fn attest(&mut self, log: &mut Growing, term: u64) {
        let attestation = Attestation {
            key: self.identity.public_key(),
            log_id: LOG_ID,
            partition: 0,
            term,
            number: self.attested,
            end: Offset::new(log.ordinal),
            time: log.stamp,
            previous: self.digest,
            hash: log.hash,
        };
        (self.attested, self.digest) = (self.attested + 1, attestation.digest());
        self.say(log, events::attested(attestation.sign(self.identity)));
    }
}

/// A log from its first offset on: term, keys, batches of an agent, one of them emptied, and two attestations.
fn attested() -> Vec<u8> {
    let mut log = Growing::new(segment_header(LogKind::Unified, 0));
    let [one, two, _] = <[Vec<u8>; 3]>::try_from(chained()).unwrap();
    let samples = MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples()).seal();
    let mut own = Own::of(&LOG_KEY, 0x0C01);
    own.say(&mut log, events::beginning());
    log.push(&one);
    log.push(&Batch::parse(&samples).unwrap().0.emptied());
    own.attest(&mut log, TERM);
    log.push(&two);
    own.attest(&mut log, TERM);
    log.stop()
}

/// A log that was stopped and goes on in another term, under a key that the one before has endorsed; each key attests. A
/// lane has a hole that its source has declared before, and what stood behind its end is sealed again in another epoch.
fn of_two_terms() -> Vec<u8> {
    let mut log = Growing::new(segment_header(LogKind::Unified, 0));
    let samples = MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples());
    let (epoch, sealed) = (samples.lineage.epoch, samples.seal());
    let chain = Batch::parse(&sealed).unwrap().0.chain_hash();
    let mut own = Own::of(&LOG_KEY, 0x0C01);
    own.say(&mut log, events::beginning());
    log.push(&sealed);
    own.attest(&mut log, TERM);
    let mut own = Own { attested: own.attested, digest: own.digest, ..Own::of(&SUCCESSOR_KEY, 0x0C02) };
    let first = Offset::new(log.ordinal);
    own.say(&mut log, events::next_term(first));
    log.push(&MadeBatch::new(Stream::Critical, 0, CHAIN_START, events::lost(epoch, 7, chain)).seal());
    let behind = MadeBatch::new(Stream::Samples, 9, chain, events::samples());
    log.push(&behind.seal());
    let again = events::resealed(epoch, 16);
    log.push(&MadeBatch::new(Stream::Samples, 0, CHAIN_START, again).of_epoch(0x02E3).seal());
    own.attest(&mut log, NEXT_TERM);
    log.stop()
}

/// A log whose entries name how far the clocks of their batches were off: not at all, by half a second, by ten days, by an
/// emptied batch's, and by nobody knows what.
fn of_measured_clocks() -> Vec<u8> {
    let mut log = Growing::new(segment_header(LogKind::Unified, 0));
    let [one, two, _] = <[Vec<u8>; 3]>::try_from(chained()).unwrap();
    let samples = MadeBatch::new(Stream::Samples, 0, CHAIN_START, events::samples()).seal();
    let mut own = Own::of(&LOG_KEY, 0x0C01);
    let measured = |log: &mut Growing, clock_offset_us| log.clock_offset_us = clock_offset_us;
    measured(&mut log, Some(0));
    own.say(&mut log, events::beginning());
    measured(&mut log, Some(-500_000));
    log.push(&one);
    measured(&mut log, Some(864_000_000_000));
    log.push(&Batch::parse(&samples).unwrap().0.emptied());
    measured(&mut log, Some(0));
    own.attest(&mut log, TERM);
    measured(&mut log, None);
    log.push(&two);
    measured(&mut log, Some(0));
    own.attest(&mut log, TERM);
    log.stop()
}

/// A slot of a ring's witness: two lanes that are written to, and one that was sealed again.
pub fn witness() -> Vec<u8> {
    let mut bytes = [b"AFFWIT1\n".to_vec(), vec![0; 2040]].concat();
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(12, &3_u32.to_le_bytes());
    put(16, &[0x11; 16]);
    put(32, &70_000_u64.to_le_bytes());
    put(40, &5_u64.to_le_bytes());
    put(48, b"0123456789abcdef");
    put(64, &[1]);
    let lanes =
        [([0, 1, 0], 0x0102_0304_0506_0708, 17, 34), ([1, 1, 0], 0x02E3, 0, 8), ([1, 0, 1], 0x01D, 100, u64::MAX)];
    for (at, (flags, epoch, released_end, end)) in (80..).step_by(32).zip(lanes) {
        put(at, &flags);
        put(at + 8, &[u64::to_le_bytes(epoch), u64::to_le_bytes(released_end), u64::to_le_bytes(end)].concat());
    }
    let crc = crc32c(&bytes[12..]).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    bytes
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
    // The last write reached the disk in part; what the file held there before were zeros.
    torn[places[2] + 300..].fill(0);
    let mut corrupt = whole;
    corrupt[places[1] + 300] ^= 0x10;
    vec![
        ("segment-ring-v2", ring),
        ("segment-unified-v2", attested()),
        ("segment-unified-terms-v2", of_two_terms()),
        ("segment-unified-clocks-v2", of_measured_clocks()),
        ("segment-unified-torn-v2", torn),
        ("segment-unified-corrupt-v2", corrupt),
    ]
}
