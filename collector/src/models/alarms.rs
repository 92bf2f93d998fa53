//! `alarms`: alarms that somebody has to look at, with their life cycle after ISA-18.2 ([`super::life_cycle`]).
//!
//! An alarm is a condition of a subject. Its transitions come as events of its machine or as amendments of people. What
//! is known is a function of the set of these events: each has its place by [`super::order`], whenever it came.
//!
//! - Raises without a clear between them are one alarm: its `offset` and `raised` are those of the first one, priority
//!   and message those of the last one.
//! - An acknowledgement by an amendment is about the alarm that it names by the offset of any of its raises. One by the
//!   machine is about the alarm at its time.
//! - Shelving is about the condition, and outlasts its alarms. What people say of it counts from when it reached the
//!   log: their clocks play no part.
//!
//! A condition that is over is remembered, so that a raise that comes late is judged right. There are bounds:
//!
//! - Of one condition [`MODEL_ALARM_REPORTS_MAX`](crate::limits::MODEL_ALARM_REPORTS_MAX) reports are kept; those that
//!   only repeat go first.
//! - [`MODEL_ALARMS_MAX`] conditions are kept. First those go that are over since [`MODEL_ALARM_HORIZON_US`] before the
//!   latest alarm, then the others that are over, and then the alarms of the lowest priority, of one priority the oldest.
//!
//! Within these bounds the order of arrival has no part in what is told. A report from behind them is taken, counted and
//! named (`late`), and so are the alarms that found no room (`dropped`); `horizon` is the latest time of what is
//! remembered no more.

mod condition;
#[cfg(test)]
mod permutations;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use afferent_protocol::event::{AlarmTransition, Body};
use afferent_protocol::ids::{Offset, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::condition::{Condition, Fate, Shelf};
use super::amendment::{AMENDMENT, Action, Amendment, shortened};
use super::life_cycle::Stage;
use super::{Amendable, Model, Order, Seen, machine_of, time};
use crate::limits::{MODEL_ALARM_HORIZON_US, MODEL_ALARMS_BEYOND_MAX, MODEL_ALARMS_MAX};

/// The settings of `alarms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmsSettings {
    /// Alarms below this priority (1 to 1000) are left out.
    pub priority_min: u16,
}

/// Subject and condition.
type Key = (String, String);

/// An event that came after what it depends on was let go of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Late {
    offset: u64,
    key: Key,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlarmsState {
    conditions: BTreeMap<Key, Condition>,
    /// The latest time of all transitions.
    latest: Timestamp,
    /// Alarms that found no room, by priority.
    dropped: BTreeMap<u16, u64>,
    /// The latest time of a condition that is remembered no more.
    horizon: Option<Timestamp>,
    late: u64,
    last_late: Option<Late>,
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

    fn transition(&mut self, seen: &Seen<'_>, alarm: &afferent_protocol::event::Alarm<'_>) {
        let state = &mut self.state;
        state.latest = state.latest.max(seen.time);
        let is_forgotten = state.horizon.is_some_and(|horizon| seen.time <= horizon);
        let key = (seen.subject.text.to_owned(), shortened(alarm.condition));
        let entry = state.conditions.entry(key);
        let is_new = matches!(entry, Entry::Vacant(_));
        let condition = entry.or_default();
        let is_behind = match alarm.transition {
            AlarmTransition::Raised => condition.raise(seen, alarm.priority, || shortened(alarm.message)),
            AlarmTransition::Cleared => condition.clear(seen),
            AlarmTransition::Acknowledged => {
                condition.acknowledge(seen.order());
                false
            }
            AlarmTransition::Shelved => {
                condition.shelve(seen.order(), Shelf::UntilTold);
                false
            }
            AlarmTransition::Unshelved => {
                condition.shelve(seen.order(), Shelf::No);
                false
            }
        };
        if is_behind || (is_new && is_forgotten) {
            state.late += 1;
            let key = (seen.subject.text.to_owned(), shortened(alarm.condition));
            state.last_late = Some(Late { offset: seen.offset.get(), key });
        }
        if state.conditions.len() >= MODEL_ALARMS_MAX + MODEL_ALARMS_BEYOND_MAX {
            state.make_room();
        }
    }

    fn amend(&mut self, seen: &Seen<'_>) {
        let Some(amendment) = Amendment::read(seen) else { return };
        let named = self.state.conditions.values_mut().find(|condition| condition.fate(amendment.of).is_some());
        let Some(condition) = named else { return };
        // People speak to the collector: its clock says when they did.
        let at = Order { time: seen.ingest, ..seen.order() };
        match amendment.action {
            Action::Acknowledge => condition.acknowledge_raise(amendment.of),
            Action::Shelve => condition.shelve(at, amendment.until.map_or(Shelf::UntilTold, Shelf::Until)),
            Action::Unshelve => condition.shelve(at, Shelf::No),
            Action::Label | Action::Note => {}
        }
    }

    /// The alarms that are told as of `at`, the most important ones first.
    fn listed(&self, at: Timestamp) -> Vec<(&Key, &Condition)> {
        let min = self.settings.priority_min;
        let conditions = self.state.conditions.iter();
        let is_listed = |condition: &Condition| match condition.alarm() {
            Some(alarm) => alarm.priority >= min && (alarm.stage != Stage::Normal || condition.is_shelved(at)),
            None => false,
        };
        let mut listed: Vec<_> = conditions.filter(|(_, condition)| is_listed(condition)).collect();
        listed.sort_by_cached_key(|(key, condition)| Reverse((condition.weight(at, Timestamp::default()), *key)));
        listed
    }
}

