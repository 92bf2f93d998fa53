//! One pass over the log, batch after batch.

use std::collections::{BTreeMap, BTreeSet};

use afferent_protocol::batch::Batch;
use afferent_protocol::codec::records;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Epoch, Offset, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

use super::lanes::{Declared, LaneEvidence};
use super::seals::{Broken, Seals};
use super::{About, Certificate, CertificateError, Fate, LaneCertificate, LogEvidence, Span, Told, Verdict, time_text};
use crate::log::Proof;
use crate::sources::Logged;

/// Collects what the log has to say about one span.
#[derive(Debug)]
pub struct Evidence {
    about: About,
    span: Span,
    own: SourceId,
    key: PublicKey,
    proof: Proof,
    seals: Seals,
    lanes: BTreeMap<(SourceId, Stream), BTreeMap<Epoch, LaneEvidence>>,
    /// Sources that have spoken of the machine.
    speakers: BTreeSet<SourceId>,
    refuted: Told,
    open: Told,
    /// Where the last batch ends that was found without its records, of whatever source.
    emptied_until: Offset,
    first: Option<Offset>,
    end: Offset,
    time: Timestamp,
    scratch: Vec<u8>,
}

impl Evidence {
    /// Nothing was seen yet. `own` is the collector's name and `key` its public key.
    ///
    /// # Errors
    /// When the span has no instant.
    pub fn new(about: About, span: Span, own: SourceId, key: PublicKey) -> Result<Self, CertificateError> {
        if span.until <= span.from {
            return Err(CertificateError::Span);
        }
        Ok(Self {
            about,
            span,
            own,
            key,
            proof: Proof::with_key(own, key),
            seals: Seals::default(),
            lanes: BTreeMap::new(),
            speakers: BTreeSet::new(),
            refuted: Told::default(),
            open: Told::default(),
            emptied_until: Offset::ZERO,
            first: None,
            end: Offset::ZERO,
            time: Timestamp::default(),
            scratch: Vec::new(),
        })
    }

    /// Looks at a batch of a log whose beginning is not kept, before all of them are taken; see [`Proof::ahead`].
    pub fn ahead(&mut self, batch: &Batch<'_>) {
        self.proof.ahead(batch);
    }

    /// Takes the next batch. To be called for all that the log has, in order.
    pub fn batch(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let offset = Offset::new(head.ordinal);
        let begin = *self.first.get_or_insert(offset);
        if offset > self.end && self.end > Offset::ZERO {
            self.refuted.say(format!("the offsets {} up to {offset} are not in the log", self.end));
        }
        self.end = Offset::new(head.end_ordinal());
        self.time = self.time.max(head.stamp);
        let (end, chain) = (self.end, batch.chain_hash());
        self.seals.batch(Logged { first: offset, chain });
        if header.is_emptied() {
            self.emptied_until = end;
        }
        if !self.is_looked_at(&header.source) {
            return;
        }
        let doubts = self.proof.doubts(batch);
        for doubt in &doubts {
            let (source, stream, epoch, first) = (header.source, header.stream, header.epoch, header.first);
            self.refuted.say(format!("offset {offset}, {source} {stream} {epoch}, sequence {first}: {doubt}"));
        }
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let span = self.span;
        if !header.is_emptied() {
            let epochs = self.lanes.entry((header.source, header.stream)).or_default();
            epochs.values_mut().for_each(|lane| lane.settle(Some(header.time_last), &span));
        }
        self.lane(header.source, lane).batch(header, offset, &span, begin > Offset::ZERO);
        if doubts.is_empty() {
            self.learn(batch);
        }
    }

    /// Offsets that cannot be read.
    pub fn hole(&mut self, first: Offset, end: Offset) {
        self.refuted.say(format!("the offsets {first} up to {end} cannot be read"));
        self.end = self.end.max(end);
    }

    fn lane(&mut self, source: SourceId, lane: Lane) -> &mut LaneEvidence {
        self.lanes.entry((source, lane.stream)).or_default().entry(lane.epoch).or_default()
    }

    fn is_looked_at(&self, source: &SourceId) -> bool {
        match &self.about {
            About::Source(wanted) => source == wanted || *source == self.own,
            About::Machine(_) => true,
        }
    }

