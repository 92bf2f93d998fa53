//! `afferent-agent ring …`, run on ring logs that are whole, torn, damaged, and in use.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afferent_agent::agent::{Agent, AgentParts};
use afferent_agent::clock::{Clock, SystemClock};
use afferent_agent::core::CoreSettings;
use afferent_agent::identity;
use afferent_agent::intake::sink::{EventSink, Refusal, Waiting};
use afferent_agent::keep::LOCK_FILE;
use afferent_agent::ring_log::inspect::{self, Content};
use afferent_agent::ring_log::{RingIdentity, RingLog, RingSettings};
use afferent_agent::sequencer::CommitSettings;
use afferent_host::disk::FsDisk;
use afferent_host::lock::DirectoryLock;
use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::event::{Body, Breakdown, Event, Severity};
use afferent_protocol::ids::{SourceId, Stream, Subject, Timestamp};
use tempfile::TempDir;

const SEGMENT: u64 = 64 * 1024;
const SETTINGS: RingSettings =
    RingSettings { pool_bytes: 8 * SEGMENT, segment_bytes: SEGMENT, critical_reserve_segments: 2 };

fn who(data: &Path) -> RingIdentity {
    let identity = identity::load_or_create(data).unwrap();
    RingIdentity { source: SourceId::new("press-1").unwrap(), identity }
}

fn event(message: &str) -> Event<'_> {
    let body = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message });
    Event { time: Timestamp::clamped(1_000_000), subject: Subject::new("88-C").unwrap(), body }
}

/// A data directory with a ring of four breakdowns, a batch each.
fn four_breakdowns() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let disk = FsDisk::new(data.path().join("ring")).unwrap();
    let witness = FsDisk::new(data.path().join("witness")).unwrap();
    let clock =
        ClockReading { wall: Timestamp::clamped(1_000_000), monotonic_us: 5, synchronised: true, boot: [7; 16] };
    let (mut log, _) = RingLog::open(disk, witness, SETTINGS, who(data.path()), &clock, &mut || 11).unwrap();
    for number in 0..4 {
        let mut batch = BatchBuilder::new();
        batch.push(&event(&format!("belt {number} torn"))).unwrap();
        log.append(Stream::Critical, &mut batch, &clock).unwrap();
    }
    data
}

/// Changes the bytes of the segment; `change` is also told where its last entry ends.
fn damage(data: &TempDir, change: impl Fn(&mut [u8], usize)) -> String {
    let directory = data.path().join("ring");
    let files = inspect::status(&FsDisk::new(&directory).unwrap()).unwrap();
    let used = |content: &Content| match content {
        Content::Segment { used_bytes, .. } => Some(*used_bytes as usize),
        _ => None,
    };
    let (name, end) = files.iter().find_map(|file| Some((file.name.clone(), used(&file.content)?))).unwrap();
    let mut bytes = std::fs::read(directory.join(&name)).unwrap();
    change(&mut bytes, end);
    std::fs::write(directory.join(&name), bytes).unwrap();
    name
}

