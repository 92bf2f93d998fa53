//! The log's readers and those who add to it: no event is missed or twice where the past goes over into what comes; a
//! committed place survives a kill, for all who share it; what is posted stands in the log once, forever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use afferent_tests::process::{Answer, Process, Rig, Sse, ask, copy_files, wait_for};
use afferent_tests::rng::Rng;
use serde_json::{Value, json};

const KIND: &str = "com.example.count.v1";

/// Events with these ids, from as many sources as there are last digits.
fn lines(ids: impl IntoIterator<Item = u64>) -> String {
    let event = |id: u64| {
        let source = format!("/counter/{}", id % 10);
        json!({"specversion": "1.0", "id": id.to_string(), "source": source, "type": KIND, "subject": "88-C",
            "data": {"number": id}})
    };
    ids.into_iter().map(|id| event(id).to_string() + "\n").collect()
}

/// Posts events; gives id, offset and whether it was there, of each.
fn post(http: SocketAddr, ids: impl IntoIterator<Item = u64>) -> Option<Vec<(u64, u64, bool)>> {
    let answer = ask(http, "POST", "/v1/events", "application/x-ndjson", &lines(ids)).ok()?;
    if answer.status == 503 {
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Value = serde_json::from_str(&answer.body).expect("the answer is JSON");
    let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok()).expect("a number in a text");
    let events = told["events"].as_array().expect("a list of events").iter();
    Some(events.map(|e| (number(&e["id"]), number(&e["offset"]), e["duplicate"] == true)).collect())
}

fn posted(http: SocketAddr, ids: impl IntoIterator<Item = u64> + Clone) -> Vec<(u64, u64, bool)> {
    wait_for("events are taken", || post(http, ids.clone()))
}

fn number_and_offset(event: &str) -> (u64, u64) {
    let event: Value = serde_json::from_str(event).expect("an event is JSON");
    let offset = event["offset"].as_str().and_then(|text| text.parse().ok()).expect("it has an offset");
    (event["data"]["number"].as_u64().expect("it is one of ours"), offset)
}

/// What the oracle knows, from the answers to those who posted: the events by offset.
type Told = Mutex<BTreeMap<u64, u64>>;

/// Whether a reader got every event that was told once, in order, and nothing else.
fn judged(seen: &[(u64, u64)], told: &BTreeMap<u64, u64>) -> Result<(), String> {
    let expected: Vec<(u64, u64)> = told.iter().map(|(offset, number)| (*number, *offset)).collect();
    let differs = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
    match differs {
        Some(at) => Err(format!("at {at}: {:?} came, and {:?} was told", seen[at], expected[at])),
        None if seen.len() != expected.len() => Err(format!("{} of {} events came", seen.len(), expected.len())),
        None => Ok(()),
    }
}

/// Reads the stream to event `last`, with pauses and lost connections; `place` tells where to come back to.
fn follow(http: SocketAddr, last: u64, rng: &mut Rng, place: impl Fn(u64) -> String) -> Vec<(u64, u64)> {
    let mut seen: Vec<(u64, u64)> = Vec::new();
    loop {
        let from = seen.last().map_or("first".to_owned(), |(_, offset)| place(*offset));
        let mut stream = Sse::open(http, &format!("/v1/stream?type={KIND}&from={from}")).expect("the stream opens");
        for _ in 0..20 + rng.index(400) {
            let event = number_and_offset(&stream.next_data().expect("the stream goes on"));
            seen.push(event);
            if event.0 == last {
                return seen;
            }
            if rng.index(50) == 0 {
                // A slow reader: what comes meanwhile it reads from the disk.
                std::thread::sleep(Duration::from_millis(rng.below(30)));
            }
        }
    }
}

