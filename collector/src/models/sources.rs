//! `sources`: the condition of every source: when it was heard, the age of its newest events, the offset of its clock,
//! its losses, and how long its ring log would last without the line.
//!
//! Lag and clock are those of `/v1/agents` ([`crate::sources::lag_us`]): the entry's head has the measured offset of
//! the source's clock when the batch came. The log has no records of the agents' connections. So in the model an agent
//! is online until it reports its stop: if it dies without a report, its lag begins to grow 150 s after its last batch
//! and not at once.

use afferent_protocol::event::{Body, LifeCycle, Sample, Value as EventValue};
use afferent_protocol::ids::{Epoch, Stream, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::below_source::of_ring;
use super::shares::{SOURCES, Seriousness};
use super::{ClaimTable, LoggedEvent, Model, Name, Shortage, seconds, time};
use crate::limits::MODEL_RATE_WINDOW_US;
use crate::sources::{lag_us, made_at};

/// The settings of `sources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesSettings {
    /// A source that was silent for this number of seconds is not online.
    pub offline_s: u32,
}

impl Default for SourcesSettings {
    fn default() -> Self {
        Self { offline_s: 120 }
    }
}

/// The declared losses of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeclaredLosses {
    events: u64,
    /// The end of the counted losses, in the current epoch: repeated declarations do not count again.
    counted: Option<(Epoch, u64)>,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct SourceFacts {
    heard: Timestamp,
    events: u64,
    /// When the last batch was made, by the collector's clock, and the collector's clock minus the source's; `None` if
    /// it was not measured.
    made: Option<Timestamp>,
    clock_offset_us: Option<i64>,
    synchronised: bool,
    /// Whether it is a collector, which has no lag.
    is_collector: bool,
    has_stopped: bool,
    /// Its last report about its ring log: the used part in percent, and for how many seconds it has room.
    ring_used: Option<f64>,
    autonomy_s: Option<f64>,
    lost: [DeclaredLosses; 2],
    /// Begin of the current minute, events in it, and events in the previous one.
    window: (Timestamp, u64, Option<u64>),
}

/// The state of the model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourcesState {
    sources: ClaimTable<SourceFacts>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Sources {
    settings: SourcesSettings,
    state: SourcesState,
    /// The source of the previous event, so that its number is looked up once a batch.
    at: Option<(afferent_protocol::ids::SourceId, u32)>,
    numbers: u32,
}

impl Sources {
    /// A model without events.
    pub fn new(settings: SourcesSettings) -> Self {
        Self { settings, state: SourcesState::default(), at: None, numbers: 0 }
    }

    fn source(&mut self, seen: &LoggedEvent<'_>) -> Option<&mut SourceFacts> {
        let id = match self.at {
            Some((source, id)) if source == seen.batch.source => id,
            _ => {
                // Any number will do: tables check it. Few sources alternate at a time.
                self.numbers = (self.numbers + 1) % 64;
                self.at = Some((seen.batch.source, self.numbers));
                self.numbers
            }
        };
        // All events of a source have one kind: only idle sources give way.
        let (name, kind) = (Name { id, text: seen.batch.source.as_str() }, Seriousness::Stated);
        self.state.sources.take(seen, name, kind, SOURCES, drop).map(|taken| taken.value)
    }
}

impl SourceFacts {
    fn batch(&mut self, seen: &LoggedEvent<'_>) {
        let batch = seen.batch;
        self.heard = self.heard.max(seen.ingest);
        self.made = made_at(batch.clock.wall, seen.ingest, seen.clock_offset_us);
        self.clock_offset_us = seen.clock_offset_us;
        self.synchronised = batch.clock.synchronised;
        self.has_stopped = false;
    }

    fn lag_us(&self, at: Timestamp) -> Option<i64> {
        if self.is_collector { Some(0) } else { lag_us(self.heard, self.made, !self.has_stopped, at) }
    }

