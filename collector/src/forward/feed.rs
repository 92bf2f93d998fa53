//! From the log into a sink: the wanted items of a walk as typed events.

use std::cell::RefCell;
use std::fmt::Write as _;

use afferent_protocol::batch::Header;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;

use super::event::{Content, ForwardEvent};
use super::sink::{PartLimits, Rejection, Sink};
use crate::cloud_event::posted::Posted;
use crate::cloud_event::{EventRenderer, HOLE_SOURCE, UNREADABLE, hole_id, type_of, unreadable_id};
use crate::log::address::{Addresses, EventAddress};
use crate::log::events::{Entry, Event, Item, Unreadable};
use crate::models::order::{Correction, corrected};
use crate::subscribe::{TRIMMED, TakeItems, UNREADABLE_SEVERITY};

/// The part that a sink holds, as the runner sees it.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The offset of each added event.
    pub offsets: Vec<Offset>,
    /// The ingest time of the first added event.
    pub oldest: Option<Timestamp>,
    /// The added event of a part that can have only one.
    pub only: Option<Rejected>,
    /// The event that the sink can never take; the part ends before it.
    pub rejected: Option<Rejected>,
}

/// An event that the destination will perhaps never take, as far as its dead letter needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub address: EventAddress,
    /// The first offset behind it: a hole may be more than one offset.
    pub end: Offset,
    pub source: String,
    pub id: String,
    pub kind: String,
    pub reason: String,
}

/// Adds items to a sink.
pub(super) struct Feed {
    entry: OpenEntry,
    part: Part,
}

/// What the events of the entry have in common that the walk is in.
struct OpenEntry {
    renderer: RefCell<EventRenderer>,
    /// `None` before the first one.
    heads: Option<(Header, EntryHead)>,
    is_own: bool,
    /// The id of the last event of an agent.
    id: String,
    /// Bytes of it that all events of the entry have.
    id_lane: usize,
}

impl Feed {
    pub fn new() -> Self {
        let renderer = RefCell::new(EventRenderer::new());
        let entry = OpenEntry { renderer, heads: None, is_own: false, id: String::new(), id_lane: 0 };
        Self { entry, part: Part::default() }
    }

    /// The added events.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Begins a new part.
    pub fn clear(&mut self) {
        self.part.offsets.clear();
        (self.part.oldest, self.part.only, self.part.rejected) = (None, None, None);
    }

    /// Adds items to `sink`, up to these limits.
    pub fn to<'f>(&'f mut self, sink: &'f mut dyn Sink, limits: PartLimits) -> FeedInto<'f> {
        FeedInto { feed: self, sink, limits, is_recall: false }
    }

    /// Has `sink` recall items.
    pub fn recall<'f>(&'f mut self, sink: &'f mut dyn Sink) -> FeedInto<'f> {
        let limits = sink.limits();
        FeedInto { feed: self, sink, limits, is_recall: true }
    }
}

pub(super) struct FeedInto<'f> {
    feed: &'f mut Feed,
    sink: &'f mut dyn Sink,
    limits: PartLimits,
    is_recall: bool,
}

/// The part that events are added to.
struct Adding<'a> {
    part: &'a mut Part,
    sink: &'a mut dyn Sink,
    limits: PartLimits,
    is_recall: bool,
}

impl Adding<'_> {
    /// Adds one event, which ends before `end`.
    fn add(&mut self, event: &ForwardEvent<'_>, end: Offset) {
        if self.is_recall {
            return self.sink.recall(event);
        }
        if self.part.rejected.is_some() {
            return;
        }
        match self.sink.add(event) {
            Ok(()) => {
                let part = &mut *self.part;
                assert!(part.offsets.last().is_none_or(|last| *last <= event.address.offset), "a walk is in order");
                part.offsets.push(event.address.offset);
                part.oldest = part.oldest.or(event.ingest);
                if self.limits.events_max == 1 {
                    part.only = Some(Rejected::of(event, end, String::new()));
                }
            }
            Err(Rejection(reason)) => self.part.rejected = Some(Rejected::of(event, end, reason)),
        }
    }
}

