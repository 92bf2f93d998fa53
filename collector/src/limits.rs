//! Every limit of the collector, related to each other and to those of the protocol.

use afferent_protocol::limits::{BATCH_BYTES_MAX, MESSAGE_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Bytes of a segment of the unified log, unless configured otherwise.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes that one write and its sync cover, at most (but for a single larger entry). What a start makes durable once
/// more, because nobody knows whether the last sync came to its end.
pub const COMMIT_PART_BYTES_MAX: usize = 8 << 20;
/// A writer commits when so many bytes wait, whatever else it has to do.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// The sparse index has a point every so many bytes of a segment.
pub const INDEX_EVERY_BYTES: u64 = 64 << 10;

/// Bytes of batches that came before their turn, kept per source.
pub const EARLY_BYTES_MAX: usize = 8 << 20;
/// Batches that came before their turn, kept per source.
pub const EARLY_BATCHES_MAX: usize = 256;
/// Bytes of batches that came before their turn, kept for all sources together.
pub const EARLY_BYTES_TOTAL_MAX: usize = 64 << 20;
/// Sources that are known, at most.
pub const SOURCES_MAX: usize = 65_536;
/// Lanes (epochs of both streams) of one source that are known, at most.
pub const SOURCE_LANES_MAX: usize = 4096;
/// Separate ranges that a set of sequences remembers, at most.
pub const RANGES_MAX: usize = 1024;
/// Declared losses of one lane that are remembered one by one; older ones only in the sum.
pub const LOSSES_MAX: usize = 64;
/// A refusal becomes an event at most once in so many microseconds per source and reason.
pub const REFUSED_EVENT_EVERY_US: u64 = 60_000_000;
/// Refusals of all sources that become events within [`REFUSED_EVENT_EVERY_US`].
pub const REFUSED_EVENTS_MAX: usize = 60;
/// Own events that wait for a commit; more are only counted.
pub const NOTICES_MAX: usize = 1024;
/// A row of codec 1 has at least so many bytes: time, subject, variant and two bytes of body.
pub const ROW_BYTES_MIN: u32 = 4;

const _: () = {
    assert!(LOG_SEGMENT_BYTES >= SEGMENT_BYTES_MIN && LOG_SEGMENT_BYTES <= SEGMENT_BYTES_MAX);
    assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64, "positions in the index have four bytes");
    assert!(COMMIT_PART_BYTES_MAX > 2 * BATCH_BYTES_MAX);
    assert!(COMMIT_BYTES_MAX >= MESSAGE_PAYLOAD_BYTES_MAX);
    assert!(EARLY_BYTES_MAX >= BATCH_BYTES_MAX && EARLY_BYTES_TOTAL_MAX >= EARLY_BYTES_MAX);
};
