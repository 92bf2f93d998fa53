//! `replay`: the log, or a part of it, in its order and at its pace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use afferent_tests::process::{Process, Rig, get_text, wait_for};

use super::*;

#[test]
fn a_replay_is_the_log_in_its_order_or_the_part_that_was_asked_for() {
    let rig = Rig::new("replay-parts");
    let _collector = rig.start_collector();
    // More than go into one page.
    let told = post(&rig, 0..4500);
    let replay = |rest: &str| numbers(&said(&rig, &format!("replay --output json --type {KIND} {rest}")));
    assert!(replay("") == told, "by default it is all of it");
    assert!(replay("--from first --speed max") == told, "all of it");
    let (from, until) = (told[700].1, told[3300].1);
    assert!(replay(&format!("--from {from} --until {until}")) == told[700..3300], "a part by offset");
    assert!(
        replay("--time event --from 2021-09-13T00:10:00Z --until 2021-09-13T01:00:00Z") == told[600..3600],
        "a part by when it happened"
    );
    assert!(replay("--subject other/**").is_empty());

    let whole = said(&rig, "replay --output json");
    let by_api = get_text(rig.http, "/v1/events?limit=all").expect("the API answers");
    assert!(by_api.starts_with(&whole) && whole.lines().count() > told.len(), "byte by byte what the API gives");
    let ingest = |number: u64| {
        let event = rig.events().into_iter().find(|event| event["id"].as_str() == Some(number.to_string().as_str()));
        event.and_then(|event| event["ingesttime"].as_str().map(str::to_owned)).expect("it has an ingest time")
    };
    let (from, until) = (ingest(1000), ingest(3000));
    assert!(from < until, "they were posted one after the other");
    // The oracle knows that these times are texts of one length.
    let is_between = |line: &&str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let came = event["ingesttime"].as_str().expect("a time");
        event["type"] == KIND && (from.as_str()..until.as_str()).contains(&came)
    };
    let expected: Vec<_> = whole.lines().filter(is_between).map(number_and_offset).collect();
    assert!(expected.len() >= 1500 && expected.len() < told.len(), "{} events are between", expected.len());
    assert!(replay(&format!("--from {from} --until {until}")) == expected, "a part by when it came");
}

#[test]
fn a_replay_of_a_log_that_grows_ends_where_the_log_ended() {
    let rig = Rig::new("replay-grows");
    let _collector = rig.start_collector();
    let told = post(&rig, 0..2500);
    let stop = AtomicBool::new(false);
    let replayed = std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in (2500..).step_by(100) {
                post(&rig, at..at + 100);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let replayed = numbers(&said(&rig, &format!("replay --output json --type {KIND}")));
        stop.store(true, Ordering::Relaxed);
        replayed
    });
    let log = in_the_log(&rig);
    assert!(replayed.starts_with(&told), "what was there is replayed");
    assert!(log.starts_with(&replayed) && replayed.len() < log.len(), "{} of {}", replayed.len(), log.len());
}

#[test]
fn the_pauses_between_events_are_kept_and_nothing_waits_unwritten_in_them() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let rig = Rig::new("replay-pace");
    let _collector = rig.start_collector();
    let mut told = post(&rig, 0..1);
    let posted = Instant::now();
    wait_for("a pause", || (posted.elapsed() >= PAUSE).then_some(()));
    told.extend(post(&rig, 1..2));
    let replay = format!("replay --output json --type {KIND} --speed");
    for (speed, at_least) in [("1", PAUSE), ("10", PAUSE / 10), ("0.5", PAUSE * 2)] {
        let begun = Instant::now();
        assert_eq!(numbers(&said(&rig, &format!("{replay} {speed}"))), told);
        assert!(begun.elapsed() >= at_least, "speed {speed} took {:?}", begun.elapsed());
    }
    // At this speed the second event comes after hours; the first one is there.
    let log = rig.folder.join("slow.log");
    let mut slow = Process::start("the slow replay", &mut asking(&rig, &format!("{replay} 0.0001")), &log);
    let first = wait_for("the first event is written", || {
        Some(slow.printed()).filter(|printed| printed.ends_with('\n')).map(|printed| numbers(&printed))
    });
    assert!(first == told[..1] && slow.is_running(), "{first:?}");
    // The control: without pauses both are there.
    assert_eq!(numbers(&said(&rig, &format!("{replay} max"))), told);
}
