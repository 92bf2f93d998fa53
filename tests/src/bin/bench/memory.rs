//! What the collector's memory is with twenty machines: as the log grows, and after peaks.

use std::thread::sleep;
use std::time::Duration;

use afferent_tests::process::{Rig, anon_kib, rss_kib, stalled_readers, visit_page, wait_for, write_log};

use crate::table::{Must, Table};

/// MiB of log that are written before anything is measured: what is done for the first time takes memory once.
const WARM_MIB: u64 = 128;
/// MiB of log over which growth is measured.
const LOG_MIB: u64 = 2048;
const VISITS: usize = 3;
const STALLED: usize = 400;
/// After a peak its memory has so long to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(10);

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-memory");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let pid = collector.pid();
    let settled = || sleep(GIVEN_BACK);
    let rss_mb = || rss_kib(pid) as f64 * 1.024e-3;
    write_log(&rig, WARM_MIB);
    settled();
    let before = anon_kib(pid);
    write_log(&rig, LOG_MIB);
    settled();
    let grown_mb = (anon_kib(pid) as f64 - before as f64) * 1.024e-3;
    let written = LOG_MIB + WARM_MIB;
    table.add(format!("collector RSS, 20 machines, after {written} MiB of log"), rss_mb(), "MB", Must::Most(64.0));
    let per_gib = grown_mb * 1024.0 / LOG_MIB as f64;
    table.add("… anonymous memory that stays for each GiB of log", per_gib, "MB", Must::Most(0.25));
    (0..VISITS).for_each(|_| visit_page(&rig));
    settled();
    table.add(format!("… 10 s after {VISITS} visits of the page"), rss_mb(), "MB", Must::Most(64.0));
    let stalled = stalled_readers(rig.http, STALLED);
    wait_for("they are open", || rig.collector_figure("afferent_http_held").filter(|held| *held >= STALLED as u64));
    settled();
    table.add(format!("… while {STALLED} readers stall"), rss_mb(), "MB", Must::Shown);
    drop(stalled);
    settled();
    table.add("… 10 s after they have gone", rss_mb(), "MB", Must::Most(64.0));
}