impl FeedInto<'_> {
    fn split(&mut self) -> (&mut OpenEntry, Adding<'_>) {
        let Self { feed, sink, limits, is_recall } = self;
        let Feed { entry, part } = &mut **feed;
        (entry, Adding { part, sink: &mut **sink, limits: *limits, is_recall: *is_recall })
    }

    fn record(&mut self, event: Event<'_, '_>) {
        let Event { address, record } = event;
        let (OpenEntry { renderer, heads, is_own, id, id_lane }, mut adding) = self.split();
        let (header, head) = heads.as_ref().expect("events follow the beginning of their entry");
        let end = Offset::new(address.offset.get() + 1);
        let (fixed, correction) = corrected(record.event.time, header, head.stamp, head.clock_offset_us());
        let corrected = (correction != Correction::None).then_some(fixed);
        match (&record.event.body, *is_own) {
            (Body::Derived(derived), true) if let Some(posted) = Posted::read(derived.json) => {
                let content = Content::Posted { record, renderer, document: derived.json };
                let event = posted_event(&posted, derived.kind, address, record, corrected, head.stamp, content);
                adding.add(&event, end);
            }
            _ => {
                id.truncate(*id_lane);
                let (stream, epoch, sequence) = (header.stream, header.epoch, record.sequence);
                id.push_str(itoa::Buffer::new().format(sequence.get()));
                adding.add(
                    &ForwardEvent {
                        address,
                        source: header.source.as_str(),
                        id,
                        kind: type_of(&record.event.body),
                        subject: Some(record.event.subject.as_str()),
                        time: Some(record.event.time),
                        corrected,
                        recorded: Some(header.clock.wall),
                        ingest: Some(head.stamp),
                        lane: Some((stream, epoch, sequence)),
                        severity: record.event.body.severity().number(),
                        content: Content::Record { record, renderer },
                    },
                    end,
                );
            }
        }
    }

    fn unreadable(&mut self, unreadable: &Unreadable<'_>) {
        let Unreadable { addresses, index, error, entry } = unreadable;
        let header = entry.header();
        let (OpenEntry { renderer, .. }, mut adding) = self.split();
        let event = ForwardEvent {
            address: addresses.first(),
            source: header.source.as_str(),
            id: &unreadable_id(header, *index),
            kind: UNREADABLE,
            subject: Some(header.source.as_str()),
            time: Some(header.time_first),
            corrected: None,
            recorded: Some(header.clock.wall),
            ingest: Some(entry.ingest()),
            lane: None,
            severity: UNREADABLE_SEVERITY,
            content: Content::Unreadable { header, renderer, index: *index, reason: error.to_string().into() },
        };
        adding.add(&event, addresses.offsets.end);
    }

    fn missing(&mut self, addresses: &Addresses, reason: &str) {
        let event = ForwardEvent {
            address: addresses.first(),
            source: HOLE_SOURCE,
            id: &hole_id(addresses),
            kind: UNREADABLE,
            subject: None,
            time: None,
            corrected: None,
            recorded: None,
            ingest: None,
            lane: None,
            severity: UNREADABLE_SEVERITY,
            content: Content::Hole { addresses, reason },
        };
        self.split().1.add(&event, addresses.offsets.end);
    }
}

/// A posted event with the attributes of its maker.
fn posted_event<'a>(
    posted: &'a Posted<'_>,
    kind: &'a str,
    address: EventAddress,
    record: &'a Record<'_>,
    corrected: Option<Timestamp>,
    ingest: Timestamp,
    content: Content<'a>,
) -> ForwardEvent<'a> {
    ForwardEvent {
        address,
        source: &posted.source,
        id: &posted.id,
        kind,
        subject: Some(record.event.subject.as_str()),
        time: Some(record.event.time),
        corrected,
        recorded: None,
        ingest: Some(ingest),
        lane: None,
        severity: posted.severitynumber,
        content,
    }
}

impl Rejected {
    fn of(event: &ForwardEvent<'_>, end: Offset, reason: String) -> Self {
        let [source, id, kind] = [event.source, event.id, event.kind].map(str::to_owned);
        Self { address: event.address, end, source, id, kind, reason }
    }
}

impl TakeItems for FeedInto<'_> {
    fn begin(&mut self, entry: &Entry<'_>, is_own: bool) {
        let OpenEntry { renderer, heads, is_own: own, id, id_lane } = &mut self.feed.entry;
        (*heads, *own) = (Some((*entry.header(), *entry.head)), is_own);
        let Header { stream, epoch, .. } = entry.header();
        id.clear();
        write!(id, "{}-{epoch}-", stream.name()).expect("a growing text takes any text");
        *id_lane = id.len();
        let renderer = renderer.get_mut();
        renderer.set_own(is_own);
        renderer.entry(entry.partition, entry.head, entry.header());
    }

    fn item(&mut self, item: Item<'_, '_>) {
        match item {
            Item::Event(event) => self.record(event),
            Item::Unreadable(unreadable) => self.unreadable(&unreadable),
            Item::Hole(hole) => self.missing(&hole.addresses, hole.reason),
            Item::Removed(removed) => self.missing(&removed.addresses, TRIMMED),
        }
    }

    fn is_full(&self) -> bool {
        let part = &self.feed.part;
        let is_full = part.rejected.is_some()
            || part.offsets.len() >= self.limits.events_max
            || self.sink.bytes() >= self.limits.bytes_max;
        is_full && !self.is_recall
    }
}
