//! `states`: the present and past states of every machine.
//!
//! The states are those of OPC 40001-1 (UA for Machinery), `MachineryItemState`, and `no_data`: the machine has not
//! reported a state, or was silent. [`super::standing`] defines a machine's state. Each report of a machine holds for
//! [`StatesSettings::no_data_s`]: from then until the next one its state is unknown. Reports of its source about itself
//! do not count as reports of the machine; only for a machine that reports nothing but changes
//! ([`StatesSettings::on_change`]) the heartbeats of its source do. The order in which events come makes no difference,
//! see [`super::track`].

use std::collections::BTreeMap;

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::machines::{Following, MachineEntry, Machines};
use super::report::{Condition, Report, SeverityName};
use super::shares::MACHINES;
use super::silence::{Pattern, Silence, SilenceSettings};
use super::timeline::{Purpose, Timeline};
use super::track::{HistoryLimit, Track};
use super::{LoggedEvent, Model, Shortage, time};

/// The settings of `states`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatesSettings {
    /// A machine that was silent for this number of seconds has no data.
    pub no_data_s: u32,
    /// The same for subjects that fit a pattern, as `"88-C/shift/**" = 28800`; of several patterns the longest counts.
    pub no_data_s_of: BTreeMap<Pattern, u32>,
    /// Machines that report only changes, as patterns: the heartbeats of their agent count as their reports.
    pub on_change: Vec<Pattern>,
    /// Breakdowns of this severity or a higher one make a machine not available.
    pub severity_min: SeverityName,
}

impl Default for StatesSettings {
    fn default() -> Self {
        let severity_min = SeverityName::Error;
        Self { no_data_s: 900, no_data_s_of: BTreeMap::new(), on_change: Vec::new(), severity_min }
    }
}

/// The state of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatesState {
    machines: Machines<()>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct States {
    severity_min: SeverityName,
    following: Following,
    state: StatesState,
}

impl States {
    /// A model without events.
    pub fn new(settings: StatesSettings) -> Self {
        let StatesSettings { no_data_s, no_data_s_of, on_change, severity_min } = settings;
        let silence = Silence::new(&SilenceSettings { no_data_s, no_data_s_of, on_change });
        let following =
            Following { silence, purpose: Purpose::Intervals, room: HistoryLimit::default(), size: MACHINES };
        Self { severity_min, following, state: StatesState::default() }
    }
}

fn machine_view(track: &Track<Timeline>, walked: Timeline, at: Timestamp) -> Map<String, Value> {
    let (intervals, forgotten) = walked.intervals(at, track.heard());
    let (condition, since, reason) = match intervals.last() {
        None => (Condition::NoData, track.last_event(), "the machine has not reported its state"),
        Some(last) => {
            // A different reason is not a different state.
            let same = intervals.iter().rev().take_while(|interval| interval.condition.name() == last.condition.name());
            (last.condition, same.last().unwrap_or(last).from, &*last.reason)
        }
    };
    let shown = intervals.iter().map(|interval| {
        json!({
            "state": interval.condition.name(),
            "from": time(interval.from),
            "until": interval.until.map(time),
            "reason": interval.reason,
        })
    });
    let mut view = Map::new();
    view.insert("state".into(), condition.name().into());
    view.insert("since".into(), time(since));
    view.insert("reason".into(), reason.into());
    view.insert("last_event".into(), time(track.last_event()));
    view.insert("intervals".into(), shown.collect());
    view.insert("intervals_forgotten".into(), forgotten.into());
    view
}

#[cfg(test)]
impl States {
    /// The model with a different size.
    pub(super) fn sized(mut self, size: super::shares::ClaimLimits) -> Self {
        self.following.size = size;
        self
    }
}

impl Model for States {
    type State = StatesState;

    fn state(&self) -> &StatesState {
        &self.state
    }

    fn restore(&mut self, state: StatesState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        let severity_min = self.severity_min;
        let read = |seen: &LoggedEvent<'_>| Report::of_state(seen, severity_min);
        self.state.machines.apply(seen, &mut self.following, read);
    }

    fn sort(&mut self, is_sorting: bool) {
        self.state.machines.sort(is_sorting, &mut self.following);
    }

