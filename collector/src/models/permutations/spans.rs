//! Key figures of spans: they are those of a naive fold of the span, and those of consecutive spans add up.

use super::*;
use crate::models::span::Span;

const CASES: u32 = 300;

/// The growth of counters, where the value that shows it is within this time.
fn grown(case: &Case, machine: &str, level: &str, within: &Range<i64>) -> Option<f64> {
    let mut counters: BTreeMap<&str, BTreeMap<i64, u32>> = BTreeMap::new();
    for (offset, event) in case.of(&case.sorted, machine) {
        if let What::Sample(value) = event.what
            && event.subject().ends_with(level)
        {
            let known = counters.entry(event.subject()).or_default().entry(event.corrected(offset)).or_default();
            *known = value.max(*known);
        }
    }
    let grown = counters.values().map(|values| {
        let values: Vec<(i64, f64)> = values.iter().map(|(time, value)| (*time, f64::from(*value))).collect();
        let pairs = values.windows(2).filter(|pair| within.contains(&pair[1].0));
        pairs.map(|pair| if pair[1].1 >= pair[0].1 { pair[1].1 - pair[0].1 } else { pair[1].1 }).sum::<f64>()
    });
    (!counters.is_empty()).then(|| grown.sum())
}

pub(super) const ALL: Range<i64> = i64::MIN..i64::MAX;

/// The key figures of a span.
pub(super) fn naive_kpi(case: &Case, within: &Range<i64>) -> Value {
    let of_machine = |machine: &&'static str| {
        let until = case.of(&case.sorted, machine).map(|(offset, event)| event.corrected(offset)).max().unwrap();
        let (begin, seconds) = seconds(case, machine, until);
        let count = |wanted: &str, within: &Range<i64>| {
            let known = (begin..until).zip(&seconds).filter(|(second, _)| within.contains(second));
            known.filter(|(_, (name, _))| *name == wanted).count() as f64
        };
        let (mut naive, mut failures, mut restored, mut has_reports) =
            (Naive::default(), Vec::new(), Vec::new(), false);
        for (offset, event) in case.of(&case.sorted, machine).filter(|(_, event)| is_report(event)) {
            has_reports = true;
            let before = naive.shown(machine).0;
            naive.take(case, offset, event);
            let (now, after) = (event.corrected(offset), naive.shown(machine).0);
            if before != "broken" && after == "broken" {
                failures.push(now);
            }
            if before == "broken" && after != "broken" {
                restored.push((now, (now - failures[failures.len() - 1]) as f64));
            }
        }
        let is_covered = has_reports && within.start <= until && within.end > within.start.max(begin);
        let seconds = |wanted: &str| (is_covered || *within == ALL).then(|| count(wanted, within));
        let between = failures.windows(2).filter(|pair| within.contains(&pair[1]));
        let between: Vec<f64> = between.map(|pair| count("executing", &(pair[0]..pair[1]))).collect();
        let restored: Vec<f64> =
            restored.iter().filter(|(end, _)| within.contains(end)).map(|(_, took)| *took).collect();
        let mean = |all: &[f64]| (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
        let begun = failures.iter().filter(|begin| within.contains(begin)).count();
        let view = json!({
            "operating_s": seconds("executing"),
            "down_s": seconds("broken"),
            "idle_s": seconds("not_executing").zip(seconds("not_available")).map(|(left, right)| left + right),
            "out_of_service_s": seconds("out_of_service"),
            "unknown_s": seconds("no_data"),
            "failures": (is_covered || *within == ALL).then_some(begun),
            "mtbf_s": mean(&between),
            "mttr_s": mean(&restored),
            "produced": grown(case, machine, "/produced", within),
            "good": grown(case, machine, "/good", within),
            "late": 0,
        });
        ((*machine).to_owned(), view)
    };
    Value::Object(case.machines().iter().map(of_machine).collect())
}

fn span(within: &Range<i64>) -> Span {
    let bound = |second: i64| (ALL.start < second && second < ALL.end).then(|| at(second));
    Span { from: bound(within.start), until: bound(within.end) }
}

