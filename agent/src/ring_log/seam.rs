//! Stand-ins for what the ring log does not have yet.

use std::io;

use afferent_protocol::batch::ClockReading;
use afferent_protocol::disk::Disk;
use afferent_protocol::event::ResealReason;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::session::{Check, Lane};

use super::RingLog;
use super::error::AppendError;
use super::read::Known;

impl<D: Disk> RingLog<D> {
    /// The oldest sequence of the lane that can be read.
    pub fn oldest(&self, lane: Lane) -> Sequence {
        self.lanes.get(lane).map_or(Sequence::ZERO, |known| known.released_end)
    }

    /// Holds `to` and what follows it again; tells whether it can.
    pub fn rewind(&mut self, _lane: Lane, _to: Sequence) -> bool {
        false
    }

    /// Begins to seal what follows `from` again.
    pub fn reseal(
        &mut self,
        lane: Lane,
        from: Sequence,
        _reason: ResealReason,
        clock: &ClockReading,
    ) -> Result<(), AppendError> {
        self.release(lane, from);
        self.diverged(lane, clock)
    }

    /// Whether that goes on.
    pub fn resealing(&self) -> bool {
        false
    }

    /// Copies one batch; tells whether there is more.
    pub fn reseal_step(&mut self, _clock: &ClockReading) -> Result<bool, AppendError> {
        Ok(false)
    }

    /// Ends of batches of the lane behind `above` and not behind `below`.
    pub fn boundaries(
        &mut self,
        lane: Lane,
        below: Sequence,
        above: Sequence,
        count: usize,
    ) -> io::Result<Vec<(Sequence, Check)>> {
        let mut ends = Vec::new();
        let last = self.lanes.get(lane).map_or(Sequence::ZERO, |known| known.end).min(below);
        for end in (above.get() + 1..=last.get()).rev().map(Sequence::new) {
            if let Known::Check(check) = self.check_at(lane, end)?
                && ends.len() < count
            {
                ends.push((end, check));
            }
        }
        Ok(ends)
    }

    /// Where the lanes end.
    pub fn lane_ends(&self) -> Vec<(Stream, Epoch, Sequence)> {
        let own = self.lanes.iter().filter(|known| !known.foreign);
        own.map(|known| (known.lane.stream, known.lane.epoch, known.end)).collect()
    }

    /// Names that the ring holds events under.
    pub fn former_names(&self) -> Vec<SourceId> {
        Vec::new()
    }
}
