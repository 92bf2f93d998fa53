//! Disks that are full, or that cannot be written at all.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use afferent_tests::process::{LoopDisk, Process, Rig, SmallDisk, run_to_end, wait_for};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Sends breakdowns one after the other, and waits until all are accepted; gives their codes.
fn accepted_breakdowns(rig: &Rig, prefix: &str, count: usize, message_bytes: usize) -> HashSet<String> {
    let mut producer = rig.producer();
    let mut writer = producer.writer().expect("a second handle");
    let codes: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    let message = "x".repeat(message_bytes);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for code in &codes {
                writeln!(writer, r#"{{"subject":"88-C","type":"breakdown","code":"{code}","message":"{message}"}}"#)
                    .expect("the agent reads");
            }
        });
        producer.wait_accepted(count as u64).expect("the agent answers");
    });
    assert!(producer.refused().is_empty(), "{:?}", producer.refused());
    codes.into_iter().collect()
}

fn codes_in_log(rig: &Rig) -> HashSet<String> {
    rig.events().iter().filter_map(|event| event["data"]["code"].as_str().map(str::to_owned)).collect()
}

/// Puts one of the two data directories on a disk; the other stays where it is.
fn move_to(disk: &Path, data_directory: &Path) {
    let name = data_directory.file_name().expect("it has a name");
    std::fs::create_dir_all(disk.join(name)).expect("there is room");
    std::os::unix::fs::symlink(disk.join(name), data_directory).expect("nothing is there yet");
}

#[test]
fn a_collector_on_a_full_disk_says_so_acknowledges_nothing_and_goes_on_when_there_is_room() {
    let mut rig = Rig::new("collector-full");
    let disk = SmallDisk::new(&rig.folder, 3 * MIB);
    move_to(disk.path(), &rig.collector_data());
    rig.collector_extra = "[storage]\nsegment_mib = 1".into();
    let mut collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    disk.fill();
    let accepted = accepted_breakdowns(&rig, "full", 1000, 2000);
    let (_, words) = wait_for("the collector says that nothing becomes durable", || {
        rig.collector_health().filter(|(healthy, words)| !healthy && words.contains("nothing becomes durable"))
    });
    assert!(words.contains("free space"), "{words}");
    assert!(rig.collector_figure("afferent_commits_failed_total").is_some_and(|failed| failed > 0));
    let known = codes_in_log(&rig);
    assert!(!accepted.is_subset(&known), "the control: it had no room for all of them");
    wait_for("the agent knows what waits", || rig.agent_lag().filter(|lag| *lag > 0));
    assert!(collector.is_running());
    disk.clear();
    disk.resize(64 * MIB);
    wait_for("everything accepted is in the log", || accepted.is_subset(&codes_in_log(&rig)).then_some(()));
    wait_for("the collector is well", || rig.collector_health().filter(|(healthy, _)| *healthy));
    rig.wait_healthy();
    assert!(known.is_subset(&codes_in_log(&rig)), "what was readable stays so");
    rig.wait_event("the disk had refused something", |event| event["data"]["change"] == "disk_trouble");
}

/// Epochs and sequences in them.
type Sequences = HashSet<(String, u64)>;

/// Sequences of the agent's critical stream that are in the log, and those that losses declare.
fn present_and_lost(events: &[Value]) -> (Sequences, Sequences) {
    let (mut present, mut lost) = (HashSet::new(), HashSet::new());
    for event in
        events.iter().filter(|event| event["source"].as_str().is_some_and(|source| source.ends_with("press-88")))
    {
        let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
        if event["stream"] == "critical" {
            let sequence = text(&event["sequence"]).parse().expect("it is a number");
            assert!(present.insert((text(&event["epoch"]), sequence)), "it is there twice: {event}");
        }
        if event["type"] == "afferent.loss.v1" && event["data"]["stream"] == "critical" {
            let bound = |name: &str| event["data"][name].as_u64().expect("it is a number");
            lost.extend((bound("first")..bound("end")).map(|sequence| (text(&event["data"]["epoch"]), sequence)));
        }
    }
    (present, lost)
}

/// A full disk makes the ring smaller than it was to be: the oldest is given up, and declared.
#[test]
fn an_agent_on_a_full_disk_declares_what_it_gives_up_and_goes_on_when_there_is_room() {
    let mut rig = Rig::new("agent-full");
    let disk = SmallDisk::new(&rig.folder, 3 * MIB);
    move_to(disk.path(), &rig.agent_data());
    rig.agent_extra = "[ring]\npool_bytes = \"32MiB\"\nsegment_bytes = \"256KiB\"\n".into();
    let mut agent = rig.start_agent();
    disk.fill();
    let mut accepted = accepted_breakdowns(&rig, "full", 2000, 4000);
    assert!(agent.is_running());
    let files = rig.agent_figure("afferent_ring_file_bytes").expect("the agent tells it");
    assert!(files < 3 * MIB, "the control: the disk has no room for the whole ring: {files}");
    wait_for("the agent counts what it gave up", || {
        rig.agent_figure("afferent_ring_evicted_events_total").filter(|evicted| *evicted > 0)
    });
    disk.clear();
    disk.resize(64 * MIB);
    accepted.extend(accepted_breakdowns(&rig, "room", 1000, 4000));
    wait_for("it uses the room that there is again", || {
        rig.agent_figure("afferent_ring_file_bytes").filter(|grown| *grown > 3 * MIB)
    });
    let _collector = rig.start_collector();
    rig.wait_healthy();
    rig.break_down("last");
    rig.wait_logged("last");
    wait_for("everything has arrived", || rig.agent_lag().filter(|lag| *lag == 0));
    let events = rig.events();
    let (present, lost) = present_and_lost(&events);
    let missing = accepted.difference(&codes_in_log(&rig)).count();
    assert!(missing > 0, "the control: not everything had room");
    assert!(missing <= lost.len(), "{missing} are missing, and {} declared", lost.len());
    assert!(present.is_disjoint(&lost), "what is declared as lost is there");
    let epochs: HashSet<&String> = present.iter().map(|(epoch, _)| epoch).collect();
    for epoch in epochs {
        let end = present.iter().filter(|(known, _)| known == epoch).map(|(_, sequence)| *sequence).max();
        for sequence in 0..end.expect("it has one") {
            let key = (epoch.clone(), sequence);
            assert!(present.contains(&key) || lost.contains(&key), "{sequence} is missing, and nothing says so");
        }
    }
}

