//! The embedded engine: segment files in one directory, read and written by one collector.
//!
//! One directory, files `{first offset:020}-{generation:010}.seg` in the segment format of the protocol
//! ([`afferent_protocol::segment`], kind `Unified`, ordinals are offsets). A segment's space is taken from the disk
//! when it is begun; a commit is one write of entries and stop, and one fdatasync.
//!
//! What must hold:
//! - Offsets are dense but for the holes that [`Recovery`](super::Recovery) names. They never go back behind what a
//!   reader could see.
//! - A reader sees only what is durable.
//! - A segment that a write or a sync failed on is never written again. The next one begins at the durable end, and
//!   what the failed one has from there on does not count, now or after a restart.
//! - Every entry says, in its head's `acked_end`, where the log's durable end was when it was written. So a start can
//!   tell what a power cut left unfinished (nothing later knows it as durable: dropped, it was never acked) from what
//!   rotted (something later does: set aside, counted and reported).
//! - Segments are removed from the oldest on, and only after the log itself says so: see [`Trimmer`].
//! - A batch that is in the log stays as it is, but for the body of a samples batch, which retention can take out of a
//!   finished segment: see [`Forgetter`]. Offsets, headers, chain hashes and critical batches stay.
//! - Of a finished segment that has an index beside it a start reads the index; of all others, and of the newest one,
//!   it reads everything. An index is derived from its segment alone: see [`Indexer`] and `segment_index.rs`.
//! - The log's length costs next to no memory: of a finished segment that has an index, memory has its name, its
//!   offsets, one point for all of it and a few names. The points are loaded from the index, and those used last
//!   stay. Nobody who looks through a segment has all of it in memory, but where it is damaged or its samples are
//!   taken out.
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
pub use files::log_id;
pub use forget::{ForgetError, Forgetter};
pub use found::OpenError;
pub use indexer::Indexer;
pub use points::TimeKind;
pub use reader::{Chunk, LogReader, ReadError};
pub use segment_index::IndexError;
pub use trimmer::Trimmer;
pub use writing::{EmbeddedLog, LogSettings};
