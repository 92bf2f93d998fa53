//! The ring log on its own: appending against a plain file, and opening a full one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use afferent_agent::ring_log::{RingIdentity, RingLog, RingSettings};
use afferent_host::disk::{Disk, FsDisk};
use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::event::{Body, Derived, Event};
use afferent_protocol::ids::{SourceId, Stream, Subject, Timestamp};
use afferent_protocol::sign::Identity;
use afferent_tests::process::Folder;

use crate::table::{Must, Table};

const SYNCS: usize = 400;
const RECORDS_PER_SYNC: usize = 100;
const RECORD_BYTES: usize = 200;
/// Rounds in which the two are measured in turn, so that a slow moment of the disk hits both.
const ROUNDS: usize = 8;

fn clock() -> ClockReading {
    ClockReading { wall: Timestamp::clamped(1_700_000_000_000_000), ..ClockReading::default() }
}

fn open(folder: &Path, pool_bytes: u64) -> RingLog<FsDisk> {
    let settings = RingSettings { pool_bytes, segment_bytes: 8 << 20, ..RingSettings::default() };
    let who = RingIdentity { source: SourceId::new("bench").expect("a name"), identity: Identity::from_seed(&[7; 32]) };
    let mut number = 0;
    let mut entropy = || {
        number += 1;
        number
    };
    let disk = FsDisk::new(folder.join("ring")).expect("the folder can be made");
    let witness = FsDisk::new(folder.join("witness")).expect("the folder can be made");
    RingLog::open(disk, witness, settings, who, &clock(), &mut entropy).expect("the ring log opens").0
}

/// Fills a batch with records whose rows have 200 bytes each.
fn fill(batch: &mut BatchBuilder, records: usize) {
    let text = "x".repeat(RECORD_BYTES - 8);
    let subject = Subject::new("bench").expect("a subject");
    let body = Body::Derived(Derived { kind: "", json: &text });
    let event = Event { time: clock().wall, subject, body };
    (0..records).for_each(|_| batch.push(&event).expect("there is room"));
}

pub fn measure(table: &mut Table) {
    measure_appends(table);
    measure_start(table);
}

fn measure_appends(table: &mut Table) {
    let folder = Folder::new("bench-disk");
    let mut ring = open(&folder.join("ring"), 256 << 20);
    let plain_disk = FsDisk::new(folder.join("plain")).expect("the folder can be made");
    let plain = plain_disk.create("plain", 64 << 20).expect("the file can be made");
    let mut batch = BatchBuilder::new();
    let payload = vec![0x5A; RECORD_BYTES * RECORDS_PER_SYNC];
    let (mut ring_seconds, mut plain_seconds, mut position) = (0.0, 0.0, 0);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..SYNCS / ROUNDS {
            fill(&mut batch, RECORDS_PER_SYNC);
            ring.append(Stream::Samples, &mut batch, &clock()).expect("the ring log takes it");
        }
        ring_seconds += started.elapsed().as_secs_f64();
        let started = Instant::now();
        for _ in 0..SYNCS / ROUNDS {
            append_plain(&plain, &payload, position);
            position += payload.len() as u64;
        }
        plain_seconds += started.elapsed().as_secs_f64();
    }
    let records = (SYNCS * RECORDS_PER_SYNC) as f64;
    table.add("ring append, 200-byte records, sync per 100", records / ring_seconds, "records/s", Must::Shown);
    table.add("plain preallocated file, the same", records / plain_seconds, "records/s", Must::Shown);
    let ratio = 100.0 * plain_seconds / ring_seconds;
    table.add("ring append against the plain file", ratio, "%", Must::Least(60.0));
    let written = ring.status().counters.written_bytes as f64 / (records * RECORD_BYTES as f64);
    table.add("ring log, bytes written per byte kept", written, "", Must::Shown);
}

fn append_plain(file: &File, payload: &[u8], position: u64) {
    file.write_all_at(payload, position).expect("the file takes it");
    file.sync_data().expect("the disk takes it");
}

fn measure_start(table: &mut Table) {
    let folder = Folder::new("bench-start");
    let pool_bytes = 1 << 30;
    let mut ring = open(folder.path(), pool_bytes);
    let mut batch = BatchBuilder::new();
    let mut filled = 0;
    while filled < pool_bytes - (64 << 20) {
        fill(&mut batch, 900);
        let appended = ring.append(Stream::Samples, &mut batch, &clock()).expect("the ring log takes it");
        filled += appended.bytes as u64;
    }
    drop(ring);
    let started = Instant::now();
    let ring = open(folder.path(), pool_bytes);
    table.add("start with a full 1 GiB ring", started.elapsed().as_secs_f64(), "s", Must::Most(2.0));
    assert!(!ring.held().is_empty(), "a full ring holds something");
}

/// p50 and p99 of a 4 KiB append with fdatasync on the disk of `folder`, in seconds.
pub fn fsync_seconds(folder: &Path) -> (f64, f64) {
    let disk = FsDisk::new(folder.join("fsync")).expect("the folder can be made");
    let file = disk.create("plain", 16 << 20).expect("the file can be made");
    let payload = vec![0x5A; 4096];
    let mut seconds: Vec<f64> = (0..1000)
        .map(|at| {
            let started = Instant::now();
            append_plain(&file, &payload, at * 4096);
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[500], seconds[990])
}
