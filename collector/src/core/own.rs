//! The collector as a source: its own events, sealed, chained and signed as those of any agent.

use std::collections::VecDeque;

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, Lineage};
use afferent_protocol::event::{Body, Derived, Event};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream, Subject};
use afferent_protocol::session::signed::Place;
use afferent_protocol::session::{Lane, Offered};
use afferent_protocol::sign::Identity;

use super::attest::Attester;
use super::notice::PendingNotice;
use super::{Notice, OwnIdentity};
use crate::limits::NOTICES_MAX;
use crate::log::{Recovery, UnifiedLog};
use crate::posted::NewEvent;
use crate::sources::{Entered, Sources};

/// End of the collector's own lane.
#[derive(Clone, Copy, Debug)]
struct OwnLaneEnd {
    next: Sequence,
    chain: ChainHash,
}

/// The collector's own events, and their lane.
pub(super) struct OwnEvents {
    who: OwnIdentity,
    lane: Lane,
    end: OwnLaneEnd,
    durable: OwnLaneEnd,
    waiting: VecDeque<PendingNotice>,
    /// Appended events that are not yet on disk.
    flushed: Vec<PendingNotice>,
    builder: BatchBuilder,
    bytes: Vec<u8>,
    /// Whether nothing but attestations waits for its batch.
    is_attestation: bool,
    attester: Attester,
    is_ending: bool,
}

impl OwnEvents {
    /// Continues the epoch of the log's last own batch when nothing can have been lost after it.
    pub fn new(who: OwnIdentity, sources: &mut Sources, recovery: &Recovery, clock: &ClockReading) -> Self {
        assert_eq!(sources.collector_name(), who.source, "the sources were rebuilt for this name");
        let key = who.identity.public_key();
        let has_key = sources.key(&who.source) == Some(key);
        let end = sources.own_end().filter(|end| {
            let is_last = !recovery.torn && recovery.holes.iter().all(|hole| hole.end <= end.offset);
            has_key && is_last && end.lane.stream == Stream::Critical
        });
        let fresh = OwnLaneEnd { next: Sequence::ZERO, chain: CHAIN_START };
        let lane_end = end.map_or(fresh, |end| OwnLaneEnd { next: end.end, chain: end.chain });
        let lane = end.map_or_else(|| fresh_lane(who.epoch, sources, &who.source), |end| end.lane);
        let source = who.source;
        let (waiting, flushed) = (VecDeque::new(), Vec::new());
        let (builder, bytes) = (BatchBuilder::new(), Vec::new());
        let attester = Attester::new(sources.take_unattested(), clock.monotonic_us);
        let mut own = Self {
            who,
            lane,
            end: lane_end,
            durable: lane_end,
            waiting,
            flushed,
            builder,
            bytes,
            is_attestation: true,
            attester,
            is_ending: false,
        };
        if !has_key {
            // A reader of the log must be able to verify the collector's events as well.
            sources.pin(source, key);
            own.queue(Notice::KeyPinned { source, key }, clock);
        }
        own.queue_recovery(sources, recovery, clock);
        sources.mark_committed();
        sources.rebuilt();
        own
    }

    /// Queues events for what the log has lost, and for the lanes that were torn.
    fn queue_recovery(&mut self, sources: &mut Sources, recovery: &Recovery, clock: &ClockReading) {
        if let Some((first, end)) = sources.gone_untold() {
            let message = format!(
                "the log has lost the offsets {first} up to {end}: its oldest files are missing, and retention did not \
                 remove them"
            );
            self.queue(Notice::DiskTrouble { message }, clock);
        }
        if let Some(first) = recovery.holes.first() {
            let message = format!(
                "the log has lost {} ranges of offsets to damage on its disk, the first one {}..{}; `log verify` lists \
                 all of them",
                recovery.holes.len(),
                first.first,
                first.end,
            );
            self.queue(Notice::DiskTrouble { message }, clock);
        }
        for (source, lane, ranges) in sources.unreported_gaps() {
            for range in ranges.iter() {
                if let Some(record) = sources.lane_to_judge(source, lane) {
                    record.report_gap(range);
                }
                self.queue_always(Notice::Gap { source, lane, range }, clock);
            }
        }
    }

    pub fn source(&self) -> SourceId {
        self.who.source
    }

    /// The key pair that the collector signs with.
    pub fn identity(&self) -> &Identity {
        &self.who.identity
    }

    /// Queues an event; drops it when too many wait already.
    pub fn queue(&mut self, notice: Notice, clock: &ClockReading) {
        if self.waiting.len() < NOTICES_MAX && !self.waiting.iter().any(|told| told.repeats(&notice)) {
            self.queue_always(notice, clock);
        }
    }

    /// Queues an event that must not be dropped: there are at most as many as lanes and keys, each of them once.
    pub fn queue_always(&mut self, notice: Notice, clock: &ClockReading) {
        self.waiting.push_back(PendingNotice { time: clock.wall, notice });
    }

    /// Queues the term that begins at `first` before all waiting events.
    pub fn begin_term(&mut self, first: Place, clock: &ClockReading) {
        let notice = Notice::TermBegun { first };
        if !self.is_waiting(&notice) {
            self.waiting.push_front(PendingNotice { time: clock.wall, notice });
        }
    }

    /// A batch of an agent was appended.
    pub fn appended(&mut self, entered: Entered) {
        self.attester.push(entered, false);
    }

