//! An event with its sequence.

use crate::event::Event;
use crate::ids::Sequence;

/// An event with the sequence that its source gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// Its place in its (source, stream, epoch).
    pub sequence: Sequence,
    /// The event.
    pub event: Event<'a>,
}
