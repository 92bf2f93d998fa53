//! One stream of a device: open rows, sealed batches in a queue, and which sequences are still to be had.
//!
//! The queue is first in, first out over all epochs. A *run* is a stretch of batches of one epoch without a hole; the
//! runs are what is offered to the agent, and an item that no run covers is garbage, to be popped when it comes to the
//! front. Only the first run is under way: what comes after it is sent once the agent has all of it.
//!
//! When the agent has something else in the epoch of the first run, the two histories have parted, and what the agent
//! does not have goes under other epochs: see [`parted`].
//!
//! Sequences are counted in 32 bits here: an epoch ends long before they are used up, see [`StreamLog::is_used_up`].

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::session::{Check, Held, Lane};
use heapless::Vec;

use crate::limits::{LANES_MAX, RUNS_MAX, SEQUENCES_MAX, WINDOW_BYTES};
use crate::queue::{Broken, PushError, Queue};
use crate::rows::Rows;
use crate::stored::{self, HEAD_LEN, Head, ITEM_AT};
use parted::Parting;

pub mod parted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    epoch: Epoch,
    /// Everything before is acked or given up.
    first: u32,
    end: u32,
}

impl Run {
    /// Where the events of its first batch end, which end at `end` after they were sealed again.
    const fn kept_end(&self, end: u32) -> u32 {
        self.first.saturating_add(end).saturating_sub(1)
    }

    fn covers(&self, head: &Head) -> bool {
        self.epoch == head.epoch && self.first <= head.first && head.first < self.end
    }
}

/// Sequences of one epoch that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The epoch.
    pub epoch: Epoch,
    /// The first of them.
    pub first: u32,
    /// The first one after them.
    pub end: u32,
}

/// Events that came after the open rows and were lost.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Number of events.
    pub count: u32,
    /// When the first of them came.
    pub tick_us: u64,
}

/// What of the first run is in flight, and for how long the agent has not answered it.
#[derive(Clone, Copy, Debug)]
struct Sent {
    epoch: Epoch,
    /// What comes next is what the agent expects next, as far as is known here.
    end: u32,
    /// Bytes on the way to `end`.
    bytes: usize,
    /// When the stream last got on, or began to wait; in ticks of the session.
    since: u32,
    /// How often it waited in vain.
    tries: u8,
    /// A nack was answered by going back, or by a hello, since the stream last got on: the next one must not be
    /// answered in the same way, or two sides that misunderstand each other would do so forever at the speed of the
    /// line.
    went_back: bool,
    greeted: bool,
}

/// What to send next for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: everything is sent, or the window is full, or an answer is waited for.
    Nothing,
    /// The batch that is [ready](StreamLog::ready).
    Batch,
    /// The agent must hear, before the next batch, that what lies before it will not come.
    Hello,
    /// A hello: the agent must answer what it has before the first batch of a lane.
    Welcome,
    /// A hello, because the agent has not answered for too long.
    Late,
    /// A hello, because the histories may have parted, see [`parted`].
    Answer,
}

/// The log of one stream of a device.
pub struct StreamLog<'m> {
    stream: Stream,
    queue: &'m mut dyn Queue,
    /// The open batch.
    pub rows: Rows<'m>,
    /// When its first event happened.
    pub opened_us: u64,
    /// What was lost behind it.
    pub lost: Option<Lost>,
    epoch: Epoch,
    /// Sequence of the first open row.
    next: u32,
    /// The end of the last sealed batch of the epoch, and its `crc`.
    sealed_end: u32,
    previous: u32,
    runs: Vec<Run, RUNS_MAX>,
    sent: Sent,
    /// No boot has sent anything of the epoch from here on.
    unsent_from: u32,
    parting: Parting,
}

