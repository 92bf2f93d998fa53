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

/// How far a lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneKept {
    /// The first sequence that has not come.
    pub end: Sequence,
    /// The latest event time so far.
    pub time_last: Timestamp,
    /// Chain hash of the batch that ends there; `None` when nobody knows it.
    pub chain: Option<ChainHash>,
}

/// What is known of a lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneRecord {
    pub lane: Lane,
    /// Counts up by its source's lanes, in the order in which they became known.
    pub number: u64,
    pub receiver: ReceiverLane,
    /// Where what its sender held ended, when it last said hello.
    held_end: Sequence,
    /// Where a conflict was answered last: the same one is answered once.
    pub conflict_at: Option<Sequence>,
    /// Whether nothing has come of it yet, and retention may have removed what had: what is found first is its
    /// beginning.
    begins_anywhere: bool,
    /// The latest event time of its batches.
    time_last: Timestamp,
    batches: u64,
    events: u64,
    /// Seldom changed, and then copied if the record of before is still needed.
    missing: Arc<Missing>,
}

/// What a lane lacks.
#[derive(Clone, Debug, Default)]
struct Missing {
    /// Missing here, whoever has said so.
    gaps: RangeSet,
    /// Missing here, and a gap event says so.
    told: RangeSet,
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

    /// What it lacks, to be changed.
    fn missing_mut(&mut self) -> &mut Missing {
        Arc::make_mut(&mut self.missing)
    }

    /// A lane of a log whose beginning retention has removed.
    pub fn begun(lane: Lane, number: u64) -> Self {
        Self { begins_anywhere: true, ..Self::new(lane, number) }
    }

    /// Whether something of it has come, or is known never to.
    pub fn has_begun(&self) -> bool {
        let is_somewhere = self.receiver.end() > Sequence::ZERO || self.batches > 0;
        is_somewhere || !self.missing.gaps.is_empty() || !self.missing.lost.is_empty()
    }

    /// Whether nothing is known of it but its name.
    pub fn is_blank(&self) -> bool {
        let Missing { gaps, lost, .. } = &*self.missing;
        self.batches == 0 && gaps.is_empty() && lost.is_empty() && self.in_ring().is_none()
    }

    /// Its sender has said hello, and holds what is before this.
    pub fn held(&mut self, end: Sequence) {
        self.held_end = end;
    }

    /// What its sender holds, as far as it has said, and has not come.
    fn in_ring(&self) -> Option<RangeView> {
        let first = self.receiver.end();
        (first < self.held_end).then_some(RangeView { first, end: self.held_end })
    }

    /// The batch, whose latest event time this is, is in the log's hands; tells whether there is a gap before it.
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
            if self.filled(offered.range) {
                self.count(offered, time_last);
            }
            return;
        }
        self.found(offered.range.first);
        self.receiver.recovered(offered);
        self.count(offered, time_last);
    }

    /// A batch that begins here was found: what is not there before it is missing, if it can be.
    fn found(&mut self, first: Sequence) {
        let gap = SequenceRange { first: self.receiver.end(), end: first };
        if !std::mem::take(&mut self.begins_anywhere) && gap.first < gap.end {
            self.missing_mut().gaps.insert_or_join(gap);
        }
    }

    /// Takes batches that follow each other, and were found in the log at start.
    pub fn recovered_stretch(&mut self, stretch: &Stretch) {
        let end = self.receiver.end();
        if stretch.end() <= end {
            let range = SequenceRange { first: stretch.first, end: stretch.end() };
            if self.filled(range) {
                self.batches += stretch.batches;
                self.events += range.count();
                self.time_last = self.time_last.max(stretch.time_last);
            }
            return;
        }
        let first = stretch.first.max(end);
        self.found(stretch.first);
        let recent_first = stretch.recent.first().map_or(stretch.first, |(range, _)| range.first);
        let (earlier, previous) = (SequenceRange { first, end: recent_first }, CHAIN_START);
        if earlier.first < earlier.end {
            // Those before the recent ones are nothing but numbers: what the lane remembers, the recent ones push out.
            self.receiver.recovered(&Offered { range: earlier, previous, chain: CHAIN_START });
        }
        for (range, chain) in &stretch.recent {
            self.receiver.recovered(&Offered { range: *range, previous, chain: *chain });
        }
        self.batches += stretch.batches;
        self.events += stretch.end().since(first);
        self.time_last = self.time_last.max(stretch.time_last);
    }

    /// The collector has told anew how far it had come.
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
            // What is missing there was told as a gap.
            None => drop(self.receiver.hello(&Held { lane: self.lane, first: end, end })),
        }
    }

    /// What is to be told anew of it; `None` when nothing has come.
    pub fn to_keep(&self) -> Option<LaneKept> {
        let end = self.receiver.durable_end();
        let chain = self.receiver.durable_chain();
        (end > Sequence::ZERO).then_some(LaneKept { end, time_last: self.time_last, chain })
    }

    /// These have come after all, behind later ones; tells whether all of them were missing.
    pub fn filled(&mut self, range: SequenceRange) -> bool {
        let was_missing = RangeSet::of(range).without(&self.missing.gaps).is_empty();
        if was_missing {
            let missing = self.missing_mut();
            missing.gaps.remove(range);
            missing.told.remove(range);
        }
        was_missing
    }

    /// Whether all of these are missing inside.
    pub fn misses(&self, range: SequenceRange) -> bool {
        range.end <= self.receiver.end() && RangeSet::of(range).without(&self.holes()).is_empty()
    }

    /// What is missing inside, neither come nor declared as lost.
    pub fn holes(&self) -> RangeSet {
        self.missing.gaps.without(&self.missing.lost)
    }

    /// What is missing inside and lies within what the sender holds, as far as one hello asks for it.
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

    /// What is missing, and neither declared nor told.
    pub fn untold(&self) -> RangeSet {
        self.missing.gaps.without(&self.missing.told).without(&self.missing.lost)
    }

    /// A gap event says that these are missing.
    pub fn tell(&mut self, gap: SequenceRange) {
        let missing = self.missing_mut();
        missing.gaps.insert_or_join(gap);
        missing.told.insert_or_leave(gap);
    }

    /// Whether a gap event says, or is to say, that all of these are missing.
    pub fn is_told(&self, gap: SequenceRange) -> bool {
        RangeSet::of(gap).without(&self.missing.told).is_empty()
    }

    /// The source declares a loss.
    pub fn declared(&mut self, loss: &Loss, declared: Timestamp) {
        let range = SequenceRange { first: loss.first, end: loss.end };
        let missing = self.missing_mut();
        missing.lost.insert_or_join(range);
        let (first, end, reason) = (loss.first, loss.end, loss.reason);
        match missing.losses.back_mut() {
            // Eviction declares segment after segment: one loss that grows.
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
