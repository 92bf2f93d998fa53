//! The log's readers: opening, decoding, NDJSON, and a query of a large log.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use afferent_collector::log::address::Partition;
use afferent_collector::log::{EmbeddedLog, Indexed, LogSettings, UnifiedLog};
use afferent_collector::models::store::SnapshotFiles;
use afferent_collector::models::{Fold, FoldMember, with_built_ins};
use afferent_collector::sources::Sources;
use afferent_collector::terms::Terms;
use afferent_host::disk::FsDisk;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::codec::records;
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Process, Rig, count_lines, cpu_seconds, disk_read_bytes, get_text};

use crate::followers::wait_taken;
use crate::table::{Must, Table};

/// The log's size in GiB, unless this variable says another.
const LOG_GIB: u64 = 10;
const LOG_GIB_VARIABLE: &str = "BENCH_LOG_GIB";
const MACHINES: usize = 100;
/// The one that is asked for.
const MACHINE: usize = 88;
const SAMPLES_PER_BATCH: usize = 1000;
const BATCHES_PER_COMMIT: usize = 64;
/// The first sample's time; each batch is a second later than the one before.
const BEGUN_S: i64 = 1_700_000_000;
/// Samples that are decoded, at least: whole batches.
const DECODED: u64 = 100_000_000;
const RENDERED: u64 = 2_000_000;

type Log = EmbeddedLog<FsDisk>;

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-readers");
    let directory = rig.collector_data().join("log").join("0");
    let gib = std::env::var(LOG_GIB_VARIABLE).ok().map_or(LOG_GIB, |gib| gib.parse().expect("a whole number"));
    let samples = fill(&directory, gib << 30);
    let (log, seconds) = opened(&directory);
    table.add(format!("start of a log of {gib} GiB without indexes, which reads all of it"), seconds, "s", Must::Shown);
    let mut indexer = log.indexer();
    while let Indexed::Made { .. } = indexer.step() {}
    drop(log);
    let (log, seconds) = opened(&directory);
    table.add("… with them", seconds, "s", Must::Most(1.0));
    let before = cpu_seconds(std::process::id());
    let rate = decode(&log, samples.min(DECODED));
    let cpu = cpu_seconds(std::process::id()) - before;
    table.add("replay decoded on one core, in-process", rate / 1e6, "M samples/s", Must::Least(10.0));
    table.add("… CPU per 100 M samples", cpu * 1e8 / samples.min(DECODED) as f64, "s", Must::Shown);
    let terms = Terms::of(log.log_id(), Partition::EMBEDDED);
    drop(log);
    leave_models_at(&rig, Offset::new(samples), &terms);
    let collector = rig.start_collector();
    wait_taken(&rig);
    let models = get_text(rig.http, "/v1/models").expect("the API answers");
    assert!(!models.contains("rebuilding"), "the collector does nothing but what is measured: {models}");
    rendered(&rig, &collector, table);
    let night = Night::last_of(samples);
    for (time, how) in [("ingest", "came"), ("event", "happened")] {
        let figure = format!("88-C between 23:50 and 23:59, as it {how}, out of {gib} GiB, page cache dropped");
        forget(&directory);
        query(&rig, &collector, &night, time, figure, table);
    }
}

/// A log of so many bytes; gives how many samples are in it.
pub fn fill(directory: &Path, log_bytes: u64) -> u64 {
    let disk = FsDisk::new(directory).expect("the folder can be made");
    let (mut log, _) = EmbeddedLog::open(disk, LogSettings::default(), &mut || 7, time(0), &mut |_, _| {})
        .expect("an empty log opens");
    let identity = Identity::from_seed(&[7; 32]);
    let subjects: Vec<String> = (0..MACHINES).map(|machine| format!("{machine:02}-C/spindle/temperature")).collect();
    let mut builder = BatchBuilder::new();
    let (mut bytes, mut written, mut places) = (Vec::new(), 0, vec![(0, CHAIN_START); MACHINES]);
    let mut batch = 0;
    while written < log_bytes {
        let machine = batch % MACHINES;
        let subject = Subject::new(&subjects[machine]).expect("a subject");
        for number in 0..SAMPLES_PER_BATCH {
            let value = Value::Float(value_of(number));
            let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
            let time = Timestamp::clamped(time(batch as i64).micros() + number as i64 * 1000);
            builder.push(&Event { time, subject, body }).expect("there is room");
        }
        let source = SourceId::new(&format!("agent-{machine:03}")).expect("a name");
        let (first, previous) = places[machine];
        let lineage =
            Lineage { source, stream: Stream::Samples, epoch: Epoch::new(1), first: Sequence::new(first), previous };
        let clock = ClockReading { wall: time(batch as i64), ..ClockReading::default() };
        bytes.clear();
        let (header, chain) = builder.seal(&lineage, &clock, &identity, &mut bytes);
        places[machine] = (header.end().get(), chain);
        log.append(&Batch::parse(&bytes).expect("it was just sealed").0, time(batch as i64));
        written += bytes.len() as u64;
        batch += 1;
        if batch.is_multiple_of(BATCHES_PER_COMMIT) {
            log.commit().expect("the disk takes it");
        }
    }
    log.commit().expect("the disk takes it").get()
}

fn value_of(number: usize) -> f64 {
    20.0 + (number % 1000) as f64 / 100.0
}

fn time(second: i64) -> Timestamp {
    Timestamp::clamped((BEGUN_S + second) * 1_000_000)
}

