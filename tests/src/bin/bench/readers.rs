//! The log's readers: opening, decoding, NDJSON, a query of a large log, and many followers.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use afferent_collector::log::{EmbeddedLog, Indexed, LogSettings, UnifiedLog};
use afferent_collector::sources::Sources;
use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::codec::records;
use afferent_protocol::disk::FsDisk;
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::sign::Identity;
use afferent_tests::process::{Rig, Sse, ask, count_lines, rss_kib, wait_for};

use crate::table::{Must, Table};

const LOG_GIB: u64 = 10;
const LOG_BYTES: u64 = LOG_GIB << 30;
const MACHINES: usize = 100;
const SAMPLES_PER_BATCH: usize = 1000;
const BATCHES_PER_COMMIT: usize = 64;
/// The first sample's time; each batch is a second later than the one before.
const BEGUN_S: i64 = 1_700_000_000;
/// Samples that are decoded, at least: whole batches.
const DECODED: u64 = 100_000_000;
const RENDERED: u64 = 2_000_000;

const FOLLOWERS: usize = 1000;
const EVENTS_PER_POST: usize = 1000;
const POSTS_PER_SECOND: u32 = 10;
const POSTS: u32 = 100;

type Log = EmbeddedLog<FsDisk>;

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-readers");
    let directory = rig.collector_data().join("log").join("0");
    let samples = fill(&directory);
    let (log, seconds) = opened(&directory);
    table.add(
        format!("start of a log of {LOG_GIB} GiB without indexes, which reads all of it"),
        seconds,
        "s",
        Must::Shown,
    );
    let mut indexer = log.indexer();
    while let Indexed::Made { .. } = indexer.step() {}
    drop(log);
    let (log, seconds) = opened(&directory);
    table.add("… with them", seconds, "s", Must::Most(1.0));
    let rate = decode(&log, samples.min(DECODED));
    table.add("replay decoded on one core, in-process", rate / 1e6, "M samples/s", Must::Least(10.0));
    drop(log);
    let collector = rig.start_collector();
    let started = Instant::now();
    let path = format!("/v1/events?limit=all&until={RENDERED}");
    let lines = count_lines(rig.http, &path).expect("the API answers");
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(lines, RENDERED, "every event came");
    table.add("GET /v1/events as NDJSON", RENDERED as f64 / seconds, "events/s", Must::Least(1e6));
    query(&rig, &directory, table);
    drop(collector);
    followers(table);
}

/// A log of [`LOG_BYTES`]; gives how many samples are in it.
fn fill(directory: &Path) -> u64 {
    let disk = FsDisk::new(directory).expect("the folder can be made");
    let (mut log, _) = EmbeddedLog::open(disk, LogSettings::default(), &mut || 7, time(0), &mut |_, _| {})
        .expect("an empty log opens");
    let identity = Identity::from_seed(&[7; 32]);
    let subjects: Vec<String> = (0..MACHINES).map(|machine| format!("M-{machine:03}/spindle/temperature")).collect();
    let mut builder = BatchBuilder::new();
    let (mut bytes, mut written, mut places) = (Vec::new(), 0, vec![(0, CHAIN_START); MACHINES]);
    let mut batch = 0;
    while written < LOG_BYTES {
        let machine = batch % MACHINES;
        let subject = Subject::new(&subjects[machine]).expect("a subject");
        for number in 0..SAMPLES_PER_BATCH {
            let value = Value::Float(20.0 + (number % 1000) as f64 / 100.0);
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
    let (mut at, mut count) = (Offset::ZERO, 0);
    let started = Instant::now();
    while at.get() < samples {
        let chunk = reader.read(at, 1 << 20, &mut scratch).expect("the log is whole");
        for entry in chunk.entries() {
            decoded.resize(entry.batch.header().decoded_len as usize, 0);
            count += records(&entry.batch, &mut decoded).expect("it can be decoded").filter(Result::is_ok).count();
        }
        at = chunk.next();
    }
    assert_eq!(count as u64, at.get(), "every sample was decoded");
    count as f64 / started.elapsed().as_secs_f64()
}

fn query(rig: &Rig, directory: &Path, table: &mut Table) {
    let from = jiff_text(30_000);
    let until = jiff_text(30_540);
    let path = format!("/v1/events?subject=M-007/**&from={from}&until={until}&limit=2000");
    forget(directory);
    let started = Instant::now();
    let answer = ask(rig.http, "GET", &path, "text/plain", "").expect("the API answers");
    let seconds = started.elapsed().as_secs_f64();
    assert!(answer.status == 200 && answer.body.lines().count() >= 1000, "{}: {}", answer.status, answer.body);
    let read: f64 = answer.header("afferent-bytes-read").and_then(|text| text.parse().ok()).expect("it tells");
    let figure = format!("one machine's 9 minutes out of {LOG_GIB} GiB, page cache dropped");
    table.add(figure, seconds * 1e3, "ms", Must::Most(100.0));
    table.add("… bytes of the log read for it", read / 1024.0, "KiB", Must::Shown);
}

/// A time of the log, as a query takes it: the first second is 2023-11-14T22:13:20Z.
fn jiff_text(second: i64) -> String {
    let of_day = 22 * 3600 + 13 * 60 + 20 + second;
    let (day, of_day) = (14 + of_day / 86_400, of_day % 86_400);
    format!("2023-11-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

fn followers(table: &mut Table) {
    let rig = Rig::new("bench-followers");
    let collector = rig.start_collector();
    let alone = post_paced(&rig, 0);
    let came = AtomicU64::new(0);
    let mut streams = Vec::new();
    for number in 0..FOLLOWERS {
        let path = format!("/v1/stream?subject=F-{number:03}/**");
        streams.push(wait_for("a stream opens", || Sse::open(rig.http, &path).ok()));
    }
    let expected = u64::from(POSTS);
    let together = std::thread::scope(|scope| {
        for mut stream in streams {
            let came = &came;
            let follower = std::thread::Builder::new().stack_size(128 * 1024);
            let following = follower.spawn_scoped(scope, move || {
                for _ in 0..expected {
                    stream.next_data().expect("the stream goes on");
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
            following.expect("a thread for a follower");
        }
        post_paced(&rig, u64::from(POSTS))
    });
    assert_eq!(came.load(Ordering::Relaxed), expected * FOLLOWERS as u64, "every follower has got its events");
    table.add("events/s posted, durable and answered", alone, "events/s", Must::Shown);
    let figure = format!("… while {FOLLOWERS} server-sent streams follow a machine each");
    table.add(figure, 100.0 * together / alone, "%", Must::Least(90.0));
    table.add("… collector RSS", rss_kib(collector.pid()) as f64 / 1000.0, "MB", Must::Most(300.0));
}

/// Posts at a steady rate, as far as the collector keeps up; gives the events per second that were answered.
fn post_paced(rig: &Rig, first: u64) -> f64 {
    let started = Instant::now();
    for number in 0..POSTS {
        let due = started + Duration::from_secs(1) * number / POSTS_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let event = |machine: usize| {
            let id = first + u64::from(number);
            format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/m/{machine}\",\"type\":\"bench.v1\",\
                 \"subject\":\"F-{machine:03}/a\",\"data\":{{\"value\":{id}}}}}\n"
            )
        };
        let body: String = (0..EVENTS_PER_POST).map(event).collect();
        let answer = ask(rig.http, "POST", "/v1/events", "application/x-ndjson", &body).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    f64::from(POSTS) * EVENTS_PER_POST as f64 / started.elapsed().as_secs_f64()
}
