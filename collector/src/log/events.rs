//! The one typed walk over a log: an item for every offset, in order, each with its address.
//!
//! | item | stands for |
//! |---|---|
//! | [`Item::Event`] | one event, decoded |
//! | [`Item::Unreadable`] | events that cannot be decoded: a whole batch, or the rest of one |
//! | [`Item::Hole`] | offsets that the log never had, or has lost |
//! | [`Item::Removed`] | events that retention has removed: the samples of a batch, or the beginning of the log |
//!
//! One rule for everything that cannot be read:
//! - Every offset of a walk that no index skips is in exactly one item, and items come in the order of their offsets.
//! - A batch is decoded up to its first event that cannot be; from there up to its end it is `Unreadable`, once. The
//!   events decoded before count. A batch whose dictionary or codec cannot be read is `Unreadable` as a whole.
//! - Bytes behind the last event of a batch make an `Unreadable` of no offsets: no event is missing, and yet the batch
//!   is not what its sender should have written.
//! - Bytes that the disk returns changed are a `Hole`, like offsets without an entry; the walk continues behind it.
//!   Before the first kept offset there is no hole: that is `Removed`.
//! - Only a refusing disk ends a walk with an error: it may work later.
//!
//! A walk passes on whole entries ([`WalkItem::Entry`]), not decoded: a reader looks at the head, then at the subjects
//! ([`Entry::open`]), and decodes an entry only if it may be wanted ([`OpenedEntry::each`]).

use std::ops::{ControlFlow, Range};

use afferent_protocol::batch::{Batch, Header};
use afferent_protocol::codec::DecodeError;
use afferent_protocol::ids::{Offset, Subject, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;

use super::Wanted;
use super::address::{Addresses, EventAddress, Partition};
use super::read_log::{ReadLog, ReadLogError};
use super::records::{Decoder, Records};

/// Reason for a hole between two entries of a log that was opened.
pub(crate) const LOST: &str = "the log has a gap here, found when it was opened";
/// Reason for a missing end: nothing follows the last entry, although the log continues.
const LOST_AT_END: &str = "the log ends with a gap";

/// An entry of the log, not decoded.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// Its partition.
    pub partition: Partition,
    /// Its head: offset, ingest stamp, offset of the source's clock.
    pub head: &'e EntryHead,
    /// Its batch.
    pub batch: &'e Batch<'e>,
}

impl<'e> Entry<'e> {
    /// An entry of this partition.
    pub fn new(partition: Partition, head: &'e EntryHead, batch: &'e Batch<'e>) -> Self {
        Self { partition, head, batch }
    }

    /// The head of its batch.
    pub fn header(&self) -> &'e Header {
        self.batch.header()
    }

    /// The offset of its first event.
    pub fn first(&self) -> Offset {
        Offset::new(self.head.ordinal)
    }

    /// Its exclusive end.
    pub fn end(&self) -> Offset {
        Offset::new(self.head.end_ordinal())
    }

    /// When the collector appended it.
    pub fn ingest(&self) -> Timestamp {
        self.head.stamp
    }

    /// Opens its batch.
    pub fn open(self, decoder: &'e mut Decoder) -> OpenedEntry<'e> {
        assert_eq!(self.head.count, self.header().count, "an entry has as many offsets as its batch has events");
        OpenedEntry { entry: self, records: decoder.open(self.batch) }
    }

    fn addresses(&self, offsets: Range<Offset>) -> Addresses {
        Addresses { partition: self.partition, offsets }
    }
}

/// An entry whose dictionary was read.
#[derive(Debug)]
pub struct OpenedEntry<'e> {
    entry: Entry<'e>,
    records: Records<'e>,
}

