//! Admission of one batch to the log.

use afferent_protocol::batch::{Batch, ClockReading, Header};
use afferent_protocol::codec::Codec;
use afferent_protocol::ids::{Sequence, SourceId, Stream};
use afferent_protocol::piece;
use afferent_protocol::session::{Control, Lane, Offered, Verdict};

use super::early::EarlyBatch;
use super::pieces::Joined;
use super::{Confirm, Core, Origin, Reason, Received, Refusal};
use crate::limits::ROW_BYTES_MIN;
use crate::log::UnifiedLog;
use crate::sources::Entered;

/// A nack from here on names a sequence that no sender has sent, so that the sender says hello instead of sending
/// again.
pub(super) const SAY_HELLO: Sequence = Sequence::new(u64::MAX);

impl<L: UnifiedLog> Core<L> {
    /// Takes a piece of a batch; returns the batch with its last piece. Only an agent that has proved its key over this
    /// connection costs memory.
    pub(super) fn take_piece(
        &mut self,
        origin: Origin<'_>,
        payload: &[u8],
        received: &mut Received,
    ) -> Result<(), Refusal> {
        let (head, bytes) = piece::read(payload)
            .ok_or_else(|| Refusal::new(Reason::Malformed, "the pieces of a batch do not fit together".to_owned()))?;
        let agent = origin.agent;
        if !self.has_proved_over(&agent, origin.connection) {
            return Err(self.ask_for_hello(origin, head.lane));
        }
        match self.pieces.take(agent, head, bytes, origin.clock.monotonic_us) {
            Joined::Part => Ok(()),
            Joined::Missing => {
                self.nacks.insert((agent, head.lane), SAY_HELLO);
                Ok(())
            }
            Joined::Whole(bytes) => match Batch::parse(&bytes) {
                Ok((batch, [])) => self.admit(origin, &batch, received),
                result => {
                    self.pieces.refused(agent, head.lane.stream);
                    let too_long = "a batch in pieces has bytes after its end".to_owned();
                    Err(result.map_or_else(Refusal::from, |_| Refusal::new(Reason::Malformed, too_long)))
                }
            },
        }
    }

    /// Asks a sender without a proved hello to say hello: over its own connection, so that no other run begins again
    /// because of it. A guest that has not even claimed the name with its key is not asked.
    fn ask_for_hello(&mut self, origin: Origin<'_>, lane: Lane) -> Refusal {
        let agent = origin.agent;
        let is_over_it = |over| origin.connection.is_none() || origin.connection == over;
        let sessions = self.sessions.of(&agent).filter(|session| session.is_there() && is_over_it(session.connection));
        let nack = Control::Nack { lane, from: SAY_HELLO };
        let asked: Vec<_> = sessions.map(|session| (agent, session.nonce, nack.clone())).collect();
        if let Some(guest) = origin.guest().filter(|_| asked.is_empty()) {
            let message = format!("{guest} sends batches of {agent}, but has not proved that this was its name");
            return Refusal::new(Reason::OtherKey, message);
        }
        for asked in asked {
            if !self.again.contains(&asked) {
                self.again.push(asked);
            }
        }
        Refusal::new(
            Reason::NoHello,
            format!("{agent} sends batches before its hello; the collector has asked it for one"),
        )
    }

    /// Checks one batch and appends it at its offset.
    pub(super) fn admit(
        &mut self,
        origin: Origin<'_>,
        batch: &Batch<'_>,
        received: &mut Received,
    ) -> Result<(), Refusal> {
        let Origin { agent, clock, .. } = origin;
        let header = batch.header();
        if header.source != agent {
            return Err(Refusal::other_source(&agent, &header.source));
        }
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        if origin.guest().is_some() && !self.has_proved_over(&agent, origin.connection) {
            return Err(self.ask_for_hello(origin, lane));
        }
        let pinned = self.sources.get(&agent).and_then(|source| source.pinned.as_ref());
        let Some(pinned) = pinned else { return Err(self.ask_for_hello(origin, lane)) };
        let Some(chain) = pinned.verifier.as_ref().and_then(|verifier| verifier.verify(batch)) else {
            let message = format!("a batch is not signed with the key {} of {agent}", pinned.key);
            return Err(Refusal::new(Reason::Signature, message));
        };
        self.check_body(batch)?;
        let offered = Offered { range: header.range(), previous: header.previous, chain };
        if self.sources.lane(&agent, &lane).is_some_and(|record| record.misses(offered.range)) {
            self.refill(agent, batch, &offered, clock);
            received.accepted += 1;
            received.confirm = Confirm::AfterCommit;
            return Ok(());
        }
        let verdict = self.judge(agent, lane, &offered)?;
        match verdict {
            Verdict::Accept => {
                self.accept(agent, batch, &offered, clock);
                received.accepted += 1;
                received.confirm = Confirm::AfterCommit;
                self.accept_kept(agent, lane, clock, received);
            }
            Verdict::Duplicate => self.again(agent, lane, &offered, received),
            Verdict::Early { missing_from, nack } => {
                received.early += 1;
                if let Some(source) = self.sources.get_or_add(agent) {
                    source.early += 1;
                }
                if nack {
                    self.nacks.insert((agent, lane), missing_from);
                }
                self.early.keep(agent, lane, EarlyBatch { offered, bytes: batch.bytes().into() });
            }
            Verdict::Conflict => return Err(self.conflict(agent, lane, &offered)),
        }
        Ok(())
    }

    fn judge(&mut self, agent: SourceId, lane: Lane, offered: &Offered) -> Result<Verdict, Refusal> {
        let record = self.sources.lane_to_judge(agent, lane).ok_or_else(|| Refusal::too_many(&agent))?;
        Ok(record.receiver.offer(offered))
    }

