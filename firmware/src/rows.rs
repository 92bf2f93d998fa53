//! Events to the body of a batch: codec 1 of the protocol, written into a buffer of fixed size.
//!
//! The buffer holds the body as it will be sent, at any time: a new subject or unit moves what comes after it.

use afferent_protocol::codec::body;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Subject, Timestamp};
use afferent_protocol::wire::{Writer, take_varint};

use crate::limits::{BATCH_BODY_BYTES_MAX, SUBJECTS_MAX, UNITS_MAX};

/// The rows of an open batch, with a body no longer than the buffer that they lie in.
#[derive(Debug)]
pub struct Rows<'m> {
    bytes: &'m mut [u8],
    /// Where the units begin, and the rows.
    units_at: usize,
    rows_at: usize,
    len: usize,
    count: u16,
    last: Timestamp,
    times: (Timestamp, Timestamp),
}

impl<'m> Rows<'m> {
    /// Empty rows in this buffer.
    pub fn new(buffer: &'m mut [u8]) -> Self {
        let len = buffer.len().min(BATCH_BODY_BYTES_MAX);
        let bytes = buffer.get_mut(..len).unwrap_or(&mut []);
        let (last, times) = Default::default();
        let mut rows = Self { bytes, units_at: 0, rows_at: 0, len: 0, count: 0, last, times };
        rows.clear();
        rows
    }

    /// Events in it.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Times of the earliest and the latest event; without meaning when it is empty.
    pub const fn times(&self) -> (Timestamp, Timestamp) {
        self.times
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Adds an event that was checked. `None` leaves everything as it was: there is no room; seal the batch, then push
    /// again into the empty one.
    pub fn push(&mut self, time: Timestamp, subject: Subject<'static>, body: &Body<'_>) -> Option<()> {
        let (subject, unit) = (subject.as_str(), if let Body::Sample(sample) = body { sample.unit } else { "" });
        let subject_at = find(self.bytes.get(1..self.units_at)?, subject);
        let unit_at = match body {
            Body::Sample(_) => find(self.bytes.get(self.units_at + 1..self.rows_at)?, unit),
            _ => TextIndex { index: 0, needs: 0 },
        };
        let count = self.count.checked_add(1)?;
        if usize::from(subject_at.index) >= SUBJECTS_MAX || usize::from(unit_at.index) >= UNITS_MAX {
            return None;
        }
        let mut row = Writer::new(self.bytes.get_mut(self.len..)?);
        row.signed(time.micros() - self.last.micros());
        row.byte(subject_at.index);
        body::put(&mut row, body, unit_at.index);
        let len = self.len + row.written()?;
        if len + subject_at.needs + unit_at.needs > self.bytes.len() {
            return None;
        }
        self.len = len;
        self.insert(self.rows_at, self.units_at, unit, unit_at.needs);
        self.insert(self.units_at, 0, subject, subject_at.needs);
        self.units_at += subject_at.needs;
        self.rows_at += subject_at.needs + unit_at.needs;
        let (first, last) = if self.count == 0 { (time, time) } else { self.times };
        (self.times, self.last, self.count) = ((first.min(time), last.max(time)), time, count);
        Some(())
    }

    /// Puts a text of the dictionary whose count stands at `count_at` to its place, in so many bytes; nothing in none.
    #[inline(never)]
    fn insert(&mut self, at: usize, count_at: usize, text: &str, needs: usize) {
        if needs == 0 {
            return;
        }
        make_room(self.bytes.get_mut(at..self.len + needs).unwrap_or(&mut []), needs);
        Writer::new(self.bytes.get_mut(at..).unwrap_or(&mut [])).text(text);
        if let Some(count) = self.bytes.get_mut(count_at) {
            *count = count.wrapping_add(1);
        }
        self.len += needs;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // Two dictionaries of nothing.
        Writer::new(self.bytes).bytes(&[0, 0]);
        (self.units_at, self.rows_at, self.len) = (1, 2, 2);
        (self.count, self.last) = (0, Timestamp::default());
    }
}

/// The index of a text in a dictionary, and how many bytes it needs there if it is new.
struct TextIndex {
    index: u8,
    needs: usize,
}

#[inline(never)]
fn find(mut texts: &[u8], text: &str) -> TextIndex {
    let mut index = 0;
    while let Some(len) = take_varint(&mut texts)
        && let Some((known, after)) = texts.split_at_checked(len as usize)
    {
        if known == text.as_bytes() {
            return TextIndex { index, needs: 0 };
        }
        (texts, index) = (after, index + 1);
    }
    TextIndex { index, needs: text.len() + if text.len() < 0x80 { 1 } else { 2 } }
}

/// Moves all bytes to the back by `by`; the last `by` of them are overwritten.
#[inline(never)]
pub fn make_room(bytes: &mut [u8], by: usize) {
    for at in (by..bytes.len()).rev() {
        let byte = bytes.get(at - by).copied().unwrap_or(0);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
    }
}
