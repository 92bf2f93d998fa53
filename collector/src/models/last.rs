//! `last`: the last value of every sensor: the latest in the order of [`super::order`], in whatever order they came.
//!
//! A function of the set of samples, also where there are more subjects than there is room for: of each source the last
//! reported ones are kept ([`super::shares`]), each with the last value of that source, and of several sources' values
//! the latest is shown.

use afferent_protocol::event::{Body, Quality, Value as Measured};
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amendment::shortened;
use super::shares::{ClaimLimits, NameEntry as Place, Seriousness};
use super::{ClaimTable, Correction, LoggedEvent, Model, Order, Shortage, time};
use crate::limits::{MODEL_SUBJECTS_MAX, MODEL_SUBJECTS_OF_ONE_MAX};
use crate::whole;

/// Number of subjects that are kept.
const SUBJECTS: ClaimLimits = ClaimLimits { count_max: MODEL_SUBJECTS_MAX, of_one_max: MODEL_SUBJECTS_OF_ONE_MAX };

/// The settings of `last`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LastSettings {
    /// Leaves out values of quality `bad`, so that the last usable one is shown.
    pub only_usable: bool,
}

/// A kept value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum StoredValue {
    Float(f64),
    Integer(i64),
    Bool(bool),
    Text(String),
}

/// The last value of a subject, of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LastValue {
    value: StoredValue,
    unit: String,
    quality: Quality,
    /// `None` before the first value.
    at: Option<Order>,
    is_corrected: bool,
}

impl Default for LastValue {
    fn default() -> Self {
        let (value, unit, quality) = (StoredValue::Integer(0), String::new(), Quality::Bad);
        Self { value, unit, quality, at: None, is_corrected: false }
    }
}

/// The state of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LastState {
    subjects: ClaimTable<(), LastValue>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Last {
    settings: LastSettings,
    state: LastState,
    size: ClaimLimits,
}

impl Last {
    /// A model without events.
    pub fn new(settings: LastSettings) -> Self {
        Self { settings, state: LastState::default(), size: SUBJECTS }
    }
}

#[cfg(test)]
impl Last {
    /// The model with a different size.
    pub(super) fn sized(mut self, size: ClaimLimits) -> Self {
        self.size = size;
        self
    }
}

/// The latest value that any source reported.
fn latest(subject: &Place<(), LastValue>) -> Option<&LastValue> {
    subject.of_sources().max_by_key(|entry| entry.at)
}

impl Model for Last {
    type State = LastState;

    fn state(&self) -> &LastState {
        &self.state
    }

    fn restore(&mut self, state: LastState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        let Body::Sample(sample) = seen.event.body else { return };
        if self.settings.only_usable && sample.quality == Quality::Bad {
            return;
        }
        let taken = self.state.subjects.take(seen, seen.subject, Seriousness::Measured, self.size, drop);
        let Some(entry) = taken.and_then(|taken| taken.of_source) else { return };
        let order = seen.order();
        if entry.at.is_some_and(|at| order < at) {
            return;
        }
        entry.at = Some(order);
        entry.value = match sample.value {
            Measured::Float(value) => StoredValue::Float(value),
            Measured::Integer(value) => StoredValue::Integer(value),
            Measured::Bool(value) => StoredValue::Bool(value),
            Measured::Text(value) => StoredValue::Text(shortened(value)),
        };
        if entry.unit != sample.unit {
            sample.unit.clone_into(&mut entry.unit);
        }
        entry.quality = sample.quality;
        entry.is_corrected = seen.correction != Correction::None;
    }

    fn view(&self, at: Timestamp) -> Value {
        let subjects: Map<String, Value> = (self.state.subjects.iter())
            .filter_map(|subject| Some((subject.name(), latest(subject)?)))
            .map(|(subject, entry)| {
                let value = match &entry.value {
                    StoredValue::Float(value) => json!(value),
                    StoredValue::Integer(value) => whole::value(*value),
                    StoredValue::Bool(value) => json!(value),
                    StoredValue::Text(value) => json!(value),
                };
                let quality = match entry.quality {
                    Quality::Good => "good",
                    Quality::Uncertain => "uncertain",
                    Quality::Bad => "bad",
                };
                let told_at = entry.at.map(|at| time(at.time));
                let (offset, corrected) = (entry.at.map(|at| at.offset.to_string()), entry.is_corrected);
                let mut told = json!({
                    "value": value, "unit": entry.unit, "quality": quality,
                    "time": told_at, "corrected": corrected, "offset": offset,
                });
                if matches!(entry.value, StoredValue::Integer(value) if !whole::is_exact(value)) {
                    told["valuetype"] = "integer".into();
                }
                (subject.to_owned(), told)
            })
            .collect();
        let (refused, not_shown) = (self.state.subjects.not_shown().events(), self.state.subjects.not_shown_view(at));
        json!({ "subjects": subjects, "refused": refused, "not_shown": not_shown })
    }

