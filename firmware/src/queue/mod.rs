//! Where sealed batches lie until the agent has them: first in, first out, as opaque items.
//!
//! | queue | survives a reset | survives a power cut |
//! |---|---|---|
//! | [`RamQueue`] in plain RAM | no | no |
//! | [`RamQueue`] in `.uninit` RAM, after [`RamQueue::recover`] | yes | no |
//! | `FlashQueue` (feature `flash`) | yes | yes |

#[cfg(test)]
pub(crate) mod failing;
#[cfg(feature = "flash")]
mod flash;
mod ram;

#[cfg(feature = "flash")]
pub use flash::{FlashQueue, FlashQueueError};
pub use ram::{RamQueue, Recovered};

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The queue has no room until older items are released.
    #[error("the queue is full")]
    Full,
    /// The item is larger than the queue.
    #[error("the item is longer than the queue can hold")]
    TooLong,
    /// Reading, writing or erasing the memory below failed.
    #[error("the storage below the queue failed")]
    Broken,
}

/// Reading, writing or erasing the memory below failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the storage below the queue failed")]
pub struct Broken;

/// Items, oldest first.
pub trait Queue {
    /// Appends an item. When this gives `Ok`, the item survives what the queue survives.
    fn push(&mut self, item: &[u8]) -> Result<(), PushError>;

    /// Reads one item after the other, oldest first, to the start of `buffer`, until `wanted` accepts
    /// one; returns its length. Damaged items and items longer than `buffer` are passed over.
    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken>;

    /// Removes the oldest item; `false` when there is none.
    fn pop(&mut self) -> Result<bool, Broken>;

    /// Whether an item of `len` bytes would leave a quarter of the room free: what lesser events have to respect.
    fn is_roomy(&mut self, len: usize) -> bool;
}

impl<Q: Queue + ?Sized> Queue for &mut Q {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        (**self).push(item)
    }

    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        (**self).find(buffer, wanted)
    }

    fn pop(&mut self) -> Result<bool, Broken> {
        (**self).pop()
    }

    fn is_roomy(&mut self, len: usize) -> bool {
        (**self).is_roomy(len)
    }
}
