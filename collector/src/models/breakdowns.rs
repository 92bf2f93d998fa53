//! `breakdowns`: every breakdown from its beginning to its end, with the alarms around it.
//!
//! An episode begins with a `Breakdown` of a subject and code that has none open. It ends with the `Recovery` of its subject, or
//! of one above it, with its code or with none, or when the machine reports that it executes. Its alarms are those of the same
//! machine that were raised from [`BreakdownsSettings::alarms_before_s`] before it began, until it ended; the earliest of
//! them by event time is the first-out alarm (ISA-18.2), wherever it stands in the log.

use std::collections::{BTreeMap, VecDeque};

use afferent_protocol::event::{AlarmTransition, Body, MachineState};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::amendment::{AMENDMENT, Action, Amendment, shortened};
use super::states::SeverityName;
use super::{Model, Seen, time};
use crate::limits::{
    MODEL_ALARMS_BEFORE_MAX, MODEL_AMENDMENTS_MAX, MODEL_BROKEN_CODES_MAX, MODEL_EPISODE_ALARMS_MAX,
    MODEL_EPISODES_MAX, MODEL_MACHINES_MAX,
};

/// The settings of `breakdowns`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakdownsSettings {
    /// Alarms that were raised so many seconds before a breakdown belong to it.
    pub alarms_before_s: u32,
    /// Breakdowns of this severity or a higher one are told.
    pub severity_min: SeverityName,
}

impl Default for BreakdownsSettings {
    fn default() -> Self {
        Self { alarms_before_s: 300, severity_min: SeverityName::Debug }
    }
}

/// An alarm that was raised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Raised {
    time: Timestamp,
    offset: u64,
    subject: String,
    condition: String,
}

/// A breakdown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    offset: u64,
    machine: String,
    subject: String,
    code: String,
    severity: SeverityName,
    message: String,
    from: Timestamp,
    until: Option<Timestamp>,
    /// How often it was told again while it lasted.
    repeats: u64,
    /// In the order of their event times.
    alarms: Vec<Raised>,
    alarms_beyond: u64,
    labels: Vec<(String, String)>,
    notes: Vec<(String, String)>,
}

