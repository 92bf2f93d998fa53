//! The unified log: batches of all sources in the order in which they were accepted, addressed by offset.
//!
//! - [`address`]: partition and offset
//! - [`UnifiedLog`]: the half that the writer sees; [`ReadLog`]: the half that readers see
//! - [`events`]: the one typed walk over a log, for every reader; [`records`]: where batches are decoded
//! - [`Engine`]: the seam under which an engine opens, appends, commits, reads, indexes and trims (`engine`, `upkeep`,
//!   `report`)
//! - [`embedded`]: the engine that keeps the log in segment files of one directory
//! - `history`, `marks`: what starts and readers need of a batch without its events
//! - `keys`, `proof`, `attested`: checks that the log was not changed

pub mod address;
mod attested;
pub mod embedded;
mod engine;
pub mod events;
mod history;
mod keys;
mod marks;
mod proof;
mod read_log;
pub mod records;
mod report;
mod upkeep;

#[cfg(test)]
mod events_tests;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod memory_engine;
#[cfg(test)]
mod rooms_tests;

pub(crate) use attested::AttestationCheck;
pub use attested::{Bound, Contradiction, NoAttestation, Witnesses};
#[cfg(test)]
pub(crate) use embedded::extract::forged_extract;
pub(crate) use embedded::extract::{Beside, Extract, ExtractItem, Extracts, Next, Row, RowFacts, SegmentPlace};
pub use embedded::{
    Chunk, Damage, EmbeddedLog, ForgetError, Forgetter, IndexError, Indexer, LogReader, LogSettings, OpenError,
    ReadError, SegmentFiles, TimeKind, Trimmer, inspect, log_id,
};
pub use engine::{CommitError, Engine, EngineError, OpenedLog, Opening, UnifiedLog};
pub use history::{HeartbeatStep, LastHeard, Rebuild, SegmentHistory, Step, Stretch};
pub use keys::{KeyOrigin, Trust};
pub use marks::{Kinds, Marks, NameHash, Wanted};
pub use proof::{Doubt, Proof};
pub use read_log::{EachEntry, ReadLog, ReadLogError};
pub use report::{LogDamage, LostOffsets, LostSequences, Recovery};
pub use upkeep::{
    EmptyError, Emptying, FinishedSegment, Forgotten, Indexed, Indexing, Trimmed, Trimming, Upkeep, UpkeepError, Usage,
};
