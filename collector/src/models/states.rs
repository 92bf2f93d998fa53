//! `states`: what state every machine is in, and was.
//!
//! The states are those of OPC 40001-1 (UA for Machinery), `MachineryItemState`, and `no_data`: the machine has not told a
//! state, or neither it nor its source was heard for [`StatesSettings::no_data_s`]. See [`super::timeline`].

use afferent_protocol::event::{Body, Severity};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amendment::{AMENDMENT, Action, Amendment, shortened};
use super::timeline::{Change, Condition, Timeline, What};
use super::{Model, Seen, Table, seconds, time};
use crate::limits::{MODEL_INTERVALS_MAX, MODEL_MACHINES_MAX, MODEL_SOURCES_MAX};

/// The settings of `states`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatesSettings {
    /// A machine that was not heard for so many seconds, nor its source, has no data.
    pub no_data_s: u32,
    /// Breakdowns of this severity or a higher one make a machine not available.
    pub severity_min: SeverityName,
}

impl Default for StatesSettings {
    fn default() -> Self {
        Self { no_data_s: 900, severity_min: SeverityName::Error }
    }
}

/// A severity, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    /// For finding faults in software.
    Debug,
    /// Nothing to do.
    Info,
    /// To be looked at.
    Warning,
    /// Something does not work.
    Error,
    /// The machine or a person is in danger.
    Fatal,
}

impl From<Severity> for SeverityName {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Debug => Self::Debug,
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Fatal => Self::Fatal,
        }
    }
}

/// What is kept of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Machine {
    timeline: Timeline,
    /// The latest event time.
    last_event: Timestamp,
    /// When it was heard last, by the collector's clock.
    heard: Timestamp,
    /// Who told of it last.
    source: String,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatesState {
    machines: Table<Machine>,
    /// When each source was heard last, by the collector's clock.
    sources: Table<Timestamp>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct States {
    settings: StatesSettings,
    state: StatesState,
}

impl States {
    /// One that has seen nothing.
    pub fn new(settings: StatesSettings) -> Self {
        Self { settings, state: StatesState::default() }
    }

    fn machine_view(&self, machine: &Machine, at: Timestamp) -> Value {
        let source = self.state.sources.get(&machine.source).copied().unwrap_or(machine.heard);
        let is_silent = seconds(machine.heard.max(source), at) > f64::from(self.settings.no_data_s);
        let intervals = machine.timeline.intervals();
        let (condition, since, reason) = match intervals.last() {
            Some(_) | None if is_silent => (Condition::NoData, machine.last_event, "nothing was heard"),
            Some(last) => (last.condition, last.from, last.reason.as_str()),
            None => (Condition::NoData, machine.last_event, "it has not told its state"),
        };
        let intervals: Vec<Value> = (intervals.iter())
            .map(|interval| {
                json!({
                    "state": interval.condition.name(),
                    "from": time(interval.from),
                    "until": interval.until.map(time),
                    "reason": interval.reason,
                })
            })
            .collect();
        json!({
            "state": condition.name(),
            "since": time(since),
            "reason": reason,
            "last_event": time(machine.last_event),
            "intervals": intervals,
            "intervals_forgotten": machine.timeline.forgotten(),
            "late": machine.timeline.late(),
        })
    }
}

/// What an event changes about a machine's state, when breakdowns count from this severity on.
pub(super) fn change_of(seen: &Seen<'_>, severity_min: SeverityName) -> Option<What> {
    match seen.event.body {
        Body::State(state) => Some(What::Reported(state.state.into(), shortened(state.reason))),
        Body::Breakdown(body) if SeverityName::from(body.severity) >= severity_min => {
            Some(What::Broken(shortened(body.code), shortened(body.message)))
        }
        Body::Recovery(body) => Some(What::Recovered(shortened(body.code))),
        _ => None,
    }
}

/// Whether an event tells of a machine, and not of what carries events.
pub(super) fn tells_of_a_machine(seen: &Seen<'_>) -> bool {
    match seen.event.body {
        Body::Sample(_) => of_ring(seen).is_none(),
        Body::Breakdown(_) | Body::Recovery(_) | Body::State(_) | Body::Alarm(_) => true,
        _ => false,
    }
}

/// What an agent measures of its own ring log stands under its own name: `used` for `press-88/ring/used`.
pub(super) fn of_ring<'s>(seen: &Seen<'s>) -> Option<&'s str> {
    seen.subject.text.strip_prefix(seen.batch.source.as_str())?.strip_prefix("/ring/")
}

impl Model for States {
    type State = StatesState;

