//! What an agent reports of itself and of the computer that it runs on: subjects below its own name.

use super::Seen;

/// What of a subject follows its source's name; `None` where it does not begin with that.
pub(super) fn below_source<'s>(seen: &Seen<'s>) -> Option<&'s str> {
    seen.subject.text.strip_prefix(seen.batch.source.as_str())?.strip_prefix('/')
}

/// What of a subject follows the ring log of its source: `used` for `press-88/ring/used`.
pub(super) fn of_ring<'s>(seen: &Seen<'s>) -> Option<&'s str> {
    below_source(seen)?.strip_prefix("ring/")
}
