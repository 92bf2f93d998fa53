//! One wrong clock spoils no figure.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use afferent_protocol::batch::{BatchBuilder, ClockReading};
use afferent_protocol::event::{Body, Event, Recovery};
use afferent_protocol::ids::{Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_tests::process::{Mqtt, Reason, Rig, Sealer, binary, down, get, get_text, run_to_end, up, wait_for};
use serde_json::{Value, json};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// A machine is loaded, and messages take their time: what is said to be right is so within this.
const NEAR_US: i64 = 100 * SECOND_US;

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_micros()).expect("it is before the year 294247")
}

fn micros(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is no time"));
    text.parse::<jiff::Timestamp>().expect("a time in RFC 3339").as_microsecond()
}

fn json_of(rig: &Rig, path: &str) -> Value {
    let text = wait_for(path, || get_text(rig.http, path));
    serde_json::from_str(&text).expect("the API answers with JSON")
}

fn models(arguments: &[&str]) -> (bool, String) {
    let (status, printed) = run_to_end(Command::new(binary("afferent-collector")).arg("models").args(arguments));
    (status.success(), printed)
}

/// What the clocks of a machine show that was booted 5000 s ago: its wall clock is off by so much.
pub(super) fn clock_of_machine(booted_us: i64, off_us: i64) -> ClockReading {
    let now = now_us();
    let monotonic_us = u64::try_from(now - booted_us).expect("it was booted before");
    ClockReading { wall: Timestamp::clamped(now + off_us), monotonic_us, synchronised: false, boot: [7; 16] }
}

/// Proves to be the source, and says what its clocks show.
pub(super) fn prove(sealer: &Sealer, mqtt: &mut Mqtt, clock: impl Fn() -> ClockReading) {
    let name = sealer.lineage.source;
    mqtt.subscribe(&down(name.as_str())).expect("it may listen to its own topic");
    let mut answer = Nonce::NONE;
    loop {
        let lane = Lane { stream: sealer.lineage.stream, epoch: sealer.lineage.epoch };
        let held = Held { lane, first: sealer.lineage.first, end: sealer.lineage.first };
        let said = Up {
            log_id: [0; 16],
            nonce: Nonce([1; 16]),
            answer,
            key: sealer.identity.public_key(),
            instance: Instance([7; 16]),
            clock: clock(),
            former: Vec::new(),
            content: UpContent::Control(Control::Hello(Hello { session: 1, lanes: [held].into_iter().collect() })),
        };
        let taken = mqtt.publish(up(name.as_str()), &said.sign(&name, &sealer.identity)).expect("it is answered");
        assert_eq!(taken, Reason::SUCCESS, "its hello is refused");
        let welcome = Down::read(&mqtt.next_message().expect("it is welcomed")).expect("it is a signed message");
        if welcome.claim().is_proved {
            return;
        }
        answer = welcome.claim().answer;
    }
}

/// The next batch: one event of the time that its clock shows.
pub(super) fn seal(sealer: &mut Sealer, code: &str, clock: &ClockReading) -> Vec<u8> {
    let body = Body::Recovery(Recovery { code, message: "" });
    let mut builder = BatchBuilder::new();
    let subject = Subject::new("88-C").expect("it is a path");
    builder.push(&Event { time: clock.wall, subject, body }).expect("one event fits");
    let mut bytes = Vec::new();
    let (header, chain) = builder.seal(&sealer.lineage, clock, &sealer.identity, &mut bytes);
    (sealer.lineage.first, sealer.lineage.previous) = (header.end(), chain);
    bytes
}

