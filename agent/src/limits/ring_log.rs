//! Every limit of the ring log, related to each other and to those of the protocol.

use afferent_protocol::batch::HEADER_LEN;
use afferent_protocol::limits::{EVENT_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SOURCE_BYTES_MAX};
use afferent_protocol::segment::{SEGMENT_HEADER_LEN, STOP_LEN, entry_len};

/// Segments that a ring needs: for both streams one to write and one to release.
pub const SEGMENTS_MIN: usize = 4;
/// Free segments that stay when a pool goes back to its size: one to take, and the spare.
pub const SEGMENTS_SPARE: usize = 2;
/// Segments that a ring has, at most: some hundred bytes of memory each.
pub const SEGMENTS_MAX: usize = 16_384;
/// Segment lengths are multiples of this, the page of every usual file system.
pub const SEGMENT_BYTES_STEP: u64 = 4096;
/// Longest segment that is chosen where none is asked for.
pub const SEGMENT_BYTES_DEFAULT_MAX: u64 = 8 << 20;
/// Into how many segments a pool is cut where nothing is asked for.
pub const SEGMENTS_DEFAULT: u64 = 32;
/// Bytes of the pool where nothing is asked for.
pub const POOL_BYTES_DEFAULT: u64 = 256 << 20;

/// Bytes of the body of a batch with one loss in it: counts, subject, and a row with five varints and a chain hash.
const LOSS_BODY_BYTES_MAX: usize = 6 + 2 + SOURCE_BYTES_MAX + 10 + 3 + 2 + 3 * 10 + 1 + 32;
/// Bytes of the entry of a batch with one loss in it.
pub const LOSS_ENTRY_BYTES_MAX: usize = entry_len(HEADER_LEN + LOSS_BODY_BYTES_MAX);
/// Bytes at the end of every critical segment that only losses may use: an eviction makes its loss durable before it
/// has a segment to go to.
pub const LOSS_ROOM: usize = 4 * 512;
/// Losses in one batch.
pub const LOSSES_PER_BATCH_MAX: usize = 32;

/// Files that are tried for one write before it is given back as refused.
pub const WRITE_TRIES_MAX: u32 = 3;
/// How often the same place is read in vain before what is there is declared as lost.
pub const READ_TRIES_MAX: u8 = 5;
/// Where a whole read fails, it is read in pieces of this length.
pub const READ_PIECE_BYTES: usize = 4096;
/// Lanes that the witness names, those that are held before others.
pub const WITNESS_LANES_MAX: usize = 32;
/// Segments that a pool may have beyond its size while it is full of what is being sealed again, or of what only a loss
/// can make room in.
pub const COPY_SEGMENTS: u64 = 2;
/// Capacity that a write buffer keeps after a larger batch.
pub const BUFFER_BYTES_KEPT: usize = 256 * 1024;
/// Every start leaves out so many generations: none that a run has used and lost in a power cut comes again.
pub const GENERATION_STRIDE: u64 = 1 << 16;

const _: () = {
    assert!(LOSS_ENTRY_BYTES_MAX <= LOSS_ROOM);
    let room = SEGMENT_BYTES_MIN as usize - SEGMENT_HEADER_LEN - STOP_LEN - LOSS_ROOM;
    assert!(entry_len(HEADER_LEN + EVENT_BYTES_MAX + 512) <= room, "any single event fits the smallest segment");
    assert!(entry_len(HEADER_LEN + LOSSES_PER_BATCH_MAX * LOSS_BODY_BYTES_MAX) <= room);
    assert!(SEGMENT_BYTES_DEFAULT_MAX <= SEGMENT_BYTES_MAX);
    assert!(
        SEGMENT_BYTES_MIN.is_multiple_of(SEGMENT_BYTES_STEP) && SEGMENT_BYTES_MAX.is_multiple_of(SEGMENT_BYTES_STEP)
    );
};
