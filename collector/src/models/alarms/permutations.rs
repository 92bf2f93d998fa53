//! The model against a naive one, which sorts all events of a condition and folds them one after the other.

use std::collections::BTreeMap;

use afferent_protocol::event::{Alarm, Derived};

use super::super::AnyModel;
use super::super::permuted::{EventHead, Numbers, behind_what_they_name, heads, pass, second};
use super::*;
use AlarmTransition::{Acknowledged, Cleared, Raised, Shelved, Unshelved};

const CASES: u64 = 2500;
const SUBJECTS: [&str; 3] = ["88-C/belt", "88-C/oil", "77-A"];
const CONDITIONS: [&str; 2] = ["hot", "slip"];
/// The last one is the collector, through which people act.
const SOURCES: [&str; 3] = ["press-88", "gateway", "collector"];

#[derive(Clone, Debug)]
struct Made {
    entry: EventHead,
    condition: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Machine(AlarmTransition, u16),
    /// An action of a person about the event with the entry's `of`; `until` as a second.
    Person(Action, Option<usize>),
}

/// At least 40 events, many at the same time.
fn made(numbers: &mut Numbers) -> Vec<Made> {
    let mut all: Vec<Made> = Vec::new();
    let mut sequences = [0_u64; 3];
    for number in 0..40 + numbers.below(20) {
        let raises: Vec<usize> =
            (0..all.len()).filter(|at| matches!(all[*at].what, What::Machine(Raised, _))).collect();
        let is_person = !raises.is_empty() && numbers.below(4) == 0;
        let of = is_person.then(|| raises[numbers.below(raises.len())]);
        let source = if is_person { 2 } else { numbers.below(2) };
        let (subject, condition) = (SUBJECTS[numbers.below(3)], CONDITIONS[numbers.below(2)]);
        let what = if is_person {
            let action = [Action::Acknowledge, Action::Acknowledge, Action::Shelve, Action::Unshelve][numbers.below(4)];
            What::Person(action, (numbers.below(2) == 0).then(|| numbers.below(30)))
        } else {
            let all = [Raised, Raised, Raised, Cleared, Cleared, Acknowledged, Shelved, Unshelved];
            What::Machine(all[numbers.below(8)], 1 + numbers.below(1000) as u16)
        };
        let entry = EventHead {
            number,
            source,
            sequence: sequences[source],
            time: second(numbers.below(15)),
            ingest: second(numbers.below(20)),
            subject,
            of,
        };
        sequences[source] += 1;
        all.push(Made { entry, condition, what });
    }
    all
}

/// The output for a condition: its state, the number of the event that raised it, the two times, and its priority.
type Told = BTreeMap<(String, String), (String, usize, Value, Value, u64)>;

fn by_model(arrival: &[Made], heads: &[afferent_protocol::batch::Header], at: Timestamp) -> Told {
    let mut model = AnyModel::clone_model(&Alarms::new(AlarmsSettings::default()));
    for (offset, made) in (0..).zip(arrival) {
        match made.what {
            What::Machine(transition, priority) => {
                let body = Body::Alarm(Alarm { condition: made.condition, transition, priority, message: "" });
                pass(&mut model, &made.entry, heads, offset, body);
            }
            What::Person(action, until) => {
                let of = arrival.iter().position(|known| Some(known.entry.number) == made.entry.of).unwrap();
                let name = match action {
                    Action::Acknowledge => "acknowledge",
                    Action::Shelve => "shelve",
                    _ => "unshelve",
                };
                let until = until.map(|number| time(second(number)));
                let json = json!({ "of": of.to_string(), "action": name, "by": "Ada", "until": until }).to_string();
                pass(&mut model, &made.entry, heads, offset, Body::Derived(Derived { kind: AMENDMENT, json: &json }));
            }
        }
    }
    let view = model.view(at);
    assert_eq!((&view["dropped"]["count"], &view["late"]), (&json!(0), &json!(0)));
    let told = |alarm: &Value| {
        let text = |name: &str| alarm[name].as_str().unwrap().to_owned();
        let number = arrival[text("offset").parse::<usize>().unwrap()].entry.number;
        let what = (
            text("state"),
            number,
            alarm["raised"].clone(),
            alarm["repeated"].clone(),
            alarm["priority"].as_u64().unwrap(),
        );
        ((text("subject"), text("condition")), what)
    };
    view["active"].as_array().unwrap().iter().map(told).collect()
}

