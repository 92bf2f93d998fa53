//! The ring log's status and counters.

use afferent_host::disk::Disk;
use afferent_protocol::ids::Stream;

use super::RingLog;
use super::pool::Usage;

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that were written, heads, padding and stops included.
    pub written_bytes: u64,
    /// Segments that were given up because none was free.
    pub evicted_segments: u64,
    /// Events that were given up with them.
    pub evicted_events: u64,
    /// Events that were sealed again in a new epoch.
    pub resealed_events: u64,
    /// Events that were declared as lost because the disk had damaged them; [`super::Recovery`] has those that the
    /// start has found.
    pub corrupt_events: u64,
    /// Writes and syncs that the disk has refused.
    pub refused_writes: u64,
    /// Segments that were abandoned after that.
    pub abandoned_segments: u64,
}

/// How full the ring is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStatus {
    /// Bytes that the pool may have.
    pub pool_bytes: u64,
    /// Bytes of the files that there are.
    pub file_bytes: u64,
    /// Segments that can be taken, files that are still to be made not among them.
    pub free_segments: usize,
    /// Segments of each stream, by its number.
    pub segments: [usize; 2],
    /// Segments among these that the disk has refused to write.
    pub abandoned_segments: usize,
    /// Bytes in segments that are in use, up to the end of the last entry.
    pub used_bytes: u64,
    /// Events of each stream that no ack has come for, by its number.
    pub unacked_events: [u64; 2],
    /// Whether a sealed batch of the stream waits for the disk.
    pub pending: [bool; 2],
    /// Losses that the disk has not taken yet.
    pub undeclared_losses: usize,
    /// Whether anything is still to be sealed again.
    pub resealing: bool,
    /// Whether the disk takes the ring's witness.
    pub has_witness: bool,
    /// Counts since the start.
    pub counters: Counters,
}

impl<D: Disk> RingLog<D> {
    /// How full the ring is.
    pub fn status(&self) -> RingStatus {
        let mut status = RingStatus {
            pool_bytes: self.pool.pool_bytes,
            file_bytes: self.pool.bytes(),
            free_segments: self.pool.free(),
            pending: Stream::ALL.map(|stream| self.pending(stream)),
            undeclared_losses: self.undeclared_count(),
            resealing: self.resealing(),
            has_witness: self.witness_trouble().is_none(),
            counters: self.counters,
            ..RingStatus::default()
        };
        for slot in &self.pool.slots {
            if let Usage::Taken(segment) = slot.usage {
                status.segments[usize::from(segment.lane.stream.number())] += 1;
                status.abandoned_segments += usize::from(segment.abandoned);
                status.used_bytes += segment.bytes_end;
            }
        }
        for lane in self.lanes.iter() {
            status.unacked_events[usize::from(lane.lane.stream.number())] += lane.unacked();
        }
        status
    }
}
