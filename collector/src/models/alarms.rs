//! `alarms`: alarms that need attention, with their life cycle after ISA-18.2 ([`super::life_cycle`]).
//!
//! An alarm is a condition of a subject. Its transitions come as events of its machine or as amendments of people. The
//! model is a function of the set of these events: [`super::order`] sorts them, whatever order they came in.
//!
//! - Raises without a clear between them are one alarm: its `offset` and `raised` are those of the first one, priority
//!   and message those of the last one.
//! - An acknowledgement by an amendment is about the alarm that it names by the offset of any of its raises. One by the
//!   machine is about the alarm active at its time.
//! - Shelving is about the condition, and outlasts its alarms. Amendments count from their ingest time: the clocks of
//!   people play no part.
//!
//! A cleared condition is kept, so that a raise that comes late is sorted in correctly. Limits:
//!
//! - Of one condition [`MODEL_ALARM_REPORTS_MAX`](crate::limits::MODEL_ALARM_REPORTS_MAX) reports are kept; those that
//!   only repeat are dropped first.
//! - [`MODEL_ALARMS_MAX`] conditions are kept, and every source that reports them has a share (`room`). Of a source
//!   that has more, first those are dropped that were cleared
//!   [`MODEL_ALARM_HORIZON_US`](crate::limits::MODEL_ALARM_HORIZON_US) before the latest alarm, then the other cleared
//!   ones, and then the alarms of the lowest priority, of one priority the oldest. Alarms of other sources stay.
//!
//! Within these limits the order of arrival does not change the output. A report that comes behind them is applied,
//! counted and listed (`late`), and so are the alarms without room (`dropped`, and by source in `not_shown`); `horizon`
//! is the latest time of a dropped condition.

mod condition;
#[cfg(test)]
mod permutations;
mod room;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use afferent_protocol::event::{AlarmTransition, Body};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::condition::{AlarmCondition, RaiseRelation, Shelf};
use self::room::{Counts, counts_of, parted, share_of};
use super::amendment::{AMENDMENT, Action, Amendment, shortened};
use super::life_cycle::Stage;
use super::not_shown::{NotShown, Shortage, is_recent};
use super::{Amendable, LoggedEvent, Model, Order, machine_of, time};
use crate::limits::{MODEL_ALARMS_MAX, MODEL_ALARMS_OF_ONE_MAX};

/// The settings of `alarms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmsSettings {
    /// Alarms below this priority (1 to 1000) are left out.
    pub priority_min: u16,
}

/// Subject and condition.
type Key = (String, String);

/// An event that came after the state that it depends on was dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LateAlarm {
    offset: u64,
    key: Key,
}

/// The state of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmsState {
    conditions: BTreeMap<Key, AlarmCondition>,
    /// The latest time of all transitions.
    latest: Timestamp,
    /// Alarms without room, by priority.
    dropped: BTreeMap<u16, u64>,
    /// The latest time of a condition that was dropped.
    horizon: Option<Timestamp>,
    late: u64,
    last_late: Option<LateAlarm>,
    /// Number of conditions that one source may have.
    share: usize,
    not_shown: NotShown,
    /// Ingest time of the latest raise.
    raised: Timestamp,
}

impl Default for AlarmsState {
    fn default() -> Self {
        Self {
            conditions: BTreeMap::new(),
            latest: Timestamp::default(),
            dropped: BTreeMap::new(),
            horizon: None,
            late: 0,
            last_late: None,
            share: MODEL_ALARMS_OF_ONE_MAX,
            not_shown: NotShown::default(),
            raised: Timestamp::default(),
        }
    }
}

/// The model.
#[derive(Clone, Debug)]
pub struct Alarms {
    settings: AlarmsSettings,
    state: AlarmsState,
    /// Number of conditions in the state, by source.
    counts: Counts,
    count: usize,
}

impl Alarms {
    /// A model without events.
    pub fn new(settings: AlarmsSettings) -> Self {
        Self { settings, state: AlarmsState::default(), counts: Counts::new(), count: 0 }
    }

    fn transition(&mut self, seen: &LoggedEvent<'_>, alarm: &afferent_protocol::event::Alarm<'_>) {
        let state = &mut self.state;
        state.latest = state.latest.max(seen.time);
        let is_forgotten = state.horizon.is_some_and(|horizon| seen.time <= horizon);
        let key = (seen.subject.text.to_owned(), shortened(alarm.condition));
        let entry = state.conditions.entry(key);
        let is_new = matches!(entry, Entry::Vacant(_));
        let condition = entry.or_default();
        let is_new_claim = condition.claim(seen.batch.source);
        let is_behind = match alarm.transition {
            AlarmTransition::Raised => {
                state.raised = state.raised.max(seen.ingest);
                condition.raise(seen, alarm.priority, || shortened(alarm.message))
            }
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
            state.last_late = Some(LateAlarm { offset: seen.offset.get(), key });
        }
        if is_new_claim {
            let of_source = self.counts.entry(seen.batch.source).or_default();
            (*of_source, self.count) = (*of_source + 1, self.count + 1);
            if state.is_crowded(*of_source, self.count) {
                state.make_room(seen.ingest);
                self.count_claims();
            }
        }
    }

    fn count_claims(&mut self) {
        self.counts = counts_of(self.state.conditions.values());
        self.count = self.counts.values().sum();
    }

