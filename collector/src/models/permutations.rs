//! A model is a function of the set of its events: whatever order they come in, its output is that of a naive fold of
//! all of them, sorted. The naive folds here share no code with the models: they look at every second, and keep
//! everything.

mod full;
mod spans;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use afferent_protocol::event::{AlarmTransition, Event, MachineState};
use afferent_protocol::ids::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::amendment::AMENDMENT;
use super::testing::{Log, TestEvent, alarm, at, breakdown, cleared, derived, recovery, sample, state};
use super::{BuiltIn, machine_of, time};

const CASES: u32 = 2000;
const EVENTS: Range<usize> = 40..60;
/// A time whose clock is trusted, in seconds.
const BEGIN: i64 = 1_793_520_000;
const NO_DATA_S: i64 = 300;
const ALARMS_BEFORE_S: i64 = 400;
/// The time that the states are requested for.
const NOW: i64 = BEGIN + 4000;

const SOURCES: [&str; 2] = ["press-88", "gateway-2"];
const SUBJECTS: [&str; 3] = ["88-C", "88-C/belt", "77-A/pump"];
const SENSORS: [&str; 3] = ["88-C/st1/produced", "88-C/st2/good", "77-A/pump/produced"];
const CODES: [&str; 3] = ["E1", "E2", ""];
const TEXTS: [&str; 3] = ["worn", "torn", "wet"];

#[derive(Clone, Debug)]
enum What {
    Sample(u32),
    State(MachineState),
    Broken(usize),
    Recovered(usize),
    Raised(usize),
    Cleared(usize),
    Amended { of: usize, is_label: bool, text: usize },
}

/// An event. Its index in the list is its offset and its sequence.
#[derive(Clone, Debug)]
struct Plain {
    source: usize,
    epoch: u64,
    subject: usize,
    /// The source's time.
    time: i64,
    what: What,
}

fn any_plain() -> impl Strategy<Value = Plain> {
    let condition = prop_oneof![
        3 => Just(MachineState::Executing),
        1 => Just(MachineState::NotExecuting),
        1 => Just(MachineState::OutOfService),
        1 => Just(MachineState::NotAvailable),
    ];
    let code = || 0..CODES.len();
    let amended = (0..EVENTS.start, any::<bool>(), 0..TEXTS.len());
    let what = prop_oneof![
        3 => (0_u32..200).prop_map(What::Sample),
        3 => condition.prop_map(What::State),
        4 => code().prop_map(What::Broken),
        2 => code().prop_map(What::Recovered),
        2 => code().prop_map(What::Raised),
        1 => code().prop_map(What::Cleared),
        1 => amended.prop_map(|(of, is_label, text)| What::Amended { of, is_label, text }),
    ];
    // Few different times, so that many are the same; and some of a clock that is decades ahead.
    let time = prop_oneof![19 => (0_i64..40).prop_map(|step| BEGIN + step * 50), 1 => Just(BEGIN + 3_000_000_000)];
    (0..SOURCES.len(), 1_u64..3, 0..SUBJECTS.len(), time, what).prop_map(|(source, epoch, subject, time, what)| Plain {
        source,
        epoch,
        subject,
        time,
        what,
    })
}

fn ingest(offset: usize) -> i64 {
    BEGIN + 2500 + offset as i64
}

impl Plain {
    fn is_sample(&self) -> bool {
        matches!(self.what, What::Sample(_))
    }

    fn subject(&self) -> &'static str {
        if self.is_sample() { SENSORS[self.subject] } else { SUBJECTS[self.subject] }
    }

    fn machine(&self) -> &'static str {
        machine_of(self.subject())
    }

    fn corrected(&self, offset: usize) -> i64 {
        if self.time > ingest(offset) + 600 { ingest(offset) } else { self.time }
    }

    fn is_word(&self) -> bool {
        !matches!(self.what, What::Amended { .. })
    }

    fn amendment(&self) -> String {
        match self.what {
            What::Amended { of, is_label: true, text } => {
                json!({ "of": of.to_string(), "action": "label", "reason": TEXTS[text], "by": "Ada" }).to_string()
            }
            What::Amended { of, text, .. } => {
                json!({ "of": of.to_string(), "action": "note", "note": TEXTS[text], "by": "Ada" }).to_string()
            }
            _ => String::new(),
        }
    }

    fn event<'e>(&self, amendment: &'e str) -> Event<'e> {
        let (second, subject) = (self.time, self.subject());
        match self.what {
            What::Sample(value) => sample(second, subject, value.into()),
            What::State(condition) => state(second, subject, condition),
            What::Broken(code) => breakdown(second, subject, CODES[code], "words"),
            What::Recovered(code) => recovery(second, subject, CODES[code]),
            What::Raised(code) => alarm(second, subject, CODES[code], AlarmTransition::Raised),
            What::Cleared(code) => cleared(second, subject, CODES[code]),
            What::Amended { .. } => Event { time: at(second), ..derived(subject, AMENDMENT, amendment) },
        }
    }
}