    fn shortage(&self) -> Option<Shortage> {
        self.state.subjects.shortage("values")
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
        // Of two values for the same time the one of the higher sequence counts.
        assert_eq!(view["subjects"]["88-C/x"]["value"], 3.0);
        assert_eq!(view["subjects"]["88-C/x"]["time"], time(at(9)));
    }

    #[test]
    fn last_values_are_a_function_of_the_set_of_samples() {
        use super::super::AnyModel;
        use super::super::permuted::{EventHead, Numbers, heads, pass, second};
        use std::collections::BTreeMap;

        const SUBJECTS: [&str; 3] = ["88-C/x", "88-C/y", "77-A/x"];
        const SOURCES: [&str; 3] = ["press-88", "gateway", "press-8"];
        let heads = heads(&SOURCES);
        let body = |number: usize| {
            let value = Measured::Integer(number as i64);
            Body::Sample(afferent_protocol::event::Sample { value, unit: "", quality: Quality::Good })
        };
        let mut differs_by_arrival = 0;
        for seed in 0..2500 {
            let mut numbers = Numbers(seed);
            let mut sequences = [0; 3];
            let mut entry = |number: usize| {
                let source = numbers.below(3);
                let (time, ingest) = (second(numbers.below(8)), second(numbers.below(20)));
                let sequence = sequences[source];
                sequences[source] += 1;
                EventHead { number, source, sequence, time, ingest, subject: SUBJECTS[numbers.below(3)], of: None }
            };
            let mut arrival: Vec<EventHead> = (0..45).map(&mut entry).collect();
            let mut sorted = arrival.clone();
            sorted.sort_by_key(|entry| (entry.time, SOURCES[entry.source], entry.sequence));
            // The last event of each subject, in this order.
            let told = |all: &[EventHead]| -> BTreeMap<&str, usize> {
                all.iter().map(|entry| (entry.subject, entry.number)).collect()
            };
            for _ in 0..3 {
                numbers.shuffle(&mut arrival);
                let mut model = AnyModel::clone_model(&Last::new(LastSettings::default()));
                for (offset, entry) in (0..).zip(&arrival) {
                    pass(&mut model, entry, &heads, offset, body(entry.number));
                }
                let view = model.view(at(0));
                for (subject, number) in told(&sorted) {
                    let (found, at) = (&view["subjects"][subject], arrival.iter().position(|one| one.number == number));
                    assert_eq!(found["value"], number, "seed {seed}, {subject}: {arrival:#?}");
                    assert_eq!(found["offset"], at.unwrap().to_string());
                }
                // The control: the last one to arrive is a different one.
                differs_by_arrival += u64::from(told(&arrival) != told(&sorted));
            }
        }
        assert!(differs_by_arrival > 2500, "the order of arrival hardly mattered: {differs_by_arrival}");
    }

    #[test]
    fn whole_numbers_that_a_double_cannot_hold_are_written_as_text() {
        let mut model = Last::new(LastSettings::default());
        let subjects = ["a", "b", "c", "d"];
        let values = [1_234_567, 1 << 53, (1 << 53) + 1, i64::MIN];
        let event = |(subject, value): (&'static str, i64)| {
            let value = Measured::Integer(value);
            let body = Body::Sample(afferent_protocol::event::Sample { value, unit: "", quality: Quality::Good });
            afferent_protocol::event::Event { body, ..sample(1, subject, 0.0) }
        };
        let log: Vec<_> = subjects.into_iter().zip(values).map(event).collect();
        Log::of(&log).fold(&mut model);
        let view = Model::view(&model, at(0));
        let told = subjects.map(|subject| view["subjects"][subject]["value"].clone());
        let min = "-9223372036854775808";
        assert_eq!(told, [json!(1_234_567), json!(9_007_199_254_740_992_u64), json!("9007199254740993"), json!(min)]);
    }
}
