//! Promise 1 with real disks: what was accepted is there after a power cut, on ext4 and on xfs.
//!
//! The agent's ring log and the collector's log lie on a file system that loses its power under load. The control is the
//! same agent with every fdatasync and fsync left out (libeatmydata): the test must notice.

use afferent_tests::process::{Load, LoopDisk, Process, Rig, wait_for};

/// Power cuts of each file system.
const CUTS: u32 = 25;
/// Lines that must be accepted before the next cut.
const LINES_BETWEEN: u64 = 200;

/// A rig whose data lies on a disk that can lose its power.
fn rig_on(disk: &str) -> (Rig, LoopDisk) {
    let mut rig = Rig::new(&format!("power-{disk}"));
    let disk = LoopDisk::new(&rig.folder, disk);
    rig.data = disk.path().to_path_buf();
    (rig, disk)
}

fn accepted_more(load: &Load) {
    let before = load.accepted();
    wait_for("more lines are accepted", || (load.accepted() >= before + LINES_BETWEEN).then_some(()));
}

/// Cuts the power under load, again and again; gives how many accepted lines are missing in the end.
fn cut(rig: &Rig, disk: &mut LoopDisk, cuts: u32, mut start: impl FnMut(&Rig) -> Vec<Process>) -> usize {
    let mut running = start(rig);
    let load = Load::start(rig);
    for _ in 0..cuts {
        accepted_more(&load);
        // An answer counts when it came before the cut; what a dead disk has answered does not.
        load.freeze();
        disk.cut_power();
        running.drain(..).for_each(Process::kill);
        disk.restore_power();
        running = start(rig);
        load.thaw();
    }
    accepted_more(&load);
    let ledger = load.stop();
    let end = wait_for("the collector tells its end", || rig.log_end());
    wait_for("the log is quiet", || {
        let lag = rig.agent_lag()?;
        (lag == 0 && rig.log_end()? >= end).then_some(())
    });
    let events = rig.events();
    let missing = ledger.missing(&events);
    if missing == 0 {
        ledger.check(&events);
    }
    missing
}

fn both(rig: &Rig) -> Vec<Process> {
    vec![rig.start_collector(), rig.start_agent()]
}

#[test]
fn what_was_accepted_survives_power_cuts_on_ext4() {
    let (rig, mut disk) = rig_on("ext4");
    assert_eq!(cut(&rig, &mut disk, CUTS, both), 0);
}

#[test]
fn what_was_accepted_survives_power_cuts_on_xfs() {
    let (rig, mut disk) = rig_on("xfs");
    assert_eq!(cut(&rig, &mut disk, CUTS, both), 0);
}

#[test]
fn without_fsync_the_same_test_finds_losses() {
    let (mut rig, mut disk) = rig_on("ext4");
    rig.agent_wrapper = ["env", "LD_PRELOAD=libeatmydata.so"].map(String::from).to_vec();
    // No collector: what the ring log alone has to keep is what gets lost.
    let agent = rig.start_agent();
    let load = Load::start(&rig);
    accepted_more(&load);
    let ledger = load.stop();
    disk.cut_power();
    agent.kill();
    disk.restore_power();
    rig.agent_wrapper.clear();
    let _running = both(&rig);
    wait_for("the agent's first events arrive", || rig.log_end().filter(|end| *end >= 2));
    wait_for("the agent has nothing left to send", || rig.agent_lag().filter(|lag| *lag == 0));
    let lost = ledger.missing(&rig.events());
    assert!(lost > 0, "an agent that never syncs was not found out: this test would not see a missing fdatasync");
}
