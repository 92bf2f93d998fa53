//! A microcontroller in QEMU, the agent on the other end of its serial line, and the collector: what the controller's
//! ledger says was recorded is in the unified log, once and in order, or declared as lost.
//!
//! The ledger is printed by the demo firmware where it records, on a console that nothing else of the product knows.

mod demo;
mod line;
mod plant;

use afferent_tests::process::wait_for;
use demo::place_of;
use plant::Plant;

/// Waits until as much is in the log as the ledger has, and holds each against the other.
fn all_is_logged(plant: &mut Plant, stream: &str) {
    let recorded = plant.demo.ledger("recorded", stream);
    plant.wait_logged(stream, recorded.len());
    assert_eq!(plant.logged(stream), recorded, "once, in order, byte for byte");
}

#[test]
fn sixty_seconds_of_a_spindle_are_in_the_log_sample_by_sample() {
    let mut plant = Plant::start("steady");
    plant.demo.command("ledger on");
    plant.demo.command("run 6000");
    plant.demo.wait_for_line("done run");
    assert_eq!(plant.demo.ledger("recorded", "samples").len(), 4 * 6000);
    assert_eq!(plant.demo.ledger("recorded", "critical").len(), 1, "the bearing failed");
    all_is_logged(&mut plant, "samples");
    all_is_logged(&mut plant, "critical");
    assert_eq!(plant.declared_lost(), [0; 2]);
    plant.wait_event("the device is there", |event| {
        event["data"]["change"] == "link_up" && event["subject"] == "spindle-1"
    });
}

#[test]
fn what_storms_and_bursts_are_too_much_for_is_declared_with_the_right_count() {
    let mut plant = Plant::start("storm");
    plant.demo.command("ledger on");
    plant.demo.command("storm 2000");
    for _ in 0..3 {
        plant.demo.printed_clear("done burst");
        plant.demo.command("burst 150");
        plant.demo.wait_for_line("done burst");
    }
    plant.demo.wait_for_line("done storm");
    let lost = ["critical", "samples"].map(|stream| plant.demo.ledger("lost", stream).len() as u64);
    assert!(lost[0] > 0, "a burst is more than the recorder holds");
    all_is_logged(&mut plant, "samples");
    all_is_logged(&mut plant, "critical");
    plant.wait_for("every loss is declared", |plant| plant.declared_lost() == lost);
}

/// Breaks the demo down with a command; gives the message of what it reports of it after the reboot, once.
fn report_of(command: &str, code: &str) -> String {
    let mut plant = Plant::start(command);
    plant.demo.command("status");
    plant.demo.command(command);
    let is_report =
        |event: &serde_json::Value| event["subject"] == "spindle-1" && event["type"] == "afferent.breakdown.v1";
    let report = plant.wait_event("the crash is reported", is_report);
    assert_eq!(report["data"]["code"], code);
    // Another reset: it is not reported again.
    plant.demo.command("reset");
    plant.wait_event("the next start is told", |event| {
        event["data"]["repairs"].as_str().is_some_and(|text| text.contains("on purpose"))
    });
    assert_eq!(plant.events().iter().filter(|event| is_report(event)).count(), 1);
    report["data"]["message"].as_str().expect("a message").to_owned()
}

fn place_in(report: &str) -> String {
    let (_, rest) = report.split_once("pc 0x").expect("a report has a program counter");
    place_of(u32::from_str_radix(&rest[..8], 16).expect("eight digits"))
}

#[test]
fn a_panic_is_in_the_log_once_with_its_place_and_its_words() {
    let report = report_of("panic", "PANIC");
    assert!(report.contains("src/faults.rs:") && report.contains("reading 7 of 3 was asked for"), "{report}");
}

#[test]
fn a_bad_read_is_in_the_log_once_with_its_place_and_address() {
    let report = report_of("badread", "BUS_FAULT");
    assert!(report.contains("address 0x60000000") && place_in(&report).contains("bad_read"), "{report}");
}

#[test]
fn an_undefined_instruction_is_in_the_log_once_with_its_place() {
    let report = report_of("undefined", "UNDEFINED_INSTRUCTION");
    assert!(place_in(&report).contains("undefined_instruction"), "{report}");
}

#[test]
fn a_hang_is_in_the_log_once_with_the_place_where_it_hung() {
    let report = report_of("hang", "WATCHDOG");
    assert!(place_in(&report).contains("hang"), "{report}");
}

/// Records five alarms while the cable is pulled, and cuts the power.
fn five_alarms_and_a_power_cut(name: &str) -> Plant {
    let mut plant = Plant::start(name);
    plant.line.pull();
    plant.demo.command("ledger on");
    plant.demo.command("burst 5");
    plant.demo.wait_for_line("done burst");
    // By the next command the main loop has been round, and they are on flash.
    plant.demo.command("status");
    plant.demo.cut_power();
    assert!(plant.logged("critical").is_empty(), "nothing has arrived before the cut");
    plant
}

/// Gives what is logged then, and what was recorded.
fn after_power_up(mut plant: Plant) -> (Vec<String>, Vec<String>) {
    plant.demo.power_on();
    plant.line.plug();
    plant.wait_event("the start after the power cut is told", |event| {
        event["subject"] == "spindle-1" && event["data"]["previous"] == "power_loss"
    });
    plant.demo.command("ledger on");
    with_six_more(plant)
}

