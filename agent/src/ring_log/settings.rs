//! How large a ring is, and whose.

use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use afferent_protocol::segment::{ENTRY_HEAD_LEN, SEGMENT_HEADER_LEN, STOP_LEN};
use afferent_protocol::sign;

use crate::limits::ring_log::{
    LOSS_ROOM, POOL_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT_MAX, SEGMENT_BYTES_STEP, SEGMENTS_DEFAULT, SEGMENTS_MAX,
    SEGMENTS_MIN,
};

/// How large a ring is. Other figures than those of the last start are taken as segments become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSettings {
    /// Bytes of all segment files together; the ring has at least four segments even if this is smaller.
    pub pool_bytes: u64,
    /// Bytes of one segment file, brought within 64 KiB to 256 MiB.
    pub segment_bytes: u64,
    /// Free segments that samples leave to critical; brought within two and all but two.
    pub critical_reserve_segments: u32,
}

impl RingSettings {
    /// A pool of this size, cut as the default is.
    pub fn for_pool(pool_bytes: u64) -> Self {
        let segment_bytes = (pool_bytes / SEGMENTS_DEFAULT).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_DEFAULT_MAX);
        let critical_reserve_segments = (pool_bytes / segment_bytes / 8).clamp(2, SEGMENTS_MAX as u64) as u32;
        Self { pool_bytes, segment_bytes, critical_reserve_segments }
    }

    /// The settings with every figure within its limits.
    pub(super) fn within_limits(self) -> Self {
        let segment_bytes =
            self.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / SEGMENT_BYTES_STEP * SEGMENT_BYTES_STEP;
        let segments = (self.pool_bytes / segment_bytes).clamp(SEGMENTS_MIN as u64, SEGMENTS_MAX as u64);
        let reserve = u64::from(self.critical_reserve_segments).clamp(2, segments - 2);
        Self { pool_bytes: segments * segment_bytes, segment_bytes, critical_reserve_segments: reserve as u32 }
    }

    /// Bytes of the largest batch that fits a segment of this length.
    pub(super) fn batch_bytes_max(&self) -> usize {
        let taken = SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN + STOP_LEN + LOSS_ROOM;
        BATCH_BYTES_MAX.min(self.segment_bytes as usize - taken)
    }
}

impl Default for RingSettings {
    fn default() -> Self {
        Self::for_pool(POOL_BYTES_DEFAULT)
    }
}

/// Whose ring it is: who assigns the sequences and signs the batches.
#[derive(Clone, Debug)]
pub struct RingIdentity {
    /// The agent's name.
    pub source: SourceId,
    /// The agent's key pair.
    pub identity: sign::Identity,
}
