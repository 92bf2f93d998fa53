//! What agent and collector both need on a host, each with one behaviour.
//!
//! - [`limits`]: every limit
//! - [`files`]: files of one owner, replaced as a whole; [`disk`]: the disk under both logs, a trait, and the real file
//!   system behind it; [`lock`]: one process per data directory
//! - [`key`]: the file of an Ed25519 key; [`secret`]: where a secret is, and its text; [`url`]: where a broker is;
//!   [`hex`]: bytes as digits
//! - [`clock`]: the machine's clocks; [`stop`]: one request to stop, seen by every task

pub mod clock;
pub mod disk;
pub mod files;
pub mod hex;
pub mod key;
pub mod limits;
pub mod lock;
pub mod secret;
pub mod stop;
pub mod url;
