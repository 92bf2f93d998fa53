//! PostgreSQL: rows a second of the sink, and of psql alone with the same rows.

use std::time::Instant;

use afferent_tests::process::{Postgres, Rig, USER, order_forward, report_forward, wait_delivered, wait_for};
use serde_json::json;

use super::append;
use crate::table::{Must, Table};

const NAME: &str = "history";
const ROWS: u64 = 1_000_000;

pub fn measure(table: &mut Table) {
    let mut rig = Rig::new("bench-postgres");
    let server = Postgres::new(&rig.folder);
    let _postgres = server.start();
    rig.collector_extra =
        format!("[[forward]]\nname = \"{NAME}\"\n[forward.postgres]\nurl = \"{}\"\n", server.url(USER));
    let (_collector, agent) = (rig.start_collector(), rig.start_agent());
    rig.wait_healthy();
    order_forward(&rig, NAME, "pause", None);
    append(&rig, ROWS);
    assert!(agent.terminate().success(), "it stops");
    let sink = delivered_a_second(&rig, "resume");
    let file = rig.folder.join("rows");
    server.sql(&format!("\\copy (SELECT * FROM afferent.events) TO '{}' (FORMAT binary)", file.display()));
    server.sql(
        "CREATE TABLE alone (LIKE afferent.events INCLUDING ALL) PARTITION BY RANGE (ingesttime); \
         CREATE TABLE alone_all PARTITION OF alone FOR VALUES FROM (MINVALUE) TO (MAXVALUE); CHECKPOINT",
    );
    let begun = Instant::now();
    server.sql(&format!("\\copy alone FROM '{}' (FORMAT binary)", file.display()));
    let alone = ROWS as f64 / begun.elapsed().as_secs_f64();
    table.add("PostgreSQL: rows of the sink", sink, "rows/s", Must::Least(100_000.0));
    table.add("… of psql's COPY of the same rows, keys included", alone, "rows/s", Must::Shown);
    table.add("… the sink, of psql", 100.0 * sink / alone, "%", Must::Least(50.0));
    let again = delivered_a_second(&rig, "rewind");
    table.add("… the sink after a rewind: every row is there already", again, "rows/s", Must::Shown);
}

/// Gives the order that has everything delivered; the rate at which it is.
fn delivered_a_second(rig: &Rig, order: &str) -> f64 {
    let delivered = || report_forward(rig, NAME).and_then(|report| report["delivered"].as_u64()).unwrap_or(0);
    let before = delivered();
    let begun = Instant::now();
    order_forward(rig, NAME, order, (order == "rewind").then(|| json!({ "to": "first" })));
    wait_for("the rows are there", || (delivered() >= before + ROWS).then_some(()));
    wait_delivered(rig, NAME);
    ROWS as f64 / begun.elapsed().as_secs_f64()
}
