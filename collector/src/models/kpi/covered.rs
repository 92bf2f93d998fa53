//! How much of a span the reports of a machine cover, and their sums.
//!
//! Sums up to a moment include all events before it. Those of a span are the difference between the two at its ends, so
//! that spans add up. They are known at the machine's beginning and from the time on from which its reports are kept in
//! order; in between they are only part of the sum of all.

use afferent_protocol::ids::Timestamp;

use super::super::span::Span;
use super::super::timeline::{Sums, Timeline, Totals};
use super::super::track::Track;

/// The covered part of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Covered {
    /// Begin, end and sums; `None` if no time is covered.
    pub sums: Option<(Timestamp, Timestamp, Sums)>,
    /// Why it begins later than the span.
    pub begins_late: Option<&'static str>,
    /// Why it ends earlier than the span.
    pub ends_early: Option<&'static str>,
    /// The span whose quantities are counted beside it.
    pub quantities: Span,
}

/// The machine has reported no state.
const NO_REPORT: &str = "no_report";
/// The machine's first report came later.
const FIRST_REPORT: &str = "first_report";
/// Earlier reports are kept only in the sum of all.
pub(super) const HORIZON: &str = "horizon";
/// The machine was not heard any more.
const LAST_WORD: &str = "last_word";

impl Covered {
    /// The covered part of a span. `walk` folds the reports before a time, or all.
    pub fn of(track: &Track<Timeline>, span: Span, walk: &dyn Fn(Option<Timestamp>) -> Timeline) -> Self {
        let all = walk(None);
        let Some(begun) = all.begun() else {
            let begins_late = (!span.is_all()).then_some(NO_REPORT);
            return Self { begins_late, quantities: span, ..Self::default() };
        };
        let last = track.last_word().max(begun);
        let kept_from = track.kept_from();
        // The machine has no earlier reports: sums from its beginning are those of all.
        let asked_from = span.from.filter(|from| *from > begun);
        let from = asked_from.map(|from| kept_from.map_or(from, |kept| from.max(kept)));
        let begins_late = match (span.from, from) {
            (Some(asked), Some(from)) if from > asked => Some(HORIZON),
            (Some(asked), None) if asked < begun => Some(FIRST_REPORT),
            _ => None,
        };
        let ends_early = span.until.filter(|until| *until > last).map(|_| LAST_WORD);
        let none = Self { sums: None, begins_late, ends_early, quantities: span };
        if from.is_some_and(|from| from > last) {
            return Self { ends_early: Some(LAST_WORD), ..none };
        }
        let (shown_from, until) = (from.unwrap_or(begun), span.until.unwrap_or(last).min(last));
        if span.until.is_some_and(|until| until <= shown_from) {
            return Self { begins_late: begins_late.or(Some(FIRST_REPORT)), ..none };
        }
        if span.until.zip(kept_from).is_some_and(|(until, kept)| until < kept) {
            return Self { begins_late: Some(HORIZON), ..none };
        }
        let before = from.map_or(Totals::default(), |from| walk(Some(from)).totals(from, track.heard()));
        let whole = if span.until.is_some() { walk(span.until) } else { all };
        let sums = whole.totals(until, track.heard()).since(&before);
        let quantities = Span { from: from.or(span.from), until: span.until };
        Self { sums: Some((shown_from, until, sums)), quantities, ..none }
    }
}
