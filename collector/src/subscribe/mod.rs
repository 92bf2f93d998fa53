//! Reading the unified log: from any offset or time, as often as one likes, history and then live events.
//!
//! In the order in which an event passes them:
//! - [`Start`]: where a reader begins, as people write it
//! - [`Filter`]: which events it wants; `share`: which of them it gets where several readers divide them
//! - `cursor`: how far it has come; walks over the log and passes on typed items
//! - `rendering`: items as CloudEvents; `framing`: what stands between them
//! - [`Reading`]: all of this together, page after page; [`Lines`]: a page out of which many readers take their events
//! - [`named`]: places that are kept here for readers, who may share the work
//!
//! A reader never has a queue of its own: it reads the log from its own place and is woken when the log grew. One that
//! is slow reads older parts of the log, and nothing is kept or dropped for it.

mod cursor;
mod facts;
mod filter;
mod framing;
mod lines;
pub mod named;
mod page;
mod rendering;
mod severity;
mod share;
mod start;

#[cfg(test)]
mod embedded_tests;

pub use cursor::Page;
pub use filter::{Filter, FilterError};
pub use framing::Format;
pub use lines::Lines;
pub use page::Reading;
pub use start::{Start, StartError, StartTextError};