    fn amend(&mut self, seen: &LoggedEvent<'_>) {
        let Some(amendment) = Amendment::read(seen) else { return };
        let named = self.state.conditions.values_mut().find(|condition| condition.fate(amendment.of).is_some());
        let Some(condition) = named else { return };
        // People send to the collector: its clock has the time.
        let at = Order { time: seen.ingest, ..seen.order() };
        match amendment.action {
            Action::Acknowledge => condition.acknowledge_raise(amendment.of),
            Action::Shelve => condition.shelve(at, amendment.until.map_or(Shelf::UntilTold, Shelf::Until)),
            Action::Unshelve => condition.shelve(at, Shelf::No),
            Action::Label | Action::Note => {}
        }
    }

    /// The alarms to show as of `at`, the most important ones first.
    fn listed(&self, at: Timestamp) -> Vec<(&Key, &AlarmCondition)> {
        let min = self.settings.priority_min;
        let conditions = self.state.conditions.iter();
        let is_listed = |condition: &AlarmCondition| match condition.alarm() {
            Some(alarm) => alarm.priority >= min && (alarm.stage != Stage::Normal || condition.is_shelved(at)),
            None => false,
        };
        let mut listed: Vec<_> = conditions.filter(|(_, condition)| is_listed(condition)).collect();
        listed.sort_by_cached_key(|(key, condition)| Reverse((condition.weight(at, Timestamp::default()), *key)));
        listed
    }

    /// The same, split into those with room and those without.
    fn shown(&self, at: Timestamp) -> [Vec<(&Key, &AlarmCondition)>; 2] {
        let listed = self.listed(at);
        let share = share_of(&counts_of(listed.iter().map(|(_, condition)| *condition)), self.state.share);
        parted(listed, share)
    }

    fn count_of(&self, source: SourceId) -> usize {
        self.counts.get(&source).copied().unwrap_or(0)
    }
}

/// How important it is to keep a condition: the least important compares as smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AlarmWeight {
    /// The condition is over, and so old that late raises are not expected any more.
    Beyond(Timestamp),
    /// The condition is over.
    Over(Timestamp),
    /// An active alarm: its priority, and when it was raised.
    Alarm(u16, Timestamp),
}

impl AlarmCondition {
    /// The weight as of `at`; conditions that were over before `horizon` weigh least.
    fn weight(&self, at: Timestamp, horizon: Timestamp) -> AlarmWeight {
        match self.alarm() {
            Some(alarm) if alarm.stage != Stage::Normal || self.is_shelved(at) => {
                AlarmWeight::Alarm(alarm.priority, alarm.raised)
            }
            _ => {
                let last = self.last_word().unwrap_or_default();
                if last < horizon { AlarmWeight::Beyond(last) } else { AlarmWeight::Over(last) }
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
        self.count_claims();
    }

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        match &seen.event.body {
            Body::Alarm(alarm) => self.transition(seen, alarm),
            Body::Derived(derived) if derived.kind == AMENDMENT => self.amend(seen),
            _ => {}
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let [kept, beyond] = self.shown(at);
        let mut dropped = self.state.dropped.clone();
        for alarm in beyond.iter().filter_map(|(_, condition)| condition.alarm()) {
            *dropped.entry(alarm.priority).or_default() += 1;
        }
        let min = self.settings.priority_min;
        dropped.retain(|priority, _| *priority >= min);
        let shown = kept.iter().filter_map(|(key, condition)| Some((*key, *condition, condition.alarm()?)));
        let mut active: Vec<_> = shown.collect();
        // The most urgent one first, and of those the one that has waited longest.
        active.sort_by_key(|(_, _, alarm)| (Reverse(alarm.priority), alarm.raised, alarm.offset));
        let told = |(key, condition, alarm): (&Key, &AlarmCondition, condition::Alarm<'_>)| {
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
        let mut not_shown = self.state.not_shown.view(at, |source| self.count_of(source));
        // The next conditions to be dropped are hidden already.
        if !beyond.is_empty() && is_recent(self.state.raised, at) {
            not_shown["now"] = true.into();
        }
        json!({
            "active": active.into_iter().map(told).collect::<Vec<_>>(),
            "dropped": {
                "count": dropped.values().sum::<u64>(),
                "by_priority": dropped.iter().map(|(priority, count)| (priority.to_string(), json!(count)))
                    .collect::<serde_json::Map<_, _>>(),
            },
            "not_shown": not_shown,
            "horizon": self.state.horizon.map(time),
            "late": self.state.late,
            "last_late": self.state.last_late.as_ref().map(|late| json!({
                "offset": late.offset.to_string(), "subject": late.key.0, "condition": late.key.1,
            })),
        })
    }

    fn shortage(&self) -> Option<Shortage> {
        let shortage = self.state.not_shown.shortage("alarms", |source| self.count_of(source));
        let is_crowded = self.count > MODEL_ALARMS_MAX || self.counts.values().any(|count| *count > self.state.share);
        if !is_crowded || self.shown(self.state.latest)[1].is_empty() {
            return shortage;
        }
        // The next conditions to be dropped are hidden already.
        let most = self.counts.iter().max_by_key(|(_, count)| **count);
        let sources = most.into_iter().map(|(source, count)| (*source, *count)).collect();
        let begun = Shortage { what: "alarms", events: 0, gave_way: 0, last: self.state.raised, sources };
        Some(shortage.map_or(begun, |known| Shortage { last: known.last.max(self.state.raised), ..known }))
    }

    fn amendable(&self, of: Offset, action: Action) -> Amendable {
        let fate = self.state.conditions.values().find_map(|condition| condition.fate(of));
        match (fate, action) {
            (_, Action::Label | Action::Note) | (Some(RaiseRelation::Last), _) => Amendable::Yes,
            (Some(_), Action::Shelve | Action::Unshelve) => Amendable::Yes,
            (Some(RaiseRelation::Followed(by)), Action::Acknowledge) => Amendable::RaisedAgain(by),
            (None, _) => Amendable::Unknown,
        }
    }
}