    fn view(&self, at: Timestamp) -> Value {
        let view = |machine: &MachineEntry<()>, walk: &dyn Fn(Option<Timestamp>) -> Timeline| {
            machine_view(&machine.track, walk(None), at)
        };
        self.state.machines.view(at, &self.following, view).into()
    }

    fn shortage(&self) -> Option<Shortage> {
        self.state.machines.shortage()
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::MachineState;

    use super::super::amendment::AMENDMENT;
    use super::super::testing::{Log, at, breakdown, derived, heartbeat, recovery, sample, state};
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
    fn a_machine_does_not_stay_as_it_was_because_its_gateway_speaks() {
        let told = [state(10, "88-C", MachineState::Executing), sample(800, "77-A/x", 1.0), heartbeat(900, "press-88")];
        assert_eq!(view(&Log::of(&told), 1000)["state"], "no_data");
    }

    #[test]
    fn of_a_machine_that_tells_only_changes_the_heartbeats_of_its_agent_are_its_word() {
        let settings =
            StatesSettings { on_change: vec![Pattern::try_from("88-*".to_owned()).unwrap()], ..Default::default() };
        let told = [
            state(10, "77-A", MachineState::Executing),
            state(10, "88-C", MachineState::Executing),
            heartbeat(800, "press-88"),
        ];
        // Heartbeats that came before the agent's first report about the machine count as well.
        for log in [Log::of(&told), Log::of(&told).permuted(&[2, 0, 1])] {
            let mut model = States::new(settings.clone());
            log.fold(&mut model);
            let machines = Model::view(&model, at(1600))["machines"].clone();
            assert_eq!(
                (&machines["88-C"]["state"], &machines["77-A"]["state"]),
                (&json!("executing"), &json!("no_data"))
            );
            assert_eq!(Model::view(&model, at(1701))["machines"]["88-C"]["state"], "no_data");
        }
    }

    #[test]
    fn a_subject_has_a_period_of_its_own() {
        let of = [("88-C/**".to_owned(), 5000), ("**".to_owned(), 10)];
        let no_data_s_of = of.map(|(pattern, seconds)| (Pattern::try_from(pattern).unwrap(), seconds)).into();
        let mut model = States::new(StatesSettings { no_data_s_of, ..Default::default() });
        let log = [state(10, "88-C/a", MachineState::Executing), state(10, "77-A", MachineState::Executing)];
        Log::of(&log).fold(&mut model);
        let machines = Model::view(&model, at(5000))["machines"].clone();
        assert_eq!((&machines["88-C"]["state"], &machines["77-A"]["state"]), (&json!("executing"), &json!("no_data")));
        assert!(Pattern::try_from("[".to_owned()).unwrap_err().contains("is invalid"));
    }

    #[test]
    fn a_machine_that_only_measures_has_told_no_state() {
        assert_eq!(view(&Log::of(&[sample(10, "88-C/x", 1.0)]), 11)["state"], "no_data");
    }

    #[test]
    fn an_agents_own_computer_is_no_machine() {
        let machines = |event: afferent_protocol::event::Event<'_>| {
            let mut model = States::new(StatesSettings::default());
            Log::of(&[event]).fold(&mut model);
            Model::view(&model, at(11))["machines"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        for subject in ["press-88/ring/used", "press-88/cpu/usage", "press-88/filesystem/root/used"] {
            assert_eq!(machines(sample(10, subject, 1.0)), Vec::<String>::new(), "{subject}");
        }
        assert_eq!(machines(breakdown(10, "press-88/unit/cups.service", "unit-failed", "")), Vec::<String>::new());
        for subject in ["88-C/ring/used", "88-C/cpu/usage", "press-88/temperature", "press-88/cpu"] {
            let machine = super::super::machine_of(subject);
            assert_eq!(machines(sample(10, subject, 1.0)), [machine], "a machine may have one, and its agent's name");
        }
        assert_eq!(machines(breakdown(10, "press-88/unit/3", "E1", "")), ["press-88"]);
    }

    #[test]
    fn a_stop_can_be_labelled_later() {
        let label = r#"{"of":"0","action":"label","reason":"worn belt"}"#;
        let log = Log::of(&[breakdown(10, "88-C", "E1", ""), derived("88-C", AMENDMENT, label)]);
        assert_eq!(view(&log, 11)["reason"], "worn belt");
    }
}