/// What is kept of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Machine {
    /// The latest alarms, in the order in which they came.
    alarms: VecDeque<Raised>,
    /// Offsets of the episodes that are not over.
    open: Vec<u64>,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakdownsState {
    /// By offset.
    episodes: VecDeque<Episode>,
    forgotten: u64,
    machines: BTreeMap<String, Machine>,
    refused: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Breakdowns {
    settings: BreakdownsSettings,
    state: BreakdownsState,
}

impl Breakdowns {
    /// One that has seen nothing.
    pub fn new(settings: BreakdownsSettings) -> Self {
        Self { settings, state: BreakdownsState::default() }
    }

    fn machine(&mut self, name: &str) -> Option<&mut Machine> {
        let machines = &mut self.state.machines;
        if !machines.contains_key(name) {
            if machines.len() == MODEL_MACHINES_MAX {
                self.state.refused += 1;
                return None;
            }
            machines.insert(name.to_owned(), Machine::default());
        }
        machines.get_mut(name)
    }

    fn begin(&mut self, seen: &Seen<'_>, body: &afferent_protocol::event::Breakdown<'_>) {
        let (subject, code) = (seen.subject.text, shortened(body.code));
        let open = self.state.machines.get(seen.machine.text).map(|machine| machine.open.clone()).unwrap_or_default();
        let again = open.into_iter().find(|offset| {
            self.state.episode(*offset).is_some_and(|episode| episode.subject == subject && episode.code == code)
        });
        if let Some(episode) = again.and_then(|offset| self.state.episode_mut(offset)) {
            episode.repeats += 1;
            return;
        }
        let (from, before) = (seen.event.time, i64::from(self.settings.alarms_before_s) * 1_000_000);
        let offset = seen.offset.get();
        let Some(machine) = self.machine(seen.machine.text) else { return };
        // Of a machine that never recovers, the oldest are followed no more: their end is not told.
        if machine.open.len() == MODEL_BROKEN_CODES_MAX {
            machine.open.remove(0);
        }
        machine.open.push(offset);
        let recent = machine.alarms.iter().filter(|alarm| alarm.time.micros() >= from.micros() - before);
        let mut alarms: Vec<Raised> = recent.cloned().collect();
        alarms.sort();
        alarms.truncate(MODEL_EPISODE_ALARMS_MAX);
        // By offset, which grows but for events that were assumed.
        let at = self.state.episodes.partition_point(|known| known.offset < offset);
        self.state.episodes.insert(
            at,
            Episode {
                offset,
                machine: seen.machine.text.to_owned(),
                subject: subject.to_owned(),
                code,
                severity: body.severity.into(),
                message: shortened(body.message),
                from,
                until: None,
                repeats: 0,
                alarms,
                alarms_beyond: 0,
                labels: Vec::new(),
                notes: Vec::new(),
            },
        );
        self.forget();
    }

    /// Lets go of the oldest episode when there are too many.
    fn forget(&mut self) {
        if self.state.episodes.len() <= MODEL_EPISODES_MAX {
            return;
        }
        if let Some(oldest) = self.state.episodes.pop_front() {
            self.state.forgotten += 1;
            if let Some(machine) = self.state.machines.get_mut(&oldest.machine) {
                machine.open.retain(|offset| *offset != oldest.offset);
            }
        }
    }

    /// Ends the machine's open episodes that fit.
    fn end(&mut self, seen: &Seen<'_>, fits: impl Fn(&Episode) -> bool) {
        let state = &mut self.state;
        let Some(machine) = state.machines.get_mut(seen.machine.text) else { return };
        let episodes = &mut state.episodes;
        machine.open.retain(|offset| {
            let Ok(at) = episodes.binary_search_by_key(offset, |episode| episode.offset) else { return false };
            let episode = &mut episodes[at];
            // What is told late, of a time before it began, was another one.
            let ends = fits(episode) && seen.event.time >= episode.from;
            if ends {
                episode.until = Some(seen.event.time);
            }
            !ends
        });
    }

    fn alarm(&mut self, seen: &Seen<'_>, condition: &str) {
        let before = i64::from(self.settings.alarms_before_s) * 1_000_000;
        let raised = Raised {
            time: seen.event.time,
            offset: seen.offset.get(),
            subject: seen.subject.text.to_owned(),
            condition: shortened(condition),
        };
        let Some(machine) = self.machine(seen.machine.text) else { return };
        machine.alarms.push_back(raised.clone());
        if machine.alarms.len() > MODEL_ALARMS_BEFORE_MAX {
            machine.alarms.pop_front();
        }
        for offset in machine.open.clone() {
            let Some(episode) = self.state.episode_mut(offset) else { continue };
            if raised.time.micros() < episode.from.micros() - before {
                continue;
            }
            let at = episode.alarms.partition_point(|known| *known < raised);
            episode.alarms.insert(at, raised.clone());
            if episode.alarms.len() > MODEL_EPISODE_ALARMS_MAX {
                episode.alarms.pop();
                episode.alarms_beyond += 1;
            }
        }
    }

    fn amend(&mut self, seen: &Seen<'_>) {
        let Some(amendment) = Amendment::read(seen) else { return };
        let Some(episode) = self.state.episode_mut(amendment.of.get()) else { return };
        let (list, text) = match amendment.action {
            Action::Label => (&mut episode.labels, amendment.reason),
            Action::Note => (&mut episode.notes, amendment.note),
            _ => return,
        };
        if list.len() == MODEL_AMENDMENTS_MAX {
            list.remove(0);
        }
        list.push((text, amendment.by));
    }
}

impl BreakdownsState {
    fn episode(&self, offset: u64) -> Option<&Episode> {
        self.episodes.binary_search_by_key(&offset, |episode| episode.offset).ok().map(|at| &self.episodes[at])
    }

    fn episode_mut(&mut self, offset: u64) -> Option<&mut Episode> {
        self.episodes.binary_search_by_key(&offset, |episode| episode.offset).ok().map(|at| &mut self.episodes[at])
    }
}

/// Whether `subject` is `above` or lies below it.
fn is_within(subject: &str, above: &str) -> bool {
    subject.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Episode {
    fn view(&self) -> Value {
        let alarm = |raised: &Raised| {
            json!({
                "offset": raised.offset.to_string(),
                "subject": raised.subject,
                "condition": raised.condition,
                "time": time(raised.time),
            })
        };
        let said = |key: &str, list: &[(String, String)]| -> Vec<Value> {
            list.iter().map(|(text, by)| json!({ key: text, "by": by })).collect()
        };
        json!({
            "id": self.offset.to_string(),
            "machine": self.machine,
            "subject": self.subject,
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "from": time(self.from),
            "until": self.until.map(time),
            "repeats": self.repeats,
            "first_out": self.alarms.first().map(alarm),
            "alarms": self.alarms.iter().map(alarm).collect::<Vec<_>>(),
            "alarms_beyond": self.alarms_beyond,
            "labels": said("reason", &self.labels),
            "notes": said("note", &self.notes),
        })
    }
}

impl Model for Breakdowns {
    type State = BreakdownsState;

    fn state(&self) -> &BreakdownsState {
        &self.state
    }

    fn restore(&mut self, state: BreakdownsState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &Seen<'_>) {
        match seen.event.body {
            Body::Breakdown(body) if SeverityName::from(body.severity) >= self.settings.severity_min => {
                self.begin(seen, &body);
            }
            Body::Recovery(body) => {
                let code = shortened(body.code);
                self.end(seen, |episode| {
                    is_within(&episode.subject, seen.subject.text) && (code.is_empty() || code == episode.code)
                });
            }
            Body::State(state) if state.state == MachineState::Executing => self.end(seen, |_| true),
            Body::Alarm(alarm) if alarm.transition == AlarmTransition::Raised => self.alarm(seen, alarm.condition),
            Body::Derived(derived) if derived.kind == AMENDMENT => self.amend(seen),
            _ => {}
        }
    }

    fn view(&self, _: Timestamp) -> Value {
        json!({
            "episodes": self.state.episodes.iter().map(Episode::view).collect::<Vec<_>>(),
            "forgotten": self.state.forgotten,
            "refused": self.state.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, alarm, at, breakdown, derived, recovery, state};
    use super::*;

    fn episodes(log: &Log) -> Vec<Value> {
        let mut model = Breakdowns::new(BreakdownsSettings::default());
        log.fold(&mut model);
        Model::view(&model, at(0))["episodes"].as_array().unwrap().clone()
    }

    #[test]
    fn the_earliest_alarm_before_a_breakdown_is_the_first_out() {
        let raised = AlarmTransition::Raised;
        let episodes = episodes(&Log::of(&[
            alarm(1, "88-C/old", "long ago", raised),
            alarm(1000, "88-C/motor", "current", raised),
            alarm(990, "88-C/belt", "slip", raised),
            alarm(995, "77-A/belt", "of another machine", raised),
            breakdown(1001, "88-C", "E42", "Belt torn"),
            alarm(1002, "88-C/oil", "pressure", raised),
        ]));
        assert_eq!(episodes.len(), 1);
        assert_eq!(episodes[0]["first_out"]["condition"], "slip");
        let conditions: Vec<&str> =
            episodes[0]["alarms"].as_array().unwrap().iter().map(|a| a["condition"].as_str().unwrap()).collect();
        assert_eq!(conditions, ["slip", "current", "pressure"]);
    }

    #[test]
    fn an_episode_ends_with_its_recovery_and_not_with_that_of_another() {
        let log = [
            breakdown(10, "88-C/belt", "E1", ""),
            breakdown(11, "88-C/oil", "E2", ""),
            breakdown(12, "88-C/belt", "E1", ""),
            recovery(5, "88-C/belt", "E1"),
            recovery(20, "88-C/belt", "E9"),
            recovery(21, "88-C/b", ""),
            recovery(22, "88-C/belt", "E1"),
        ];
        let ended = episodes(&Log::of(&log));
        assert_eq!((&ended[0]["until"], &ended[0]["repeats"]), (&time(at(22)), &json!(1)));
        assert!(ended[1]["until"].is_null());
        let executing = [&log[..], &[state(30, "88-C", MachineState::Executing)]].concat();
        assert_eq!(episodes(&Log::of(&executing))[1]["until"], time(at(30)));
    }

    #[test]
    fn people_add_labels_and_notes_to_an_episode() {
        let log = Log::of(&[
            breakdown(10, "88-C", "E1", ""),
            derived("88-C", AMENDMENT, r#"{"of":"0","action":"label","reason":"worn belt","by":"Ada"}"#),
            derived("88-C", AMENDMENT, r#"{"of":"0","action":"note","note":"order two"}"#),
            derived("88-C", AMENDMENT, r#"{"of":"77","action":"note","note":"of nothing"}"#),
        ]);
        let episodes = episodes(&log);
        assert_eq!(episodes[0]["labels"], json!([{ "reason": "worn belt", "by": "Ada" }]));
        assert_eq!(episodes[0]["notes"], json!([{ "note": "order two", "by": "" }]));
    }

    #[test]
    fn the_oldest_episodes_are_forgotten_and_counted() {
        let mut model = Breakdowns::new(BreakdownsSettings::default());
        let codes: Vec<String> = (0..MODEL_EPISODES_MAX + 3).map(|number| format!("E{number}")).collect();
        let events: Vec<_> = codes.iter().map(|code| breakdown(1, "88-C", code, "")).collect();
        Log::of(&events).fold(&mut model);
        assert_eq!((model.state.episodes.len(), model.state.forgotten), (MODEL_EPISODES_MAX, 3));
        assert_eq!(model.state.machines["88-C"].open.len(), MODEL_BROKEN_CODES_MAX);
    }
}
