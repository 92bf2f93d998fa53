//! Items as CloudEvents: events, and one event for each unreadable item.

use afferent_protocol::event::{Body, Event};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};

use super::PageLines;
use super::cursor::TakeItems;
use super::facts::{Facts, LineKind};
use super::filter::UNREADABLE_SEVERITY;
use super::framing::{Format, Framing};
use crate::cloud_event::posted::Posted;
use crate::cloud_event::{self, HOLE_SOURCE};
use crate::log::ReadLog;
use crate::log::address::Addresses;
use crate::log::events::{Entry, Item};

/// The reason in the event for the removed beginning of the log.
pub(crate) const TRIMMED: &str = "retention has removed these events; the `trimmed` event of the collector says why";

/// Renders items, page after page.
pub(super) struct PageRenderer {
    framing: Framing,
    writer: cloud_event::EventRenderer,
    /// The source of the current entry, and whether the collector has made it.
    source: Option<SourceId>,
    is_own: bool,
    /// The facts of the rendered events, if readers select theirs among them.
    lines: Option<PageLines>,
}

impl PageRenderer {
    pub fn new(format: Format) -> Self {
        let (framing, writer) = (Framing::new(format), cloud_event::EventRenderer::new());
        Self { framing, writer, source: None, is_own: false, lines: None }
    }

    /// Keeps the facts of the events of every page.
    pub fn with_lines(self) -> Self {
        Self { lines: Some(PageLines::default()), ..self }
    }

    /// The lines of the last page; empty on a second call.
    pub fn take_lines(&mut self) -> PageLines {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Events rendered so far.
    pub fn rendered(&self) -> u64 {
        self.framing.framed()
    }

    /// Renders ids by the log's current terms.
    pub fn follow_terms(&mut self, log: &dyn ReadLog) {
        self.framing.follow_terms(log);
    }

    /// Renders into `out`, which is full at this number of bytes.
    pub fn to<'r>(&'r mut self, out: &'r mut Vec<u8>, full_at: usize) -> impl TakeItems + use<'r> {
        Into { rendering: self, out, full_at }
    }
}

struct Into<'r> {
    rendering: &'r mut PageRenderer,
    out: &'r mut Vec<u8>,
    full_at: usize,
}

impl Into<'_> {
    /// Renders an event for offsets without an entry.
    fn missing(&mut self, addresses: &Addresses, reason: &str) {
        let offsets = &addresses.offsets;
        self.rendering.framing.open(offsets.start, self.out);
        cloud_event::put_hole(self.out, addresses, reason);
        // A reader that begins within it gets it as well.
        self.close(Offset::new(offsets.end.get() - 1), || {
            let (subject, kind) = (String::new(), cloud_event::UNREADABLE.to_owned());
            let (source, time) = (HOLE_SOURCE.to_owned(), Timestamp::default());
            Facts { line: LineKind::Hole, time, subject, kind, source, severity: UNREADABLE_SEVERITY }
        });
    }

    fn close(&mut self, offset: Offset, facts: impl FnOnce() -> Facts) {
        self.rendering.framing.close(self.out);
        if let Some(lines) = &mut self.rendering.lines {
            lines.push(offset, self.out.len(), facts());
        }
    }
}

impl TakeItems for Into<'_> {
    fn begin(&mut self, entry: &Entry<'_>, is_own: bool) {
        let PageRenderer { writer, source, is_own: known, .. } = &mut *self.rendering;
        (*source, *known) = (Some(entry.header().source), is_own);
        writer.set_own(is_own);
        writer.entry(entry.partition, entry.head, entry.header());
    }

    #[inline]
    fn item(&mut self, item: Item<'_, '_>) {
        match item {
            Item::Event(event) => {
                let (offset, is_own) = (event.address.offset, self.rendering.is_own);
                self.rendering.framing.open(offset, self.out);
                self.rendering.writer.put(self.out, event.record);
                let source = self.rendering.source.expect("events follow the beginning of their entry");
                self.close(offset, || facts_of(&event.record.event, source.as_str(), is_own));
            }
            Item::Unreadable(unreadable) => {
                let (offset, header) = (unreadable.addresses.offsets.start, unreadable.entry.header());
                self.rendering.framing.open(offset, self.out);
                self.rendering.writer.put_unreadable(self.out, header, unreadable.index, &unreadable.error.to_string());
                self.close(offset, || {
                    let (subject, kind) = (header.source.to_string(), cloud_event::UNREADABLE.to_owned());
                    let (source, time) = (subject.clone(), header.time_first);
                    Facts { line: LineKind::Batch, time, subject, kind, source, severity: UNREADABLE_SEVERITY }
                });
            }
            Item::Hole(hole) => self.missing(&hole.addresses, hole.reason),
            Item::Removed(removed) => self.missing(&removed.addresses, TRIMMED),
        }
    }

    fn is_full(&self) -> bool {
        self.out.len() >= self.full_at
    }
}

/// The facts of an event; of a posted one by its maker's attributes.
fn facts_of(event: &Event<'_>, source: &str, is_own: bool) -> Facts {
    let posted = match &event.body {
        Body::Derived(derived) if is_own => Posted::read(derived.json),
        _ => None,
    };
    let (source, severity) = match posted {
        Some(posted) => (posted.source.into_owned(), posted.severitynumber),
        None => (source.to_owned(), event.body.severity().number()),
    };
    let (subject, kind) = (event.subject.as_str().to_owned(), cloud_event::type_of(&event.body).to_owned());
    Facts { line: LineKind::Event, time: event.time, subject, kind, source, severity }
}