/// All events with their stamps, by offset.
struct Case {
    events: Vec<Plain>,
    /// The offsets, in the order of (corrected time, source, stream, epoch, sequence).
    sorted: Vec<usize>,
}

impl Case {
    fn new(events: Vec<Plain>) -> Self {
        let mut sorted: Vec<usize> = (0..events.len()).collect();
        sorted.sort_by_key(|offset| {
            let event = &events[*offset];
            (event.corrected(*offset), SOURCES[event.source], event.is_sample(), event.epoch, *offset)
        });
        Self { events, sorted }
    }

    fn log(&self) -> Log {
        let amendments: Vec<String> = self.events.iter().map(Plain::amendment).collect();
        Log::from(self.events.iter().zip(&amendments).zip(0..).map(|((event, amendment), offset)| TestEvent {
            source: SOURCES[event.source],
            epoch: event.epoch,
            event: event.event(amendment),
            ingest: at(ingest(offset)),
        }))
    }

    fn machines(&self) -> BTreeSet<&'static str> {
        self.events.iter().filter(|event| event.is_word()).map(Plain::machine).collect()
    }

    /// The latest label of an event, or all labels or notes.
    fn texts(&self, of: &[usize], label: bool) -> Vec<&'static str> {
        let texts = self.sorted.iter().filter_map(|offset| match self.events[*offset].what {
            What::Amended { of: target, is_label, text } if is_label == label && of.contains(&target) => {
                Some(TEXTS[text])
            }
            _ => None,
        });
        texts.collect()
    }

    fn label(&self, of: usize) -> Option<&'static str> {
        self.texts(&[of], true).last().copied()
    }

    /// The offsets of a machine's events that fit, in this order.
    fn of<'c>(&'c self, order: &'c [usize], machine: &'c str) -> impl Iterator<Item = (usize, &'c Plain)> {
        let events = order.iter().map(|offset| (*offset, &self.events[*offset]));
        events.filter(move |(_, event)| event.is_word() && event.machine() == machine)
    }
}

fn is_below(subject: &str, above: &str) -> bool {
    subject == above || subject.starts_with(&format!("{above}/"))
}

#[derive(Clone, Debug)]
struct Broken {
    offset: usize,
    subject: &'static str,
    code: usize,
    counts: bool,
    reason: String,
}

/// The current state, kept in the simplest way.
#[derive(Clone, Debug, Default)]
struct Naive {
    parts: BTreeMap<&'static str, (&'static str, String)>,
    broken: Vec<Broken>,
}

fn name(state: MachineState) -> &'static str {
    match state {
        MachineState::Executing => "executing",
        MachineState::NotExecuting => "not_executing",
        MachineState::OutOfService => "out_of_service",
        MachineState::NotAvailable => "not_available",
    }
}

impl Naive {
    fn reported(&self, machine: &str) -> (&'static str, String) {
        if let Some(own) = self.parts.get(machine) {
            return own.clone();
        }
        for wanted in ["executing", "not_executing", "out_of_service", "not_available"] {
            if let Some(part) = self.parts.values().find(|(name, _)| *name == wanted) {
                return part.clone();
            }
        }
        ("no_data", String::new())
    }

    /// The condition, with broken down distinguished from `not_available`, and its reason.
    fn shown(&self, machine: &str) -> (&'static str, String) {
        let broken = self.broken.iter().find(|broken| broken.counts);
        broken.map_or_else(|| self.reported(machine), |broken| ("broken", broken.reason.clone()))
    }

