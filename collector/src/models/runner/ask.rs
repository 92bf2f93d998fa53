//! A model's state, now and in the past.

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;
use serde_json::Value;

use super::super::diff::{Changes, diff};
use super::super::span::Span;
use super::super::{CountedFrom, Definition, Fold, ModelId};
use super::Models;
use super::replay::{Cancel, ReplayError, fold_log, start_of};
use crate::log::address::Partition;
use crate::subscribe::{Start, StartError};

/// The time or offset of a requested state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Now, by this clock.
    Now(Timestamp),
    /// Before the oldest event that is kept.
    First,
    /// Before the event at this offset.
    Offset(Offset),
    /// Before the event at this place, which must be in the log.
    Place(Place),
    /// Before the first event that was ingested then or later.
    Time(Timestamp),
}

/// The state of a model at one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct StateAt {
    /// The model.
    pub model: ModelId,
    /// The partition that was folded; all offsets are of it.
    pub partition: Partition,
    /// The first offset that the state does not include.
    pub offset: Offset,
    /// The time of the state, by the collector's clock.
    pub time: Timestamp,
    /// The first offset that the model counts from.
    pub counts_from: CountedFrom,
    /// The state for readers.
    pub state: Value,
}

/// The differences between two models at one offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The partition that was folded; all offsets are of it.
    pub partition: Partition,
    /// The first offset that neither state includes.
    pub offset: Offset,
    /// The time of the states, by the collector's clock.
    pub time: Timestamp,
    /// The first offset that each of them counts from.
    pub counts_from: [CountedFrom; 2],
    /// The figures that differ.
    pub changes: Changes,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The model was stopped.
    #[error("{model} was {error}")]
    Failed {
        /// The model.
        model: ModelId,
        /// The error that stopped it.
        error: String,
    },
    /// The model is being made for the first time.
    #[error("{model} is being computed from the log: it has read the events before offset {offset} of {end}")]
    NotReady {
        /// The model.
        model: ModelId,
        /// The offset that it has reached.
        offset: Offset,
        /// The end of the log.
        end: Offset,
    },
    /// The place does not exist.
    #[error(transparent)]
    Place(#[from] StartError),
    /// The replay was cancelled or failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl Models {
    /// The state of a model, with the figures of a span of event time where it has them. Blocks, and replays a part of
    /// the log for any state but the current one.
    pub fn state(
        &self,
        definition: &Definition,
        as_of: AsOf,
        span: Span,
        cancel: &Cancel,
    ) -> Result<StateAt, AskError> {
        match as_of {
            AsOf::Now(now) => {
                // Read before the models are locked: the log's reader locks them for every entry.
                let end = self.0.log.kept().end;
                self.live_state(&self.live(), definition, now, span, end)
            }
            AsOf::First | AsOf::Offset(_) | AsOf::Place(_) | AsOf::Time(_) => {
                let (end, at) = self.resolve(as_of)?;
                let fold = self.replayed(definition, end, cancel)?;
                self.state_of(&fold, definition, at.unwrap_or(fold.time()), span)
            }
        }
    }

    /// The differences between two models at one offset. Blocks.
    pub fn diff(
        &self,
        left: &Definition,
        right: &Definition,
        as_of: AsOf,
        cancel: &Cancel,
    ) -> Result<Difference, AskError> {
        let (left, right) = match as_of {
            AsOf::Now(now) => {
                let end = self.0.log.kept().end;
                let live = self.live();
                let of = |definition| self.live_state(&live, definition, now, Span::default(), end);
                (of(left)?, of(right)?)
            }
            AsOf::First | AsOf::Offset(_) | AsOf::Place(_) | AsOf::Time(_) => {
                // One offset for both: the log may grow in between.
                let (end, at) = self.resolve(as_of)?;
                let of = |definition| {
                    let fold = self.replayed(definition, end, cancel)?;
                    self.state_of(&fold, definition, at.unwrap_or(fold.time()), Span::default())
                };
                (of(left)?, of(right)?)
            }
        };
        let counts_from = [left.counts_from, right.counts_from];
        let (partition, changes) = (left.partition, diff(&left.state, &right.state));
        Ok(Difference { partition, offset: left.offset, time: left.time, counts_from, changes })
    }

    /// The offset of a request, and its time if the request named a time.
    pub(in super::super) fn resolve(&self, as_of: AsOf) -> Result<(Offset, Option<Timestamp>), AskError> {
        let log = self.0.log.clone_reader();
        let (start, time) = match as_of {
            AsOf::Now(now) => (Start::End, Some(now)),
            AsOf::First => (Start::First, None),
            AsOf::Offset(offset) => (Start::Offset(offset), None),
            AsOf::Place(place) => (Start::Place(place), None),
            AsOf::Time(time) => (Start::Time(time), Some(time)),
        };
        Ok((start.resolve(&*log)?, time))
    }

    /// A model that has applied the events before `end`: the nearest snapshot, and a replay from there.
    pub(in super::super) fn replayed(
        &self,
        definition: &Definition,
        end: Offset,
        cancel: &Cancel,
    ) -> Result<Fold, AskError> {
        let log = self.0.log.clone_reader();
        let mut fold = start_of(definition, self.0.store.as_ref(), &*log, end);
        let is_cancelled = || cancel.is_cancelled() || self.0.stopping.is_requested();
        fold_log(&*log, &mut fold, end, &is_cancelled, &mut Fold::entry)?;
        Ok(fold)
    }

    /// A reader of the log.
    pub(in super::super) fn log(&self) -> std::sync::Arc<dyn crate::log::ReadLog> {
        self.0.log.clone_reader()
    }

    fn live_state(
        &self,
        live: &Fold,
        definition: &Definition,
        now: Timestamp,
        span: Span,
        end: Offset,
    ) -> Result<StateAt, AskError> {
        if live.member(&definition.id).is_none() {
            let progress = super::locked(&self.0.rebuilding).get(&definition.id).cloned();
            let offset = progress.map_or(live.next(), |progress| progress.read().0);
            return Err(AskError::NotReady { model: definition.id.clone(), offset, end });
        }
        self.state_of(live, definition, now, span)
    }

    fn state_of(&self, fold: &Fold, definition: &Definition, time: Timestamp, span: Span) -> Result<StateAt, AskError> {
        let model = definition.id.clone();
        let member = fold.member(&model).expect("it was folded or found there");
        if let Some(error) = &member.failed {
            return Err(AskError::Failed { model, error: error.clone() });
        }
        let (partition, counts_from) = (self.partition(), member.counts_from);
        let state = member.model.view_within(time, span);
        Ok(StateAt { model, partition, offset: fold.next(), time, counts_from, state })
    }
}
