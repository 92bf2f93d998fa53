//! The address of an event in the log: its partition, and its offset there.

use std::fmt;
use std::ops::Range;

use afferent_protocol::ids::Offset;

/// The number of a partition: a log of its own, with dense offsets of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u32);

impl Partition {
    /// The one partition of the embedded engine.
    pub const EMBEDDED: Self = Self(0);

    /// The partition of this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number, as it is written in addresses and attestations.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of an event. Addresses of one partition are ordered as its events are; between partitions the order
/// means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventAddress {
    /// Its partition.
    pub partition: Partition,
    /// Its offset in the partition.
    pub offset: Offset,
}

impl EventAddress {
    /// The address of an offset of the embedded engine.
    pub const fn embedded(offset: Offset) -> Self {
        Self { partition: Partition::EMBEDDED, offset }
    }
}

/// A range of consecutive addresses in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The partition.
    pub partition: Partition,
    /// Its offsets; the end is exclusive.
    pub offsets: Range<Offset>,
}

impl Addresses {
    /// The number of addresses in the range.
    pub fn count(&self) -> u64 {
        self.offsets.end.since(self.offsets.start)
    }

    /// The first address.
    pub fn first(&self) -> EventAddress {
        EventAddress { partition: self.partition, offset: self.offsets.start }
    }
}
