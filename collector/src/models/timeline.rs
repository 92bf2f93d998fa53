//! One machine's states over time, whatever order its events came in.
//!
//! Two things make a state: what the machine reports (`State` events), and whether it is broken down: from a
//! `Breakdown` to the `Recovery` of the same code (or of any), or until the machine reports that it executes. Changes are kept in
//! the order of their event times, so that what comes late goes where it belongs. There are so many at most; the oldest are
//! folded into sums, and what comes for a time before those is counted as late and changes nothing.

use std::collections::VecDeque;

use afferent_protocol::event::MachineState;
use afferent_protocol::ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::MODEL_BROKEN_CODES_MAX;

/// The state of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing is known.
    #[default]
    NoData,
    /// At work.
    Executing,
    /// Ready, and doing nothing.
    NotExecuting,
    /// Taken out of service on purpose.
    OutOfService,
    /// It cannot be used, as it says itself.
    NotAvailable,
    /// It has broken down.
    Broken,
}

impl Condition {
    /// The name that readers see: a machine that has broken down is not available.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Executing => "executing",
            Self::NotExecuting => "not_executing",
            Self::OutOfService => "out_of_service",
            Self::NotAvailable | Self::Broken => "not_available",
        }
    }
}

impl From<MachineState> for Condition {
    fn from(state: MachineState) -> Self {
        match state {
            MachineState::NotAvailable => Self::NotAvailable,
            MachineState::OutOfService => Self::OutOfService,
            MachineState::NotExecuting => Self::NotExecuting,
            MachineState::Executing => Self::Executing,
        }
    }
}

/// What changes a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The machine reports its state, and why.
    Reported(Condition, String),
    /// It breaks down, with this code and these words.
    Broken(String, String),
    /// The breakdown of this code is over; all are with an empty one.
    Recovered(String),
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// By the source's clock.
    pub time: Timestamp,
    /// Where it stands in the log.
    pub offset: u64,
    /// What changes.
    pub what: What,
    /// Why, as somebody found out later; empty when nobody has.
    pub label: String,
}

/// What holds at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    reported: Condition,
    reason: String,
    /// Codes and words of the breakdowns that are not over.
    broken: Vec<(String, String)>,
    label: String,
}

/// Microseconds in each condition, and how often the machine broke down and recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// By [`Condition`].
    pub micros: [u64; 6],
    /// Times that it became broken.
    pub failures: u64,
    /// Times that it stopped being broken.
    pub restorations: u64,
}

impl Totals {
    /// Seconds in a condition.
    pub fn seconds(&self, condition: Condition) -> f64 {
        self.micros[condition as usize] as f64 / 1e6
    }
}

/// A time during which nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The condition.
    pub condition: Condition,
    /// From when.
    pub from: Timestamp,
    /// Until when; `None` while it lasts.
    pub until: Option<Timestamp>,
    /// Why, in the machine's words, or in those of somebody who labelled it.
    pub reason: String,
}

/// One machine's states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    changes: VecDeque<Change>,
    /// What held before the first of the changes.
    base: Standing,
    /// Since when; `None` when nothing was folded.
    base_from: Option<Timestamp>,
    /// Since when the machine was broken down then; `None` when it was not.
    base_broken_since: Option<Timestamp>,
    folded: Totals,
    forgotten: u64,
    late: u64,
}

impl Timeline {
    /// Takes a change in, and folds the oldest when there are more than `changes_max`.
    pub fn add(&mut self, change: Change, changes_max: usize) {
        if self.base_from.is_some_and(|from| change.time < from) {
            self.late += 1;
            return;
        }
        let key = (change.time, change.offset);
        let at = self.changes.iter().rposition(|known| (known.time, known.offset) <= key).map_or(0, |at| at + 1);
        self.changes.insert(at, change);
        if self.changes.len() > changes_max {
            self.fold_oldest();
        }
    }

    /// Says why, of the change that stands at `offset`; whether there is such a one.
    pub fn label(&mut self, offset: u64, label: &str) -> bool {
        let found = self.changes.iter_mut().find(|change| change.offset == offset);
        found.map(|change| label.clone_into(&mut change.label)).is_some()
    }