    fn state(&self) -> &StatesState {
        &self.state
    }

    fn restore(&mut self, state: StatesState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &Seen<'_>) {
        if seen.is_first_of_batch() {
            let name = super::Name { id: 0, text: seen.batch.source.as_str() };
            if let Some(heard) = self.state.sources.get_or_add(name, MODEL_SOURCES_MAX) {
                *heard = seen.ingest.max(*heard);
            }
        }
        if let Body::Derived(derived) = seen.event.body
            && derived.kind == AMENDMENT
        {
            let amendment = Amendment::read(seen).filter(|amendment| amendment.action == Action::Label);
            if let (Some(amendment), Some(machine)) = (amendment, self.state.machines.get_mut(seen.machine.text)) {
                machine.timeline.label(amendment.of.get(), &amendment.reason);
            }
        }
        if !tells_of_a_machine(seen) {
            return;
        }
        let Some(machine) = self.state.machines.get_or_add(seen.machine, MODEL_MACHINES_MAX) else { return };
        machine.last_event = machine.last_event.max(seen.event.time);
        machine.heard = machine.heard.max(seen.ingest);
        if machine.source != seen.batch.source.as_str() {
            machine.source = seen.batch.source.as_str().to_owned();
        }
        if let Some(what) = change_of(seen, self.settings.severity_min) {
            let (time, offset) = (seen.event.time, seen.offset.get());
            machine.timeline.add(Change { time, offset, what, label: String::new() }, MODEL_INTERVALS_MAX);
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let machines: Map<String, Value> = (self.state.machines.iter())
            .map(|(name, machine)| (name.to_owned(), self.machine_view(machine, at)))
            .collect();
        json!({ "machines": machines, "refused": self.state.machines.refused() })
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::MachineState;

    use super::super::testing::{Log, at, breakdown, derived, recovery, sample, state};
    use super::*;

    fn view(log: &Log, second: i64) -> Value {
        let mut model = States::new(StatesSettings::default());
        log.fold(&mut model);
        Model::view(&model, at(second))["machines"]["88-C"].clone()
    }

    #[test]
    fn a_machine_that_broke_down_is_not_available_and_says_why() {
        let log = Log::of(&[
            state(10, "88-C", MachineState::Executing),
            breakdown(20, "88-C/belt", "E42", "Belt torn"),
            recovery(30, "88-C/belt", "E42"),
        ]);
        let now = view(&log, 40);
        assert_eq!((&now["state"], &now["since"]), (&json!("executing"), &time(at(30))));
        assert_eq!(now["intervals"][1]["state"], "not_available");
        assert_eq!(now["intervals"][1]["reason"], "E42: Belt torn");
        assert_eq!(now["intervals"][1]["until"], time(at(30)));
    }

    #[test]
    fn a_machine_that_nobody_hears_has_no_data_whatever_it_said_last() {
        let log = Log::of(&[state(10, "88-C", MachineState::Executing)]);
        assert_eq!(view(&log, 10 + 900)["state"], "executing");
        assert_eq!(view(&log, 10 + 901)["state"], "no_data");
    }

    #[test]
    fn a_quiet_machine_is_there_while_its_source_is_heard() {
        let log = Log::of(&[state(10, "88-C", MachineState::Executing), sample(2000, "other/x", 1.0)]);
        assert_eq!(view(&log, 2100)["state"], "executing");
    }

    #[test]
    fn a_machine_that_only_measures_has_told_no_state() {
        assert_eq!(view(&Log::of(&[sample(10, "88-C/x", 1.0)]), 11)["state"], "no_data");
    }

    #[test]
    fn an_agent_that_tells_of_its_ring_log_is_no_machine_and_one_that_tells_of_its_computer_is() {
        let machines = |subject: &str| {
            let mut model = States::new(StatesSettings::default());
            Log::of(&[sample(10, subject, 1.0)]).fold(&mut model);
            Model::view(&model, at(11))["machines"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(machines("press-88/ring/used"), Vec::<String>::new());
        assert_eq!(machines("press-88/cpu/usage"), ["press-88"]);
        assert_eq!(machines("88-C/ring/used"), ["88-C"], "a machine may have a ring of its own");
    }

    #[test]
    fn a_stop_can_be_labelled_later() {
        let label = r#"{"of":"0","action":"label","reason":"worn belt"}"#;
        let log = Log::of(&[breakdown(10, "88-C", "E1", ""), derived("88-C", AMENDMENT, label)]);
        assert_eq!(view(&log, 11)["reason"], "worn belt");
    }
}