impl<'m> StreamLog<'m> {
    /// A stream that begins with this epoch, unless [`StreamLog::recover`] finds a different one; open rows lie in
    /// `body`.
    #[inline(never)]
    pub fn new(stream: Stream, (queue, body): (&'m mut dyn Queue, &'m mut [u8]), epoch: Epoch) -> Self {
        let sent = Sent { epoch, end: 0, bytes: 0, since: 0, tries: 0, went_back: false, greeted: false };
        Self {
            stream,
            queue,
            rows: Rows::new(body),
            opened_us: 0,
            lost: None,
            epoch,
            next: 0,
            sealed_end: 0,
            previous: 0,
            runs: Vec::new(),
            sent,
            unsent_from: 0,
            parting: Parting::NONE,
        }
    }

    /// Continues with what the queue holds; returns the undeclared holes. `work` has room for the longest item.
    pub fn recover(&mut self, work: &mut [u8]) -> Vec<Hole, RUNS_MAX> {
        let mut damaged = Vec::new();
        let Self { queue, runs, .. } = self;
        let mut last: Option<Head> = None;
        // A queue that cannot be read is like an empty one: what it holds is not lost by that.
        let _ = queue.find(work, &mut |item| {
            take_in(item, &mut last, runs, &mut damaged);
            false
        });
        if let Some(last) = last {
            (self.epoch, self.next, self.sealed_end, self.previous) = (last.epoch, last.end, last.end, last.crc);
            self.unsent_from = last.end;
        }
        damaged
    }

