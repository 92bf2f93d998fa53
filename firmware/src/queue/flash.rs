//! A queue on NOR flash: the queue of `sequential-storage`, driven without an executor.
//!
//! It needs flash whose words can be written a second time with fewer ones (`MultiwriteNorFlash`), for that is how
//! items are popped. Flash with a checksum over every word (as of the STM32L4 or H7) cannot do that: such parts keep
//! critical events in a [`super::RamQueue`] in `.uninit` RAM, or have an external NOR chip.

use core::future::Future;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use sequential_storage::Error;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

use super::{Broken, PushError, Queue, Recovered};

/// A queue on flash `F`, with items of at most `ITEM` bytes.
pub struct FlashQueue<F: MultiwriteNorFlash, const ITEM: usize> {
    storage: QueueStorage<F, Cache<Uncached, Uncached, Uncached, ()>>,
    bytes_total: u32,
    popped: [u8; ITEM],
}

/// Why a queue cannot lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashQueueError {
    /// The range does not begin and end at a page, or is too small.
    #[error("the range is not made of whole flash pages")]
    Range,
    /// The flash can be neither read nor erased.
    #[error("the flash can be neither read nor erased")]
    Broken,
}

impl<F: MultiwriteNorFlash, const ITEM: usize> FlashQueue<F, ITEM> {
    /// Opens the queue in `range` of the flash, whatever it holds. [`Recovered::Damaged`] means that it could not be
    /// read and was erased.
    pub fn open(flash: F, range: Range<u32>) -> Result<(Self, Recovered), FlashQueueError> {
        let bytes_total = range.end.saturating_sub(range.start);
        let config = QueueConfig::try_new(range).map_err(|_| FlashQueueError::Range)?;
        let storage = QueueStorage::new(flash, config, Cache::new_uncached());
        let mut queue = Self { storage, bytes_total, popped: [0; ITEM] };
        let mut buffer = [0; ITEM];
        let mut recovered = Recovered::Empty;
        let found = queue.find(&mut buffer, &mut |_| {
            recovered = Recovered::Whole;
            false
        });
        if found.is_err() {
            recovered = Recovered::Damaged;
            wait(queue.storage.erase_all()).map_err(|_| FlashQueueError::Broken)?;
        }
        Ok((queue, recovered))
    }

    /// Ends the queue; returns the flash.
    pub fn into_flash(self) -> F {
        self.storage.destroy().0
    }
}

impl<F: MultiwriteNorFlash, const ITEM: usize> core::fmt::Debug for FlashQueue<F, ITEM> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FlashQueue")
    }
}

impl<F: MultiwriteNorFlash, const ITEM: usize> Queue for FlashQueue<F, ITEM> {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        if item.len() > ITEM {
            return Err(PushError::TooLong);
        }
        wait(self.storage.push(item, false)).map_err(|error| match error {
            Error::FullStorage => PushError::Full,
            Error::ItemTooBig | Error::BufferTooBig => PushError::TooLong,
            _ => PushError::Broken,
        })
    }

    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        wait(async {
            let mut items = self.storage.iter().await.map_err(|_| Broken)?;
            while let Some(item) = items.next(buffer).await.map_err(|_| Broken)? {
                if wanted(&item) {
                    return Ok(Some(item.len()));
                }
            }
            Ok(None)
        })
    }

    fn pop(&mut self) -> Result<bool, Broken> {
        let popped = wait(self.storage.pop(&mut self.popped)).map_err(|_| Broken)?;
        Ok(popped.is_some())
    }

    fn is_roomy(&mut self, len: usize) -> bool {
        let left = wait(self.storage.space_left()).unwrap_or(0) as usize;
        left >= self.bytes_total as usize / 4 + len
    }
}

/// Drives a future that has nothing to wait for but the flash: asks again until it is done.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
