//! Events to the body of a batch: codec 1 of the protocol, written into a buffer of fixed size.

use afferent_protocol::event::{Body, Quality, Sample, Value};
use afferent_protocol::ids::{Subject, Timestamp};
use heapless::{Vec, VecView};

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

/// The rows of an open batch with a body of at most `N` bytes.
#[derive(Debug)]
pub struct Rows<const N: usize> {
    bytes: Vec<u8, N>,
    count: u16,
    last_time: i64,
    times: Option<Times>,
    subjects: Vec<&'static str, SUBJECTS_MAX>,
    subjects_bytes: usize,
    /// Units behind a length byte each.
    units: Vec<u8, UNITS_BYTES_MAX>,
    units_count: u8,
}

impl<const N: usize> Default for Rows<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Rows<N> {
    /// An empty one.
    pub const fn new() -> Self {
        const { assert!(N <= BATCH_BODY_BYTES_MAX) };
        Self {
            bytes: Vec::new(),
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
        let before = (self.bytes.len(), self.subjects.len(), self.subjects_bytes, self.units.len(), self.units_count);
        let done = self.try_push(time, subject.as_str(), body);
        if done.is_err() || self.body_len() > N {
            let (bytes, subjects, subjects_bytes, units, units_count) = before;
            self.bytes.truncate(bytes);
            self.subjects.truncate(subjects);
            self.units.truncate(units);
            (self.subjects_bytes, self.units_count) = (subjects_bytes, units_count);
            return Err(Full);
        }
        let times = self.times.unwrap_or(Times { first: time, last: time });
        self.times = Some(Times { first: times.first.min(time), last: times.last.max(time) });
        self.last_time = time.micros();
        self.count += 1;
        Ok(())
    }

    fn try_push(&mut self, time: Timestamp, subject: &'static str, body: &Body<'_>) -> Result<(), Full> {
        if self.count == u16::MAX {
            return Err(Full);
        }
        let subject = self.subject(subject)?;
        let delta = time.micros() - self.last_time;
        put_varint(&mut self.bytes, ((delta << 1) ^ (delta >> 63)) as u64)?;
        self.put(subject)?;
        match body {
            Body::Sample(sample) => self.put_sample(sample),
            body => self.put_other(body),
        }
    }

    fn put_sample(&mut self, sample: &Sample<'_>) -> Result<(), Full> {
        let unit = self.unit(sample.unit)?;
        self.put(0)?;
        match sample.value {
            Value::Float(value) => {
                self.put(0)?;
                self.bytes.extend_from_slice(&value.to_le_bytes()).map_err(|_| Full)?;
            }
            Value::Integer(value) => {
                self.put(1)?;
                put_varint(&mut self.bytes, ((value << 1) ^ (value >> 63)) as u64)?;
            }
            Value::Bool(value) => {
                self.put(2)?;
                self.put(u8::from(value))?;
            }
            Value::Text(text) => {
                self.put(3)?;
                put_varint(&mut self.bytes, text.len() as u64)?;
                self.bytes.extend_from_slice(text.as_bytes()).map_err(|_| Full)?;
            }
        }
        self.put(unit)?;
        self.put(match sample.quality {
            Quality::Good => 0,
            Quality::Uncertain => 1,
            Quality::Bad => 2,
        })
    }

    fn put_other(&mut self, body: &Body<'_>) -> Result<(), Full> {
        // Of any length, and never inlined: dozens of calls share one copy of the code.
        struct Tail<'v>(&'v mut VecView<u8>);
        impl postcard::ser_flavors::Flavor for Tail<'_> {
            type Output = ();
            #[inline(never)]
            fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
                self.0.push(byte).map_err(|_| postcard::Error::SerializeBufferFull)
            }
            #[inline(never)]
            fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
                self.0.extend_from_slice(bytes).map_err(|_| postcard::Error::SerializeBufferFull)
            }
            fn finalize(self) -> postcard::Result<()> {
                Ok(())
            }
        }
        postcard::serialize_with_flavor(body, Tail(&mut self.bytes)).map_err(|_| Full)
    }

    #[inline(never)]
    fn put(&mut self, byte: u8) -> Result<(), Full> {
        self.bytes.push(byte).map_err(|_| Full)
    }

    fn subject(&mut self, subject: &'static str) -> Result<u8, Full> {
        if let Some(index) = self.subjects.iter().position(|known| *known == subject) {
            return Ok(index as u8);
        }
        self.subjects.push(subject).map_err(|_| Full)?;
        self.subjects_bytes += subject.len() + if subject.len() < 128 { 1 } else { 2 };
        Ok(self.subjects.len() as u8 - 1)
    }

    fn unit(&mut self, unit: &str) -> Result<u8, Full> {
        let mut rest = &self.units[..];
        let mut index = 0;
        while let Some((len, after)) = rest.split_first() {
            let Some((known, after)) = after.split_at_checked(usize::from(*len)) else { break };
            if known == unit.as_bytes() {
                return Ok(index);
            }
            (rest, index) = (after, index + 1);
        }
        self.units.push(unit.len() as u8).map_err(|_| Full)?;
        self.units.extend_from_slice(unit.as_bytes()).map_err(|_| Full)?;
        self.units_count += 1;
        Ok(index)
    }

    /// Bytes that the body would have if it were finished now.
    pub fn body_len(&self) -> usize {
        2 + self.subjects_bytes + self.units.len() + self.bytes.len()
    }

    /// Writes the body to the start of `out`; gives its length, or `None` when it does not fit. Nothing is forgotten.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut at = Writer { out, len: 0 };
        at.put(&[self.subjects.len() as u8])?;
        for subject in &self.subjects {
            let len = subject.len();
            if len < 128 {
                at.put(&[len as u8])?
            } else {
                at.put(&[len as u8 | 0x80, (len >> 7) as u8])?
            }
            at.put(subject.as_bytes())?;
        }
        at.put(&[self.units_count])?;
        at.put(&self.units)?;
        at.put(&self.bytes)?;
        Some(at.len)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.subjects.clear();
        self.units.clear();
        (self.count, self.last_time, self.times) = (0, 0, None);
        (self.subjects_bytes, self.units_count) = (0, 0);
    }
}

struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

#[inline(never)]
fn put_varint(out: &mut VecView<u8>, mut value: u64) -> Result<(), Full> {
    while value >= 0x80 {
        out.push(value as u8 | 0x80).map_err(|_| Full)?;
        value >>= 7;
    }
    out.push(value as u8).map_err(|_| Full)
}
