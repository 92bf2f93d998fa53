//! `alarms`: alarms that somebody has to look at, with their life cycle after ISA-18.2 ([`super::life_cycle`]).
//!
//! An alarm is a condition of a subject. Its transitions come as events of its machine or as amendments of people (acknowledge,
//! shelve, unshelve). One that is back to normal and not shelved is let go of.

use std::collections::BTreeMap;

use afferent_protocol::event::{AlarmTransition, Body};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::amendment::{AMENDMENT, Action, Amendment, shortened};
use super::life_cycle::Stage;
use super::{Model, Seen, time};
use crate::limits::MODEL_ALARMS_MAX;

/// The settings of `alarms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmsSettings {
    /// Alarms below this priority (1 to 1000) are left out.
    pub priority_min: u16,
}

/// An alarm that is not normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alarm {
    /// Of the event that raised it last.
    offset: u64,
    machine: String,
    priority: u16,
    stage: Stage,
    raised: Timestamp,
    /// The latest event time of a transition: what is told of a time before changes nothing.
    changed: Timestamp,
    message: String,
    shelved: Option<Shelf>,
}

/// How long it is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Shelf {
    UntilTold,
    Until(Timestamp),
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlarmsState {
    /// By subject and condition.
    alarms: BTreeMap<(String, String), Alarm>,
    refused: u64,
    late: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Alarms {
    settings: AlarmsSettings,
    state: AlarmsState,
}

impl Alarms {
    /// One that has seen nothing.
    pub fn new(settings: AlarmsSettings) -> Self {
        Self { settings, state: AlarmsState::default() }
    }

    fn transition(&mut self, seen: &Seen<'_>, told: &afferent_protocol::event::Alarm<'_>) {
        let key = (seen.subject.text.to_owned(), shortened(told.condition));
        if told.transition == AlarmTransition::Raised {
            return self.raise(seen, told, key);
        }
        let Some(alarm) = self.state.alarms.get_mut(&key) else { return };
        if seen.event.time < alarm.changed {
            self.state.late += 1;
            return;
        }
        alarm.changed = seen.event.time;
        match told.transition {
            AlarmTransition::Shelved => alarm.shelved = Some(Shelf::UntilTold),
            AlarmTransition::Unshelved => alarm.shelved = None,
            other => alarm.stage = alarm.stage.after(other),
        }
        self.let_go(&key);
    }

    fn raise(&mut self, seen: &Seen<'_>, told: &afferent_protocol::event::Alarm<'_>, key: (String, String)) {
        let is_known = self.state.alarms.contains_key(&key);
        if !is_known && self.state.alarms.len() == MODEL_ALARMS_MAX {
            // Normal ones whose time on the shelf is up only wait to be let go of.
            self.state.alarms.retain(|_, alarm| alarm.stage != Stage::Normal || alarm.is_shelved(seen.ingest));
        }
        if !is_known && self.state.alarms.len() == MODEL_ALARMS_MAX {
            self.state.refused += 1;
            return;
        }
        let (offset, raised, priority) = (seen.offset.get(), seen.event.time, told.priority);
        let alarm = self.state.alarms.entry(key).or_insert_with(|| Alarm {
            offset,
            machine: seen.machine.text.to_owned(),
            priority,
            stage: Stage::Normal,
            raised,
            changed: raised,
            message: String::new(),
            shelved: None,
        });
        if raised < alarm.changed {
            self.state.late += 1;
            return;
        }
        alarm.stage = alarm.stage.after(AlarmTransition::Raised);
        (alarm.offset, alarm.raised, alarm.changed, alarm.priority) = (offset, raised, raised, priority);
        alarm.message = shortened(told.message);
    }

    fn amend(&mut self, seen: &Seen<'_>) {
        let Some(amendment) = Amendment::read(seen) else { return };
        let of = amendment.of.get();
        let Some((key, alarm)) = self.state.alarms.iter_mut().find(|(_, alarm)| alarm.offset == of) else { return };
        match amendment.action {
            Action::Acknowledge => alarm.stage = alarm.stage.after(AlarmTransition::Acknowledged),
            Action::Shelve => alarm.shelved = Some(amendment.until.map_or(Shelf::UntilTold, Shelf::Until)),
            Action::Unshelve => alarm.shelved = None,
            Action::Label | Action::Note => return,
        }
        let key = key.clone();
        self.let_go(&key);
    }

    fn let_go(&mut self, key: &(String, String)) {
        if self.state.alarms.get(key).is_some_and(|alarm| alarm.stage == Stage::Normal && alarm.shelved.is_none()) {
            self.state.alarms.remove(key);
        }
    }
}

impl Alarm {
    fn is_shelved(&self, at: Timestamp) -> bool {
        match self.shelved {
            None => false,
            Some(Shelf::UntilTold) => true,
            Some(Shelf::Until(until)) => at < until,
        }
    }
}

impl Model for Alarms {
    type State = AlarmsState;

    fn state(&self) -> &AlarmsState {
        &self.state
    }

    fn restore(&mut self, state: AlarmsState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &Seen<'_>) {
        match &seen.event.body {
            Body::Alarm(told) if told.priority >= self.settings.priority_min => self.transition(seen, told),
            Body::Derived(derived) if derived.kind == AMENDMENT => self.amend(seen),
            _ => {}
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let told = self.state.alarms.iter().filter(|(_, alarm)| alarm.stage != Stage::Normal || alarm.is_shelved(at));
        let mut active: Vec<_> = told.collect();
        // The most urgent one first, and of those the one that waits longest.
        active.sort_by_key(|(_, alarm)| (std::cmp::Reverse(alarm.priority), alarm.raised, alarm.offset));
        let active: Vec<Value> = (active.into_iter())
            .map(|((subject, condition), alarm)| {
                json!({
                    "offset": alarm.offset.to_string(),
                    "machine": alarm.machine,
                    "subject": subject,
                    "condition": condition,
                    "priority": alarm.priority,
                    "state": if alarm.is_shelved(at) { "shelved" } else { alarm.stage.name() },
                    "raised": time(alarm.raised),
                    "message": alarm.message,
                })
            })
            .collect();
        json!({ "active": active, "refused": self.state.refused, "late": self.state.late })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, alarm, at, derived};
    use super::*;
    use AlarmTransition::{Acknowledged, Cleared, Raised, Shelved, Unshelved};

    fn states(log: &Log, second: i64) -> Vec<String> {
        let mut model = Alarms::new(AlarmsSettings::default());
        log.fold(&mut model);
        let view = Model::view(&model, at(second));
        view["active"].as_array().unwrap().iter().map(|alarm| alarm["state"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_alarm_is_told_until_it_is_over_and_somebody_has_seen_it() {
        let belt = |second, transition| alarm(second, "88-C/belt", "slip", transition);
        let all = [belt(1, Raised), belt(2, Cleared), belt(3, Acknowledged)];
        let told: Vec<_> = (1..=3).map(|count| states(&Log::of(&all[..count]), 9)).collect();
        assert_eq!(told, [vec!["unacked_active".to_owned()], vec!["unacked_cleared".to_owned()], vec![]]);
    }

    #[test]
    fn people_acknowledge_and_shelve_by_the_events_offset() {
        let shelve = r#"{"of":"0","action":"shelve","until":"1970-01-01T00:01:00Z"}"#;
        let log = Log::of(&[
            alarm(1, "88-C/belt", "slip", Raised),
            derived("88-C", AMENDMENT, r#"{"of":"0","action":"acknowledge","by":"Ada"}"#),
            derived("88-C", AMENDMENT, shelve),
        ]);
        assert_eq!(states(&log, 59), ["shelved"]);
        assert_eq!(states(&log, 60), ["acked_active"]);
    }

    #[test]
    fn a_shelved_alarm_goes_on_living() {
        let belt = |second, transition| alarm(second, "88-C/belt", "slip", transition);
        let log = [belt(1, Raised), belt(2, Shelved), belt(3, Acknowledged), belt(4, Cleared), belt(5, Unshelved)];
        assert_eq!(states(&Log::of(&log[..4]), 9), ["shelved"]);
        assert!(states(&Log::of(&log), 9).is_empty());
    }

    #[test]
    fn what_is_told_late_does_not_bring_an_alarm_back() {
        let belt = |second, transition| alarm(second, "88-C/belt", "slip", transition);
        assert_eq!(states(&Log::of(&[belt(5, Raised), belt(4, Cleared)]), 9), ["unacked_active"]);
    }
}