#[test]
fn where_the_past_goes_over_into_what_comes_nothing_is_missed_or_twice() {
    const EVENTS: u64 = 4000;
    let rig = Rig::new("seam");
    let _collector = rig.start_collector();
    let (told, mut rng) = (Told::default(), Rng::new(44));
    let mut seeds: Vec<Rng> = (0..4).map(|_| rng.fork()).collect();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (seeds.iter_mut())
            .map(|rng| scope.spawn(|| follow(rig.http, EVENTS - 1, rng, |offset| (offset + 1).to_string())))
            .collect();
        let mut at = 0;
        while at < EVENTS {
            let end = (at + 1 + rng.below(60)).min(EVENTS);
            let placed = posted(rig.http, at..end);
            told.lock().unwrap().extend(placed.into_iter().map(|(number, offset, _)| (offset, number)));
            at = end;
            if rng.index(4) == 0 {
                std::thread::sleep(Duration::from_millis(rng.below(20)));
            }
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len() as u64, EVENTS);
        for reader in readers {
            judged(&reader.join().expect("the reader ends"), &told).expect("every event once, in order");
        }
    });
    // The control: a reader that comes back one place too early, or too late, is found out.
    let told = told.lock().unwrap();
    for wrong in [0, 2] {
        let seen = follow(rig.http, EVENTS - 1, &mut rng, |offset| (offset + wrong).to_string());
        assert!(judged(&seen, &told).is_err(), "coming back to offset + {wrong} was not noticed");
    }
}

fn fetch(http: SocketAddr, member: &str) -> Option<Answer> {
    let path = format!("/v1/subscriptions/count/fetch?member={member}&limit=50&wait=1");
    ask(http, "POST", &path, "application/json", "").ok().filter(|answer| answer.status == 200)
}

/// One consumer of the subscription `count`, until it is told to stop: notes what has come to it, and what it has
/// committed.
fn consume(
    http: SocketAddr,
    member: &str,
    stop: &AtomicBool,
    came: &Mutex<Vec<u64>>,
    committed: &Mutex<BTreeSet<u64>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Some(answer) = fetch(http, member) else { continue };
        let numbers: Vec<u64> = answer.body.lines().map(|line| number_and_offset(line).0).collect();
        came.lock().unwrap().extend(&numbers);
        let Some(cursor) = answer.header("afferent-cursor") else { continue };
        let body = json!({ "cursor": cursor }).to_string();
        let done = ask(http, "POST", "/v1/subscriptions/count/commit", "application/json", &body);
        if done.is_ok_and(|answer| answer.status == 204) {
            committed.lock().unwrap().extend(numbers);
        }
    }
}

#[test]
fn two_consumers_of_one_name_get_everything_and_after_a_kill_nothing_that_was_committed() {
    const EVENTS: u64 = 3000;
    let rig = Rig::new("consumers");
    let collector = rig.start_collector();
    posted(rig.http, 0..500);
    for at in (500..EVENTS).step_by(500) {
        posted(rig.http, at..at + 500);
    }
    let new = json!({"from": "first", "filter": {"type": KIND}, "shares": 8}).to_string();
    let made = ask(rig.http, "PUT", "/v1/subscriptions/count", "application/json", &new).expect("it answers");
    assert_eq!(made.status, 201, "{}", made.body);
    let http = rig.http;
    let run = |until: &dyn Fn(&BTreeSet<u64>, &[u64]) -> bool| {
        let (stop, came, committed) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        std::thread::scope(|scope| {
            for member in ["one", "two"] {
                let (stop, came, committed) = (&stop, &came, &committed);
                scope.spawn(move || consume(http, member, stop, came, committed));
            }
            wait_for("the consumers come on", || {
                until(&committed.lock().unwrap(), &came.lock().unwrap()).then_some(())
            });
            stop.store(true, Ordering::Relaxed);
        });
        (came.into_inner().unwrap(), committed.into_inner().unwrap())
    };
    let collector = Mutex::new(Some(collector));
    let (before, committed) = run(&|committed, _| {
        let is_time = committed.len() >= 800;
        if is_time {
            collector.lock().unwrap().take().into_iter().for_each(Process::kill);
        }
        is_time
    });
    assert!(committed.len() < EVENTS as usize, "it was killed before the end");
    let collector = rig.start_collector();
    let all: BTreeSet<u64> = (0..EVENTS).collect();
    let seen: BTreeSet<u64> = before.iter().copied().collect();
    let (after, _) = run(&|_, came| came.iter().chain(&seen).copied().collect::<BTreeSet<u64>>() == all);
    let again: Vec<_> = after.iter().filter(|number| committed.contains(number)).collect();
    assert!(again.is_empty(), "{} events came again that were committed", again.len());
    // The control: what was not committed does come again, after a reset and another kill, to whoever asks.
    let to = json!({"to": "first"}).to_string();
    let reset = ask(rig.http, "POST", "/v1/subscriptions/count/reset", "application/json", &to).expect("it answers");
    assert_eq!(reset.status, 204, "{}", reset.body);
    let first = wait_for("a share", || fetch(rig.http, "one").filter(|answer| !answer.body.is_empty()));
    collector.kill();
    let _collector = rig.start_collector();
    let first_again = wait_for("a share", || fetch(rig.http, "three").filter(|answer| !answer.body.is_empty()));
    let numbers =
        |answer: &Answer| -> BTreeSet<u64> { answer.body.lines().map(|line| number_and_offset(line).0).collect() };
    assert!(!numbers(&first).is_disjoint(&numbers(&first_again)), "what was not committed comes again");
}

