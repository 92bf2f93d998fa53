//! The state of one condition of a subject.
//!
//! Reports are sorted by their order, whatever their offsets are. The alarm is the end of the list: the last raise,
//! those before it back to a clear, and the clears after it. One raise is enough; the others repeat it.

use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::life_cycle::Stage;
use super::super::{Correction, LoggedEvent, Order};
use crate::limits::MODEL_ALARM_REPORTS_MAX;
use afferent_protocol::event::AlarmTransition::{Acknowledged, Cleared, Raised};

/// A raise or a clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AlarmReport {
    at: Order,
    /// The offset of a raise; a clear has none.
    raised: Option<u64>,
    is_corrected: bool,
}

/// Whether an alarm is shelved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shelf {
    No,
    UntilTold,
    Until(Timestamp),
}

/// A condition of a subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AlarmCondition {
    /// Sorted; not complete if there were many: see [`AlarmCondition::compact`].
    reports: Vec<AlarmReport>,
    /// Priority of the latest raise.
    priority: u16,
    message: String,
    /// The latest acknowledgement by the machine, or the latest raise that a person acknowledged.
    acknowledged: Option<Order>,
    /// The latest shelving or unshelving.
    shelf: Option<(Order, Shelf)>,
    /// The latest report that was dropped.
    cut: Option<Order>,
    /// The sources that report the condition and have room for it, sorted.
    claims: Vec<SourceId>,
}

/// An alarm as its reports define it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Alarm<'c> {
    pub stage: Stage,
    pub priority: u16,
    pub message: &'c str,
    /// Offset of the first raise after the last clear before it.
    pub offset: Offset,
    pub raised: Timestamp,
    pub is_corrected: bool,
    /// The time of the last raise, which repeats the first one.
    pub repeated: Timestamp,
}

/// The relation of a raise to its condition's alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RaiseRelation {
    /// The raise belongs to the current alarm.
    Last,
    /// A later alarm of the condition was raised by the event at this offset.
    Followed(Offset),
}

impl AlarmCondition {
    /// Adds a source that reports the condition; returns whether it is new.
    pub fn claim(&mut self, source: SourceId) -> bool {
        match self.claims.binary_search(&source) {
            Ok(_) => false,
            Err(at) => {
                self.claims.insert(at, source);
                true
            }
        }
    }

    /// Removes a source that has no room for the condition; returns whether a source is left.
    pub fn release(&mut self, source: SourceId) -> bool {
        self.claims.retain(|known| *known != source);
        !self.claims.is_empty()
    }

    /// The sources that report the condition and have room for it.
    pub fn claims(&self) -> &[SourceId] {
        &self.claims
    }

    /// Adds a raise; returns whether dropped reports may have changed its meaning.
    pub fn raise(&mut self, seen: &LoggedEvent<'_>, priority: u16, message: impl FnOnce() -> String) -> bool {
        let order = seen.order();
        let is_latest = self.reports.iter().rev().find(|report| report.raised.is_some());
        if is_latest.is_none_or(|latest| latest.at <= order) {
            (self.priority, self.message) = (priority, message());
        }
        self.report(seen, Some(seen.offset.get()))
    }

    /// Adds a clear; returns whether dropped reports may have changed its meaning.
    pub fn clear(&mut self, seen: &LoggedEvent<'_>) -> bool {
        self.report(seen, None)
    }

    fn report(&mut self, seen: &LoggedEvent<'_>, raised: Option<u64>) -> bool {
        let is_corrected = seen.correction != Correction::None;
        let report = AlarmReport { at: seen.order(), raised, is_corrected };
        let is_late = self.cut.as_ref().is_some_and(|cut| report.at < *cut);
        let at = self.reports.partition_point(|known| known.at <= report.at);
        self.reports.insert(at, report);
        if self.reports.len() > MODEL_ALARM_REPORTS_MAX {
            self.compact();
        }
        is_late
    }

    /// Drops the oldest report that is equal to both its neighbours, or else the oldest one.
    fn compact(&mut self) {
        let is_raise = |report: &AlarmReport| report.raised.is_some();
        let same = |three: &[AlarmReport]| {
            is_raise(&three[0]) == is_raise(&three[1]) && is_raise(&three[1]) == is_raise(&three[2])
        };
        let at = self.reports.windows(3).position(same).map_or(0, |before| before + 1);
        let gone = self.reports.remove(at).at;
        if self.cut.as_ref().is_none_or(|cut| *cut < gone) {
            self.cut = Some(gone);
        }
    }

    /// Acknowledges the alarm by an event of the machine.
    pub fn acknowledge(&mut self, at: Order) {
        if self.acknowledged.as_ref().is_none_or(|known| *known < at) {
            self.acknowledged = Some(at);
        }
    }

    /// Acknowledges the alarm that this event raised, at whatever time.
    pub fn acknowledge_raise(&mut self, offset: Offset) {
        if let Some(report) = self.reports.iter().find(|report| report.raised == Some(offset.get())) {
            self.acknowledge(report.at);
        }
    }

    /// Shelves or unshelves the condition, however often it is raised meanwhile.
    pub fn shelve(&mut self, at: Order, shelf: Shelf) {
        if self.shelf.as_ref().is_none_or(|(known, _)| *known <= at) {
            self.shelf = Some((at, shelf));
        }
    }

    pub fn is_shelved(&self, at: Timestamp) -> bool {
        match self.shelf {
            None | Some((_, Shelf::No)) => false,
            Some((_, Shelf::UntilTold)) => true,
            Some((_, Shelf::Until(until))) => at < until,
        }
    }

    /// The alarm, if it was ever raised.
    pub fn alarm(&self) -> Option<Alarm<'_>> {
        let (first, last) = self.last_raises()?;
        let raise = &self.reports[first];
        let is_seen = self.acknowledged.as_ref().is_some_and(|seen| *seen >= raise.at);
        let is_over = last + 1 < self.reports.len();
        let passed = [(true, Raised), (is_seen, Acknowledged), (is_over, Cleared)];
        let stage = passed.into_iter().filter(|(has, _)| *has).fold(Stage::Normal, |stage, (_, by)| stage.after(by));
        Some(Alarm {
            stage,
            priority: self.priority,
            message: &self.message,
            offset: Offset::new(raise.raised.expect("it is a raise")),
            raised: raise.at.time,
            is_corrected: raise.is_corrected,
            repeated: self.reports[last].at.time,
        })
    }

    /// The fate of the alarm that the event at this offset raised; `None` when no such raise is kept.
    pub fn fate(&self, offset: Offset) -> Option<RaiseRelation> {
        let at = self.reports.iter().position(|report| report.raised == Some(offset.get()))?;
        let (first, _) = self.last_raises()?;
        let follower = self.reports[first].raised.expect("it is a raise");
        Some(if at >= first { RaiseRelation::Last } else { RaiseRelation::Followed(Offset::new(follower)) })
    }

    /// The latest time of a report, an acknowledgement or a shelving.
    pub fn last_word(&self) -> Option<Timestamp> {
        let reported = self.reports.last().map(|report| report.at.time);
        let shelved = self.shelf.as_ref().map(|(at, _)| at.time);
        reported.max(shelved).max(self.acknowledged.as_ref().map(|at| at.time))
    }

    /// Indexes of the first and the last raise of the last run of raises without a clear between them.
    fn last_raises(&self) -> Option<(usize, usize)> {
        let last = self.reports.iter().rposition(|report| report.raised.is_some())?;
        let before = self.reports[..last].iter().rposition(|report| report.raised.is_none());
        Some((before.map_or(0, |clear| clear + 1), last))
    }
}