    /// Applies an event; returns the breakdowns that are over.
    fn take(&mut self, case: &Case, offset: usize, event: &Plain) -> Vec<usize> {
        let (machine, subject, label) = (event.machine(), event.subject(), case.label(offset));
        let before = self.broken.clone();
        match event.what {
            What::State(condition) => {
                if condition == MachineState::Executing {
                    self.broken.retain(|broken| !is_below(broken.subject, subject));
                }
                let repeated = self.parts.get(subject).filter(|(known, _)| *known == name(condition)).cloned();
                let reason = label.map(str::to_owned).or(repeated.map(|(_, reason)| reason)).unwrap_or_default();
                self.parts.insert(subject, (name(condition), reason));
                if self.reported(machine).0 != "out_of_service" {
                    self.broken.iter_mut().for_each(|broken| broken.counts = true);
                }
            }
            What::Broken(code) => {
                match self.broken.iter_mut().find(|broken| broken.subject == subject && broken.code == code) {
                    Some(known) => known.reason = label.map_or(known.reason.clone(), str::to_owned),
                    None => {
                        let counts = self.reported(machine).0 != "out_of_service";
                        let words =
                            if CODES[code].is_empty() { "words".into() } else { format!("{}: words", CODES[code]) };
                        let reason = label.map_or(words, str::to_owned);
                        self.broken.push(Broken { offset, subject, code, counts, reason });
                    }
                }
            }
            What::Recovered(code) => {
                let is_meant = |broken: &Broken| CODES[code].is_empty() || broken.code == code;
                self.broken.retain(|broken| !(is_below(broken.subject, subject) && is_meant(broken)));
            }
            _ => {}
        }
        let left: Vec<usize> = self.broken.iter().map(|broken| broken.offset).collect();
        before.iter().map(|broken| broken.offset).filter(|offset| !left.contains(offset)).collect()
    }
}

fn is_report(event: &Plain) -> bool {
    matches!(event.what, What::State(_) | What::Broken(_) | What::Recovered(_))
}