#[test]
fn an_agent_whose_disk_refuses_every_write_says_so_and_accepts_nothing() {
    let rig = Rig::new("agent-refused");
    let mut disk = LoopDisk::new(&rig.folder, "ext4");
    move_to(disk.path(), &rig.agent_data());
    let collector = rig.start_collector();
    let mut agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    collector.kill();
    let mut producer = rig.producer();
    disk.cut_power();
    let line = r#"{"subject":"88-C","type":"breakdown","code":"refused"}"#;
    producer.send(format!("{line}\n").as_bytes()).expect("the agent reads");
    let (_, words) = wait_for("the agent says that nothing is accepted", || {
        rig.agent_health().filter(|(healthy, words)| !healthy && words.contains("the agent accepts nothing"))
    });
    assert!(words.contains("the ring log cannot be written"), "{words}");
    assert_eq!(rig.agent_figure("afferent_ring_writable"), Some(0));
    assert!(agent.is_running());
    agent.kill();
    while producer.answer().is_ok() {}
    assert_eq!(producer.accepted(), 0, "it accepted what it could not keep");
    // The control: a line like it is accepted, and arrives, when the disk takes it.
    disk.restore_power();
    let _agent = rig.start_agent();
    let _collector = rig.start_collector();
    rig.break_down("taken");
    rig.wait_logged("taken");
    rig.wait_logged("before");
}

#[test]
fn a_collector_whose_disk_refuses_every_write_says_so_and_acknowledges_nothing() {
    let rig = Rig::new("collector-refused");
    let mut disk = LoopDisk::new(&rig.folder, "ext4");
    move_to(disk.path(), &rig.collector_data());
    let mut collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("before");
    rig.wait_logged("before");
    wait_for("nothing waits", || rig.agent_lag().filter(|lag| *lag == 0));
    disk.cut_power();
    let accepted = accepted_breakdowns(&rig, "meanwhile", 50, 10);
    wait_for("the collector says that nothing becomes durable", || {
        rig.collector_health().filter(|(healthy, words)| !healthy && words.contains("nothing becomes durable"))
    });
    assert!(collector.is_running());
    wait_for("nothing of it is acknowledged", || rig.agent_lag().filter(|lag| *lag >= 50));
    collector.kill();
    disk.restore_power();
    let _collector = rig.start_collector();
    wait_for("everything accepted is in the log", || accepted.is_subset(&codes_in_log(&rig)).then_some(()));
    rig.wait_logged("before");
}

/// What a program prints that is started on a disk, and must not start.
fn refusal(command: &mut std::process::Command) -> String {
    let (status, printed) = run_to_end(command);
    assert!(!status.success(), "it ran: {printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    printed
}

#[test]
fn on_a_read_only_disk_both_refuse_to_start_and_say_why() {
    let mut rig = Rig::new("read-only");
    let disk = SmallDisk::new(&rig.folder, 64 * MIB);
    rig.data = disk.path().to_path_buf();
    rig.agent_extra = "[ring]\npool_bytes = \"4MiB\"\n".into();
    rig.collector_extra = "[storage]\nsegment_mib = 1".into();
    // Never used, and used before: both must be told apart from a fault of the program.
    for used in [false, true] {
        if used {
            let (collector, agent) = (rig.start_collector(), rig.start_agent());
            rig.break_down("before");
            rig.wait_logged("before");
            assert!(agent.terminate().success() && collector.terminate().success());
        }
        disk.make_read_only();
        for printed in [refusal(&mut rig.agent_command()), refusal(&mut rig.collector_command())] {
            let data = rig.data.display().to_string();
            assert!(printed.contains("Read-only file system") && printed.contains(&data), "{printed}");
        }
        disk.make_writable();
    }
    // The control: what was there is there, and goes on.
    let _running: [Process; 2] = [rig.start_collector(), rig.start_agent()];
    rig.wait_logged("before");
    rig.break_down("after");
    rig.wait_logged("after");
}

#[test]
fn on_a_disk_without_any_room_both_refuse_to_start_or_say_so() {
    let mut rig = Rig::new("no-room");
    let disk = SmallDisk::new(&rig.folder, MIB);
    rig.data = disk.path().to_path_buf();
    rig.agent_extra = "[ring]\npool_bytes = \"4MiB\"\n".into();
    disk.fill();
    for printed in [refusal(&mut rig.agent_command()), refusal(&mut rig.collector_command())] {
        assert!(printed.contains("No space left on device"), "{printed}");
    }
    // The control: with room both start.
    disk.clear();
    disk.resize(256 * MIB);
    let _running: [Process; 2] = [rig.start_collector(), rig.start_agent()];
    rig.break_down("with room");
    rig.wait_logged("with room");
}
