//! Both streams of a device, and what gives way to what.
//!
//! - Samples: the oldest batch gives way to the newest.
//! - Critical: what is kept is never given up for something newer. When there is no room, new events are lost, and
//!   lesser ones (below warning: heartbeats, states, recoveries) a quarter earlier than breakdowns.
//! - Every loss is declared by an event in `critical` as soon as that has room, with the exact range.

use afferent_protocol::event::{Body, Loss, LossReason, Severity};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject};
use afferent_protocol::session::{Held, Lane};
use heapless::Vec;

use crate::clock::{Clock, tick};
use crate::limits::{LANES_MAX, LOSSES_MAX};
use crate::queue::Queue;
use crate::random::draw;
use crate::recorder::{Drained, Entry, stream_of};
use crate::stream_log::{Hole, Lost, StreamLog};

/// A loss that waits to be declared.
#[derive(Clone, Copy, Debug)]
struct Pending {
    hole: Hole,
    tick_us: u64,
    stream: Stream,
    reason: LossReason,
}

/// Both streams.
pub struct Log<'m> {
    /// The device's name.
    pub source: SourceId,
    /// Ticks and UTC.
    pub clock: Clock,
    /// The streams, by their number.
    pub streams: [StreamLog<'m>; 2],
    /// The tick of what is being done.
    pub now_us: u64,
    /// Has room for a batch; nothing in it is of use for long.
    pub work: &'m mut [u8],
    subject: Subject<'static>,
    pending: Vec<Pending, LOSSES_MAX>,
    undeclared: u32,
    entropy: u64,
}

