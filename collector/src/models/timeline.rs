//! One machine's states over time: intervals for people, and sums for key figures.
//!
//! [`Standing`] defines the state at a time. It is known as long as the machine is heard: each of its reports holds for
//! the period of the settings, and between the end of one and the next report the state is unknown.

use std::collections::VecDeque;

use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::report::Condition;

use super::heard::HeardTimes;
use super::history::At;
use super::report::Report;
use super::standing::Standing;
use super::track::{ReportContext, ReportFold};
use crate::limits::{MODEL_INTERVAL_BYTES_MAX, MODEL_INTERVALS_MAX};

/// The use of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Intervals are kept.
    Intervals,
    /// Only sums are kept.
    Sums,
}

/// A time without a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The condition.
    pub condition: Condition,
    /// The begin.
    pub from: Timestamp,
    /// The end; `None` while it lasts.
    pub until: Option<Timestamp>,
    /// The machine's reason, or its label.
    pub reason: Box<str>,
}

/// Microseconds in each condition, and the counts of failures for key figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// By [`Condition`].
    pub micros: [u64; 6],
    /// Times that the machine broke down.
    pub failures: u64,
    /// Times that it recovered.
    pub restorations: u64,
    /// Microseconds from each failure that is over to its end, whether the machine was heard meanwhile or not.
    pub restored_us: u64,
    /// Microseconds of executing before the first failure, and before the last one.
    pub before_failures_us: Option<(u64, u64)>,
}

impl Totals {
    /// The sums since `before`: everything counted after that moment, and not at it or earlier.
    pub fn since(&self, before: &Self) -> Sums {
        let times = self.micros.iter().zip(&before.micros);
        assert!(times.clone().all(|(now, before)| now >= before), "times only grow");
        assert!(
            self.failures >= before.failures && self.restorations >= before.restorations,
            "what has happened stays so"
        );
        let mut micros = [0; 6];
        times.zip(&mut micros).for_each(|((now, before), micros)| *micros = now - before);
        let between_us = |totals: &Self| totals.before_failures_us.map_or(0, |(first, last)| last - first);
        let betweens = |totals: &Self| totals.failures.saturating_sub(1);
        Sums {
            micros,
            failures: self.failures - before.failures,
            restorations: self.restorations - before.restorations,
            restored_us: self.restored_us - before.restored_us,
            betweens: betweens(self) - betweens(before),
            between_us: between_us(self) - between_us(before),
        }
    }
}

/// The sums of a span. Those of consecutive spans add up to those of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    micros: [u64; 6],
    /// Failures that began in it.
    pub failures: u64,
    /// Failures that ended in it, whenever they began.
    pub restorations: u64,
    restored_us: u64,
    /// Failures that began in it and were not the machine's first.
    betweens: u64,
    /// Microseconds of executing between each of those and the failure before it, also where that was before the span.
    between_us: u64,
}

impl Sums {
    /// Seconds in a condition.
    pub fn seconds(&self, condition: Condition) -> f64 {
        self.micros[condition as usize] as f64 / 1e6
    }

    /// Seconds of the planned busy time: all known time except planned down time.
    pub fn planned_s(&self) -> f64 {
        self.idle_s() + self.seconds(Condition::Executing) + self.seconds(Condition::Broken)
    }

    /// Seconds in which it neither executed nor was broken down or out of service.
    pub fn idle_s(&self) -> f64 {
        self.seconds(Condition::NotExecuting) + self.seconds(Condition::NotAvailable)
    }

    /// The mean operating time between failures, in seconds; `None` without such a time.
    pub fn mtbf_s(&self) -> Option<f64> {
        (self.betweens > 0).then(|| self.between_us as f64 / 1e6 / self.betweens as f64)
    }

    /// The mean time to restoration, in seconds; `None` without a restoration.
    pub fn mttr_s(&self) -> Option<f64> {
        (self.restorations > 0).then(|| self.restored_us as f64 / 1e6 / self.restorations as f64)
    }
}

/// One machine's states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    standing: Standing,
    /// The time of the first report, and the time up to which all reports are applied.
    span: Option<(Timestamp, Timestamp)>,
    shown: (Condition, Box<str>),
    broken_since: Option<Timestamp>,
    totals: Totals,
    keeps_intervals: bool,
    intervals: VecDeque<Interval>,
    bytes: usize,
    forgotten: u64,
}

impl ReportFold for Timeline {
    type Settings = Purpose;

