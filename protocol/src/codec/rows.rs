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
use crate::event::{Body, Event, Quality, Sample, Value, is_unit};
use crate::ids::{Sequence, Subject, Timestamp};
use crate::limits::{BATCH_SUBJECTS_MAX, BATCH_UNITS_MAX, UNIT_BYTES_MAX};
use crate::record::Record;
use crate::wire::{take_bytes, take_varint};

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
        /// The index of `text`, which is added when it is new; `None` when there is no room for one more.
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
    /// All units are codes that [`Event::check`] takes, so that no row need be asked.
    units_are_codes: bool,
}

impl<'a> Decoder<'a> {
    /// Reads the dictionary.
    pub(super) fn new(batch: &Batch<'a>) -> Result<Self, DecodeError> {
        let header = batch.header();
        if header.decoded_len != header.body_len {
            return Err(DecodeError::Length);
        }
        let (subjects, units) = (heapless::Vec::new(), heapless::Vec::new());
        let (rows, count, first) = (batch.body(), header.count, header.first);
        let mut decoder = Self { rows, index: 0, count, first, last_time: 0, subjects, units, units_are_codes: true };
        dictionary(&mut decoder.rows, &mut decoder.subjects, |path| Subject::new(path).ok())
            .ok_or(DecodeError::Dictionary)?;
        let unit = |unit: &'a str| (unit.len() <= UNIT_BYTES_MAX).then_some(unit);
        dictionary(&mut decoder.rows, &mut decoder.units, unit).ok_or(DecodeError::Dictionary)?;
        decoder.units_are_codes = decoder.units.iter().all(|unit| is_unit(unit));
        Ok(decoder)
    }

    /// The subjects that occur in the batch.
    pub fn subjects(&self) -> &[Subject<'a>] {
        &self.subjects
    }

