use afferent_protocol::event::Event;

use super::super::testing::{Log, alarm, at, derived};
use super::*;
use crate::limits::MODEL_ALARMS_BEYOND_MAX;
use AlarmTransition::{Acknowledged, Cleared, Raised, Shelved, Unshelved};

fn view(log: &Log, second: i64) -> Value {
    let mut model = Alarms::new(AlarmsSettings::default());
    log.fold(&mut model);
    Model::view(&model, at(second))
}

fn states(log: &Log, second: i64) -> Vec<String> {
    let view = view(log, second);
    view["active"].as_array().unwrap().iter().map(|alarm| alarm["state"].as_str().unwrap().to_owned()).collect()
}

fn belt(second: i64, transition: AlarmTransition) -> Event<'static> {
    alarm(second, "88-C/belt", "slip", transition)
}

fn of_priority<'a>(event: Event<'a>, priority: u16) -> Event<'a> {
    match event.body {
        Body::Alarm(alarm) => {
            Event { body: Body::Alarm(afferent_protocol::event::Alarm { priority, ..alarm }), ..event }
        }
        _ => event,
    }
}

#[test]
fn an_alarm_is_listed_until_it_is_over_and_somebody_has_seen_it() {
    let all = [belt(1, Raised), belt(2, Cleared), belt(3, Acknowledged)];
    let told: Vec<_> = (1..=3).map(|count| states(&Log::of(&all[..count]), 9)).collect();
    assert_eq!(told, [vec!["unacked_active".to_owned()], vec!["unacked_cleared".to_owned()], vec![]]);
}

