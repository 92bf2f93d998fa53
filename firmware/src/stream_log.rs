//! One stream of a device: open rows, sealed batches in a queue, and which sequences are still to be had.
//!
//! The queue is first in, first out over all epochs. A *run* is a stretch of batches of one epoch without a hole; the runs
//! are what is offered to the agent, and an item that no run covers is garbage, to be popped when it comes to the front.

use afferent_protocol::batch::{ClockReading, HEADER_LEN};
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Epoch, Sequence, SequenceRange, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::{Check, Held, Lane};
use heapless::Vec;

use crate::limits::{LANES_MAX, RUNS_MAX};
use crate::queue::{PushError, Queue};
use crate::rows::{Full, Rows};
use crate::stored::{HEAD_LEN, Head, expand};

/// Where an item lies in a work buffer, so that it can become a batch in place.
const ITEM_AT: usize = HEADER_LEN - HEAD_LEN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    epoch: Epoch,
    /// Everything before is acked or given up.
    first: Sequence,
    end: Sequence,
}

impl Run {
    fn covers(&self, head: &Head) -> bool {
        self.epoch == head.epoch && self.first <= head.first && head.first < self.end
    }
}

/// Sequences of one epoch that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The epoch.
    pub epoch: Epoch,
    /// Which.
    pub range: SequenceRange,
}

/// One stream.
pub struct StreamLog<'m> {
    stream: Stream,
    queue: &'m mut dyn Queue,
    rows: Rows<'m>,
    opened_us: u64,
    epoch: Epoch,
    /// Sequence of the first open row.
    next: Sequence,
    /// The end of the last sealed batch of the epoch, and its `crc`.
    sealed_end: Sequence,
    previous: u32,
    runs: Vec<Run, RUNS_MAX>,
}

impl<'m> StreamLog<'m> {
    /// Opens what the queue holds; open rows lie in `body`. `fresh` is the epoch to begin when the queue holds nothing.
    /// `damaged` gets the holes that nobody has declared. `work` has room for the longest item.
    pub fn open(
        stream: Stream,
        (queue, body): (&'m mut dyn Queue, &'m mut [u8]),
        fresh: Epoch,
        work: &mut [u8],
        damaged: &mut dyn FnMut(Hole),
    ) -> Self {
        let mut log = Self {
            stream,
            queue,
            rows: Rows::new(body),
            opened_us: 0,
            epoch: fresh,
            next: Sequence::ZERO,
            sealed_end: Sequence::ZERO,
            previous: 0,
            runs: Vec::new(),
        };
        let Self { queue, runs, .. } = &mut log;
        let mut last: Option<Head> = None;
        // A queue that cannot be read is like an empty one: what it holds is not lost by that.
        let _ = queue.find(work, &mut |item| {
            let Some(head) = Head::decode(item) else { return false };
            if let Some(before) = last
                && before.epoch == head.epoch
                && before.end() < head.first
                && !head.declared
            {
                damaged(Hole { epoch: head.epoch, range: SequenceRange { first: before.end(), end: head.first } });
            }
            if !runs.is_full() || extends(runs, &head) {
                extend(runs, &head);
                last = Some(head);
            }
            false
        });
        if let Some(last) = last {
            log.epoch = last.epoch;
            log.next = last.end();
            log.sealed_end = last.end();
            log.previous = last.crc;
        }
        log
    }

