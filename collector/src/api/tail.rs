//! Pages at the log's end, rendered once for everybody who follows it.
//!
//! The log is immutable: what was rendered of some offsets is right for every other reader of them. Followers without a
//! filter take a page as it is, the others the lines of it that they want; either way they go on behind it, so that however
//! many there are, soon all of them share one chain of pages. A thousand followers cost what one does, and their sockets.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_protocol::ids::Offset;
use axum::body::Bytes;

use super::budget::Room;
use crate::limits::{TAIL_EVENTS_MAX, TAIL_FILTERED_MIN, TAIL_PAGES_MAX};
use crate::subscribe::{Filter, Lines};

/// A page of server-sent events without a filter.
#[derive(Debug)]
pub(super) struct Rendered {
    /// Where it begins, and where to go on.
    pub first: Offset,
    pub next: Offset,
    pub bytes: Bytes,
    pub lines: Lines,
}

impl Rendered {
    /// What a reader wants of it who has everything before `from`.
    pub fn of(&self, from: Offset, filter: &Filter, room: &Room) -> Bytes {
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
            // What stands in one piece is shared as well; a small one would keep all of the page for itself.
            return self.bytes.slice(range.clone());
        }
        let mut wanted = Vec::with_capacity(ranges.iter().map(Range::len).sum());
        ranges.into_iter().for_each(|range| wanted.extend_from_slice(&self.bytes[range]));
        room.hold(wanted)
    }
}

/// The newest pages.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pages: Mutex<VecDeque<Arc<Rendered>>>,
    /// Followers with a filter.
    filtered: AtomicUsize,
    /// Held by whoever renders one: the others wait, and then find it.
    pub rendering: tokio::sync::Mutex<()>,
}

/// A follower with a filter, as long as it is there.
#[derive(Debug)]
pub(super) struct Filtered(Arc<Tail>);

impl Filtered {
    pub fn new(tail: &Arc<Tail>) -> Self {
        tail.filtered.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tail))
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        self.0.filtered.fetch_sub(1, Ordering::Relaxed);
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

    /// Keeps a page for others.
    pub fn keep(&self, page: Arc<Rendered>) {
        let mut pages = self.pages();
        if pages.len() >= TAIL_PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(page);
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Arc<Rendered>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