    fn count(&mut self, ingest: Timestamp) {
        self.events += 1;
        let (begun, ..) = self.window;
        let passed = ingest.micros() - begun.micros();
        if passed >= MODEL_RATE_WINDOW_US {
            let before = (passed < 2 * MODEL_RATE_WINDOW_US).then_some(self.window.1);
            let begun = ingest.micros() - ingest.micros() % MODEL_RATE_WINDOW_US;
            self.window = (Timestamp::clamped(begun), 0, before);
        }
        self.window.1 += 1;
    }

    /// Events a second in the last full minute, or in the current one if there is none.
    fn rate(&self, at: Timestamp) -> f64 {
        let (begun, count, before) = self.window;
        let passed = at.micros() - begun.micros();
        let window = MODEL_RATE_WINDOW_US;
        match before {
            _ if passed >= 2 * window => 0.0,
            _ if passed >= window => count as f64 * 1e6 / window as f64,
            Some(before) => before as f64 * 1e6 / window as f64,
            None => count as f64 * 1e6 / passed.max(1_000_000) as f64,
        }
    }

    /// Reports of agents about their ring logs.
    fn ring(&mut self, seen: &LoggedEvent<'_>, sample: &Sample<'_>) {
        let Sample { value: EventValue::Float(value), .. } = *sample else { return };
        match of_ring(seen) {
            Some("used") => self.ring_used = Some(value),
            Some("autonomy") => self.autonomy_s = Some(value),
            _ => {}
        }
    }

    fn lose(&mut self, loss: &afferent_protocol::event::Loss) {
        let lost = &mut self.lost[usize::from(loss.stream.number())];
        let first = match lost.counted {
            Some((epoch, end)) if epoch == loss.epoch => loss.first.get().max(end),
            _ => loss.first.get(),
        };
        lost.events += loss.end.get().saturating_sub(first);
        lost.counted = Some((loss.epoch, loss.end.get().max(first)));
    }
}

impl Model for Sources {
    type State = SourcesState;

    fn state(&self) -> &SourcesState {
        &self.state
    }

    fn restore(&mut self, state: SourcesState) {
        self.state = state;
    }

    fn apply(&mut self, seen: &LoggedEvent<'_>) {
        let Some(source) = self.source(seen) else { return };
        if seen.is_first_of_batch() {
            source.batch(seen);
        }
        source.count(seen.ingest);
        match &seen.event.body {
            // A loss under a device's name is of a lane that is numbered by the device.
            Body::Loss(loss) if seen.subject.text == seen.batch.source.as_str() => source.lose(loss),
            Body::LifeCycle(LifeCycle::Stopped { .. }) => source.has_stopped = true,
            Body::LifeCycle(LifeCycle::TermBegun { .. } | LifeCycle::Attested { .. }) => source.is_collector = true,
            Body::Sample(sample) => source.ring(seen, sample),
            _ => {}
        }
    }

    fn view(&self, at: Timestamp) -> Value {
        let sources: Map<String, Value> = (self.state.sources.iter())
            .map(|kept| {
                let source = &kept.value;
                let is_heard = seconds(source.heard, at) <= f64::from(self.settings.offline_s);
                let lost = |stream: Stream| source.lost[usize::from(stream.number())].events;
                let told = json!({
                    "last_heard": time(source.heard),
                    "events": source.events,
                    "lag_s": source.lag_us(at).map(|micros| micros as f64 / 1e6),
                    "clock_offset_s": source.clock_offset_us.map(|micros| micros as f64 / 1e6),
                    "synchronised": source.synchronised,
                    "declared_lost": { "critical": lost(Stream::Critical), "samples": lost(Stream::Samples) },
                    "rate_per_s": source.rate(at),
                    "ring_used_percent": source.ring_used,
                    "autonomy_s": source.autonomy_s,
                    "online": is_heard && !source.has_stopped,
                    "counts_from": kept.begun.map(|offset| offset.to_string()),
                });
                (kept.name().to_owned(), told)
            })
            .collect();
        let (refused, not_shown) = (self.state.sources.not_shown().events(), self.state.sources.not_shown_view(at));
        json!({ "sources": sources, "refused": refused, "not_shown": not_shown })
    }

