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
use crate::log::Beat;

/// The key that a source is held to.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub key: PublicKey,
    /// `None` when the key is no point of the curve, so that no signature can be of it.
    pub verifier: Option<Verifier>,
}

impl Pinned {
    pub fn new(key: PublicKey) -> Self {
        Self { key, verifier: key.verifier() }
    }
}

/// What is known of a source.
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
    /// An operator says that nothing more is to be expected of it.
    pub retired: Option<RetiredView>,
    /// Two machines speak for it, and no operator has acted on it.
    pub conflict: Option<ConflictView>,
    /// The key of who last came in its name with another one than it is held to, until it is heard itself.
    pub other_key: Option<PublicKey>,
    /// Names that it had before.
    pub aliases: BTreeSet<SourceId>,
    /// Its newest heartbeats, oldest first.
    heartbeats: VecDeque<HeartbeatView>,
    /// When it found its ring log gone, newest last.
    rings_replaced: VecDeque<Timestamp>,
    /// Its acknowledgement shows that the log was put back.
    pub rolled_back: Option<RolledBackView>,
    /// Who has replaced its key, and perhaps why, as the event has it.
    pub replaced_by: Option<String>,
    /// Another source had this name before.
    pub is_former: bool,
    /// A login or a certificate vouches for its name; since the collector began.
    pub is_vouched: bool,
    /// How many lanes it was seen to begin.
    lanes_begun: u64,
    /// Whether it is in the list of those that have changed.
    pub(super) is_changed: bool,
}

impl Source {
    /// Whether something of it is in the log, or was.
    pub fn has_delivered(&self) -> bool {
        self.lanes.values().any(LaneRecord::has_begun)
    }

    /// Whether it stays although nothing of it may have come.
    pub fn is_kept(&self) -> bool {
        let is_joined = self.is_former || !self.aliases.is_empty();
        self.retired.is_some() || self.replaced_by.is_some() || self.is_vouched || is_joined
    }

    pub fn link(&self) -> LinkState {
        self.link
    }

    /// Its clocks were heard now, by the collector's clocks.
    pub fn clock_heard(&mut self, said: &ClockReading, now: &ClockReading) {
        if said.synchronised {
            self.clock_heard = Some(ClockHeard { wall: said.wall, monotonic_us: now.monotonic_us });
        }
    }

    /// It was alive then.
    pub fn beat(&mut self, beat: &Beat) {
        let Beat { time, synchronised, instance, lanes, .. } = beat;
        if self.heartbeats.len() == HEARTBEATS_KEPT {
            self.heartbeats.pop_front();
        }
        let (instance, lanes) = (*instance, lanes.clone());
        self.heartbeats.push_back(HeartbeatView { time: *time, synchronised: *synchronised, instance, lanes });
    }

    /// It found its ring log gone.
    pub fn ring_replaced(&mut self, time: Timestamp) {
        if self.rings_replaced.len() == RINGS_REPLACED_KEPT {
            self.rings_replaced.pop_front();
        }
        self.rings_replaced.push_back(time);
    }

    /// The lane, which is made when it is new; it may then have begun in a part of the log that is gone, if so told. Of
    /// those of which nothing has come, the oldest gives way when there are too many.
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

    /// A batch of it was appended; its clock was measured to be so far off, if it was.
    pub fn heard(&mut self, header: &Header, ingest: Timestamp, clock_offset_us: Option<i64>) {
        self.heard_at(header.clock.wall, ingest, clock_offset_us);
    }

    /// A batch of it, made then by its clock, was appended.
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
