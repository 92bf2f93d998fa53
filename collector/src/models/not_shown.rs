//! Events that a model has no room for, by source, for answers, health, metrics and the page.

use std::collections::BTreeMap;

use afferent_protocol::ids::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ModelId, time};
use crate::limits::{MODEL_NOT_SHOWN_NAMED_MAX, MODEL_NOT_SHOWN_RECENT_US, MODEL_NOT_SHOWN_SOURCES_MAX};

/// Events without room, by source. Counts are since the model was made; a bounded number of sources is listed: those
/// that came last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    of: BTreeMap<SourceId, HiddenCount>,
    events: u64,
    gave_way: u64,
    /// Ingest time of the last event without room.
    last: Option<Timestamp>,
}

/// The events of one source without room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct HiddenCount {
    events: u64,
    gave_way: u64,
    last: Timestamp,
}

/// The shortage of a model that does not show all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The kind of things without room, as `machines`.
    pub what: &'static str,
    /// Events that were refused since the model was made.
    pub events: u64,
    /// Number of things that were dropped for others since then.
    pub gave_way: u64,
    /// Ingest time of the last event without room.
    pub last: Timestamp,
    /// Sources that have more than their share, and how many of their things are kept.
    pub sources: Vec<(SourceId, usize)>,
}

impl NotShown {
    /// Counts a refused event of this source.
    pub fn refuse(&mut self, source: SourceId, ingest: Timestamp) {
        self.events += 1;
        self.of(source, ingest).events += 1;
    }

    /// Counts a dropped thing of this source.
    pub fn count_dropped(&mut self, source: SourceId, ingest: Timestamp) {
        self.gave_way += 1;
        self.of(source, ingest).gave_way += 1;
    }

    fn of(&mut self, source: SourceId, ingest: Timestamp) -> &mut HiddenCount {
        self.last = self.last.max(Some(ingest));
        if !self.of.contains_key(&source) && self.of.len() >= MODEL_NOT_SHOWN_SOURCES_MAX {
            let oldest = self.of.iter().min_by_key(|(source, hidden)| (hidden.last, **source));
            let oldest = oldest.map(|(source, _)| *source);
            oldest.and_then(|oldest| self.of.remove(&oldest));
        }
        let hidden = self.of.entry(source).or_default();
        hidden.last = hidden.last.max(ingest);
        hidden
    }

    /// Whether an event ever had no room.
    pub fn is_any(&self) -> bool {
        self.last.is_some()
    }

    /// Number of refused events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The sources without room, those with the largest loss first; `kept` returns how many of their things are kept.
    fn sources(&self, kept: impl Fn(SourceId) -> usize) -> Vec<(SourceId, HiddenCount, usize)> {
        let mut all: Vec<_> = self.of.iter().map(|(source, hidden)| (*source, *hidden, kept(*source))).collect();
        all.sort_by_key(|(source, hidden, _)| (std::cmp::Reverse(hidden.events + hidden.gave_way), *source));
        all
    }

    /// The shortage for readers as of `at`, by the collector's clock.
    pub fn view(&self, at: Timestamp, kept: impl Fn(SourceId) -> usize) -> Value {
        let sources = self.sources(kept).into_iter().map(|(source, hidden, kept)| {
            json!({
                "source": source.as_str(), "kept": kept, "events": hidden.events, "gave_way": hidden.gave_way,
                "last": time(hidden.last),
            })
        });
        json!({
            "now": self.last.is_some_and(|last| is_recent(last, at)),
            "events": self.events,
            "gave_way": self.gave_way,
            "last": self.last.map(time),
            "sources": sources.collect::<Vec<_>>(),
        })
    }

    /// The same for health and metrics; `None` when all events had room.
    pub fn shortage(&self, what: &'static str, kept: impl Fn(SourceId) -> usize) -> Option<Shortage> {
        let sources = self.sources(kept).into_iter().take(MODEL_NOT_SHOWN_NAMED_MAX);
        let sources = sources.map(|(source, _, kept)| (source, kept)).collect();
        Some(Shortage { what, events: self.events, gave_way: self.gave_way, last: self.last?, sources })
    }
}

impl Shortage {
    /// Whether the shortage lasts at `now`: an event was refused recently.
    pub fn lasts(&self, now: Timestamp) -> bool {
        is_recent(self.last, now)
    }
}

