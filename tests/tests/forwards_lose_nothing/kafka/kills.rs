//! Kills of every part, and the control that shows what they would do without transactions.

use afferent_tests::process::{Folder, Isolation, Kafka, Load, Process, Rig, wait_for};

use super::super::plant::{Promise, accepted_more, check, doubles, order, report, wait_delivered};
use super::{CREATE, TOPIC, arrived, rig};

/// Kills of each kind.
const KILLS: usize = 20;

/// Waits until this collector has delivered something.
fn wait_some_delivered(rig: &Rig) {
    wait_for(&format!("Kafka takes more: {:?}", report(rig, "kafka")), || {
        report(rig, "kafka").filter(|report| report["delivered"].as_u64().is_some_and(|delivered| delivered > 0))
    });
}

#[test]
fn kills_of_collector_agent_and_broker_lose_nothing_double_nothing_and_change_no_order() {
    let folder = Folder::new("kafka-kills");
    let kafka = Kafka::new(&folder);
    let mut broker = kafka.start();
    let rig = rig("kafka-kills-rig", &kafka, "", CREATE);
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    wait_some_delivered(&rig);
    for round in 0..KILLS {
        broker.kill();
        broker = kafka.launch();
        agent.kill();
        agent = rig.start_agent();
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        // What piles up meanwhile is to stay small.
        load.freeze();
        kafka.wait_up();
        order(&rig, "kafka", "resume", None);
        wait_some_delivered(&rig);
        if round % 2 == 0 {
            // While it delivers.
            collector.kill();
            collector = rig.start_collector();
            wait_some_delivered(&rig);
        }
        load.thaw();
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    while report(&rig, "kafka").is_some_and(|report| report["lag"] != "0") {
        let place = |rig: &Rig| report(rig, "kafka").map(|report| (report["lag"] == "0", report["offset"].clone()));
        let before = place(&rig);
        wait_for("it delivers on", || place(&rig).filter(|now| now.0 || Some(now) != before.as_ref()));
    }
    wait_delivered(&rig, "kafka");
    collector.kill();
    let _collector = rig.start_collector();
    wait_delivered(&rig, "kafka");
    let logged = rig.events();
    ledger.check(&logged);
    check(&logged, &arrived(&kafka, Isolation::Committed), Promise::Once);
}

/// Delivers the log with the checkpoint where the switch puts it, kills the collector, and delivers on.
fn after_a_kill(name: &str, start: impl Fn(&Rig) -> Process) -> usize {
    let folder = Folder::new(name);
    let kafka = Kafka::new(&folder);
    let _broker = kafka.start();
    let rig = rig(&format!("{name}-rig"), &kafka, "filter = { type = \"breakdown\" }", CREATE);
    let collector = start(&rig);
    let _agent = rig.start_agent();
    rig.break_down("E1");
    wait_delivered(&rig, "kafka");
    rig.break_down("E2");
    rig.wait_logged("E2");
    wait_delivered(&rig, "kafka");
    wait_for("both are there", || (kafka.read(TOPIC, Isolation::Committed).len() == 2).then_some(()));
    collector.kill();
    let _collector = start(&rig);
    rig.break_down("E3");
    rig.wait_logged("E3");
    wait_delivered(&rig, "kafka");
    doubles(&arrived(&kafka, Isolation::Committed))
}

#[test]
fn the_control_a_checkpoint_outside_of_the_transaction_doubles_events() {
    let planted = |rig: &Rig| {
        let mut command = rig.collector_command();
        command.env(afferent_collector::forward::kafka::PLANTED_CHECKPOINT_OUTSIDE, "1");
        let process = Process::start("collector", &mut command, &rig.folder.join("collector.log"));
        wait_for("the collector's API answers", || report(rig, "kafka"));
        process
    };
    assert!(after_a_kill("kafka-outside", planted) > 0, "without the transaction events are doubled");
    assert_eq!(after_a_kill("kafka-inside", Rig::start_collector), 0);
}
