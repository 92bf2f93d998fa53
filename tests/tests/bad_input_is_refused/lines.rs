//! The agent's socket.

use std::collections::BTreeMap;

use afferent_agent::limits::LINE_BYTES_MAX;
use afferent_tests::process::{Rig, wait_for};

/// A line that is wrong, what its refusal names, and the remedy that it gives.
fn bad_lines() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let text = |line: &str| line.as_bytes().to_vec();
    let sample = |field: &str| text(&format!("{{\"subject\":\"88-C\",{field}}}"));
    let long = format!("\"value\":\"{}\"", "x".repeat(LINE_BYTES_MAX));
    let not_utf8 = [&b"{\"subject\":\"88-C\",\"value\":\"\xff\"}"[..]].concat();
    vec![
        (sample(&long), "65536 bytes", "send less text"),
        (vec![b'x'; 3 * LINE_BYTES_MAX], "65536 bytes", "send less text"),
        (not_utf8, "byte 28", "send text as UTF-8"),
        (text("\u{0}\u{1}"), "not one JSON object", "at byte 1"),
        (sample("\"value\":NaN"), "no NaN", "leave the sample out"),
        (sample("\"value\":-Infinity"), "no infinity", "leave the sample out"),
        (sample("\"value\":1e999"), "no infinity", "leave the sample out"),
        (sample("\"value\":1,\"unit\":\"furlong\""), "furlong", "UCUM"),
        (sample("\"value\":1,\"time\":\"yesterday\""), "`time` is \"yesterday\"", "write RFC 3339"),
        (sample("\"value\":1,\"time\":\"1969-12-31T23:59:59Z\""), "`time` is", "since 1970"),
        (sample("\"value\":1,\"time\":\"10000-01-01T00:00:00Z\""), "`time` is", "up to the year 9999"),
        (sample("\"value\":1,\"time\":-1"), "`time` is \"-1\"", "microseconds since 1970"),
        (sample("\"value\":1,\"time\":9223372036854775807"), "`time` is", "up to the year 9999"),
        (text("{\"value\":1}"), "`subject` is missing", "a sample needs it"),
        (sample("\"unit\":\"Cel\""), "`value` is missing", "a sample needs it"),
        (sample("\"value\":1,\"severity\":\"error\""), "`severity` is not a field of a sample", "its fields are"),
        (sample("\"type\":\"breakdown\",\"severity\":\"bad\""), "`severity` is \"bad\"", "one of debug"),
        (sample("\"type\":\"lifecycle\""), "`type` is \"lifecycle\"", "only an agent itself"),
        (text("{\"subject\":\"a//b\",\"value\":1}"), "the subject", "write a path"),
        (text("[1]"), "", "at byte"),
        (text("{\"subject\":\"88-C\",\"value\":1"), "not one JSON object", "one whole object belongs on one line"),
    ]
}

#[test]
fn every_bad_line_is_answered_with_what_is_wrong_and_the_good_ones_around_it_are_in_the_log() {
    let rig = Rig::new("bad-lines");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let bad = bad_lines();
    let good = |number: usize| format!("{{\"subject\":\"good\",\"value\":{number},\"unit\":\"1\"}}\n");
    let mut input = good(0).into_bytes();
    for (number, (line, ..)) in bad.iter().enumerate() {
        input.extend(line);
        input.push(b'\n');
        input.extend(good(number + 1).bytes());
    }
    let mut producer = rig.producer();
    let mut writer = producer.writer().expect("a second handle");
    let lines = 2 * bad.len() as u64 + 1;
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, &input).expect("the agent reads"));
        producer.wait_accepted(lines).expect("the agent answers");
    });
    let refused: BTreeMap<u64, &str> = producer.refused().iter().map(|(line, why)| (*line, why.as_str())).collect();
    assert_eq!(refused.len(), producer.refused().len(), "a line is refused once");
    for (number, (_, what, remedy)) in bad.iter().enumerate() {
        let line = 2 * number as u64 + 2;
        let why = refused.get(&line).unwrap_or_else(|| panic!("line {line} was taken; it should be refused: {what}"));
        assert!(why.contains(what) && why.contains(remedy), "line {line} lacks {what:?} or {remedy:?}: {why}");
    }
    assert_eq!(refused.len(), bad.len(), "good lines were refused: {refused:?}");
    let values = || -> Vec<u64> {
        let events = rig.events();
        let good = events.iter().filter(|event| event["subject"] == "good");
        good.filter_map(|event| event["data"]["value"].as_u64()).collect()
    };
    wait_for("all good lines arrive", || (values().len() > bad.len()).then_some(()));
    assert_eq!(values(), (0..=bad.len() as u64).collect::<Vec<_>>());
    assert!(!rig.events().iter().any(|event| event["subject"] == "88-C"), "a refused line is in the log");
}

#[test]
fn a_line_without_an_end_holds_up_nobody_and_is_answered_when_its_producer_leaves() {
    let rig = Rig::new("no-end");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let mut endless = rig.producer();
    endless.send(&vec![b'x'; 8 << 20]).expect("the agent reads on");
    rig.break_down("beside it");
    rig.wait_logged("beside it");
    endless.writer().and_then(|writer| writer.shutdown(std::net::Shutdown::Write)).expect("it can be closed");
    while endless.refused().is_empty() {
        endless.answer().expect("the agent answers");
    }
    let (line, why) = &endless.refused()[0];
    assert!(*line == 1 && why.contains("65536 bytes"), "{line}: {why}");
}