    /// Attests what is on disk when an attestation is due.
    pub fn attest_due(&mut self, here: &Place, clock: &ClockReading) {
        if let Some(attested) = self.attester.due(&self.who.identity, here, clock.monotonic_us, self.is_ending) {
            self.queue_always(attested, clock);
        }
    }

    /// Whether an attestation is due.
    pub fn is_attestation_due(&self, monotonic_us: u64) -> bool {
        self.attester.is_due(monotonic_us)
    }

    /// The state of attestation.
    pub fn attester(&self) -> &Attester {
        &self.attester
    }

    /// Whether this event is queued.
    pub fn is_waiting(&self, notice: &Notice) -> bool {
        self.waiting.iter().any(|told| told.notice == *notice)
    }

    /// The next commits are the last ones: they attest all events of agents.
    pub fn ending(&mut self) {
        self.is_ending = true;
    }

    pub fn is_pending(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Appends the queued events to the log.
    pub fn flush<L: UnifiedLog>(&mut self, log: &mut L, sources: &mut Sources, clock: &ClockReading) {
        while let Some(told) = self.waiting.pop_front() {
            if told.with_event(&self.who.source, |event| self.builder.push(event)).is_err() {
                self.waiting.push_front(told);
                self.seal(log, sources, clock);
                continue;
            }
            self.is_attestation &= matches!(told.notice, Notice::Attested { .. });
            self.flushed.push(told);
        }
        if !self.builder.is_empty() {
            self.seal(log, sources, clock);
        }
    }

    /// Appends posted events; returns their offsets.
    pub fn post<L: UnifiedLog>(
        &mut self,
        events: &[&NewEvent],
        log: &mut L,
        sources: &mut Sources,
        clock: &ClockReading,
    ) -> Vec<Offset> {
        // Queued events go first, into a batch of their own.
        self.flush(log, sources, clock);
        let (mut offsets, mut open) = (Vec::with_capacity(events.len()), 0);
        for event in events {
            let subject = Subject::new(&event.subject).expect("a posted event is checked before it is handed over");
            let body = Body::Derived(Derived { kind: &event.kind, json: &event.json });
            let event = Event { time: event.time.unwrap_or(clock.wall), subject, body };
            if self.builder.push(&event).is_err() {
                let first = self.seal(log, sources, clock).get();
                offsets.extend((first..first + open).map(Offset::new));
                open = 0;
                self.builder.push(&event).expect("an empty batch takes any event");
            }
            (open, self.is_attestation) = (open + 1, false);
        }
        if open > 0 {
            let first = self.seal(log, sources, clock).get();
            offsets.extend((first..first + open).map(Offset::new));
        }
        offsets
    }

    fn seal<L: UnifiedLog>(&mut self, log: &mut L, sources: &mut Sources, clock: &ClockReading) -> Offset {
        let Lane { stream, epoch } = self.lane;
        let OwnLaneEnd { next: first, chain: previous } = self.end;
        let lineage = Lineage { source: self.who.source, stream, epoch, first, previous };
        self.bytes.clear();
        let (header, chain) = self.builder.seal(&lineage, clock, &self.who.identity, &mut self.bytes);
        let (batch, _) = Batch::parse(&self.bytes).expect("what was just sealed is a batch");
        // The collector's clock is the reference for all others.
        let clock_offset_us = Some(0);
        let offset = log.append_measured(&batch, clock.wall, clock_offset_us);
        let is_attestation = std::mem::replace(&mut self.is_attestation, true);
        let entered = Entered { first: offset, stamp: clock.wall, count: header.count, chain, clock_offset_us };
        self.attester.push(entered, is_attestation);
        let range = SequenceRange { first, end: header.end() };
        if let Some(record) = sources.lane_to_change(self.who.source, self.lane) {
            record.accepted(&Offered { range, previous, chain }, header.time_last);
        }
        if let Some(source) = sources.get_or_add(self.who.source) {
            source.heard(&header, clock.wall, clock_offset_us);
        }
        self.end = OwnLaneEnd { next: header.end(), chain };
        offset
    }

    /// Marks everything appended as durable.
    pub fn mark_committed(&mut self, clock: &ClockReading) {
        self.durable = self.end;
        self.attester.mark_committed(clock.monotonic_us);
        for told in self.flushed.drain(..) {
            if let Notice::Attested { attestation } = told.notice {
                self.attester.is_durable(&attestation);
            }
        }
    }

    /// The last commit failed: queues again the events of it that still hold.
    pub fn roll_back(&mut self, sources: &Sources) {
        self.end = self.durable;
        self.attester.roll_back();
        for told in self.flushed.drain(..).rev() {
            self.waiting.push_front(told);
        }
        self.waiting.retain(|told| match told.notice {
            Notice::KeyPinned { source, key } | Notice::KeyReplaced { source, key, .. } => {
                sources.key(&source) == Some(key)
            }
            Notice::Gap { source, lane, range } => {
                sources.lane(&source, &lane).is_some_and(|record| record.is_reported(range))
            }
            _ => true,
        });
    }
}

/// A lane that the log does not have yet: that of the drawn epoch, unless the log has it already.
fn fresh_lane(drawn: Epoch, sources: &Sources, own: &SourceId) -> Lane {
    let mut lane = Lane { stream: Stream::Critical, epoch: drawn };
    while sources.lane(own, &lane).is_some() {
        lane.epoch = Epoch::new(lane.epoch.get().wrapping_add(1));
    }
    lane
}
