//! A sealed batch as it is kept: what of its header cannot be made again from elsewhere, then its body.
//!
//! ```text
//!  0                                                      84    88
//!  ├──────────────────────────────────────────────────────┼─────┼──────┤
//!  │ bytes 72 to 156 of the header: version … link chain  │ crc │ body │
//!  └──────────────────────────────────────────────────────┴─────┴──────┘
//! ```
//!
//! The link chain is the `crc` field of the batch before it. Source and everything else are the same in every batch of
//! a device. One bit is added: bit 1 of byte 3 (the clock's state) marks that the hole before this batch was declared,
//! see [`Head::declared`]. Expanding an item gives the same batch, byte for byte, whenever it is done; so does sealing
//! it again for a different epoch ([`seal_again`]), which changes nothing of what is kept.

use afferent_protocol::batch::{ClockReading, HEADER_LEN, MAGIC, SIGNED_FROM};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::Codec;
use afferent_protocol::event::{Change, Kind};
use afferent_protocol::ids::{Epoch, SourceId, Stream};
use afferent_protocol::version::BATCH_VERSION;
use afferent_protocol::wire::{Writer, take_varint};

use crate::limits::RESEALED_BYTES_MAX;
use crate::rows::{Rows, make_room};

const _: () = assert!(HEAD_LEN <= HEADER_LEN, "an item is expanded to a batch in place");

/// Bytes before the body.
pub const HEAD_LEN: usize = KEPT_LEN + 4;
/// Bytes of the header that are kept: from [`SIGNED_FROM`] to the end of the link chain.
const KEPT_LEN: usize = 84;
/// Byte position of the source's name in a header, behind its length.
const SOURCE_AT: usize = 184;
/// Where an item lies in a work buffer, so that it can become a batch in place.
pub const ITEM_AT: usize = HEADER_LEN - HEAD_LEN;
// `LifeCycle::Resealed` as rows have it.
const LIFE_CYCLE: u8 = Kind::LifeCycle.number();
const RESEALED: u8 = Change::Resealed.number();
const DIVERGED: u8 = 0;
/// In the byte of the clock's state.
const DECLARED: u8 = 2;

/// Which events an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stream's epoch.
    pub epoch: Epoch,
    /// Sequence of the first event.
    pub first: u32,
    /// The first sequence after it.
    pub end: u32,
    /// `crc` of the batch before it in the same epoch; 0 before the first.
    pub previous: u32,
    /// `crc` of this batch.
    pub crc: u32,
    /// What lies between the batch before and this one was lost before it could be sealed, and this batch, or a later
    /// one, marks it: a hole that is found here after a reset is nothing new.
    pub declared: bool,
}

impl Head {
    /// Reads the head of an item; `None` when no writer made it, or its body is not there.
    #[inline(never)]
    pub fn decode(item: &[u8]) -> Option<Self> {
        let (head, body) = item.split_first_chunk::<HEAD_LEN>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let first = word(16);
        let end = first.checked_add(word(12))?;
        let is_whole = head[0] == BATCH_VERSION && word(20) == 0 && end > first && word(4) as usize == body.len();
        is_whole.then_some(Self {
            epoch: Epoch::new(u64::from(word(28)) << 32 | u64::from(word(24))),
            first,
            end,
            previous: word(80),
            crc: word(84),
            declared: head[3] & DECLARED != 0,
        })
    }
}

/// Makes, at the start of `work`, the batch of these rows, and of that the item, which begins at [`ITEM_AT`]; returns
/// the item and the `crc` of the batch. `head` has all fields but count and `crc`.
pub fn seal<'w>(
    rows: &Rows<'_>,
    head: &Head,
    clock: &ClockReading,
    (source, stream): (&SourceId, Stream),
    work: &'w mut [u8],
) -> Option<(&'w [u8], u32)> {
    let body = rows.body();
    let whole = HEADER_LEN + body.len();
    let mut out = Writer::new(work.get_mut(SIGNED_FROM..)?);
    out.bytes(&[BATCH_VERSION, Codec::Rows.number(), stream.number(), u8::from(clock.synchronised)]);
    let (first, len, count) = (head.first.into(), body.len() as u32, u32::from(rows.count()));
    [len, len, count].into_iter().for_each(|number| out.bytes(&number.to_le_bytes()));
    let (from, until) = rows.times();
    let times = [from, until].map(|time| time.micros() as u64);
    for number in [first, head.epoch.get(), times[0], times[1], clock.monotonic_us, clock.wall.micros() as u64] {
        out.bytes(&number.to_le_bytes());
    }
    out.bytes(&clock.boot);
    out.bytes(&head.previous.to_le_bytes());
    out.written()?;
    work.get_mut(HEADER_LEN..whole)?.copy_from_slice(body);
    complete(work.first_chunk_mut()?, source);
    let crc = crc32c(work.get(8..whole)?);
    let (kept, item) = work.first_chunk_mut::<HEADER_LEN>()?.split_at_mut(ITEM_AT);
    item[..KEPT_LEN].copy_from_slice(&kept[SIGNED_FROM..][..KEPT_LEN]);
    item[KEPT_LEN..].copy_from_slice(&crc.to_le_bytes());
    item[3] |= if head.declared { DECLARED } else { 0 };
    Some((work.get(ITEM_AT..whole)?, crc))
}

