//! The current condition of a machine: the states that it and its parts reported, and the breakdowns that are not over.
//!
//! - A report about a subject is about all subjects below it, and about none beside it: `executing` of `88-C` ends the
//!   breakdowns of `88-C/belt`, that of `88-C/feeder` does not. A recovery ends the breakdowns of its subject, and
//!   below, that have its code; all of them with an empty code.
//! - A breakdown is identified by its subject and code. It ends with its recovery, or when its subject, or one above
//!   it, reports that it executes, whichever comes first.
//! - The state of a machine is that of its own last report. If only parts of a machine report, it is the best of
//!   theirs: it executes while one of them does.
//! - A breakdown that begins while the machine is out of service does not count as a failure: machines in maintenance
//!   are tried, and trip. If it lasts until the machine reports that it is in service again, it counts from then on. A
//!   breakdown that began before the machine was taken out of service counts until it is over: its repair is not
//!   planned down time.

use serde::{Deserialize, Serialize};

use super::report::{Condition, Kind, Report, SeverityName, covers};
use crate::limits::{MODEL_BROKEN_CODES_MAX, MODEL_PARTS_MAX};

/// The current condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// By subject, so that the machine itself comes first.
    parts: Vec<PartCondition>,
    /// Breakdowns that are not over, in the order in which they began.
    open: Vec<Open>,
}

/// The machine, or a part of it that reports states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartCondition {
    subject: Box<str>,
    condition: Condition,
    words: Box<str>,
    /// The report's reason, or its label.
    reason: Box<str>,
}

/// A breakdown that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    offset: u64,
    subject: Box<str>,
    code: Box<str>,
    severity: SeverityName,
    reason: Box<str>,
    is_failure: bool,
}

/// The effects of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportEffects {
    /// Whether [`Standing::shown`] may have changed.
    pub has_changed: bool,
    /// Whether a breakdown began.
    pub begun: bool,
    /// The offset of the breakdown that was reported again.
    pub repeated: Option<u64>,
    /// The offsets of the breakdowns that are over.
    pub ended: Vec<u64>,
    /// The offset of a breakdown that is not followed any more: there are too many.
    pub dropped: Option<u64>,
}

impl Standing {
    /// Applies the next report. A label replaces its reason.
    pub fn take(&mut self, offset: u64, report: &Report, label: Option<&str>) -> ReportEffects {
        match report.kind {
            Kind::State(condition) => self.state(condition, report, label),
            Kind::Broken(severity) => self.broken(offset, severity, report, label),
            Kind::Recovered => {
                let is_meant = |open: &Open| report.code.is_empty() || open.code == report.code;
                let ended = self.end(|open| covers(&report.subject, &open.subject) && is_meant(open));
                ReportEffects { has_changed: !ended.is_empty(), ended, ..ReportEffects::default() }
            }
            Kind::Raised(_) | Kind::Cleared => ReportEffects::default(),
        }
    }

    /// The machine's condition, and its reason.
    pub fn shown(&self) -> (Condition, &str) {
        match self.open.iter().find(|open| open.is_failure) {
            Some(open) => (Condition::Broken, &open.reason),
            None => self.reported(),
        }
    }

    /// Whether the machine itself has reported out of service.
    pub fn is_out_of_service(&self) -> bool {
        self.reported().0 == Condition::OutOfService
    }

    fn reported(&self) -> (Condition, &str) {
        let own = self.parts.first().filter(|part| !part.subject.contains('/'));
        let rank = |part: &&PartCondition| match part.condition {
            Condition::Executing => 0,
            Condition::NotExecuting => 1,
            Condition::OutOfService => 2,
            Condition::NotAvailable | Condition::Broken | Condition::NoData => 3,
        };
        let told = own.or_else(|| self.parts.iter().min_by_key(rank));
        told.map_or((Condition::NoData, ""), |part| (part.condition, &part.reason))
    }

    fn state(&mut self, condition: Condition, report: &Report, label: Option<&str>) -> ReportEffects {
        let mut took = ReportEffects::default();
        if condition == Condition::Executing && !self.open.is_empty() {
            took.ended = self.end(|open| covers(&report.subject, &open.subject));
        }
        took.has_changed = !took.ended.is_empty() | self.part(condition, report, label);
        if took.has_changed && !self.is_out_of_service() {
            self.open.iter_mut().for_each(|open| open.is_failure = true);
        }
        took
    }

    /// Sets the state of a part; returns whether it has changed.
    fn part(&mut self, condition: Condition, report: &Report, label: Option<&str>) -> bool {
        let words = &report.words;
        let reason = || label.map_or_else(|| words.clone(), Into::into);
        match self.parts.binary_search_by(|part| part.subject.cmp(&report.subject)) {
            Ok(at) if self.parts[at].condition == condition && self.parts[at].words == *words => {
                // Reported again: only a label makes a difference.
                let part = &mut self.parts[at];
                let other = label.filter(|label| *part.reason != **label);
                other.map(|label| part.reason = label.into()).is_some()
            }
            Ok(at) => {
                let part = &mut self.parts[at];
                (part.condition, part.words, part.reason) = (condition, words.clone(), reason());
                true
            }
            Err(at) if self.parts.len() < MODEL_PARTS_MAX || at == 0 => {
                let (subject, words) = (report.subject.clone(), words.clone());
                self.parts.insert(at, PartCondition { subject, condition, words, reason: reason() });
                self.parts.truncate(MODEL_PARTS_MAX);
                true
            }
            Err(_) => false,
        }
    }