/// The state in each second from the first report until `until`, and the time of the first report.
fn seconds(case: &Case, machine: &str, until: i64) -> (i64, Vec<(&'static str, String)>) {
    let mut moments = Vec::new();
    let mut naive = Naive::default();
    for (offset, event) in case.of(&case.sorted, machine).filter(|(_, event)| is_report(event)) {
        naive.take(case, offset, event);
        moments.push((event.corrected(offset), naive.shown(machine)));
    }
    let words: Vec<i64> = case.of(&case.sorted, machine).map(|(offset, event)| event.corrected(offset)).collect();
    let Some((begin, _)) = moments.first().cloned() else { return (until, Vec::new()) };
    let at = |second: i64| {
        let is_heard = words.iter().any(|word| (*word..word + NO_DATA_S).contains(&second));
        let known = moments.iter().rev().find(|(time, _)| *time <= second).map(|(_, shown)| shown.clone());
        known.filter(|_| is_heard).unwrap_or(("no_data", "nothing was heard".into()))
    };
    (begin, (begin..until).map(at).collect())
}

fn public(name: &str) -> &str {
    if name == "broken" { "not_available" } else { name }
}

fn naive_states(case: &Case) -> Value {
    let of_machine = |machine: &&'static str| {
        let (begin, seconds) = seconds(case, machine, NOW);
        let mut intervals: Vec<(i64, &(&'static str, String))> = Vec::new();
        for (second, shown) in (begin..).zip(&seconds) {
            if intervals.last().is_none_or(|(_, last)| *last != shown) {
                intervals.push((second, shown));
            }
        }
        let untils = intervals.iter().skip(1).map(|(from, _)| json!(time(at(*from)))).chain([Value::Null]);
        let shown = intervals.iter().zip(untils).map(|((from, (name, reason)), until)| {
            json!({ "state": public(name), "from": time(at(*from)), "until": until, "reason": reason })
        });
        let last_event = case.of(&case.sorted, machine).map(|(offset, event)| event.corrected(offset)).max().unwrap();
        let state = seconds.last().map_or("no_data", |(name, _)| public(name));
        let same = seconds.iter().rev().take_while(|(name, _)| public(name) == state).count() as i64;
        let since = if seconds.is_empty() { last_event } else { NOW - same };
        let view = json!({
            "state": state, "since": time(at(since)), "last_event": time(at(last_event)),
            "intervals": shown.collect::<Vec<_>>(), "late": 0,
        });
        ((*machine).to_owned(), view)
    };
    Value::Object(case.machines().iter().map(of_machine).collect())
}

/// The breakdowns, when events are taken in this order.
fn naive_breakdowns(case: &Case, order: &[usize]) -> Value {
    let mut all: Vec<(i64, usize, Value)> = Vec::new();
    for machine in case.machines() {
        let mut naive = Naive::default();
        // The events of each breakdown: those that reported it, and the one that ended it.
        let mut episodes: BTreeMap<usize, (Vec<usize>, bool, Option<usize>)> = BTreeMap::new();
        for (offset, event) in case.of(order, machine) {
            let open = naive.broken.clone();
            let out_of_service = naive.reported(machine).0 == "out_of_service";
            for over in naive.take(case, offset, event) {
                episodes.get_mut(&over).unwrap().2 = Some(offset);
            }
            if let What::Broken(code) = event.what {
                match open.iter().find(|open| open.subject == event.subject() && open.code == code) {
                    Some(known) => episodes.get_mut(&known.offset).unwrap().0.push(offset),
                    None => _ = episodes.insert(offset, (vec![offset], out_of_service, None)),
                }
            }
        }
        let raised = raised(case, order, machine);
        for (offset, (told, out_of_service, over)) in episodes {
            let time_of = |offset: usize| case.events[offset].corrected(offset);
            let place = |offset: usize| order.iter().position(|known| *known == offset).unwrap();
            let (from, begin, end) = (time_of(offset), place(offset), over.map_or(usize::MAX, place));
            let active = |raise: &&(usize, Option<usize>)| {
                place(raise.0) < begin && raise.1.is_none_or(|cleared| place(cleared) > begin)
            };
            let at_once = |raise: &&(usize, Option<usize>)| {
                place(raise.0) > begin && place(raise.0) < end && time_of(raise.0) == from
            };
            let first = raised.iter().find(active).or_else(|| raised.iter().find(at_once)).map(|raise| raise.0);
            let shown = |raise: usize| time_of(raise) >= from - ALARMS_BEFORE_S && place(raise) < end;
            let mut alarms: Vec<usize> = raised.iter().map(|raise| raise.0).filter(|raise| shown(*raise)).collect();
            if let Some(first) = first.filter(|first| !alarms.contains(first)) {
                alarms.insert(0, first);
            }
            let offsets = alarms.iter().map(usize::to_string).collect::<Vec<_>>();
            let event = &case.events[offset];
            let What::Broken(code) = event.what else { unreachable!() };
            all.push((
                from,
                offset,
                json!({
                    "id": offset.to_string(), "machine": machine, "subject": event.subject(), "code": CODES[code],
                    "from": time(at(from)), "until": over.map(|over| time(at(time_of(over)))),
                    "repeats": told.len() - 1, "out_of_service": out_of_service,
                    "first_out": first.map(|first| first.to_string()), "alarms": offsets,
                    "labels": case.texts(&told, true), "notes": case.texts(&told, false),
                }),
            ));
        }
    }
    all.sort_by_key(|(from, offset, _)| (*from, *offset));
    all.into_iter().map(|(.., episode)| episode).collect()
}

/// The alarms of a machine that were raised and not only repeated, and the clear of each.
fn raised(case: &Case, order: &[usize], machine: &str) -> Vec<(usize, Option<usize>)> {
    let mut raised: Vec<(usize, Option<usize>)> = Vec::new();
    for (offset, event) in case.of(order, machine) {
        let (What::Raised(code) | What::Cleared(code)) = event.what else { continue };
        let known = raised.iter_mut().find(|(known, cleared)| {
            let other = &case.events[*known];
            let is_same = matches!(other.what, What::Raised(of) if of == code);
            cleared.is_none() && is_same && other.subject() == event.subject()
        });
        match (known, &event.what) {
            (Some((_, cleared)), What::Cleared(_)) => *cleared = Some(offset),
            (None, What::Raised(_)) => raised.push((offset, None)),
            _ => {}
        }
    }
    raised
}

/// The output of a model, reduced to the members that the naive folds have too.
fn told(name: &str, view: &Value) -> Value {
    if name != "breakdowns" {
        return view["machines"].clone();
    }
    let offset = |alarm: &Value| alarm["offset"].clone();
    let texts = |list: &Value, key: &str| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|words| words[key].clone()).collect()
    };
    let episodes = view["episodes"].as_array().unwrap().iter().map(|episode| {
        let mut told = episode.clone();
        told["first_out"] = offset(&episode["first_out"]);
        told["alarms"] = episode["alarms"].as_array().unwrap().iter().map(offset).collect();
        told["labels"] = texts(&episode["labels"], "reason").into();
        told["notes"] = texts(&episode["notes"], "note").into();
        told
    });
    episodes.collect()
}

