//! The embedded engine: segment files in one directory, read and written by one collector.
//!
//! One directory, files `{first offset:020}-{generation:010}.seg` in the segment format of the protocol
//! ([`afferent_protocol::segment`], kind `Unified`, ordinals are offsets). A segment's space is allocated when it is
//! begun; a commit is one write of entries and stop, and one fdatasync.
//!
//! What must hold:
//! - Offsets are dense but for the holes that [`Recovery`](super::Recovery) names. They never go back behind an offset
//!   that readers could see.
//! - A reader sees only durable entries.
//! - A segment that a write or a sync failed on is never written again. The next one begins at the durable end, and the
//!   entries of the failed one from there on do not count, now or after a restart.
//! - The `acked_end` in every entry's head is the log's durable end when the entry was written. So a start can
//!   distinguish an unfinished write (no later entry knows it as durable: dropped, it was never acked) from damage (a
//!   later entry does: set aside, counted and reported).
//! - Segments are removed from the oldest on, and only after the log itself records that: see [`Trimmer`].
//! - A batch in the log never changes, except for the body of a samples batch, which retention can empty in a finished
//!   segment: see [`Forgetter`]. Offsets, headers, chain hashes and critical batches stay.
//! - A start reads the index of a finished segment that has one beside it; it reads all of the other segments and of
//!   the newest one. An index is derived from its segment alone: see [`Indexer`] and `segment_index.rs`.
//! - The log's length costs next to no memory: for a finished segment with an index, memory holds its name, its
//!   offsets, one point for all of it and a few names. The points are loaded from the index, and recently used ones
//!   stay. No search holds a whole segment in memory, unless the segment is damaged or being emptied.
//! - A finished segment has an extract beside it, signed by the collector, for certificates: see `extract`.

mod buffer;
mod damage;
mod engine;
pub(super) mod extract;
mod files;
mod forget;
mod found;
mod index;
mod indexer;
mod insides;
pub mod inspect;
mod points;
mod reader;
mod reading;
mod recovery;
mod segment_index;
mod sound;
mod trimmer;
mod walk;
mod window;
mod write_error;
mod writing;

#[cfg(test)]
mod forget_tests;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod tests;

pub use engine::SegmentFiles;
pub use files::{Damage, log_id};
pub use forget::{ForgetError, Forgetter};
pub use found::OpenError;
pub use indexer::Indexer;
pub use points::TimeKind;
pub use reader::{Chunk, LogReader, ReadError};
pub use segment_index::IndexError;
pub use trimmer::Trimmer;
pub use writing::{EmbeddedLog, LogSettings};
