//! One pass over the log, batch after batch.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::ids::{Offset, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::Lane;

use super::lanes::ReceivedBatch;
use super::rings::Rings;
use super::source::{SourceEvidence, Unknown};
use super::spoken::EventOrigin;
use super::{About, CertificateError, Span, TextSet};
use crate::log::inspect::Suspect;
use crate::log::records::Decoder;
use crate::log::{AttestationCheck, Doubt, Proof, Trust, Witnesses};

/// Number of batches in doubt that are listed one by one.
const SUSPECTS_TOLD_MAX: usize = 1000;

/// The keys and outside evidence that a log is judged by.
#[derive(Clone, Debug)]
pub struct CheckMaterial {
    /// The trusted keys.
    pub trust: Trust,
    /// Attestations that were kept outside the log.
    pub witnesses: Witnesses,
    /// Ring logs of agents.
    pub rings: Rings,
}

impl Default for CheckMaterial {
    /// Judges by the log alone.
    fn default() -> Self {
        Self { trust: Trust::Found, witnesses: Witnesses::default(), rings: Rings::default() }
    }
}

/// Collects the evidence of a log about one span.
#[derive(Debug)]
pub struct Evidence {
    pub(super) about: About,
    pub(super) span: Span,
    pub(super) own: SourceId,
    pub(super) proof: Proof,
    pub(super) attested: AttestationCheck,
    pub(super) rings: Rings,
    pub(super) sources: BTreeMap<SourceId, SourceEvidence>,
    /// Sources that have sent events about the machine.
    pub(super) speakers: BTreeSet<SourceId>,
    /// Names of one machine's agent: each pair both ways.
    pub(super) aliases: BTreeMap<SourceId, BTreeSet<SourceId>>,
    /// The names of the source that the certificate is about.
    pub(super) wanted: BTreeSet<SourceId>,
    pub(super) refuted: TextSet,
    pub(super) open: TextSet,
    pub(super) suspects: Vec<Suspect>,
    /// Times of which the log itself may have lost events when it was restored.
    pub(super) rolled_back: Vec<Unknown>,
    /// Where each term begins, and when the entry before it was appended.
    pub(super) terms: Vec<(Offset, Timestamp)>,
    /// The end of the last batch that has no records any more, and the batch.
    pub(super) emptied: Option<(Offset, Suspect)>,
    pub(super) first: Option<Offset>,
    pub(super) end: Offset,
    pub(super) time: Timestamp,
    /// Entries and events that were read.
    pub(super) entries: u64,
    /// When the entry before the current one was appended.
    pub(super) stamp: Timestamp,
    decoder: Decoder,
}

impl Evidence {
    /// Empty evidence. `own` is the collector's name.
    ///
    /// # Errors
    /// When the span is empty.
    pub fn new(about: About, span: Span, own: SourceId, means: CheckMaterial) -> Result<Self, CertificateError> {
        if span.until <= span.from {
            return Err(CertificateError::Span);
        }
        let wanted = match &about {
            About::Source(source) => BTreeSet::from([*source]),
            About::Machine(_) | About::Log => BTreeSet::new(),
        };
        Ok(Self {
            about,
            span,
            own,
            proof: Proof::new(own, &means.trust),
            attested: AttestationCheck::new(&means.witnesses),
            rings: means.rings,
            sources: BTreeMap::new(),
            speakers: BTreeSet::new(),
            aliases: BTreeMap::new(),
            wanted,
            refuted: TextSet::default(),
            open: TextSet::default(),
            suspects: Vec::new(),
            rolled_back: Vec::new(),
            terms: Vec::new(),
            emptied: None,
            first: None,
            end: Offset::ZERO,
            time: Timestamp::default(),
            entries: 0,
            stamp: Timestamp::default(),
            decoder: Decoder::default(),
        })
    }

    /// Empty evidence about all sources and all times.
    pub(crate) fn of_log(own: SourceId, means: CheckMaterial) -> Self {
        let (from, until) = (Timestamp::clamped(i64::MIN), Timestamp::clamped(i64::MAX));
        Self::new(About::Log, Span { from, until }, own, means).expect("all of time has an instant")
    }

    /// The offset before which retention has removed entries, as the batches read so far declare it.
    pub(crate) fn trimmed_until(&self) -> Offset {
        self.proof.trimmed_until()
    }

    /// Reads a batch before the pass over all of them: which names belong together, which keys of the log preceded the
    /// named one, and, if the log's beginning is not kept, which keys are pinned. The caller passes all batches of the
    /// collector, in order.
    pub fn ahead(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        if batch.header().source != self.own {
            return;
        }
        if head.ordinal > 0 && self.first.is_none() {
            self.proof.ahead(batch);
        }
        self.proof.look_back(batch);
        self.learn_names(batch);
    }

