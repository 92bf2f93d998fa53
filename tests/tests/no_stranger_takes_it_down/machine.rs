//! What other programs of the same machine can do: look into files, prepare names, sit on the socket, write errors.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Producer, Rig, run_to_end, wait_for};

/// Everything below a directory, itself included.
fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("the directory can be listed");
        entries.for_each(|entry| all_below(&entry.expect("it can be listed").path(), found));
    }
}

fn open_to_others(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    all_below(directory, &mut found);
    let is_open = |path: &PathBuf| {
        // Producers are other users: the socket's mode is a setting.
        fs::symlink_metadata(path).is_ok_and(|at| !at.file_type().is_socket() && at.mode() & 0o077 != 0)
    };
    found.into_iter().filter(is_open).collect()
}

#[test]
fn what_the_programs_keep_is_for_their_user_alone() {
    let rig = Rig::new("private");
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    rig.break_down("E-1");
    rig.wait_logged("E-1");
    wait_for("the collector's key is pinned", || rig.agent_data().join("collector.pin").exists().then_some(()));
    agent.terminate();
    collector.terminate();
    for directory in [rig.agent_data(), rig.collector_data()] {
        assert_eq!(open_to_others(&directory), <[PathBuf; 0]>::default());
    }
    // The control: what this test wrote beside them can be read by everybody.
    assert!(open_to_others(rig.folder.path()).iter().any(|path| path.ends_with("agent.toml")));
}

#[test]
fn a_lock_that_is_a_link_to_somebody_elses_file_is_refused_and_the_file_stays() {
    let rig = Rig::new("prepared");
    let victim = rig.folder.join("victim");
    for (data, lock, mut command) in [
        (rig.agent_data(), "lock", rig.agent_command()),
        (rig.collector_data(), "collector.lock", rig.collector_command()),
    ] {
        fs::create_dir_all(&data).expect("the folder can be written");
        fs::write(&victim, "dear").expect("the folder can be written");
        symlink(&victim, data.join(lock)).expect("the folder can be written");
        let (status, printed) = run_to_end(&mut command);
        assert!(!status.success() && printed.contains("symbolic link"), "{printed}");
        assert_eq!(fs::read_to_string(&victim).expect("it is there"), "dear");
    }
    // The control: without the link they start.
    fs::remove_file(rig.agent_data().join("lock")).expect("it is there");
    let _agent = rig.start_agent();
}

#[test]
fn producers_that_say_nothing_keep_nobody_out_for_long() {
    let mut rig = Rig::new("silent-producers");
    rig.agent_extra = "[intake.socket]\nconnections_max = 4\n".into();
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    let connected = || rig.agent_figure("afferent_socket_connections");
    wait_for("who looked whether the socket is there has gone", || connected().filter(|open| *open == 0));
    let mut silent: Vec<Producer> = (0..4).map(|_| rig.producer()).collect();
    wait_for("all of them have a place", || connected().filter(|open| *open == 4));
    // The control: at first there is no place, and the newcomer is told why.
    let mut turned_away = rig.producer();
    assert!(turned_away.wait_accepted(1).is_err());
    assert!(turned_away.refused()[0].1.contains("intake.socket.connections_max"), "{:?}", turned_away.refused());
    wait_for("a newcomer is heard", || {
        let mut producer = rig.producer();
        producer.send(b"{\"subject\":\"88-C\",\"type\":\"breakdown\",\"code\":\"E-5\"}\n").ok()?;
        producer.wait_accepted(1).ok()
    });
    rig.wait_logged("E-5");
    let printed = agent.printed();
    assert!(printed.contains("WARN") && printed.contains("connections_max"), "{printed}");
    // Who has been silent longest has lost its place, and hears why.
    assert!(silent[0].wait_accepted(1).is_err());
    let (line, why) = silent[0].refused()[0].clone();
    assert!(line == 0 && why.contains("needed the connection"), "{why}");
}

#[test]
fn a_childs_errors_are_few_plain_lines_of_the_agents_log() {
    let mut rig = Rig::new("noisy-child");
    // A line for the control of what comes through, then as many as the pipe takes, with what a terminal obeys.
    let script = r#"echo 'cannot open /dev/ttyS9' >&2; while :; do printf '\033[2J\033]0;owned\007noise\n' >&2; done"#;
    rig.agent_extra = format!("[[intake.exec]]\nname = \"noisy\"\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    let _collector = rig.start_collector();
    let agent = rig.start_agent();
    wait_for("the child has filled its minute", || (agent.printed().matches("noise").count() >= 50).then_some(()));
    rig.break_down("E-1");
    rig.wait_logged("E-1");
    // Megabytes later.
    let pid = agent.pid();
    let written = || read_bytes_of_children(pid);
    let before = written();
    wait_for("the child has written more", || (written() > before + 1_000_000).then_some(()));
    let printed = agent.printed();
    assert!(printed.contains("noisy: cannot open /dev/ttyS9"), "{printed}");
    assert!(!printed.contains('\x1b') && printed.contains("\\u{1b}[2J"), "escape sequences in the log");
    assert!(printed.matches("noise").count() <= 120, "more lines than two minutes have");
}

/// Bytes that the children of a process have written in all.
fn read_bytes_of_children(pid: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    // Threads have children too.
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    let written = |child: &u32| {
        let io = fs::read_to_string(format!("/proc/{child}/io")).ok()?;
        io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok())
    };
    all.iter().filter_map(written).sum()
}

#[test]
fn a_directory_that_was_made_by_hand_and_is_open_is_said_with_the_remedy() {
    let rig = Rig::new("open-directory");
    fs::create_dir_all(rig.agent_data()).expect("the folder can be written");
    let (status, _) = run_to_end(Command::new("chmod").arg("755").arg(rig.agent_data()));
    assert!(status.success());
    let agent = rig.start_agent();
    let remedy = format!("chmod 700 {}", rig.agent_data().display());
    wait_for("the agent names the remedy", || agent.printed().contains(&remedy).then_some(()));
    // The control: one that the agent made itself needs no word.
    let other = Rig::new("own-directory");
    let agent = other.start_agent();
    assert!(!agent.printed().contains("chmod 700"), "{}", agent.printed());
}