    /// Changes that are only in the sums.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Changes that came for a time before those that are kept.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The intervals, oldest first, beginning with the first change that is kept.
    pub fn intervals(&self) -> Vec<Interval> {
        let mut intervals: Vec<Interval> = Vec::new();
        let mut standing = self.base.clone();
        if let Some(from) = self.base_from {
            intervals.push(standing.interval(from));
        }
        for change in &self.changes {
            standing.take(change);
            let next = standing.interval(change.time);
            match intervals.last_mut() {
                Some(last) if last.condition == next.condition && last.reason == next.reason => {}
                Some(last) if last.from == change.time => *last = next,
                Some(last) => {
                    last.until = Some(change.time);
                    intervals.push(next);
                }
                None => intervals.push(next),
            }
        }
        intervals
    }

    /// The sums up to `until`, or up to the last change when that is later.
    pub fn totals(&self, until: Timestamp) -> Totals {
        let mut totals = self.folded;
        let mut standing = self.base.clone();
        let mut from = self.base_from;
        for change in &self.changes {
            totals.pass(&standing, from, change.time);
            totals.count(&mut standing, change);
            from = Some(change.time);
        }
        totals.pass(&standing, from, until);
        totals
    }

    /// Seconds since when it is broken down; zero when it is not.
    pub fn broken_now(&self, until: Timestamp) -> f64 {
        let mut standing = self.base.clone();
        let mut since = self.base_broken_since;
        for change in &self.changes {
            standing.take(change);
            since = match standing.condition() {
                Condition::Broken => since.or(Some(change.time)),
                _ => None,
            };
        }
        since.map_or(0.0, |since| (until.micros() - since.micros()).max(0) as f64 / 1e6)
    }

    fn fold_oldest(&mut self) {
        let Some(oldest) = self.changes.pop_front() else { return };
        self.folded.pass(&self.base, self.base_from, oldest.time);
        self.folded.count(&mut self.base, &oldest);
        self.base_from = Some(oldest.time);
        self.base_broken_since = match self.base.condition() {
            Condition::Broken => self.base_broken_since.or(Some(oldest.time)),
            _ => None,
        };
        self.forgotten += 1;
    }
}

impl Totals {
    fn pass(&mut self, standing: &Standing, from: Option<Timestamp>, until: Timestamp) {
        let passed = from.map_or(0, |from| until.micros() - from.micros());
        self.micros[standing.condition() as usize] += u64::try_from(passed).unwrap_or(0);
    }

    fn count(&mut self, standing: &mut Standing, change: &Change) {
        let before = standing.condition() == Condition::Broken;
        standing.take(change);
        let after = standing.condition() == Condition::Broken;
        self.failures += u64::from(!before && after);
        self.restorations += u64::from(before && !after);
    }
}

impl Standing {
    fn take(&mut self, change: &Change) {
        self.label.clone_from(&change.label);
        match &change.what {
            What::Reported(condition, reason) => {
                self.reported = *condition;
                self.reason.clone_from(reason);
                if *condition == Condition::Executing {
                    self.broken.clear();
                }
            }
            What::Broken(code, words) => {
                self.broken.retain(|(known, _)| known != code);
                if self.broken.len() < MODEL_BROKEN_CODES_MAX {
                    self.broken.push((code.clone(), words.clone()));
                }
            }
            What::Recovered(code) => self.broken.retain(|(known, _)| !code.is_empty() && known != code),
        }
    }

    fn condition(&self) -> Condition {
        if self.broken.is_empty() { self.reported } else { Condition::Broken }
    }

    fn interval(&self, from: Timestamp) -> Interval {
        let reason = match self.broken.first() {
            _ if !self.label.is_empty() => self.label.clone(),
            None => self.reason.clone(),
            Some((code, words)) if words.is_empty() => code.clone(),
            Some((code, words)) if code.is_empty() => words.clone(),
            Some((code, words)) => format!("{code}: {words}"),
        };
        Interval { condition: self.condition(), from, until: None, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second * 1_000_000).unwrap()
    }

    fn change(second: i64, offset: u64, what: What) -> Change {
        Change { time: at(second), offset, what, label: String::new() }
    }

    fn broken(code: &str) -> What {
        What::Broken(code.into(), String::new())
    }

    fn timeline(changes: impl IntoIterator<Item = Change>, max: usize) -> Timeline {
        let mut timeline = Timeline::default();
        changes.into_iter().for_each(|change| timeline.add(change, max));
        timeline
    }

