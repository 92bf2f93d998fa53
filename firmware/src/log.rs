//! Both streams of a device, and what gives way to what.
//!
//! - Samples: the oldest batch gives way to the newest.
//! - Critical: what is kept is never given up for something newer. When there is no room, new events are lost, and lesser
//!   ones (below warning: heartbeats, states, recoveries) a quarter earlier than breakdowns.
//! - Every loss is declared by an event in `critical` as soon as that has room, with the exact range.

use afferent_protocol::event::{Body, Loss, LossReason, Severity};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject};
use afferent_protocol::session::{Check, Held, Lane};
use heapless::Vec;

use crate::clock::{Clock, tick};
use crate::limits::{LANES_MAX, LOSSES_MAX};
use crate::queue::Queue;
use crate::recorder::{Drained, Entry, stream_of};
use crate::stored::Head;
use crate::stream_log::{Hole, StreamLog};

/// A loss that waits to be declared.
#[derive(Clone, Copy, Debug)]
struct Pending {
    stream: Stream,
    hole: Hole,
    reason: LossReason,
    tick_us: u64,
}

/// Events that came after the open rows and were lost.
#[derive(Clone, Copy, Debug)]
struct Lost {
    count: u64,
    tick_us: u64,
}

/// Both streams.
pub struct Log<'m> {
    /// Who this device is.
    pub source: SourceId,
    /// Ticks and UTC.
    pub clock: Clock,
    subject: Subject<'static>,
    critical: StreamLog<'m>,
    samples: StreamLog<'m>,
    lost: [Option<Lost>; 2],
    pending: Vec<Pending, LOSSES_MAX>,
    undeclared: u32,
    entropy: u64,
    changed: bool,
}

impl<'m> Log<'m> {
    /// Opens both queues, each with the buffer for its open batch. `subject` is what losses are about; `entropy` must differ from boot to boot and from device to
    /// device, epochs are drawn from it; `work` has room for a batch.
    pub fn open(
        (source, subject): (SourceId, Subject<'static>),
        clock: Clock,
        [critical, samples]: [(&'m mut dyn Queue, &'m mut [u8]); 2],
        mut entropy: u64,
        work: &mut [u8],
    ) -> Self {
        let mut pending = Vec::new();
        let mut damaged = |stream, hole, tick_us| {
            note(&mut pending, Pending { stream, hole, reason: LossReason::Corrupt, tick_us });
        };
        let mut open = |hole| damaged(Stream::Critical, hole, 0);
        let critical = StreamLog::open(Stream::Critical, critical, Epoch::new(draw(&mut entropy)), work, &mut open);
        let mut open = |hole| damaged(Stream::Samples, hole, 0);
        let samples = StreamLog::open(Stream::Samples, samples, Epoch::new(draw(&mut entropy)), work, &mut open);
        let lost = [None, None];
        Self { source, clock, subject, critical, samples, lost, pending, undeclared: 0, entropy, changed: true }
    }

    /// What the critical queue held was damaged at its end: new events get a new epoch, because nobody knows which
    /// sequences were taken.
    pub fn critical_was_damaged(&mut self) {
        let hole = self.critical.skip(1);
        self.note(Stream::Critical, hole, LossReason::TornTail, 0);
        let epoch = Epoch::new(draw(&mut self.entropy));
        self.critical.begin_epoch(epoch);
    }

    /// Losses that nobody will hear of, because even the list of losses was full.
    pub const fn undeclared(&self) -> u32 {
        self.undeclared
    }

    /// A random number.
    pub fn draw(&mut self) -> u64 {
        draw(&mut self.entropy)
    }

    /// Whether [`Log::held`] gives something else than when this was last asked.
    pub fn has_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Takes what came out of the recorder.
    pub fn take(&mut self, drained: Drained, now_us: u64, work: &mut [u8]) {
        match drained {
            Drained::Entry(Entry { tick_us, subject, body }) => self.append(tick_us, subject, &body, now_us, work),
            Drained::Lost { stream, count, tick_us } => self.lose(stream, count.into(), tick_us),
        }
    }

    /// Appends an event that was checked; one that does not fit is counted, and declared later.
    pub fn append(&mut self, tick_us: u64, subject: Subject<'static>, body: &Body<'_>, now_us: u64, work: &mut [u8]) {
        if !self.try_append(tick_us, subject, body, now_us, work) {
            self.lose(stream_of(body), 1, tick_us);
        }
    }

    fn try_append(
        &mut self,
        tick_us: u64,
        subject: Subject<'static>,
        body: &Body<'_>,
        now_us: u64,
        work: &mut [u8],
    ) -> bool {
        let stream = stream_of(body);
        if stream == Stream::Critical && body.severity() < Severity::Warning && !self.critical.is_roomy() {
            return false;
        }
        self.settle(stream, now_us, work)
            && (self.push(stream, tick_us, subject, body)
                || self.seal(stream, now_us, work) && self.push(stream, tick_us, subject, body))
    }

    fn push(&mut self, stream: Stream, tick_us: u64, subject: Subject<'static>, body: &Body<'_>) -> bool {
        self.of(stream).push(tick_us, tick(tick_us), subject, body).is_ok()
    }

    /// If events were lost after the open rows: seals these, and skips the sequences. In critical the loss comes next;
    /// that of samples waits to be declared.
    fn settle(&mut self, stream: Stream, now_us: u64, work: &mut [u8]) -> bool {
        let at = usize::from(stream.number());
        let Some(lost) = self.lost[at] else { return true };
        if !self.seal(stream, now_us, work) {
            return false;
        }
        self.lost[at] = None;
        match stream {
            Stream::Critical => {
                let hole = self.critical.skip(lost.count);
                let body = loss(stream, hole, LossReason::DeviceFull);
                self.push(stream, lost.tick_us, self.subject, &body)
            }
            Stream::Samples => {
                let hole = self.samples.skip(lost.count);
                self.note(stream, hole, LossReason::DeviceFull, lost.tick_us);
                true
            }
        }
    }

    fn lose(&mut self, stream: Stream, count: u64, tick_us: u64) {
        let lost = &mut self.lost[usize::from(stream.number())];
        let lost = lost.get_or_insert(Lost { count: 0, tick_us });
        lost.count = lost.count.saturating_add(count);
    }

    /// Puts the open rows of a stream into its queue; for samples, older ones give way.
    pub fn seal(&mut self, stream: Stream, now_us: u64, work: &mut [u8]) -> bool {
        let (clock, source) = (self.clock.reading(now_us), self.source);
        let had_rows = self.of(stream).opened_us().is_some();
        while self.of(stream).seal(&clock, &source, work).is_err() {
            if stream == Stream::Critical {
                return false;
            }
            let Some(hole) = self.samples.evict(work) else { return false };
            self.note(stream, hole, LossReason::Evicted, now_us);
        }
        self.changed |= had_rows;
        true
    }

    /// Seals what has waited long enough: critical at once, samples after `samples_after_us`.
    pub fn seal_due(&mut self, now_us: u64, samples_after_us: u64, work: &mut [u8]) {
        // Losses of lesser events must not take the room that is kept for breakdowns.
        if self.lost[0].is_some() && self.critical.is_roomy() {
            self.settle(Stream::Critical, now_us, work);
        }
        self.seal(Stream::Critical, now_us, work);
        self.settle(Stream::Samples, now_us, work);
        if self.samples.opened_us().is_some_and(|since_us| now_us.saturating_sub(since_us) >= samples_after_us) {
            self.seal(Stream::Samples, now_us, work);
        }
    }

    /// Declares every loss that waits, as far as there is room. While nobody listens, losses that follow each other are
    /// left to grow into one.
    pub fn declare_due(&mut self, now_us: u64, is_listened_to: bool, work: &mut [u8]) {
        if !is_listened_to && self.pending.len() <= LOSSES_MAX / 2 {
            return;
        }
        while let Some(next) = self.pending.first().copied() {
            let body = loss(next.stream, next.hole, next.reason);
            if !self.try_append(next.tick_us, self.subject, &body, now_us, work) {
                break;
            }
            let mut is_first = true;
            self.pending.retain(|_| !core::mem::take(&mut is_first));
        }
        self.seal(Stream::Critical, now_us, work);
    }

    fn of(&mut self, stream: Stream) -> &mut StreamLog<'m> {
        match stream {
            Stream::Critical => &mut self.critical,
            Stream::Samples => &mut self.samples,
        }
    }

