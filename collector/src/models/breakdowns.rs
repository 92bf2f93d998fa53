//! `breakdowns`: every breakdown from its beginning to its end, with the alarms around it.
//!
//! [`super::standing`] defines when a breakdown begins and ends, for this model as for `states` and `kpi`;
//! [`super::episodes`] defines its first-out alarm. The model shows the machine's alarms from
//! [`BreakdownsSettings::alarms_before_s`] before it began until it ended, sorted, with the breakdown as a row of them.
//! The order in which events come makes no difference, see [`super::track`].

use std::collections::BTreeMap;

use afferent_protocol::event::Body;
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amendment::{AMENDMENT, Amendments};
use super::episodes::{EpisodeSettings, Episodes};
use super::report::{Report, SeverityName};
use super::shares::{ClaimLimits, MACHINES, Seriousness};
use super::track::{HistoryLimit, Track};
use super::{ClaimTable, LoggedEvent, Model, Shortage};
use crate::limits::MODEL_EPISODES_MAX;

/// The settings of `breakdowns`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakdownsSettings {
    /// Alarms raised within this number of seconds before a breakdown are shown with it.
    pub alarms_before_s: u32,
    /// Breakdowns of this severity or a higher one are shown.
    pub severity_min: SeverityName,
}

impl Default for BreakdownsSettings {
    fn default() -> Self {
        Self { alarms_before_s: 900, severity_min: SeverityName::Debug }
    }
}

/// The state of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BreakdownsState {
    machines: ClaimTable<Track<Episodes>>,
    amendments: Amendments,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Breakdowns {
    severity_min: SeverityName,
    settings: EpisodeSettings,
    state: BreakdownsState,
    room: HistoryLimit,
    size: ClaimLimits,
}

impl Breakdowns {
    /// A model without events.
    pub fn new(settings: BreakdownsSettings) -> Self {
        let alarms_before_us = i64::from(settings.alarms_before_s) * 1_000_000;
        let (severity_min, settings) = (settings.severity_min, EpisodeSettings { alarms_before_us });
        Self {
            severity_min,
            settings,
            state: BreakdownsState::default(),
            room: HistoryLimit::default(),
            size: MACHINES,
        }
    }
}

#[cfg(test)]
impl Breakdowns {
    /// The model with a different size.
    pub(super) fn sized(mut self, size: ClaimLimits) -> Self {
        self.size = size;
        self
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

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        if let Body::Sample(_) = seen.event.body {
            return;
        }
        if let Body::Derived(derived) = seen.event.body
            && derived.kind == AMENDMENT
        {
            self.state.amendments.take(seen);
        }
        let Some(report) = Report::with_alarms(seen, self.severity_min) else { return };
        let (kind, room) = (Seriousness::of(&seen.event.body), &mut self.room);
        let taken = self.state.machines.take(seen, seen.machine, kind, self.size, |gone| room.release(&gone));
        let Some(taken) = taken else { return };
        self.room.keep(taken.value, &self.state.amendments, &self.settings, |track| {
            track.event(seen, None);
            track.report(seen, report);
        });
    }