    fn conditions(timeline: &Timeline) -> Vec<(Condition, i64)> {
        let seconds = |interval: &Interval| interval.from.micros() / 1_000_000;
        timeline.intervals().iter().map(|interval| (interval.condition, seconds(interval))).collect()
    }

    #[test]
    fn a_machine_is_broken_until_every_breakdown_is_over() {
        let timeline = timeline(
            [
                change(0, 0, What::Reported(Condition::Executing, String::new())),
                change(10, 1, broken("E1")),
                change(20, 2, broken("E2")),
                change(30, 3, What::Recovered("E1".into())),
                change(40, 4, What::Recovered("E2".into())),
            ],
            99,
        );
        let executing = Condition::Executing;
        assert_eq!(
            conditions(&timeline),
            [(executing, 0), (Condition::Broken, 10), (Condition::Broken, 30), (executing, 40)]
        );
        let totals = timeline.totals(at(50));
        assert_eq!((totals.failures, totals.restorations), (1, 1));
        assert_eq!((totals.seconds(executing), totals.seconds(Condition::Broken)), (20.0, 30.0));
    }

    #[test]
    fn a_machine_that_executes_is_not_broken_whether_it_said_so_or_not() {
        let executing = What::Reported(Condition::Executing, String::new());
        let timeline = timeline([change(0, 0, broken("E1")), change(5, 1, executing)], 99);
        assert_eq!(conditions(&timeline), [(Condition::Broken, 0), (Condition::Executing, 5)]);
    }

    #[test]
    fn a_label_is_told_instead_of_the_machines_reason() {
        let mut timeline = timeline([change(0, 7, broken("E1"))], 99);
        assert!(timeline.label(7, "belt torn") && !timeline.label(8, "nothing there"));
        assert_eq!(timeline.intervals()[0].reason, "belt torn");
    }

    #[test]
    fn what_is_older_than_what_is_kept_is_counted_and_changes_nothing() {
        let mut timeline = timeline((0..5).map(|n| change(10 + n, n as u64, broken(&n.to_string()))), 3);
        let before = timeline.totals(at(100));
        timeline.add(change(1, 9, What::Recovered(String::new())), 3);
        assert_eq!((timeline.late(), timeline.forgotten(), timeline.totals(at(100))), (1, 2, before));
    }

    fn any_change() -> impl Strategy<Value = (i64, What)> {
        let condition = prop_oneof![
            Just(Condition::Executing),
            Just(Condition::NotExecuting),
            Just(Condition::OutOfService),
            Just(Condition::NotAvailable)
        ];
        let code = || "[AB]?";
        let what = prop_oneof![
            condition.prop_map(|condition| What::Reported(condition, String::new())),
            code().prop_map(|code| What::Broken(code, String::new())),
            code().prop_map(What::Recovered),
        ];
        (0_i64..1000, what)
    }

    proptest! {
        #[test]
        fn the_order_in_which_changes_come_does_not_matter(
            changes in proptest::collection::vec(any_change(), 0..40).prop_shuffle(),
        ) {
            let all: Vec<Change> = changes.into_iter().zip(0..).map(|((s, what), n)| change(s, n, what)).collect();
            let mut sorted = all.clone();
            sorted.sort_by_key(|change| (change.time, change.offset));
            prop_assert_eq!(timeline(all, 99), timeline(sorted, 99));
        }

        #[test]
        fn sums_are_the_same_however_many_changes_are_kept(
            changes in proptest::collection::vec(any_change(), 0..40), max in 1_usize..40,
        ) {
            let mut all: Vec<Change> = changes.into_iter().zip(0..).map(|((s, what), n)| change(s, n, what)).collect();
            all.sort_by_key(|change| (change.time, change.offset));
            let end = at(2000);
            prop_assert_eq!(timeline(all.clone(), max).totals(end), timeline(all, 99).totals(end));
        }

        #[test]
        fn sums_are_those_of_the_intervals(changes in proptest::collection::vec(any_change(), 1..40)) {
            let all = changes.into_iter().zip(0..).map(|((s, what), n)| change(s, n, what));
            let timeline = timeline(all, 99);
            let end = at(2000);
            let mut micros = [0; 6];
            for interval in timeline.intervals() {
                let until = interval.until.unwrap_or(end);
                micros[interval.condition as usize] += (until.micros() - interval.from.micros()) as u64;
            }
            prop_assert_eq!(timeline.totals(end).micros, micros);
        }
    }
}
