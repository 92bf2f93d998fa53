//! From tasks and interrupts to the main loop: a queue that never waits, and records the loss where entries did not
//! fit.
//!
//! Every access is one short critical section, a constant number of copies long, so that an interrupt and a task that
//! record at the same moment cannot disagree about what was lost and where. When an entry does not fit, its stream is
//! *losing*: lost entries are counted, and the next entry that fits is preceded by the loss.

use core::cell::RefCell;

use afferent_protocol::event::{Body, Event, EventError};
use afferent_protocol::ids::{Stream, Subject, Timestamp};
use critical_section::Mutex;
use heapless::Deque;

/// An event on its way to the main loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Microseconds since boot.
    pub tick_us: u64,
    /// Subject of the event.
    pub subject: Subject<'static>,
    /// Body of the event.
    pub body: Body<'static>,
}

/// What comes out of the recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drained {
    /// An entry.
    Entry(Entry),
    /// Entries that did not fit; they were recorded after what came out before, and before what comes out next.
    Lost {
        /// Their stream.
        stream: Stream,
        /// Number of lost entries.
        count: u32,
        /// When the first of them was recorded.
        tick_us: u64,
    },
}

/// Why an entry was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The main loop did not empty the recorder in time. The entry is counted, and declared before the next one that
    /// fits.
    #[error("the recorder is full; the entry is counted as lost")]
    Lost,
    /// The event is invalid: a value that is not a number, or a text over its limit. Nothing is counted.
    #[error("the event is invalid: {0}")]
    Invalid(#[from] EventError),
}

#[derive(Clone, Copy, Debug)]
struct Losing {
    /// Zero when nothing is being lost.
    count: u32,
    tick_us: u64,
}

#[derive(Debug)]
struct Entries<const N: usize> {
    entries: Deque<Drained, N>,
    /// By the stream's number.
    losing: [Losing; 2],
}

/// The recorder, with room for `N` entries and losses; it is meant to be a static.
#[derive(Debug)]
pub struct Recorder<const N: usize> {
    inner: Mutex<RefCell<Entries<N>>>,
}

impl<const N: usize> Default for Recorder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Recorder<N> {
    /// An empty recorder.
    pub const fn new() -> Self {
        const { assert!(N >= 4, "an entry and the losses of both streams must fit") };
        Self {
            inner: Mutex::new(RefCell::new(Entries {
                entries: Deque::new(),
                losing: [Losing { count: 0, tick_us: 0 }; 2],
            })),
        }
    }

    /// Records an event; never waits.
    pub fn record(&self, tick_us: u64, subject: Subject<'static>, body: Body<'static>) -> Result<(), RecordError> {
        Event { time: Timestamp::default(), subject, body }.check()?;
        let entry = Entry { tick_us, subject, body };
        critical_section::with(|cs| match self.inner.borrow(cs).try_borrow_mut() {
            Ok(mut entries) => entries.record(entry),
            // Nothing inside of the critical sections calls back: this cannot be.
            Err(_) => Err(RecordError::Lost),
        })
    }

    /// Takes the oldest entry or loss.
    pub fn take(&self) -> Option<Drained> {
        critical_section::with(|cs| self.inner.borrow(cs).try_borrow_mut().ok()?.take())
    }
}

impl<const N: usize> Entries<N> {
    fn record(&mut self, entry: Entry) -> Result<(), RecordError> {
        let losses = self.losing.iter().filter(|losing| losing.count > 0).count();
        if self.entries.capacity() - self.entries.len() <= losses {
            self.lose(stream_of(&entry.body), entry.tick_us);
            return Err(RecordError::Lost);
        }
        for stream in Stream::ALL {
            if let Some(loss) = self.take_loss(stream) {
                // There is room: it was counted.
                let _ = self.entries.push_back(loss);
            }
        }
        self.entries.push_back(Drained::Entry(entry)).map_err(|_| RecordError::Lost)
    }

    fn lose(&mut self, stream: Stream, tick_us: u64) {
        let losing = &mut self.losing[usize::from(stream.number())];
        if losing.count == 0 {
            losing.tick_us = tick_us;
        }
        losing.count = losing.count.saturating_add(1);
    }

    fn take_loss(&mut self, stream: Stream) -> Option<Drained> {
        let losing = &mut self.losing[usize::from(stream.number())];
        let count = core::mem::take(&mut losing.count);
        (count > 0).then_some(Drained::Lost { stream, count, tick_us: losing.tick_us })
    }

    fn take(&mut self) -> Option<Drained> {
        let next = self.entries.pop_front();
        // A loss is reported when nothing is left before it, even if nothing is ever recorded again.
        next.or_else(|| self.take_loss(Stream::Critical)).or_else(|| self.take_loss(Stream::Samples))
    }
}

/// The stream that carries such a body.
pub(crate) const fn stream_of(body: &Body<'_>) -> Stream {
    match body {
        Body::Sample(_) => Stream::Samples,
        _ => Stream::Critical,
    }
}