    #[inline]
    fn row(&mut self) -> Result<Record<'a>, DecodeError> {
        let unreadable = DecodeError::Record { index: self.index, count: self.count };
        let missing = DecodeError::Reference { index: self.index };
        let zigzag = take_short(&mut self.rows).ok_or(unreadable)?;
        let delta = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let micros = self.last_time.checked_add(delta).ok_or(missing)?;
        let time = Timestamp::new(micros).ok_or(missing)?;
        let subject = take_short(&mut self.rows).ok_or(unreadable)?;
        let subject = *self.subjects.get(usize::try_from(subject).map_err(|_| missing)?).ok_or(missing)?;
        let body = match self.plain_sample() {
            Some((sample, rest)) => {
                self.rows = rest;
                Body::Sample(sample)
            }
            None => self.body(time, subject)?,
        };
        self.last_time = micros;
        let sequence = Sequence::new(self.first.get() + u64::from(self.index));
        Ok(Record { sequence, event: Event { time, subject, body } })
    }

    /// The sample that comes next, and what follows it, when it is a number or a switch that is written as every writer
    /// writes it and that [`Event::check`] takes. [`Decoder::body`] reads the same, and everything else.
    #[inline]
    fn plain_sample(&self) -> Option<(Sample<'a>, &'a [u8])> {
        let (head, mut rest) = self.rows.split_first_chunk::<2>()?;
        if !self.units_are_codes || head[0] != SAMPLE_VARIANT as u8 {
            return None;
        }
        let value = match head[1] {
            0 => Value::Float(Some(f64::from_le_bytes(take_bytes(&mut rest)?)).filter(|value| value.is_finite())?),
            1 => {
                let zigzag = take_short(&mut rest)?;
                Value::Integer((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            2 => match take_bytes(&mut rest)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return None,
            },
            _ => return None,
        };
        let [unit, quality] = take_bytes(&mut rest)?;
        let unit = if unit < 0x80 { self.units.get(usize::from(unit))? } else { return None };
        let quality = match quality {
            0 => Quality::Good,
            1 => Quality::Uncertain,
            2 => Quality::Bad,
            _ => return None,
        };
        Some((Sample { value, unit, quality }, rest))
    }

    /// The body that comes next, of whatever kind, by postcard.
    #[inline(never)]
    fn body(&mut self, time: Timestamp, subject: Subject<'a>) -> Result<Body<'a>, DecodeError> {
        let unreadable = DecodeError::Record { index: self.index, count: self.count };
        let missing = DecodeError::Reference { index: self.index };
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
        let checked = Event { time, subject, body }.check();
        checked.map(|()| body).map_err(|_| unreadable)
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline]
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

/// As [`take_varint`], and quick with what has one byte or two.
#[inline]
fn take_short(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [low, ref rest @ ..] if low < 0x80 => {
            *bytes = rest;
            Some(u64::from(low))
        }
        [low, high, ref rest @ ..] if high < 0x80 => {
            *bytes = rest;
            Some(u64::from(low & 0x7F) | u64::from(high) << 7)
        }
        _ => take_varint(bytes),
    }
}

fn dictionary<'a, T, const N: usize>(
    bytes: &mut &'a [u8],
    texts: &mut heapless::Vec<T, N>,
    check: impl Fn(&'a str) -> Option<T>,
) -> Option<()> {
    let count = usize::try_from(take_varint(bytes)?).ok()?;
    if count > N {
        return None;
    }
    for _ in 0..count {
        let len = usize::try_from(take_varint(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(len)?;
        texts.push(check(core::str::from_utf8(text).ok()?)?).ok()?;
        *bytes = rest;
    }
    Some(())
}

const _: () = assert!(size_of::<Event<'static>>() < 256, "events are passed by value");

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Rows behind a dictionary of two subjects and two units.
    fn decoder(rows: &[u8], count: u32) -> Decoder<'_> {
        let subjects = ["88-C/a", "88-C/b"].map(|path| Subject::new(path).unwrap());
        Decoder {
            rows,
            index: 0,
            count,
            first: Sequence::new(5),
            last_time: 1_631_577_271_000_000,
            subjects: subjects.into_iter().collect(),
            units: ["Cel", ""].into_iter().collect(),
            units_are_codes: true,
        }
    }

    /// What a sample's row begins with and how it goes on, right and wrong.
    fn sample() -> impl Strategy<Value = Vec<u8>> {
        let float = any::<f64>().prop_map(|value| [&[0, 0], &value.to_le_bytes()[..]].concat());
        let odd = prop::sample::select(std::vec![f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX]);
        let odd = odd.prop_map(|value| [&[0, 0], &value.to_le_bytes()[..]].concat());
        let varint = prop::collection::vec(0x80_u8.., 0..10);
        let integer = (varint, 0_u8..0x80).prop_map(|(bytes, last)| [&[0, 1], &bytes[..], &[last]].concat());
        let switch = (0_u8..3).prop_map(|value| std::vec![0, 2, value]);
        let text = "[a-z]{0,9}".prop_map(|text| [&[0, 3, text.len() as u8], text.as_bytes()].concat());
        let other = prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![float, odd, integer, switch, text, other]
    }

    fn row() -> impl Strategy<Value = Vec<u8>> {
        let time =
            prop_oneof![Just(std::vec![0_u8]), (0x80_u8.., 0_u8..0x80).prop_map(|(low, high)| std::vec![low, high])];
        let tail = prop_oneof![
            (0_u8..3, 0_u8..4).prop_map(|(unit, quality)| std::vec![unit, quality]),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        (time, 0_u8..3, sample(), tail)
            .prop_map(|(time, subject, sample, tail)| [time, std::vec![subject], sample, tail].concat())
    }

    proptest! {
        #[test]
        fn the_quick_way_reads_what_postcard_reads_and_refuses_what_it_refuses(rows in prop::collection::vec(row(), 1..5)) {
            let bytes = rows.concat();
            let quick = decoder(&bytes, rows.len() as u32);
            let by_postcard = Decoder { units_are_codes: false, ..decoder(&bytes, rows.len() as u32) };
            // As texts, in which numbers that are no numbers are equal, and zeros have their sign.
            let told = |decoder: Decoder<'_>| decoder.map(|record| std::format!("{record:?}")).collect::<Vec<_>>();
            prop_assert_eq!(told(quick), told(by_postcard));
        }
    }

    #[test]
    fn the_quick_way_takes_numbers_and_switches_and_nothing_else() {
        let taken = |row: &[u8]| decoder(row, 1).plain_sample().is_some();
        let float = [&[0, 0], &81.4_f64.to_le_bytes()[..], &[0, 0]].concat();
        assert!(taken(&float) && taken(&[0, 1, 0x83, 1, 1, 2]) && taken(&[0, 2, 1, 0, 1]));
        let infinite = [&[0, 0], &f64::INFINITY.to_le_bytes()[..], &[0, 0]].concat();
        for other in
            [&infinite[..], &float[..11], &[0, 3, 1, b'a', 0, 0], &[0, 2, 2, 0, 0], &[0, 1, 2, 2, 0], &[1, 0, 0, 0]]
        {
            assert!(!taken(other), "{other:?}");
        }
    }
}