impl<'m> Log<'m> {
    /// Opens both queues, each with the buffer for its open batch. `subject` is what losses are about; `entropy` must
    /// differ from boot to boot and from device to device, epochs are drawn from it; `work` has room for a batch.
    pub fn open(
        (source, subject): (SourceId, Subject<'static>),
        clock: Clock,
        [critical, samples]: [(&'m mut dyn Queue, &'m mut [u8]); 2],
        mut entropy: u64,
        work: &'m mut [u8],
    ) -> Self {
        let streams = [
            StreamLog::new(Stream::Critical, critical, Epoch::new(draw(&mut entropy))),
            StreamLog::new(Stream::Samples, samples, Epoch::new(draw(&mut entropy))),
        ];
        let (now_us, pending) = (0, Vec::new());
        let mut log = Self { source, clock, streams, now_us, work, subject, pending, undeclared: 0, entropy };
        for stream in Stream::ALL {
            let Self { streams, work, .. } = &mut log;
            for hole in &streams[usize::from(stream.number())].recover(work) {
                log.note(stream, *hole, LossReason::Corrupt, 0);
            }
        }
        log
    }

    /// What the critical queue held was damaged at its end: new events get a new epoch, because it is unknown which
    /// sequences were taken.
    pub fn critical_was_damaged(&mut self) {
        let hole = self.of(Stream::Critical).skip(1);
        self.note(Stream::Critical, hole, LossReason::TornTail, 0);
        self.begin_epoch(Stream::Critical);
    }

    #[inline(never)]
    fn begin_epoch(&mut self, stream: Stream) {
        let epoch = Epoch::new(self.draw());
        self.of(stream).begin_epoch(epoch);
    }

    /// Number of losses that are not declared, because even the list of losses was full.
    pub const fn undeclared(&self) -> u32 {
        self.undeclared
    }

    /// The session's time: it goes round.
    pub const fn ticks(&self) -> u32 {
        (self.now_us >> 10) as u32
    }

    /// A random number.
    pub fn draw(&mut self) -> u64 {
        draw(&mut self.entropy)
    }

    /// Takes what came out of the recorder.
    pub fn take(&mut self, drained: &Drained) {
        match *drained {
            Drained::Entry(Entry { tick_us, subject, ref body }) => self.append(tick_us, subject, body),
            Drained::Lost { stream, count, tick_us } => self.lose(stream, count, tick_us),
        }
    }

    /// Appends an event that was checked; one that does not fit is counted, and declared later.
    pub fn append(&mut self, tick_us: u64, subject: Subject<'static>, body: &Body<'_>) {
        if !self.try_append(tick_us, subject, body) {
            self.lose(stream_of(body), 1, tick_us);
        }
    }

    fn try_append(&mut self, tick_us: u64, subject: Subject<'static>, body: &Body<'_>) -> bool {
        let stream = stream_of(body);
        if self.of(stream).is_used_up() {
            self.begin_epoch(stream);
        }
        if stream == Stream::Critical && body.severity() < Severity::Warning && !self.of(stream).is_roomy() {
            return false;
        }
        self.skip_lost(stream)
            && (self.push(stream, tick_us, subject, body)
                || self.seal(stream) && self.push(stream, tick_us, subject, body))
    }

    #[inline(never)]
    fn push(&mut self, stream: Stream, tick_us: u64, subject: Subject<'static>, body: &Body<'_>) -> bool {
        let log = self.of(stream);
        if log.rows.is_empty() {
            log.opened_us = tick_us;
        }
        log.rows.push(tick(tick_us), subject, body).is_some()
    }

    /// If events were lost after the open rows: seals these, and skips the sequences. In critical the loss comes next;
    /// that of samples waits to be declared.
    #[inline(never)]
    fn skip_lost(&mut self, stream: Stream) -> bool {
        let Some(lost) = self.of(stream).lost else { return true };
        if !self.seal(stream) {
            return false;
        }
        self.of(stream).lost = None;
        let hole = self.of(stream).skip(lost.count);
        match stream {
            Stream::Critical => {
                let body = loss(stream, hole, LossReason::DeviceFull);
                self.push(stream, lost.tick_us, self.subject, &body)
            }
            Stream::Samples => {
                self.note(stream, hole, LossReason::DeviceFull, lost.tick_us);
                true
            }
        }
    }

    #[inline(never)]
    fn lose(&mut self, stream: Stream, count: u32, tick_us: u64) {
        let lost = self.of(stream).lost.get_or_insert(Lost { count: 0, tick_us });
        lost.count = lost.count.saturating_add(count);
    }

    /// Puts the open rows of a stream into its queue; for samples, older ones give way.
    #[inline(never)]
    pub fn seal(&mut self, stream: Stream) -> bool {
        if self.of(stream).rows.is_empty() {
            return true;
        }
        let clock = self.clock.reading(self.now_us);
        loop {
            let Self { streams, source, work, .. } = self;
            let log = &mut streams[usize::from(stream.number())];
            if log.seal(&clock, source, work).is_ok() {
                return true;
            }
            if stream == Stream::Critical {
                return false;
            }
            let Some(hole) = log.evict(work) else { return false };
            self.note(stream, hole, LossReason::Evicted, self.now_us);
        }
    }

    /// Seals what has waited long enough: critical at once, samples after `samples_after_us`.
    pub fn seal_due(&mut self, samples_after_us: u64) {
        // Losses of lesser events must not take the room that is kept for breakdowns.
        let critical = self.of(Stream::Critical);
        if critical.lost.is_some() && critical.is_roomy() {
            self.skip_lost(Stream::Critical);
        }
        self.seal(Stream::Critical);
        self.skip_lost(Stream::Samples);
        if self.now_us.saturating_sub(self.of(Stream::Samples).opened_us) >= samples_after_us {
            self.seal(Stream::Samples);
        }
    }

    /// Declares every loss that waits, as far as there is room. While no agent answers, consecutive losses are
    /// left to grow into one.
    pub fn declare_due(&mut self, is_listened_to: bool) {
        if !is_listened_to && self.pending.len() <= LOSSES_MAX / 2 {
            return;
        }
        // In any order: each names its place.
        while let Some(Pending { hole, tick_us, stream, reason }) = self.pending.last().copied() {
            if !self.try_append(tick_us, self.subject, &loss(stream, hole, reason)) {
                break;
            }
            self.pending.pop();
        }
        self.seal(Stream::Critical);
    }

    /// The log of a stream.
    pub fn of(&mut self, stream: Stream) -> &mut StreamLog<'m> {
        &mut self.streams[usize::from(stream.number())]
    }

    /// Remembers a loss; one that continues a known loss of its kind extends that.
    #[inline(never)]
    fn note(&mut self, stream: Stream, hole: Hole, reason: LossReason, tick_us: u64) {
        for known in &mut self.pending {
            let same = known.stream == stream && known.hole.epoch == hole.epoch && known.reason == reason;
            if same && known.hole.end == hole.first {
                known.hole.end = hole.end;
                return;
            }
        }
        if self.pending.push(Pending { hole, tick_us, stream, reason }).is_err() {
            self.undeclared = self.undeclared.saturating_add(1);
        }
    }

    /// What is held, for the session: critical first.
    pub fn held(&self) -> Vec<Held, LANES_MAX> {
        let mut held = Vec::new();
        for stream in &self.streams {
            // An old epoch of critical must not keep samples out of the hello forever.
            held.truncate(LANES_MAX - 1);
            stream.held(&mut held);
        }
        held
    }

