//! A machine's temperature over months, every five minutes, with the failures that it ends in.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Rows of a recording.
pub const ROWS: usize = 22_695;
/// Seconds between two of them.
const STEP_S: i64 = 300;
/// 2013-12-02T21:15:00Z
const BEGIN_S: i64 = 1_386_018_900;
/// Where the machine fails, as rows.
const FAILURES: [usize; 4] = [2400, 3980, 16_340, 19_510];

/// The recording to replay: the file that `AFFERENT_RECORDING` names (a CSV file with `timestamp` and `value`, such as the
/// machine temperature of the Numenta Anomaly Benchmark), else one of the same shape, made here.
pub fn recording(folder: &Path) -> (PathBuf, usize) {
    match std::env::var_os("AFFERENT_RECORDING") {
        Some(path) => {
            let path = PathBuf::from(path);
            let text = std::fs::read_to_string(&path).expect("AFFERENT_RECORDING names a file that can be read");
            (path, text.lines().count() - 1)
        }
        None => {
            let path = folder.join("machine_temperature.csv");
            std::fs::write(&path, made()).expect("the folder can be written");
            (path, ROWS)
        }
    }
}

/// How the times of a recording are to be read: dates without a zone, as the benchmark has them, or Unix times.
pub fn times(recording: &Path) -> &'static str {
    let text = std::fs::read_to_string(recording).expect("the recording can be read");
    let first = text.lines().nth(1).and_then(|row| row.split(',').next()).unwrap_or_default();
    if first.contains('-') { "time_zone = \"UTC\"\n" } else { "time_format = \"unix\"\n" }
}

/// A daily swing around a level, and before each failure a fall to nearly nothing and a slow return.
fn made() -> String {
    let mut text = String::from("timestamp,value\n");
    for row in 0..ROWS {
        let at = row as f64;
        let usual = 85.0 + 8.0 * (at / 288.0 * std::f64::consts::TAU).sin() + 2.0 * (at / 7.3).sin();
        let since = FAILURES.iter().filter_map(|failure| row.checked_sub(*failure)).min();
        let share = since.map_or(1.0, |since| (since as f64 / 288.0).min(1.0));
        let seconds = BEGIN_S + row as i64 * STEP_S;
        writeln!(text, "{seconds},{:.6}", usual * share).expect("a string takes text");
    }
    text
}