/// Turns an item that begins at [`ITEM_AT`] of `buffer` and has `len` bytes into the batch that it was made from; gives
/// the batch's end and its length.
pub fn expand(buffer: &mut [u8], len: usize, source: &SourceId) -> Option<(u32, usize)> {
    let head = Head::decode(buffer.get(ITEM_AT..ITEM_AT + len)?)?;
    let header: &mut [u8; HEADER_LEN] = buffer.first_chunk_mut()?;
    let (kept, item) = header.split_at_mut(ITEM_AT);
    kept[SIGNED_FROM..][..KEPT_LEN].copy_from_slice(&item[..KEPT_LEN]);
    kept[SIGNED_FROM + 3] &= !DECLARED;
    complete(header, source);
    header[4..8].copy_from_slice(&head.crc.to_le_bytes());
    Some((head.end, ITEM_AT + len))
}

/// Makes of an item, which lies as for [`expand`], the only batch of the epoch `again`: its events behind one that says
/// which epoch and sequences they had. They keep their ticks, and the batch its clock. Gives the batch's end and its
/// length.
pub fn seal_again(
    buffer: &mut [u8],
    len: usize,
    (source, stream): (&SourceId, Stream),
    again: Epoch,
) -> Option<(u32, usize)> {
    let Head { epoch, first, end, .. } = Head::decode(buffer.get(ITEM_AT..ITEM_AT + len)?)?;
    let (_, whole) = expand(buffer, len, source)?;
    let at = HEADER_LEN + behind_first_time(buffer.get(HEADER_LEN..whole)?)?;
    let mut row = [0; RESEALED_BYTES_MAX];
    let mut out = Writer::new(&mut row);
    // It takes the time of the row before which it stands, and a subject that is there; that row comes no later than
    // it.
    out.bytes(&[0, LIFE_CYCLE, RESEALED, stream.number()]);
    out.varint(epoch.get());
    out.varint(first.into());
    out.bytes(&[DIVERGED, 0]);
    let row_len = out.written()?;
    make_room(buffer.get_mut(at..whole + row_len)?, row_len);
    Writer::new(buffer.get_mut(at..)?).bytes(row.get(..row_len)?);
    let (count, whole) = (end - first + 1, whole + row_len);
    let body_len = ((whole - HEADER_LEN) as u32).to_le_bytes();
    let header: &mut [u8; HEADER_LEN] = buffer.first_chunk_mut()?;
    let kept = &mut header[SIGNED_FROM..SIGNED_FROM + KEPT_LEN];
    kept[4..8].copy_from_slice(&body_len);
    kept[8..12].copy_from_slice(&body_len);
    kept[12..16].copy_from_slice(&count.to_le_bytes());
    kept[16..24].copy_from_slice(&[0; 8]);
    kept[24..32].copy_from_slice(&again.get().to_le_bytes());
    // It follows none.
    kept[KEPT_LEN - 4..].copy_from_slice(&[0; 4]);
    let crc = crc32c(buffer.get(8..whole)?);
    buffer.get_mut(4..8)?.copy_from_slice(&crc.to_le_bytes());
    Some((count, whole))
}

/// Where in a body the time of its first row ends.
fn behind_first_time(body: &[u8]) -> Option<usize> {
    let mut rest = body;
    for _dictionary in 0..2 {
        for _ in 0..take_varint(&mut rest)? {
            let len = take_varint(&mut rest)?;
            rest = rest.get(len as usize..)?;
        }
    }
    take_varint(&mut rest)?;
    Some(body.len() - rest.len())
}

/// Writes what is the same in every header.
#[inline(never)]
fn complete(header: &mut [u8; HEADER_LEN], source: &SourceId) {
    header[..SIGNED_FROM].fill(0);
    header[..4].copy_from_slice(&MAGIC);
    header[SIGNED_FROM + KEPT_LEN..].fill(0);
    let mut out = Writer::new(&mut header[SOURCE_AT..]);
    out.byte(source.as_bytes().len() as u8);
    out.bytes(source.as_bytes());
}

