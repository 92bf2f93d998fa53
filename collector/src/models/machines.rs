//! The machines of a model that follows their states: `states` and `kpi`.

use afferent_protocol::event::{Body, Breakdown, Recovery};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::amendment::{AMENDMENT, Amendments};
use super::report::Report;
use super::silence::{Heartbeats, Silence};
use super::timeline::{Purpose, Timeline};
use super::track::{Room, Track};
use super::{Seen, Table};
use crate::limits::MODEL_MACHINES_MAX;

/// What is kept of all machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machines {
    tracks: Table<Track<Timeline>>,
    heartbeats: Heartbeats,
    amendments: Amendments,
}

/// How they are followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// When a machine is silent.
    pub silence: Silence,
    /// What for.
    pub purpose: Purpose,
    /// How much is kept.
    pub room: Room,
}

impl Machines {
    /// Takes an event in; gives the machine when it tells of one. `read` makes a report of it.
    pub fn apply(
        &mut self,
        seen: &Seen<'_>,
        following: &mut Following,
        read: impl FnOnce(&Seen<'_>) -> Option<Report>,
    ) -> Option<&mut Track<Timeline>> {
        let Following { silence, purpose, room } = following;
        match seen.event.body {
            Body::LifeCycle(_) if silence.heeds_heartbeats() => self.beat(seen, following),
            Body::Derived(derived) if derived.kind == AMENDMENT && *purpose == Purpose::Intervals => {
                self.amendments.take(seen);
            }
            _ if tells_of_a_machine(seen) => {
                let track = self.tracks.get_or_add(seen.machine, MODEL_MACHINES_MAX)?;
                let period_us = silence.period_us(seen.subject.text);
                room.keep(track, &self.amendments, purpose, |track| {
                    track.event(seen, Some(period_us));
                    if silence.heeds_heartbeats()
                        && let Some((heard, newest)) = self.heartbeats.of_machine(seen, silence)
                    {
                        track.words(heard, newest);
                    }
                    if let Some(report) = read(seen) {
                        track.report(seen, report);
                    }
                });
                return Some(track);
            }
            _ => {}
        }
        None
    }

    fn beat(&mut self, seen: &Seen<'_>, following: &mut Following) {
        let Following { silence, purpose, room } = following;
        for machine in self.heartbeats.beat(seen, silence) {
            let Some(track) = self.tracks.get_mut(machine) else { continue };
            let period_us = silence.period_us(machine);
            room.keep(track, &self.amendments, purpose, |track| track.word(seen.time, period_us));
        }
    }

    /// See [`super::Model::sort`].
    pub fn sort(&mut self, is_sorting: bool, following: &mut Following) {
        following.room = if is_sorting { Room::Sorting(0) } else { Room::Usual };
        if !is_sorting {
            self.tracks.iter_mut().for_each(|track| track.settle(&self.amendments, &following.purpose));
        }
    }

    /// What readers see; `view` gives that of a machine, from its states: all of them, or those of before a time.
    pub fn view(
        &self,
        following: &Following,
        view: impl Fn(&str, &Track<Timeline>, &dyn Fn(Option<Timestamp>) -> Timeline) -> Map<String, Value>,
    ) -> Map<String, Value> {
        let of_machine = |(name, track): (&str, &Track<Timeline>)| {
            let walk = |end| track.walked(end, &self.amendments, &following.purpose);
            let mut machine = view(name, track, &walk);
            track.put(&mut machine);
            (name.to_owned(), Value::Object(machine))
        };
        let machines: Map<String, Value> = self.tracks.iter().map(of_machine).collect();
        let mut all = Map::new();
        all.insert("machines".into(), machines.into());
        all.insert("refused".into(), self.tracks.refused().into());
        all
    }
}

/// Whether an event tells of a machine, and not of what carries events.
fn tells_of_a_machine(seen: &Seen<'_>) -> bool {
    match seen.event.body {
        Body::Sample(_) | Body::Alarm(_) => !is_of_host(seen, &OF_HOST),
        Body::Breakdown(Breakdown { code, .. }) | Body::Recovery(Recovery { code, .. }) => {
            code != UNIT_CODE || !is_of_host(seen, &[("unit", 2)])
        }
        Body::State(_) => true,
        _ => false,
    }
}

/// What agents tell of their own ring logs and hosts, under their own names, and in how many levels.
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

/// Whether an agent tells of the computer that it runs on: its word is none of a machine, though the two have one name.
fn is_of_host(seen: &Seen<'_>, known: &[(&str, usize)]) -> bool {
    let Some(rest) = below_source(seen) else { return false };
    let first = rest.split('/').next().unwrap_or_default();
    known.iter().any(|(level, levels)| *level == first && rest.split('/').count() == *levels)
}

fn below_source<'s>(seen: &Seen<'s>) -> Option<&'s str> {
    seen.subject.text.strip_prefix(seen.batch.source.as_str())?.strip_prefix('/')
}

/// What an agent measures of its own ring log stands under its own name: `used` for `press-88/ring/used`.
pub(super) fn of_ring<'s>(seen: &Seen<'s>) -> Option<&'s str> {
    below_source(seen)?.strip_prefix("ring/")
}