/// Whether all of `part` is in `whole` unchanged; lists have the same length.
fn assert_within(part: &Value, whole: &Value, place: &str) -> Result<(), TestCaseError> {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                assert_within(value, whole.get(key).unwrap_or(&Value::Null), &format!("{place}/{key}"))?;
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            prop_assert_eq!(part.len(), whole.len(), "{}: {:?} {:?}", place, part, whole);
            for (at, (part, whole)) in part.iter().zip(whole).enumerate() {
                assert_within(part, whole, &format!("{place}/{at}"))?;
            }
        }
        (Value::Number(part), Value::Number(whole)) => {
            let difference = part.as_f64().unwrap() - whole.as_f64().unwrap();
            prop_assert!(difference.abs() < 1e-9, "{}: {} is told as {}", place, part, whole);
        }
        _ => prop_assert_eq!(part, whole, "{}", place),
    }
    Ok(())
}

type Oracle = fn(&Case) -> Value;

/// The models that are compared with the naive folds, and their settings.
fn models() -> Vec<(&'static str, String, Oracle)> {
    let no_data = format!("no_data_s = {NO_DATA_S}");
    vec![
        ("states", no_data.clone(), naive_states),
        ("kpi", no_data, |case| spans::naive_kpi(case, &spans::ALL)),
        ("breakdowns", format!("alarms_before_s = {ALARMS_BEFORE_S}"), |case| naive_breakdowns(case, &case.sorted)),
    ]
}

fn view(name: &str, settings: &str, log: &Log) -> Value {
    let model = BuiltIn::new(name, settings.parse().unwrap()).unwrap().build();
    log.fold_any(model).view(at(NOW))
}

#[test]
fn a_model_is_a_function_of_the_set_of_its_events() {
    let events = proptest::collection::vec(any_plain(), EVENTS).prop_perturb(|events, mut rng| {
        let mut order: Vec<usize> = (0..events.len()).collect();
        (1..order.len()).rev().for_each(|at| order.swap(at, rng.random_range(0..=at)));
        (events, order)
    });
    let by_arrival_is_wrong = Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let outcome = runner.run(&events, |(events, order)| {
        let case = Case::new(events);
        let log = case.log();
        for (name, settings, oracle) in models() {
            let expected = oracle(&case);
            let arrived = view(name, &settings, &log.permuted(&order));
            assert_within(&expected, &told(name, &arrived), name)?;
            let sorted = view(name, &settings, &log.permuted(&case.sorted));
            prop_assert_eq!(arrived, sorted, "{}", name);
        }
        // The control: breakdowns followed in the order of arrival, as they once were.
        let differs = naive_breakdowns(&case, &order) != naive_breakdowns(&case, &case.sorted);
        by_arrival_is_wrong.set(by_arrival_is_wrong.get() + u32::from(differs));
        Ok(())
    });
    outcome.unwrap();
    assert!(by_arrival_is_wrong.get() > CASES * 9 / 10, "{} cases tell the two apart", by_arrival_is_wrong.get());
}

/// More than there is room for: as long as no event is late, the settled part counts as if all had been kept.
#[test]
fn what_leaves_the_horizon_counts_as_before() {
    let texts: Vec<String> = (0..1500).map(|number| format!("{number}")).collect();
    let events: Vec<TestEvent<'_>> = (0..)
        .zip(&texts)
        .map(|(number, text): (i64, &String)| {
            let second = BEGIN + number * 20;
            let event = match number % 5 {
                0 => state(second, "88-C", MachineState::Executing),
                1 => breakdown(second, "88-C/belt", text, "words that take room, as those of a machine do"),
                2 => alarm(second, "88-C/oil", text, AlarmTransition::Raised),
                3 => recovery(second, "88-C/belt", ""),
                _ => sample(second, "88-C/st1/produced", number as f64),
            };
            TestEvent { source: SOURCES[0], epoch: 1, event, ingest: Timestamp::clamped((BEGIN + 40_000) * 1_000_000) }
        })
        .collect();
    let log = Log::from(events);
    // Neighbours are swapped: no event is late by more than some seconds.
    let order: Vec<usize> = (0..1500).map(|at| at ^ 3).filter(|at| *at < 1500).collect();
    for (name, settings, _) in models() {
        let new = || BuiltIn::new(name, settings.parse().unwrap()).unwrap().build();
        let mut sorting = new();
        sorting.sort(true);
        let (kept, settled) = (log.fold_any(sorting).view(at(BEGIN + 30_000)), log.permuted(&order).fold_any(new()));
        let settled = settled.view(at(BEGIN + 30_000));
        let without = |view: &Value| {
            let mut view = view.clone();
            view["machines"]["88-C"]["horizon"].take();
            view
        };
        assert!(
            !settled["machines"]["88-C"]["horizon"].is_null() && kept["machines"]["88-C"]["horizon"].is_null(),
            "{name}"
        );
        assert_eq!(without(&kept), without(&settled), "{name}");
    }
}
