//! One entry in an extract.

use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;
use serde::{Deserialize, Serialize};

use crate::kinds::{self, Certifies};
use crate::log::NameHash;
use crate::log::records::Decoder;

/// One entry, as far as a certificate of its source needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The entry's position in its segment, and its length in bytes.
    pub position: u32,
    pub len: u32,
    pub offset: Offset,
    pub count: u32,
    /// When it was appended.
    pub stamp: Timestamp,
    /// The measured offset of the batch's clock.
    pub clock_offset_us: Option<i64>,
    /// Index of its lane among those of its section.
    pub lane: u16,
    pub first: Sequence,
    /// Its earliest and its latest event time and its clock reading, in microseconds after the stamp: few bytes.
    time_first: i64,
    time_last: i64,
    wall: i64,
    pub is_emptied: bool,
    pub chain: ChainHash,
    /// The chain hash that it names; `None` when that is the hash of the row before it in its lane, whose sequences it
    /// continues.
    pub previous: Option<ChainHash>,
    pub what: RowFacts,
}

/// The facts about an entry that a certificate needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowFacts {
    /// The certificate needs nothing of it.
    Quiet,
    /// One heartbeat of the source.
    Beat(HeartbeatRow),
    /// One attestation of the collector.
    Attested {
        /// The event's index in the batch.
        at: u32,
        attestation: Vec<u8>,
    },
    /// Other content, or content that cannot be decoded: the certificate reads the whole batch.
    Told {
        batch: Vec<u8>,
        /// When the entry before it was appended, if that one is in the same segment.
        before: Option<Timestamp>,
    },
}

/// A heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRow {
    /// The event's index in the batch.
    pub at: u32,
    /// The event's time, in microseconds after the stamp.
    time: i64,
    /// The ends of the source's lanes, with the checks of those ends.
    pub ends: Vec<(Stream, Epoch, Sequence, u64)>,
}

impl Row {
    /// The row of an entry, without its lane's number and what the row before it implies. Every machine that it speaks
    /// of goes to `machines`.
    pub fn of(
        (position, len): (u64, usize),
        head: &EntryHead,
        batch: &Batch<'_>,
        own: &SourceId,
        decoder: &mut Decoder,
        machines: &mut dyn FnMut(NameHash),
    ) -> Self {
        let (header, stamp) = (batch.header(), head.stamp);
        let what = RowFacts::of(batch, stamp, header.source == *own, decoder, machines);
        Self {
            position: u32::try_from(position).expect("segments are shorter than SEGMENT_BYTES_MAX"),
            len: u32::try_from(len).expect("segments are shorter than SEGMENT_BYTES_MAX"),
            offset: Offset::new(head.ordinal),
            count: head.count,
            stamp,
            clock_offset_us: head.clock_offset_us(),
            lane: 0,
            first: header.first,
            time_first: since(stamp, header.time_first),
            time_last: since(stamp, header.time_last),
            wall: since(stamp, header.clock.wall),
            is_emptied: header.is_emptied(),
            chain: batch.chain_hash(),
            previous: Some(header.previous),
            what,
        }
    }

    /// Whether this row is of this entry.
    pub fn is_of(&self, head: &EntryHead, batch: &Batch<'_>, own: &SourceId) -> bool {
        let place = (u64::from(self.position), head.entry_len());
        let mut found = Self::of(place, head, batch, own, &mut Decoder::default(), &mut |_| {});
        (found.lane, found.previous) = (self.lane, self.previous);
        if let (RowFacts::Told { before, .. }, RowFacts::Told { before: known, .. }) = (&mut found.what, &self.what) {
            *before = *known;
        }
        found == *self
    }

    /// The head of its entry, for a batch that it holds whole.
    pub fn head(&self, batch: &Batch<'_>) -> EntryHead {
        let head = EntryHead::new(batch.header(), self.offset.get(), 0, self.stamp);
        head.with_clock_offset_us(self.clock_offset_us)
    }

    /// Its exclusive end.
    pub fn end(&self) -> Offset {
        Offset::new(self.offset.get().saturating_add(u64::from(self.count)))
    }

    pub fn range(&self) -> SequenceRange {
        let end = Sequence::new(self.first.get().saturating_add(u64::from(self.count)));
        SequenceRange { first: self.first, end }
    }

    pub fn time_first(&self) -> Timestamp {
        after(self.stamp, self.time_first)
    }

    pub fn time_last(&self) -> Timestamp {
        after(self.stamp, self.time_last)
    }

    /// The source's clock when it was made.
    pub fn wall(&self) -> Timestamp {
        after(self.stamp, self.wall)
    }

    /// The time of a heartbeat in it.
    pub fn time_of(&self, beat: &HeartbeatRow) -> Timestamp {
        after(self.stamp, beat.time)
    }

    /// The offset of the event at this index in it.
    pub fn offset_of(&self, at: u32) -> Offset {
        Offset::new(self.offset.get().saturating_add(u64::from(at)))
    }
}

fn since(stamp: Timestamp, time: Timestamp) -> i64 {
    time.micros().saturating_sub(stamp.micros())
}

fn after(stamp: Timestamp, micros: i64) -> Timestamp {
    Timestamp::clamped(stamp.micros().saturating_add(micros))
}

impl RowFacts {
    fn of(
        batch: &Batch<'_>,
        stamp: Timestamp,
        is_own: bool,
        decoder: &mut Decoder,
        machines: &mut dyn FnMut(NameHash),
    ) -> Self {
        let header = batch.header();
        let told = || Self::Told { batch: batch.bytes().to_vec(), before: None };
        let may_tell = header.stream == Stream::Critical || header.first.get() == 0;
        let records = decoder.open(batch);
        let Some(subjects) = records.subjects() else { return told() };
        subjects.iter().for_each(|subject| machines(NameHash::machine(subject.as_str())));
        let (mut what, mut is_more) = (Self::Quiet, false);
        for (at, record) in (0..).zip(records) {
            let Ok(record) = record else { return told() };
            let event = record.event;
            if !may_tell || !is_needed(&event.body, is_own) {
                continue;
            }
            is_more |= what != Self::Quiet;
            match event.body {
                Body::LifeCycle(LifeCycle::Heartbeat { lanes, .. })
                    if event.subject.as_str() == header.source.as_str() =>
                {
                    let ends = lanes.iter().map(|lane| (lane.stream, lane.epoch, lane.end, lane.check)).collect();
                    what = Self::Beat(HeartbeatRow { at, time: since(stamp, event.time), ends });
                }
                Body::LifeCycle(LifeCycle::Attested { attestation }) => {
                    what = Self::Attested { at, attestation: attestation.to_vec() };
                }
                _ => is_more = true,
            }
        }
        if is_more { told() } else { what }
    }
}

/// Whether a certificate uses an event. `is_own`: whether the event is the collector's.
fn is_needed(body: &Body<'_>, is_own: bool) -> bool {
    match body {
        Body::Loss(_) => true,
        Body::LifeCycle(change) => match kinds::of_change(change.kind()).certifies {
            Certifies::Always => true,
            Certifies::Own => is_own,
            Certifies::Never => false,
        },
        _ => false,
    }
}