#[test]
fn a_clock_that_is_ten_days_slow_moves_no_event_and_is_no_lag() {
    let rig = Rig::new("clock-slow");
    let collector = rig.start_collector();
    let mut sealer = Sealer::new("press-88", 5);
    let mut mqtt = Mqtt::connect_as(rig.mqtt, "press-88").expect("it is let in");
    let booted = now_us() - 5000 * SECOND_US;
    prove(&sealer, &mut mqtt, || clock_of_machine(booted, -10 * DAY_US));
    // One of now; and one of 2000 s ago, before somebody set the clock by ten days more.
    let fresh = seal(&mut sealer, "fresh", &clock_of_machine(booted, -10 * DAY_US));
    let clock = clock_of_machine(booted, -20 * DAY_US);
    let stepped = ClockReading {
        wall: Timestamp::clamped(clock.wall.micros() - 2000 * SECOND_US),
        monotonic_us: clock.monotonic_us - 2000 * 1_000_000,
        ..clock
    };
    let stepped = seal(&mut sealer, "stepped", &stepped);
    for (code, batch, ago_us, off_us) in
        [("stepped", [fresh, stepped].concat(), 2000 * SECOND_US, 20 * DAY_US), ("fresh", Vec::new(), 0, 10 * DAY_US)]
    {
        if !batch.is_empty() {
            let taken = mqtt.publish(up("press-88"), &batch).expect("it is answered");
            assert_eq!(taken, Reason::SUCCESS);
        }
        let event = rig.wait_logged(code);
        let (said, came) = (micros(&event["time"]), micros(&event["ingesttime"]));
        assert!((came - ago_us - micros(&event["correctedtime"])).abs() < NEAR_US, "{event}");
        assert!(came - said > off_us - NEAR_US, "the control: by its own clock it is of long ago: {event}");
    }

    let lag_s = || {
        let report = json_of(&rig, "/v1/agents");
        let agent = report["agents"].as_array()?.iter().find(|agent| agent["name"] == "press-88")?.clone();
        Some((agent["lag_s"].as_f64()?, agent["state"].as_str()?.to_owned()))
    };
    let (lag, state) = wait_for("its clock is measured", lag_s);
    // The batch that came last was made 2000 s before; by the clocks alone it would be 1,730,000 s.
    assert!((1900.0..2100.0).contains(&lag) && state == "online", "{lag} {state}");
    let figure = rig.collector_figure("afferent_agent_lag_seconds").expect("it has a figure");
    assert!((1900..2100).contains(&figure), "{figure}");
    let http = rig.http.to_string();
    let (_, printed) = run_to_end(Command::new(binary("afferent-collector")).args(["agents", "--http", &http]));
    assert!(printed.contains(" min ") && !printed.contains(" h "), "{printed}");

    drop(mqtt);
    wait_for("it is gone, and its lag grows", || lag_s().filter(|(now, state)| state == "offline" && *now > lag + 1.0));
    collector.terminate();
    let data = rig.collector_data();
    let (status, printed) =
        run_to_end(Command::new(binary("afferent-collector")).args(["log", "verify", "--data"]).arg(&data));
    assert!(status.success(), "attestations bind what was measured: {printed}");
    let (_, dumped) = run_to_end(Command::new(binary("afferent-collector")).args(["log", "dump", "--data"]).arg(&data));
    assert_eq!(dumped.matches("\"correctedtime\"").count(), 2, "{dumped}");
}

