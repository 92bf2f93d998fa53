//! Events to the body of a batch: codec 1 of the protocol, written into a buffer of fixed size.

use afferent_protocol::codec::body;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Subject, Timestamp};
use afferent_protocol::wire::Writer;
use heapless::Vec;

use crate::limits::{BATCH_BODY_BYTES_MAX, SUBJECTS_MAX, UNITS_BYTES_MAX};

/// The open batch has no room for this event: seal it, then push again into the empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is full")]
pub struct Full;

/// Times of the earliest and the latest event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// The rows of an open batch, with a body no longer than the buffer that they lie in.
#[derive(Debug)]
pub struct Rows<'m> {
    bytes: &'m mut [u8],
    len: usize,
    count: u16,
    last_time: i64,
    times: Option<Times>,
    subjects: Vec<&'static str, SUBJECTS_MAX>,
    subjects_bytes: usize,
    /// Units behind a length byte each.
    units: Vec<u8, UNITS_BYTES_MAX>,
    units_count: u8,
}

impl<'m> Rows<'m> {
    /// An empty one.
    pub fn new(buffer: &'m mut [u8]) -> Self {
        let len = buffer.len().min(BATCH_BODY_BYTES_MAX);
        Self {
            bytes: buffer.get_mut(..len).unwrap_or(&mut []),
            len: 0,
            count: 0,
            last_time: 0,
            times: None,
            subjects: Vec::new(),
            subjects_bytes: 0,
            units: Vec::new(),
            units_count: 0,
        }
    }

    /// Events in it.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Times of the earliest and the latest event; `None` when it is empty.
    pub const fn times(&self) -> Option<Times> {
        self.times
    }

    /// Adds an event that was checked, or leaves everything as it was.
    pub fn push(&mut self, time: Timestamp, subject: Subject<'static>, body: &Body<'_>) -> Result<(), Full> {
        let before = (self.subjects.len(), self.subjects_bytes, self.units.len(), self.units_count);
        match self.row_len(time, subject.as_str(), body) {
            Some(len) if self.body_len() + len <= self.bytes.len() => self.len += len,
            _ => {
                let (subjects, subjects_bytes, units, units_count) = before;
                self.subjects.truncate(subjects);
                self.units.truncate(units);
                (self.subjects_bytes, self.units_count) = (subjects_bytes, units_count);
                return Err(Full);
            }
        }
        let times = self.times.unwrap_or(Times { first: time, last: time });
        self.times = Some(Times { first: times.first.min(time), last: times.last.max(time) });
        self.last_time = time.micros();
        self.count += 1;
        Ok(())
    }

    /// Writes a row behind the others; gives its length.
    fn row_len(&mut self, time: Timestamp, subject: &'static str, body: &Body<'_>) -> Option<usize> {
        if self.count == u16::MAX {
            return None;
        }
        let subject = self.subject(subject)?;
        let unit = if let Body::Sample(sample) = body { self.unit(sample.unit)? } else { 0 };
        let mut row = Writer::new(self.bytes.get_mut(self.len..)?);
        row.signed(time.micros() - self.last_time);
        row.byte(subject);
        body::put(&mut row, body, unit);
        row.written()
    }

    fn subject(&mut self, subject: &'static str) -> Option<u8> {
        if let Some(index) = self.subjects.iter().position(|known| *known == subject) {
            return Some(index as u8);
        }
        self.subjects.push(subject).ok()?;
        self.subjects_bytes += subject.len() + if subject.len() < 128 { 1 } else { 2 };
        Some(self.subjects.len() as u8 - 1)
    }

    fn unit(&mut self, unit: &str) -> Option<u8> {
        let mut rest = &self.units[..];
        let mut index = 0;
        while let Some((len, after)) = rest.split_first() {
            let (known, after) = after.split_at_checked(usize::from(*len))?;
            if known == unit.as_bytes() {
                return Some(index);
            }
            (rest, index) = (after, index + 1);
        }
        self.units.push(unit.len() as u8).ok()?;
        self.units.extend_from_slice(unit.as_bytes()).ok()?;
        self.units_count += 1;
        Some(index)
    }

    /// Bytes that the body would have if it were finished now.
    pub fn body_len(&self) -> usize {
        2 + self.subjects_bytes + self.units.len() + self.len
    }

    /// Writes the body to the start of `out`; gives its length, or `None` when it does not fit. Nothing is forgotten.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(out);
        out.byte(self.subjects.len() as u8);
        self.subjects.iter().for_each(|subject| out.text(subject));
        out.byte(self.units_count);
        out.bytes(&self.units);
        out.bytes(self.bytes.get(..self.len)?);
        out.written()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.subjects.clear();
        self.units.clear();
        (self.len, self.count, self.last_time, self.times) = (0, 0, 0, None);
        (self.subjects_bytes, self.units_count) = (0, 0);
    }
}