    fn note(&mut self, stream: Stream, hole: Hole, reason: LossReason, tick_us: u64) {
        self.changed = true;
        if !note(&mut self.pending, Pending { stream, hole, reason, tick_us }) {
            self.undeclared = self.undeclared.saturating_add(1);
        }
    }

    /// What is held, for the session: critical first.
    pub fn held(&self) -> Vec<Held, LANES_MAX> {
        let mut held = Vec::new();
        self.critical.held(&mut held);
        // An old epoch of critical must not keep samples out of the hello for ever.
        held.truncate(LANES_MAX - 1);
        self.samples.held(&mut held);
        held
    }

    /// Makes, at the start of `work`, the batch of the lane that begins at `from`.
    pub fn read(&mut self, lane: Lane, from: Sequence, work: &mut [u8]) -> Option<(Head, usize)> {
        let source = self.source;
        self.of(lane.stream).read(lane.epoch, from, &source, work)
    }

    /// The check of the lane's batch that ends there.
    pub fn check(&mut self, lane: Lane, end: Sequence, work: &mut [u8]) -> Option<Check> {
        self.of(lane.stream).check(lane.epoch, end, work)
    }

    /// The agent has everything of the lane before `end` on its disk.
    pub fn release(&mut self, lane: Lane, end: Sequence, work: &mut [u8]) {
        self.changed = true;
        self.of(lane.stream).release(lane.epoch, end, work);
    }

    /// The agent has something else in this lane: what is held of it is lost, and a new epoch begins.
    pub fn give_up(&mut self, lane: Lane, now_us: u64, work: &mut [u8]) {
        let fresh = Epoch::new(self.draw());
        let log = self.of(lane.stream);
        let hole = log.give_up(lane.epoch, work);
        if log.epoch() == lane.epoch {
            log.begin_epoch(fresh);
        }
        self.changed = true;
        if let Some(hole) = hole {
            self.note(lane.stream, hole, LossReason::Refused, now_us);
        }
    }
}

/// Remembers a loss; one that goes on where another of its kind ended makes that one longer.
#[inline(never)]
fn note(pending: &mut Vec<Pending, LOSSES_MAX>, new: Pending) -> bool {
    let continued = pending.iter_mut().find(|known| {
        let same = known.stream == new.stream && known.hole.epoch == new.hole.epoch && known.reason == new.reason;
        same && known.hole.range.end == new.hole.range.first
    });
    match continued {
        Some(known) => known.hole.range.end = new.hole.range.end,
        None => return pending.push(new).is_ok(),
    }
    true
}

fn loss(stream: Stream, hole: Hole, reason: LossReason) -> Body<'static> {
    let Hole { epoch, range } = hole;
    Body::Loss(Loss { stream, epoch, first: range.first, end: range.end, reason, chain: [0; 32] })
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[inline(never)]
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