    fn sort(&mut self, is_sorting: bool) {
        self.room = if is_sorting { HistoryLimit::Sorting(0) } else { HistoryLimit::Usual };
        if !is_sorting {
            let (machines, amendments) = (&mut self.state.machines, &self.state.amendments);
            machines.values_mut().for_each(|track| track.fold_aged(amendments, &self.settings));
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let amendments = &self.state.amendments;
        let (mut machines, mut forgotten) = (Map::new(), 0);
        let mut episodes = BTreeMap::new();
        for kept in self.state.machines.iter() {
            let (name, track) = (kept.name(), &kept.value);
            let walked = track.walked(None, amendments, &self.settings);
            forgotten += walked.forgotten();
            let mut machine = Map::new();
            machine.insert("alarms_beyond".into(), walked.active_beyond().into());
            track.put(&mut machine);
            machine.insert("counts_from".into(), kept.begun.map(|offset| offset.to_string()).into());
            machines.insert(name.to_owned(), machine.into());
            for episode in walked.all() {
                episodes.insert(episode.place(), (name, episode));
                if episodes.len() > MODEL_EPISODES_MAX {
                    episodes.pop_first();
                    forgotten += 1;
                }
            }
        }
        let episodes = episodes.into_values().map(|(machine, episode)| episode.view(machine, amendments));
        json!({
            "episodes": episodes.collect::<Vec<_>>(),
            "forgotten": forgotten,
            "machines": machines,
            "refused": self.state.machines.not_shown().events(),
            "not_shown": self.state.machines.not_shown_view(at),
            "labels_not_shown": amendments.not_shown_view(at),
        })
    }

    fn shortage(&self) -> Option<Shortage> {
        self.state.machines.shortage("machines")
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{AlarmTransition, MachineState};

    use super::super::AnyModel;
    use super::super::testing::{Log, alarm, at, breakdown, cleared, derived, recovery, state};
    use super::super::time;
    use super::*;

    fn episodes(log: &Log) -> Vec<Value> {
        let mut model = Breakdowns::new(BreakdownsSettings::default());
        log.fold(&mut model);
        Model::view(&model, at(0))["episodes"].as_array().unwrap().clone()
    }

    fn conditions(alarms: &Value) -> Vec<&str> {
        alarms.as_array().unwrap().iter().map(|alarm| alarm["condition"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_first_of_the_alarms_that_were_active_is_the_first_out_and_what_comes_later_a_consequence() {
        let raised = AlarmTransition::Raised;
        let episodes = episodes(&Log::of(&[
            alarm(1, "88-C/old", "over long ago", raised),
            cleared(2, "88-C/old", "over long ago"),
            alarm(400, "88-C/blip", "over before", raised),
            cleared(401, "88-C/blip", "over before"),
            alarm(1000, "88-C/motor", "current", raised),
            alarm(521, "88-C/belt", "slip", raised),
            alarm(995, "77-A/belt", "of another machine", raised),
            breakdown(1001, "88-C", "E42", "Belt torn"),
            alarm(1022, "88-C/oil", "pressure", raised),
            // Not cleared: the same alarm.
            alarm(1023, "88-C/belt", "slip", raised),
            recovery(1100, "88-C", "E42"),
        ]));
        assert_eq!(episodes.len(), 1);
        assert_eq!(episodes[0]["first_out"]["condition"], "slip");
        assert_eq!(conditions(&episodes[0]["alarms"]), ["over before", "slip", "current", "pressure"]);
        let roles: Vec<_> =
            episodes[0]["rows"].as_array().unwrap().iter().map(|row| row["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["before", "first_out", "before", "breakdown", "consequence", "end"]);
    }

    #[test]
    fn what_is_shown_does_not_decide_what_came_first() {
        let raised = AlarmTransition::Raised;
        let log = Log::of(&[
            alarm(520, "88-C", "BELT_SLIP", raised),
            breakdown(1000, "88-C", "E1", ""),
            alarm(1021, "88-C", "OIL_HOT", raised),
        ]);
        let mut model = Breakdowns::new(BreakdownsSettings { alarms_before_s: 300, ..BreakdownsSettings::default() });
        log.fold(&mut model);
        let episode = Model::view(&model, at(0))["episodes"][0].clone();
        assert_eq!(episode["first_out"]["condition"], "BELT_SLIP", "8 min before, and still active");
        assert_eq!(conditions(&episode["alarms"]), ["BELT_SLIP", "OIL_HOT"], "and it is shown");
        let only_later = Log::of(&[breakdown(1000, "88-C", "E1", ""), alarm(1021, "88-C", "OIL_HOT", raised)]);
        assert_eq!(episodes(&only_later)[0]["first_out"], Value::Null, "an alarm after it is never first-out");
        let at_once = Log::of(&[breakdown(1000, "88-C", "E1", ""), alarm(1000, "88-C", "OIL_HOT", raised)]);
        assert_eq!(episodes(&at_once)[0]["first_out"]["condition"], "OIL_HOT");
    }

    #[test]
    fn a_breakdown_out_of_service_is_shown_as_one() {
        let log = [state(1, "88-C", MachineState::OutOfService), breakdown(2, "88-C", "E1", "")];
        assert_eq!(episodes(&Log::of(&log))[0]["out_of_service"], true);
        assert_eq!(episodes(&Log::of(&log[1..]))[0]["out_of_service"], false);
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
        let with = |subject: &'static str| [&log[..], &[state(30, subject, MachineState::Executing)]].concat();
        assert_eq!(
            episodes(&Log::of(&with("88-C")))[1]["until"],
            time(at(30)),
            "the machine executes, so its parts are well"
        );
        assert!(episodes(&Log::of(&with("88-C/feeder")))[1]["until"].is_null());
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
        let codes: Vec<String> = (0..4000).map(|number| format!("E{number}")).collect();
        let events: Vec<_> = codes.iter().zip(1..).map(|(code, second)| breakdown(second, "88-C", code, "")).collect();
        Log::of(&events).fold(&mut model);
        let view = Model::view(&model, at(0));
        let (known, forgotten) = (view["episodes"].as_array().unwrap(), view["forgotten"].as_u64().unwrap());
        assert_eq!(known.len() as u64 + forgotten, 4000);
        assert!(known.len() > 150 && forgotten > 0, "{}", known.len());
        assert_eq!(known.last().unwrap()["code"], "E3999");
        let followed = known.iter().filter(|episode| episode["followed"] == true).count();
        assert_eq!(followed, crate::limits::MODEL_BROKEN_CODES_MAX);
        assert!(AnyModel::save(&model).len() < 64 << 10);
    }
}