/// How often each number stands in the log, with its offsets.
fn in_the_log(rig: &Rig) -> BTreeMap<u64, Vec<u64>> {
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for event in rig.events().into_iter().filter(|event| event["type"] == KIND) {
        let (number, offset) = number_and_offset(&event.to_string());
        found.entry(number).or_default().push(offset);
    }
    found
}

#[test]
fn what_is_posted_again_after_a_kill_stands_in_the_log_once_where_it_stood() {
    const EVENTS: u64 = 2000;
    let rig = Rig::new("posted-once");
    let mut told = BTreeMap::new();
    for round in 0..3 {
        let collector = rig.start_collector();
        // Whoever got no answer posts again: from the beginning, and everything.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let poster = scope.spawn(|| {
                let mut placed = Vec::new();
                for at in (0..EVENTS).step_by(20).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return placed;
                    }
                    placed.extend(post(rig.http, at..at + 20).unwrap_or_default());
                }
                placed
            });
            wait_for("some are told", || rig.log_end().filter(|end| *end >= 300 + round * 300));
            collector.kill();
            stop.store(true, Ordering::Relaxed);
            for (number, offset, _) in poster.join().expect("the poster ends") {
                assert_eq!(*told.entry(number).or_insert(offset), offset, "{number} was told another offset before");
            }
        });
        if round == 1 {
            // The index of ids is derived: without it the log tells the same.
            std::fs::remove_file(rig.collector_data().join("posted-ids.redb")).expect("it is there");
        }
    }
    let _collector = rig.start_collector();
    for at in (0..EVENTS).step_by(500) {
        for (number, offset, _) in posted(rig.http, at..at + 500) {
            assert_eq!(*told.entry(number).or_insert(offset), offset, "{number} was told another offset before");
        }
    }
    let found = in_the_log(&rig);
    let expected: BTreeMap<u64, Vec<u64>> = told.iter().map(|(number, offset)| (*number, vec![*offset])).collect();
    assert_eq!(found.len() as u64, EVENTS);
    assert!(found == expected, "an event is twice, or not where it was told to be");
    // The control: the same events by another name are others.
    let other = lines(0..1).replace("\"id\":\"0\"", "\"id\":\"other\"");
    let answer = ask(rig.http, "POST", "/v1/events", "application/x-ndjson", &other).expect("it answers");
    assert!(answer.status == 200 && answer.body.contains("\"duplicate\":false"), "{}", answer.body);
    assert_eq!(in_the_log(&rig)[&0].len(), 2, "the check would notice an event that is listed twice");
}