/// How important it is to keep a condition: what matters less is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is over, and raises that come as late as that are not to be expected any more.
    Beyond(Timestamp),
    /// It is over.
    Over(Timestamp),
    /// It has a priority, and was raised then.
    Alarm(u16, Timestamp),
}

impl Condition {
    /// As of `at`, where what is over since before `horizon` matters least.
    fn weight(&self, at: Timestamp, horizon: Timestamp) -> Weight {
        match self.alarm() {
            Some(alarm) if alarm.stage != Stage::Normal || self.is_shelved(at) => {
                Weight::Alarm(alarm.priority, alarm.raised)
            }
            _ => {
                let last = self.last_word().unwrap_or_default();
                if last < horizon { Weight::Beyond(last) } else { Weight::Over(last) }
            }
        }
    }
}

impl AlarmsState {
    /// Lets go of the least important conditions, down to [`MODEL_ALARMS_MAX`]. Many at once: it costs little an event.
    fn make_room(&mut self) {
        let horizon = Timestamp::clamped(self.latest.micros().saturating_sub(MODEL_ALARM_HORIZON_US));
        let mut weights: Vec<(Weight, &Key)> =
            self.conditions.iter().map(|(key, condition)| (condition.weight(self.latest, horizon), key)).collect();
        let count = weights.len().saturating_sub(MODEL_ALARMS_MAX);
        if count == 0 {
            return;
        }
        weights.select_nth_unstable(count - 1);
        let gone: Vec<(Weight, Key)> = weights[..count].iter().map(|(weight, key)| (*weight, (*key).clone())).collect();
        for (weight, key) in gone {
            self.conditions.remove(&key);
            match weight {
                Weight::Beyond(last) | Weight::Over(last) => self.horizon = self.horizon.max(Some(last)),
                Weight::Alarm(priority, _) => *self.dropped.entry(priority).or_default() += 1,
            }
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
            Body::Alarm(alarm) => self.transition(seen, alarm),
            Body::Derived(derived) if derived.kind == AMENDMENT => self.amend(seen),
            _ => {}
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let listed = self.listed(at);
        let (kept, beyond) = listed.split_at(listed.len().min(MODEL_ALARMS_MAX));
        let mut dropped = self.state.dropped.clone();
        for alarm in beyond.iter().filter_map(|(_, condition)| condition.alarm()) {
            *dropped.entry(alarm.priority).or_default() += 1;
        }
        let min = self.settings.priority_min;
        dropped.retain(|priority, _| *priority >= min);
        let shown = kept.iter().filter_map(|(key, condition)| Some((*key, *condition, condition.alarm()?)));
        let mut active: Vec<_> = shown.collect();
        // The most urgent one first, and of those the one that waits longest.
        active.sort_by_key(|(_, _, alarm)| (Reverse(alarm.priority), alarm.raised, alarm.offset));
        let told = |(key, condition, alarm): (&Key, &Condition, condition::Alarm<'_>)| {
            json!({
                "offset": alarm.offset.to_string(),
                "machine": machine_of(&key.0),
                "subject": key.0,
                "condition": key.1,
                "priority": alarm.priority,
                "state": if condition.is_shelved(at) { "shelved" } else { alarm.stage.name() },
                "raised": time(alarm.raised),
                "corrected": alarm.is_corrected,
                "repeated": time(alarm.repeated),
                "message": alarm.message,
            })
        };
        json!({
            "active": active.into_iter().map(told).collect::<Vec<_>>(),
            "dropped": {
                "count": dropped.values().sum::<u64>(),
                "by_priority": dropped.iter().map(|(priority, count)| (priority.to_string(), json!(count)))
                    .collect::<serde_json::Map<_, _>>(),
            },
            "horizon": self.state.horizon.map(time),
            "late": self.state.late,
            "last_late": self.state.last_late.as_ref().map(|late| json!({
                "offset": late.offset.to_string(), "subject": late.key.0, "condition": late.key.1,
            })),
        })
    }

    fn amendable(&self, of: Offset, action: Action) -> Amendable {
        let fate = self.state.conditions.values().find_map(|condition| condition.fate(of));
        match (fate, action) {
            (_, Action::Label | Action::Note) | (Some(Fate::Last), _) => Amendable::Yes,
            (Some(_), Action::Shelve | Action::Unshelve) => Amendable::Yes,
            (Some(Fate::Followed(by)), Action::Acknowledge) => Amendable::RaisedAgain(by),
            (None, _) => Amendable::Unknown,
        }
    }
}
