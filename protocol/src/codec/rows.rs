//! Codec 1: rows in postcard behind a dictionary.
//!
//! ```text
//! body       = subjects units row*
//! subjects   = varint(count) ( varint(len) utf8 )*        units likewise
//! row        = zigzag-varint(time − time of the row before; the first: − 0)
//!              varint(index of the subject)
//!              varint(variant of the body) …              the body in postcard, but for a sample:
//! sample row = … varint(0) value varint(index of the unit) quality
//! ```
//!
//! All integers are postcard's varints (LEB128, 7 bits a byte, least significant first).

use serde::{Deserialize, Serialize};

use super::DecodeError;
use crate::batch::Batch;
use crate::event::{Body, Event, Quality, Sample, Value};
use crate::ids::{Sequence, Subject, Timestamp};
use crate::limits::{BATCH_SUBJECTS_MAX, BATCH_UNITS_MAX, UNIT_BYTES_MAX};
use crate::record::Record;
use crate::wire::take_varint;

/// A sample as it lies in a row, after the variant number.
#[derive(Serialize, Deserialize)]
struct SampleRow<'a> {
    #[serde(borrow)]
    value: Value<'a>,
    unit: u32,
    quality: Quality,
}

/// The variant number of [`Body::Sample`], which rows store in their own way.
const SAMPLE_VARIANT: u32 = 0;

/// The batch has no room for this event: seal it, then push again into the empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is full")]
pub struct Full;

#[cfg(feature = "alloc")]
pub use encoding::Encoder;

#[cfg(feature = "alloc")]
mod encoding {
    extern crate alloc;
    use alloc::vec::Vec;

    use super::{Full, SAMPLE_VARIANT, SampleRow};
    use crate::batch::HEADER_LEN;
    use crate::event::{Body, Event, Sample, Value};
    use crate::limits::{
        BATCH_BYTES_MAX, BATCH_COUNT_MAX, BATCH_SUBJECTS_MAX, BATCH_UNITS_MAX, EVENT_BYTES_MAX, SUBJECT_BYTES_MAX,
    };

    /// Bytes of a sample's row after its subject, without its text: variant, kind of value, value, unit, quality.
    const SAMPLE_ROW_BYTES_MAX: usize = 1 + 1 + 10 + 5 + 1;

    /// Bytes that two dictionaries' counts take at most.
    const COUNTS_LEN: usize = 6;

    /// The rows of an open batch.
    #[derive(Debug, Default)]
    pub struct Encoder {
        rows: Vec<u8>,
        count: u32,
        last_time: i64,
        subjects: Dictionary,
        units: Dictionary,
    }

    impl Encoder {
        /// Records so far.
        pub fn count(&self) -> u32 {
            self.count
        }

        /// Bytes that the body would have if it were finished now, at most.
        pub fn body_len(&self) -> usize {
            COUNTS_LEN + self.subjects.bytes.len() + self.units.bytes.len() + self.rows.len()
        }

        /// Whether events with so many subjects and units, which may all be new, and so many rows find room.
        pub fn has_room(&self, subjects: usize, units: usize, rows: u32) -> bool {
            let room = BATCH_BYTES_MAX - HEADER_LEN - self.body_len();
            self.subjects.places.len() + subjects <= BATCH_SUBJECTS_MAX
                && self.units.places.len() + units <= BATCH_UNITS_MAX
                && self.count.saturating_add(rows) <= BATCH_COUNT_MAX
                && room >= EVENT_BYTES_MAX + SUBJECT_BYTES_MAX
        }

        /// Adds an event that was checked.
        pub fn push(&mut self, event: &Event<'_>) -> Result<(), Full> {
            let room = BATCH_BYTES_MAX - HEADER_LEN - self.body_len();
            if self.count == BATCH_COUNT_MAX || room < EVENT_BYTES_MAX + SUBJECT_BYTES_MAX {
                return Err(Full);
            }
            let subject = self.subjects.index(event.subject.as_str(), BATCH_SUBJECTS_MAX).ok_or(Full)?;
            let unit = match &event.body {
                Body::Sample(sample) => self.units.index(sample.unit, BATCH_UNITS_MAX).ok_or(Full)?,
                _ => 0,
            };
            let time = event.time.micros();
            let delta = time - self.last_time;
            put_varint(&mut self.rows, ((delta << 1) ^ (delta >> 63)) as u64);
            put_varint(&mut self.rows, u64::from(subject));
            let start = self.rows.len();
            match &event.body {
                Body::Sample(sample) => self.put_sample(sample, unit),
                body => {
                    let rows = core::mem::take(&mut self.rows);
                    self.rows = postcard::to_extend(body, rows).expect("a growing buffer takes any body");
                }
            }
            assert!(self.rows.len() - start <= EVENT_BYTES_MAX, "a checked event fits EVENT_BYTES_MAX");
            self.last_time = time;
            self.count += 1;
            Ok(())
        }

