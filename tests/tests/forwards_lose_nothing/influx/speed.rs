//! Samples a second, to VictoriaMetrics and to a server that only reads.

use std::time::Instant;

use afferent_tests::process::{Folder, Hook, HookServer, VictoriaMetrics, wait_for};

use super::super::plant::{order, report};
use super::{NAME, rig_with_bucket};

const SAMPLES: usize = 2_000_000;
/// Lines that are sent before it is looked whether they were accepted.
const LINES: usize = 10_000;

/// Samples a second of a forward to this address.
fn rate(name: &str, address: &str) -> f64 {
    let rig = rig_with_bucket(name, address, "timeout_s = 60");
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    order(&rig, NAME, "pause", None);
    let mut producer = rig.producer();
    for first in (0..SAMPLES).step_by(LINES) {
        let line = |at: usize| {
            let (machine, value) = (at % 20, at as f64 / 7.0);
            format!("{{\"subject\":\"M-{machine:02}/spindle/temperature\",\"value\":{value},\"unit\":\"Cel\"}}\n")
        };
        let lines: String = (first..first + LINES).map(line).collect();
        producer.send(lines.as_bytes()).expect("the agent reads");
        producer.wait_accepted((first + LINES) as u64).expect("the agent answers");
    }
    wait_for("all is in the log", || rig.agent_lag().filter(|lag| *lag == 0));
    let delivered = || report(&rig, NAME).and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
    let before = delivered();
    let begun = Instant::now();
    order(&rig, NAME, "resume", None);
    wait_for("all is delivered", || report(&rig, NAME).filter(|report| report["lag"] == "0"));
    let rate = (delivered() - before) as f64 / begun.elapsed().as_secs_f64();
    assert!((delivered() - before) as usize >= SAMPLES);
    rate
}

#[test]
#[ignore = "a measurement, for a release build; see with --nocapture"]
fn samples_a_second() {
    let folder = Folder::new("influx-speed");
    let victoria = VictoriaMetrics::new(&folder);
    let _server = victoria.start();
    let to_victoria = rate("influx-speed-victoria", &victoria.address.to_string());
    let points = || victoria.series("sample_value").iter().map(|metric| metric.points.len()).sum::<usize>();
    wait_for("VictoriaMetrics shows all", || (points() >= SAMPLES).then_some(()));
    let server = HookServer::start();
    server.decide(|_| Hook::Forget);
    let to_reader = rate("influx-speed-reader", &server.address.to_string());
    println!("VictoriaMetrics {to_victoria:.0} samples/s, a server that only reads {to_reader:.0} samples/s");
}
