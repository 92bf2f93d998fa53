//! Sources as the API and the command line show them.

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
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
    /// Whether there were too many separate gaps or losses, so that neighbours were joined: at most these are missing.
    pub at_most: bool,
}

/// A heartbeat of an agent: everything that it had accepted then is before these ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeartbeatView {
    /// When it was made, by the source's clock.
    pub time: Timestamp,
    /// Whether that clock was synchronised.
    pub synchronised: bool,
    /// The run of the agent.
    pub instance: [u8; 16],
    /// Where its lanes ended: stream, epoch, the first sequence that was not accepted.
    pub lanes: Vec<(Stream, Epoch, Sequence)>,
}

/// What an operator said of a source of which nothing more is to be expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetiredView {
    /// When, by the collector's clock.
    pub time: Timestamp,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What an agent's acknowledgement shows of a log that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RolledBackView {
    /// The term of the acknowledged place.
    pub term: u64,
    /// How far that term reaches in this log.
    pub until: Offset,
    /// How far it had come.
    pub end: Offset,
    /// When the acknowledgement was made, by the collector's clock.
    pub time: Timestamp,
}

/// Two machines speak for a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictView {
    /// When that was noticed, by the collector's clock.
    pub time: Timestamp,
    /// The boots of both.
    pub boots: [[u8; 16]; 2],
    /// Their addresses, for people.
    pub addresses: String,
}

/// What a synchronised clock of a source said, and when that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockHeard {
    /// What it said.
    pub wall: Timestamp,
    /// When that was heard, in µs of the collector's monotonic clock.
    pub monotonic_us: u64,
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
    /// What its clock said last, while that was synchronised; since the collector began.
    pub clock_heard: Option<ClockHeard>,
    /// Whether an operator says that nothing more is to be expected of it.
    pub retired: Option<RetiredView>,
    /// Whether two machines speak for it, until an operator acts.
    pub conflict: Option<ConflictView>,
    /// The key of who last came in its name with another one than it is held to, until it is heard itself.
    pub other_key: Option<PublicKey>,
    /// Names that it had before.
    pub aliases: Vec<SourceId>,
    /// Its newest heartbeats, oldest first.
    pub heartbeats: Vec<HeartbeatView>,
    /// When it found its ring log gone, by its clock.
    pub rings_replaced: Vec<Timestamp>,
    /// Whether its acknowledgement shows that the log was put back to an earlier state.
    pub rolled_back: Option<RolledBackView>,
}

impl SourceView {
    /// One of which nothing is known.
    pub fn new(source: SourceId) -> Self {
        Self {
            source,
            key: None,
            link: LinkState::Unknown,
            link_since: None,
            lanes: Vec::new(),
            duplicates: 0,
            early: 0,
            refused: Vec::new(),
            last_ingest: None,
            clock_offset_us: None,
            clock_heard: None,
            retired: None,
            conflict: None,
            other_key: None,
            aliases: Vec::new(),
            heartbeats: Vec::new(),
            rings_replaced: Vec::new(),
            rolled_back: None,
        }
    }
}
