//! What was accepted and is not in the files any more: what the witness and the entries know beyond what a start finds.
//!
//! A lane's accepted end is the largest of what its own entries show, what the witness names, and what entries of the
//! other stream name. What the files do not show of it, and what is neither acked nor declared, has *vanished*: files
//! were deleted, emptied, or put back from an earlier copy. A stream with such a lane continues in a new epoch.
//!
//! The witness names every lane that is held. One that lags (it was put back from an earlier copy, or could not be
//! written for a while) does not know what was released since: what it alone knows of lanes that are gone proves
//! nothing.

use afferent_protocol::batch::CHAIN_START;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Sequence, SequenceRange, Stream};
use afferent_protocol::session::Lane;

use super::recovery::WitnessStart;
use super::survey::{FoundLane, Named, Survey};
use super::witness::Record;

impl Survey {
    /// How the witness and the files go together.
    pub(super) fn weigh(&self, record: Option<&Record>) -> WitnessStart {
        let (Some(record), Some(newest)) = (record, &self.newest) else {
            return if record.is_some() { WitnessStart::Alone } else { WitnessStart::Gone };
        };
        // It is written once a segment was begun: by one it may lag.
        let second = self.generations.iter().rev().nth(1).copied().unwrap_or(0);
        if record.log_id != newest.log_id {
            WitnessStart::OtherLog
        } else if record.generation < second {
            WitnessStart::Behind
        } else {
            WitnessStart::Whole
        }
    }

    /// Holds what was found against what the witness and the entries know.
    pub(super) fn confront(&mut self, record: Option<&Record>, start: WitnessStart, boot: &[u8; 16]) {
        let is_exact = record.is_some_and(|record| {
            matches!(start, WitnessStart::Whole | WitnessStart::Alone) && (record.is_clean || record.boot == *boot)
        });
        let reason = if is_exact { LossReason::Vanished } else { LossReason::VanishedAtLeast };
        if let Some(record) = record.filter(|_| start != WitnessStart::OtherLog) {
            let knows_fronts = start == WitnessStart::Whole && self.damage.headers == 0;
            let copies_vanished = self.streams_whose_copies_vanished(record);
            for lane in &mut self.lanes {
                let copy_vanished = copies_vanished[usize::from(lane.lane.stream.number())];
                lane.confront_with_witness(record, reason, knows_fronts, copy_vanished);
            }
        }
        self.copies_that_did_not_finish();
        for named in self.named.clone() {
            if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.lane == named.lane && !lane.is_closed) {
                lane.ends_at_least(named.end, Sequence::ZERO, LossReason::VanishedAtLeast);
            }
        }
        if start == WitnessStart::OtherLog {
            for lane in &self.lanes {
                self.doubtful[usize::from(lane.lane.stream.number())] = Some(lane.lane.epoch);
            }
        }
        if let Some(record) = record {
            self.lanes_that_vanished(record, start, reason);
        }
        if !matches!(start, WitnessStart::Whole | WitnessStart::Alone) {
            self.last_named_that_vanished();
        }
    }

    /// The streams of which a held lane that is not written to is not in the files as far as the witness knows it: a
    /// lane may have been sealed again in it, and what was released for its sake must be held again.
    ///
    /// Only where the files are older than the witness: from newer ones such a lane has gone once it was acked.
    fn streams_whose_copies_vanished(&self, record: &Record) -> [bool; 2] {
        let mut streams = [false; 2];
        if self.generations.last().is_some_and(|newest| record.generation <= *newest) {
            return streams;
        }
        for known in record.lanes.iter().filter(|known| !known.is_current && known.released_end < known.end) {
            let found = self.lanes.iter().find(|lane| lane.lane == known.lane);
            if found.is_none_or(|lane| lane.end < known.end) {
                streams[usize::from(known.lane.stream.number())] = true;
            }
        }
        streams
    }

    /// Lanes of the witness that are in no file.
    fn lanes_that_vanished(&mut self, record: &Record, start: WitnessStart, reason: LossReason) {
        for known in &record.lanes {
            if self.lanes.iter().any(|lane| lane.lane == known.lane) {
                continue;
            }
            // The newest file of the lane that a stream is written to always stays, until a new lane begins.
            let of_stream = |lane: &&FoundLane| lane.lane.stream == known.lane.stream;
            let is_newest =
                known.is_current && self.lanes.iter().filter(of_stream).all(|lane| record.lane(lane.lane).is_some());
            if start == WitnessStart::Behind && !is_newest {
                continue;
            }
            if known.is_current && known.end > Sequence::ZERO {
                self.doubtful[usize::from(known.lane.stream.number())] = Some(known.lane.epoch);
            }
            let mut range = SequenceRange { first: known.released_end, end: known.end };
            if known.is_current && reason == LossReason::VanishedAtLeast && range.first == range.end {
                // Nothing that the witness knows of; but it does not know what came behind its last word.
                range.end = range.end.checked_add(1).unwrap_or(range.end);
            }
            self.lost_lane(known.lane, range, reason);
        }
    }

    /// Without a witness that knows: the lanes that the last entry of the other stream names, in no file.
    fn last_named_that_vanished(&mut self) {
        for stream in Stream::ALL {
            let of_stream = |named: &&Named| named.lane.stream == stream;
            let Some(last) = self.named.iter().rfind(of_stream).copied() else { continue };
            let is_named = |lane: Lane| self.named.iter().any(|named| named.lane == lane);
            let is_there = self.lanes.iter().any(|lane| lane.lane == last.lane);
            let begun_later = self.lanes.iter().any(|lane| {
                lane.lane.stream == stream && !is_named(lane.lane) && lane.last_generation > last.generation
            });
            let is_known =
                self.losses_of_lanes.iter().any(|loss| (loss.stream, loss.epoch) == (stream, last.lane.epoch));
            if !is_there && !begun_later && !is_known {
                self.doubtful[usize::from(stream.number())] = Some(last.lane.epoch);
                let range = SequenceRange { first: Sequence::ZERO, end: last.end };
                self.lost_lane(last.lane, range, LossReason::VanishedAtLeast);
            }
        }
    }

    fn lost_lane(&mut self, Lane { stream, epoch }: Lane, range: SequenceRange, reason: LossReason) {
        let SequenceRange { first, end } = range;
        if first < end {
            self.losses_of_lanes.push(Loss { stream, epoch, first, end, reason, chain: CHAIN_START });
        }
    }

    /// What was sealed again is released where it was; and a copy that did not finish is no loss while the original is
    /// there.
    fn copies_that_did_not_finish(&mut self) {
        let copies: Vec<(usize, Lane, Sequence)> = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(index, copy)| {
                let (epoch, _) = copy.reseals?;
                Some((index, Lane { stream: copy.lane.stream, epoch }, copy.copied()?))
            })
            .collect();
        for original in &mut self.lanes {
            let of_it = copies.iter().filter(|(_, lane, _)| *lane == original.lane);
            let Some(copied) = of_it.map(|(_, _, copied)| (*copied).min(original.end)).max() else { continue };
            // Its entries may name a larger acked end, of a log that was restored since.
            let known = if original.is_resealed { original.released_end } else { original.lost_end };
            original.released_end = known.max(copied);
            original.is_resealed = true;
        }
        for (index, lane, copied) in copies {
            let Some(original) = self.lanes.iter().find(|known| known.lane == lane) else { continue };
            let goes_on = original.released_end == copied && copied < original.end && original.first <= copied;
            if goes_on && self.lanes[index].torn.is_some() {
                (self.lanes[index].torn, self.lanes[index].is_torn) = (None, false);
            }
        }
    }
}

