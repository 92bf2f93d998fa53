//! The demo in QEMU: what its ledger says was recorded is in the receiver's log, once and in order, or declared.

mod demo;
#[path = "../receiver/mod.rs"]
mod receiver;

use afferent_firmware::protocol::ids::Stream;
use demo::{Demo, place_of};
use receiver::Seen;

/// An event as the demo's ledger writes it.
fn as_ledger(seen: &Seen) -> Option<String> {
    let Seen { tick_us, subject, body, .. } = seen;
    let after = |mark: &str| body.split_once(mark).map(|(_, rest)| rest);
    let number = |rest: &str| rest.chars().take_while(|c| !",) ".contains(*c)).collect::<String>();
    let text = if let Some(rest) = after("Float(") {
        let value: f64 = number(rest).parse().expect("a float");
        format!("float {:016x}", value.to_bits())
    } else if let Some(rest) = after("Integer(") {
        format!("integer {}", number(rest))
    } else if let Some(rest) = after("priority: ") {
        format!("alarm {}", number(rest))
    } else if let Some(rest) = after("Breakdown { code: \"") {
        format!("breakdown {}", rest.split('"').next().expect("a code"))
    } else {
        return None;
    };
    Some(format!("{tick_us} {subject} {text}"))
}

fn received(demo: &Demo, stream: Stream) -> Vec<String> {
    demo.receiver.events_of(stream).iter().filter_map(as_ledger).collect()
}

/// Waits until everything that the ledger has is in the log; holds each against the other.
fn all_arrives(demo: &mut Demo, stream: Stream) {
    let recorded = demo.ledger("recorded", stream.name());
    let what = format!("{} of {stream} arrive", recorded.len());
    demo.wait_for(&what, |demo| (demo.receiver.events_of(stream).len() >= recorded.len()).then_some(()));
    assert_eq!(received(demo, stream), recorded);
}

#[test]
fn sixty_seconds_of_a_spindle_arrive_sample_by_sample() {
    let mut demo = Demo::start();
    demo.plug();
    demo.command("ledger on");
    demo.command("run 6000");
    demo.wait_for_line("done run");
    assert_eq!(demo.ledger("recorded", "samples").len(), 4 * 6000);
    assert_eq!(demo.ledger("lost", "samples").len(), 0);
    demo.wait_for("the breakdown and all samples arrive", |demo| {
        (demo.receiver.events_of(Stream::Samples).len() == 4 * 6000).then_some(())
    });
    assert_eq!(received(&demo, Stream::Samples), demo.ledger("recorded", "samples"));
    assert_eq!(received(&demo, Stream::Critical), demo.ledger("recorded", "critical"));
    assert_eq!(demo.ledger("recorded", "critical").len(), 1, "the bearing failed");
    assert_eq!(demo.receiver.check(), [0; 2]);
}

#[test]
fn storms_from_an_interrupt_and_bursts_from_the_main_loop_are_all_accounted_for() {
    let mut demo = Demo::start();
    demo.plug();
    demo.command("ledger on");
    demo.command("storm 2000");
    for _ in 0..3 {
        demo.command("burst 150");
        demo.wait_for_line("done burst");
    }
    demo.wait_for_line("done storm");
    let recorded = demo.ledger("recorded", "samples");
    demo.wait_for("the samples arrive", |demo| {
        (demo.receiver.events_of(Stream::Samples).len() >= recorded.len()).then_some(())
    });
    let critical = demo.ledger("recorded", "critical");
    demo.wait_for("the alarms arrive", |demo| (received(demo, Stream::Critical).len() >= critical.len()).then_some(()));
    assert_eq!(received(&demo, Stream::Samples), recorded);
    assert_eq!(received(&demo, Stream::Critical), critical);
    let lost = ["critical", "samples"].map(|stream| demo.ledger("lost", stream).len() as u64);
    assert!(lost[0] > 0, "a burst is more than the recorder holds");
    demo.wait_for("every loss is declared", |demo| {
        let declared: u64 =
            demo.receiver.events().iter().filter_map(|seen| seen.loss).map(|(_, lost)| lost.count()).sum();
        (declared >= lost[0] + lost[1]).then_some(())
    });
    assert_eq!(demo.receiver.check(), lost);
}

/// Breaks the demo down with a command; gives what it reports of it after the reboot, once.
fn report_of(command: &str, code: &str) -> String {
    let mut demo = Demo::start();
    demo.plug();
    demo.command("status");
    demo.command(command);
    let report = |demo: &mut Demo| {
        let events = demo.receiver.events_of(Stream::Critical);
        events.iter().find(|seen| seen.body.contains("Breakdown")).map(|seen| seen.body.clone())
    };
    let report = demo.wait_for("the crash is reported", report);
    assert!(report.contains(&format!("code: {code:?}")), "{report}");
    // Another reset: it is not reported again.
    demo.printed.clear();
    demo.command("reset");
    demo.wait_for("the next start is told", |demo| {
        let events = demo.receiver.events_of(Stream::Critical);
        (events.iter().filter(|seen| seen.body.contains("on purpose")).count() == 1).then_some(())
    });
    let events = demo.receiver.events_of(Stream::Critical);
    assert_eq!(events.iter().filter(|seen| seen.body.contains("Breakdown")).count(), 1);
    assert_eq!(events.iter().filter(|seen| seen.body.contains("previous: Crash")).count(), 1);
    assert_eq!(demo.receiver.check(), [0; 2]);
    report
}