        fn put_sample(&mut self, sample: &Sample<'_>, unit: u32) {
            let text_len = if let Value::Text(text) = sample.value { text.len() } else { 0 };
            let start = self.rows.len();
            self.rows.resize(start + SAMPLE_ROW_BYTES_MAX + text_len, 0);
            let row = SampleRow { value: sample.value, unit, quality: sample.quality };
            let used = postcard::to_slice(&(SAMPLE_VARIANT, row), &mut self.rows[start..])
                .expect("a sample's row has at most SAMPLE_ROW_BYTES_MAX bytes and its text")
                .len();
            self.rows.truncate(start + used);
        }

        /// Appends the body to `out` and empties the encoder.
        pub fn finish(&mut self, out: &mut Vec<u8>) {
            self.subjects.finish(out);
            self.units.finish(out);
            out.extend_from_slice(&self.rows);
            self.rows.clear();
            self.count = 0;
            self.last_time = 0;
        }
    }

    /// Texts in the order of their first use, found again by an open-addressed table of their hashes.
    #[derive(Debug, Default)]
    struct Dictionary {
        bytes: Vec<u8>,
        /// Start and end of each text in `bytes`.
        places: Vec<(u32, u32)>,
        /// Index + 1 of the text in each slot; a power of two of slots, at most half of them used.
        slots: Vec<u16>,
    }

    impl Dictionary {
        /// The index of `text`, which is added when it is new; `None` when there is no room for another.
        fn index(&mut self, text: &str, count_max: usize) -> Option<u32> {
            if self.slots.len() < 2 * (self.places.len() + 1) {
                self.grow();
            }
            let slot = match self.find(text) {
                Ok(index) => return Some(index),
                Err(slot) => slot,
            };
            if self.places.len() == count_max {
                return None;
            }
            put_varint(&mut self.bytes, text.len() as u64);
            let start = self.bytes.len();
            self.bytes.extend_from_slice(text.as_bytes());
            self.places.push((start as u32, self.bytes.len() as u32));
            self.slots[slot] = self.places.len() as u16;
            Some(self.places.len() as u32 - 1)
        }

        fn text(&self, index: usize) -> &[u8] {
            let (start, end) = self.places[index];
            &self.bytes[start as usize..end as usize]
        }

        /// The index of `text`, or the slot where it belongs.
        fn find(&self, text: &str) -> Result<u32, usize> {
            let mask = self.slots.len() - 1;
            let mut slot = hash(text.as_bytes()) as usize & mask;
            loop {
                match self.slots[slot] {
                    0 => return Err(slot),
                    used if self.text(usize::from(used) - 1) == text.as_bytes() => return Ok(u32::from(used) - 1),
                    _ => slot = (slot + 1) & mask,
                }
            }
        }

        fn grow(&mut self) {
            let slots = (self.slots.len() * 2).max(16);
            self.slots.clear();
            self.slots.resize(slots, 0);
            for index in 0..self.places.len() {
                let mut slot = hash(self.text(index)) as usize & (slots - 1);
                while self.slots[slot] != 0 {
                    slot = (slot + 1) & (slots - 1);
                }
                self.slots[slot] = index as u16 + 1;
            }
        }

        fn finish(&mut self, out: &mut Vec<u8>) {
            put_varint(out, self.places.len() as u64);
            out.extend_from_slice(&self.bytes);
            self.bytes.clear();
            self.places.clear();
            self.slots.fill(0);
        }
    }