    /// The lane that open rows will belong to.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The lane of new events from now on, and of open rows: they get their sequences when they are sealed.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        (self.next, self.sealed_end, self.previous, self.unsent_from) = (0, 0, 0, 0);
    }

    /// Whether a new epoch is due.
    pub const fn is_used_up(&self) -> bool {
        self.next > SEQUENCES_MAX && self.rows.is_empty()
    }

    /// Whether the queue keeps a quarter of its room when the open rows are sealed now.
    pub fn is_roomy(&mut self) -> bool {
        self.queue.is_roomy(HEAD_LEN + self.rows.body().len())
    }

    /// Seals the open rows, of which there are some: when this gives `Ok`, they are in the queue; else they are open
    /// still.
    pub fn seal(&mut self, clock: &ClockReading, source: &SourceId, work: &mut [u8]) -> Result<(), PushError> {
        debug_assert!(!self.rows.is_empty(), "a batch has events");
        let goes_on = |last: &Run| last.first == last.end || (last.epoch, last.end) == (self.epoch, self.next);
        if self.runs.is_full() && !self.runs.last().is_some_and(goes_on) {
            return Err(PushError::Full);
        }
        let mut head = Head {
            epoch: self.epoch,
            first: self.next,
            end: self.next.saturating_add(self.rows.count().into()),
            previous: self.previous,
            crc: 0,
            declared: self.next != self.sealed_end,
        };
        let sealed = stored::seal(&self.rows, &head, clock, (source, self.stream), work);
        let (item, crc) = sealed.ok_or(PushError::TooLong)?;
        self.queue.push(item)?;
        head.crc = crc;
        extend(&mut self.runs, &head);
        (self.next, self.sealed_end, self.previous) = (head.end, head.end, crc);
        self.rows.clear();
        Ok(())
    }

    /// Gives the next `count` sequences to events that are lost; the rows must be sealed or empty.
    pub fn skip(&mut self, count: u32) -> Hole {
        debug_assert!(self.rows.is_empty(), "open rows keep their sequences");
        let first = self.next;
        self.next = first.saturating_add(count);
        Hole { epoch: self.epoch, first, end: self.next }
    }

    /// Gives up the oldest batch; returns its sequences, or `None` when there is none.
    pub fn evict(&mut self, work: &mut [u8]) -> Option<Hole> {
        let Head { epoch, first, end, .. } = self.front(work)?;
        self.let_go(epoch, end, work);
        Some(Hole { epoch, first, end })
    }

    /// Everything of the epoch before `end` is acked or given up.
    #[inline(never)]
    fn let_go(&mut self, epoch: Epoch, end: u32, work: &mut [u8]) {
        let under_way = self.runs.first().map(|run| run.epoch);
        let mut kept = 0;
        for at in 0..self.runs.len() {
            let Some(mut run) = self.runs.get(at).copied() else { break };
            if run.epoch == epoch {
                run.first = run.first.max(end.min(run.end));
            }
            // An empty run is kept while it is the end of the epoch that goes on.
            if (run.first < run.end || (run.epoch == self.epoch && run.end == self.next))
                && let Some(place) = self.runs.get_mut(kept)
            {
                *place = run;
                kept += 1;
            }
        }
        self.runs.truncate(kept);
        debug_assert!(self.runs.iter().all(|run| run.first <= run.end), "a run does not end before it begins");
        if self.runs.first().map(|run| run.epoch) != under_way {
            self.parting = Parting::NONE;
        }
        self.front(work);
    }

    /// What is held of every epoch up to its first hole, oldest epoch first; as much of it as `held` has room for.
    pub fn held(&self, held: &mut Vec<Held, LANES_MAX>) {
        let now = Run { epoch: self.epoch, first: self.next, end: self.next };
        if let Some(again) = self.again() {
            self.hold(again, held);
            return;
        }
        for run in self.runs.iter().chain([&now]) {
            let lane = Lane { stream: self.stream, epoch: run.epoch };
            if held.iter().all(|known| known.lane != lane) {
                let [first, end] = [run.first, run.end].map(|at| Sequence::new(at.into()));
                let _ = held.push(Held { lane, first, end });
            }
        }
    }

    /// Makes, at the start of `work`, the batch that begins at `from`; returns its end and its length, or `None` when
    /// what is in its place is damaged.
    #[inline(never)]
    pub fn read(
        &mut self,
        epoch: Epoch,
        from: u32,
        source: &SourceId,
        work: &mut [u8],
    ) -> Result<Option<(u32, usize)>, Broken> {
        let again = self.again_for(epoch);
        let (kept_epoch, kept_from) = again.map_or((epoch, from), |run| (run.epoch, run.first));
        let place = work.get_mut(ITEM_AT..).ok_or(Broken)?;
        let len = self.queue.find(place, &mut |item| begins_at(item, kept_epoch, kept_from))?;
        Ok(len.and_then(|len| match again {
            Some(_) => stored::seal_again(work, len, (source, self.stream), epoch),
            None => stored::expand(work, len, source),
        }))
    }

    /// Gives up the batch that is to be sent next, which is damaged, with all up to the next one that is not: once the
    /// agent has everything before it, so that the hole is the first run's beginning. Tells which sequences that were.
    #[inline(never)]
    pub fn pass_over(&mut self, work: &mut [u8]) -> Option<Hole> {
        let (lane, from) = self.under_way()?;
        if from != lane.first {
            return None;
        }
        let Run { epoch, first, mut end } = *self.runs.first()?;
        self.queue.find(work, &mut |item| lies_behind(item, epoch, first, &mut end)).ok()?;
        self.let_go(epoch, end, work);
        Some(Hole { epoch, first, end })
    }

    /// The check of the batch that ends at `end`, as far as it is known.
    pub fn check(
        &mut self,
        epoch: Epoch,
        end: u32,
        source: &SourceId,
        work: &mut [u8],
    ) -> Result<Option<Check>, Broken> {
        if self.again_for(epoch).is_some() {
            let sealed = self.read(epoch, 0, source, work)?.filter(|(its_end, _)| *its_end == end);
            return Ok(sealed.and_then(|_| crc_at_head(work)));
        }
        if epoch == self.epoch && end == self.sealed_end && end > 0 {
            return Ok(Some(Check(self.previous.into())));
        }
        let mut found = None;
        self.queue.find(work, &mut |item| {
            found = crc_of(item, epoch, end);
            found.is_some()
        })?;
        Ok(found.map(|crc| Check(crc.into())))
    }

    /// Pops what no run covers off the front; returns the first item that one does.
    #[inline(never)]
    fn front(&mut self, work: &mut [u8]) -> Option<Head> {
        loop {
            let len = self.queue.find(work, &mut |_| true).ok()??;
            if let Some(head) = Head::decode(work.get(..len)?)
                && self.runs.iter().any(|run| run.covers(&head))
            {
                return Some(head);
            }
            if !self.queue.pop().ok()? {
                return None;
            }
            self.sent.bytes = self.sent.bytes.saturating_sub(ITEM_AT + len);
        }
    }
}

