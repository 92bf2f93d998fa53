//! One source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use afferent_protocol::batch::{ClockReading, Header};
use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};

use super::lane::LaneRecord;
use super::view::{
    ClockHeard, ConflictView, HeartbeatView, LinkState, RetiredView, RolledBackView, SourceView, made_at,
};
use crate::core::Reason;
use crate::limits::{HEARTBEATS_KEPT, RINGS_REPLACED_KEPT, SOURCE_LANES_NEW_MAX};
use crate::log::HeartbeatStep;

/// The key that a source is held to.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub key: PublicKey,
    /// `None` when the key is not a point of the curve, so that no signature can be checked with it.
    pub verifier: Option<Verifier>,
}

impl Pinned {
    pub fn new(key: PublicKey) -> Self {
        Self { key, verifier: key.verifier() }
    }
}

/// The state of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub pinned: Option<Pinned>,
    pub lanes: BTreeMap<Lane, LaneRecord>,
    pub duplicates: u64,
    pub early: u64,
    refused: [u64; Reason::ALL.len()],
    link: LinkState,
    link_since: Option<Timestamp>,
    last_ingest: Option<Timestamp>,
    last_made: Option<Timestamp>,
    clock_offset_us: Option<i64>,
    clock_heard: Option<ClockHeard>,
    /// An operator has retired it: no more of it is expected.
    pub retired: Option<RetiredView>,
    /// Two machines send under its name, and no operator has acted on it.
    pub conflict: Option<ConflictView>,
    /// The last refused key in its name, until a message with its own key comes.
    pub other_key: Option<PublicKey>,
    /// Its former names.
    pub aliases: BTreeSet<SourceId>,
    /// Its newest heartbeats, oldest first.
    heartbeats: VecDeque<HeartbeatView>,
    /// When it reported its ring log gone, newest last.
    rings_replaced: VecDeque<Timestamp>,
    /// Its receipt shows that the log was restored to an earlier state.
    pub rolled_back: Option<RolledBackView>,
    /// The operator who has replaced its key, and perhaps why, as the event has it.
    pub replaced_by: Option<String>,
    /// A different source had this name before.
    pub is_former: bool,
    /// A login or a certificate has vouched for its name since the collector started.
    pub is_vouched: bool,
    /// Number of lanes that it has begun, as far as this process knows.
    lanes_begun: u64,
    /// Whether it is in the list of changed sources.
    pub(super) is_changed: bool,
}

impl Source {
    /// Whether something of it is in the log, or was.
    pub fn has_delivered(&self) -> bool {
        self.lanes.values().any(LaneRecord::has_begun)
    }

    /// Whether it stays even if it has delivered nothing.
    pub fn is_kept(&self) -> bool {
        let is_joined = self.is_former || !self.aliases.is_empty();
        self.retired.is_some() || self.replaced_by.is_some() || self.is_vouched || is_joined
    }

    pub fn link(&self) -> LinkState {
        self.link
    }

    /// A message showed its clocks at `now` of the collector's clocks.
    pub fn clock_heard(&mut self, said: &ClockReading, now: &ClockReading) {
        if said.synchronised {
            self.clock_heard = Some(ClockHeard { wall: said.wall, monotonic_us: now.monotonic_us });
        }
    }

    /// It has sent a heartbeat.
    pub fn beat(&mut self, beat: &HeartbeatStep) {
        let HeartbeatStep { time, synchronised, instance, lanes, .. } = beat;
        if self.heartbeats.len() == HEARTBEATS_KEPT {
            self.heartbeats.pop_front();
        }
        let (instance, lanes) = (*instance, lanes.clone());
        self.heartbeats.push_back(HeartbeatView { time: *time, synchronised: *synchronised, instance, lanes });
    }

    /// It has reported its ring log gone.
    pub fn ring_replaced(&mut self, time: Timestamp) {
        if self.rings_replaced.len() == RINGS_REPLACED_KEPT {
            self.rings_replaced.pop_front();
        }
        self.rings_replaced.push_back(time);
    }

    /// The lane; adds it when it is new. `may_be_begun`: whether a new one may have begun in a removed part of the log.
    /// At the limit of lanes without a batch, the oldest of these is dropped.
    pub fn lane(&mut self, lane: Lane, may_be_begun: bool) -> &mut LaneRecord {
        if !self.lanes.contains_key(&lane) {
            let new = || self.lanes.values().filter(|known| !known.has_begun());
            if !may_be_begun
                && new().count() >= SOURCE_LANES_NEW_MAX
                && let Some(oldest) = new().min_by_key(|known| known.number).map(|known| known.lane)
            {
                self.lanes.remove(&oldest);
            }
            self.lanes_begun += 1;
        }
        let number = self.lanes_begun;
        let new = || if may_be_begun { LaneRecord::begun(lane, number) } else { LaneRecord::new(lane, number) };
        self.lanes.entry(lane).or_insert_with(new)
    }

    /// A batch of it was appended; `clock_offset_us` is the offset of its clock, if it was measured.
    pub fn heard(&mut self, header: &Header, ingest: Timestamp, clock_offset_us: Option<i64>) {
        self.heard_at(header.clock.wall, ingest, clock_offset_us);
    }

    /// A batch of it was appended that was made at `made` by its clock.
    pub fn heard_at(&mut self, made: Timestamp, ingest: Timestamp, clock_offset_us: Option<i64>) {
        self.last_ingest = Some(ingest);
        self.other_key = None;
        self.last_made = made_at(made, ingest, clock_offset_us);
        self.clock_offset_us = clock_offset_us;
    }

    pub fn refused(&mut self, reason: Reason) {
        self.refused[reason as usize] += 1;
    }

    pub fn linked(&mut self, link: LinkState, since: Timestamp) {
        if self.link != link {
            self.link = link;
            self.link_since = Some(since);
        }
    }

    pub fn view(&self, source: SourceId) -> SourceView {
        let refused = Reason::ALL.into_iter().map(|reason| (reason.name(), self.refused[reason as usize]));
        SourceView {
            source,
            is_own: false,
            is_new: false,
            key: self.pinned.as_ref().map(|pinned| pinned.key),
            link: self.link,
            link_since: self.link_since,
            lanes: self.lanes.values().filter(|lane| !lane.is_blank()).map(LaneRecord::view).collect(),
            duplicates: self.duplicates,
            early: self.early,
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            last_ingest: self.last_ingest,
            last_made: self.last_made,
            clock_offset_us: self.clock_offset_us,
            clock_heard: self.clock_heard,
            retired: self.retired.clone(),
            conflict: self.conflict.clone(),
            other_key: self.other_key,
            aliases: self.aliases.iter().copied().collect(),
            heartbeats: self.heartbeats.iter().cloned().collect(),
            rings_replaced: self.rings_replaced.iter().copied().collect(),
            rolled_back: self.rolled_back,
        }
    }
}