#[test]
fn history_is_believed_however_old_and_2099_and_1970_are_not() {
    let rig = Rig::new("clock-history");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let now = now_us();
    let cases = [
        ("of-2013", 1_386_000_000 * SECOND_US, false),
        ("of-2021", 1_631_577_271 * SECOND_US, false),
        ("in-5-minutes", now + 300 * SECOND_US, false),
        ("of-2099", 4_070_908_800 * SECOND_US, true),
        ("of-1970", 60 * SECOND_US, true),
    ];
    let line = |(code, time, _): &(&str, i64, bool)| {
        let time = jiff::Timestamp::from_microsecond(*time).expect("a time of this calendar");
        format!("{{\"subject\":\"88-C\",\"time\":\"{time}\",\"type\":\"recovery\",\"code\":\"{code}\"}}\n")
    };
    let mut producer = rig.producer();
    producer.send(cases.iter().map(line).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(cases.len() as u64).expect("the agent answers");
    for (code, time, is_corrected) in cases {
        let event = rig.wait_logged(code);
        assert_eq!(micros(&event["time"]), time, "what came in stays: {event}");
        assert_eq!(event.get("correctedtime").is_some(), is_corrected, "{event}");
        if is_corrected {
            assert!((micros(&event["ingesttime"]) - micros(&event["correctedtime"])).abs() < NEAR_US, "{event}");
        }
    }
}

#[test]
fn figures_that_are_made_again_after_retention_say_from_where_they_count() {
    let mut rig = Rig::new("clock-counts-from");
    rig.collector_extra = "storage.segment_mib = 1\n".into();
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let count = 6000;
    let line =
        |number: u64| format!("{{\"subject\":\"88-C/spindle/note\",\"value\":\"{number} {}\"}}\n", "x".repeat(1000));
    let mut producer = rig.producer();
    rig.break_down("EARLY");
    producer.send((0..count).map(line).collect::<String>().as_bytes()).expect("the agent reads");
    producer.wait_accepted(count).expect("the agent answers");
    wait_for("all of it is in the log", || (rig.log_end()? > count && rig.agent_lag()? == 0).then_some(()));
    let seen = |rig: &Rig| {
        let end = rig.log_end()?;
        let list: Value = serde_json::from_str(&get_text(rig.http, "/v1/models")?).ok()?;
        let offset = |model: &Value| model["offset"].as_str().and_then(|offset| offset.parse::<u64>().ok());
        let is_live = |model: &Value| model["state"] == "live" && offset(model).is_some_and(|offset| offset + 9 > end);
        list.as_array()?.iter().all(is_live).then_some(())
    };
    wait_for("the models have seen it", || seen(&rig));
    let of = |rig: &Rig| json_of(rig, "/v1/models/breakdowns");
    let before = of(&rig);
    assert_eq!(
        (&before["counts_from"]["offset"], before["state"]["episodes"].to_string().contains("EARLY")),
        (&json!("0"), true)
    );
    collector.terminate();

    rig.collector_extra += "retention.size_mib = 3\n";
    let _collector = rig.start_collector();
    let first = wait_for("the oldest segments are gone", || {
        rig.collector_figure("afferent_log_first_offset").filter(|first| *first > 0)
    });
    assert_eq!(of(&rig)["counts_from"]["offset"], "0", "what it has seen it has seen");
    let http = rig.http.to_string();
    let (done, printed) = models(&["recompute", "breakdowns", "--http", &http]);
    assert!(done, "{printed}");
    let after = of(&rig);
    assert!(!after["state"]["episodes"].to_string().contains("EARLY"), "the control: the past is shorter: {after}");
    let from: u64 = after["counts_from"]["offset"].as_str().and_then(|text| text.parse().ok()).expect("an offset");
    assert!(from >= first, "{after}");
    assert!(micros(&after["counts_from"]["time"]) > micros(&before["counts_from"]["time"]), "{after}");
    let (_, printed) = models(&["show", "breakdowns", "--http", &http]);
    assert!(printed.contains(&format!("; counted from offset {from}, ")), "{printed}");
    let listed = json_of(&rig, "/v1/models");
    let breakdowns = listed.as_array().and_then(|list| list.iter().find(|model| model["name"] == "breakdowns"));
    assert_eq!(breakdowns.expect("it is listed")["counts_from"], after["counts_from"]);
    let data = rig.collector_data();
    let log = ["--log", data.to_str().expect("a path of letters"), "--output", "json"];
    let (_, printed) = models(&[&["show", "breakdowns"][..], &log].concat());
    assert!(printed.contains(r#""counts_from""#) && !printed.contains(r#""offset": "0""#), "{printed}");
}

#[test]
fn states_breakdowns_and_alarms_are_asked_for_by_machine_and_event_time_in_pages() {
    let rig = Rig::new("clock-spans");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let time = |second: i64| 1_700_000_000 * SECOND_US + second * SECOND_US;
    let text = |second: i64| jiff::Timestamp::from_microsecond(time(second)).expect("a time").to_string();
    let mut lines = String::new();
    for machine in ["88-C", "77-A"] {
        for (second, rest) in [
            (0, r#""type":"state","state":"executing""#),
            (100, r#""type":"breakdown","code":"ONE","severity":"error""#),
            (200, r#""type":"recovery","code":"ONE""#),
            (300, r#""type":"breakdown","code":"TWO","severity":"error""#),
            (400, r#""type":"recovery","code":"TWO""#),
        ] {
            lines += &format!("{{\"subject\":\"{machine}\",\"time\":{},{rest}}}\n", time(second));
        }
    }
    let mut producer = rig.producer();
    producer.send(lines.as_bytes()).expect("the agent reads");
    producer.wait_accepted(10).expect("the agent answers");
    let codes = |answer: &Value| -> Vec<String> {
        let rows = answer["state"]["episodes"].as_array().expect("a list").iter();
        rows.map(|row| format!("{} {}", row["machine"].as_str().unwrap(), row["code"].as_str().unwrap())).collect()
    };
    wait_for("the models have seen it", || (codes(&json_of(&rig, "/v1/models/breakdowns")).len() == 4).then_some(()));

    let (from, until) = (text(150), text(250));
    let span = format!("machine=88-C&from={from}&until={until}");
    assert_eq!(codes(&json_of(&rig, &format!("/v1/models/breakdowns?{span}"))), ["88-C ONE"]);
    let http = rig.http.to_string();
    let arguments = ["show", "breakdowns", "--machine", "88-C", "--from", &from, "--until", &until, "--output", "json"];
    let (_, printed) = models(&[&arguments[..], &["--http", &http]].concat());
    assert_eq!(codes(&serde_json::from_str(&printed).expect("JSON")), ["88-C ONE"]);
    let states = json_of(&rig, &format!("/v1/models/states?{span}"));
    let intervals = states["state"]["machines"]["88-C"]["intervals"].as_array().expect("a list");
    assert!(!intervals.is_empty() && states["state"]["machines"].get("77-A").is_none(), "{states}");
    for interval in intervals {
        let ends_before = interval["until"].as_str().is_some_and(|_| micros(&interval["until"]) <= time(150));
        assert!(!ends_before && micros(&interval["from"]) < time(250), "{interval}");
    }

    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json_of(&rig, &format!("/v1/models/breakdowns?limit=3{cursor}"));
        pages.push(codes(&page));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    let mut all = pages.concat();
    all.sort();
    assert_eq!(all, ["77-A ONE", "77-A TWO", "88-C ONE", "88-C TWO"]);
    for refused in ["last?from=2026-01-01T00:00:00Z", "states?from=soon", "states?limit=0", "states?cursor=x"] {
        let (status, body) = get(rig.http, &format!("/v1/models/{refused}")).expect("it answers");
        assert_eq!(status, 400, "{refused}: {}", String::from_utf8_lossy(&body));
    }
}
