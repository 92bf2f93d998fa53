//! The ring's witness: a few bytes outside the ring's directory that record how far was accepted.
//!
//! A ring log cannot distinguish a file that vanished from one that never existed. Its witness can: it names every lane
//! with its end. It is written after each commit and each release, without waiting for the disk; it is synced where a
//! segment begins and at a clean stop, and in the background through a [`WitnessSync`]. So it may lag behind the ring
//! after a power cut, and it never leads: what it shows beyond the ring was accepted and is gone.
//!
//! Two slots, each a file of its own, take turns: writes go to one until that is on disk, so one whole slot always is.
//! A file that the disk has refused is removed and recreated. A witness that cannot be written stops nothing.

mod record;
mod writer;

use afferent_host::disk::Disk;

pub(super) use record::Record;
use record::RecordLane;
pub use writer::WitnessSync;
pub(super) use writer::{WitnessWriter, read};

use super::RingLog;
use super::lanes::LaneState;
use crate::limits::ring_log::WITNESS_LANES_MAX;

impl<D: Disk> RingLog<D> {
    /// A handle that syncs the witness from a second thread; see [`WitnessSync::sync`].
    pub fn witness_sync(&self) -> WitnessSync<D::File> {
        self.witness.sync_handle()
    }

    /// Why the witness could not be written the last time.
    pub fn witness_trouble(&self) -> Option<String> {
        self.witness.trouble()
    }

    /// A clean stop: writes and syncs the witness with the mark of it. Nothing may be appended afterwards.
    pub fn finish(&mut self) {
        self.put_witness(true, true);
    }

    /// Writes the witness without waiting for the disk.
    pub(super) fn write_witness(&mut self) {
        self.put_witness(false, false);
    }

    /// Writes the witness and waits until it is on disk.
    pub(super) fn sync_witness(&mut self) {
        self.put_witness(true, false);
    }

    /// Syncs the released ends in the witness before a file loses their events: a start would take these for vanished.
    pub(super) fn before_wiping(&mut self) {
        if self.witness.is_behind {
            self.sync_witness();
        }
    }

    fn put_witness(&mut self, synced: bool, is_clean: bool) {
        // A loss that is not declared yet shows only in the current witness.
        if self.undeclared_count() > 0 {
            return;
        }
        let record = Record {
            log_id: self.log_id,
            generation: self.newest_generation,
            boot: self.boot,
            is_clean,
            lanes: self.record_lanes(),
        };
        self.witness.put(record, synced);
    }

    /// The lanes as the witness names them: those that are written to, those that are held, then the others.
    fn record_lanes(&self) -> Vec<RecordLane> {
        let rank = |lane: &LaneState| (!self.lanes.is_current(lane.lane), !lane.is_held());
        let mut lanes: Vec<&LaneState> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| rank(lane));
        lanes.truncate(WITNESS_LANES_MAX);
        let record = |lane: &LaneState| {
            let LaneState { lane, released_end, end, resealed: is_resealed, .. } = *lane;
            let is_current = self.lanes.is_current(lane);
            RecordLane { lane, is_current, is_resealed, released_end, end }
        };
        lanes.into_iter().map(record).collect()
    }
}