const _: () = assert!(SIGNED_FROM + KEPT_LEN <= ITEM_AT, "a kept header and its item do not overlap");

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use afferent_protocol::batch::Batch;
    use afferent_protocol::codec;
    use afferent_protocol::event::{Body, LifeCycle, Quality, ResealReason, Sample, Value};
    use afferent_protocol::ids::{Sequence, Subject, Timestamp};

    use super::*;

    #[test]
    fn an_item_gives_the_batch_that_it_was_made_of_and_its_header_is_that_of_the_protocol() {
        let source = SourceId::literal("mill-2");
        let clock = ClockReading {
            wall: Timestamp::clamped(77),
            monotonic_us: 66,
            synchronised: true,
            boot: *b"0123456789abcdef",
        };
        let sample = Sample { value: Value::Integer(5), unit: "Cel", quality: Quality::Good };
        let (mut buffer, mut work) = ([0; 64], [0xAA; 400]);
        let mut rows = Rows::new(&mut buffer);
        for tick_us in [40, 30, 50] {
            let time = Timestamp::clamped(tick_us);
            rows.push(time, Subject::literal("mill-2/spindle"), &Body::Sample(sample)).unwrap();
        }
        for declared in [false, true] {
            let head = Head { epoch: Epoch::new(u64::MAX - 1), first: 7, end: 10, previous: 9, crc: 0, declared };
            let (item, crc) = seal(&rows, &head, &clock, (&source, Stream::Samples), &mut work).unwrap();
            assert_eq!(Head::decode(item), Some(Head { crc, ..head }));
            let (item, len) = (Vec::from(item), item.len());
            assert!((0..len).all(|len| Head::decode(&item[..len]).is_none()), "an item that was cut");

            let mut buffer = [0x55; 400];
            buffer[ITEM_AT..][..len].copy_from_slice(&item);
            let (end, whole) = expand(&mut buffer, len, &source).unwrap();
            let (batch, rest) = Batch::parse(&buffer[..whole]).unwrap();
            let header = batch.header();
            assert_eq!((end, rest.len(), header.end().get()), (10, 0, 10));
            assert_eq!(buffer[..HEADER_LEN], header.encode());
            assert_eq!((header.crc, header.count, header.clock, header.source), (crc, 3, clock, source));
            assert_eq!((header.time_first.micros(), header.time_last.micros()), (30, 50));
            assert_eq!((header.stream, header.epoch), (Stream::Samples, head.epoch));
            assert_eq!((batch.body(), header.previous[..4].to_vec()), (rows.body(), 9_u32.to_le_bytes().to_vec()));
        }
    }

    /// An item of a batch with as much as its body takes, in a buffer with as much room as there is for it.
    fn full(clock: &ClockReading, source: &SourceId) -> ([u8; WORK], usize) {
        let (mut buffer, mut work) = ([0; 64], [0xAA; WORK]);
        let mut rows = Rows::new(&mut buffer);
        let sample = |value| Body::Sample(Sample { value: Value::Integer(value), unit: "Cel", quality: Quality::Good });
        let times = [1 << 45, (1 << 45) - 9, 1 << 46];
        for (time, value) in times.into_iter().zip(1..) {
            rows.push(Timestamp::clamped(time), Subject::literal("mill-2/spindle"), &sample(value)).unwrap();
        }
        let head = Head {
            epoch: Epoch::new(u64::MAX - 1),
            first: u32::MAX - 9,
            end: u32::MAX - 6,
            previous: 9,
            crc: 0,
            declared: true,
        };
        let len = seal(&rows, &head, clock, (source, Stream::Samples), &mut work).unwrap().0.len();
        (work, len)
    }

    const WORK: usize = HEADER_LEN + 64 + RESEALED_BYTES_MAX;

    #[test]
    fn what_is_sealed_again_has_the_same_events_at_the_same_ticks_behind_one_that_says_what_they_were() {
        let source = SourceId::literal("mill-2");
        let clock =
            ClockReading { wall: Timestamp::clamped(77), monotonic_us: 1 << 47, synchronised: true, boot: [5; 16] };
        let (mut work, len) = full(&clock, &source);
        let kept = work;
        let (end, whole) = seal_again(&mut work, len, (&source, Stream::Samples), Epoch::new(3)).unwrap();
        let (batch, rest) = Batch::parse(&work[..whole]).unwrap();
        let header = batch.header();
        assert_eq!(work[..HEADER_LEN], header.encode());
        assert_eq!((rest.len(), end, header.first.get(), header.count), (0, 4, 0, 4));
        assert_eq!((header.epoch, header.previous, header.clock), (Epoch::new(3), [0; 32], clock));
        assert_eq!((header.time_first.micros(), header.time_last.micros()), ((1 << 45) - 9, 1 << 46));
        let events: Vec<_> = codec::records(&batch, &mut []).unwrap().map(|record| record.unwrap().event).collect();
        let ticks: Vec<_> = events.iter().map(|event| event.time.micros()).collect();
        assert_eq!(ticks, [1 << 45, 1 << 45, (1 << 45) - 9, 1 << 46]);
        let (epoch, first) = (Epoch::new(u64::MAX - 1), Sequence::new(u64::from(u32::MAX) - 9));
        let says = LifeCycle::Resealed { stream: Stream::Samples, epoch, first, reason: ResealReason::Diverged };
        assert_eq!(events[0].body, Body::LifeCycle(says));
        assert!(matches!(events[3].body, Body::Sample(Sample { value: Value::Integer(3), .. })));
        // Nothing of it depends on anything but the item and the epoch.
        let mut other = kept;
        seal_again(&mut other, len, (&source, Stream::Samples), Epoch::new(3)).unwrap();
        assert_eq!(other[..whole], work[..whole]);
    }
}
