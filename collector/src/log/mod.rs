//! The unified log: batches of all sources in the order in which they were accepted, addressed by offset.
//!
//! One directory, files `{first offset:020}-{generation:010}.seg` in the segment format of the protocol
//! ([`afferent_protocol::segment`], kind `Unified`, ordinals are offsets). A segment's space is taken from the disk when
//! it is begun; a commit is one write of entries and stop, and one fdatasync.
//!
//! What must hold:
//! - Offsets are dense but for the holes that [`Recovery`] names. They never go back behind what a reader could see.
//! - A reader sees only what is durable.
//! - A segment that a write or a sync failed on is never written again. The next one begins at the durable end, and
//!   what the failed one has from there on does not count, now or after a restart.
//! - Every entry says, in its head's `acked_end`, where the log's durable end was when it was written. So a start can
//!   tell what a power cut left unfinished (nothing later knows it as durable: dropped, it was never acked) from what
//!   rotted (something later does: set aside, counted and reported).
//! - Segments are removed from the oldest on, and only after the log itself says so: see [`Trimmer`].
//! - A batch that is in the log stays as it is, but for the body of a samples batch, which retention can take out of a
//!   finished segment: see [`Forgetter`]. Offsets, headers, chain hashes and critical batches stay.
//! - Of a finished segment that has an index beside it a start reads the index; of all others, and of the newest one, it
//!   reads everything. An index is derived from its segment alone: see [`Indexer`] and `segment_index.rs`.
//! - The log's length costs next to no memory: of a finished segment that has an index, memory has its name, its offsets,
//!   one point for all of it and a few names. The points are loaded from the index, and those used last stay. Nobody who
//!   looks through a segment has all of it in memory, but where it is damaged or its samples are taken out.
//! - A finished segment has an extract beside it, signed by the collector, for certificates: see `extract`.

mod attested;
mod buffer;
mod damage;
mod embedded;
mod engine;
mod extract;
mod files;
mod forget;
mod history;
mod index;
mod indexer;
pub mod inspect;
mod keys;
mod marks;
mod points;
mod proof;
mod reader;
mod recovery;
mod segment_index;
mod sound;
mod trimmer;
mod walk;
mod window;

#[cfg(test)]
mod forget_tests;
#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod tests;

pub(crate) use attested::Attested;
pub use attested::{Bound, Contradiction, NoAttestation, Witnesses};
pub use damage::{LogDamage, Missing};
pub use embedded::{EmbeddedLog, LogSettings, OpenError};
pub use engine::{CommitError, UnifiedLog};
#[cfg(test)]
pub(crate) use extract::forged_extract;
pub(crate) use extract::{Beside, Extract, Extracts, Found, Next, Row, SegmentPlace, What};
pub use files::log_id;
pub use forget::{ForgetError, Forgetter, Forgotten};
pub use history::{Beat, History, LastHeard, Rebuild, Step, Stretch};
pub use indexer::{Indexed, Indexer};
pub use keys::{KeyOrigin, Trust};
pub use marks::{Kinds, Marks, NameHash, Wanted};
pub use proof::{Doubt, Proof};
pub use reader::{Chunk, LogReader, ReadError, TimeKind};
pub use recovery::{Damage, Hole, Recovery};
pub use segment_index::IndexError;
pub use trimmer::{Segment, Trimmed, Trimmer, Usage};
