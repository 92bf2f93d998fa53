//! One lane of one source.

use std::collections::VecDeque;
use std::sync::Arc;

use afferent_protocol::batch::{CHAIN_START, ChainHash};
use afferent_protocol::event::Loss;
use afferent_protocol::ids::{Sequence, SequenceRange, Timestamp};
use afferent_protocol::session::{Held, Lane, Offered, ReceiverLane};

use super::ranges::RangeSet;
use super::view::{LaneView, LossView, RangeView};
use crate::limits::{AGAIN_MAX, LOSSES_MAX};
use crate::log::Stretch;

/// The end of a lane, as the collector re-logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneKept {
    /// The first sequence that the log does not have.
    pub end: Sequence,
    /// The latest event time so far.
    pub time_last: Timestamp,
    /// Chain hash of the batch that ends there; `None` when it is unknown.
    pub chain: Option<ChainHash>,
}

/// The state of a lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneRecord {
    pub lane: Lane,
    /// Its number among the lanes of its source, in the order in which they became known.
    pub number: u64,
    pub receiver: ReceiverLane,
    /// The end of the sender's records, by its last hello.
    held_end: Sequence,
    /// The sequence of the last answered conflict: the same one is answered once.
    pub conflict_at: Option<Sequence>,
    /// Whether it has no batch yet, and retention may have removed earlier ones: then its first batch found is its
    /// beginning.
    begins_anywhere: bool,
    /// The latest event time of its batches.
    time_last: Timestamp,
    batches: u64,
    events: u64,
    /// Seldom changed, and then copied if the former state is still needed.
    missing: Arc<LaneGaps>,
}

/// The missing sequences of a lane.
#[derive(Clone, Debug, Default)]
struct LaneGaps {
    /// Missing here, by whatever event.
    gaps: RangeSet,
    /// Missing here, and reported by a gap event.
    reported: RangeSet,
    /// Declared as lost by the source.
    lost: RangeSet,
    losses: VecDeque<LossView>,
}

impl LaneRecord {
    pub fn new(lane: Lane, number: u64) -> Self {
        Self {
            lane,
            number,
            receiver: ReceiverLane::new(lane),
            held_end: Sequence::ZERO,
            conflict_at: None,
            begins_anywhere: false,
            time_last: Timestamp::default(),
            batches: 0,
            events: 0,
            missing: Arc::default(),
        }
    }

    /// Its missing sequences, for a change.
    fn missing_mut(&mut self) -> &mut LaneGaps {
        Arc::make_mut(&mut self.missing)
    }

    /// A lane of a log whose beginning retention has removed.
    pub fn begun(lane: Lane, number: u64) -> Self {
        Self { begins_anywhere: true, ..Self::new(lane, number) }
    }

    /// Whether it has a batch, a gap or a loss.
    pub fn has_begun(&self) -> bool {
        let is_somewhere = self.receiver.end() > Sequence::ZERO || self.batches > 0;
        is_somewhere || !self.missing.gaps.is_empty() || !self.missing.lost.is_empty()
    }

    /// Whether only its name is known.
    pub fn is_blank(&self) -> bool {
        let LaneGaps { gaps, lost, .. } = &*self.missing;
        self.batches == 0 && gaps.is_empty() && lost.is_empty() && self.in_ring().is_none()
    }

    /// Records the end of what the sender holds, by its hello.
    pub fn set_held_end(&mut self, end: Sequence) {
        self.held_end = end;
    }

    /// Records that its sender holds, by its last hello, and the log does not have.
    fn in_ring(&self) -> Option<RangeView> {
        let first = self.receiver.end();
        (first < self.held_end).then_some(RangeView { first, end: self.held_end })
    }

    /// A batch with this latest event time was appended; returns whether there is a gap before it.
    pub fn accepted(&mut self, offered: &Offered, time_last: Timestamp) -> bool {
        let gap = self.receiver.accepted(offered);
        if let Some(gap) = gap {
            self.missing_mut().gaps.insert_or_join(gap);
        }
        self.conflict_at = None;
        self.count(offered, time_last);
        gap.is_some()
    }

    /// Takes a batch that was found in the log at start.
    pub fn recovered(&mut self, offered: &Offered, time_last: Timestamp) {
        if offered.range.end <= self.receiver.end() {
            if self.fill_gap(offered.range) {
                self.count(offered, time_last);
            }
            return;
        }
        self.note_gap_before(offered.range.first);
        self.receiver.recovered(offered);
        self.count(offered, time_last);
    }

    /// Adds the gap before a batch that was found and begins here, if there can be one.
    fn note_gap_before(&mut self, first: Sequence) {
        let gap = SequenceRange { first: self.receiver.end(), end: first };
        if !std::mem::take(&mut self.begins_anywhere) && gap.first < gap.end {
            self.missing_mut().gaps.insert_or_join(gap);
        }
    }