    /// Makes, at the start of `work`, the batch of the stream that begins at `from`; returns its end and its length.
    /// `None` when it cannot be had: one that was damaged where it lay is given up and declared, once it is its turn.
    #[inline(never)]
    pub fn read(&mut self, stream: Stream, epoch: Epoch, from: u32) -> Option<(u32, usize)> {
        let Self { streams, source, work, .. } = self;
        let log = &mut streams[usize::from(stream.number())];
        let batch = log.read(epoch, from, source, work).ok()?;
        if batch.is_none()
            && log.ready() == Some((epoch, from))
            && let Some(hole) = log.pass_over(work)
        {
            self.note(stream, hole, LossReason::Corrupt, self.now_us);
        }
        batch
    }

    /// The agent has something else in this lane, up to `end`: see [`StreamLog::part`].
    pub fn part(&mut self, Lane { stream, epoch }: Lane, end: u32) -> bool {
        // Another run with the same entropy has drawn the same numbers up to here.
        self.entropy ^= self.now_us;
        let fresh = Epoch::new(self.draw());
        self.of(stream).part(epoch, end, fresh)
    }
}

#[inline(never)]
fn loss(stream: Stream, Hole { epoch, first, end }: Hole, reason: LossReason) -> Body<'static> {
    let [first, end] = [first, end].map(|at| Sequence::new(at.into()));
    Body::Loss(Loss { stream, epoch, first, end, reason, chain: [0; 32] })
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Breakdown, Severity};

    use super::*;
    use crate::limits::SEQUENCES_MAX;
    use crate::queue::RamQueue;
    use crate::queue::failing::Failing;

    #[test]
    fn a_batch_that_was_damaged_where_it_lay_is_declared_with_its_range() {
        let mut critical = Failing::new();
        critical.damaged = &[0, 1];
        let (mut samples, mut work) = (RamQueue::<512>::new(), [0; 700]);
        let (mut critical_body, mut samples_body) = ([0; 256], [0; 64]);
        let names = (SourceId::literal("mill"), Subject::literal("mill"));
        let queues: [(&mut dyn Queue, &mut [u8]); 2] =
            [(&mut critical, &mut critical_body), (&mut samples, &mut samples_body)];
        let mut log = Log::open(names, Clock::new([1; 16]), queues, 7, &mut work);
        let body = Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: "" });
        for _ in 0..3 {
            log.append(1, names.1, &body);
            assert!(log.seal(Stream::Critical));
        }
        let epoch = log.of(Stream::Critical).epoch();
        assert_eq!(log.read(Stream::Critical, epoch, 1), None, "not before its turn");
        assert!(log.pending.is_empty());
        assert_eq!(log.read(Stream::Critical, epoch, 0), None);
        let Pending { hole, stream, reason, .. } = log.pending[0];
        assert_eq!((hole, stream, reason), (Hole { epoch, first: 0, end: 2 }, Stream::Critical, LossReason::Corrupt));
        log.declare_due(true);
        assert!(log.pending.is_empty());
        let held = log.held();
        assert_eq!((held[0].first.get(), held[0].end.get()), (2, 4), "the loss is an event behind what is held");
    }

    #[test]
    fn an_epoch_ends_before_its_sequences_are_used_up_and_what_it_holds_is_offered_still() {
        let (mut critical, mut samples, mut work) = (RamQueue::<2048>::new(), RamQueue::<512>::new(), [0; 700]);
        let (mut critical_body, mut samples_body) = ([0; 256], [0; 64]);
        let names = (SourceId::literal("mill"), Subject::literal("mill"));
        let queues: [(&mut dyn Queue, &mut [u8]); 2] =
            [(&mut critical, &mut critical_body), (&mut samples, &mut samples_body)];
        let mut log = Log::open(names, Clock::new([1; 16]), queues, 7, &mut work);
        let body = Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: "" });
        let record = |log: &mut Log<'_>| {
            log.append(1, names.1, &body);
            assert!(log.seal(Stream::Critical));
        };
        record(&mut log);
        log.lose(Stream::Critical, SEQUENCES_MAX, 2);
        record(&mut log);
        record(&mut log);
        let held = log.held();
        let critical: Vec<_, 4> = held.iter().filter(|held| held.lane.stream == Stream::Critical).collect();
        assert_eq!(critical.len(), 2, "{held:?}");
        assert_eq!((critical[0].first.get(), critical[0].end.get()), (0, 1));
        assert_eq!((critical[1].first.get(), critical[1].end.get()), (0, 1));
        assert_eq!(log.of(Stream::Critical).first_of(critical[0].lane.epoch), Some(0));
    }
}