/// The log, and how long it took to open, with everything that is rebuilt from it.
fn opened(directory: &Path) -> (Log, f64) {
    forget(directory);
    let started = Instant::now();
    let mut sources = Sources::new(SourceId::new("collector").expect("a name"));
    let disk = FsDisk::new(directory).expect("the folder is there");
    let (log, _) = EmbeddedLog::open_by_indexes(disk, LogSettings::default(), &mut || 7, time(0), &mut sources)
        .expect("the log opens");
    assert_eq!(sources.len(), MACHINES, "all sources are known");
    (log, started.elapsed().as_secs_f64())
}

/// Takes the files of a directory out of the page cache.
fn forget(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("the folder is there").flatten() {
        let file = File::open(entry.path()).expect("the file is there");
        file.sync_all().expect("the disk takes it");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("the system forgets it");
    }
}

fn decode(log: &Log, samples: u64) -> f64 {
    let (reader, mut scratch, mut decoded) = (log.reader(), Vec::new(), Vec::new());
    let (mut at, mut count, mut sum) = (Offset::ZERO, 0, 0.0);
    let started = Instant::now();
    while at.get() < samples {
        let chunk = reader.read(at, 1 << 20, &mut scratch).expect("the log is whole");
        for entry in chunk.entries() {
            decoded.resize(entry.batch.header().decoded_len as usize, 0);
            for record in records(&entry.batch, &mut decoded).expect("it can be decoded") {
                // Everything of the record is looked at, as by somebody who does something with it.
                let event = std::hint::black_box(record.expect("it can be decoded")).event;
                if let Body::Sample(Sample { value: Value::Float(value), .. }) = event.body {
                    sum += value;
                    count += 1;
                }
            }
        }
        at = chunk.next();
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    assert_eq!(count, at.get(), "every sample was decoded");
    let mean = (0..SAMPLES_PER_BATCH).map(value_of).sum::<f64>() / SAMPLES_PER_BATCH as f64;
    assert!((sum / count as f64 - mean).abs() < 1e-6, "every value is what it was");
    rate
}

/// Leaves states of all models at the log's end, as a stop does, so that the collector does nothing else while it is
/// measured. They are empty ones: nobody asks for them.
fn leave_models_at(rig: &Rig, end: Offset, terms: &Terms) {
    let store = SnapshotFiles::new(rig.collector_data().join("models"));
    let fold = Fold::new(Vec::new(), end, time(0));
    for definition in with_built_ins(&[]) {
        let snapshot = fold.snapshot(&FoldMember::new(definition.id.clone(), definition.of.build()), terms);
        store.save(&definition, &snapshot).expect("the folder can be written");
    }
}

/// A client on the same cores takes the log as lines.
fn rendered(rig: &Rig, collector: &Process, table: &mut Table) {
    let path = format!("/v1/events?limit=all&until={RENDERED}");
    let (before, started) = (cpu_seconds(collector.pid()), Instant::now());
    let lines = count_lines(rig.http, &path).expect("the API answers");
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(lines, RENDERED, "every event came");
    table.add("GET /v1/events as NDJSON", RENDERED as f64 / seconds, "events/s", Must::Least(1e6));
    let cpu = cpu_seconds(collector.pid()) - before;
    table.add("… collector CPU per 1 M events", cpu * 1e6 / RENDERED as f64, "s", Must::Shown);
}

/// The nine minutes from 23:50 to 23:59 of a day.
struct Night {
    from: String,
    until: String,
    /// Events of one machine in them.
    events: u64,
}

impl Night {
    /// The last one of a log: the longest way to it.
    fn last_of(samples: u64) -> Self {
        // The first second is 2023-11-14T22:13:20Z.
        let (first, end) = (22 * 3600 + 13 * 60 + 20, samples / SAMPLES_PER_BATCH as u64);
        let (ten_to_midnight, span) = (23 * 3600 + 50 * 60, 9 * 60);
        let days = (first + end - ten_to_midnight - span) / 86_400;
        let begin = days * 86_400 + ten_to_midnight - first;
        let of_machine = (begin..begin + span).filter(|batch| *batch as usize % MACHINES == MACHINE).count();
        let day = 14 + days;
        let (from, until) = (format!("2023-11-{day}T23:50:00Z"), format!("2023-11-{day}T23:59:00Z"));
        Self { from, until, events: (of_machine * SAMPLES_PER_BATCH) as u64 }
    }
}

/// All events of one machine in nine minutes, in one answer, while nothing of the log is in memory.
fn query(rig: &Rig, collector: &Process, night: &Night, time: &str, figure: String, table: &mut Table) {
    let Night { from, until, events } = night;
    let path = format!("/v1/events?subject={MACHINE:02}-C/**&time={time}&from={from}&until={until}&limit=all");
    let read = || rig.collector_figure("afferent_log_read_bytes_total").expect("the collector counts it");
    let before = (read(), disk_read_bytes(collector.pid()));
    let started = Instant::now();
    let came = count_lines(rig.http, &path).expect("the API answers");
    let seconds = started.elapsed().as_secs_f64();
    let (read, from_disk) = (read() - before.0, disk_read_bytes(collector.pid()) - before.1);
    assert_eq!(came, *events, "every event of these minutes came, and no other");
    assert!(from_disk >= read / 2, "what was read was not in memory: {from_disk} bytes of {read}");
    table.add(figure, seconds * 1e3, "ms", Must::Most(100.0));
    table.add("… bytes of the log read for it", read as f64 / 1024.0, "KiB", Must::Shown);
    table.add("… bytes read from the disk", from_disk as f64 / 1024.0, "KiB", Must::Shown);
}
