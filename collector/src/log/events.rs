//! The one typed walk over a log: what stands at every offset, in order, each with its address.
//!
//! | item | what it stands for |
//! |---|---|
//! | [`Item::Event`] | one event, decoded |
//! | [`Item::Unreadable`] | events that are there and cannot be decoded: a whole batch, or the rest of one |
//! | [`Item::Hole`] | offsets that the log never had, or that it has lost |
//! | [`Item::Removed`] | what retention has taken: samples out of a batch, or the beginning of the log |
//!
//! One rule holds for all of what cannot be read:
//! - Every offset of a walk that no index passes over is in exactly one item, and items come in the order of their
//!   offsets.
//! - A batch is decoded up to its first event that cannot be; from there up to its end it is `Unreadable`, once. What
//!   was decoded before counts. Of a batch whose dictionary or codec cannot be read all is `Unreadable`.
//! - Bytes behind the last event of a batch make an `Unreadable` of no offsets: no event is missing, and yet the
//!   batch is not what its sender should have written.
//! - What the disk gives back otherwise than it was written is a `Hole`, like offsets that no entry has; the walk
//!   goes on behind it. Before the first offset that is kept there is no hole: that is `Removed`.
//! - Only a disk that refuses ends a walk with an error: another time it may not refuse.
//!
//! A walk hands over whole entries ([`Part::Entry`]), of which nothing is decoded: who reads looks at the head, then
//! at the subjects ([`Entry::open`]), and decodes what may be wanted ([`Opened::each`]).

use std::ops::{ControlFlow, Range};

use afferent_protocol::batch::{Batch, Header};
use afferent_protocol::codec::DecodeError;
use afferent_protocol::ids::{Offset, Subject, Timestamp};
use afferent_protocol::record::Record;
use afferent_protocol::segment::EntryHead;

use super::Wanted;
use super::address::{Address, Addresses, Partition};
use super::read_log::{ReadLog, ReadLogError};
use super::records::{Decoder, Records};

/// Why a log that was opened has a hole between two entries.
pub(crate) const LOST: &str = "the log has a hole here, found when it was opened";
/// Why nothing follows the last entry, although the log goes further.
const LOST_AT_END: &str = "the log ends in a hole";

/// An entry of the log, of which nothing is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// The partition that it is in.
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

    /// The first offset behind it.
    pub fn end(&self) -> Offset {
        Offset::new(self.head.end_ordinal())
    }

    /// When the collector appended it.
    pub fn ingest(&self) -> Timestamp {
        self.head.stamp
    }

    /// Opens its batch.
    pub fn open(self, decoder: &'e mut Decoder) -> Opened<'e> {
        assert_eq!(self.head.count, self.header().count, "an entry has as many offsets as its batch has events");
        Opened { entry: self, records: decoder.open(self.batch) }
    }

    fn addresses(&self, offsets: Range<Offset>) -> Addresses {
        Addresses { partition: self.partition, offsets }
    }
}

/// An entry whose dictionary was read.
#[derive(Debug)]
pub struct Opened<'e> {
    entry: Entry<'e>,
    records: Records<'e>,
}

impl<'e> Opened<'e> {
    /// The entry.
    pub fn entry(&self) -> Entry<'e> {
        self.entry
    }

    /// The subjects of its events; `None` when they cannot be read.
    pub fn subjects(&self) -> Option<&[Subject<'e>]> {
        self.records.subjects()
    }

    /// Passes its items to `each`, in order, until that breaks. To be called once.
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
        // What is decoded lies on the stack, and is large: it stays where it is.
        for (index, record) in (0..).zip(records) {
            let item = match &record {
                Ok(record) => {
                    let offset = Offset::new(entry.head.ordinal + u64::from(index));
                    Item::Event(Event { address: Address { partition: entry.partition, offset }, record })
                }
                Err(error) => unreadable(index, *error),
            };
            if each(item).is_break() {
                return;
            }
        }
    }
}

/// What stands at some offset.
#[derive(Clone, Debug)]
pub enum Item<'r, 'e> {
    /// An event.
    Event(Event<'r, 'e>),
    /// Events that cannot be decoded.
    Unreadable(Unreadable<'e>),
    /// Offsets without an entry that can be read.
    Hole(Hole<'e>),
    /// What retention has taken.
    Removed(Removed),
}

/// An event of an entry, whose head and batch say when it was ingested and by which clock its source went.
#[derive(Clone, Copy, Debug)]
pub struct Event<'r, 'e> {
    /// Its address.
    pub address: Address,
    /// Its sequence, and the event itself.
    pub record: &'r Record<'e>,
}

/// Events of an entry that cannot be decoded, up to the entry's end.
#[derive(Clone, Debug)]
pub struct Unreadable<'e> {
    /// Their addresses; none when bytes follow the last event.
    pub addresses: Addresses,
    /// The index in the batch of the first of them.
    pub index: u32,
    /// What cannot be decoded about it.
    pub error: DecodeError,
    /// The entry.
    pub entry: Entry<'e>,
}

/// Offsets without an entry that can be read.
#[derive(Clone, Debug)]
pub struct Hole<'h> {
    /// Their addresses.
    pub addresses: Addresses,
    /// What was found, for people.
    pub reason: &'h str,
}

