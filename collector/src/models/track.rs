//! A model's state of one machine, as a function of the set of its events.
//!
//! The reports of the machine stay sorted by [`super::Order`] in its [`ReportHistory`], so that a late one is sorted in,
//! and are folded from there on a request. Reports older than the horizon are folded into the `base` in the same order and
//! dropped. The horizon is [`MODEL_HISTORY_US_MAX`] before the newest event, or the end of the model's room for one
//! machine, whichever is later. As long as no event before it comes, the result is that of all events sorted, whatever
//! order they came in, and however often. Late events are counted and listed; they change nothing until the model is
//! rebuilt.

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::amendment::Amendments;
use super::heard::HeardTimes;
use super::history::{At, ReportHistory};
use super::report::Report;
use super::{Correction, LoggedEvent, Order, time};
use crate::limits::{MODEL_HISTORY_BYTES_MAX, MODEL_HISTORY_US_MAX, MODEL_REBUILD_BYTES_MAX};

/// A fold of the reports of a machine, in their order.
pub trait ReportFold: Clone + Default {
    /// The settings that it needs beside the reports.
    type Settings;

    /// Applies the next report.
    fn take(&mut self, at: At, report: &Report, around: &ReportContext<'_, Self::Settings>);

    /// Settles the state up to `until`: no later report has an earlier time.
    fn pass(&mut self, until: Timestamp, heard: &HeardTimes);
}

/// The context of a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportContext<'a, S> {
    /// The times when the machine was heard.
    pub heard: &'a HeardTimes,
    /// The labels and notes of events.
    pub amendments: &'a Amendments,
    /// The model's settings.
    pub settings: &'a S,
}

/// A model's state of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Track<W> {
    history: ReportHistory,
    heard: HeardTimes,
    base: W,
    horizon: Option<Horizon>,
    /// The latest time at which the machine was heard: of its events, or of heartbeats that count for it.
    last_event: Timestamp,
    last_word: Timestamp,
    moved: u64,
    ingest: u64,
    late: LateEvents,
}

/// Reports before it are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Horizon {
    time: Timestamp,
    /// The last settled report, if it has the time of the horizon.
    last: Option<Order>,
}

/// Events that came too late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateEvents {
    count: u64,
    first: Option<LateEvent>,
    last: Option<LateEvent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LateEvent {
    subject: Box<str>,
    time: Timestamp,
    offset: u64,
}

impl LateEvents {
    /// Counts an event.
    pub fn count(&mut self, seen: &LoggedEvent<'_>) {
        let event = LateEvent { subject: seen.subject.text.into(), time: seen.time, offset: seen.offset.get() };
        self.count += 1;
        self.first.get_or_insert_with(|| event.clone());
        self.last = Some(event);
    }

    /// Adds the counts to the object for readers.
    pub fn put(&self, to: &mut Map<String, Value>) {
        let named = |event: &Option<LateEvent>| {
            let event = event.as_ref()?;
            let offset = event.offset.to_string();
            Some(json!({ "subject": &event.subject, "time": time(event.time), "offset": offset }))
        };
        to.insert("late".into(), json!(self.count));
        to.insert("late_first".into(), json!(named(&self.first)));
        to.insert("late_last".into(), json!(named(&self.last)));
    }
}

impl<W: ReportFold> Track<W> {
    /// Counts an event of the machine. Where silence matters, it holds for this period, in µs.
    pub fn event(&mut self, seen: &LoggedEvent<'_>, period_us: Option<i64>) {
        match seen.correction {
            Correction::None => {}
            Correction::Moved => self.moved += 1,
            Correction::Ingest => self.ingest += 1,
        }
        self.last_event = self.last_event.max(seen.time);
        self.last_word = self.last_word.max(seen.time);
        if self.horizon.is_some_and(|horizon| seen.time < horizon.time) {
            self.late.count(seen);
        } else if let Some(period_us) = period_us {
            self.heard.add_report(seen.time, period_us);
        }
    }

    /// Records that the machine was heard without an event; this holds for the period, in µs.
    pub fn word(&mut self, time: Timestamp, period_us: i64) {
        self.last_word = self.last_word.max(time);
        if self.horizon.is_none_or(|horizon| time >= horizon.time) {
            self.heard.add_report(time, period_us);
        }
    }

    /// Adds the heartbeats that count as its reports.
    pub fn words(&mut self, heard: &HeardTimes, newest: Timestamp) {
        self.last_word = self.last_word.max(newest);
        self.heard.join(heard, self.horizon.map(|horizon| horizon.time));
    }

