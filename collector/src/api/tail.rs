//! Pages at the log's end, rendered once for all followers.
//!
//! The log is immutable: the rendering of some offsets is right for every other reader of them. Followers without a
//! filter take a whole page, the others its lines that they want; either way they continue behind it, so that however
//! many there are, soon all of them share one chain of pages. A thousand followers cost as much as one, and their
//! sockets.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_protocol::ids::Offset;
use axum::body::Bytes;

use super::budget::PageBytes;
use crate::limits::{TAIL_BYTES_MAX, TAIL_EVENTS_MAX, TAIL_FILTERED_MIN, TAIL_PAGES_MAX};
use crate::subscribe::{Filter, PageLines};

/// A page of server-sent events without a filter.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Where it begins, and where to go on.
    pub first: Offset,
    pub next: Offset,
    pub bytes: Bytes,
    pub lines: PageLines,
}

impl Rendered {
    /// What a reader wants of it who has everything before `from`.
    pub fn of(&self, from: Offset, filter: &Filter, room: &PageBytes) -> Bytes {
        if from <= self.first && filter.is_open() {
            return self.bytes.clone();
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        self.lines.wanted(from, filter, &mut |range| match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        });
        if let [range] = ranges.as_slice()
            && range.len() >= self.bytes.len() / 8
        {
            // A contiguous part is shared as well; a small one would keep all of the page in memory.
            return self.bytes.slice(range.clone());
        }
        let mut wanted = Vec::with_capacity(ranges.iter().map(Range::len).sum());
        ranges.into_iter().for_each(|range| wanted.extend_from_slice(&self.bytes[range]));
        room.hold(wanted)
    }
}

/// The newest pages, as long as somebody follows.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pages: Mutex<VecDeque<Arc<Rendered>>>,
    followers: AtomicUsize,
    /// Those of them with a filter.
    filtered: AtomicUsize,
    /// Held by whoever renders one: the others wait, and then find it.
    pub rendering: tokio::sync::Mutex<()>,
}

/// A follower, as long as it is there.
#[derive(Debug)]
pub(super) struct TailFollower {
    pub tail: Arc<Tail>,
    is_filtered: bool,
}

impl TailFollower {
    pub fn new(tail: &Arc<Tail>, is_filtered: bool) -> Self {
        tail.followers.fetch_add(1, Ordering::Relaxed);
        tail.filtered.fetch_add(usize::from(is_filtered), Ordering::Relaxed);
        Self { tail: Arc::clone(tail), is_filtered }
    }
}

impl Drop for TailFollower {
    fn drop(&mut self) {
        self.tail.filtered.fetch_sub(usize::from(self.is_filtered), Ordering::Relaxed);
        // Under the lock, so that no page is added after the last follower has left.
        let mut pages = self.tail.pages();
        let before = self.tail.followers.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a follower that leaves was counted");
        if before == 1 {
            *pages = VecDeque::new();
        }
    }
}

impl Tail {
    /// Whether a reader there is close enough to the end to share pages with others.
    pub fn is_near(at: Offset, end: Offset) -> bool {
        end.get().saturating_sub(at.get()) <= TAIL_EVENTS_MAX
    }

    /// Whether there are so many followers with filters that one who renders everything saves more than it costs.
    pub fn is_crowded(&self) -> bool {
        self.filtered.load(Ordering::Relaxed) >= TAIL_FILTERED_MIN
    }

    /// A page that holds what follows `at`.
    pub fn find(&self, at: Offset) -> Option<Arc<Rendered>> {
        self.pages().iter().rev().find(|page| (page.first..page.next).contains(&at)).cloned()
    }

    /// Keeps a page for others. The oldest ones go: who is that far behind reads for itself.
    pub fn keep(&self, page: Arc<Rendered>) {
        let mut pages = self.pages();
        if self.followers.load(Ordering::Relaxed) == 0 {
            return;
        }
        assert!(page.first <= page.next, "a page does not end before it begins");
        pages.push_back(page);
        let mut bytes: usize = pages.iter().map(|page| page.bytes.len()).sum();
        while pages.len() > TAIL_PAGES_MAX || (bytes > TAIL_BYTES_MAX && pages.len() > 1) {
            bytes -= pages.pop_front().map_or(0, |oldest| oldest.bytes.len());
        }
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Arc<Rendered>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAGE_BYTES;

    fn page(first: u64, room: &PageBytes) -> Arc<Rendered> {
        let (next, bytes) = (Offset::new(first + 1), room.hold(vec![b'x'; PAGE_BYTES]));
        Arc::new(Rendered { first: Offset::new(first), next, bytes, lines: PageLines::default() })
    }

    #[test]
    fn pages_are_kept_up_to_so_many_bytes_and_no_longer_than_somebody_follows() {
        let (tail, room) = (Arc::<Tail>::default(), PageBytes::default());
        let (one, two) = (TailFollower::new(&tail, false), TailFollower::new(&tail, true));
        let pages = TAIL_PAGES_MAX as u64;
        (0..pages).for_each(|first| tail.keep(page(first, &room)));
        assert!(room.held() <= TAIL_BYTES_MAX, "{} bytes", room.held());
        // The control: by their number alone they would be more.
        const { assert!(TAIL_PAGES_MAX * PAGE_BYTES > 2 * TAIL_BYTES_MAX) };
        assert!(tail.find(Offset::new(pages - 1)).is_some() && tail.find(Offset::ZERO).is_none());
        drop(one);
        assert!(room.held() > 0, "one still follows");
        drop(two);
        assert_eq!(room.held(), 0);
        tail.keep(page(pages, &room));
        assert_eq!(room.held(), 0, "nobody would let go of it");
    }
}
