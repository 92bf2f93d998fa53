//! The term that an opening of the log begins, and the log's troubles for people.

use std::collections::BTreeMap;

use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::session::signed::Place;
use afferent_protocol::sign::PublicKey;

use super::{Core, Notice};
use crate::log::{CommitError, Recovery, UnifiedLog};
use crate::sources::Sources;

/// The log's troubles in words, by kind.
pub type Troubles = BTreeMap<&'static str, String>;

/// Part of the log cannot be read any more.
const DAMAGED: &str = "damaged";

/// Gives the log its term: the drawn one, unless the log has had it already.
pub(super) fn draw<L: UnifiedLog>(log: &mut L, sources: &mut Sources) {
    assert_eq!(sources.terms().partition(), log.partition(), "sources and log are of one partition");
    sources.terms_mut().named(log.log_id());
    let mut term = log.term();
    // Zero marks terms that are unknown.
    while term == 0 || sources.terms().has(term) {
        term = term.wrapping_add(1);
    }
    sources.drawn(term);
    log.publish_terms(sources.terms().clone());
}

impl<L: UnifiedLog> Core<L> {
    /// Begins the term: makes it durable, as the first event of its own. The core takes nothing before. Call it again
    /// after an error; after a success it does nothing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(&mut self, clock: &ClockReading) -> Result<(), CommitError> {
        if self.is_begun {
            return Ok(());
        }
        assert_eq!(self.log.buffered_bytes(), 0, "nothing is taken before the term begins");
        let (first, term) = (self.log.durable_end(), self.sources.drawn_term());
        self.own.begin_term(self.place(), clock);
        self.make_durable(clock)?;
        self.sources.terms_mut().add_term(term, first);
        self.log.publish_terms(self.sources.terms().clone());
        self.is_begun = true;
        Ok(())
    }

    /// The end of the log on disk.
    pub fn place(&self) -> Place {
        let (log_id, offset) = (self.log.log_id(), self.log.durable_end());
        Place { log_id, partition: self.log.partition().get(), term: self.sources.drawn_term(), offset }
    }

    /// The newest attestation that is on disk.
    pub fn newest_attestation(&self) -> Option<[u8; ATTESTATION_LEN]> {
        self.own.attester().newest()
    }

    /// The present and the earlier keys of this log.
    pub fn keys_of_log(&self) -> Vec<PublicKey> {
        self.sources.log_keys(self.own.identity().public_key())
    }

    /// Whether there is something to commit although nothing has come: an attestation is due, or damage must be
    /// reported.
    pub fn is_due(&self, clock: &ClockReading) -> bool {
        self.is_begun && (self.own.is_attestation_due(clock.monotonic_us) || self.log.has_damage())
    }

    /// The log's troubles, in words for health and page, by kind.
    pub fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Queues an event of the collector, and applies it to the sources: a retirement, a replaced key, an endorsement,
    /// an alias, a conflict. Durable with the next commit.
    pub fn record(&mut self, notice: Notice, clock: &ClockReading) {
        if !self.own.is_waiting(&notice) {
            self.sources.noted(&notice, clock.wall);
            self.own.queue_always(notice, clock);
        }
    }

    pub(super) fn report_trouble(&mut self, kind: &'static str, text: String) {
        tracing::error!(kind, text, "the log has lost data");
        self.troubles.insert(kind, text);
    }

    /// Adds the troubles that a start has found in the log.
    pub(super) fn report_holes(recovery: &Recovery, troubles: &mut Troubles) {
        let Some(first) = recovery.holes.first() else { return };
        let (first_offset, end) = (first.first, first.end);
        let text = format!(
            "the log has lost {} ranges of offsets to damage on its disk, the first one {first_offset}..{end}; the \
             collector asks the agents to send them again; `log verify` lists all of them",
            recovery.holes.len(),
        );
        tracing::error!(text, "the log is damaged");
        troubles.insert(DAMAGED, text);
    }

    /// Reports the damage that readers and the indexer have found: as an event, as gaps of lanes, and to health.
    pub(super) fn report_damage(&mut self, clock: &ClockReading) {
        for damage in self.log.take_damage() {
            let (place, first, end) = (&damage.place, damage.first, damage.end);
            let lanes: Vec<_> = damage.missing.iter().take(3).map(|missing| missing.source.to_string()).collect();
            let of = if lanes.is_empty() { String::new() } else { format!(" (of {})", lanes.join(", ")) };
            let message = format!("{place} is damaged: the offsets {first} up to {end} are no longer readable{of}");
            self.report_trouble(
                DAMAGED,
                format!("{message}; the collector asks the agents for what they still have of them"),
            );
            self.own.queue_always(Notice::DiskTrouble { message }, clock);
            for missing in damage.missing {
                let (source, lane, range) = (missing.source, missing.lane, missing.range);
                if let Some(record) = self.sources.lane_to_change(source, lane)
                    && !record.is_reported(range)
                {
                    record.report_gap(range);
                    self.own.queue_always(Notice::Gap { source, lane, range }, clock);
                }
            }
        }
    }
}