    fn take(&mut self, at: At, report: &Report, around: &ReportContext<'_, Purpose>) {
        self.keeps_intervals = *around.settings == Purpose::Intervals;
        let label = around.amendments.label(at.offset);
        let took = self.standing.take(at.offset, report, label);
        if self.span.is_none() {
            self.span = Some((at.time, at.time));
        }
        if !took.has_changed {
            return;
        }
        let (condition, reason) = self.standing.shown();
        if (condition, reason) == (self.shown.0, &*self.shown.1) {
            return;
        }
        let shown = (condition, reason.into());
        self.pass(at.time, around.heard);
        let was_broken = self.shown.0 == Condition::Broken;
        self.shown = shown;
        match (was_broken, condition == Condition::Broken) {
            (false, true) => self.fail(at.time),
            (true, false) => self.restore(at.time),
            _ => {}
        }
    }

    fn pass(&mut self, until: Timestamp, heard: &HeardTimes) {
        let Some((_, passed)) = self.span else { return };
        if until <= passed {
            return;
        }
        heard.parts(passed, until, &mut |is_heard, from, until| self.part(is_heard, from, until));
        if let Some(span) = &mut self.span {
            span.1 = until;
        }
    }
}

impl Timeline {
    fn fail(&mut self, at: Timestamp) {
        self.broken_since = Some(at);
        self.totals.failures += 1;
        let operating = self.totals.micros[Condition::Executing as usize];
        let first = self.totals.before_failures_us.map_or(operating, |(first, _)| first);
        self.totals.before_failures_us = Some((first, operating));
    }

    fn restore(&mut self, at: Timestamp) {
        let since = self.broken_since.take().unwrap_or(at);
        self.totals.restorations += 1;
        self.totals.restored_us += at.micros().saturating_sub(since.micros()).unsigned_abs();
    }

    fn part(&mut self, is_heard: bool, from: Timestamp, until: Timestamp) {
        let (condition, reason) = match &self.shown {
            (condition, reason) if is_heard => (*condition, &**reason),
            _ => (Condition::NoData, SILENT),
        };
        self.totals.micros[condition as usize] += (until.micros() - from.micros()).unsigned_abs();
        if !self.keeps_intervals {
            return;
        }
        if let Some(last) = self.intervals.back_mut()
            && last.condition == condition
            && *last.reason == *reason
            && last.until == Some(from)
        {
            last.until = Some(until);
            return;
        }
        self.bytes += size_of::<Interval>() + reason.len();
        self.intervals.push_back(Interval { condition, from, until: Some(until), reason: reason.into() });
        while self.bytes > MODEL_INTERVAL_BYTES_MAX || self.intervals.len() > MODEL_INTERVALS_MAX {
            let Some(oldest) = self.intervals.pop_front() else { break };
            self.bytes -= size_of::<Interval>() + oldest.reason.len();
            self.forgotten += 1;
        }
    }

    /// The time of the first report.
    pub fn begun(&self) -> Option<Timestamp> {
        self.span.map(|(from, _)| from)
    }

    /// The sums up to `until`, or up to the last change when that is later.
    pub fn totals(mut self, until: Timestamp, heard: &HeardTimes) -> Totals {
        self.keeps_intervals = false;
        self.pass(until, heard);
        self.totals
    }

    /// The newest intervals as of `at`, oldest first, and the number of older ones.
    pub fn intervals(mut self, at: Timestamp, heard: &HeardTimes) -> (Vec<Interval>, u64) {
        let Some((_, passed)) = self.span else { return (Vec::new(), self.forgotten) };
        self.keeps_intervals = true;
        let known_until = heard.until().unwrap_or(passed);
        // A begin and end at one moment is an interval only at the end.
        let now = at.min(known_until).max(passed);
        self.pass(now, heard);
        let (condition, reason) = if at > known_until { (Condition::NoData, SILENT.into()) } else { self.shown };
        let mut intervals: Vec<Interval> = self.intervals.into();
        match intervals.last_mut() {
            Some(last) if last.condition == condition && last.reason == reason => last.until = None,
            _ => intervals.push(Interval { condition, from: now, until: None, reason }),
        }
        let older = intervals.len().saturating_sub(MODEL_INTERVALS_MAX);
        intervals.drain(..older);
        (intervals, self.forgotten + older as u64)
    }
}

/// The reason of an unknown state.
pub const SILENT: &str = "nothing was heard";
