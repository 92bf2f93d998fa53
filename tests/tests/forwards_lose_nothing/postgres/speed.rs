//! Rows a second of the sink, and of psql alone with the same rows.

use std::time::Instant;

use super::super::plant::{order, report};
use super::{NAME, rig, wait_written};

const ROWS: usize = 1_000_000;
/// Lines that are sent before it is looked whether they were accepted.
const LINES: usize = 10_000;

#[test]
#[ignore = "a measurement, for a release build; see with --nocapture"]
fn rows_a_second_beside_psql() {
    let (rig, server) = rig("pg-speed");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    order(&rig, NAME, "pause", None);
    let mut producer = rig.producer();
    for first in (0..ROWS).step_by(LINES) {
        let line = |at: usize| {
            format!(
                "{{\"subject\":\"M-{:02}/spindle/temperature\",\"value\":{},\"unit\":\"Cel\"}}\n",
                at % 20,
                at as f64 / 7.0
            )
        };
        let lines: String = (first..first + LINES).map(line).collect();
        producer.send(lines.as_bytes()).expect("the agent reads");
        producer.wait_accepted((first + LINES) as u64).expect("the agent answers");
    }
    afferent_tests::process::wait_for("all is in the log", || rig.agent_lag().filter(|lag| *lag == 0));
    let begun = Instant::now();
    order(&rig, NAME, "resume", None);
    wait_written(&rig, &server, 0);
    let sink_s = begun.elapsed().as_secs_f64();
    let delivered = report(&rig, NAME).expect("it reports")["delivered"].as_u64().expect("a number");
    let file = rig.folder.join("rows");
    server.sql(&format!("\\copy (SELECT * FROM afferent.events) TO '{}' (FORMAT binary)", file.display()));
    let table = "CREATE TABLE alone (LIKE afferent.events INCLUDING ALL) PARTITION BY RANGE (ingesttime); CREATE TABLE \
                 alone_all PARTITION OF alone FOR VALUES FROM (MINVALUE) TO (MAXVALUE); CHECKPOINT";
    server.sql(table);
    let begun = Instant::now();
    server.sql(&format!("\\copy alone FROM '{}' (FORMAT binary)", file.display()));
    let psql_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    order(&rig, NAME, "rewind", Some(serde_json::json!({ "to": "first" })));
    wait_written(&rig, &server, 1);
    let again_s = begun.elapsed().as_secs_f64();
    let rate = |seconds: f64| delivered as f64 / seconds;
    println!(
        "sink {:.0} rows/s, psql alone {:.0} rows/s, ratio {:.2}; the same again after a rewind {:.0} rows/s",
        rate(sink_s),
        rate(psql_s),
        psql_s / sink_s,
        rate(again_s)
    );
    assert!(delivered as usize >= ROWS);
}
