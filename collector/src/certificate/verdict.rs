//! The verdict that follows from all of the evidence.

use std::collections::BTreeSet;

use afferent_protocol::ids::{Offset, Sequence, SequenceRange, SourceId, Timestamp};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

use super::lanes::LaneBound;
use super::rings::{RingContext, RingFinding};
use super::source::SourceEvidence;
use super::{
    About, Awaited, Cause, Certificate, CertificateError, Evidence, Fate, LaneCertificate, LogEvidence, LogFindings,
    Range, SourceCertificate, Verdict, time_text,
};
use crate::sources::RangeSet;

impl Evidence {
    /// The certificate that follows from all of the evidence.
    ///
    /// # Errors
    /// When the log has no event of the subject.
    pub fn certificate(mut self) -> Result<Certificate, CertificateError> {
        self.finish();
        self.concluded()
    }

    /// The certificate, once the evidence was [finished](Self::finish).
    pub(super) fn concluded(mut self) -> Result<Certificate, CertificateError> {
        let names = self.names();
        let is_known = names.iter().any(|name| self.sources.get(name).is_some_and(|source| !source.lanes.is_empty()));
        // It is unknown which sources a log that contradicts itself should have.
        if !is_known && self.refuted.is_empty() {
            return Err(CertificateError::Unknown(match &self.about {
                About::Source(source) => source.to_string(),
                About::Machine(machine) => machine.clone(),
                About::Log => "anybody".to_owned(),
            }));
        }
        self.others_removed(&names);
        let rolled_back = std::mem::take(&mut self.rolled_back);
        self.open
            .extend(rolled_back.into_iter().filter(|unknown| unknown.touches(&self.span)).map(|unknown| unknown.why));
        let (mut sources, mut lanes) = (Vec::new(), Vec::new());
        let all = std::mem::take(&mut self.sources);
        for name in names {
            let Some(source) = all.get(&name).filter(|source| !source.lanes.is_empty()) else { continue };
            lanes.extend(self.lanes_of(name, source));
            sources.push(self.source(name, source));
        }
        let log = self.log_evidence();
        let (refuted, open) = (self.refuted.into_texts(), self.open.into_texts());
        let rests_on = super::text::rests_on(&sources, &log);
        let (about, span) = (self.about, self.span);
        let (verdict, causes, complete, in_ring) = (Verdict::Incomplete, Vec::new(), false, Vec::new());
        let certificate = Certificate {
            about,
            span,
            verdict,
            causes,
            complete,
            rests_on,
            open,
            refuted,
            log,
            sources,
            lanes,
            in_ring,
        };
        Ok(certificate.judged())
    }

    /// The verdict about the log as a whole, for all sources.
    pub(crate) fn findings(mut self) -> LogFindings {
        self.finish();
        for (name, source) in &self.sources {
            for (Lane { stream, epoch }, range) in source.awaited() {
                let (first, end) = (range.first, range.end);
                self.open.insert(format!(
                    "{name} {stream} {epoch}: the source reports that it accepted sequences {first} up to {end}, which \
                     are not in the log"
                ));
            }
        }
        let log = self.log_evidence();
        LogFindings {
            refuted: self.refuted.into_texts(),
            open: self.open.into_texts(),
            suspects: self.suspects,
            entries: self.entries,
            ring_batches: self.rings.held_against(),
            log,
        }
    }

    /// Ends the pass.
    pub(super) fn finish(&mut self) {
        self.sources.values_mut().for_each(SourceEvidence::finish);
        let (begin, until) = (self.first.unwrap_or_default(), self.proof.trimmed_until());
        if begin > until {
            self.refuted
                .insert(format!("the offsets {until} up to {begin} are gone, but retention did not remove them"));
        }
        let emptied_until = self.proof.emptied_until();
        if let Some((end, suspect)) = self.emptied.filter(|(end, _)| *end > emptied_until) {
            self.refuted.insert(format!(
                "samples between the offsets {emptied_until} and {end} are gone, but retention did not remove them"
            ));
            self.suspects.push(suspect);
        }
        let keys = self.proof.log_keys();
        if keys.go_back() && !self.attested.is_under(|key| keys.is_named_or_later(key)) {
            self.open
                .insert("no attestation of the given key binds yet what was written under earlier keys".to_owned());
        }
        let contradictions = self.attested.finish(self.proof.log_keys());
        self.refuted.extend(contradictions.iter().map(ToString::to_string));
        self.look_at_rings();
    }

