//! Reading the unified log: from any offset or time, any number of times, history and then live events.
//!
//! In the order in which an event passes them:
//! - [`Start`]: the start of a reader, as people write it
//! - [`Filter`]: the wanted events; `share`: a reader's part of them where several readers divide them
//! - `cursor`: how far it has come; walks over the log and yields typed items
//! - `rendering`: items as CloudEvents; `framing`: the separators between them
//! - [`Reading`]: all of this together, page after page; [`PageLines`]: a page out of which many readers select their
//!   events
//! - [`named`]: cursors stored here for readers, who may share the work
//!
//! A reader never has a queue: it reads the log from its own offset and is woken when the log grows. A slow reader
//! reads older parts of the log; no events are stored or dropped for it.

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
pub(crate) use cursor::{ReadCursor, TakeItems};
pub(crate) use filter::UNREADABLE_SEVERITY;
pub use filter::{Filter, FilterError};
pub use framing::Format;
pub use lines::PageLines;
pub use page::Reading;
pub(crate) use rendering::TRIMMED;
pub use start::{Start, StartError, StartTextError};