/// Any cut of time into spans, many of them at the times of events.
fn any_cuts() -> impl Strategy<Value = Vec<Range<i64>>> {
    let cut = prop_oneof![2 => (-2_i64..54).prop_map(|step| BEGIN + step * 50), 1 => BEGIN - 100..BEGIN + 2700];
    proptest::collection::btree_set(cut, 1..5).prop_map(|cuts| {
        let ends: Vec<i64> = [ALL.start].into_iter().chain(cuts).chain([ALL.end]).collect();
        ends.windows(2).map(|pair| pair[0]..pair[1]).collect()
    })
}

const ADDED: [&str; 8] =
    ["operating_s", "down_s", "idle_s", "out_of_service_s", "unknown_s", "failures", "produced", "good"];

#[test]
fn figures_of_spans_are_those_of_a_naive_fold_and_add_up_to_the_whole() {
    let case = (proptest::collection::vec(any_plain(), EVENTS), any_cuts());
    let by_overlap_is_wrong = Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let outcome = runner.run(&case, |(events, spans)| {
        let case = Case::new(events);
        let settings = format!("no_data_s = {NO_DATA_S}");
        let folded = case.log().fold_any(BuiltIn::new("kpi", settings.parse().unwrap()).unwrap().build());
        let whole = folded.view(at(NOW))["machines"].clone();
        let parts: Vec<Value> =
            spans.iter().map(|within| folded.view_within(at(NOW), span(within))["machines"].clone()).collect();
        for (within, part) in spans.iter().zip(&parts) {
            assert_within(&naive_kpi(&case, within), part, &format!("{within:?}"))?;
        }
        for (machine, figures) in whole.as_object().unwrap() {
            for name in ADDED {
                let sum: f64 = parts.iter().filter_map(|part| part[machine][name].as_f64()).sum();
                let all = figures[name].as_f64().unwrap_or_default();
                prop_assert!((sum - all).abs() < 1e-6, "{machine} {name}: {sum} of {all}");
            }
        }
        // The control: a failure that counted in every span that it overlaps would count more than once.
        let overlapping = |within: &Range<i64>| {
            let is_down = |part: &Value| part["down_s"].as_f64().is_some_and(|down| down > 0.0);
            let part = naive_kpi(&case, within);
            part.as_object().unwrap().values().filter(|part| is_down(part) && part["failures"] == 0).count()
        };
        by_overlap_is_wrong.set(by_overlap_is_wrong.get() + u32::from(spans.iter().any(|span| overlapping(span) > 0)));
        Ok(())
    });
    outcome.unwrap();
    assert!(by_overlap_is_wrong.get() > CASES / 4, "{} cases tell the rules apart", by_overlap_is_wrong.get());
}

/// Breakdowns and counted pieces, one after the other: more than there is room for.
fn long_log() -> Log {
    let texts: Vec<String> = (0..3000).map(|number| format!("{number} {}", "code".repeat(10))).collect();
    let events = (0..).zip(&texts).map(|(number, text): (i64, &String)| {
        let second = BEGIN + number * 10;
        let event = match number % 3 {
            0 => breakdown(second, "88-C/belt", text, ""),
            1 => recovery(second, "88-C/belt", ""),
            // Numbers of many digits, so that they take room.
            _ => sample(second, "88-C/st1/produced", number as f64 * 1.000_123),
        };
        TestEvent { source: SOURCES[0], epoch: 1, event, ingest: at(BEGIN + 40_000) }
    });
    Log::from(events)
}

