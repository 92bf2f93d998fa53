//! Parquet: samples a second from a log's files into files of a table.

use std::process::Command;
use std::time::Instant;

use afferent_tests::process::{Folder, binary, run_to_end};

use crate::readers::fill;
use crate::table::{Must, Table};

const LOG_BYTES: u64 = 64 << 20;

pub fn measure(table: &mut Table) {
    let folder = Folder::new("bench-parquet");
    let log = folder.join("log").join("0");
    let samples = fill(&log, LOG_BYTES);
    let lake = folder.join("lake");
    let mut export = Command::new(binary("afferent-collector"));
    export.args(["log", "export", "--parquet"]).arg(&lake).arg("--data").arg(folder.path());
    let begun = Instant::now();
    let (status, printed) = run_to_end(&mut export);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{printed}");
    let figure = "Parquet: samples from a log's files into files of a table, on one core, reading included";
    table.add(figure, samples as f64 / seconds, "samples/s", Must::Least(3e6));
}