fn ring(data: &Path, command: &str) -> (bool, String, String) {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_afferent-agent"));
    let Output { status, stdout, stderr } = agent.args(["ring", command, "--data"]).arg(data).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn contents(directory: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_whole_ring_is_shown_verified_and_dumped_and_not_touched() {
    let data = four_breakdowns();
    let before = contents(&data.path().join("ring"));
    let (done, status, _) = ring(data.path(), "status");
    assert!(done && status.lines().count() == 4, "a line for each file: {status}");
    assert_eq!(status.lines().filter(|line| line.contains("critical") && line.contains("0 to 4, 4 events")).count(), 1);
    assert_eq!(status.lines().filter(|line| line.ends_with("free")).count(), 3);
    assert_eq!(ring(data.path(), "verify"), (true, "1 segments, 4 batches, 4 events\n".into(), String::new()));
    let (done, dump, _) = ring(data.path(), "dump");
    assert!(done);
    for (number, line) in dump.lines().enumerate() {
        assert!(line.starts_with("critical-") && line.contains(&format!("-{number} 1000000 88-C ")), "{line}");
        assert!(line.contains(&format!("belt {number} torn")), "{line}");
    }
    assert_eq!(dump.lines().count(), 4);
    assert_eq!(contents(&data.path().join("ring")), before);
}

#[test]
fn a_torn_ring_fails_the_check_and_the_rest_of_it_is_dumped() {
    let data = four_breakdowns();
    let name = damage(&data, |bytes, end| bytes[end - 100..end].fill(0));
    let (done, verified, why) = ring(data.path(), "verify");
    assert!(!done && verified.starts_with(&name) && verified.contains("a write did not finish here"), "{verified}");
    assert!(verified.ends_with("1 segments, 3 batches, 3 events\n"), "{verified}");
    assert!(why.contains("the agent repairs it when it starts"), "{why}");
    let (done, status, _) = ring(data.path(), "status");
    assert!(done && status.contains("0 to 3, 3 events"), "{status}");
    let (done, dump, _) = ring(data.path(), "dump");
    assert!(done && dump.lines().count() == 3 && !dump.contains("belt 3"), "{dump}");
}

#[test]
fn a_flipped_bit_is_found_and_named_with_its_place() {
    let data = four_breakdowns();
    let name = damage(&data, |bytes, _| bytes[1024 + 200] ^= 4);
    let (done, verified, _) = ring(data.path(), "verify");
    assert!(!done && verified.starts_with(&format!("{name} at byte 1024: the bytes up to")), "{verified}");
    let (done, dump, _) = ring(data.path(), "dump");
    assert!(done && dump.lines().count() == 3 && !dump.contains("belt 0"), "{dump}");

    let data = four_breakdowns();
    damage(&data, |bytes, _| bytes[20] ^= 4);
    let (done, verified, _) = ring(data.path(), "verify");
    assert!(!done && verified.contains("one of the two copies of the header is damaged"), "{verified}");
    assert_eq!(ring(data.path(), "dump").1.lines().count(), 4, "the other copy tells");
}

#[test]
fn a_batch_of_another_key_is_found() {
    let data = four_breakdowns();
    std::fs::remove_file(data.path().join(identity::KEY_FILE)).unwrap();
    let (done, verified, _) = ring(data.path(), "verify");
    assert!(done && verified.contains("without the key, signatures were not checked"), "{verified}");
    identity::load_or_create(data.path()).unwrap();
    let (done, verified, _) = ring(data.path(), "verify");
    assert!(!done && verified.matches("the batch is not signed with this agent's key").count() == 4, "{verified}");
}

#[test]
fn where_no_ring_is_none_is_made() {
    let data = tempfile::tempdir().unwrap();
    let (done, _, why) = ring(data.path(), "status");
    assert!(!done && why.contains("there is no ring log there"), "{why}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

/// The agent writes, evicts and takes files again all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_can_be_looked_at_while_an_agent_is_at_work_on_it() {
    let data = tempfile::tempdir().unwrap();
    let _lock = DirectoryLock::take(data.path(), LOCK_FILE).unwrap();
    let clock = Arc::new(SystemClock::new());
    let parts = AgentParts {
        registry: afferent_agent::metrics::Registry::default(),
        who: who(data.path()),
        ring_directory: data.path().join("ring"),
        witness_directory: data.path().join("witness"),
        identity_existed: false,
        keep_directory: data.path().to_owned(),
        heartbeat_ms: 60_000,
        core: CoreSettings { ring: SETTINGS, ..CoreSettings::default() },
        commit: CommitSettings::default(),
        ship: None,
        clock: Box::new({
            let clock = clock.clone();
            move || clock.read()
        }),
        alive: Box::new(|| {}),
    };
    let (agent, _) = Agent::start(parts).unwrap();
    let looked = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn({
        let (intake, looked) = (agent.intake().clone(), looked.clone());
        async move {
            let message = "x".repeat(1000);
            let mut pushed = 0_u64;
            // The pool is written several times over.
            while !looked.load(Ordering::Relaxed) || pushed * 1000 < 3 * SETTINGS.pool_bytes {
                match intake.push(&event(&message), Waiting::Producer) {
                    Ok(ticket) => intake.wait_durable(ticket).await.unwrap(),
                    Err(Refusal::Full) => intake.room().await,
                    Err(refusal) => panic!("{refusal}"),
                }
                pushed += 1;
            }
        }
    });
    let path = data.path().to_owned();
    let looks = tokio::task::spawn_blocking(move || {
        (0..5).flat_map(|_| ["status", "verify", "dump"]).map(|command| (command, ring(&path, command))).collect()
    });
    let looks: Vec<_> = looks.await.unwrap();
    looked.store(true, Ordering::Relaxed);
    producer.await.unwrap();
    agent.stop("the test is over", clock.wall()).await;
    for (command, (done, out, why)) in looks {
        assert!(done && !out.is_empty(), "{command}: {out}{why}");
    }
    let (done, verified, why) = ring(data.path(), "verify");
    assert!(done, "{verified}{why}");
}
