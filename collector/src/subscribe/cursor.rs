//! A reader's cursor: its filter, how far it has come, and the typed items that it yields.

use std::ops::ControlFlow;

use afferent_protocol::ids::{Offset, SourceId, Timestamp};

use super::Filter;
use super::share::SourceShare;
use crate::cloud_event::HOLE_SOURCE;
use crate::limits::{LOG_READ_BYTES, PAGE_SCAN_BYTES};
use crate::log::address::Addresses;
use crate::log::events::{self, Entry, Event, Hole, Item, OpenedEntry, Unreadable, Walk, WalkItem};
use crate::log::records::Decoder;
use crate::log::{ReadLog, ReadLogError, Wanted};

/// Why a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// More events can be read now.
    More,
    /// All durable events were read.
    AtEnd,
    /// All requested events were read.
    Done,
}

/// Takes the wanted items in the order of their addresses.
pub(crate) trait TakeItems {
    /// Begins an entry; `is_own` when the collector has made it.
    fn begin(&mut self, entry: &Entry<'_>, is_own: bool);
    /// The next item.
    fn item(&mut self, item: Item<'_, '_>);
    /// Whether it takes no more items for now.
    fn is_full(&self) -> bool;
}

/// A reader's offset and filter.
pub(crate) struct ReadCursor {
    next: Offset,
    /// The end of the read; `None` follows the log forever.
    end: Option<Offset>,
    /// Number of items still wanted.
    left: u64,
    filter: Filter,
    /// Ingest times from the first one on and before the second one; `None` for all.
    ingested: Option<(Timestamp, Timestamp)>,
    wanted: Wanted,
    share: SourceShare,
    /// The collector's own name, once a log has supplied it.
    own: Option<SourceId>,
    scratch: Vec<u8>,
    decoder: Decoder,
}

impl ReadCursor {
    /// Follows the log from `next` on, forever.
    pub fn follow(next: Offset, filter: Filter) -> Self {
        Self {
            next,
            end: None,
            left: u64::MAX,
            wanted: filter.wanted(),
            filter,
            ingested: None,
            share: SourceShare::default(),
            own: None,
            scratch: Vec::new(),
            decoder: Decoder::default(),
        }
    }

    /// Reads from `next` up to `end`, and `limit` items at most.
    pub fn part(next: Offset, end: Offset, limit: u64, filter: Filter) -> Self {
        Self { end: Some(end), left: limit, ..Self::follow(next, filter) }
    }

    /// Only entries ingested at `from` or later and before `until`.
    pub fn ingested(mut self, from: Timestamp, until: Timestamp) -> Self {
        self.ingested = Some((from, until));
        self.wanted.ingest = self.ingested;
        self
    }

    /// Entries of this name are the collector's own, where no log says so.
    #[cfg(feature = "parquet")]
    pub fn owned_by(self, own: SourceId) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Only events of this share.
    pub(super) fn shared(self, share: SourceShare) -> Self {
        Self { share, ..self }
    }

    /// The first offset that was not read yet.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Continues at `next`: earlier events came from shared pages.
    pub fn continue_at(&mut self, next: Offset) {
        assert!(next >= self.next, "a reader only goes forward");
        self.next = next;
    }

    /// Whether events are left out.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_open() || self.ingested.is_some()
    }

    /// The filter of the events.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether all requested events were yielded.
    pub fn is_done(&self) -> bool {
        self.left == 0 || self.end.is_some_and(|end| self.next >= end)
    }

    /// Frees buffers of more than this number of bytes.
    pub fn shrink(&mut self, kept_max: usize) {
        if self.scratch.capacity() > kept_max {
            self.scratch = Vec::new();
        }
        if self.decoder.capacity() > kept_max {
            self.decoder = Decoder::default();
        }
    }

