//! Many followers of the live stream: what they cost the collector's memory, and those who append.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use afferent_tests::process::{Answer, Rig, Sse, ask, cpu_seconds, peak_rss_kib, wait_for};

use crate::table::{Must, Table};

const FOLLOWERS: usize = 1000;
const EVENTS_PER_SECOND: u32 = 10_000;
const EVENTS_PER_POST: u32 = 100;
const SECONDS: u32 = 10;
const POSTS: u32 = SECONDS * EVENTS_PER_SECOND / EVENTS_PER_POST;

pub fn measure(table: &mut Table) {
    let rig = Rig::new("bench-followers");
    let collector = rig.start_collector();
    let cpu = || cpu_seconds(collector.pid()) / f64::from(SECONDS);
    wait_taken(&rig);
    // What is done for the first time takes longer.
    post_paced(&rig, 0);
    let before = cpu();
    let alone = post_paced(&rig, 1);
    let cpu_alone = cpu() - before;
    let streams: Vec<Sse> = (0..FOLLOWERS)
        .map(|number| {
            let path = format!("/v1/stream?subject=F-{number:03}/**");
            wait_for("a stream opens", || Sse::open(rig.http, &path).ok())
        })
        .collect();
    let before = cpu();
    let together = followed(&rig, streams);
    let cpu_together = cpu() - before;
    let figure = format!("events/s posted, durable and answered, {EVENTS_PER_POST} a request, alone");
    table.add(figure, alone.rate, "events/s", Must::Shown);
    let figure = format!("… while {FOLLOWERS} server-sent streams follow a machine each, and get all of theirs");
    table.add(figure, together.rate, "events/s", Must::Least(0.99 * f64::from(EVENTS_PER_SECOND)));
    table.add("… as much as alone", 100.0 * together.rate / alone.rate, "%", Must::Least(90.0));
    table.add("… until a request is answered, alone, p50", alone.percentile(50), "ms", Must::Shown);
    table.add("… p99", alone.percentile(99), "ms", Must::Shown);
    table.add("… with followers, p50", together.percentile(50), "ms", Must::Shown);
    table.add("… p99", together.percentile(99), "ms", Must::Shown);
    table.add("… collector CPU per second, alone", cpu_alone, "s", Must::Shown);
    table.add("… with followers", cpu_together, "s", Must::Shown);
    table.add("… collector RSS, its peak", peak_rss_kib(collector.pid()) as f64 / 1000.0, "MB", Must::Most(300.0));
}

/// What became of what was posted.
struct Posted {
    /// Events per second.
    rate: f64,
    /// How long each request took, in order of length.
    took: Vec<Duration>,
}

impl Posted {
    /// In milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        self.took[(self.took.len() - 1) * percent / 100].as_secs_f64() * 1e3
    }
}

/// Posts while everybody follows, and waits until all have what is theirs.
fn followed(rig: &Rig, streams: Vec<Sse>) -> Posted {
    let came = AtomicU64::new(0);
    let of_each = u64::from(POSTS * EVENTS_PER_POST) / FOLLOWERS as u64;
    let posted = std::thread::scope(|scope| {
        for mut stream in streams {
            let came = &came;
            let follower = std::thread::Builder::new().stack_size(128 * 1024);
            let following = follower.spawn_scoped(scope, move || {
                for _ in 0..of_each {
                    stream.next_data().expect("the stream goes on");
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
            following.expect("a thread for a follower");
        }
        post_paced(rig, 2)
    });
    assert_eq!(came.load(Ordering::Relaxed), of_each * FOLLOWERS as u64, "every follower has got its events");
    posted
}

/// Waits until events are taken: not before the collector knows what was posted before.
pub fn wait_taken(rig: &Rig) {
    let event = r#"{"specversion":"1.0","id":"1","source":"/begin","type":"bench.v1","subject":"begin"}"#;
    wait_for("events are taken", || (post(rig, event).status == 200).then_some(()));
}

fn post(rig: &Rig, lines: &str) -> Answer {
    ask(rig.http, "POST", "/v1/events", "application/x-ndjson", lines).expect("it answers")
}

/// Posts at a steady rate, as far as the collector keeps up. Each request is of other machines than the one before.
fn post_paced(rig: &Rig, round: u32) -> Posted {
    let mut took = Vec::new();
    let started = Instant::now();
    for number in 0..POSTS {
        let due = started + Duration::from_secs(1) * (number * EVENTS_PER_POST) / EVENTS_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let event = |nth: u32| {
            let id = (round * POSTS + number) * EVENTS_PER_POST + nth;
            let machine = id as usize % FOLLOWERS;
            format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/m/{machine}\",\"type\":\"bench.v1\",\
                 \"subject\":\"F-{machine:03}/a\",\"data\":{{\"value\":{id}}}}}\n"
            )
        };
        let body: String = (0..EVENTS_PER_POST).map(event).collect();
        let asked = Instant::now();
        let answer = post(rig, &body);
        took.push(asked.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let rate = f64::from(POSTS * EVENTS_PER_POST) / started.elapsed().as_secs_f64();
    took.sort();
    Posted { rate, took }
}
