//! One pass over the log for the actual events and all alternatives.

use std::collections::BTreeMap;

use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Offset, Timestamp};
use serde_json::Value;

use super::super::diff::{Changes, diff};
use super::super::runner::{AsOf, AskError, Cancel, Models, ReplayError, fold_log};
use super::super::span::Span;
use super::super::{BuiltIn, Correction, Definition, Fold, FoldMember, LoggedEvent, Name, machine_of};
use super::plan::{Alternative, Plan};
use super::report::{AlternativeReport, Point, Report};
use crate::limits::{PLAN_POINT_CHANGES_MAX, PLAN_POINTS};
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::events::Entry;

/// Added events are numbered from here on: beyond any offset of a log, so that each has a different one.
const ADDED_FROM: u64 = 1 << 63;

/// Why the run of a plan failed.
#[derive(Debug, thiserror::Error)]
pub enum PlanRunError {
    /// A condition cannot be evaluated for an event.
    #[error("{place}: `when` cannot be evaluated for the event at offset {offset} ({subject}): {error}")]
    Condition {
        /// Alternative and rule.
        place: String,
        /// The offset of the event.
        offset: Offset,
        /// The subject of the event.
        subject: String,
        /// The error of the condition.
        error: String,
    },
    /// A model panicked.
    #[error("{model} was {error}")]
    Model {
        /// The model, and its alternative.
        model: String,
        /// The panic's message.
        error: String,
    },
    /// The states to begin with, or the end, do not exist.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The log cannot be read, or the client is gone.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A running plan.
pub struct WhatIf<'p> {
    plan: &'p Plan,
    from: Offset,
    actual: Fold,
    alternatives: Vec<Running<'p>>,
    timeline: Vec<Point>,
}

struct Running<'p> {
    alternative: &'p Alternative,
    members: Vec<FoldMember>,
    dropped: u64,
    changed: u64,
    added: usize,
}

impl<'p> WhatIf<'p> {
    /// Begins at `from` with models without events.
    pub fn new(plan: &'p Plan, from: Offset) -> Self {
        let members = plan.models.iter().map(|model| FoldMember::new(model.id.clone(), model.of.build()));
        Self::after(plan, Fold::new(members.collect(), from, Timestamp::default()))
    }

    /// Begins with the states of the plan's models, in its order; alternatives continue from there with their settings.
    pub fn after(plan: &'p Plan, actual: Fold) -> Self {
        let alternatives = plan.alternatives.iter().map(|alternative| {
            let pairs = actual.members.iter().zip(&alternative.models);
            let members = pairs.map(|(member, of)| FoldMember::new(member.id.clone(), with_state_of(of, member)));
            Running { alternative, members: members.collect(), dropped: 0, changed: 0, added: 0 }
        });
        Self { plan, from: actual.next(), alternatives: alternatives.collect(), actual, timeline: Vec::new() }
    }

    /// Declares the first offset of the log: retention has removed earlier ones. Call it before any entry is passed.
    pub fn begin_at(&mut self, first: Offset) {
        self.actual.begin_at(first);
        self.from = first;
    }

    /// The first offset that was not passed yet.
    pub fn next(&self) -> Offset {
        self.actual.next()
    }

    /// Passes the events of an entry that were not passed yet, up to `end`. An entry may have many, with many rules for
    /// each: a cancel ends it early.
    pub fn entry(
        &mut self,
        entry: &Entry<'_>,
        end: Offset,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), PlanRunError> {
        let alternatives = &mut self.alternatives;
        let mut outcome = Ok(());
        self.actual.entry_through(entry, end, &mut |members, seen, header| {
            if outcome.is_ok() && is_cancelled() {
                outcome = Err(ReplayError::Cancelled.into());
            }
            if outcome.is_err() {
                return;
            }
            members.iter_mut().for_each(|member| member.apply(seen));
            outcome = alternatives.iter_mut().try_for_each(|running| running.take(seen, header));
        });
        outcome
    }

