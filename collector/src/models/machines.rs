//! The machines of a model that follows their states: `states` and `kpi`.

use afferent_protocol::event::{Body, Breakdown, Recovery};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::amendment::{AMENDMENT, Amendments};
use super::below_source::below_source;
use super::report::Report;
use super::shares::{ClaimLimits, ClaimTable, NameEntry, Seriousness};
use super::silence::{Heartbeats, Silence};
use super::timeline::{Purpose, Timeline};
use super::track::{HistoryLimit, Track};
use super::{LoggedEvent, Shortage};

/// The state of all machines; an `X` of each of them beside its states.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machines<X> {
    machines: ClaimTable<MachineEntry<X>>,
    heartbeats: Heartbeats,
    amendments: Amendments,
}

/// The state of a machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MachineEntry<X> {
    /// Its states.
    pub track: Track<Timeline>,
    /// The model's other state of the machine.
    pub beside: X,
}

/// How machines are followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// When a machine is silent.
    pub silence: Silence,
    /// The model's use of the states.
    pub purpose: Purpose,
    /// How much is kept of each machine.
    pub room: HistoryLimit,
    /// How many machines are kept.
    pub size: ClaimLimits,
}

impl<X: Default> Machines<X> {
    /// Applies an event; returns the machine that it is about. `read` makes a report of it.
    pub fn apply(
        &mut self,
        seen: &LoggedEvent<'_>,
        following: &mut Following,
        read: impl FnOnce(&LoggedEvent<'_>) -> Option<Report>,
    ) -> Option<&mut X> {
        let Following { silence, purpose, room, size } = following;
        match seen.event.body {
            Body::LifeCycle(_) if silence.heeds_heartbeats() => self.beat(seen, following),
            Body::Derived(derived) if derived.kind == AMENDMENT && *purpose == Purpose::Intervals => {
                self.amendments.take(seen);
            }
            _ if tells_of_a_machine(seen) => {
                let gone = |gone: MachineEntry<X>| room.release(&gone.track);
                let taken = self.machines.take(seen, seen.machine, Seriousness::of(&seen.event.body), *size, gone)?;
                let (machine, is_new_claim) = (taken.value, taken.is_new_claim);
                let period_us = silence.period_us(seen.subject.text);
                room.keep(&mut machine.track, &self.amendments, purpose, |track| {
                    track.event(seen, Some(period_us));
                    if is_new_claim
                        && silence.is_on_change(seen.machine.text)
                        && let Some((heard, newest)) = self.heartbeats.of_source(seen.batch.source)
                    {
                        track.words(heard, newest);
                    }
                    if let Some(report) = read(seen) {
                        track.report(seen, report);
                    }
                });
                return Some(&mut machine.beside);
            }
            _ => {}
        }
        None
    }

    fn beat(&mut self, seen: &LoggedEvent<'_>, following: &mut Following) {
        let Following { silence, purpose, room, .. } = following;
        if !self.heartbeats.beat(seen, silence) {
            return;
        }
        self.machines.each_of(seen.batch.source, |name, machine| {
            if silence.is_on_change(name) {
                let period_us = silence.period_us(name);
                room.keep(&mut machine.track, &self.amendments, purpose, |track| track.word(seen.time, period_us));
            }
        });
    }

    /// See [`super::Model::sort`].
    pub fn sort(&mut self, is_sorting: bool, following: &mut Following) {
        following.room = if is_sorting { HistoryLimit::Sorting(0) } else { HistoryLimit::Usual };
        if !is_sorting {
            let (machines, amendments) = (&mut self.machines, &self.amendments);
            machines.values_mut().for_each(|machine| machine.track.fold_aged(amendments, &following.purpose));
        }
    }

    /// The `X` of each machine, mutable.
    pub fn beside_mut(&mut self) -> impl Iterator<Item = &mut X> {
        self.machines.values_mut().map(|machine| &mut machine.beside)
    }

    /// The machines without room, for health and metrics.
    pub fn shortage(&self) -> Option<Shortage> {
        self.machines.shortage("machines")
    }

    /// The state for readers as of `at`; `view` renders a machine from its states: all of them, or those before a time.
    pub fn view(
        &self,
        at: Timestamp,
        following: &Following,
        view: impl Fn(&MachineEntry<X>, &dyn Fn(Option<Timestamp>) -> Timeline) -> Map<String, Value>,
    ) -> Map<String, Value> {
        let of_machine = |kept: &NameEntry<MachineEntry<X>>| {
            let track = &kept.value.track;
            let walk = |end| track.walked(end, &self.amendments, &following.purpose);
            let mut machine = view(&kept.value, &walk);
            track.put(&mut machine);
            machine.insert("counts_from".into(), kept.begun.map(|offset| offset.to_string()).into());
            (kept.name().to_owned(), Value::Object(machine))
        };
        let machines: Map<String, Value> = self.machines.iter().map(of_machine).collect();
        let mut all = Map::new();
        all.insert("machines".into(), machines.into());
        all.insert("refused".into(), self.machines.not_shown().events().into());
        all.insert("not_shown".into(), self.machines.not_shown_view(at));
        if following.purpose == Purpose::Intervals {
            all.insert("labels_not_shown".into(), self.amendments.not_shown_view(at));
        }
        all
    }
}

/// Whether an event is about a machine, and not about the transport of events.
fn tells_of_a_machine(seen: &LoggedEvent<'_>) -> bool {
    match seen.event.body {
        Body::Sample(_) | Body::Alarm(_) => !is_of_host(seen, &OF_HOST),
        Body::Breakdown(Breakdown { code, .. }) | Body::Recovery(Recovery { code, .. }) => {
            code != UNIT_CODE || !is_of_host(seen, &[("unit", 2)])
        }
        Body::State(_) => true,
        Body::Loss(_) | Body::ClockStep(_) | Body::LifeCycle(_) => false,
        Body::Derived(_) | Body::Progress(_) | Body::Followed(_) => false,
    }
}

/// Subjects of an agent's ring log and host, below its own name, and their number of levels.
const OF_HOST: [(&str, usize); 9] = [
    ("ring", 2),
    ("cpu", 2),
    ("memory", 2),
    ("swap", 2),
    ("disk", 2),
    ("process", 2),
    ("filesystem", 3),
    ("network", 3),
    ("temperature", 3),
];
/// The code of a unit of systemd that has failed.
const UNIT_CODE: &str = "unit-failed";

/// Whether an event is about the agent's computer: it is not a report of the machine, though both have one name.
fn is_of_host(seen: &LoggedEvent<'_>, known: &[(&str, usize)]) -> bool {
    let Some(rest) = below_source(seen) else { return false };
    let first = rest.split('/').next().unwrap_or_default();
    known.iter().any(|(level, levels)| *level == first && rest.split('/').count() == *levels)
}
