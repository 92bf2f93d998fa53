//! `last`: the last value of every sensor, by event time: what comes late never moves a value backwards.

use afferent_protocol::event::{Body, Quality, Value as Measured};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amendment::shortened;
use super::{Model, Seen, Table, time};
use crate::limits::MODEL_SUBJECTS_MAX;
use crate::whole;

/// The settings of `last`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LastSettings {
    /// Leaves out values of quality `bad`, so that the last one that can be used stands.
    pub only_usable: bool,
}

/// A value that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kept {
    Float(f64),
    Integer(i64),
    Bool(bool),
    Text(String),
}

/// What is kept of a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    value: Kept,
    unit: String,
    quality: Quality,
    time: Timestamp,
    offset: u64,
}

impl Default for Entry {
    fn default() -> Self {
        let (value, unit, quality) = (Kept::Integer(0), String::new(), Quality::Bad);
        Self { value, unit, quality, time: Timestamp::default(), offset: 0 }
    }
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastState {
    subjects: Table<Entry>,
    late: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Last {
    settings: LastSettings,
    state: LastState,
}

impl Last {
    /// One that has seen nothing.
    pub fn new(settings: LastSettings) -> Self {
        Self { settings, state: LastState::default() }
    }
}

impl Model for Last {
    type State = LastState;

    fn state(&self) -> &LastState {
        &self.state
    }

    fn restore(&mut self, state: LastState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &Seen<'_>) {
        let Body::Sample(sample) = seen.event.body else { return };
        if self.settings.only_usable && sample.quality == Quality::Bad {
            return;
        }
        let Some(entry) = self.state.subjects.get_or_add(seen.subject, MODEL_SUBJECTS_MAX) else { return };
        if seen.event.time < entry.time {
            self.state.late += 1;
            return;
        }
        entry.value = match sample.value {
            Measured::Float(value) => Kept::Float(value),
            Measured::Integer(value) => Kept::Integer(value),
            Measured::Bool(value) => Kept::Bool(value),
            Measured::Text(value) => Kept::Text(shortened(value)),
        };
        if entry.unit != sample.unit {
            sample.unit.clone_into(&mut entry.unit);
        }
        (entry.quality, entry.time, entry.offset) = (sample.quality, seen.event.time, seen.offset.get());
    }

    fn view(&self, _: Timestamp) -> Value {
        let subjects: Map<String, Value> = (self.state.subjects.iter())
            .map(|(subject, entry)| {
                let value = match &entry.value {
                    Kept::Float(value) => json!(value),
                    Kept::Integer(value) => whole::value(*value),
                    Kept::Bool(value) => json!(value),
                    Kept::Text(value) => json!(value),
                };
                let quality = match entry.quality {
                    Quality::Good => "good",
                    Quality::Uncertain => "uncertain",
                    Quality::Bad => "bad",
                };
                let at = time(entry.time);
                let offset = entry.offset.to_string();
                let mut told = json!({
                    "value": value, "unit": entry.unit, "quality": quality, "time": at, "offset": offset,
                });
                if matches!(entry.value, Kept::Integer(value) if !whole::is_exact(value)) {
                    told["valuetype"] = "integer".into();
                }
                (subject.to_owned(), told)
            })
            .collect();
        json!({ "subjects": subjects, "refused": self.state.subjects.refused(), "late": self.state.late })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, at, sample};
    use super::*;

    #[test]
    fn a_value_never_moves_backwards_when_older_ones_come_late() {
        let mut model = Last::new(LastSettings::default());
        let seconds = [5, 9, 7, 9, 1];
        let log: Vec<_> = seconds.iter().zip(0..).map(|(s, n)| sample(*s, "88-C/x", f64::from(n))).collect();
        Log::of(&log).fold(&mut model);
        let view = Model::view(&model, at(0));
        // Of two values for the same time the one that came later counts.
        assert_eq!(view["subjects"]["88-C/x"]["value"], 3.0);
        assert_eq!((&view["subjects"]["88-C/x"]["time"], &view["late"]), (&time(at(9)), &json!(2)));
    }
}