/// Queries and notifications of the session.
impl StreamLog<'_> {
    /// The first sequence of the epoch that is not acked.
    pub fn first_of(&self, epoch: Epoch) -> Option<u32> {
        let lane = self.lane().into_iter().chain(self.runs.iter().skip(1).copied()).find(|run| run.epoch == epoch);
        lane.map(|run| run.first).or((epoch == self.epoch).then_some(self.next))
    }

    /// The first run, and from where on it is to be sent.
    fn under_way(&self) -> Option<(Run, u32)> {
        let run = self.lane()?;
        Some((run, if run.epoch == self.sent.epoch { run.first.max(self.sent.end) } else { run.first }))
    }

    /// What is to be sent next, if there is something and the window lets it.
    pub fn ready(&self) -> Option<(Epoch, u32)> {
        let (run, from) = self.under_way()?;
        let has_room = from == run.first || self.sent.bytes < WINDOW_BYTES;
        (from < run.end && has_room && !self.parting.is_asking()).then_some((run.epoch, from))
    }

    /// What the stream wants now. `is_over` returns whether a wait that began then, and was in vain so often, has been
    /// long enough.
    #[inline(never)]
    pub fn wants(&self, is_over: &dyn Fn(u32, u8) -> bool) -> Wants {
        let Some((run, from)) = self.under_way() else { return Wants::Nothing };
        let is_lane = run.epoch == self.sent.epoch;
        if self.waits().is_some_and(|(since, tries)| is_over(since, tries)) {
            Wants::Late
        } else if from < run.end && !is_lane {
            Wants::Welcome
        } else if self.parting.asks() {
            Wants::Answer
        } else if self.ready().is_none() {
            Wants::Nothing
        } else if from > 0 && from != self.sent.end {
            Wants::Hello
        } else {
            Wants::Batch
        }
    }

    /// A hello was sent, which names the beginning of the first run.
    pub fn hello_sent(&mut self) {
        let now = (self.epoch, self.next);
        (self.sent.epoch, self.sent.end) = self.under_way().map_or(now, |(run, from)| (run.epoch, from));
    }

    /// A welcome came: the first run is sent again from its beginning on.
    pub fn begin(&mut self, now: u32) {
        self.sent.end = 0;
        self.hello_sent();
        (self.sent.since, self.sent.went_back) = (now, false);
        self.ask_again();
    }

    /// The agent has less than it had at its last hello: send a new one.
    pub fn hello_needed(&mut self, epoch: Epoch) {
        if self.sent.epoch == epoch {
            self.sent.end = 0;
        }
    }

    /// What was ready went to the line: a batch that ends there, with so many bytes.
    pub fn sent(&mut self, now: u32, end: u32, len: usize) {
        let Some((run, from)) = self.under_way() else { return };
        if from == run.first {
            self.sent.bytes = 0;
            if !self.sent.went_back {
                self.sent.since = now;
            }
        }
        debug_assert!(from < end, "what is sent goes on");
        (self.sent.epoch, self.sent.end) = (run.epoch, end);
        self.sent.bytes += len;
        self.may_have(run.epoch, end);
    }

    /// The agent has everything of the epoch before `end` on its disk.
    pub fn release(&mut self, now: u32, epoch: Epoch, end: u32, work: &mut [u8]) {
        if epoch == self.sent.epoch {
            let end = end.max(self.sent.end);
            self.sent = Sent { end, since: now, tries: 0, went_back: false, greeted: false, ..self.sent };
        }
        match self.again_for(epoch) {
            Some(run) => self.let_go(run.epoch, run.kept_end(end), work),
            None => self.let_go(epoch, end, work),
        }
    }

    /// The agent misses what begins at `from`. It is sent again if a batch begins there; otherwise only a hello can
    /// settle it, which this asks for. Both are done once, then it takes progress or a timeout to do them again.
    pub fn nack(&mut self, epoch: Epoch, from: u32, source: &SourceId, work: &mut [u8]) -> bool {
        let Some((run, end)) = self.under_way() else { return false };
        if run.epoch != epoch {
            return false;
        }
        let can_go_back = !self.sent.went_back && run.first <= from && from <= end;
        if can_go_back && matches!(self.read(epoch, from, source, work), Ok(Some(_))) {
            (self.sent.end, self.sent.went_back) = (from, true);
            return false;
        }
        !core::mem::replace(&mut self.sent.greeted, true)
    }

    /// Since when an ack is waited for, and how often it was in vain.
    pub fn waits(&self) -> Option<(u32, u8)> {
        let (run, from) = self.under_way()?;
        (from > run.first || self.parting.is_asked()).then_some((self.sent.since, self.sent.tries))
    }

    /// It has waited in vain: the next time it waits for twice as long, `tries_max` times at most.
    pub fn be_patient(&mut self, tries_max: u8) {
        if self.waits().is_some() {
            self.sent.tries = (self.sent.tries + 1).min(tries_max);
        }
    }
}