impl<'e> OpenedEntry<'e> {
    /// The entry.
    pub fn entry(&self) -> Entry<'e> {
        self.entry
    }

    /// The subjects of its events; `None` when they cannot be read.
    pub fn subjects(&self) -> Option<&[Subject<'e>]> {
        self.records.subjects()
    }

    /// Passes its items to `each`, in order, until that breaks. Call it once.
    #[inline]
    pub fn each(&mut self, mut each: impl FnMut(Item<'_, 'e>) -> ControlFlow<()>) {
        let Self { entry, records } = self;
        let entry = *entry;
        if entry.header().is_emptied() {
            let addresses = entry.addresses(entry.first()..entry.end());
            let _ = each(Item::Removed(Removed { addresses, by: Retention::Emptied }));
            return;
        }
        let unreadable = |index: u32, error| {
            let from = Offset::new(entry.head.ordinal + u64::from(index));
            Item::Unreadable(Unreadable { addresses: entry.addresses(from..entry.end()), index, error, entry })
        };
        let records = match records.opened() {
            Ok(records) => records,
            Err(error) => {
                let _ = each(unreadable(0, error));
                return;
            }
        };
        // A decoded record lies on the stack, and is large: it is not moved.
        for (index, record) in (0..).zip(records) {
            let item = match &record {
                Ok(record) => {
                    let offset = Offset::new(entry.head.ordinal + u64::from(index));
                    Item::Event(Event { address: EventAddress { partition: entry.partition, offset }, record })
                }
                Err(error) => unreadable(index, *error),
            };
            if each(item).is_break() {
                return;
            }
        }
    }
}

/// An item of a walk.
#[derive(Clone, Debug)]
pub enum Item<'r, 'e> {
    /// An event.
    Event(Event<'r, 'e>),
    /// Events that cannot be decoded.
    Unreadable(Unreadable<'e>),
    /// Offsets without a readable entry.
    Hole(Hole<'e>),
    /// Offsets that retention has removed.
    Removed(Removed),
}

/// An event of an entry. Head and batch of the entry give its ingest time and its source's clock.
#[derive(Clone, Copy, Debug)]
pub struct Event<'r, 'e> {
    /// Its address.
    pub address: EventAddress,
    /// Its sequence, and the event itself.
    pub record: &'r Record<'e>,
}

/// Events of an entry that cannot be decoded, up to the entry's end.
#[derive(Clone, Debug)]
pub struct Unreadable<'e> {
    /// Their addresses; an empty range when bytes follow the last event.
    pub addresses: Addresses,
    /// Index of the first of them in the batch.
    pub index: u32,
    /// The error of decoding.
    pub error: DecodeError,
    /// The entry.
    pub entry: Entry<'e>,
}

/// Offsets without a readable entry.
#[derive(Clone, Debug)]
pub struct Hole<'h> {
    /// Their addresses.
    pub addresses: Addresses,
    /// The cause, for people.
    pub reason: &'h str,
}

/// Events that retention has removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The addresses of the events.
    pub addresses: Addresses,
    /// How it has removed them.
    pub by: Retention,
}

/// The two ways in which retention removes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It has removed the log's beginning.
    Trimmed,
    /// It has emptied a batch of samples; the batch's head stays.
    Emptied,
}

/// An item of a walk by whole entries.
#[derive(Clone, Debug)]
pub enum WalkItem<'p> {
    /// An entry.
    Entry(Entry<'p>),
    /// Offsets without a readable entry.
    Hole(Hole<'p>),
    /// The log's beginning, which retention has removed.
    Removed(Removed),
}

impl WalkItem<'_> {
    /// Its first offset. An entry may begin before the walk does.
    pub fn first(&self) -> Offset {
        match self {
            Self::Entry(entry) => entry.first(),
            Self::Hole(Hole { addresses, .. }) | Self::Removed(Removed { addresses, .. }) => addresses.offsets.start,
        }
    }

    /// Its exclusive end. An entry may end behind the walk.
    pub fn end(&self) -> Offset {
        match self {
            Self::Entry(entry) => entry.end(),
            Self::Hole(Hole { addresses, .. }) | Self::Removed(Removed { addresses, .. }) => addresses.offsets.end,
        }
    }
}

impl<'p> WalkItem<'p> {
    /// Passes its items to `each`, in order, until that breaks. An entry that begins before the walk passes all of its
    /// items.
    #[inline]
    pub fn each(self, decoder: &'p mut Decoder, mut each: impl FnMut(Item<'_, 'p>) -> ControlFlow<()>) {
        let _ = match self {
            Self::Entry(entry) => return entry.open(decoder).each(each),
            Self::Hole(hole) => each(Item::Hole(hole)),
            Self::Removed(removed) => each(Item::Removed(removed)),
        };
    }
}

