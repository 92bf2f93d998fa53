//! The counters of a machine.

use std::collections::BTreeMap;

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::counter::CounterHistory;
use super::super::span::Span;
use super::super::track::LateEvents;
use super::super::{LoggedEvent, time};
use crate::limits::{MODEL_COUNTER_BYTES_MAX, MODEL_COUNTERS_MAX};

/// The quantity of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CountedQuantity {
    Produced,
    Good,
}

/// The counters of a machine, by subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MachineCounters {
    counters: BTreeMap<Box<str>, (CountedQuantity, CounterHistory)>,
    late: LateEvents,
    refused: u64,
}

/// The quantities of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quantities {
    pub produced: Option<f64>,
    pub good: Option<f64>,
    /// Whether values of a counter are not kept back to the beginning of the span: its quantity is unknown then.
    pub is_beyond: bool,
}

impl MachineCounters {
    pub fn take(&mut self, seen: &LoggedEvent<'_>, counts: CountedQuantity, value: f64) {
        if !self.counters.contains_key(seen.subject.text) {
            if self.counters.len() == MODEL_COUNTERS_MAX {
                self.refused += 1;
                return;
            }
            self.counters.insert(seen.subject.text.into(), (counts, CounterHistory::default()));
        }
        let Some((_, counter)) = self.counters.get_mut(seen.subject.text) else { return };
        if !counter.take(seen.time, value) {
            self.late.count(seen);
        }
    }

    /// Folds the oldest values of the largest counters into their sums, until all fit in the limit.
    pub fn fold_oldest(&mut self) {
        let bytes = |(_, counter): &(CountedQuantity, CounterHistory)| counter.bytes();
        while self.counters.values().map(bytes).sum::<usize>() > MODEL_COUNTER_BYTES_MAX {
            let largest = self.counters.values_mut().max_by_key(|counter| bytes(counter));
            largest.into_iter().for_each(|(_, counter)| counter.fold_oldest());
        }
    }

    pub fn quantities(&self, span: Span) -> Quantities {
        // If one of them is unknown, so is the sum.
        let grown = |what: CountedQuantity| -> Option<Option<f64>> {
            let of = self.counters.values().filter(|(counts, _)| *counts == what);
            let all: Option<Vec<f64>> = of.map(|(_, counter)| counter.grown(span)).collect();
            all.map(|all| all.into_iter().reduce(|left, right| left + right))
        };
        let (produced, good) = (grown(CountedQuantity::Produced), grown(CountedQuantity::Good));
        let is_beyond = produced.is_none() || good.is_none();
        Quantities { produced: produced.flatten(), good: good.flatten(), is_beyond }
    }

    /// Adds how far back late values are sorted in, and the values that came too late.
    pub fn put(&self, to: &mut Map<String, Value>) {
        let horizons = self.counters.values().filter_map(|(_, counter)| counter.horizon());
        let mut counters = Map::new();
        self.late.put(&mut counters);
        counters.insert("horizon".into(), json!(horizons.max().map(|horizon: Timestamp| time(horizon))));
        to.insert("counters".into(), counters.into());
        to.insert("counters_refused".into(), self.refused.into());
    }
}