// Never inlined, these four: what goes through a `dyn FnMut` is there twice.
#[inline(never)]
fn begins_at(item: &[u8], epoch: Epoch, from: u32) -> bool {
    Head::decode(item).is_some_and(|head| head.epoch == epoch && head.first == from)
}

/// Whether an item lies behind `first` in a run that ends at `end`, which becomes its beginning then.
#[inline(never)]
fn lies_behind(item: &[u8], epoch: Epoch, first: u32, end: &mut u32) -> bool {
    let behind = Head::decode(item).filter(|head| head.epoch == epoch && first < head.first && head.first < *end);
    behind.map(|head| *end = head.first).is_some()
}

/// Takes an item that was found into the runs, and the hole before it into the holes.
#[inline(never)]
fn take_in(item: &[u8], last: &mut Option<Head>, runs: &mut Vec<Run, RUNS_MAX>, damaged: &mut Vec<Hole, RUNS_MAX>) {
    let Some(head) = Head::decode(item) else { return };
    if let Some(before) = *last
        && before.epoch == head.epoch
        && before.end < head.first
        && !head.declared
    {
        // Every hole begins a run: there is room for as many.
        let _ = damaged.push(Hole { epoch: head.epoch, first: before.end, end: head.first });
    }
    if extend(runs, &head) {
        *last = Some(head);
    }
}

/// The check of the batch at the start of a buffer.
fn crc_at_head(work: &[u8]) -> Option<Check> {
    let (crc, _) = work.get(4..)?.split_first_chunk()?;
    Some(Check(u32::from_le_bytes(*crc).into()))
}

/// The `crc` of the batch that ends at `end`, if this item is it or the one behind it.
#[inline(never)]
fn crc_of(item: &[u8], epoch: Epoch, end: u32) -> Option<u32> {
    match Head::decode(item).filter(|head| head.epoch == epoch)? {
        Head { crc, end: its_end, .. } if its_end == end => Some(crc),
        Head { previous, first, .. } if first == end && first > 0 => Some(previous),
        _ => None,
    }
}

/// Takes a batch into the runs; `false` when there is no room for one more.
#[inline(never)]
fn extend(runs: &mut Vec<Run, RUNS_MAX>, head: &Head) -> bool {
    let run = Run { epoch: head.epoch, first: head.first, end: head.end };
    match runs.last_mut() {
        Some(last) if last.epoch == run.epoch && last.end == run.first => last.end = run.end,
        Some(last) if last.first == last.end => *last = run,
        _ => return runs.push(run).is_ok(),
    }
    true
}

#[cfg(test)]
mod tests;
