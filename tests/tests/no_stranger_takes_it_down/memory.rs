//! Memory that a peak took is given back, and what the log's length costs is next to nothing.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use afferent_tests::process::{anon_kib, stalled_readers, visit_page, wait_for, write_log};

use crate::siege::{Siege, connect};

/// By then what a peak took is given back.
const GIVEN_BACK: Duration = Duration::from_secs(10);
/// KiB that may stay of it: buffers that the collector keeps for the next time (of a commit 8 MiB, of an index 4 MiB), and
/// what an allocator of many threads keeps at hand. A tenth of what stayed where nothing was given back.
const STAYS_KIB_MAX: u64 = 20 << 10;
/// KiB that may stay of [`LOG_MIB`] of log: a few hundred bytes for each of its segments, and what two moments differ by.
const GROWS_KIB_MAX: u64 = 2 << 10;
const LOG_MIB: u64 = 256;
/// As often nothing less was seen: longer than the allocator keeps what is free, and a thread that has nothing to do lives.
const LOOKS_AT_REST: u32 = 200;

impl Siege {
    fn anon_kib(&self) -> u64 {
        anon_kib(self.collector.pid())
    }

    /// Waits until nothing more is given back, and gives what is left.
    fn at_rest_kib(&self) -> u64 {
        let (mut least, mut looks) = (u64::MAX, 0);
        wait_for("nothing more is given back", || {
            let now = self.anon_kib();
            looks = if now < least { 0 } else { looks + 1 };
            least = least.min(now);
            (looks >= LOOKS_AT_REST).then_some(least)
        })
    }

    /// Waits until no more is resident than this.
    fn gives_back(&self, kib_max: u64, what: &str) {
        let begun = Instant::now();
        wait_for(&format!("{kib_max} KiB are left {what}"), || (self.anon_kib() <= kib_max).then_some(()));
        assert!(begun.elapsed() < GIVEN_BACK, "{what} it took {:?}", begun.elapsed());
    }
}

/// Bodies of posts that are not finished.
fn unfinished_bodies(siege: &Siege, count: usize) -> Vec<TcpStream> {
    const LENGTH: usize = 3_900_000;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {LENGTH}\r\n\r\n",
        siege.rig.http
    );
    let body = vec![b' '; LENGTH - 1];
    let unfinished = |_| {
        let mut stream = connect(siege.rig.http);
        // One that finds no room is refused, and may not take all of it.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        stream
    };
    (0..count).map(unfinished).collect()
}

#[test]
fn what_visits_stalled_readers_and_large_bodies_took_is_given_back() {
    let siege = Siege::start("given-back");
    write_log(&siege.rig, 48);
    // What is done for the first time takes memory once.
    visit_page(&siege.rig);
    let before = siege.at_rest_kib();
    (0..3).for_each(|_| visit_page(&siege.rig));
    siege.gives_back(before + STAYS_KIB_MAX, "after three visits of the page");

    let stalled = stalled_readers(siege.rig.http, 400);
    wait_for("they hold pages", || siege.held("page_bytes").filter(|held| *held >= 24 << 20));
    siege.holds("while 400 readers stall");
    let peak = siege.anon_kib();
    // The control: there is something to be given back.
    assert!(peak > before + STAYS_KIB_MAX, "{before} KiB before, {peak} KiB at most");
    drop(stalled);
    siege.gives_back(before + STAYS_KIB_MAX, "after 400 stalled readers");

    let bodies = unfinished_bodies(&siege, 12);
    wait_for("bodies are held", || siege.held("body_bytes").filter(|held| *held >= 36 << 20));
    assert!(siege.anon_kib() > before + STAYS_KIB_MAX);
    drop(bodies);
    siege.gives_back(before + STAYS_KIB_MAX, "after twelve bodies");
    siege.is_as_before();
}

#[test]
fn a_log_that_grows_does_not_show_in_memory() {
    // By small segments, so that what is kept of each of them shows.
    let siege = Siege::start_with("growing", "[storage]\nsegment_mib = 4");
    write_log(&siege.rig, 48);
    let before = siege.at_rest_kib();
    write_log(&siege.rig, LOG_MIB);
    let after = siege.at_rest_kib();
    let grown = after.saturating_sub(before);
    assert!(grown <= GROWS_KIB_MAX, "{before} KiB with 48 MiB of log, {after} KiB with {LOG_MIB} MiB more");
    // What was written long ago is found all the same.
    visit_page(&siege.rig);
}
