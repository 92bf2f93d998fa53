//! Sources as the API and the command line show them.

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::PublicKey;
use serde::Serialize;

/// What the retained state topic, or the connection, says of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Nothing was heard since the collector began.
    #[default]
    Unknown,
    /// It is there.
    Online,
    /// It is gone.
    Offline,
}

/// Sequences from `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RangeView {
    /// The first one.
    pub first: Sequence,
    /// The first one after it.
    pub end: Sequence,
}

/// A loss that its source declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LossView {
    /// The first sequence that is lost.
    pub first: Sequence,
    /// The first sequence that is not.
    pub end: Sequence,
    /// Why.
    pub reason: LossReason,
    /// When it was declared, by the source's clock.
    pub declared: Timestamp,
}

/// One lane of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneView {
    /// The stream.
    pub stream: Stream,
    /// Its epoch.
    pub epoch: Epoch,
    /// The first sequence that was not accepted yet.
    pub end: Sequence,
    /// The first sequence that is not on disk.
    pub durable_end: Sequence,
    /// Batches accepted.
    pub batches: u64,
    /// Events accepted.
    pub events: u64,
    /// Missing here, and not declared as lost by the source (yet).
    pub gaps: Vec<RangeView>,
    /// Events that the source declared as lost.
    pub lost_events: u64,
    /// The newest of the declared losses.
    pub losses: Vec<LossView>,
    /// What its ring log held when it last said hello, and has not come since.
    pub in_ring: Option<RangeView>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceView {
    /// Its name.
    pub source: SourceId,
    /// The key that it is held to; `None` before its first hello.
    pub key: Option<PublicKey>,
    /// Whether it is there.
    pub link: LinkState,
    /// Since when, by the collector's clock.
    pub link_since: Option<Timestamp>,
    /// Its lanes: critical ones first, by epoch.
    pub lanes: Vec<LaneView>,
    /// Batches that came again since the collector began.
    pub duplicates: u64,
    /// Batches that came before their turn since the collector began.
    pub early: u64,
    /// Refusals since the collector began, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// When the last batch was appended, by the collector's clock.
    pub last_ingest: Option<Timestamp>,
    /// Collector's clock minus source's clock when the last batch came, in microseconds: the age of the batch and the
    /// difference of the clocks together.
    pub clock_offset_us: Option<i64>,
}