#[test]
fn a_span_that_begins_before_the_horizon_says_so_and_gives_the_figures_from_where_they_are_known() {
    let log = long_log();
    let new = || BuiltIn::new("kpi", toml::Table::new()).unwrap().build();
    let mut sorting = new();
    sorting.sort(true);
    let (kept, settled) = (log.fold_any(sorting), log.fold_any(new()));
    let of = |model: &dyn super::super::AnyModel, from: Option<i64>, until: Option<i64>| {
        let span = Span { from: from.map(at), until: until.map(at) };
        model.view_within(at(BEGIN + 40_000), span)["machines"]["88-C"].clone()
    };
    let horizon = settled.view(at(0))["machines"]["88-C"]["horizon"].as_str().unwrap().parse::<jiff::Timestamp>();
    let horizon = horizon.unwrap().as_second();
    assert!(horizon > BEGIN + 1000, "something has left it");
    let (asked, until) = (BEGIN + 500, BEGIN + 29_000);
    let found = of(&*settled, Some(asked), Some(until));
    assert_eq!((&found["begins_late"], &found["ends_early"]), (&json!("horizon"), &Value::Null));
    let from = found["from"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!((horizon..=horizon + 1).contains(&from.as_second()), "{from}");
    // Its output holds from there on, with nothing dropped.
    let from = Timestamp::clamped(from.as_microsecond());
    let whole = kept.view_within(at(BEGIN + 40_000), Span { from: Some(from), until: Some(at(until)) });
    let whole = &whole["machines"]["88-C"];
    let all = of(&*kept, Some(asked), Some(until));
    for name in ["from", "until", "operating_s", "down_s", "unknown_s", "idle_s", "failures", "mtbf_s", "mttr_s"] {
        assert_eq!(found[name], whole[name], "{name}");
    }
    assert!(
        found["failures"].as_u64() < all["failures"].as_u64(),
        "the control: there were more where it was asked for"
    );
    assert_eq!((&all["begins_late"], &all["from"]), (&Value::Null, &json!(time(at(asked)))));
    // Spans before the horizon have no figures, and say why.
    let before = of(&*settled, Some(asked), Some(asked + 100));
    assert_eq!(
        (&before["begins_late"], &before["failures"], &before["from"]),
        (&json!("horizon"), &Value::Null, &Value::Null)
    );
    // Where a span begins with the machine, the sum of all is its sum.
    let begun = of(&*settled, Some(BEGIN - 1000), Some(until));
    assert_eq!(
        (&begun["begins_late"], &begun["failures"]),
        (&json!("first_report"), &of(&*kept, None, Some(until))["failures"])
    );
    let open = of(&*settled, None, Some(until));
    assert_eq!((&open["begins_late"], &open["failures"]), (&Value::Null, &begun["failures"]));
}

#[test]
fn quantities_of_a_span_are_unknown_where_the_values_of_a_counter_are_not_kept_back_to_its_beginning() {
    let events = (0..4000).map(|number: i64| {
        let second = BEGIN + number * 10;
        let event = if number == 0 {
            state(second, "88-C", MachineState::Executing)
        } else {
            sample(second, "88-C/st1/produced", number as f64 * 1.000_123)
        };
        TestEvent { source: SOURCES[0], epoch: 1, event, ingest: at(BEGIN + 60_000) }
    });
    let model = Log::from(events).fold_any(BuiltIn::new("kpi", toml::Table::new()).unwrap().build());
    let of = |from: i64| {
        let span = Span { from: Some(at(from)), until: None };
        model.view_within(at(BEGIN + 60_000), span)["machines"]["88-C"].clone()
    };
    let early = of(BEGIN + 100);
    assert_eq!((&early["begins_late"], &early["produced"]), (&Value::Null, &Value::Null), "{early}");
    assert_eq!(early["quantities_unknown"], "horizon");
    let horizon = early["counters"]["horizon"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let late = of(horizon + 1);
    let left = (BEGIN + 39_990 - horizon) as f64 / 10.0 * 1.000_123;
    assert!((late["produced"].as_f64().unwrap() - left).abs() < 1e-6, "{late}");
    assert_eq!(late["quantities_unknown"], Value::Null);
    let begun = of(BEGIN)["produced"].as_f64().unwrap();
    assert!((begun - 3998.0 * 1.000_123).abs() < 1e-6, "{begun}: all of it is known from the beginning");
}
