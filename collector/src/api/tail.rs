//! Pages at the log's end, rendered once for everybody who follows it without a filter.
//!
//! The log is immutable: what was rendered of some offsets is right for every other reader of them. Followers that stand at
//! the same offset get the same page and go on from the same next one, so that however many there are, soon all of them
//! share one chain of pages. A thousand followers cost what one does, and their sockets.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use afferent_protocol::ids::Offset;
use axum::body::Bytes;

use crate::limits::{TAIL_EVENTS_MAX, TAIL_PAGES_MAX};
use crate::subscribe::Page;

/// A page of server-sent events without a filter.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    /// Where it begins, and where to go on.
    pub first: Offset,
    pub next: Offset,
    pub bytes: Bytes,
    pub page: Page,
}

/// The newest pages.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pages: Mutex<VecDeque<Rendered>>,
    /// Held by whoever renders one: the others wait, and then find it.
    pub rendering: tokio::sync::Mutex<()>,
}

impl Tail {
    /// Whether a reader there is close enough to the end to share pages with others.
    pub fn is_near(at: Offset, end: Offset) -> bool {
        end.get().saturating_sub(at.get()) <= TAIL_EVENTS_MAX
    }

    /// The page that begins there.
    pub fn find(&self, at: Offset) -> Option<Rendered> {
        self.pages().iter().rev().find(|page| page.first == at).cloned()
    }

    /// Keeps a page for others.
    pub fn keep(&self, page: Rendered) {
        let mut pages = self.pages();
        if pages.len() >= TAIL_PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(page);
    }

    fn pages(&self) -> MutexGuard<'_, VecDeque<Rendered>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