    /// Passes the next wanted items to `sink`, until that is full or a bounded part of the log was read. Blocks.
    pub fn advance(&mut self, log: &dyn ReadLog, sink: &mut impl TakeItems) -> Result<Page, ReadLogError> {
        let durable_end = log.kept().end;
        let end = self.end.map_or(durable_end, |end| end.min(durable_end));
        self.own = log.collector_name();
        let (wanted, mut scratch) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.scratch));
        let (mut scanned, before) = (0, self.next);
        let walked = Walk::over(log, self.next..end).wanting(&wanted).run(&mut scratch, &mut |part| {
            scanned += self.part_of_log(part, end, sink);
            let is_enough = self.left == 0 || sink.is_full() || scanned >= PAGE_SCAN_BYTES;
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (self.wanted, self.scratch) = (wanted, scratch);
        if walked?.is_continue() {
            self.next = self.next.max(end);
        }
        assert!(before <= self.next, "a reader only goes forward");
        assert!(self.next <= end.max(before), "a reader does not pass what was durable when it began");
        if self.next >= end {
            self.shrink(0);
        }
        Ok(match self.end {
            _ if self.left == 0 => Page::Done,
            Some(end) if self.next >= end => Page::Done,
            _ if self.next >= end => Page::AtEnd,
            _ => Page::More,
        })
    }

    /// Passes the wanted items of one entry, which does not come from a walk.
    pub fn one_entry(&mut self, entry: Entry<'_>, sink: &mut impl TakeItems) {
        let end = self.end.unwrap_or(Offset::new(u64::MAX));
        if entry.first().min(end) > self.next {
            let addresses = Addresses { partition: entry.partition, offsets: self.next..entry.first().min(end) };
            self.missing(Item::Hole(Hole { addresses: addresses.clone(), reason: events::LOST }), &addresses, sink);
        }
        self.entry(entry, end, sink);
    }

    /// Passes the wanted items of a part of the log that begins before `end`; returns about how many bytes were read.
    fn part_of_log(&mut self, part: WalkItem<'_>, end: Offset, sink: &mut impl TakeItems) -> usize {
        match part {
            WalkItem::Entry(entry) => {
                self.entry(entry, end, sink);
                entry.head.entry_len()
            }
            WalkItem::Hole(hole) => {
                let addresses = hole.addresses.clone();
                self.missing(Item::Hole(hole), &addresses, sink);
                LOG_READ_BYTES
            }
            WalkItem::Removed(removed) => {
                let addresses = removed.addresses.clone();
                self.missing(Item::Removed(removed), &addresses, sink);
                0
            }
        }
    }

    /// Passes addresses that cannot be read. The sources of their events are unknown: the item goes to the reader whose
    /// share has the log's name.
    fn missing(&mut self, item: Item<'_, '_>, addresses: &Addresses, sink: &mut impl TakeItems) {
        let is_wanted = self.left > 0 && self.filter.takes_hole();
        if is_wanted && self.share.takes(HOLE_SOURCE, addresses.offsets.start) {
            sink.item(item);
            self.left -= 1;
        }
        self.next = addresses.offsets.end;
    }

    /// Passes the wanted items of an entry, until `sink` is full.
    fn entry(&mut self, entry: Entry<'_>, end: Offset, sink: &mut impl TakeItems) {
        let (header, entry_end) = (entry.header(), entry.end().min(end));
        let is_own = self.own == Some(header.source);
        let is_here = entry_end > self.next && entry.first() < end;
        let is_in_time = self.ingested.is_none_or(|(from, until)| (from..until).contains(&entry.ingest()));
        // Removed events yield no items: the offsets continue behind them.
        let has_records = !header.is_emptied();
        if !is_here || !has_records || !is_in_time || !self.filter.takes_batch(header, is_own) {
            self.next = self.next.max(entry_end);
            return;
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        self.opened(&mut entry.open(&mut decoder), is_own, entry_end, sink);
        self.decoder = decoder;
    }

    fn opened(&mut self, opened: &mut OpenedEntry<'_>, is_own: bool, entry_end: Offset, sink: &mut impl TakeItems) {
        let entry = opened.entry();
        let source = entry.header().source.as_str();
        if opened.subjects().is_some_and(|subjects| !self.filter.takes_subjects(subjects, source)) {
            self.next = entry_end;
            return;
        }
        sink.begin(&entry, is_own);
        opened.each(|item| match item {
            Item::Event(event) => self.event(event, (source, is_own), entry_end, sink),
            Item::Unreadable(unreadable) => self.unreadable(unreadable, entry_end, sink),
            Item::Hole(_) | Item::Removed(_) => unreachable!("an entry that was not emptied has records"),
        });
    }

    #[inline]
    fn event(
        &mut self,
        event: Event<'_, '_>,
        (source, is_own): (&str, bool),
        entry_end: Offset,
        sink: &mut impl TakeItems,
    ) -> ControlFlow<()> {
        let offset = event.address.offset;
        if offset < self.next {
            return ControlFlow::Continue(());
        }
        if offset >= entry_end || self.left == 0 || sink.is_full() {
            return ControlFlow::Break(());
        }
        let of = &event.record.event;
        if self.filter.takes(of, source, is_own) && self.share.takes_event(source, is_own, &of.body, offset) {
            sink.item(Item::Event(event));
            self.left -= 1;
        }
        self.next = Offset::new(offset.get() + 1);
        ControlFlow::Continue(())
    }

    /// Passes the rest of an entry that cannot be decoded, as one item at its first event.
    fn unreadable(
        &mut self,
        unreadable: Unreadable<'_>,
        entry_end: Offset,
        sink: &mut impl TakeItems,
    ) -> ControlFlow<()> {
        let offset = unreadable.addresses.offsets.start;
        let is_behind = offset >= entry_end;
        if self.left == 0 || sink.is_full() || is_behind {
            return ControlFlow::Break(());
        }
        let header = unreadable.entry.header();
        // Items that were yielded before are not yielded again.
        let is_ahead = offset >= self.next;
        if is_ahead && self.filter.takes_unreadable(header) && self.share.takes(header.source.as_str(), offset) {
            sink.item(Item::Unreadable(unreadable));
            self.left -= 1;
        }
        self.next = entry_end;
        ControlFlow::Continue(())
    }
}