    /// Losses, seals, and who speaks of the machine.
    fn learn(&mut self, batch: &Batch<'_>) {
        let source = batch.header().source;
        let looks_for_speaker = matches!(self.about, About::Machine(_)) && !self.speakers.contains(&source);
        if batch.header().stream != Stream::Critical && !looks_for_speaker {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(batch.header().decoded_len as usize, 0);
        for record in records(batch, &mut scratch).into_iter().flatten().flatten() {
            let subject = record.event.subject.as_str();
            if looks_for_speaker
                && let About::Machine(machine) = &self.about
                && subject.split('/').next() == Some(machine)
            {
                self.speakers.insert(source);
            }
            match record.event.body {
                // A device's loss, under the device's name, is in a lane that is numbered elsewhere.
                Body::Loss(loss) if subject == source.as_str() => {
                    let range = SequenceRange { first: loss.first, end: loss.end };
                    let declared = Declared { range, reason: loss.reason, time: record.event.time };
                    let lane = Lane { stream: loss.stream, epoch: loss.epoch };
                    self.lane(source, lane).losses.push(declared);
                }
                Body::LifeCycle(LifeCycle::LaneKept { source: named, stream, epoch, end, time_last, .. })
                    if source == self.own =>
                {
                    if let Ok(named) = SourceId::new(named)
                        && self.is_looked_at(&named)
                    {
                        self.lane(named, Lane { stream, epoch }).kept(end, time_last);
                    }
                }
                Body::LifeCycle(LifeCycle::Sealed { first, end, hash }) if source == self.own => {
                    let bound = self.seals.seal(first, end, hash);
                    self.refuted.extend(bound.err().map(|Broken| {
                        format!("offsets {first} up to {end}: these are not the batches that the collector has sealed")
                    }));
                }
                _ => {}
            }
        }
        self.scratch = scratch;
    }

    /// What all of it proves.
    ///
    /// # Errors
    /// When the log has nothing of whom it is about.
    pub fn certificate(mut self) -> Result<Certificate, CertificateError> {
        let begin = self.first.unwrap_or_default();
        let until = self.proof.trimmed_until();
        if begin > until {
            self.refuted
                .say(format!("the offsets {until} up to {begin} are gone, and retention was not to remove them"));
        }
        if self.emptied_until > self.proof.emptied_until() {
            let (until, end) = (self.proof.emptied_until(), self.emptied_until);
            self.refuted.say(format!(
                "samples between the offsets {until} and {end} are gone, and retention was not to remove them"
            ));
        }
        let (mut lanes, mut is_known) = (Vec::new(), false);
        for ((source, stream), mut epochs) in std::mem::take(&mut self.lanes) {
            epochs.values_mut().for_each(|lane| lane.settle(None, &self.span));
            let is_wanted = match &self.about {
                About::Source(wanted) => source == *wanted,
                About::Machine(_) => self.speakers.contains(&source),
            };
            if is_wanted {
                is_known = true;
                self.stream(source, stream, epochs, &mut lanes);
            } else if matches!(self.about, About::Machine(_)) && epochs.values().any(LaneEvidence::has_removed) {
                self.open.say(format!("samples of {source} were removed by retention, of whatever machine they were"));
            }
        }
        if !is_known {
            return Err(CertificateError::Unknown(match &self.about {
                About::Source(source) => source.to_string(),
                About::Machine(machine) => machine.clone(),
            }));
        }
        let fates = lanes.iter().flat_map(|lane: &LaneCertificate| &lane.ranges).map(|range| match range.fate {
            Fate::Present => Verdict::Complete,
            Fate::Removed => Verdict::Removed,
            Fate::Lost { .. } => Verdict::DeclaredLoss,
            Fate::Missing => Verdict::Incomplete,
        });
        let mut verdict = fates.max().unwrap_or(Verdict::Complete);
        let (refuted, open) = (self.refuted.into_texts(), self.open.into_texts());
        if !refuted.is_empty() {
            verdict = Verdict::Refuted;
        }
        Ok(Certificate {
            about: self.about,
            span: self.span,
            verdict,
            complete: verdict == Verdict::Complete && open.is_empty(),
            open,
            refuted,
            log: LogEvidence {
                collector: self.own,
                key: self.key.to_string(),
                first: self.first.unwrap_or_default(),
                end: self.end,
                sealed_until: self.seals.end(),
                time: self.time,
            },
            lanes,
            in_ring: Vec::new(),
        })
    }

    /// Judges all epochs of one stream.
    fn stream(
        &mut self,
        source: SourceId,
        stream: Stream,
        epochs: BTreeMap<Epoch, LaneEvidence>,
        lanes: &mut Vec<LaneCertificate>,
    ) {
        // One that was only heard of in losses comes first.
        let mut epochs: Vec<_> = epochs.into_iter().collect();
        epochs.sort_by_key(|(_, lane)| lane.begun_at);
        for (at, (epoch, lane)) in epochs.iter().enumerate() {
            if let Some(until) = lane.removed_of(&self.span) {
                let until = time_text(until);
                self.open.say(format!("{source} {stream} {epoch}: retention has removed what it had up to {until}"));
            }
            let Some(known_until) = lane.known_until else { continue };
            match epochs.get(at + 1).map(|(_, next)| next.known_from) {
                None if known_until < self.span.until => {
                    let known = time_text(known_until);
                    self.open.say(format!("{source} {stream}: nothing is known after {known}; it may be in its ring log"));
                }
                Some(next) if !lane.is_ended() && self.falls_between(known_until, next) => self.open.say(format!(
                    "{source} {stream} {epoch} ended at {} and nobody said what followed: its ring log was lost or replaced",
                    lane.end(),
                )),
                _ => {}
            }
            if let Some(offsets) = &lane.offsets
                && !self.seals.binds(offsets)
            {
                let (first, end) = (offsets.start, offsets.end);
                self.open
                    .say(format!("the offsets {first} up to {end} are not bound by a seal; one comes every minute"));
            }
            if lane.has_too_many_holes() {
                self.open
                    .say(format!("{source} {stream} {epoch} has more holes than can be told; take a shorter span"));
            }
            let ranges = lane.ranges();
            if !ranges.is_empty() {
                lanes.push(LaneCertificate { source, stream, epoch: *epoch, ranges, known_until });
            }
        }
    }

    /// Whether the span has an instant between the last event of one epoch and the first one of the next.
    fn falls_between(&self, last: Timestamp, next: Option<Timestamp>) -> bool {
        last < self.span.until && next.is_none_or(|next| next >= self.span.from)
    }
}
