//! Promises 2, 4 and 5 with real processes: whoever is killed in the middle of it, every accepted line is in the unified
//! log once and in order.

use afferent_tests::process::{Load, Mosquitto, Process, Rig, wait_for};

/// Kills of each kind, under load.
const KILLS: u32 = 100;
/// Lines that must be accepted, and then be in the log, between two kills: proof that everything works again.
const LINES_BETWEEN: u64 = 100;

fn accepted_more(load: &Load) {
    let before = load.accepted();
    wait_for("more lines are accepted", || (load.accepted() >= before + LINES_BETWEEN).then_some(()));
}

fn logged_more(rig: &Rig) {
    let before = wait_for("the collector tells its end", || rig.log_end());
    wait_for("more events are in the log", || rig.log_end().filter(|end| *end >= before + LINES_BETWEEN));
}

/// Stops the load, waits until everything accepted is in the log, and checks it.
fn settle(rig: &Rig, load: Load) {
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    ledger.check(&rig.events());
    assert!(ledger.accepted() as u64 >= u64::from(KILLS) * LINES_BETWEEN / 2, "there was load: {}", ledger.accepted());
}

#[test]
fn an_agent_killed_a_hundred_times_keeps_what_it_accepted() {
    let rig = Rig::new("kill-agent");
    let _collector = rig.start_collector();
    let mut agent = rig.start_agent();
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        agent.kill();
        agent = rig.start_agent();
    }
    logged_more(&rig);
    settle(&rig, load);
}

#[test]
fn a_collector_killed_a_hundred_times_keeps_what_it_acknowledged() {
    let rig = Rig::new("kill-collector");
    let mut collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        logged_more(&rig);
        collector.kill();
        collector = rig.start_collector();
    }
    logged_more(&rig);
    settle(&rig, load);
}

/// A broker between the two that is killed again and again, and forgets everything every second time.
#[test]
fn a_broker_killed_a_hundred_times_loses_nothing_whatever_it_forgets() {
    let mut rig = Rig::new("kill-broker");
    let mosquitto = Mosquitto::new(&rig.folder, "");
    rig.mqtt = mosquitto.address;
    rig.collector_extra = format!("broker = \"mqtt://{}\"\n", mosquitto.address);
    let mut broker: Process = mosquitto.start();
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = Load::start(&rig);
    for round in 0..KILLS {
        logged_more(&rig);
        broker.kill();
        if round % 2 == 0 {
            mosquitto.forget();
        }
        broker = mosquitto.start();
    }
    logged_more(&rig);
    settle(&rig, load);
}
