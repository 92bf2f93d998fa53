//! Sources as the API and the command line show them.

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::PublicKey;
use serde::Serialize;

use crate::limits::LAG_QUIET_MAX_US;

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
    /// Whether it is the collector itself.
    pub is_own: bool,
    /// Whether it has delivered nothing, and gives way to others when there are too many.
    pub is_new: bool,
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
    /// When that batch was made, by the collector's clock; `None` where the source's clock was not measured.
    pub last_made: Option<Timestamp>,
    /// What had to be added to its clock then to have the collector's, in microseconds; `None` where that was not
    /// measured.
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

    /// How old the newest word of the source in the log is, in microseconds, by the collector's clock, which shows
    /// `now`.
    ///
    /// While the source is there and batches come, that is how old the newest of them was when it came. When it is not
    /// there, or nothing has come for longer than [`LAG_QUIET_MAX_US`], it grows. Where nobody has measured the
    /// source's clock, nothing is known in the first case, and in the second it is the time since that batch came,
    /// which is the least that it can be. The collector is never behind itself.
    pub fn lag_us(&self, now: Timestamp) -> Option<i64> {
        if self.is_own {
            return Some(0);
        }
        lag_us(self.last_ingest?, self.last_made, self.link == LinkState::Online, now)
    }
}

/// See [`SourceView::lag_us`]: the last batch `came` then and was `made` then, both by the collector's clock.
pub fn lag_us(came: Timestamp, made: Option<Timestamp>, is_there: bool, now: Timestamp) -> Option<i64> {
    let between = |from: Timestamp, to: Timestamp| to.micros().saturating_sub(from.micros()).max(0);
    let is_live = is_there && between(came, now) <= LAG_QUIET_MAX_US;
    if is_live { made.map(|made| between(made, came)) } else { Some(between(made.unwrap_or(came), now)) }
}

/// When a batch was made, by the collector's clock; `None` where nobody had measured the clock of its source. No batch
/// was made after it came.
pub fn made_at(wall: Timestamp, came: Timestamp, clock_offset_us: Option<i64>) -> Option<Timestamp> {
    let by_collector = |offset_us| Timestamp::clamped(wall.micros().saturating_add(offset_us)).min(came);
    clock_offset_us.map(by_collector)
}