    fn shortage(&self) -> Option<Shortage> {
        self.state.sources.shortage("sources")
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Event, Loss, LossReason};
    use afferent_protocol::ids::{Sequence, Subject};

    use super::super::testing::{Log, at, sample};
    use super::*;

    fn view(log: &Log, second: i64) -> Value {
        let mut model = Sources::new(SourcesSettings::default());
        log.fold(&mut model);
        Model::view(&model, at(second))["sources"]["press-88"].clone()
    }

    #[test]
    fn a_source_is_online_while_it_is_heard_and_until_it_stops() {
        let stopped = Event { body: Body::LifeCycle(LifeCycle::Stopped { reason: "" }), ..sample(11, "press-88", 0.0) };
        let log = [sample(10, "88-C/x", 1.0), stopped];
        assert_eq!(view(&Log::of(&log[..1]), 130)["online"], true);
        assert_eq!(view(&Log::of(&log[..1]), 131)["online"], false);
        assert_eq!(view(&Log::of(&log), 12)["online"], false);
    }

    #[test]
    fn lag_and_clock_are_what_was_measured_when_the_last_batch_came() {
        let of = |log: &Log, second| {
            let view = view(log, second);
            (view["lag_s"].as_f64(), view["clock_offset_s"].as_f64())
        };
        // Its clock is half a minute fast: events with the time of arrival were made half a minute before.
        let log = Log::of(&[sample(1010, "88-C/x", 1.0)]);
        let fast = log.measured(-30_000_000);
        assert_eq!(of(&fast, 1010), (Some(30.0), Some(-30.0)), "by the times in the batch alone it would be 0, and 0");
        assert_eq!(of(&fast, 1160), (Some(30.0), Some(-30.0)));
        assert_eq!(of(&fast, 1161), (Some(181.0), Some(-30.0)), "a silent one is behind");
        assert_eq!(of(&log, 1010), (None, None), "nobody has measured it");
        assert_eq!(of(&log, 1161), (Some(151.0), None), "it is at least as long as that");
        let body = |body| Event { body: Body::LifeCycle(body), ..sample(1010, "press-88", 0.0) };
        let stopped = Log::of(&[body(LifeCycle::Stopped { reason: "" })]).measured(-30_000_000);
        assert_eq!(of(&stopped, 1020), (Some(40.0), Some(-30.0)), "what has stopped says no more");
        let collector = Log::of(&[body(LifeCycle::Attested { attestation: &[] })]).measured(0);
        assert_eq!(of(&collector, 3000), (Some(0.0), Some(0.0)), "the collector is never behind itself");
    }

    #[test]
    fn how_long_a_ring_lasts_is_what_its_agent_said_last() {
        let log = [sample(10, "press-88/ring/autonomy", 900.0), sample(70, "press-88/ring/autonomy", 600.0)];
        assert_eq!(view(&Log::of(&log), 70)["autonomy_s"], 600.0);
        let others = [sample(10, "88-C/ring/autonomy", 900.0), sample(11, "press-88/cpu/usage", 1.0)];
        assert_eq!(view(&Log::of(&others), 70)["autonomy_s"], Value::Null);
    }

    #[test]
    fn a_loss_that_is_declared_twice_counts_once() {
        let loss = |first, end| {
            let (first, end, chain) = (Sequence::new(first), Sequence::new(end), [0; 32]);
            let (stream, epoch, reason) = (Stream::Samples, Epoch::new(1), LossReason::Evicted);
            let body = Body::Loss(Loss { stream, epoch, first, end, reason, chain });
            Event { time: at(1), subject: Subject::new("press-88").unwrap(), body }
        };
        let told = view(&Log::of(&[loss(0, 10), loss(5, 15), loss(5, 15)]), 1);
        assert_eq!(told["declared_lost"], json!({ "critical": 0, "samples": 15 }));
    }
}
