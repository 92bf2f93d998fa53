//! What is kept of one condition of a subject.
//!
//! Reports stand in their order, wherever they stood in the log. The alarm is what they end with: the last raise, those
//! before it back to a clear, and the clears after it. One raise is enough; the others repeat it.

use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::life_cycle::Stage;
use super::super::{Correction, Order, Seen};
use crate::limits::MODEL_ALARM_REPORTS_MAX;
use afferent_protocol::event::AlarmTransition::{Acknowledged, Cleared, Raised};

/// A raise or a clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    at: Order,
    /// The offset of a raise; a clear has none.
    raised: Option<u64>,
    is_corrected: bool,
}

/// Whether an alarm is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shelf {
    No,
    UntilTold,
    Until(Timestamp),
}

/// A condition of a subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Condition {
    /// In their order, and not all of them when there were many: see [`Condition::compact`].
    reports: Vec<Report>,
    /// Of the latest raise.
    priority: u16,
    message: String,
    /// The latest acknowledgement by the machine, or the latest raise that somebody acknowledged.
    acknowledged: Option<Order>,
    /// The latest word on whether it is shelved.
    shelf: Option<(Order, Shelf)>,
    /// The latest of the reports that were let go of.
    cut: Option<Order>,
    /// The sources that report it and have room for it, in their order.
    claims: Vec<SourceId>,
}

/// An alarm as its reports have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Alarm<'c> {
    pub stage: Stage,
    pub priority: u16,
    pub message: &'c str,
    /// Of the first raise after the last clear before it.
    pub offset: Offset,
    pub raised: Timestamp,
    pub is_corrected: bool,
    /// The time of the last raise, which says the same as the first one.
    pub repeated: Timestamp,
}

/// What became of the alarm that an event raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is the last one of its condition.
    Last,
    /// Another one of its condition came after it: the one that this event raised first.
    Followed(Offset),
}

impl Condition {
    /// A source reports it; whether it did not before.
    pub fn claim(&mut self, source: SourceId) -> bool {
        match self.claims.binary_search(&source) {
            Ok(_) => false,
            Err(at) => {
                self.claims.insert(at, source);
                true
            }
        }
    }

    /// A source has no room for it; whether another one has.
    pub fn release(&mut self, source: SourceId) -> bool {
        self.claims.retain(|known| *known != source);
        !self.claims.is_empty()
    }

    /// The sources that report it and have room for it.
    pub fn claims(&self) -> &[SourceId] {
        &self.claims
    }

    /// Takes a raise. Whether what was let go of may have changed what it means.
    pub fn raise(&mut self, seen: &Seen<'_>, priority: u16, message: impl FnOnce() -> String) -> bool {
        let order = seen.order();
        let is_latest = self.reports.iter().rev().find(|report| report.raised.is_some());
        if is_latest.is_none_or(|latest| latest.at <= order) {
            (self.priority, self.message) = (priority, message());
        }
        self.report(seen, Some(seen.offset.get()))
    }

    /// Takes a clear. Whether what was let go of may have changed what it means.
    pub fn clear(&mut self, seen: &Seen<'_>) -> bool {
        self.report(seen, None)
    }

    fn report(&mut self, seen: &Seen<'_>, raised: Option<u64>) -> bool {
        let is_corrected = seen.correction != Correction::None;
        let report = Report { at: seen.order(), raised, is_corrected };
        let is_late = self.cut.as_ref().is_some_and(|cut| report.at < *cut);
        let at = self.reports.partition_point(|known| known.at <= report.at);
        self.reports.insert(at, report);
        if self.reports.len() > MODEL_ALARM_REPORTS_MAX {
            self.compact();
        }
        is_late
    }

    /// Lets go of the oldest report that says what both its neighbours say, or else of the oldest one.
    fn compact(&mut self) {
        let is_raise = |report: &Report| report.raised.is_some();
        let same =
            |three: &[Report]| is_raise(&three[0]) == is_raise(&three[1]) && is_raise(&three[1]) == is_raise(&three[2]);
        let at = self.reports.windows(3).position(same).map_or(0, |before| before + 1);
        let gone = self.reports.remove(at).at;
        if self.cut.as_ref().is_none_or(|cut| *cut < gone) {
            self.cut = Some(gone);
        }
    }

    /// The machine says that somebody has seen it.
    pub fn acknowledge(&mut self, at: Order) {
        if self.acknowledged.as_ref().is_none_or(|known| *known < at) {
            self.acknowledged = Some(at);
        }
    }

    /// Somebody has seen the alarm that this event raised. That is about this alarm, whatever the time.
    pub fn acknowledge_raise(&mut self, offset: Offset) {
        if let Some(report) = self.reports.iter().find(|report| report.raised == Some(offset.get())) {
            self.acknowledge(report.at);
        }
    }

    /// Shelves it, or takes it from the shelf. That is about the condition, however often it is raised meanwhile.
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

    /// What became of the alarm that the event at this offset raised; `None` when it raised none that is known here.
    pub fn fate(&self, offset: Offset) -> Option<Fate> {
        let at = self.reports.iter().position(|report| report.raised == Some(offset.get()))?;
        let (first, _) = self.last_raises()?;
        let follower = self.reports[first].raised.expect("it is a raise");
        Some(if at >= first { Fate::Last } else { Fate::Followed(Offset::new(follower)) })
    }

    /// The latest time that anything of it has.
    pub fn last_word(&self) -> Option<Timestamp> {
        let reported = self.reports.last().map(|report| report.at.time);
        let shelved = self.shelf.as_ref().map(|(at, _)| at.time);
        reported.max(shelved).max(self.acknowledged.as_ref().map(|at| at.time))
    }

    /// The first and the last of the raises without a clear between them that come last.
    fn last_raises(&self) -> Option<(usize, usize)> {
        let last = self.reports.iter().rposition(|report| report.raised.is_some())?;
        let before = self.reports[..last].iter().rposition(|report| report.raised.is_none());
        Some((before.map_or(0, |clear| clear + 1), last))
    }
}