    /// Adds a report, whose event was counted.
    pub fn report(&mut self, seen: &LoggedEvent<'_>, report: Report) {
        match self.horizon {
            // Counted already.
            Some(horizon) if seen.time < horizon.time => {}
            Some(Horizon { time, last: Some(last) }) if seen.time == time && seen.order() <= last => {
                self.late.count(seen)
            }
            _ => self.history.insert(seen, report),
        }
    }

    /// Bytes in memory, without the base.
    pub fn bytes(&self) -> usize {
        self.history.bytes() + self.heard.bytes()
    }

    /// Folds the reports beyond the horizon into the base, and drops them.
    pub fn fold_aged(&mut self, amendments: &Amendments, settings: &W::Settings) {
        let aged = self.last_event.micros().saturating_sub(MODEL_HISTORY_US_MAX);
        while self.bytes() > MODEL_HISTORY_BYTES_MAX || self.history.begins_before(aged) {
            let around = ReportContext { heard: &self.heard, amendments, settings };
            let base = &mut self.base;
            let horizon = if self.heard.bytes() > MODEL_HISTORY_BYTES_MAX / 2 {
                let time = self.heard.middle().expect("there are many");
                self.history.take_before(time, |at, report| base.take(at, report, &around));
                Horizon { time, last: None }
            } else {
                let last = self.history.take_front(|at, report| base.take(at, report, &around));
                let last = last.expect("what takes room is there");
                Horizon { time: last.time, last: Some(last) }
            };
            self.base.pass(horizon.time, &self.heard);
            self.heard.forget_before(horizon.time);
            self.horizon = Some(horizon);
        }
    }

    /// The fold of all reports, or of those before `end`, which must be in the time that is kept in order.
    pub fn walked(&self, end: Option<Timestamp>, amendments: &Amendments, settings: &W::Settings) -> W {
        assert!(
            end.zip(self.kept_from()).is_none_or(|(end, kept)| end >= kept),
            "what is settled cannot be told apart"
        );
        let mut walk = self.base.clone();
        let around = ReportContext { heard: &self.heard, amendments, settings };
        self.history.each(|at, report| {
            if end.is_none_or(|end| at.time < end) {
                walk.take(at, report, &around);
            }
        });
        walk
    }

    /// The time from which on all reports are kept in order; `None` where all of them are.
    pub fn kept_from(&self) -> Option<Timestamp> {
        // Some reports with the time of the horizon itself are settled.
        self.horizon.map(|Horizon { time, last }| match last {
            Some(_) => Timestamp::clamped(time.micros().saturating_add(1)),
            None => time,
        })
    }

    /// The times when it was heard.
    pub fn heard(&self) -> &HeardTimes {
        &self.heard
    }

    /// The latest time of an event of the machine.
    pub fn last_event(&self) -> Timestamp {
        self.last_event
    }

    /// The latest time at which the machine was heard.
    pub fn last_word(&self) -> Timestamp {
        self.last_word
    }

    /// Adds to the object for readers how far back late events are sorted in, how many times were corrected, and the
    /// late events.
    pub fn put(&self, to: &mut Map<String, Value>) {
        to.insert("horizon".into(), json!(self.horizon.map(|horizon| time(horizon.time))));
        to.insert("corrected".into(), json!({ "moved": self.moved, "ingest": self.ingest }));
        self.late.put(to);
    }
}

/// The limit on the history that a model keeps of each machine.
#[derive(Clone, Copy, Debug, Default)]
pub enum HistoryLimit {
    /// The room of one machine.
    #[default]
    Usual,
    /// The model is rebuilt, and keeps everything as long as all machines together stay below a limit. This number of
    /// bytes is taken.
    Sorting(usize),
}

impl HistoryLimit {
    /// Releases the bytes of a machine that gave way to others.
    pub fn release<W: ReportFold>(&mut self, track: &Track<W>) {
        if let Self::Sorting(taken) = self {
            *taken = taken.saturating_sub(track.bytes());
        }
    }

    /// Applies `change` to a machine, and settles the reports without room.
    pub fn keep<W: ReportFold>(
        &mut self,
        track: &mut Track<W>,
        amendments: &Amendments,
        settings: &W::Settings,
        change: impl FnOnce(&mut Track<W>),
    ) {
        let before = track.bytes();
        change(track);
        match self {
            Self::Sorting(taken) if *taken < MODEL_REBUILD_BYTES_MAX => {}
            _ => track.fold_aged(amendments, settings),
        }
        if let Self::Sorting(taken) = self {
            *taken = taken.saturating_add(track.bytes()).saturating_sub(before);
        }
    }
}