/// Takes one item after the other, until it returns `Break`.
pub type EachWalkItem<'f> = dyn FnMut(WalkItem<'_>) -> ControlFlow<()> + 'f;

/// A walk over the offsets of one partition.
pub struct Walk<'l> {
    log: &'l dyn ReadLog,
    at: Offset,
    until: Offset,
    wanted: Option<&'l Wanted>,
}

impl<'l> Walk<'l> {
    /// A walk over these offsets, as far as they are durable.
    pub fn over(log: &'l dyn ReadLog, offsets: Range<Offset>) -> Self {
        Self { log, at: offsets.start, until: offsets.end.min(log.kept().end), wanted: None }
    }

    /// Skips offsets that cannot hold wanted events, as far as indexes show.
    pub fn wanting(self, wanted: &'l Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Passes all parts to `each`, in order; returns whether that has taken all of them, or has broken. Entries are
    /// read into `scratch`. Blocks.
    ///
    /// # Errors
    /// When the disk refuses. The parts passed on before count.
    pub fn run(mut self, scratch: &mut Vec<u8>, each: &mut EachWalkItem<'_>) -> Result<ControlFlow<()>, ReadLogError> {
        let kept = self.log.kept().start;
        if self.at < kept.min(self.until) && self.missing(kept.min(self.until), LOST, each).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        while self.at < self.until {
            let Some(stretch) = self.next_range() else { break };
            self.at = self.at.max(stretch.start);
            if self.read(stretch.end.min(self.until), scratch, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The next offsets that can hold wanted events.
    fn next_range(&self) -> Option<Range<Offset>> {
        let Some(wanted) = self.wanted else { return Some(self.at..self.until) };
        self.log.next_range(self.at, wanted).filter(|stretch| stretch.start < self.until)
    }

    /// Passes on the parts before `until`; ends there, or behind it, unless `each` breaks.
    fn read(
        &mut self,
        until: Offset,
        scratch: &mut Vec<u8>,
        each: &mut EachWalkItem<'_>,
    ) -> Result<ControlFlow<()>, ReadLogError> {
        while self.at < until {
            let (log, mut flow) = (self.log, ControlFlow::Continue(()));
            let read = log.read_part(self.at, until, scratch, &mut |head, batch| {
                let entry = Entry { partition: log.partition(), head, batch };
                if entry.first() > self.at {
                    flow = self.missing(entry.first().min(until), LOST, each);
                }
                if flow.is_continue() && entry.first() < until {
                    flow = each(WalkItem::Entry(entry));
                    self.at = self.at.max(entry.end());
                }
                if self.at >= until { ControlFlow::Break(()) } else { flow }
            });
            if flow.is_break() {
                return Ok(flow);
            }
            match read {
                Ok(()) if self.at >= until => {}
                Ok(()) => flow = self.missing(until, LOST_AT_END, each),
                Err(ReadLogError::Damaged { end, reason, .. }) if end > self.at => {
                    flow = self.missing(end.min(until), &reason, each);
                }
                Err(error) => return Err(error),
            }
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Nothing can be read up to `end`. Retention may have removed it since the walk began.
    fn missing(&mut self, end: Offset, reason: &str, each: &mut EachWalkItem<'_>) -> ControlFlow<()> {
        assert!(self.at < end, "a walk only goes forward");
        let (partition, kept) = (self.log.partition(), self.log.kept().start.min(end));
        if self.at < kept {
            let offsets = std::mem::replace(&mut self.at, kept)..kept;
            let addresses = Addresses { partition, offsets };
            each(WalkItem::Removed(Removed { addresses, by: Retention::Trimmed }))?;
        }
        if self.at < end {
            let offsets = std::mem::replace(&mut self.at, end)..end;
            each(WalkItem::Hole(Hole { addresses: Addresses { partition, offsets }, reason }))?;
        }
        ControlFlow::Continue(())
    }
}