#[test]
fn people_acknowledge_and_shelve_by_the_events_offset() {
    let shelve = r#"{"of":"0","action":"shelve","until":"1970-01-01T00:01:00Z"}"#;
    let log = Log::of(&[
        belt(1, Raised),
        derived("88-C", AMENDMENT, r#"{"of":"0","action":"acknowledge","by":"Ada"}"#),
        derived("88-C", AMENDMENT, shelve),
    ]);
    assert_eq!(states(&log, 59), ["shelved"]);
    assert_eq!(states(&log, 60), ["acked_active"]);
}

#[test]
fn a_shelved_alarm_goes_on_living() {
    let log = [belt(1, Raised), belt(2, Shelved), belt(3, Acknowledged), belt(4, Cleared), belt(5, Unshelved)];
    assert_eq!(states(&Log::of(&log[..4]), 9), ["shelved"]);
    assert!(states(&Log::of(&log), 9).is_empty());
}

#[test]
fn an_alarm_cleared_after_it_was_raised_is_not_active_even_if_the_clear_came_first() {
    assert_eq!(states(&Log::of(&[belt(20, Cleared), belt(10, Raised)]), 30), ["unacked_cleared"]);
    assert_eq!(states(&Log::of(&[belt(5, Raised), belt(4, Cleared)]), 9), ["unacked_active"]);
    let seen = [belt(30, Acknowledged), belt(20, Cleared), belt(10, Raised)];
    assert!(states(&Log::of(&seen), 40).is_empty());
}

#[test]
fn a_raise_that_only_repeats_is_no_new_alarm() {
    let acknowledge = |of: &'static str| derived("88-C", AMENDMENT, of);
    let log =
        [belt(10, Raised), acknowledge(r#"{"of":"0","action":"acknowledge"}"#), of_priority(belt(20, Raised), 700)];
    let told = &view(&Log::of(&log), 30)["active"][0];
    assert_eq!(
        (&told["state"], &told["offset"], &told["priority"]),
        (&json!("acked_active"), &json!("0"), &json!(700))
    );
    assert_eq!((&told["raised"], &told["repeated"]), (&time(at(10)), &time(at(20))));
    // An amendment that names a repeated raise is about the same alarm.
    let log = [belt(10, Raised), belt(20, Raised), acknowledge(r#"{"of":"1","action":"acknowledge"}"#)];
    assert_eq!(states(&Log::of(&log), 30), ["acked_active"]);
    // After a clear in between it is a new alarm, though the clear came last.
    let log = [&log[..], &[belt(15, Cleared)]].concat();
    assert_eq!(view(&Log::of(&log), 30)["active"][0]["offset"], "1");
    let log =
        [belt(10, Raised), belt(20, Raised), acknowledge(r#"{"of":"0","action":"acknowledge"}"#), belt(15, Cleared)];
    assert_eq!(states(&Log::of(&log), 30), ["unacked_active"]);
}

#[test]
fn whether_an_acknowledgement_means_anything_is_known() {
    let mut model = Alarms::new(AlarmsSettings::default());
    Log::of(&[belt(10, Raised), belt(20, Cleared), belt(30, Raised), belt(40, Raised)]).fold(&mut model);
    let of = |offset, action| Model::amendable(&model, Offset::new(offset), action);
    assert_eq!(of(0, Action::Acknowledge), Amendable::RaisedAgain(Offset::new(2)));
    assert_eq!(of(0, Action::Shelve), Amendable::Yes);
    assert_eq!([2, 3].map(|offset| of(offset, Action::Acknowledge)), [Amendable::Yes; 2]);
    assert_eq!([1, 9].map(|offset| of(offset, Action::Acknowledge)), [Amendable::Unknown; 2]);
    assert_eq!(of(9, Action::Note), Amendable::Yes);
}

#[test]
fn the_least_important_alarms_are_dropped_in_any_order_and_reported() {
    // Priority 900 comes last, as when a plant stops for one cause.
    let names: Vec<String> = (0..20_000).map(|number| format!("c{number}")).collect();
    let event = |number: usize| {
        let priority = if number >= 19_001 { 900 } else { 100 };
        of_priority(alarm(number as i64 + 1, "88-C", &names[number], Raised), priority)
    };
    let in_turn: Vec<_> = (0..20_000).map(event).collect();
    let backwards: Vec<_> = (0..20_000).rev().map(event).collect();
    let [first, second] = [in_turn, backwards].map(|events| view(&Log::of(&events), 30_000));
    let conditions = |view: &Value| -> Vec<(u64, String)> {
        let active = view["active"].as_array().unwrap().iter();
        active.map(|a| (a["priority"].as_u64().unwrap(), a["condition"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(conditions(&first), conditions(&second));
    let told = conditions(&first);
    assert_eq!(
        (told.len(), told.iter().filter(|(priority, _)| *priority == 900).count()),
        (MODEL_ALARMS_OF_ONE_MAX, 999)
    );
    // Of the others the youngest.
    assert!(told.iter().all(|(_, name)| name[1..].parse::<usize>().unwrap() >= 20_000 - MODEL_ALARMS_OF_ONE_MAX));
    let count = 20_000 - MODEL_ALARMS_OF_ONE_MAX;
    let dropped = json!({ "count": count, "by_priority": { "100": count } });
    assert_eq!((&first["dropped"], &second["dropped"]), (&dropped, &dropped));
}

#[test]
fn what_is_over_makes_room_first_and_what_comes_from_behind_that_is_counted_and_named() {
    let names: Vec<String> =
        (0..MODEL_ALARMS_OF_ONE_MAX + MODEL_ALARMS_BEYOND_MAX).map(|number| format!("c{number}")).collect();
    let day = 86_400;
    let mut events: Vec<_> = names[..1000].iter().map(|name| alarm(10, "88-C", name, Cleared)).collect();
    events.extend(names[1000..].iter().map(|name| alarm(9 * day, "88-C", name, Cleared)));
    let full = view(&Log::of(&events), 9 * day);
    assert_eq!((&full["dropped"]["count"], &full["late"]), (&json!(0), &json!(0)));
    assert_ne!(full["horizon"], Value::Null);
    events.push(alarm(5, "88-C", "c7", Raised));
    let late = view(&Log::of(&events), 9 * day);
    assert_eq!(late["late"], 1);
    assert_eq!(late["last_late"]["condition"], "c7");
}

#[test]
fn of_many_reports_of_a_condition_those_that_only_repeat_go() {
    let mut events: Vec<_> = (0..500).map(|second| belt(100 + second, Raised)).collect();
    events.extend((0..500).map(|second| belt(1000 + second, Cleared)));
    let told = view(&Log::of(&events), 2000);
    assert_eq!((&told["active"][0]["offset"], &told["active"][0]["state"]), (&json!("0"), &json!("unacked_cleared")));
    // A clear from between dropped reports is applied, counted and listed.
    events.push(belt(101, Cleared));
    assert_eq!(view(&Log::of(&events), 2000)["late"], 1);
}

#[test]
fn alarms_below_the_settings_priority_are_left_out() {
    let mut model = Alarms::new(AlarmsSettings { priority_min: 600 });
    Log::of(&[belt(1, Raised), of_priority(alarm(2, "88-C/oil", "hot", Raised), 600)]).fold(&mut model);
    let told = Model::view(&model, at(9));
    assert_eq!((told["active"].as_array().unwrap().len(), &told["active"][0]["condition"]), (1, &json!("hot")));
}
