//! What agent and collector both need on a host, each with one behaviour.
//!
//! - [`files`]: files of one owner, replaced as a whole
//! - [`disk`]: the disk under both logs, a trait, and the real file system behind it

pub mod disk;
pub mod files;