/// Records six alarms more: one more than before, so that the last one is none of those. Gives all that is logged once
/// that one is, and all that was recorded.
fn with_six_more(mut plant: Plant) -> (Vec<String>, Vec<String>) {
    plant.demo.printed_clear("done burst");
    plant.demo.command("burst 6");
    plant.demo.wait_for_line("done burst");
    let recorded = plant.demo.ledger("recorded", "critical");
    plant.wait_for("the last of them is there", |plant| plant.logged("critical").last() == recorded.last());
    assert_eq!(recorded.len(), 11);
    (plant.logged("critical"), recorded)
}

#[test]
fn alarms_on_flash_are_logged_after_a_power_cut() {
    let (logged, recorded) = after_power_up(five_alarms_and_a_power_cut("power"));
    assert_eq!(logged, recorded);
}

#[test]
fn with_another_flash_chip_they_would_not_be() {
    // The control of the test before.
    let plant = five_alarms_and_a_power_cut("power-control");
    plant.demo.new_flash();
    let (logged, recorded) = after_power_up(plant);
    assert_eq!(logged, recorded[5..]);
}

#[test]
fn an_agent_killed_in_mid_stream_takes_everything_once() {
    let mut plant = Plant::start("kill");
    plant.demo.command("ledger on");
    plant.demo.command("run 1800");
    for round in 1..=4 {
        let enough = round * 300 * 4;
        wait_for("the spindle goes on", || (plant.demo.ledger("recorded", "samples").len() >= enough).then_some(()));
        plant.kill_agent();
        plant.start_agent();
    }
    plant.demo.wait_for_line("done run");
    all_is_logged(&mut plant, "samples");
    all_is_logged(&mut plant, "critical");
    assert_eq!(plant.demo.ledger("recorded", "samples").len(), 4 * 1800);
    assert_eq!(plant.declared_lost(), [0; 2]);
}

/// Records five alarms whose acks do not reach the device, and kills the agent when they are in the unified log.
fn five_alarms_without_an_ack_and_a_killed_agent(name: &str) -> Plant {
    let mut plant = Plant::start(name);
    plant.demo.command("ledger on");
    plant.line.swallow_answers(true);
    plant.demo.command("burst 5");
    plant.demo.wait_for_line("done burst");
    plant.wait_logged("critical", 5);
    plant.kill_agent();
    plant
}

/// Gives what is logged then, and what was recorded.
fn after_the_agents_start(mut plant: Plant) -> (Vec<String>, Vec<String>) {
    plant.line.swallow_answers(false);
    plant.start_agent();
    with_six_more(plant)
}

#[test]
fn what_the_device_has_no_ack_for_is_not_taken_again_after_a_kill() {
    let (logged, recorded) = after_the_agents_start(five_alarms_without_an_ack_and_a_killed_agent("ack"));
    assert_eq!(logged, recorded);
}

#[test]
fn without_the_ring_log_it_would_be() {
    // The control of the test before: the table of devices is in the ring log, and nowhere else.
    let plant = five_alarms_without_an_ack_and_a_killed_agent("ack-control");
    std::fs::remove_dir_all(plant.rig.agent_data().join("ring")).expect("there is a ring log");
    let (logged, recorded) = after_the_agents_start(plant);
    assert_eq!(logged, [&recorded[..5], &recorded].concat());
}

#[test]
fn pulled_cables_leave_no_trace_in_the_log_but_that_they_were_pulled() {
    let changes = |plant: &Plant, change: &str| {
        let is_one = |event: &&serde_json::Value| event["subject"] == "spindle-1" && event["data"]["change"] == change;
        plant.events().iter().filter(is_one).count()
    };
    let recorded = |plant: &Plant| plant.demo.ledger("recorded", "samples").len();
    let mut plant = Plant::start("cable");
    plant.demo.command("ledger on");
    for round in 1..=3 {
        let before = recorded(&plant);
        plant.demo.printed_clear("done run");
        plant.demo.command("run 400");
        wait_for("the spindle goes on", || (recorded(&plant) >= before + 800).then_some(()));
        plant.line.pull();
        wait_for("the spindle goes on without a line", || (recorded(&plant) >= before + 1000).then_some(()));
        plant.line.plug();
        plant.wait_for("the device is heard again", |plant| changes(plant, "link_up") > round);
        plant.demo.wait_for_line("done run");
    }
    all_is_logged(&mut plant, "samples");
    all_is_logged(&mut plant, "critical");
    assert_eq!(plant.declared_lost(), [0; 2]);
    assert_eq!([changes(&plant, "link_up"), changes(&plant, "link_down")], [4, 3]);
}

#[test]
fn noise_on_every_hundredth_byte_of_the_whole_run_leaves_no_trace_in_the_log() {
    let mut plant = Plant::start("noise");
    plant.line.disturb(100);
    plant.demo.command("ledger on");
    plant.demo.command("run 300");
    plant.demo.command("burst 5");
    plant.demo.wait_for_line("done run");
    all_is_logged(&mut plant, "samples");
    all_is_logged(&mut plant, "critical");
    assert_eq!(plant.declared_lost(), [0; 2]);
    let bad = plant.rig.agent_figure("afferent_serial_frames_bad_total").expect("the agent tells");
    assert!(bad > 20, "the line was disturbed: {bad}");
}