impl FoundLane {
    /// Where in the lane that it seals again it has come to.
    pub fn copied(&self) -> Option<Sequence> {
        let (_, first) = self.reseals?;
        first.checked_add(self.end.get().saturating_sub(1))
    }

    fn confront_with_witness(&mut self, record: &Record, reason: LossReason, knows_fronts: bool, copy_vanished: bool) {
        let Some(known) = record.lane(self.lane) else { return };
        let acked = if known.is_resealed && copy_vanished {
            // It is offered once more, and the next log answers from where on it must be sealed again.
            self.released_end
        } else {
            self.is_resealed |= known.is_resealed;
            // Events that are held again after their ack are in no entry, and sealed copies are not requested.
            let from_entries = if known.is_resealed { self.lost_end } else { self.released_end };
            from_entries.max(known.released_end)
        };
        if knows_fronts && acked < self.first {
            self.vanished.push((SequenceRange { first: acked, end: self.first }, reason));
        }
        self.released_end = acked.min(self.end);
        if known.is_current {
            self.ends_at_least(known.end, known.released_end, reason);
            return;
        }
        // What it ended in was declared; only what has gone since is not.
        self.is_closed = true;
        self.is_short = true;
        let first = self.end.max(acked);
        if first < known.end {
            self.vanished.push((SequenceRange { first, end: known.end }, reason));
        }
    }

    /// It was accepted up to `end`, and acked up to `acked`.
    fn ends_at_least(&mut self, end: Sequence, acked: Sequence, reason: LossReason) {
        let vanished_end = self.vanished.iter().map(|(range, _)| range.end).max().unwrap_or_default();
        let first = self.end.max(acked).max(vanished_end);
        match &mut self.torn {
            // It is one loss. A write that did not finish was never accepted.
            Some(torn) => {
                self.torn_vanished = self.torn_vanished.or((end > self.end).then_some(reason));
                *torn = SequenceRange { first: torn.first.max(acked), end: torn.end.max(end) };
            }
            None if end > self.end => {
                self.is_short = true;
                if first < end {
                    self.vanished.push((SequenceRange { first, end }, reason));
                }
            }
            None => {}
        }
    }
}
