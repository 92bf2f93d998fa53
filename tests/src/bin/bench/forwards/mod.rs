//! Forwards: how fast each destination is, beside the same without a collector; what they cost those who append, and what
//! one costs that hangs.

pub mod influx;
pub mod kafka;
pub mod parquet;
pub mod postgres;
pub mod webhook;

use std::fmt::Write as _;
use std::time::Instant;

use afferent_tests::process::{Rig, wait_for};

/// Lines of one burst of the producer.
const BURST: u64 = 50_000;

/// Sends at least so many lines of samples; gives the rate at which the log takes them.
fn append(rig: &Rig, events: u64) -> f64 {
    let bursts = events.div_ceil(BURST);
    let events = bursts * BURST;
    let mut lines = String::new();
    for number in 0..BURST {
        writeln!(lines, r#"{{"subject":"M-{:02}/s","value":{number}.5,"unit":"Cel"}}"#, number % 20)
            .expect("a text grows");
    }
    let before = wait_for("the log has an end", || rig.log_end());
    let mut producer = rig.producer();
    let begun = Instant::now();
    for burst in 1..=bursts {
        producer.send(lines.as_bytes()).expect("the agent reads");
        producer.wait_accepted(burst * BURST).expect("the agent answers");
    }
    wait_for("all is in the log", || rig.log_end().filter(|end| *end >= before + events));
    events as f64 / begun.elapsed().as_secs_f64()
}
