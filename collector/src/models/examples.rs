//! Inputs that once led to wrong figures, each with the correct figures and with values that must not occur again.

use afferent_protocol::event::{Event, MachineState};
use serde_json::{Value, json};

use super::testing::{Log, TestEvent, at, breakdown, recovery, sample, state};
use super::{BuiltIn, time};
use MachineState::{Executing, NotExecuting};

/// Eight o'clock of a day whose clock is trusted, in seconds.
const EIGHT: i64 = 1_793_520_000;
/// A clock that is decades ahead.
const YEAR_2099: i64 = 4_070_908_800;

fn told<'e>(event: Event<'e>, ingest_s: i64) -> TestEvent<'e> {
    TestEvent { source: "press-88", epoch: 1, event, ingest: at(EIGHT + ingest_s) }
}

/// The three views of the machine 88-C and the breakdowns, of a log in this order of arrival.
fn views(log: &[TestEvent<'_>], now_s: i64) -> (Value, Value, Vec<Value>) {
    let log = Log::from(log.iter().copied());
    let view = |name: &str| {
        let model = BuiltIn::new(name, toml::Table::new()).unwrap().build();
        log.fold_any(model).view(at(EIGHT + now_s))
    };
    let machine = |name: &str| view(name)["machines"]["88-C"].clone();
    (machine("states"), machine("kpi"), view("breakdowns")["episodes"].as_array().unwrap().clone())
}

/// Seconds after eight.
fn second(time: &Value) -> Option<i64> {
    let time: jiff::Timestamp = time.as_str()?.parse().unwrap();
    Some(time.as_second() - EIGHT)
}

/// Begin and end of the breakdowns.
fn spans(episodes: &[Value]) -> Vec<(i64, Option<i64>)> {
    episodes.iter().map(|episode| (second(&episode["from"]).unwrap(), second(&episode["until"]))).collect()
}

/// Begin and end of the times when the machine was not available, as `states` shows it.
fn not_available(states: &Value) -> Vec<(i64, Option<i64>)> {
    let intervals = states["intervals"].as_array().unwrap().iter();
    let down = intervals.filter(|interval| interval["state"] == "not_available");
    down.map(|interval| (second(&interval["from"]).unwrap(), second(&interval["until"]))).collect()
}

#[test]
fn one_wrong_clock_spoils_no_figure() {
    let log = [
        told(state(EIGHT, "88-C", Executing), 0),
        told(sample(EIGHT + 1800, "88-C/x", 1.0), 1800),
        told(state(EIGHT + 3600, "88-C", NotExecuting), 3600),
        told(sample(YEAR_2099, "88-C/x", 1.0), 3600),
    ];
    let (states, kpi, _) = views(&log, 3601);
    assert_eq!((&kpi["idle_s"], &kpi["availability"]), (&json!(0.0), &json!(1.0)));
    assert_eq!(kpi["corrected"], json!({ "moved": 0, "ingest": 1 }));
    assert_eq!((&states["state"], second(&states["last_event"])), (&json!("not_executing"), Some(3600)));

    let count = |seconds: i64, value| told(sample(EIGHT + seconds, "88-C/produced", value), seconds);
    let ahead = told(sample(YEAR_2099, "88-C/produced", 101.0), 1);
    let (_, kpi, _) = views(&[count(0, 100.0), ahead, count(2, 110.0), count(3, 120.0), count(4, 130.0)], 5);
    assert_eq!(kpi["produced"], 30.0);

    // Its clock was never set: its time is the moment of its ingest.
    let log = [told(state(0, "88-C", Executing), 10), told(state(EIGHT + 20, "88-C", NotExecuting), 20)];
    assert_eq!(views(&log, 21).1["operating_s"], 10.0);
    // An old one is trusted, and a time without reports is silence.
    let log =
        [told(state(EIGHT - 90_000_000, "88-C", Executing), 10), told(state(EIGHT + 20, "88-C", NotExecuting), 20)];
    let (_, kpi, _) = views(&log, 21);
    assert_eq!((&kpi["operating_s"], &kpi["unknown_s"]), (&json!(900.0), &json!(90_000_020.0 - 900.0)));
}

#[test]
fn reports_that_are_repeated_eat_no_history() {
    let mut log: Vec<_> = (0..3600).map(|second| told(state(EIGHT + second, "88-C", Executing), second)).collect();
    let (states, ..) = views(&log, 3600);
    assert_eq!((second(&states["since"]), states["intervals"].as_array().unwrap().len()), (Some(0), 1));
    log.push(told(breakdown(EIGHT + 600, "88-C", "E1", ""), 3600));
    log.push(told(recovery(EIGHT + 900, "88-C", "E1"), 3600));
    let (states, kpi, episodes) = views(&log, 3601);
    assert_eq!((&kpi["failures"], &kpi["down_s"], &kpi["mttr_s"]), (&json!(1), &json!(1.0), &json!(1.0)));
    assert_eq!(spans(&episodes), [(600, Some(601))]);
    assert_eq!(not_available(&states), [(600, Some(601))]);
    assert_eq!((&states["late"], &kpi["late"]), (&json!(0), &json!(0)));
}

#[test]
fn breakdowns_do_not_depend_on_the_order_of_arrival() {
    let executing = |seconds: i64| told(state(EIGHT + seconds, "88-C", Executing), seconds);
    let broken = |seconds: i64, ingest| told(breakdown(EIGHT + seconds, "88-C", "E1", ""), ingest);
    let recovered = |seconds: i64, ingest| told(recovery(EIGHT + seconds, "88-C", "E1"), ingest);
    for (log, right) in [
        (vec![executing(0), executing(300), executing(900), broken(60, 901)], vec![(60, Some(300))]),
        (vec![recovered(300, 300), broken(60, 301), executing(900)], vec![(60, Some(300))]),
        (vec![broken(600, 600), broken(60, 601), recovered(120, 602)], vec![(60, Some(120)), (600, None)]),
    ] {
        let (states, kpi, episodes) = views(&log, 901);
        assert_eq!(spans(&episodes), right);
        assert_eq!(not_available(&states), right);
        assert_eq!(kpi["failures"], right.len());
    }
}

#[test]
fn what_is_about_one_part_says_nothing_of_another() {
    let log = [
        told(state(EIGHT, "88-C", Executing), 0),
        told(breakdown(EIGHT + 100, "88-C/belt", "E1", ""), 100),
        told(breakdown(EIGHT + 120, "88-C/pump", "E1", ""), 120),
        told(recovery(EIGHT + 200, "88-C/belt", "E1"), 200),
        told(recovery(EIGHT + 300, "88-C/pump", ""), 300),
        told(sample(EIGHT + 400, "88-C/x", 1.0), 400),
    ];
    let (states, kpi, episodes) = views(&log, 401);
    assert_eq!((&kpi["down_s"], &kpi["failures"]), (&json!(200.0), &json!(1)), "they overlap");
    assert_eq!(spans(&episodes), [(100, Some(200)), (120, Some(300))]);
    let down = not_available(&states);
    assert_eq!((down.first().unwrap().0, down.last().unwrap().1), (100, Some(300)));

    let count = |at, station, value| told(sample(EIGHT + at, station, value), at);
    let (one, two) = ("88-C/st1/produced", "88-C/st2/produced");
    let log = [(0, one, 100.0), (0, two, 5000.0), (1, one, 110.0), (1, two, 5010.0), (2, one, 120.0), (2, two, 5020.0)];
    let log = log.map(|(at, station, value)| count(at, station, value));
    assert_eq!(views(&log, 3).1["produced"], 40.0);
}

#[test]
fn silence_is_no_state() {
    let log = [told(state(EIGHT, "88-C", Executing), 0), told(state(EIGHT + 54_000, "88-C", NotExecuting), 54_000)];
    let (states, kpi, _) = views(&log, 54_001);
    assert_eq!((&kpi["operating_s"], &kpi["unknown_s"]), (&json!(900.0), &json!(53_100.0)));
    let shown: Vec<_> = states["intervals"].as_array().unwrap().iter().map(|interval| &interval["state"]).collect();
    assert_eq!(shown, ["executing", "no_data", "not_executing"]);
    let (states, ..) = views(&log[..1], 1000);
    assert_eq!((&states["state"], second(&states["since"])), (&json!("no_data"), Some(900)));
    assert_eq!(states["intervals"][0]["until"], time(at(EIGHT + 900)));
}

#[test]
fn mtbf_is_the_mean_operating_time_between_consecutive_failures() {
    let mut log = vec![told(state(EIGHT, "88-C", Executing), 0)];
    for (from, until) in [(0, 50), (250, 300), (550, 600)] {
        log.push(told(breakdown(EIGHT + from, "88-C", "E1", ""), from));
        log.push(told(recovery(EIGHT + until, "88-C", "E1"), until));
    }
    let (_, kpi, _) = views(&log, 600);
    assert_eq!((&kpi["failures"], &kpi["operating_s"]), (&json!(3), &json!(450.0)));
    assert_eq!(
        (&kpi["mtbf_s"], &kpi["mttr_s"]),
        (&json!(225.0), &json!(50.0)),
        "450 s by three failures would be 150 s"
    );
    assert_eq!(views(&log[..3], 600).1["mtbf_s"], Value::Null, "one failure has nothing between");
}

#[test]
fn a_restoration_that_was_not_heard_of_meanwhile_took_its_time_all_the_same() {
    let log = [
        told(state(EIGHT, "88-C", Executing), 0),
        told(breakdown(EIGHT + 100, "88-C", "E1", ""), 100),
        told(recovery(EIGHT + 7300, "88-C", "E1"), 7300),
    ];
    let (_, kpi, episodes) = views(&log, 7300);
    assert_eq!((&kpi["down_s"], &kpi["mttr_s"]), (&json!(900.0), &json!(7200.0)));
    assert_eq!(spans(&episodes), [(100, Some(7300))]);
}

#[test]
fn jitter_is_no_reset_and_a_breakdown_in_maintenance_no_failure() {
    let count = |at, value| told(sample(EIGHT + at, "88-C/produced", value), at);
    let log = [count(0, 100.0), count(1, 110.0), count(1, 109.0), count(2, 111.0)];
    assert_eq!(views(&log, 3).1["produced"], 11.0);
    let log = [
        told(state(EIGHT, "88-C", MachineState::OutOfService), 0),
        told(breakdown(EIGHT + 10, "88-C", "E1", ""), 10),
        told(recovery(EIGHT + 20, "88-C", "E1"), 20),
        told(sample(EIGHT + 30, "88-C/x", 1.0), 30),
    ];
    let (states, kpi, episodes) = views(&log, 30);
    assert_eq!((&kpi["failures"], &kpi["down_s"], &kpi["out_of_service_s"]), (&json!(0), &json!(0.0), &json!(30.0)));
    assert_eq!((not_available(&states), spans(&episodes)), (vec![], vec![(10, Some(20))]), "and it is listed");
}

#[test]
fn late_events_are_counted_and_named_and_a_rebuild_puts_them_in() {
    let day = 86_400;
    let words = |seconds: i64| format!("note {seconds}");
    let texts: Vec<String> = (0..3000).map(words).collect();
    let codes: Vec<_> =
        texts.iter().zip(0..).map(|(text, n)| told(breakdown(EIGHT + 10 * day + n, "88-C", text, text), n)).collect();
    let late =
        [told(breakdown(EIGHT + 60, "88-C/belt", "E1", ""), 0), told(recovery(EIGHT + 90, "88-C/belt", "E1"), 0)];
    let log = Log::from(codes.iter().copied().chain(late));
    for name in ["states", "kpi", "breakdowns"] {
        let mut model = log.fold_any(BuiltIn::new(name, toml::Table::new()).unwrap().build());
        let view = model.view(at(0))["machines"]["88-C"].clone();
        assert!(view["horizon"].as_str().unwrap() > "2026-11-01T", "{view}");
        assert_eq!((&view["late"], &view["late_first"]["subject"]), (&json!(2), &json!("88-C/belt")), "{name}");
        assert_eq!(view["late_last"]["offset"], "3001");
        assert!(model.save().len() < 64 << 10, "{name}: {} bytes", model.save().len());

        model = BuiltIn::new(name, toml::Table::new()).unwrap().build();
        model.sort(true);
        let mut model = log.fold_any(model);
        model.sort(false);
        let mended = model.view(at(0))["machines"]["88-C"].clone();
        assert_eq!(mended["late"], 0, "{name}");
        assert!(model.save().len() < 64 << 10, "{name}: {} bytes", model.save().len());
        let sorted = Log::from(late.into_iter().chain(codes.iter().copied()));
        let right = sorted.fold_any(BuiltIn::new(name, toml::Table::new()).unwrap().build());
        let figures = |view: &Value| (view["failures"].clone(), view["down_s"].clone(), view["state"].clone());
        assert_eq!(figures(&mended), figures(&right.view(at(0))["machines"]["88-C"]), "{name}");
    }
}

#[test]
fn figures_name_what_they_count_from() {
    let (_, kpi, _) =
        views(&[told(state(EIGHT + 5, "88-C", Executing), 7), told(sample(EIGHT + 9, "88-C/x", 1.0), 9)], 9);
    assert_eq!((second(&kpi["from"]), second(&kpi["until"])), (Some(5), Some(9)));
}