    /// Records how far the alternatives differ from the actual events, unless it is cancelled.
    pub fn point(&mut self, is_cancelled: &dyn Fn() -> bool) {
        let key_figures = |model: &Definition| matches!(model.of, BuiltIn::Kpi(_));
        let any = self.plan.models.iter().any(key_figures);
        let time = self.actual.time();
        let mut alternatives = BTreeMap::new();
        for running in &self.alternatives {
            if is_cancelled() {
                return;
            }
            let mut changes = Changes::default();
            let pairs = self.actual.members.iter().zip(&running.members).zip(&self.plan.models);
            for ((actual, assumed), _) in pairs.filter(|(_, model)| !any || key_figures(model)) {
                let view = |member: &FoldMember| member.model.view_within(time, self.plan.span);
                let more = diff(&view(actual), &view(assumed));
                let room = PLAN_POINT_CHANGES_MAX - changes.changes.len();
                changes.more += more.more + more.changes.len().saturating_sub(room) as u64;
                changes.changes.extend(more.changes.into_iter().take(room));
            }
            alternatives.insert(running.alternative.name.clone(), changes);
        }
        let (offset, time) = (self.actual.next().to_string(), super::super::time_text(time));
        self.timeline.push(Point { offset, time, alternatives });
    }

    /// Ends the run over a part of this partition; the states are as of `at`, or of the last event.
    pub fn finish(self, partition: Partition, at: Option<Timestamp>) -> Result<Report, PlanRunError> {
        let (from, until) = (self.from.to_string(), self.actual.next().to_string());
        let time = at.unwrap_or(self.actual.time());
        let (members, span) = (&self.actual.members, self.plan.span);
        let counts_from = members.iter().map(|member| (member.id.to_string(), member.counts_from.view())).collect();
        let actual = states(members, time, span, "what happened")?;
        let alternatives = self.alternatives.into_iter().map(|running| running.report(&actual, time, span));
        let (alternatives, timeline) = (alternatives.collect::<Result<_, _>>()?, self.timeline);
        let (partition, time) = (partition.get(), super::super::time_text(time));
        Ok(Report { from, until, partition, time, counts_from, actual, alternatives, timeline })
    }
}

fn with_state_of(of: &BuiltIn, member: &FoldMember) -> Box<dyn super::super::AnyModel> {
    let mut model = of.build();
    model.load(&member.model.save()).expect("the state is of the same built-in model");
    model
}

fn states(
    members: &[FoldMember],
    time: Timestamp,
    span: Span,
    whose: &str,
) -> Result<BTreeMap<String, Value>, PlanRunError> {
    let state = |member: &FoldMember| match &member.failed {
        Some(error) => Err(PlanRunError::Model { model: format!("{} of {whose}", member.id), error: error.clone() }),
        None => Ok((member.id.to_string(), member.model.view_within(time, span))),
    };
    members.iter().map(state).collect()
}

