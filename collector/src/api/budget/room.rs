//! Room for pages that are rendered and not yet sent: pages are large while there is room, and small otherwise.
//!
//! A page counts from its rendering until its last byte is in the socket, or its reader is gone. Stalled readers keep
//! theirs. They cannot take them from others: when the room is used up, readers get small pages, and every connection
//! can have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;

use crate::limits::{PAGE_BYTES, PAGE_SMALL_BYTES, PAGES_BYTES_MAX};

/// The number of bytes of pages in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct PageBytes(Arc<AtomicUsize>);

/// Bytes of a page, counted until they are dropped.
#[derive(Debug)]
struct CountedBytes {
    bytes: Vec<u8>,
    room: PageBytes,
}

impl PageBytes {
    /// Whether large pages would be too much.
    pub fn is_short(&self) -> bool {
        self.held() >= PAGES_BYTES_MAX
    }

    /// How much there is.
    pub fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// How large a page may be.
    pub fn page_bytes(&self) -> usize {
        if self.is_short() { PAGE_SMALL_BYTES } else { PAGE_BYTES }
    }

    /// Counts a page for as long as anything of it is there.
    pub fn hold(&self, mut bytes: Vec<u8>) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        // The spare capacity of a growing buffer must not count against the reader.
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(CountedBytes { bytes, room: self.clone() })
    }
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        let before = self.room.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        assert!(before >= self.bytes.len(), "what is let go of was counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_small_while_those_of_stalled_readers_fill_the_room_and_large_again_when_they_are_gone() {
        let room = PageBytes::default();
        let page = || room.hold(vec![b'x'; room.page_bytes()]);
        let stalled: Vec<Bytes> = (0..2 * PAGES_BYTES_MAX / PAGE_BYTES).map(|_| page()).collect();
        let held: usize = stalled.iter().map(Bytes::len).sum();
        let naive = stalled.len() * PAGE_BYTES;
        assert!(held < PAGES_BYTES_MAX + naive / 8, "{held}; as large as ever they would hold {naive}");
        assert_eq!(room.page_bytes(), PAGE_SMALL_BYTES);
        let part = stalled.last().unwrap().slice(..1);
        drop(stalled);
        assert_eq!(room.page_bytes(), PAGE_BYTES);
        assert!(room.held() > 0, "a part of a page keeps all of it");
        drop(part);
        assert_eq!(room.held(), 0);
    }
}
