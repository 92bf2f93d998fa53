//! Evidence from single events: of a source about itself, and of the collector about every source.

use afferent_protocol::event::{Body, Event, LifeCycle, LossReason};
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId, Timestamp};
use afferent_protocol::session::Lane;

use super::lanes::{Continued, Declared};
use super::source::{HeartbeatEnds, Unknown};
use super::spoken::EventOrigin;
use super::{About, Evidence, RetiredBy, time_text};

impl Evidence {
    /// Learns names from an event of the collector, at any offset of the log.
    pub(super) fn learn_name(&mut self, body: &Body<'_>) {
        if let Body::LifeCycle(LifeCycle::Alias { source, former }) = body
            && let (Ok(source), Ok(former)) = (SourceId::new(source), SourceId::new(former))
        {
            self.alias(source, former);
        }
    }

    /// Learns from an event of a batch whose signature holds.
    pub(super) fn learn_event(&mut self, spoken: &EventOrigin<'_>, event: &Event<'_>) {
        let source = spoken.header.source;
        self.learn_name(&event.body);
        // An event of a device under its own name is about lanes that are numbered by the device.
        if event.subject.as_str() == source.as_str() {
            self.learn_of_itself(spoken, event);
        }
        if source == self.own
            && let Body::LifeCycle(life_cycle) = &event.body
        {
            self.learn_of_log(spoken, life_cycle);
            self.learn_of_others(spoken, event.time, life_cycle);
        }
    }

    fn learn_of_itself(&mut self, spoken: &EventOrigin<'_>, event: &Event<'_>) {
        let EventOrigin { head, header, offset, sequence } = *spoken;
        let (span, time) = (self.span, event.time);
        let source = self.sources.entry(header.source).or_default();
        match event.body {
            Body::Loss(loss) => {
                let range = SequenceRange { first: loss.first, end: loss.end };
                // Lost events were accepted before the declaration, also if the clock was set back since.
                let time = source.clocked(header.clock.wall.max(time));
                let declared = Declared { range, reason: loss.reason, time, offset };
                if loss.reason == LossReason::VanishedAtLeast {
                    let (stream, epoch) = (loss.stream, loss.epoch);
                    source.record_unknown(
                        declared.time,
                        format!("{stream} {epoch} may have lost more than sequences {} up to {}", loss.first, loss.end),
                    );
                }
                source.lane(loss.stream, loss.epoch).lost(declared);
            }
            Body::LifeCycle(LifeCycle::Heartbeat { lanes, .. }) => {
                // A clock that is ahead does not vouch for events that had not happened when the collector took the
                // batch; an event that was sealed again keeps its age.
                let clock = header.clock.wall.min(head.stamp).min(time);
                source.record_heartbeat(HeartbeatEnds { clock, offset, ends: lanes.iter().collect() }, &span);
            }
            Body::LifeCycle(LifeCycle::Resealed { stream, epoch, first, reason }) if sequence == Sequence::ZERO => {
                let lane = Lane { stream: header.stream, epoch: header.epoch };
                let continued = Continued { lane, first, reason, offset };
                source.resealed(Lane { stream, epoch }, continued, header.clock.wall.max(time));
            }
            Body::LifeCycle(LifeCycle::RingReplaced { message }) => {
                source.record_unknown(
                    header.clock.wall.max(time),
                    format!("its ring log was lost or replaced ({message})"),
                );
            }
            _ => {}
        }
    }

    fn learn_of_log(&mut self, spoken: &EventOrigin<'_>, life_cycle: &LifeCycle<'_>) {
        match *life_cycle {
            LifeCycle::TermBegun { log_id, partition, term, first } => {
                self.attested.term((log_id, partition), term);
                if first == spoken.offset {
                    self.terms.push((first, self.stamp));
                }
            }
            LifeCycle::Attested { attestation } => {
                let held = self.attested.attestation(spoken.offset, attestation, self.proof.log_keys());
                self.refuted.extend(held.err().map(|contradiction| contradiction.to_string()));
            }
            LifeCycle::RolledBack { source, until, end, time, .. } => {
                let found = self.terms.iter().rev().find(|(first, _)| *first <= until);
                let from = found.map_or(Timestamp::default(), |(_, stamp)| *stamp);
                let why = format!(
                    "the log was restored to an earlier state: {source} had seen it up to offset {end} at {}, but it \
                     ended at {until}; agents send again what they still have, which may not be everything",
                    time_text(time)
                );
                self.rolled_back.push(Unknown { from, until: time.max(spoken.head.stamp), why });
            }
            _ => {}
        }
    }

    fn learn_of_others(&mut self, spoken: &EventOrigin<'_>, time: Timestamp, life_cycle: &LifeCycle<'_>) {
        let named = match *life_cycle {
            LifeCycle::LaneKept { source, .. }
            | LifeCycle::Retired { source, .. }
            | LifeCycle::KeyReplaced { source, .. }
            | LifeCycle::Conflict { source, .. } => SourceId::new(source),
            _ => return,
        };
        let Ok(named) = named else { return };
        if matches!(self.about, About::Source(_)) && !self.wanted.contains(&named) {
            return;
        }
        let source = self.sources.entry(named).or_default();
        match *life_cycle {
            LifeCycle::LaneKept { stream, epoch, end, time_last, .. } => {
                source.lane(stream, epoch).kept(end, time_last);
            }
            LifeCycle::Retired { who, why, .. } => {
                let retired = RetiredBy { who: who.to_owned(), why: why.to_owned(), time };
                source.retired = Some((spoken.offset, retired));
            }
            LifeCycle::KeyReplaced { .. } => source.key_replaced(time),
            LifeCycle::Conflict { .. } => source.in_conflict(),
            _ => {}
        }
    }
}