#[test]
fn what_went_with_a_log_that_was_put_back_is_taken_again_and_what_it_kept_is_not() {
    let rig = Rig::new("put-back");
    let (log, copy) = (rig.collector_data().join("log"), rig.folder.join("copy"));
    let again = |ids| posted(rig.http, ids).into_iter().map(|(id, _, again)| (id, again)).collect::<Vec<_>>();
    let collector = rig.start_collector();
    assert_eq!(again(0..2), [(0, false), (1, false)]);
    assert!(collector.terminate().success());
    copy_files(&log, &copy);
    let collector = rig.start_collector();
    assert_eq!(again(0..4), [(0, true), (1, true), (2, false), (3, false)], "the control: once is once");
    assert!(collector.terminate().success());

    // The log alone is put back: what is derived from it stands beside it, and knows more.
    std::fs::remove_dir_all(&log).expect("it can be removed");
    copy_files(&copy, &log);
    let collector = rig.start_collector();
    assert_eq!(again(3..4), [(3, false)], "nothing else stands there");
    assert_eq!(again(0..4), [(0, true), (1, true), (2, false), (3, true)]);
    assert!(collector.terminate().success());
    let _collector = rig.start_collector();
    assert_eq!(again(0..4), [0, 1, 2, 3].map(|id| (id, true)));
    let once = in_the_log(&rig).into_iter().map(|(id, offsets)| (id, offsets.len())).collect::<Vec<_>>();
    assert_eq!(once, [0, 1, 2, 3].map(|id| (id, 1)));
}

#[test]
fn bad_input_is_refused_with_what_is_wrong_and_nothing_of_it_is_appended() {
    let rig = Rig::new("bad-posts");
    let _collector = rig.start_collector();
    posted(rig.http, 0..1);
    let end = rig.log_end();
    let ndjson = "application/x-ndjson";
    let large = json!("x".repeat(10 << 20)).to_string();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let event = lines(7..8);
    let deep_data = event.replace("{\"number\":7}", &deep);
    assert_ne!(deep_data, event);
    let second_is_wrong = event.clone() + &event.replace("1.0", "9.9");
    for (status, kind, body) in [
        (415, "text/plain", event.as_str()),
        (400, ndjson, "{"),
        (400, ndjson, &event.replace("\"1.0\"", &deep)),
        (422, ndjson, &deep),
        (422, ndjson, &deep_data),
        (400, "application/cloudevents-batch+json", "{}"),
        (413, ndjson, &large),
        (413, ndjson, &lines(0..1001)),
        (422, ndjson, "[]"),
        (422, ndjson, &second_is_wrong),
        (422, ndjson, &event.replace(KIND, "afferent.breakdown.v1")),
        (422, ndjson, &event.replace("88-C", "\\u0007")),
        (422, ndjson, &event.replace("/counter/7", "collector")),
    ] {
        let answer = match ask(rig.http, "POST", "/v1/events", kind, body) {
            Ok(answer) => answer,
            // Whoever sends 10 MB may be hung up on while it still sends.
            Err(error) => {
                assert_eq!(status, 413, "{error}");
                continue;
            }
        };
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for path in ["?cursor=x", "?until=1&from=2", "?time=x", "?severity=x", "?limit=-1", "?from=99999"] {
        let answer = ask(rig.http, "GET", &format!("/v1/events{path}"), ndjson, "").expect("it answers");
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.body);
    }
    assert_eq!(rig.log_end(), end, "nothing was appended");
    assert!(rig.collector_figure("afferent_requests_refused_total") >= Some(17), "refusals are counted");
    let markup = event.replace("\"number\":7", "\"number\":7,\"text\":\"<script>\\u0000</script>\"");
    let answer = ask(rig.http, "POST", "/v1/events", ndjson, &markup).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let back = rig.events().into_iter().find(|event| event["id"] == "7").expect("it is given back");
    assert_eq!((&back["data"]["text"], &back["source"]), (&json!("<script>\0</script>"), &json!("/counter/7")));
}