/// The shortages at `now` as a sentence; `None` when there are none.
pub fn words(shortages: &[(ModelId, Shortage)], now: Timestamp) -> Option<String> {
    let mut by_what: BTreeMap<&str, (Vec<String>, BTreeMap<SourceId, usize>)> = BTreeMap::new();
    for (model, shortage) in shortages.iter().filter(|(_, shortage)| shortage.lasts(now)) {
        let (models, sources) = by_what.entry(shortage.what).or_default();
        models.push(model.to_string());
        sources.extend(shortage.sources.iter().copied());
    }
    let words = |(what, (models, sources)): (&str, (Vec<String>, BTreeMap<SourceId, usize>))| {
        let kept =
            sources.iter().take(MODEL_NOT_SHOWN_NAMED_MAX).map(|(source, kept)| format!("{source} ({kept} kept)"));
        let kept = kept.collect::<Vec<_>>().join(", ");
        format!("no room for all {what} of {kept} in {}", models.join(", "))
    };
    let words: Vec<String> = by_what.into_iter().map(words).collect();
    let remedy = "each source has a share; check what these sources report, and see `not_shown` of GET /v1/models/NAME";
    (!words.is_empty()).then(|| format!("{}; {remedy}", words.join("; ")))
}

/// Whether a shortage at `last` is still reported as of `at`.
pub(super) fn is_recent(last: Timestamp, at: Timestamp) -> bool {
    at.micros() - last.micros() <= MODEL_NOT_SHOWN_RECENT_US
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted_by_source_and_is_over_after_a_while() {
        let mut not_shown = NotShown::default();
        assert_eq!((not_shown.shortage("machines", |_| 0), not_shown.is_any()), (None, false));
        let [loud, quiet] = ["loud", "quiet"].map(SourceId::literal);
        (0..9).for_each(|second| not_shown.refuse(loud, at(second)));
        not_shown.count_dropped(quiet, at(5));
        let view = not_shown.view(at(60), |source| source.as_str().len());
        assert_eq!((&view["now"], &view["events"], &view["gave_way"]), (&json!(true), &json!(9), &json!(1)));
        assert_eq!((&view["sources"][0]["source"], &view["sources"][1]["kept"]), (&json!("loud"), &json!(5)));
        let shortage = not_shown.shortage("machines", |_| 7).unwrap();
        assert_eq!((shortage.last, shortage.sources[0]), (at(8), (loud, 7)));
        assert_eq!([68, 69].map(|second| shortage.lasts(at(second))), [true, false]);
        assert_eq!(not_shown.view(at(69), |_| 0)["now"], false);
    }

    #[test]
    fn health_names_what_where_and_whose_it_is_while_it_lasts() {
        let shortage = |what, second| {
            let sources = vec![(SourceId::literal("loud"), 8192)];
            Shortage { what, events: 3, gave_way: 0, last: at(second), sources }
        };
        let model = |name| ModelId::new(name, 1).unwrap();
        let all = [("kpi", "machines", 50), ("states", "machines", 50), ("last", "values", 10)];
        let all = all.map(|(name, what, second)| (model(name), shortage(what, second)));
        let told = words(&all, at(60)).unwrap();
        assert!(
            told.starts_with("no room for all machines of loud (8192 kept) in kpi@1, states@1; no room for all values"),
            "{told}"
        );
        let told = words(&all, at(100)).unwrap();
        assert!(!told.contains("values") && told.contains("kpi@1"), "{told}");
        assert_eq!(words(&all, at(111)), None);
    }

    #[test]
    fn however_many_sources_find_no_room_those_that_came_last_are_remembered() {
        let mut not_shown = NotShown::default();
        for number in 0..10 * MODEL_NOT_SHOWN_SOURCES_MAX {
            not_shown.refuse(SourceId::new(&format!("s{number}")).unwrap(), at(number as i64));
        }
        assert_eq!(not_shown.of.len(), MODEL_NOT_SHOWN_SOURCES_MAX);
        assert_eq!(not_shown.events(), 10 * MODEL_NOT_SHOWN_SOURCES_MAX as u64);
        let newest = format!("s{}", 10 * MODEL_NOT_SHOWN_SOURCES_MAX - 1);
        assert!(not_shown.of.contains_key(&SourceId::new(&newest).unwrap()));
    }
}