/// What retention has taken.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The addresses of the events.
    pub addresses: Addresses,
    /// What it has done.
    pub by: Retention,
}

/// What retention does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It has removed the log's beginning.
    Trimmed,
    /// It has taken the samples out of a batch, whose head stays.
    Emptied,
}

/// What a walk hands over at once.
#[derive(Clone, Debug)]
pub enum Part<'p> {
    /// An entry.
    Entry(Entry<'p>),
    /// Offsets without an entry that can be read.
    Hole(Hole<'p>),
    /// The log's beginning, which retention has removed.
    Removed(Removed),
}

impl Part<'_> {
    /// The offset with which it begins. An entry may begin before the walk does.
    pub fn first(&self) -> Offset {
        match self {
            Self::Entry(entry) => entry.first(),
            Self::Hole(Hole { addresses, .. }) | Self::Removed(Removed { addresses, .. }) => addresses.offsets.start,
        }
    }

    /// The first offset behind it. An entry may end behind the walk.
    pub fn end(&self) -> Offset {
        match self {
            Self::Entry(entry) => entry.end(),
            Self::Hole(Hole { addresses, .. }) | Self::Removed(Removed { addresses, .. }) => addresses.offsets.end,
        }
    }
}

impl<'p> Part<'p> {
    /// Passes its items to `each`, in order, until that breaks. An entry that begins before the walk gives all of its
    /// own.
    #[inline]
    pub fn each(self, decoder: &'p mut Decoder, mut each: impl FnMut(Item<'_, 'p>) -> ControlFlow<()>) {
        let _ = match self {
            Self::Entry(entry) => return entry.open(decoder).each(each),
            Self::Hole(hole) => each(Item::Hole(hole)),
            Self::Removed(removed) => each(Item::Removed(removed)),
        };
    }
}

/// Takes one part after the other, until it breaks.
pub type EachPart<'f> = dyn FnMut(Part<'_>) -> ControlFlow<()> + 'f;

/// A walk over the offsets of one partition.
pub struct Walk<'l> {
    log: &'l dyn ReadLog,
    at: Offset,
    until: Offset,
    wanted: Option<&'l Wanted>,
}

impl<'l> Walk<'l> {
    /// Over these offsets, as far as they are durable.
    pub fn over(log: &'l dyn ReadLog, offsets: Range<Offset>) -> Self {
        Self { log, at: offsets.start, until: offsets.end.min(log.kept().end), wanted: None }
    }

    /// Past what cannot hold what is wanted, as far as indexes tell.
    pub fn wanting(self, wanted: &'l Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// Passes all parts to `each`, in order; gives whether that has taken all of them, or has broken. `scratch` is what
    /// entries are read into. Blocks.
    ///
    /// # Errors
    /// When the disk refuses. What was passed on before counts.
    pub fn run(mut self, scratch: &mut Vec<u8>, each: &mut EachPart<'_>) -> Result<ControlFlow<()>, ReadLogError> {
        let kept = self.log.kept().start;
        if self.at < kept.min(self.until) && self.missing(kept.min(self.until), LOST, each).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        while self.at < self.until {
            let Some(stretch) = self.stretch() else { break };
            self.at = self.at.max(stretch.start);
            if self.read(stretch.end.min(self.until), scratch, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The next offsets that can hold what is wanted.
    fn stretch(&self) -> Option<Range<Offset>> {
        let Some(wanted) = self.wanted else { return Some(self.at..self.until) };
        self.log.stretch(self.at, wanted).filter(|stretch| stretch.start < self.until)
    }

    /// Passes on what stands before `until`; ends there, or behind it, unless `each` breaks.
    fn read(
        &mut self,
        until: Offset,
        scratch: &mut Vec<u8>,
        each: &mut EachPart<'_>,
    ) -> Result<ControlFlow<()>, ReadLogError> {
        while self.at < until {
            let (log, mut flow) = (self.log, ControlFlow::Continue(()));
            let read = log.read_part(self.at, until, scratch, &mut |head, batch| {
                let entry = Entry { partition: log.partition(), head, batch };
                if entry.first() > self.at {
                    flow = self.missing(entry.first().min(until), LOST, each);
                }
                if flow.is_continue() && entry.first() < until {
                    flow = each(Part::Entry(entry));
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

    /// There is nothing to be read up to `end`. Retention may have been here since the walk was begun.
    fn missing(&mut self, end: Offset, reason: &str, each: &mut EachPart<'_>) -> ControlFlow<()> {
        assert!(self.at < end, "a walk only goes forward");
        let (partition, kept) = (self.log.partition(), self.log.kept().start.min(end));
        if self.at < kept {
            let offsets = std::mem::replace(&mut self.at, kept)..kept;
            let addresses = Addresses { partition, offsets };
            each(Part::Removed(Removed { addresses, by: Retention::Trimmed }))?;
        }
        if self.at < end {
            let offsets = std::mem::replace(&mut self.at, end)..end;
            each(Part::Hole(Hole { addresses: Addresses { partition, offsets }, reason }))?;
        }
        ControlFlow::Continue(())
    }
}