    fn broken(&mut self, offset: u64, severity: SeverityName, report: &Report, label: Option<&str>) -> ReportEffects {
        let is_same = |open: &&mut Open| open.subject == report.subject && open.code == report.code;
        if let Some(open) = self.open.iter_mut().find(is_same) {
            open.severity = open.severity.max(severity);
            let other = label.filter(|label| *open.reason != **label);
            let has_changed = other.map(|label| open.reason = label.into()).is_some();
            return ReportEffects { has_changed, repeated: Some(open.offset), ..ReportEffects::default() };
        }
        let (subject, code, is_failure) = (report.subject.clone(), report.code.clone(), !self.is_out_of_service());
        let reason = label.map_or_else(|| reason_of(report), Into::into);
        self.open.push(Open { offset, subject, code, severity, reason, is_failure });
        let let_go = (self.open.len() > MODEL_BROKEN_CODES_MAX).then(|| self.drop_least_important());
        ReportEffects { has_changed: true, begun: true, dropped: let_go, ..ReportEffects::default() }
    }

    /// Drops the least important breakdown: the oldest of the lowest severity.
    fn drop_least_important(&mut self) -> u64 {
        let severities = self.open.iter().map(|open| open.severity).enumerate();
        let (at, _) = severities.min_by_key(|(at, severity)| (*severity, *at)).expect("there are too many");
        self.open.remove(at).offset
    }

    fn end(&mut self, is_over: impl Fn(&Open) -> bool) -> Vec<u64> {
        let mut ended = Vec::new();
        self.open.retain(|open| {
            let over = is_over(open);
            if over {
                ended.push(open.offset);
            }
            !over
        });
        ended
    }
}

fn reason_of(report: &Report) -> Box<str> {
    match (&*report.code, &*report.words) {
        (code, "") => code.into(),
        ("", words) => words.into(),
        (code, words) => format!("{code}: {words}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{Broken, Executing, NotExecuting, OutOfService};

    fn report(kind: Kind, subject: &str, code: &str) -> Report {
        Report { kind, subject: subject.into(), code: code.into(), words: "".into() }
    }

    fn state(condition: Condition, subject: &str) -> Report {
        report(Kind::State(condition), subject, "")
    }

    fn broken(subject: &str, code: &str) -> Report {
        report(Kind::Broken(SeverityName::Error), subject, code)
    }

    /// The conditions after each of these.
    fn conditions(reports: &[Report]) -> Vec<Condition> {
        let mut standing = Standing::default();
        let take = |(offset, report)| {
            standing.take(offset, report, None);
            standing.shown().0
        };
        (0..).zip(reports).map(take).collect()
    }

    #[test]
    fn what_is_about_one_part_ends_nothing_of_another() {
        let log = [
            state(Executing, "88-C"),
            broken("88-C/belt", "E1"),
            report(Kind::Recovered, "88-C/pump", "E1"),
            report(Kind::Recovered, "88-C/pump", ""),
            state(Executing, "88-C/feeder"),
            report(Kind::Recovered, "88-C/belt", "E2"),
            report(Kind::Recovered, "88-C/belt", "E1"),
        ];
        let [first, rest @ .., last] = &conditions(&log)[..] else { unreachable!() };
        assert_eq!((*first, *last), (Executing, Executing));
        assert_eq!(rest, [Broken; 5]);
    }

    #[test]
    fn what_is_about_the_machine_is_about_its_parts() {
        for end in
            [state(Executing, "88-C"), report(Kind::Recovered, "88-C", ""), report(Kind::Recovered, "88-C", "E1")]
        {
            let log = [state(Executing, "88-C"), broken("88-C/belt", "E1"), end];
            assert_eq!(conditions(&log), [Executing, Broken, Executing]);
        }
    }

    #[test]
    fn a_machine_whose_parts_alone_report_executes_while_one_of_them_does() {
        let log = [state(NotExecuting, "88-C/a"), state(Executing, "88-C/b"), state(NotExecuting, "88-C/b")];
        assert_eq!(conditions(&log), [NotExecuting, Executing, NotExecuting]);
        let log = [state(NotExecuting, "88-C"), state(Executing, "88-C/b")];
        assert_eq!(conditions(&log), [NotExecuting; 2], "its own word counts more");
    }

    #[test]
    fn a_breakdown_out_of_service_is_a_failure_only_when_it_lasts_beyond_that() {
        let log = [state(OutOfService, "88-C"), broken("88-C", "E1"), report(Kind::Recovered, "88-C", "E1")];
        assert_eq!(conditions(&log), [OutOfService; 3]);
        let log = [state(OutOfService, "88-C"), broken("88-C", "E1"), state(NotExecuting, "88-C")];
        assert_eq!(conditions(&log), [OutOfService, OutOfService, Broken]);
        let log = [broken("88-C", "E1"), state(OutOfService, "88-C"), report(Kind::Recovered, "88-C", "E1")];
        assert_eq!(conditions(&log), [Broken, Broken, OutOfService], "its repair is no planned down time");
    }

    #[test]
    fn of_too_many_breakdowns_the_oldest_of_the_lowest_severity_is_let_go_of() {
        let mut standing = Standing::default();
        let warning = report(Kind::Broken(SeverityName::Warning), "88-C", "W");
        assert_eq!(standing.take(0, &broken("88-C", "first"), None).dropped, None);
        assert_eq!(standing.take(1, &warning, None).dropped, None);
        let codes =
            (2..=MODEL_BROKEN_CODES_MAX as u64).map(|n| standing.take(n, &broken("88-C", &n.to_string()), None));
        let let_go: Vec<u64> = codes.filter_map(|took| took.dropped).collect();
        assert_eq!((let_go, standing.open.len()), (vec![1], MODEL_BROKEN_CODES_MAX));
    }
}