    fn look_at_rings(&mut self) {
        let mut rings = std::mem::take(&mut self.rings);
        let findings = rings.findings(&LogSummary { names: self.names(), evidence: self });
        self.rings = rings;
        for finding in findings {
            match finding {
                RingFinding::Refuted(text) => self.refuted.insert(text),
                RingFinding::Held(text) => self.open.insert(text),
            }
        }
    }

    /// The names that the certificate is about.
    pub(super) fn names(&self) -> BTreeSet<SourceId> {
        match &self.about {
            About::Source(_) => self.wanted.clone(),
            About::Machine(_) => self.names_of(self.speakers.iter().copied()),
            About::Log => self.sources.keys().copied().collect(),
        }
    }

    /// It is unknown whether removed samples were of the machine.
    fn others_removed(&mut self, names: &BTreeSet<SourceId>) {
        if !matches!(self.about, About::Machine(_)) {
            return;
        }
        for (name, source) in self.sources.iter().filter(|(name, _)| !names.contains(name)) {
            if source.lanes.values().any(|lane| lane.has_removed()) {
                self.open
                    .insert(format!("retention has removed samples of {name}, which may have been of this machine"));
            }
        }
    }

    fn lanes_of(&mut self, name: SourceId, source: &SourceEvidence) -> Vec<LaneCertificate> {
        let mut lanes = Vec::new();
        for (lane, evidence) in &source.lanes {
            let Lane { stream, epoch } = *lane;
            if let Some(until) = evidence.removed_of(&self.span) {
                let until = time_text(until);
                self.open.insert(format!("{name} {stream} {epoch}: retention has removed everything up to {until}"));
            }
            if evidence.is_too_much() {
                self.open.insert(format!(
                    "{name} {stream} {epoch} has more gaps than a certificate can list; ask for a shorter span"
                ));
            }
            if let Some(offsets) = &evidence.offsets {
                self.bound(offsets.start, offsets.end);
            }
            let until = if name == self.own { LaneBound::Everything } else { source.until(*lane) };
            let ranges = evidence.ranges(&self.span, until, |range| source.continues(*lane, range));
            if !ranges.is_empty() {
                lanes.push(LaneCertificate { source: name, stream, epoch, ranges });
            }
        }
        lanes
            .sort_by_key(|lane| (lane.stream, source.lanes[&Lane { stream: lane.stream, epoch: lane.epoch }].begun_at));
        lanes
    }

    /// Requires that attestations bind these offsets: they are evidence.
    fn bound(&mut self, first: Offset, end: Offset) {
        let until = self.attested.bound().map_or(Offset::ZERO, |bound| bound.end);
        if self.attested.from().is_none_or(|from| first < from) || end > until {
            self.open.insert(format!(
                "no attestation of the collector binds the offsets {first} up to {end} yet; it makes one every minute"
            ));
        }
    }

    fn source(&mut self, name: SourceId, source: &SourceEvidence) -> SourceCertificate {
        for unknown in source.unknown.iter().filter(|unknown| unknown.touches(&self.span)) {
            let (from, until) = (time_text(unknown.from), time_text(unknown.until));
            self.open.insert(format!("{name}, {from} up to {until}: {}", unknown.why));
        }
        let is_own = name == self.own;
        // The collector's own accepted events are in its log; its attestations have the time.
        let known_until = match source.known() {
            _ if is_own => self.attested.bound().map(|bound| bound.time),
            statement => statement.map(|statement| statement.clock),
        };
        if let Some(bounding) = source.bounding().filter(|_| !is_own) {
            self.bound(bounding.offset, Offset::new(bounding.offset.get() + 1));
        }
        let mut awaited = Vec::new();
        if !is_own {
            awaited.extend(source.awaited().into_iter().map(|(lane, range)| {
                let (stream, epoch, first, end) = (lane.stream, lane.epoch, range.first, range.end);
                self.open.insert(format!(
                    "{name} {stream} {epoch}: sequences {first} up to {end} were accepted but have not arrived"
                ));
                Awaited { stream, epoch, first, end }
            }));
        }
        let retired = source.retired.as_ref().map(|(_, by)| by.clone());
        let is_bounded = match is_own {
            true => known_until.is_some_and(|known| known >= self.span.until),
            false => source.bounding().is_some(),
        };
        if !is_bounded && retired.is_none() {
            self.open.insert(unbounded(name, is_own, known_until));
        }
        let key = if is_own { None } else { self.proof.key_of(&name).map(|key| key.to_string()) };
        SourceCertificate { source: name, key, known_until, retired, awaited }
    }