    /// Eight bytes a step, multiplied and folded: only has to spread the names of one batch over its table.
    fn hash(bytes: &[u8]) -> u64 {
        let mut chunks = bytes.chunks_exact(8);
        let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let mut hash = bytes.len() as u64;
        for chunk in &mut chunks {
            hash = step(hash, u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let tail = chunks.remainder().iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let hash = step(hash, tail);
        hash ^ hash >> 32
    }

    fn put_varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    const _: () = assert!(BATCH_SUBJECTS_MAX < u16::MAX as usize && BATCH_UNITS_MAX <= BATCH_SUBJECTS_MAX);
}

/// Reads the rows of one batch.
#[derive(Debug)]
pub struct Decoder<'a> {
    rows: &'a [u8],
    index: u32,
    count: u32,
    first: Sequence,
    last_time: i64,
    subjects: heapless::Vec<Subject<'a>, BATCH_SUBJECTS_MAX>,
    units: heapless::Vec<&'a str, BATCH_UNITS_MAX>,
}

impl<'a> Decoder<'a> {
    /// Reads the dictionary.
    pub(super) fn new(batch: &Batch<'a>) -> Result<Self, DecodeError> {
        if batch.header().decoded_len != batch.header().body_len {
            return Err(DecodeError::Length);
        }
        let mut rows = batch.body();
        let subjects = dictionary(&mut rows, |path| Subject::new(path).ok()).ok_or(DecodeError::Dictionary)?;
        let unit = |unit: &'a str| (unit.len() <= UNIT_BYTES_MAX).then_some(unit);
        let units = dictionary(&mut rows, unit).ok_or(DecodeError::Dictionary)?;
        let header = batch.header();
        Ok(Self { rows, index: 0, count: header.count, first: header.first, last_time: 0, subjects, units })
    }

    /// The subjects that occur in the batch.
    pub fn subjects(&self) -> &[Subject<'a>] {
        &self.subjects
    }

    fn row(&mut self) -> Result<Record<'a>, DecodeError> {
        let unreadable = DecodeError::Record { index: self.index, count: self.count };
        let missing = DecodeError::Reference { index: self.index };
        let zigzag = take_varint(&mut self.rows).ok_or(unreadable)?;
        let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let micros = self.last_time.checked_add(delta).ok_or(missing)?;
        let time = Timestamp::new(micros).ok_or(missing)?;
        let subject = take_varint(&mut self.rows).ok_or(unreadable)?;
        let subject = *self.subjects.get(usize::try_from(subject).map_err(|_| missing)?).ok_or(missing)?;
        let body = if self.rows.first() == Some(&(SAMPLE_VARIANT as u8)) {
            let (row, rest) = postcard::take_from_bytes::<SampleRow<'a>>(&self.rows[1..]).map_err(|_| unreadable)?;
            self.rows = rest;
            let unit = self.units.get(row.unit as usize).ok_or(missing)?;
            Body::Sample(Sample { value: row.value, unit, quality: row.quality })
        } else {
            let (body, rest) = postcard::take_from_bytes::<Body<'a>>(self.rows).map_err(|_| unreadable)?;
            self.rows = rest;
            if matches!(body, Body::Sample(_)) {
                // Only a variant number of more bytes than it needs leads here: no writer makes that.
                return Err(unreadable);
            }
            body
        };
        let event = Event { time, subject, body };
        event.check().map_err(|_| unreadable)?;
        self.last_time = micros;
        let sequence = Sequence::new(self.first.get() + u64::from(self.index));
        Ok(Record { sequence, event })
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let bytes = core::mem::take(&mut self.rows).len();
            return (bytes > 0).then_some(Err(DecodeError::LeftOver { bytes }));
        }
        let row = self.row();
        match row {
            Ok(_) => self.index += 1,
            Err(_) => {
                self.index = self.count;
                self.rows = &[];
            }
        }
        Some(row)
    }
}

fn dictionary<'a, T, const N: usize>(
    bytes: &mut &'a [u8],
    check: impl Fn(&'a str) -> Option<T>,
) -> Option<heapless::Vec<T, N>> {
    let count = usize::try_from(take_varint(bytes)?).ok()?;
    if count > N {
        return None;
    }
    let mut texts = heapless::Vec::new();
    for _ in 0..count {
        let len = usize::try_from(take_varint(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(len)?;
        texts.push(check(core::str::from_utf8(text).ok()?)?).ok()?;
        *bytes = rest;
    }
    Some(texts)
}

const _: () = assert!(size_of::<Event<'static>>() < 256, "events are passed by value");
