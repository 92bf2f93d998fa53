//! Sources as the API and the command line show them.

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::PublicKey;
use serde::Serialize;

use crate::limits::LAG_QUIET_MAX_US;

/// The state of an agent's link, by its state topic or its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No message has come since the collector started.
    #[default]
    Unknown,
    /// It is connected.
    Online,
    /// It is not connected.
    Offline,
}

/// Sequences from `first` up to and not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RangeView {
    /// The first sequence.
    pub first: Sequence,
    /// The exclusive end.
    pub end: Sequence,
}

/// A loss that its source declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LossView {
    /// The first lost sequence.
    pub first: Sequence,
    /// The exclusive end of the loss.
    pub end: Sequence,
    /// The reason that the source gives.
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
    /// The first sequence that is not accepted yet.
    pub end: Sequence,
    /// The first sequence that is not on disk.
    pub durable_end: Sequence,
    /// Number of accepted batches.
    pub batches: u64,
    /// Number of accepted events.
    pub events: u64,
    /// Missing here, and not declared as lost by the source (yet).
    pub gaps: Vec<RangeView>,
    /// Number of events that the source declared as lost.
    pub lost_events: u64,
    /// The newest of the declared losses.
    pub losses: Vec<LossView>,
    /// Records that its ring log held at its last hello, and that have not come since.
    pub in_ring: Option<RangeView>,
    /// Whether neighbours were joined at the limit of separate gaps or losses: at most these are missing.
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
    /// The ends of its lanes: stream, epoch, the first sequence that was not accepted.
    pub lanes: Vec<(Stream, Epoch, Sequence)>,
}

/// An operator's retirement of a source: no more of it is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetiredView {
    /// When it was logged, by the collector's clock.
    pub time: Timestamp,
    /// The operator's name.
    pub who: String,
    /// The operator's reason.
    pub why: String,
}

/// A log that was restored to an earlier state, as an agent's acknowledgement shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RolledBackView {
    /// The term of the acknowledged place.
    pub term: u64,
    /// The end of that term in this log.
    pub until: Offset,
    /// The end of the log that was acknowledged.
    pub end: Offset,
    /// When the acknowledgement was made, by the collector's clock.
    pub time: Timestamp,
}

/// Two machines send as one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictView {
    /// When the collector noticed, by its clock.
    pub time: Timestamp,
    /// The boot ids of both.
    pub boots: [[u8; 16]; 2],
    /// Their addresses, for people.
    pub addresses: String,
}

/// A reading of a synchronised clock of a source, and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockHeard {
    /// The reading of the wall clock.
    pub wall: Timestamp,
    /// When it arrived, in µs of the collector's monotonic clock.
    pub monotonic_us: u64,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceView {
    /// Its name.
    pub source: SourceId,
    /// Whether it is the collector itself.
    pub is_own: bool,
    /// Whether it has delivered nothing, and is dropped for others at the limit.
    pub is_new: bool,
    /// The key that it is held to; `None` before its first hello.
    pub key: Option<PublicKey>,
    /// Whether it is connected.
    pub link: LinkState,
    /// Beginning of that state, by the collector's clock.
    pub link_since: Option<Timestamp>,
    /// Its lanes: critical ones first, by epoch.
    pub lanes: Vec<LaneView>,
    /// Batches that came again since the collector started.
    pub duplicates: u64,
    /// Batches that came too early since the collector started.
    pub early: u64,
    /// Refusals since the collector started, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// When the last batch was appended, by the collector's clock.
    pub last_ingest: Option<Timestamp>,
    /// When that batch was made, by the collector's clock; `None` where the source's clock was not measured.
    pub last_made: Option<Timestamp>,
    /// Microseconds to add to its clock then to have the collector's; `None` where that was not measured.
    pub clock_offset_us: Option<i64>,
    /// The last reading of its clock while that was synchronised, since the collector started.
    pub clock_heard: Option<ClockHeard>,
    /// An operator's retirement of it, if any.
    pub retired: Option<RetiredView>,
    /// Two machines that send under its name, until an operator acts.
    pub conflict: Option<ConflictView>,
    /// The last refused key in its name, until a message with its own key comes.
    pub other_key: Option<PublicKey>,
    /// Its former names.
    pub aliases: Vec<SourceId>,
    /// Its newest heartbeats, oldest first.
    pub heartbeats: Vec<HeartbeatView>,
    /// When it reported its ring log gone, by its clock.
    pub rings_replaced: Vec<Timestamp>,
    /// Whether its acknowledgement shows that the log was restored to an earlier state.
    pub rolled_back: Option<RolledBackView>,
}

impl SourceView {
    /// A source without events.
    pub fn new(source: SourceId) -> Self {
        Self {
            source,
            is_own: false,
            is_new: false,
            key: None,
            link: LinkState::Unknown,
            link_since: None,
            lanes: Vec::new(),
            duplicates: 0,
            early: 0,
            refused: Vec::new(),
            last_ingest: None,
            last_made: None,
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

    /// The age of the newest batch of the source in the log, in microseconds, by the collector's clock, which shows
    /// `now`.
    ///
    /// While the source is connected and batches come, it is the age that the newest of them had on arrival. When the
    /// source is not connected, or nothing has come for longer than [`LAG_QUIET_MAX_US`], it grows. Where the source's
    /// clock was not measured, the lag is unknown in the first case, and in the second it is the time since that batch
    /// came, a lower bound. The collector is never behind itself.
    pub fn lag_us(&self, now: Timestamp) -> Option<i64> {
        if self.is_own {
            return Some(0);
        }
        lag_us(self.last_ingest?, self.last_made, self.link == LinkState::Online, now)
    }
}

/// See [`SourceView::lag_us`]: the last batch came at `came` and was made at `made`, both by the collector's clock.
pub fn lag_us(came: Timestamp, made: Option<Timestamp>, is_there: bool, now: Timestamp) -> Option<i64> {
    let between = |from: Timestamp, to: Timestamp| to.micros().saturating_sub(from.micros()).max(0);
    let is_live = is_there && between(came, now) <= LAG_QUIET_MAX_US;
    if is_live { made.map(|made| between(made, came)) } else { Some(between(made.unwrap_or(came), now)) }
}

/// When a batch was made, by the collector's clock; `None` where the clock of its source was not measured. No batch was
/// made after it came.
pub fn made_at(wall: Timestamp, came: Timestamp, clock_offset_us: Option<i64>) -> Option<Timestamp> {
    let by_collector = |offset_us| Timestamp::clamped(wall.micros().saturating_add(offset_us)).min(came);
    clock_offset_us.map(by_collector)
}
