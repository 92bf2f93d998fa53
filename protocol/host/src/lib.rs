//! What agent and collector both need on a host, each with one behaviour.
//!
//! - [`limits`]: every limit
//! - [`files`]: files of one owner, replaced as a whole; [`disk`]: the disk under both logs, a trait, and the real file
//!   system behind it; [`lock`]: one process per data directory
//! - [`key`]: the file of an Ed25519 key; [`secret`]: where a secret is, and its text; [`url`]: where a broker is;
//!   [`hex`]: bytes as digits
//! - [`clock`]: the machine's clocks; [`time`]: times as texts
//! - [`stop`]: one request to stop, seen by every task; [`supervise`]: what watches tasks and threads
//! - [`metrics`]: figures as a text; [`tls`]: certificates and keys from files

pub mod clock;
pub mod disk;
pub mod files;
pub mod hex;
pub mod key;
pub mod limits;
pub mod lock;
pub mod metrics;
pub mod secret;
pub mod stop;
pub mod supervise;
pub mod time;
pub mod tls;
pub mod url;
