//! Reports of an agent about itself and its computer: subjects below its own name.

use super::LoggedEvent;

/// The rest of a subject behind its source's name; `None` where it does not begin with that.
pub(super) fn below_source<'s>(seen: &LoggedEvent<'s>) -> Option<&'s str> {
    seen.subject.text.strip_prefix(seen.batch.source.as_str())?.strip_prefix('/')
}

/// The rest of a subject behind the ring log of its source: `used` for `press-88/ring/used`.
pub(super) fn of_ring<'s>(seen: &LoggedEvent<'s>) -> Option<&'s str> {
    below_source(seen)?.strip_prefix("ring/")
}