    /// Learns from a batch of the collector which names belong together.
    pub(super) fn learn_names(&mut self, batch: &Batch<'_>) {
        if batch.header().source != self.own {
            return;
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        for record in decoder.open(batch).readable() {
            self.learn_name(&record.event.body);
        }
        self.decoder = decoder;
    }

    /// Reads the next batch. The caller passes all batches of the log, in order.
    pub fn batch(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let chain = self.logged(head, batch);
        self.judge(head, batch, &chain);
        self.stamp = head.stamp;
    }

    /// Reads the next entry of the log, of any source; returns its chain hash.
    pub(super) fn logged(&mut self, head: &EntryHead, batch: &Batch<'_>) -> ChainHash {
        let header = batch.header();
        let offset = Offset::new(head.ordinal);
        self.first.get_or_insert(offset);
        if offset > self.end && self.end > Offset::ZERO {
            self.refuted.insert(format!("the offsets {} up to {offset} are missing in the log", self.end));
        }
        let chain = batch.chain_hash();
        self.attested.entry(head, chain);
        self.end = Offset::new(head.end_ordinal());
        self.time = self.time.max(head.stamp);
        self.entries += 1;
        if header.is_emptied() {
            let (source, why) = (header.source, Doubt::Emptied);
            self.emptied = Some((self.end, Suspect { offset, source, why }));
        }
        chain
    }

    /// Judges a batch, if the certificate is about its source.
    pub(super) fn judge(&mut self, head: &EntryHead, batch: &Batch<'_>, chain: &ChainHash) {
        let header = batch.header();
        if !self.is_looked_at(&header.source) {
            return;
        }
        let doubts = self.proof.doubts(batch);
        self.record_doubts(Offset::new(head.ordinal), header, &doubts);
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        self.rings.has(header, chain);
        self.record_batch(header.source, lane, &ReceivedBatch::of(head, header, chain));
        if doubts.is_empty() {
            self.learn(head, batch);
        }
    }

    /// Records a batch of a source.
    pub(super) fn record_batch(&mut self, source: SourceId, lane: Lane, came: &ReceivedBatch) {
        let is_begun = self.first.unwrap_or_default() > Offset::ZERO;
        let source = self.sources.entry(source).or_default();
        source.clocked(came.wall);
        if source.lane(lane.stream, lane.epoch).batch(came, &self.span, is_begun) {
            source.record_batch();
        }
    }

    fn record_doubts(&mut self, offset: Offset, header: &afferent_protocol::batch::Header, doubts: &[Doubt]) {
        for doubt in doubts {
            let (source, stream, epoch, first) = (header.source, header.stream, header.epoch, header.first);
            let text = format!("offset {offset}, {source} {stream} {epoch}, sequence {first}: {doubt}");
            match doubt {
                Doubt::KeyGone => self.open.insert(text),
                _ => self.refuted.insert(text),
            }
            if self.suspects.len() < SUSPECTS_TOLD_MAX && *doubt != Doubt::KeyGone {
                self.suspects.push(Suspect { offset, source, why: *doubt });
            }
        }
    }

    /// Records offsets that cannot be read.
    pub fn hole(&mut self, first: Offset, end: Offset) {
        self.refuted.insert(format!("the offsets {first} up to {end} cannot be read"));
        self.end = self.end.max(end);
    }

    /// Records that two names are of one machine's agent.
    pub(super) fn alias(&mut self, source: SourceId, former: SourceId) {
        self.aliases.entry(source).or_default().insert(former);
        self.aliases.entry(former).or_default().insert(source);
        if let About::Source(wanted) = self.about {
            self.wanted = self.names_of([wanted]);
        }
    }

    /// All names of the same agents as the given ones.
    pub(super) fn names_of(&self, names: impl IntoIterator<Item = SourceId>) -> BTreeSet<SourceId> {
        let (mut found, mut left) = (BTreeSet::new(), Vec::from_iter(names));
        while let Some(name) = left.pop() {
            if found.insert(name) {
                left.extend(self.aliases.get(&name).into_iter().flatten());
            }
        }
        found
    }

    fn is_looked_at(&self, source: &SourceId) -> bool {
        match &self.about {
            About::Source(_) => *source == self.own || self.wanted.contains(source),
            About::Machine(_) | About::Log => true,
        }
    }

    /// Learns from the events of a batch whose signature holds.
    fn learn(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let source = header.source;
        let looks_for_speaker = matches!(self.about, About::Machine(_)) && !self.speakers.contains(&source);
        let may_tell = header.stream == Stream::Critical || header.first.get() == 0;
        if !may_tell && !looks_for_speaker {
            return;
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        if looks_for_speaker
            && let About::Machine(machine) = &self.about
            && is_about(batch, machine, &mut decoder)
        {
            self.speakers.insert(source);
        }
        if may_tell {
            for (offset, record) in (head.ordinal..).zip(decoder.open(batch).readable()) {
                let spoken = EventOrigin { head, header, offset: Offset::new(offset), sequence: record.sequence };
                self.learn_event(&spoken, &record.event);
            }
        }
        self.decoder = decoder;
    }
}

/// Whether a batch has events about a machine.
pub(super) fn is_about(batch: &Batch<'_>, machine: &str, decoder: &mut Decoder) -> bool {
    let is_of = |subject: &Subject<'_>| subject.as_str().split('/').next() == Some(machine);
    decoder.open(batch).subjects().is_some_and(|subjects| subjects.iter().any(is_of))
}