    /// The lane that open rows will belong to.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What new events belong to from now on; the rows must be sealed or empty.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        (self.next, self.sealed_end, self.previous) = (Sequence::ZERO, Sequence::ZERO, 0);
    }

    /// Adds an event to the open rows.
    pub fn push(
        &mut self,
        tick_us: u64,
        time: Timestamp,
        subject: Subject<'static>,
        body: &Body<'_>,
    ) -> Result<(), Full> {
        if self.rows.is_empty() {
            self.opened_us = tick_us;
        }
        self.rows.push(time, subject, body)
    }

    /// Whether there are open rows; since when, if so.
    pub fn opened_us(&self) -> Option<u64> {
        (!self.rows.is_empty()).then_some(self.opened_us)
    }

    /// Whether the queue keeps a quarter of its room when the open rows are sealed now.
    pub fn is_roomy(&mut self) -> bool {
        self.queue.is_roomy(HEAD_LEN + self.rows.body_len())
    }

    /// Seals the open rows, if there are any: when this gives `Ok`, they are in the queue; else they are open still.
    pub fn seal(&mut self, clock: &ClockReading, source: &SourceId, work: &mut [u8]) -> Result<(), PushError> {
        let Some(times) = self.rows.times() else { return Ok(()) };
        if self.runs.is_full() && self.next != self.sealed_end {
            return Err(PushError::Full);
        }
        let (place, body) = work.split_at_mut_checked(HEAD_LEN).ok_or(PushError::TooLong)?;
        let body_len = self.rows.write(body).ok_or(PushError::TooLong)?;
        let body = body.get(..body_len).ok_or(PushError::TooLong)?;
        let head = Head {
            epoch: self.epoch,
            first: self.next,
            time_first: times.first,
            time_last: times.last,
            clock: *clock,
            previous: self.previous,
            crc: 0,
            count: self.rows.count(),
            body_len: body_len as u16,
            declared: self.next != self.sealed_end,
        };
        let head = head.sealed(source, self.stream, body);
        place.copy_from_slice(&head.encode());
        self.queue.push(work.get(..HEAD_LEN + body_len).ok_or(PushError::TooLong)?)?;
        extend(&mut self.runs, &head);
        (self.next, self.sealed_end, self.previous) = (head.end(), head.end(), head.crc);
        self.rows.clear();
        Ok(())
    }

    /// Gives the next `count` sequences to events that are lost; the rows must be sealed or empty.
    pub fn skip(&mut self, count: u64) -> Hole {
        let first = self.next;
        self.next = Sequence::new(first.get().saturating_add(count));
        Hole { epoch: self.epoch, range: SequenceRange { first, end: self.next } }
    }

    /// Gives up the oldest batch; tells which sequences that were, or `None` when there is none.
    pub fn evict(&mut self, work: &mut [u8]) -> Option<Hole> {
        self.pop_garbage(work);
        let head = self.front(work)?;
        let run = self.runs.iter_mut().find(|run| run.covers(&head))?;
        run.first = head.end();
        self.drop_empty_runs();
        self.pop_garbage(work);
        Some(Hole { epoch: head.epoch, range: SequenceRange { first: head.first, end: head.end() } })
    }

    /// The agent has everything of the epoch before `end`.
    pub fn release(&mut self, epoch: Epoch, end: Sequence, work: &mut [u8]) {
        for run in self.runs.iter_mut().filter(|run| run.epoch == epoch && run.first < end) {
            run.first = end.min(run.end);
        }
        self.drop_empty_runs();
        self.pop_garbage(work);
    }

    /// Gives up everything of an epoch.
    pub fn give_up(&mut self, epoch: Epoch, work: &mut [u8]) -> Option<Hole> {
        let mut of_epoch = self.runs.iter().filter(|run| run.epoch == epoch);
        let first = of_epoch.next().copied();
        let end = of_epoch.next_back().or(first.as_ref()).map(|run| run.end);
        self.runs.retain(|run| run.epoch != epoch);
        self.pop_garbage(work);
        let range = SequenceRange { first: first?.first, end: end? };
        (range.count() > 0).then_some(Hole { epoch, range })
    }

    /// What is held of every epoch up to its first hole, oldest epoch first; as much of it as `held` has room for.
    pub fn held(&self, held: &mut Vec<Held, LANES_MAX>) {
        let now = Run { epoch: self.epoch, first: self.next, end: self.next };
        for run in self.runs.iter().chain([&now]) {
            let lane = Lane { stream: self.stream, epoch: run.epoch };
            if held.iter().all(|known| known.lane != lane) {
                let _ = held.push(Held { lane, first: run.first, end: run.end });
            }
        }
    }

    /// Makes, at the start of `work`, the batch that begins at `from`; gives its head and length.
    pub fn read(&mut self, epoch: Epoch, from: Sequence, source: &SourceId, work: &mut [u8]) -> Option<(Head, usize)> {
        let wanted = |head: Head| head.epoch == epoch && head.first == from;
        let place = work.get_mut(ITEM_AT..)?;
        let len = self.queue.find(place, &mut |item| Head::decode(item).is_some_and(wanted)).ok()??;
        expand(work, len, source, self.stream)
    }

    /// The check of the batch that ends at `end`, as far as it is known.
    pub fn check(&mut self, epoch: Epoch, end: Sequence, work: &mut [u8]) -> Option<Check> {
        if epoch == self.epoch && end == self.sealed_end && end > Sequence::ZERO {
            return Some(Check(self.previous.into()));
        }
        let mut found = None;
        let _ = self.queue.find(work, &mut |item| {
            let head = Head::decode(item).filter(|head| head.epoch == epoch);
            found = head.and_then(|head| match head {
                Head { crc, .. } if head.end() == end => Some(crc),
                Head { first, previous, .. } if first == end && first > Sequence::ZERO => Some(previous),
                _ => None,
            });
            found.is_some()
        });
        found.map(|crc| Check(crc.into()))
    }

    fn front(&mut self, work: &mut [u8]) -> Option<Head> {
        let len = self.queue.find(work, &mut |_| true).ok()??;
        Head::decode(work.get(..len)?)
    }

    fn pop_garbage(&mut self, work: &mut [u8]) {
        loop {
            let mut is_wanted = false;
            let runs = &self.runs;
            let found = self.queue.find(work, &mut |item| {
                is_wanted = Head::decode(item).is_some_and(|head| runs.iter().any(|run| run.covers(&head)));
                true
            });
            if is_wanted || !matches!(found, Ok(Some(_))) || !matches!(self.queue.pop(), Ok(true)) {
                return;
            }
        }
    }

    /// An empty run is kept while it is the end of the epoch that goes on.
    fn drop_empty_runs(&mut self) {
        let (epoch, next) = (self.epoch, self.next);
        self.runs.retain(|run| run.first < run.end || (run.epoch == epoch && run.end == next));
    }
}

fn extends(runs: &[Run], head: &Head) -> bool {
    runs.last().is_some_and(|last| last.epoch == head.epoch && last.end == head.first)
}

/// Takes a batch into the runs, which have room for one more, or end where it begins.
fn extend(runs: &mut Vec<Run, RUNS_MAX>, head: &Head) {
    let run = Run { epoch: head.epoch, first: head.first, end: head.end() };
    match runs.last_mut() {
        Some(last) if last.epoch == run.epoch && last.end == run.first => last.end = run.end,
        Some(last) if last.first == last.end => *last = run,
        _ => {
            let _ = runs.push(run);
        }
    }
}
