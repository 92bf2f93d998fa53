//! Models: states that are folded from the log alone.
//!
//! A model is a function of the set of events before an offset of the log, in whatever order they came. So its state
//! can be dropped and rebuilt, requested as of any offset, corrected by a new version beside it, and computed from a
//! log with assumed changes ([`what_if`]). The modules, in the order in which an event passes them:
//!
//! - [`LoggedEvent`]: an event as models get it; [`order`]: its corrected time and its order among others;
//!   [`NameNumbers`]: its machine and subject as numbers; [`ClaimTable`]: a bounded table of a model, shared among sources; [`not_shown`]:
//!   events without room
//! - [`Fold`]: decodes each batch once and passes it to several models; [`CountedFrom`]: the first offset of each of
//!   them
//! - [`states`], [`breakdowns`], [`alarms`], [`last`], [`kpi`], [`sources`]: the built-in models; [`life_cycle`],
//!   [`amendment`]: their parts
//! - [`track`]: the state of one machine, so that the order in which its events come makes no difference: the
//!   [`history`] of its [`mod@report`]s ([`packed`], with shared parts in a [`pool`]), and when it was [`heard`]
//!   ([`silence`]); folded into a [`timeline`] or [`episodes`] by [`standing`]; [`counter`]: produced pieces
//! - [`Definition`]: a version of a model, as the configuration has it
//! - [`question`]: the requested part of a state; [`span`]: the time of its figures
//! - [`snapshot`], [`store`]: states on disk, derived and never used without a check
//! - [`runner`]: follows the log; [`mod@diff`]: compares two states; [`what_if`]: alternatives beside the log
//!
//! Nothing here waits for a clock or writes to the log.

pub mod alarms;
pub mod amendment;
mod below_source;
pub mod breakdowns;
mod counted_from;
pub mod counter;
mod definition;
pub mod diff;
pub mod episodes;
mod erased;
mod fold;
pub mod heard;
pub mod history;
mod id;
pub mod kpi;
pub mod last;
pub mod life_cycle;
pub mod machines;
mod names;
pub mod not_shown;
pub mod order;
pub mod packed;
pub mod pool;
pub mod question;
pub mod report;
pub mod runner;
pub mod shares;
pub mod silence;
pub mod snapshot;
pub mod sources;
pub mod span;
pub mod standing;
pub mod states;
pub mod store;
pub mod timeline;
pub mod track;
pub mod what_if;

use afferent_protocol::batch::Header;
use afferent_protocol::event::Event;
use afferent_protocol::ids::{Offset, Sequence, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use counted_from::{CountedFrom, CountedFromView};
pub use definition::{BuiltIn, Definition, DefinitionError, with_built_ins};
pub use erased::{AnyModel, StateError};
pub use fold::{Fold, FoldMember};
pub use id::{ModelId, ModelIdError};
pub use names::{Name, NameNumbers};
pub use not_shown::Shortage;
pub use order::{Correction, Order};
pub use report::covers;
pub use shares::ClaimTable;

use self::amendment::Action;
use self::span::Span;
use crate::cloud_event::put_rfc3339;

/// An event as models get it.
#[derive(Clone, Copy, Debug)]
pub struct LoggedEvent<'e> {
    /// Its offset in the log.
    pub offset: Offset,
    /// Ingest time.
    pub ingest: Timestamp,
    /// The head of its batch: source, lane, clock.
    pub batch: &'e Header,
    /// Its sequence in its lane.
    pub sequence: Sequence,
    /// The machine: the first level of its subject.
    pub machine: Name<'e>,
    /// Its whole subject.
    pub subject: Name<'e>,
    /// The event itself.
    pub event: Event<'e>,
    /// The collector's clock minus the source's clock when the event was appended, in µs; `None` if it was not
    /// measured.
    pub clock_offset_us: Option<i64>,
    /// The corrected time of the event: see [`order::corrected`].
    pub time: Timestamp,
    /// How that time was found.
    pub correction: Correction,
}

impl<'e> LoggedEvent<'e> {
    /// Its order among all events.
    pub fn order(&self) -> Order {
        let Header { source, stream, epoch, .. } = *self.batch;
        Order { time: self.time, source, stream, epoch, sequence: self.sequence, offset: self.offset }
    }

    /// Whether it is the first event of its batch: the batch's head is new then.
    pub fn is_first_of_batch(&self) -> bool {
        self.sequence == self.batch.first
    }
}

/// A state that is folded from the log, one event after the other.
///
/// The state must be a function of the events alone: no clock, no random numbers, no order of a hash table. What one
/// event does to it takes bounded time, and its memory is bounded whatever the events are.
pub trait Model: Clone + Send + 'static {
    /// The state. Its encoding has a layout number, see [`BuiltIn::layout`].
    type State: Serialize + DeserializeOwned;

    /// The current state.
    fn state(&self) -> &Self::State;

    /// Continues from the state of [`Model::state`].
    fn restore(&mut self, state: Self::State);

    /// Applies one event.
    fn apply(&mut self, seen: &LoggedEvent<'_>);

    /// Starts or stops keeping what the model needs to sort in events of any time, as when it is rebuilt from a log.
    /// Stopping drops what is beyond the horizon.
    fn sort(&mut self, _is_sorting: bool) {}

    /// The state for readers, as of `at` by the collector's clock.
    fn view(&self, at: Timestamp) -> Value;

    /// The same, with the figures of a span of event time where the model has them.
    fn view_within(&self, at: Timestamp, _span: Span) -> Value {
        self.view(at)
    }

    /// The events without room, if there ever were any.
    fn shortage(&self) -> Option<Shortage> {
        None
    }

    /// Whether this action about the event at this offset has an effect on this model, which has seen that event.
    fn amendable(&self, _of: Offset, _action: Action) -> Amendable {
        Amendable::Yes
    }
}

/// Whether an amendment has an effect on a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amendable {
    /// It has, or this model ignores amendments.
    Yes,
    /// It is about an alarm that is over: its condition was raised again by the event at this offset.
    RaisedAgain(Offset),
    /// The event cannot be amended so, or was dropped.
    Unknown,
}

/// The machine of a subject: its first level.
pub fn machine_of(subject: &str) -> &str {
    subject.split_once('/').map_or(subject, |(machine, _)| machine)
}

/// A time for readers.
pub(crate) fn time(time: Timestamp) -> Value {
    Value::String(time_text(time))
}

/// The same as a text.
pub(crate) fn time_text(time: Timestamp) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}

/// Seconds between two times, less than zero when `to` is the earlier one.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.micros() - from.micros()) as f64 / 1e6
}

#[cfg(test)]
mod examples;
#[cfg(test)]
mod permutations;
#[cfg(test)]
mod permuted;
#[cfg(test)]
pub(crate) mod testing;
