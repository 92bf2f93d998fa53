//! `sub --name` and `lag`: a place that the collector keeps, over the death of whoever reads and of the collector.

use afferent_tests::process::{Piped, Rig};

use super::*;

/// The place of the only subscription, and its lag, as `lag` tells.
fn place_and_lag(rig: &Rig) -> (u64, u64) {
    let told: Value = serde_json::from_str(&said(rig, "lag --output json")).expect("JSON");
    let of_all = told.as_array().filter(|all| all.len() == 1).unwrap_or_else(|| panic!("one subscription: {told}"));
    let places: Vec<u64> = of_all[0]["cursors"].as_array().expect("places").iter().map(decimal).collect();
    (*places.iter().min().expect("it has shares"), decimal(&of_all[0]["lag"]))
}

#[test]
fn whoever_is_killed_in_mid_stream_is_followed_from_the_last_commit_on() {
    const SUB: &str = "sub --name count --from first --output json";
    const EVENTS: usize = 6000;
    const READ: usize = 3500;
    let rig = Rig::new("sub-killed");
    let collector = rig.start_collector();
    let told = post(&rig, 0..EVENTS as u64);
    let sub = format!("{SUB} --type {KIND}");
    let log = rig.folder.join("sub.log");
    let mut first = Piped::start("sub", &mut asking(&rig, &format!("{sub} --member one")), &log);
    // It is in the middle of a request's events: what is not read does not fit the pipe.
    let read: Vec<_> = first.read_lines(READ).iter().map(|line| number_and_offset(line)).collect();
    assert!(read == told[..READ], "in order, each once");
    first.process.signal(rustix::process::Signal::KILL);
    first.hang_up().wait();

    let end = rig.log_end().expect("it tells its end");
    let (place, lag) = place_and_lag(&rig);
    assert!((end - place..=rig.log_end().expect("it tells its end") - place).contains(&lag), "{lag} at {place}");
    let committed = told.iter().take_while(|(_, offset)| *offset < place).count();
    // Nothing that was not written is committed; and what was not committed comes again.
    assert!(committed > 0 && committed < READ, "{committed} of {READ} are committed");
    let table = said(&rig, "lag");
    let row = table.lines().find(|line| line.starts_with("count ")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains(&lag.to_string()) && row.ends_with("one"), "{table}");

    let second = numbers(&said(&rig, &format!("{sub} --member one --limit 1000")));
    assert!(second == told[committed..committed + 1000], "it goes on after the last commit");
    let (place, _) = place_and_lag(&rig);
    collector.kill();
    let _collector = rig.start_collector();
    assert_eq!(place_and_lag(&rig).0, place, "the place is on disk");
    let left = EVENTS - committed - 1000;
    let third = numbers(&said(&rig, &format!("{sub} --limit {left}")));
    assert!(third == told[committed + 1000..], "another one goes on where it was");
    let (place, lag) = place_and_lag(&rig);
    assert!(place > told[EVENTS - 1].1 && lag <= rig.log_end().expect("it tells its end") - place, "{lag} at {place}");
    // The control: without a name there is no place, and it begins where it begins.
    for _ in 0..2 {
        let unnamed = said(&rig, &format!("sub --from first --output json --type {KIND} --limit 10"));
        assert!(numbers(&unnamed) == told[..10], "{unnamed}");
    }
}

#[test]
fn a_name_that_is_none_or_has_another_filter_is_refused_with_what_to_do() {
    let rig = Rig::new("sub-refused");
    let _collector = rig.start_collector();
    post(&rig, 0..1);
    assert!(said(&rig, "lag").contains("there are no subscriptions"));
    said(&rig, &format!("sub --name count --from first --type {KIND} --limit 1"));
    for (words, told) in [
        ("sub --name count --type state", "delete it first, or choose another name"),
        ("sub --name a/b", "use letters, digits"),
        ("sub --member one", "--name"),
        ("sub --from yesterday", "RFC 3339"),
    ] {
        let said = run_in_pipe(&mut asking(&rig, words), b"");
        assert!(!said.status.success() && said.err.contains(told), "{words}: {}", said.err);
    }
}