    /// Takes consecutive batches that were found in the log at start.
    pub fn recovered_stretch(&mut self, stretch: &Stretch) {
        let end = self.receiver.end();
        if stretch.end() <= end {
            let range = SequenceRange { first: stretch.first, end: stretch.end() };
            if self.fill_gap(range) {
                self.batches += stretch.batches;
                self.events += range.count();
                self.time_last = self.time_last.max(stretch.time_last);
            }
            return;
        }
        let first = stretch.first.max(end);
        self.note_gap_before(stretch.first);
        let recent_first = stretch.recent.first().map_or(stretch.first, |(range, _)| range.first);
        let (earlier, previous) = (SequenceRange { first, end: recent_first }, CHAIN_START);
        if earlier.first < earlier.end {
            // Those before the recent ones count only by their number: the recent ones fill the lane's memory.
            self.receiver.recovered(&Offered { range: earlier, previous, chain: CHAIN_START });
        }
        for (range, chain) in &stretch.recent {
            self.receiver.recovered(&Offered { range: *range, previous, chain: *chain });
        }
        self.batches += stretch.batches;
        self.events += stretch.end().since(first);
        self.time_last = self.time_last.max(stretch.time_last);
    }

    /// The collector has re-logged the end of the lane.
    pub fn kept(&mut self, kept: &LaneKept) {
        self.begins_anywhere = false;
        self.time_last = self.time_last.max(kept.time_last);
        let (first, end) = (self.receiver.end(), kept.end);
        if end <= first {
            return;
        }
        match kept.chain {
            Some(chain) => {
                let range = SequenceRange { first, end };
                self.receiver.recovered(&Offered { range, previous: CHAIN_START, chain });
            }
            // A gap event has reported what is missing there.
            None => drop(self.receiver.hello(&Held { lane: self.lane, first: end, end })),
        }
    }

    /// Its state to re-log; `None` when it has no batch.
    pub fn to_keep(&self) -> Option<LaneKept> {
        let end = self.receiver.durable_end();
        let chain = self.receiver.durable_chain();
        (end > Sequence::ZERO).then_some(LaneKept { end, time_last: self.time_last, chain })
    }

    /// Takes sequences that came behind later ones out of the gaps; returns whether all of them were missing.
    pub fn fill_gap(&mut self, range: SequenceRange) -> bool {
        let was_missing = RangeSet::of(range).without(&self.missing.gaps).is_empty();
        if was_missing {
            let missing = self.missing_mut();
            missing.gaps.remove(range);
            missing.reported.remove(range);
        }
        was_missing
    }

    /// Whether all of these are missing.
    pub fn misses(&self, range: SequenceRange) -> bool {
        range.end <= self.receiver.end() && RangeSet::of(range).without(&self.holes()).is_empty()
    }

    /// Missing sequences, neither come nor declared as lost.
    pub fn holes(&self) -> RangeSet {
        self.missing.gaps.without(&self.missing.lost)
    }

    /// Missing sequences that the sender holds, as many as one hello asks for.
    pub fn lost_of(&self, held: &Held) -> impl Iterator<Item = SequenceRange> + use<> {
        let (first, end) = (held.first, held.end.min(self.receiver.end()));
        let within =
            move |range: SequenceRange| SequenceRange { first: range.first.max(first), end: range.end.min(end) };
        let lost: Vec<_> =
            self.holes().iter().map(within).filter(|range| range.first < range.end).take(AGAIN_MAX).collect();
        lost.into_iter()
    }

    fn count(&mut self, offered: &Offered, time_last: Timestamp) {
        self.time_last = self.time_last.max(time_last);
        self.batches += 1;
        self.events += offered.range.count();
    }

    /// Missing sequences that no loss and no gap event names.
    pub fn unreported_gaps(&self) -> RangeSet {
        self.missing.gaps.without(&self.missing.reported).without(&self.missing.lost)
    }

    /// Records that a gap event reports these sequences as missing.
    pub fn report_gap(&mut self, gap: SequenceRange) {
        let missing = self.missing_mut();
        missing.gaps.insert_or_join(gap);
        missing.reported.insert_or_leave(gap);
    }

    /// Whether a gap event, written or queued, reports all of these as missing.
    pub fn is_reported(&self, gap: SequenceRange) -> bool {
        RangeSet::of(gap).without(&self.missing.reported).is_empty()
    }

    /// The source declares a loss.
    pub fn declared(&mut self, loss: &Loss, declared: Timestamp) {
        let range = SequenceRange { first: loss.first, end: loss.end };
        let missing = self.missing_mut();
        missing.lost.insert_or_join(range);
        let (first, end, reason) = (loss.first, loss.end, loss.reason);
        match missing.losses.back_mut() {
            // Eviction declares segment after segment: one growing loss.
            Some(last) if last.end == first && last.reason == reason => (last.end, last.declared) = (end, declared),
            _ => missing.losses.push_back(LossView { first, end, reason, declared }),
        }
        if missing.losses.len() > LOSSES_MAX {
            missing.losses.pop_front();
        }
    }

    pub fn view(&self) -> LaneView {
        let gaps = self.holes();
        LaneView {
            stream: self.lane.stream,
            epoch: self.lane.epoch,
            end: self.receiver.end(),
            durable_end: self.receiver.durable_end(),
            batches: self.batches,
            events: self.events,
            gaps: gaps.iter().map(|range| RangeView { first: range.first, end: range.end }).collect(),
            lost_events: self.missing.lost.count(),
            losses: self.missing.losses.iter().copied().collect(),
            in_ring: self.in_ring(),
            at_most: self.missing.gaps.is_joined() || self.missing.lost.is_joined(),
        }
    }
}