/// Where the program counter in a report points to.
fn place_in(report: &str) -> String {
    let (_, rest) = report.split_once("pc 0x").expect("a report has a program counter");
    place_of(u32::from_str_radix(&rest[..8], 16).expect("eight digits"))
}

#[test]
fn a_panic_is_reported_once_with_its_place_and_its_words() {
    let report = report_of("panic", "PANIC");
    assert!(report.contains("src/faults.rs:"), "{report}");
    assert!(report.contains("reading 7 of 3 was asked for"), "{report}");
}

#[test]
fn a_bad_read_is_reported_once_with_its_place_and_address() {
    let report = report_of("badread", "BUS_FAULT");
    assert!(report.contains("address 0x60000000"), "{report}");
    assert!(place_in(&report).contains("bad_read"), "{report}");
}

#[test]
fn an_undefined_instruction_is_reported_once_with_its_place() {
    let report = report_of("undefined", "UNDEFINED_INSTRUCTION");
    assert!(place_in(&report).contains("undefined_instruction"), "{report}");
}

#[test]
fn a_hang_is_reported_once_with_the_place_where_it_hung() {
    let report = report_of("hang", "WATCHDOG");
    assert!(place_in(&report).contains("hang"), "{report}: {}", place_in(&report));
}

/// Records five alarms while nobody listens, and cuts the power.
fn five_alarms_and_a_power_cut() -> Demo {
    let mut demo = Demo::start();
    demo.command("ledger on");
    demo.command("burst 5");
    demo.wait_for_line("done burst");
    // By the next command the main loop has been round, and they are on flash.
    demo.command("status");
    demo.cut_power();
    demo
}

#[test]
fn alarms_on_flash_arrive_after_a_power_cut() {
    let mut demo = five_alarms_and_a_power_cut();
    demo.power_on();
    demo.plug();
    all_arrives_of_burst(&mut demo);
    assert_eq!(demo.receiver.check(), [0; 2]);
}

fn all_arrives_of_burst(demo: &mut Demo) {
    let recorded = demo.ledger("recorded", "critical");
    assert_eq!(recorded.len(), 5);
    demo.wait_for("the start after the power cut is told", |demo| {
        let boot = demo.receiver.requests.last()?.boot;
        let events = demo.receiver.events_of(Stream::Critical);
        events.iter().any(|seen| seen.boot == boot && seen.body.contains("PowerLoss")).then_some(())
    });
    assert_eq!(received(demo, Stream::Critical), recorded);
}

#[test]
#[should_panic(expected = "left == right")]
fn with_another_flash_chip_they_would_not() {
    // The control of the test before.
    let mut demo = five_alarms_and_a_power_cut();
    demo.new_flash();
    demo.power_on();
    demo.plug();
    all_arrives_of_burst(&mut demo);
}

#[test]
fn pulled_cables_and_restarts_of_the_receiver_leave_no_trace_in_the_log() {
    let mut demo = Demo::start();
    demo.plug();
    demo.command("ledger on");
    demo.command("run 1800");
    for round in 1..=4 {
        let enough = round * 300 * 4;
        demo.wait_for("the spindle goes on", |demo| (demo.ledger("recorded", "samples").len() >= enough).then_some(()));
        if round % 2 == 0 {
            demo.receiver = std::mem::take(&mut demo.receiver).restarted();
        } else {
            demo.unplug();
            let further = enough + 200;
            let is_further = |demo: &mut Demo| (demo.ledger("recorded", "samples").len() >= further).then_some(());
            demo.wait_for("the spindle goes on without a line", is_further);
            demo.plug();
        }
    }
    demo.wait_for_line("done run");
    all_arrives(&mut demo, Stream::Samples);
    assert_eq!(demo.ledger("recorded", "samples").len(), 4 * 1800);
    assert_eq!(demo.receiver.check(), [0; 2]);
}

#[test]
fn whoever_stops_reading_the_line_does_not_bring_the_device_down() {
    let mut demo = Demo::start();
    demo.plug();
    demo.command("ledger on");
    demo.is_reading_line = false;
    // More than QEMU and its socket take.
    demo.command("run 600");
    demo.wait_for_line("done run");
    demo.is_reading_line = true;
    all_arrives(&mut demo, Stream::Samples);
    assert_eq!(demo.ledger("recorded", "samples").len(), 4 * 600);
    assert!(demo.receiver.events_of(Stream::Critical).iter().all(|seen| !seen.body.contains("WATCHDOG")));
    assert_eq!(demo.receiver.check(), [0; 2]);
}

#[test]
fn noise_on_every_hundredth_byte_of_the_whole_run_leaves_no_trace_in_the_log() {
    let mut demo = Demo::start();
    demo.noise_one_in = Some(100);
    demo.plug();
    demo.command("ledger on");
    demo.command("run 300");
    demo.command("burst 5");
    demo.wait_for_line("done run");
    demo.command("burst 5");
    demo.wait_for_line("done burst");
    all_arrives(&mut demo, Stream::Samples);
    let recorded = demo.ledger("recorded", "critical");
    assert_eq!(recorded.len(), 10);
    demo.wait_for("the alarms arrive", |demo| (received(demo, Stream::Critical).len() >= 10).then_some(()));
    assert_eq!(received(&demo, Stream::Critical), recorded);
    assert!(
        demo.receiver.noise_by_checksum > 20,
        "what only a checksum has kept out: {}",
        demo.receiver.noise_by_checksum
    );
}
