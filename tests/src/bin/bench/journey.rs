//! The whole way: from a producer's socket, or from inside the process, to durable in the unified log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use afferent_agent::agent::{Agent, AgentParts};
use afferent_agent::core::CoreSettings;
use afferent_agent::intake::sink::{EventSink, Refusal, Waiting};
use afferent_agent::mailbox::Intake;
use afferent_agent::metrics::Registry;
use afferent_agent::ring_log::RingIdentity;
use afferent_agent::sequencer::CommitSettings;
use afferent_agent::ship::ShipSettings;
use afferent_agent::trust::TrustSettings;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{SourceId, Subject, Timestamp};
use afferent_protocol::sign::{Context, Identity, sha256};
use afferent_tests::process::{Process, Rig, Sse, cpu_seconds, get, peak_rss_kib, rss_kib, wait_for};

use crate::disk::fsync_seconds;
use crate::load::json_line;
use crate::table::{Must, Table};

const EVENTS: usize = 2_000_000;
const BUFFERED: usize = 1_000_000;
const CONNECTIONS: usize = 2;
/// Backlogs that are drained while breakdowns are timed: one drains too fast to time many.
const DRAINS: usize = 5;

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-journey");
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    let start = quiet_end(&rig);
    let lines = lines_of(EVENTS / CONNECTIONS);
    let signed = || rig.collector_figure("afferent_answers_signed_total").expect("the collector counts it");
    let (cpu_of_collector, signed_before) = (cpu_seconds(collector.pid()), signed());
    let cpu = cpu_seconds(agent.pid());
    let started = Instant::now();
    feed(&rig, &lines, CONNECTIONS);
    wait_for("everything is in the unified log", || rig.log_end().filter(|end| *end >= start + EVENTS as u64));
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(agent.pid()) - cpu;
    let cpu_of_collector = cpu_seconds(collector.pid()) - cpu_of_collector;
    // A minute has one attestation, in a batch of its own: two signatures.
    let signatures = (signed() - signed_before) as f64 + 2.0 * (seconds / 60.0).ceil();
    let events = EVENTS as f64;
    let figure = "200-byte JSON samples, socket → durable in the unified log, both hops synced";
    table.add(figure, events / seconds, "events/s", Must::Least(300_000.0));
    table.add("… agent CPU per 1 M events", cpu * 1e6 / events, "s", Must::Most(2.0));
    table.add("… signatures of acks and attestations", signatures, "", Must::Shown);
    let share = 100.0 * signatures * seconds_of_a_signature() / cpu_of_collector;
    table.add("… their share of the collector's CPU", share, "%", Must::Most(3.0));
    drop(agent);
    measure_memory(table);
}

/// What a signature costs on this machine: in the middle of many.
fn seconds_of_a_signature() -> f64 {
    let identity = Identity::from_seed(&[9; 32]);
    let mut seconds: Vec<f64> = (0..1000_u32)
        .map(|number| {
            let started = Instant::now();
            let hash = sha256(&[&number.to_le_bytes()[..], &[0; 400]].concat());
            std::hint::black_box(identity.sign_in(Context::Control, &hash));
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[500]
}

/// `count` lines, as one text to write.
fn lines_of(count: usize) -> Arc<Vec<u8>> {
    let mut text = Vec::with_capacity(count * 201);
    for number in 0..count {
        text.extend_from_slice(json_line(number).as_bytes());
        text.push(b'\n');
    }
    Arc::new(text)
}

/// Writes the lines over several connections at once, and reads until all of them are accepted.
fn feed(rig: &Rig, lines: &Arc<Vec<u8>>, connections: usize) {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut producer = rig.producer();
                let mut writer = producer.writer().expect("a second handle");
                let text = lines.clone();
                let writing = std::thread::spawn(move || writer.write_all(&text).expect("the agent reads"));
                let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                producer.wait_accepted(count).expect("the agent answers");
                writing.join().expect("everything was written");
            });
        }
    });
}

/// The log's end once the agent's first events have arrived.
fn quiet_end(rig: &Rig) -> u64 {
    wait_for("the agent's first events arrive", || rig.log_end().filter(|end| *end >= 2));
    let healthy = || get(rig.agent_http, "/healthz").ok().filter(|(status, _)| *status == 200);
    wait_for("the agent is healthy", healthy);
    rig.log_end().expect("the collector tells its end")
}

fn measure_memory(table: &mut Table) {
    let rig = Rig::new("bench-memory");
    let agent = rig.start_agent();
    table.add("agent RSS idle", rss_kib(agent.pid()) as f64 / 1000.0, "MB", Must::Most(8.0));
    feed(&rig, &lines_of(BUFFERED), 1);
    table.add("agent RSS with 1 M buffered", rss_kib(agent.pid()) as f64 / 1000.0, "MB", Must::Most(20.0));
    table.add("… at its peak", peak_rss_kib(agent.pid()) as f64 / 1000.0, "MB", Must::Shown);
}