impl<'p> Running<'p> {
    /// Passes events through this alternative's rules to its models, with the added ones.
    fn take(&mut self, seen: &[LoggedEvent<'_>], header: &Header) -> Result<(), PlanRunError> {
        let alternative: &'p Alternative = self.alternative;
        let mut assumed = Vec::with_capacity(seen.len() + 1);
        for seen in seen {
            while let Some(added) = alternative.added.get(self.added)
                && added.time() <= seen.ingest
            {
                let event = added.event();
                let subject = event.subject.as_str();
                assumed.push(LoggedEvent {
                    offset: Offset::new(ADDED_FROM + self.added as u64),
                    ingest: seen.ingest,
                    batch: header,
                    // It is not the first of its batch: it has no news about a source.
                    sequence: header.end(),
                    machine: Name { id: 0, text: machine_of(subject) },
                    subject: Name { id: 0, text: subject },
                    event,
                    clock_offset_us: seen.clock_offset_us,
                    time: event.time,
                    correction: Correction::None,
                });
                self.added += 1;
            }
            assumed.extend(self.changed(*seen)?);
        }
        self.members.iter_mut().for_each(|member| member.apply(&assumed));
        Ok(())
    }

    fn changed<'e>(&mut self, seen: LoggedEvent<'e>) -> Result<Option<LoggedEvent<'e>>, PlanRunError>
    where
        'p: 'e,
    {
        let alternative: &'p Alternative = self.alternative;
        let mut is_changed = false;
        let mut left = seen;
        for rule in &alternative.rules {
            let applied = rule.apply(left).map_err(|error| PlanRunError::Condition {
                place: rule.place.clone(),
                offset: seen.offset,
                subject: seen.subject.text.to_owned(),
                error,
            })?;
            match applied {
                (Some(after), changed) => {
                    left = after;
                    is_changed |= changed;
                }
                (None, _) => {
                    self.dropped += 1;
                    return Ok(None);
                }
            }
        }
        self.changed += u64::from(is_changed);
        Ok(Some(left))
    }

    fn report(
        self,
        actual: &BTreeMap<String, Value>,
        time: Timestamp,
        span: Span,
    ) -> Result<AlternativeReport, PlanRunError> {
        let name = self.alternative.name.clone();
        let states = states(&self.members, time, span, &name)?;
        let changes = states.iter().map(|(model, state)| (model.clone(), diff(&actual[model], state)));
        let changes = changes.filter(|(_, changes)| *changes != Changes::default()).collect();
        let (dropped, changed, added) = (self.dropped, self.changed, self.added as u64);
        Ok(AlternativeReport { name, dropped, changed, added, changes, states })
    }
}

impl Models {
    /// Runs a plan over a part of the log. The models begin with their states at `from`, or without events. Blocks.
    pub fn what_if(
        &self,
        plan: &Plan,
        from: Option<AsOf>,
        until: AsOf,
        cancel: &Cancel,
    ) -> Result<Report, PlanRunError> {
        let log = self.log();
        let (end, at) = self.resolve(until)?;
        let actual = match from {
            None => WhatIf::new(plan, log.kept().start),
            Some(from) => {
                let (from, _) = self.resolve(from)?;
                let mut actual = Fold::new(Vec::new(), from, Timestamp::default());
                for model in &plan.models {
                    let mut fold = self.replayed(model, from.min(end), cancel)?;
                    actual.join(fold.members.pop().expect("one model was replayed"));
                }
                WhatIf::after(plan, actual)
            }
        };
        run(actual, &*log, end, at, &|| cancel.is_cancelled())
    }
}

/// Folds up to `end`, with points on the way.
pub(super) fn run(
    mut what_if: WhatIf<'_>,
    log: &dyn ReadLog,
    end: Offset,
    at: Option<Timestamp>,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Report, PlanRunError> {
    let begin = what_if.next();
    let length = end.since(begin);
    for point in 1..=PLAN_POINTS {
        let part = u128::from(length) * u128::from(point) / u128::from(PLAN_POINTS);
        let until = Offset::new(begin.get() + part as u64);
        if until <= what_if.next() {
            continue;
        }
        let mut outcome = Ok(());
        let mut place = Fold::new(Vec::new(), what_if.next(), Timestamp::default());
        let mut failed = false;
        fold_log(log, &mut place, until, is_cancelled, &mut |place, entry, until| {
            if failed {
                return place.skip_to(until);
            }
            outcome = what_if.entry(entry, until, is_cancelled);
            failed = outcome.is_err();
            place.entry_passed(entry, until);
        })?;
        outcome?;
        what_if.actual.skip_to(until);
        what_if.point(is_cancelled);
        if is_cancelled() {
            return Err(ReplayError::Cancelled.into());
        }
    }
    what_if.finish(log.partition(), at)
}
