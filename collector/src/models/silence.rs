//! How long a report of a machine holds, and whose heartbeats count as its reports.

use std::collections::{BTreeMap, HashMap};

use afferent_protocol::event::{Body, Kind as EventKind, LifeCycle};
use afferent_protocol::ids::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::heard::HeardTimes;
use super::shares::{ClaimTable, SOURCES, Seriousness};
use super::{LoggedEvent, Name};
use crate::limits::{MODEL_HISTORY_US_MAX, MODEL_NAMES_MAX, MODEL_PATTERNS_MAX};
use crate::subscribe::Filter;

/// A checked pattern of subjects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Filter::new(Some(&text), None, None).map_err(|error| error.to_string())?;
        Ok(Self(text))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl Pattern {
    fn filter(&self) -> Filter {
        Filter::new(Some(&self.0), None, None).expect("it was checked when it was read")
    }
}

/// The settings of `states` and `kpi` that define when a machine is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SilenceSettings {
    /// Seconds for which a report holds.
    pub no_data_s: u32,
    /// The same for subjects that fit a pattern; of several patterns the longest counts.
    pub no_data_s_of: BTreeMap<Pattern, u32>,
    /// Machines that report only changes.
    pub on_change: Vec<Pattern>,
}

/// The same settings, compiled.
#[derive(Clone, Debug)]
pub struct Silence {
    usual_us: i64,
    /// The longest pattern first.
    of: Vec<(Filter, i64)>,
    on_change: Vec<Filter>,
    /// Periods of the subjects seen so far.
    known: HashMap<Box<str>, i64>,
    /// Whether the machines seen so far report only changes.
    known_machines: HashMap<Box<str>, bool>,
}

/// The type for filters on subjects alone: any type will do.
const ANY_TYPE: &str = EventKind::State.type_name();

impl Silence {
    /// Compiles these settings.
    pub fn new(settings: &SilenceSettings) -> Self {
        let micros = |seconds: u32| i64::from(seconds) * 1_000_000;
        let mut of: Vec<_> = settings.no_data_s_of.iter().take(MODEL_PATTERNS_MAX).collect();
        of.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.0.len()));
        Self {
            usual_us: micros(settings.no_data_s),
            of: of.into_iter().map(|(pattern, seconds)| (pattern.filter(), micros(*seconds))).collect(),
            on_change: settings.on_change.iter().take(MODEL_PATTERNS_MAX).map(Pattern::filter).collect(),
            known: HashMap::new(),
            known_machines: HashMap::new(),
        }
    }

    /// The period, in µs, for which a report about this subject holds.
    pub fn period_us(&mut self, subject: &str) -> i64 {
        if self.of.is_empty() {
            return self.usual_us;
        }
        if let Some(known) = self.known.get(subject) {
            return *known;
        }
        let found = self.of.iter().find(|(filter, _)| filter.takes_event(subject, ANY_TYPE));
        let period = found.map_or(self.usual_us, |(_, period)| *period);
        if self.known.len() >= MODEL_NAMES_MAX {
            self.known.clear();
        }
        self.known.insert(subject.into(), period);
        period
    }

    /// Whether heartbeats count as reports of a machine.
    pub fn heeds_heartbeats(&self) -> bool {
        !self.on_change.is_empty()
    }

    /// Whether a machine reports only changes.
    pub fn is_on_change(&mut self, machine: &str) -> bool {
        if self.on_change.is_empty() {
            return false;
        }
        if let Some(known) = self.known_machines.get(machine) {
            return *known;
        }
        let is_on_change = self.on_change.iter().any(|filter| filter.takes_event(machine, ANY_TYPE));
        if self.known_machines.len() >= MODEL_NAMES_MAX {
            self.known_machines.clear();
        }
        self.known_machines.insert(machine.into(), is_on_change);
        is_on_change
    }
}

/// Heartbeats of sources.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heartbeats {
    sources: ClaimTable<Beats>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Beats {
    heard: HeardTimes,
    newest: Timestamp,
}

impl Heartbeats {
    /// Adds an event's source; returns whether the event is a heartbeat.
    pub fn beat(&mut self, seen: &LoggedEvent<'_>, silence: &Silence) -> bool {
        let Body::LifeCycle(LifeCycle::Heartbeat { .. }) = seen.event.body else { return false };
        let name = Name { id: 0, text: seen.batch.source.as_str() };
        if let Some(taken) = self.sources.take(seen, name, Seriousness::Stated, SOURCES, drop) {
            let beats = taken.value;
            beats.newest = beats.newest.max(seen.time);
            beats.heard.add_report(seen.time, silence.usual_us);
            let horizon = beats.newest.micros() - MODEL_HISTORY_US_MAX;
            beats.heard.forget_before(Timestamp::clamped(horizon));
        }
        true
    }

    /// The times of a source's heartbeats, and the newest of them.
    pub fn of_source(&self, source: SourceId) -> Option<(&HeardTimes, Timestamp)> {
        let kept = self.sources.get(source.as_str())?;
        Some((&kept.value.heard, kept.value.newest))
    }
}