pub fn measure_in_process(table: &mut Table) {
    let rig = Rig::new("bench-inprocess");
    let _collector = rig.start_collector();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let name = SourceId::new("bench").expect("a name");
    let ship = ShipSettings {
        agent: name,
        host: rig.mqtt.ip().to_string(),
        port: rig.mqtt.port(),
        login: None,
        tls: None,
        trust: TrustSettings { keys: Vec::new(), trust_first: true },
        refresh: None,
    };
    let (_settings, ship) = tokio::sync::watch::channel(ship);
    let started = Instant::now();
    let parts = AgentParts {
        who: RingIdentity { source: name, identity: Identity::from_seed(&[9; 32]) },
        ring_directory: rig.agent_data().join("ring"),
        witness_directory: rig.agent_data().join("witness"),
        identity_existed: false,
        keep_directory: rig.agent_data(),
        registry: Registry::default(),
        heartbeat_ms: 60_000,
        core: CoreSettings::default(),
        commit: CommitSettings::default(),
        ship: Some(ship),
        clock: Box::new(move || wall(started)),
        alive: Box::new(|| {}),
    };
    let agent = runtime.block_on(async { Agent::start(parts) }).expect("the agent starts").0;
    wait_for("the agent's first event arrives", || rig.log_end().filter(|end| *end >= 2));
    let start = rig.log_end().expect("the collector tells its end");
    let started = Instant::now();
    push_samples(&runtime, agent.intake(), EVENTS);
    wait_for("everything is in the unified log", || rig.log_end().filter(|end| *end >= start + EVENTS as u64));
    let seconds = started.elapsed().as_secs_f64();
    table.add("in-process samples, the same way", EVENTS as f64 / seconds, "events/s", Must::Least(800_000.0));
    runtime.block_on(agent.stop("the bench is over", wall(started).wall));
}

fn wall(started: Instant) -> ClockReading {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    ClockReading {
        wall: Timestamp::clamped(since_epoch.as_micros() as i64),
        monotonic_us: started.elapsed().as_micros() as u64,
        ..ClockReading::default()
    }
}

fn push_samples(runtime: &tokio::runtime::Runtime, intake: &Intake, count: usize) {
    let subjects: Vec<String> = (0..20).map(|sensor| format!("88-C/spindle/sensor-{sensor}")).collect();
    for number in 0..count {
        let subject = Subject::new(&subjects[number % subjects.len()]).expect("a subject");
        let value = Value::Float(20.0 + (number % 1000) as f64 / 100.0);
        let time = Timestamp::clamped(1_700_000_000_000_000 + number as i64 * 50);
        let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
        let event = Event { time, subject, body };
        while let Err(refusal) = intake.push(&event, Waiting::Producer) {
            assert_eq!(refusal, Refusal::Full, "nothing else is in the way");
            runtime.block_on(intake.room());
        }
    }
}

pub fn measure_breakdowns(table: &mut Table) {
    let rig = Rig::new("bench-breakdown");
    let (fsync_p50, fsync_p99) = fsync_seconds(rig.folder.path());
    let _agent = rig.start_agent();
    let mut seconds = Vec::new();
    for round in 1..=DRAINS {
        feed(&rig, &lines_of(BUFFERED), 1);
        let _collector: Process = rig.start_collector();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| {
                let end = (round * BUFFERED) as u64;
                wait_for("the backlog is in the unified log", || rig.log_end().filter(|at| *at >= end));
                done.store(true, Ordering::Relaxed);
            });
            time_breakdowns(&rig, round, &done, &mut seconds);
            drained.join().expect("the backlog arrives");
        });
    }
    seconds.sort_by(f64::total_cmp);
    let at = |part: usize| seconds[(seconds.len() - 1) * part / 100] * 1e3;
    table.add("fdatasync of 4 KiB on this disk, p50", fsync_p50 * 1e3, "ms", Must::Shown);
    table.add("… p99", fsync_p99 * 1e3, "ms", Must::Shown);
    let figure = format!("breakdown → durable while 1 M samples drain ({} breakdowns), p50", seconds.len());
    table.add(figure, at(50), "ms", Must::Shown);
    let bound = 4.0 * fsync_p99 * 1e3 + 5.0;
    table.add("… p99, against 4 fdatasyncs (p99) and 5 ms", at(99), "ms", Must::Most(bound));
}

/// Sends breakdowns one after the other while the backlog drains; times each from sending to its being told by the live
/// stream, which tells only what is durable.
fn time_breakdowns(rig: &Rig, round: usize, done: &AtomicBool, seconds: &mut Vec<f64>) {
    // An agent whose collector was away comes back when its back-off says so; what is timed is the way, not that wait.
    let begun = ((round - 1) * BUFFERED + 1000) as u64;
    wait_for("the backlog begins to drain", || rig.log_end().filter(|end| *end >= begun));
    let mut stream = Sse::open(rig.http, "/v1/stream?type=afferent.breakdown.v1").expect("the stream opens");
    let mut producer = rig.producer();
    for number in 0.. {
        if number > 0 && done.load(Ordering::Relaxed) {
            return;
        }
        let code = format!("B{round}-{number}");
        let line =
            format!("{{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"{code}\",\"severity\":\"error\"}}\n");
        let started = Instant::now();
        producer.send(line.as_bytes()).expect("the agent reads");
        let wanted = format!("\"code\":\"{code}\"");
        while !stream.next_data().expect("the stream goes on").contains(&wanted) {}
        seconds.push(started.elapsed().as_secs_f64());
    }
}