    fn log_evidence(&self) -> LogEvidence {
        let keys = self.proof.log_keys();
        LogEvidence {
            collector: self.own,
            partition: self.attested.partition().unwrap_or_default(),
            keys: keys.list().iter().map(ToString::to_string).collect(),
            key_origin: keys.origin(),
            first: self.first.unwrap_or_default(),
            end: self.end,
            attestations: self.attested.count(),
            attested_from: self.attested.from(),
            attested: self.attested.bound(),
            witnessed: self.attested.witnessed(),
            witnesses_passed: self.attested.passed(),
            time: self.time,
        }
    }
}

/// The log, for the comparison with ring logs.
struct LogSummary<'a> {
    names: BTreeSet<SourceId>,
    evidence: &'a Evidence,
}

impl RingContext for LogSummary<'_> {
    fn is_about(&self, source: &SourceId) -> bool {
        self.names.contains(source)
    }

    fn key(&self, source: &SourceId) -> Option<PublicKey> {
        self.evidence.proof.key_of(source)
    }

    fn is_removed(&self, source: &SourceId, lane: Lane, end: Sequence) -> bool {
        let known = self.evidence.sources.get(source).and_then(|source| source.lanes.get(&lane));
        let is_begun = self.evidence.first.unwrap_or_default() > Offset::ZERO;
        is_begun && known.is_none_or(|lane| lane.begins_behind(end))
    }

    fn is_elsewhere(&self, source: &SourceId, lane: Lane, range: SequenceRange) -> bool {
        let Some(known) = self.evidence.sources.get(source) else { return false };
        RangeSet::of(range).without(&known.continues(lane, range)).is_empty()
    }
}

/// Why the time up to the span's end is open.
fn unbounded(name: SourceId, is_own: bool, known_until: Option<Timestamp>) -> String {
    match known_until.map(time_text) {
        Some(known) if is_own => format!("the collector has attested nothing after {known}"),
        None if is_own => "the collector has attested nothing yet".to_owned(),
        Some(known) => format!(
            "{name}: nothing is known after {known}; what it accepted then may be in its ring log (`agents retire \
             {name}` records that nothing more will come)"
        ),
        None => format!("{name} has never reported which events it has accepted, or its report has not arrived yet"),
    }
}

impl Certificate {
    /// Adds the verdict that follows from all other fields.
    pub(super) fn judged(mut self) -> Self {
        let fates = self.lanes.iter().flat_map(|lane| &lane.ranges).filter_map(|range: &Range| match range.fate {
            Fate::Present => None,
            Fate::Removed => Some(Cause::Removed),
            Fate::Lost { .. } => Some(Cause::DeclaredLoss),
            Fate::Missing => Some(Cause::Missing),
        });
        let mut causes: BTreeSet<Cause> = fates.collect();
        if !self.open.is_empty() || !self.in_ring.is_empty() {
            causes.insert(Cause::Open);
        }
        self.verdict = match (self.refuted.is_empty(), causes.is_empty()) {
            (false, _) => Verdict::Refuted,
            (true, true) => Verdict::Complete,
            (true, false) => Verdict::Incomplete,
        };
        self.complete = self.verdict == Verdict::Complete;
        self.causes = causes.into_iter().collect();
        self
    }
}
