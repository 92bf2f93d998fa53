//! `tap`: a look at what comes, of which nothing remains.

use afferent_tests::process::{Process, Rig};

use super::*;

#[test]
fn a_tap_shows_what_comes_from_now_on_and_leaves_no_trace() {
    let rig = Rig::new("tap");
    let _collector = rig.start_collector();
    post(&rig, 0..50);
    let words = format!("tap --output json --type {KIND} --limit 30");
    let mut tap = Process::start("tap", &mut asking(&rig, &words), &rig.folder.join("tap.log"));
    let mut told = Vec::new();
    for number in 50.. {
        // Whether it listens already is told by what it shows.
        told.extend(post(&rig, number..number + 1));
        if !tap.is_running() {
            break;
        }
    }
    let shown = numbers(&tap.printed());
    let first = told.iter().position(|event| *event == shown[0]).expect("nothing of before is shown");
    assert!(shown.len() == 30 && shown == told[first..first + 30], "{shown:?}");
    assert!(tap.wait().success());
    assert!(said(&rig, "lag").contains("there are no subscriptions"), "the collector keeps nothing of it");
}

#[test]
fn the_last_so_many_offsets_come_first() {
    let rig = Rig::new("tap-last");
    let _collector = rig.start_collector();
    post(&rig, 0..100);
    let before = rig.log_end().expect("it tells its end");
    let shown = said(&rig, "tap --last 20 --limit 20 --output json");
    let after = rig.log_end().expect("it tells its end");
    let offset = |line: &str| decimal(&serde_json::from_str::<Value>(line).expect("JSON")["offset"]);
    let offsets: Vec<u64> = shown.lines().map(offset).collect();
    assert!((before - 20..=after - 20).contains(&offsets[0]), "{offsets:?} of {before}");
    assert!(offsets.iter().copied().eq(offsets[0]..offsets[0] + 20), "{offsets:?}");
    let all = said(&rig, "tap --last 99999 --limit 1 --output json");
    assert_eq!(offset(all.trim()), 0, "more than there are is all");
}