/// The naive fold of the events in this order.
fn by_looking(all: &[Made], at: Timestamp) -> Told {
    let place = |number: usize| all.iter().find(|made| made.entry.number == number).unwrap();
    let mut told = Told::new();
    for (subject, condition) in SUBJECTS.iter().flat_map(|subject| CONDITIONS.map(|condition| (*subject, condition))) {
        let is_of = |made: &Made| made.entry.subject == subject && made.condition == condition;
        let (mut alarm, mut is_active, mut is_seen, mut urgency) = (Vec::new(), false, false, 0);
        for made in all.iter().filter(|made| is_of(made)) {
            match made.what {
                What::Machine(Raised, priority) => {
                    if !is_active {
                        (alarm, is_seen) = (Vec::new(), false);
                    }
                    alarm.push(&made.entry);
                    (is_active, urgency) = (true, priority.into());
                }
                What::Machine(Cleared, _) => is_active = false,
                What::Machine(Acknowledged, _) if !alarm.is_empty() => is_seen = true,
                _ => {}
            }
        }
        let named = |made: &Made| made.entry.of.filter(|of| is_of(place(*of)));
        let acknowledges = |made: &&Made| matches!(made.what, What::Person(Action::Acknowledge, _));
        let acknowledged = all.iter().filter(acknowledges).filter_map(named);
        is_seen |= acknowledged.into_iter().any(|of| alarm.iter().any(|entry| entry.number == of));
        // Actions of people have their ingest time.
        let mut shelf = Vec::new();
        for made in all {
            let entry = &made.entry;
            let is_told = match made.what {
                What::Machine(Shelved, _) if is_of(made) => Some((entry.time, Some(None))),
                What::Machine(Unshelved, _) if is_of(made) => Some((entry.time, None)),
                What::Person(Action::Shelve, until) if named(made).is_some() => Some((entry.ingest, Some(until))),
                What::Person(Action::Unshelve, _) if named(made).is_some() => Some((entry.ingest, None)),
                _ => None,
            };
            shelf.extend(is_told.map(|(time, until)| ((time, SOURCES[entry.source], entry.sequence), until)));
        }
        let last = shelf.into_iter().max_by_key(|(order, _)| *order).and_then(|(_, until)| until);
        let is_shelved = last.is_some_and(|until| until.is_none_or(|until| at < second(until)));
        let (Some(first), Some(latest)) = (alarm.first(), alarm.last()) else { continue };
        let state = match (is_shelved, is_active, is_seen) {
            (true, _, _) => "shelved",
            (false, true, false) => "unacked_active",
            (false, true, true) => "acked_active",
            (false, false, false) => "unacked_cleared",
            (false, false, true) => continue,
        };
        let what = (state.to_owned(), first.number, time(first.time), time(latest.time), urgency);
        told.insert((subject.to_owned(), condition.to_owned()), what);
    }
    told
}

#[test]
fn the_state_of_alarms_is_a_function_of_the_set_of_events() {
    let heads = heads(&SOURCES);
    let mut differs_by_arrival = 0;
    for seed in 0..CASES {
        let mut numbers = Numbers(seed);
        let mut arrival = made(&mut numbers);
        let mut sorted = arrival.clone();
        sorted.sort_by_key(|made| (made.entry.time, SOURCES[made.entry.source], made.entry.sequence));
        let at = second(numbers.below(30));
        let right = by_looking(&sorted, at);
        for _ in 0..3 {
            numbers.shuffle(&mut arrival);
            behind_what_they_name(&mut arrival, |made| &made.entry);
            assert_eq!(by_model(&arrival, &heads, at), right, "seed {seed}: {arrival:#?}");
            // The control: a fold of events in the order of arrival gives a different output.
            differs_by_arrival += u64::from(by_looking(&arrival, at) != right);
        }
    }
    assert!(differs_by_arrival > CASES, "the order of arrival hardly mattered: {differs_by_arrival}");
}

/// A plausible time, in seconds.
const BASE: i64 = 1_700_000_000;

/// An alarm that the stranger made up: its name, its priority, and when it was raised.
fn made_up(numbers: &mut Numbers) -> Vec<(String, u16, i64)> {
    let raise =
        |number| (format!("c{number}"), 1 + numbers.below(1000) as u16, BASE + 1000 + numbers.below(5000) as i64);
    (0..MODEL_ALARMS_MAX + 3000).map(raise).collect()
}

#[test]
fn when_the_table_is_full_a_stranger_loses_its_own_least_alarms_and_others_none_in_any_order() {
    use super::super::testing::{Log, TestEvent, alarm, at};
    let mut numbers = Numbers(7);
    let noise = made_up(&mut numbers);
    // Our alarms have the least priority and are older than all others.
    let ours: Vec<String> = (0..300).map(|number| format!("o{number}")).collect();
    let event = |name, priority, second, source| {
        let event = alarm(second, "88-C", name, Raised);
        let Body::Alarm(body) = event.body else { unreachable!() };
        let body = Body::Alarm(Alarm { priority, ..body });
        TestEvent {
            source,
            epoch: 1,
            event: afferent_protocol::event::Event { body, ..event },
            ingest: at(BASE + 9000),
        }
    };
    let told = noise.iter().map(|(name, priority, second)| event(name, *priority, *second, "stranger"));
    let log = Log::from(told.chain(ours.iter().map(|name| event(name, 1, BASE + 10, "press-88"))));
    let mut sorted = noise.clone();
    sorted.sort_by(|one, other| (other.1, other.2, &other.0).cmp(&(one.1, one.2, &one.0)));
    let right = ours.iter().cloned().chain(sorted.into_iter().take(MODEL_ALARMS_OF_ONE_MAX).map(|(name, ..)| name));
    let right: std::collections::BTreeSet<String> = right.collect();
    let mut order: Vec<usize> = (0..noise.len() + ours.len()).collect();
    for _ in 0..3 {
        numbers.shuffle(&mut order);
        let model = log.permuted(&order).fold_any(Box::new(Alarms::new(AlarmsSettings::default())));
        let view = model.view(at(BASE + 9000));
        let active = view["active"].as_array().unwrap();
        let names = active.iter().map(|alarm| alarm["condition"].as_str().unwrap().to_owned());
        assert!(names.collect::<std::collections::BTreeSet<_>>() == right, "other alarms are told");
        assert_eq!(view["dropped"]["count"], noise.len() - MODEL_ALARMS_OF_ONE_MAX);
        assert_eq!(
            (&view["not_shown"]["now"], &view["not_shown"]["sources"][0]["source"]),
            (&json!(true), &json!("stranger"))
        );
        assert!(
            model
                .shortage()
                .is_some_and(|shortage| shortage.lasts(at(BASE + 9060)) && !shortage.lasts(at(BASE + 9061)))
        );
    }
    // The control: by priority and age alone none of our alarms would be kept.
    let least = noise.iter().map(|(_, priority, second)| (*priority, *second)).min().unwrap();
    assert!(least > (1, BASE + 10) && noise.len() > MODEL_ALARMS_MAX);
}