    /// Checks what the checksum cannot: whether readers will be able to decode the batch. Batches of samples are only
    /// held against the limits of the format; critical batches are few, and are decoded.
    fn check_body(&mut self, batch: &Batch<'_>) -> Result<(), Refusal> {
        let header = batch.header();
        if header.is_emptied() {
            let message = "a batch has no records; only retention removes records, so a sender must send them";
            return Err(Refusal::new(Reason::Malformed, message.to_owned()));
        }
        if Codec::from_number(header.codec).is_none() {
            let message = format!("this collector does not know codec {}; update it", header.codec);
            return Err(Refusal::new(Reason::Newer, message));
        }
        if !is_possible(header) {
            let message = format!("{} records do not fit in {} bytes", header.count, header.body_len);
            return Err(Refusal::new(Reason::Malformed, message));
        }
        if header.stream == Stream::Critical && !self.sources.can_read(batch) {
            let message = format!("the {} records that the batch's header announces cannot be decoded", header.count);
            return Err(Refusal::new(Reason::Malformed, message));
        }
        Ok(())
    }

    fn accept(&mut self, agent: SourceId, batch: &Batch<'_>, offered: &Offered, clock: &ClockReading) {
        // Keys and gaps come before the batches that depend on them.
        self.own.flush(&mut self.log, &mut self.sources, clock);
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let record = self.sources.lane_to_change(agent, lane).expect("it was judged by this record");
        if record.accepted(offered, header.time_last) {
            self.gaps.opened(agent, lane);
        }
        let clock_offset_us = self.append(batch, offered, clock);
        if header.stream == Stream::Critical {
            self.sources.learn(batch);
        }
        let source = self.sources.get_or_add(agent).expect("it is known");
        source.heard(header, clock.wall, clock_offset_us);
        source.clock_heard(&header.clock, clock);
        self.sources.mark_arrived(&agent);
        self.acks.insert((agent, lane));
    }

    /// Appends a batch to the log; returns the offset of its clock, where that was measured.
    fn append(&mut self, batch: &Batch<'_>, offered: &Offered, clock: &ClockReading) -> Option<i64> {
        let header = batch.header();
        let clock_offset_us = self.clocks.offset_us(&header.source, &header.clock, clock);
        let first = self.log.append_measured(batch, clock.wall, clock_offset_us);
        let (count, chain) = (header.count, offered.chain);
        self.own.appended(Entered { first, stamp: clock.wall, count, chain, clock_offset_us });
        clock_offset_us
    }

    /// Appends a batch that the log has lost, behind later ones of its lane.
    fn refill(&mut self, agent: SourceId, batch: &Batch<'_>, offered: &Offered, clock: &ClockReading) {
        self.own.flush(&mut self.log, &mut self.sources, clock);
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        assert!(self.sources.fill(agent, lane, offered.range), "it was looked at whether all of it is missing");
        self.append(batch, offered, clock);
        if header.stream == Stream::Critical {
            self.sources.learn(batch);
        }
        self.acks.insert((agent, lane));
    }

    /// Appends the batches that were kept back and follow now.
    fn accept_kept(&mut self, agent: SourceId, lane: Lane, clock: &ClockReading, received: &mut Received) {
        loop {
            let end = self.sources.lane(&agent, &lane).map_or(Sequence::ZERO, |record| record.receiver.end());
            let Some(kept) = self.early.take(agent, lane, end) else { return };
            let Ok((batch, _)) = Batch::parse(&kept.bytes) else { return };
            match self.judge(agent, lane, &kept.offered) {
                Ok(Verdict::Accept) => {
                    self.accept(agent, &batch, &kept.offered, clock);
                    received.accepted += 1;
                }
                Ok(Verdict::Conflict) => {
                    let refusal = self.conflict(agent, lane, &kept.offered);
                    self.refuse(agent, &refusal, clock);
                }
                Ok(Verdict::Duplicate | Verdict::Early { .. }) | Err(_) => return,
            }
        }
    }

    fn again(&mut self, agent: SourceId, lane: Lane, offered: &Offered, received: &mut Received) {
        received.duplicates += 1;
        if let Some(source) = self.sources.get_or_add(agent) {
            source.duplicates += 1;
        }
        let durable_end = self.sources.resume(&agent, lane).end;
        if offered.range.end > durable_end {
            received.confirm = Confirm::AfterCommit;
        }
        self.acks.insert((agent, lane));
    }

    fn conflict(&mut self, agent: SourceId, lane: Lane, offered: &Offered) -> Refusal {
        let range = offered.range;
        if let Some(record) = self.sources.lane_to_judge(agent, lane)
            && record.conflict_at != Some(range.first)
        {
            // The next welcome carries the check of the batch in the log, by which the sender sees that it has
            // diverged. Once: a sender that continues all the same is slowed down by its own timeouts.
            record.conflict_at = Some(range.first);
            self.nacks.insert((agent, lane), SAY_HELLO);
        }
        let Lane { stream, epoch } = lane;
        let message = format!(
            "{agent} {stream} {epoch}: the batch {}..{} contradicts the log; two agents share this name or key, or \
             this one's ring log was restored from a copy",
            range.first, range.end,
        );
        Refusal::new(Reason::Conflict, message)
    }
}

fn is_possible(header: &Header) -> bool {
    match Codec::from_number(header.codec) {
        Some(Codec::Rows) => {
            header.decoded_len == header.body_len && header.count.saturating_mul(ROW_BYTES_MIN) <= header.body_len
        }
        _ => true,
    }
}
