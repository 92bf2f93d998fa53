//! What the ring log promises, on a disk in memory.

mod damage;
mod devices;
mod evicting;
mod kept;
mod model;
mod resealing;
mod restarting;
mod unreadable;
mod vanished;
mod writing;

use afferent_host::disk::DiskFile;
use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::{BatchBuilder, ClockReading, split};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Breakdown, Event, Loss, Quality, Sample, Severity, Value};
use afferent_protocol::ids::{Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::session::{Held, Lane};
use afferent_protocol::sign::Identity;

use super::{Appended, Known, ReadError, Recovery, RingIdentity, RingLog, RingSettings};

const SEGMENT: u64 = 64 * 1024;

/// An event that was read back: what it was numbered by its maker, or the loss that it declares.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    lane: Lane,
    sequence: u64,
    mark: i64,
    loss: Option<Loss>,
}

pub(crate) fn clock() -> ClockReading {
    ClockReading { wall: Timestamp::clamped(1_000_000), monotonic_us: 5, synchronised: true, boot: [7; 16] }
}

pub(crate) fn settings(segments: u64) -> RingSettings {
    RingSettings { pool_bytes: segments * SEGMENT, segment_bytes: SEGMENT, critical_reserve_segments: 2 }
}

pub(crate) fn who(name: &str) -> RingIdentity {
    RingIdentity { source: SourceId::new(name).unwrap(), identity: Identity::from_seed(&[3; 32]) }
}

fn try_open(disk: &SimDisk, segments: u64) -> Result<(RingLog<SimDisk>, Recovery), super::OpenError> {
    open_as(disk, segments, who("press-1"), &clock())
}

fn open_as(
    disk: &SimDisk,
    segments: u64,
    who: RingIdentity,
    clock: &ClockReading,
) -> Result<(RingLog<SimDisk>, Recovery), super::OpenError> {
    let mut drawn = disk.content_operations().wrapping_mul(77);
    let mut entropy = || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        drawn
    };
    RingLog::open(disk.clone(), disk.beside(), settings(segments), who, clock, &mut entropy)
}

fn open(disk: &SimDisk, segments: u64) -> (RingLog<SimDisk>, Recovery) {
    try_open(disk, segments).unwrap()
}

/// A batch of events that are numbered from `mark` on, each with a text of so many bytes.
pub(crate) fn batch(stream: Stream, mark: i64, count: i64, bytes: usize) -> BatchBuilder {
    let mut batch = BatchBuilder::new();
    let text = "x".repeat(bytes);
    for mark in mark..mark + count {
        let body = match stream {
            Stream::Critical => Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: &text }),
            Stream::Samples => {
                let value = Value::Text(&text[..bytes.min(1000)]);
                Body::Sample(Sample { value, unit: "", quality: Quality::Good })
            }
        };
        let event = Event { time: Timestamp::clamped(mark), subject: Subject::new("press-1/x").unwrap(), body };
        batch.push(&event).unwrap();
    }
    batch
}

fn append(log: &mut RingLog<SimDisk>, stream: Stream, mark: i64, bytes: usize) -> Appended {
    let count = if stream == Stream::Samples { (bytes / 1000).max(1) as i64 } else { 1 };
    log.append(stream, &mut batch(stream, mark, count, bytes), &clock()).unwrap()
}

/// The file of the stream's last entry, and where in it that begins.
pub(crate) fn last_entry(log: &RingLog<SimDisk>, stream: Stream) -> (String, usize) {
    let active = log.active(stream).unwrap();
    let mut bytes = vec![0; log.pool.slots[active.number].len as usize];
    active.file.read_at(&mut bytes, 0).unwrap();
    let mut scan = Scan::new(&bytes, active.seed);
    let entries = std::iter::from_fn(|| scan.step());
    let last = entries.filter_map(|step| if let Step::Entry(at, _) = step { Some(at.get()) } else { None }).last();
    (super::pool::file_name(active.number), last.unwrap() as usize)
}

/// The events of whole batches.
fn events(bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for batch in split(bytes) {
        let batch = batch.unwrap();
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        for record in codec::records(&batch, &mut []).unwrap() {
            let record = record.unwrap();
            let loss = if let Body::Loss(loss) = record.event.body { Some(loss) } else { None };
            seen.push(Seen { lane, sequence: record.sequence.get(), mark: record.event.time.micros(), loss });
        }
    }
    seen
}

/// Reads a lane to the end of what is held of it.
fn read_lane(log: &mut RingLog<SimDisk>, held: &Held, bytes_max: usize) -> Result<Vec<Seen>, ReadError> {
    let (mut from, mut out) = (held.first, Vec::new());
    while from < held.end {
        let before = out.len();
        let batches = log.read(held.lane, from, bytes_max, &clock(), &mut out)?;
        assert_eq!(batches.iter().map(|batch| batch.bytes).sum::<usize>(), out.len() - before);
        for batch in &batches {
            assert_eq!(batch.first, from);
            from = batch.end;
            assert_eq!(log.check_at(held.lane, batch.end).unwrap(), Known::Check(batch.check));
        }
    }
    Ok(events(&out))
}

/// Reads and releases everything, as a session with a next log that takes all would.
fn drain(log: &mut RingLog<SimDisk>) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let held: Vec<_> = log.held().into_iter().filter(|held| held.first < held.end).collect();
        let Some(first) = held.first() else { return seen };
        match read_lane(log, first, 40_000) {
            Ok(mut events) => {
                seen.append(&mut events);
                log.release(first.lane, first.end);
            }
            Err(ReadError::Corrupt { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn losses(seen: &[Seen]) -> Vec<Loss> {
    seen.iter().filter_map(|seen| seen.loss).collect()
}

/// Marks of the events that are no losses.
fn marks(seen: &[Seen]) -> Vec<i64> {
    seen.iter().filter(|seen| seen.loss.is_none()).map(|seen| seen.mark).collect()
}

fn sequence(raw: u64) -> Sequence {
    Sequence::new(raw)
}
