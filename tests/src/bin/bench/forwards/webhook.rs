//! How fast webhooks are, what a destination costs that hangs, and what forwards cost those who append.

use std::time::{Duration, Instant};

use afferent_tests::process::{Hook, HookServer, Process, Rig, rss_kib, wait_for};

use super::append;
use crate::table::{Must, Table, median};

/// Events behind a destination that hangs.
const EVENTS: u64 = 10_000_000;
/// Events that are delivered.
const DELIVERED: u64 = 2_000_000;
const FORWARDS: usize = 10;
/// Times that appends are measured, alone and beside forwards in turn.
const PAIRS: usize = 5;
/// Events that are appended before each of them.
const WARM: u64 = 200_000;
/// Time for memory to be given back, and for what hangs to be noticed.
const SETTLED: Duration = Duration::from_secs(10);

pub fn measure(table: &mut Table) {
    let mut rig = Rig::new("bench-forwards");
    let server = HookServer::start();
    server.decide(|_| Hook::Forget);
    measure_appends(table, &mut rig, &server);
    measure_deliveries(table, &mut rig, &server);
    measure_stuck(table, &mut rig, &server);
}

fn restart(rig: &mut Rig, collector: Process, forwards: &str) -> Process {
    assert!(collector.terminate().success(), "the collector stops");
    forwards.clone_into(&mut rig.collector_extra);
    rig.start_collector()
}

fn webhooks(server: &HookServer, count: usize, from: &str) -> String {
    let one = |number: usize| {
        format!(
            "[[forward]]\nname = \"hook-{from}-{number}\"\nfrom = \"{from}\"\n[forward.webhook]\n\
             url = \"http://{}/\"\nallow = [\"127.0.0.1\"]\n",
            server.address
        )
    };
    (0..count).map(one).collect()
}

fn measure_appends(table: &mut Table, rig: &mut Rig, server: &HookServer) {
    let agent = rig.start_agent();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // New forwards each time: what was appended without them is not theirs to catch up with.
        let forwards = webhooks(server, FORWARDS, "end").replace("hook-end", &format!("hook-{pair}"));
        for (rates, forwards) in [(&mut alone, String::new()), (&mut beside, forwards)] {
            rig.collector_extra = forwards;
            let collector = rig.start_collector();
            rig.wait_healthy();
            append(rig, WARM);
            rates.push(append(rig, DELIVERED));
            assert!(collector.terminate().success(), "the collector stops");
        }
    }
    let figure = format!("socket → log while {FORWARDS} forwards post the same events by webhook, as much as alone");
    table.add(figure, 100.0 * median(beside) / median(alone), "%", Must::Least(90.0));
    assert!(agent.terminate().success(), "the agent stops");
}

fn measure_deliveries(table: &mut Table, rig: &mut Rig, server: &HookServer) {
    rig.collector_extra = webhooks(server, 1, "first");
    let begun = Instant::now();
    let collector = rig.start_collector();
    let delivered = || rig.collector_figure("afferent_forward_delivered_total");
    let count = wait_for("2 M events are delivered", || delivered().filter(|count| *count >= DELIVERED));
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    table.add(
        "webhook, batched, to a local server, the collector's start included",
        rate,
        "events/s",
        Must::Least(100_000.0),
    );
    assert!(collector.terminate().success(), "it stops");
}

fn measure_stuck(table: &mut Table, rig: &mut Rig, server: &HookServer) {
    let rss_mb = |collector: &Process| {
        std::thread::sleep(SETTLED);
        rss_kib(collector.pid()) as f64 * 1.024e-3
    };
    rig.collector_extra = String::new();
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    let held = wait_for("the log has an end", || rig.log_end());
    append(rig, EVENTS.saturating_sub(held));
    assert!(agent.terminate().success(), "the agent stops");
    let collector = restart(rig, collector, "");
    let alone = rss_mb(&collector);
    server.decide(|_| Hook::Hang);
    let collector = restart(rig, collector, &webhooks(server, 1, "first").replace("hook-first", "stuck"));
    wait_for("it is 10 M events behind", || {
        rig.collector_figure("afferent_forward_lag_events").filter(|lag| *lag >= EVENTS)
    });
    let stuck = rss_mb(&collector);
    table.add(
        "collector RSS while a destination hangs, 10 M events behind, more than without",
        stuck - alone,
        "MB",
        Must::Most(16.0),
    );
}
