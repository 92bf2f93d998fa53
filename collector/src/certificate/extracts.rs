//! A certificate by extracts: of a finished segment only its extract about the certificate's sources is read. The
//! batches that bear on the answer are read and checked.
//!
//! It collects the same evidence as a pass over the whole log, so that the answer is the same. Anything unusual has no
//! answer here: the caller must read the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::event::LaneEnd;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

use super::evidence::is_about;
use super::lanes::{LaneBound, ReceivedBatch};
use super::source::HeartbeatEnds;
use super::{About, Certificate, CertificateError, CheckMaterial, Evidence, Span};
use crate::log::inspect::Suspect;
use crate::log::records::Decoder;
use crate::log::{Doubt, Extract, ExtractItem, Extracts, Next, Row, RowFacts, SegmentPlace, Trust};

/// Number of walks over a log in which each walk finds more names that belong together.
const WALKS_MAX: usize = 4;

/// The question that a certificate answers.
#[derive(Clone, Debug)]
pub(super) struct CertificateRequest<'a> {
    pub about: &'a About,
    pub span: Span,
    /// The collector's name.
    pub own: SourceId,
    pub means: &'a CheckMaterial,
}

/// The certificate by the extracts of a log; `None` when the caller must read the log.
pub(super) fn certificate(
    log: &dyn Extracts,
    asked: &CertificateRequest<'_>,
) -> Option<Result<Certificate, CertificateError>> {
    let CheckMaterial { trust, witnesses, rings } = asked.means;
    // A key found in the log may belong to the writer of the extracts; witnesses and rings need all batches.
    if *trust == Trust::Found || !witnesses.is_empty() || !rings.is_empty() || log.all().is_empty() {
        return None;
    }
    let mut names = match asked.about {
        About::Source(source) if *source != asked.own => BTreeSet::from([*source]),
        About::Machine(machine) => speakers(log, machine)?,
        About::Source(_) | About::Log => return None,
    };
    for _ in 0..WALKS_MAX {
        let mut walked = ExtractWalk::over(log, asked, names.clone())?;
        walked.evidence.finish();
        let mut found = walked.evidence.names();
        found.append(&mut walked.others);
        if !found.is_subset(&names) {
            names.extend(found);
            continue;
        }
        let made = walked.is_proved(log, &names).map(|()| walked.evidence.concluded())?;
        return made.as_ref().is_ok_and(|made| made.refuted.is_empty()).then_some(made);
    }
    None
}

/// The sources that send events about a machine, by the extracts; `None` when an extract does not list them.
fn speakers(log: &dyn Extracts, machine: &str) -> Option<BTreeSet<SourceId>> {
    let mut speakers = BTreeSet::new();
    for (source, speaks) in log.all().iter().flat_map(|extract| extract.directory.sources_about(machine)) {
        if speaks? {
            speakers.insert(source);
        }
    }
    Some(speakers)
}

/// A row, and the address of its entry.
struct PlacedRow {
    segment: SegmentPlace,
    row: Row,
}

/// A batch of a lane. A lane's batches are kept oldest first.
struct LaneBatch {
    came: ReceivedBatch,
    chain: ChainHash,
    /// The address to read the batch at; `None` once it was read.
    placed: Option<PlacedRow>,
}

/// The results of a walk.
struct ExtractWalk {
    evidence: Evidence,
    own: SourceId,
    names: BTreeSet<SourceId>,
    /// The batches of all names, and of the collector.
    lanes: BTreeMap<(SourceId, Lane), Vec<LaneBatch>>,
    /// The keys that have signed extracts.
    signers: BTreeSet<[u8; 32]>,
    /// The newest attestation, if an extract has one.
    attestation: Option<Vec<u8>>,
    /// More sources that send events about the machine.
    others: BTreeSet<SourceId>,
    decoder: Decoder,
}

impl ExtractWalk {
    fn over(log: &dyn Extracts, asked: &CertificateRequest<'_>, names: BTreeSet<SourceId>) -> Option<Self> {
        let CertificateRequest { about, span, own, means } = asked.clone();
        let evidence = Evidence::new(about.clone(), span, own, means.clone()).ok()?;
        let mut walked = Self {
            evidence,
            own,
            names,
            lanes: BTreeMap::new(),
            signers: BTreeSet::new(),
            attestation: None,
            others: BTreeSet::new(),
            decoder: Decoder::default(),
        };
        if let About::Source(_) = about {
            walked.evidence.wanted.clone_from(&walked.names);
        } else {
            walked.evidence.speakers.clone_from(&walked.names);
        }
        walked.look_ahead(log)?;
        log.walk(&mut |found| match found {
            ExtractItem::Extract(extract) if walked.takes(extract) => walked.extract(log, extract),
            ExtractItem::Extract(_) => Some(Next::Read),
            ExtractItem::Entry(head, batch) => walked.entry(head, batch),
        })?;
        Some(walked)
    }

    /// If the beginning of the log is not kept, keys are declared behind the batches that they verify.
    fn look_ahead(&mut self, log: &dyn Extracts) -> Option<()> {
        if log.first() == Offset::ZERO {
            return Some(());
        }
        log.walk(&mut |found| {
            match found {
                ExtractItem::Entry(head, batch) => self.evidence.ahead(head, batch),
                ExtractItem::Extract(extract) => {
                    for row in log.section(extract, &self.own)?.rows {
                        let RowFacts::Told { batch, .. } = &row.what else { continue };
                        let (batch, _) = Batch::parse(batch).ok()?;
                        self.evidence.ahead(&row.head(&batch), &batch);
                    }
                }
            }
            Some(Next::On)
        })
    }

    /// Whether the segment need not be read: the running hash at its beginning is known.
    fn takes(&self, extract: &Extract) -> bool {
        self.evidence.attested.is_known() && (self.evidence.first.is_some() || extract.directory.first == Offset::ZERO)
    }

    fn entry(&mut self, head: &EntryHead, batch: &Batch<'_>) -> Option<Next> {
        let (header, evidence) = (batch.header(), &mut self.evidence);
        let chain = evidence.logged(head, batch);
        if header.source == self.own || self.names.contains(&header.source) {
            evidence.judge(head, batch, &chain);
            let lane = Lane { stream: header.stream, epoch: header.epoch };
            let known = LaneBatch { came: ReceivedBatch::of(head, header, &chain), chain, placed: None };
            self.lanes.entry((header.source, lane)).or_default().push(known);
        } else if let About::Machine(machine) = &evidence.about {
            if header.is_emptied() {
                return None;
            }
            if is_about(batch, machine, &mut self.decoder) {
                self.others.insert(header.source);
            }
        }
        evidence.stamp = head.stamp;
        self.goes_on()
    }

    /// Continues the walk if it has found no contradiction so far.
    fn goes_on(&self) -> Option<Next> {
        self.evidence.refuted.is_empty().then_some(Next::On)
    }

    fn extract(&mut self, log: &dyn Extracts, extract: &Extract) -> Option<Next> {
        self.signers.insert(extract.key.0);
        let directory = &extract.directory;
        let mut rows = Vec::new();
        for source in self.names.iter().chain([&self.own]) {
            let section = log.section(extract, source)?;
            let lane = |row: &Row| section.lanes[usize::from(row.lane)];
            rows.extend(section.rows.iter().map(|row| (*source, lane(row), row.clone())));
        }
        rows.sort_by_key(|(_, _, row)| row.offset);
        let evidence = &mut self.evidence;
        evidence.first.get_or_insert(directory.first);
        evidence.attested.extract(&directory.head, &directory.marks, &directory.tail);
        for (source, lane, row) in rows {
            self.row(source, lane, row, &extract.segment)?;
        }
        let evidence = &mut self.evidence;
        (evidence.end, evidence.stamp) = (directory.end, directory.stamp);
        evidence.time = evidence.time.max(directory.time);
        evidence.entries += directory.entries;
        if let Some((offset, end, source)) = directory.emptied {
            // The machine of an emptied batch is unknown.
            if let About::Machine(_) = evidence.about {
                return None;
            }
            evidence.emptied = Some((end, Suspect { offset, source, why: Doubt::Emptied }));
        }
        self.goes_on()
    }

    fn row(&mut self, source: SourceId, (stream, epoch): (Stream, Epoch), row: Row, at: &SegmentPlace) -> Option<()> {
        let (lane, evidence) = (Lane { stream, epoch }, &mut self.evidence);
        let (came, chain) = (ReceivedBatch::of_row(&row), row.chain);
        if let RowFacts::Told { batch, before } = &row.what {
            let (batch, _) = Batch::parse(batch).ok()?;
            evidence.stamp = before.unwrap_or(evidence.stamp);
            evidence.judge(&row.head(&batch), &batch, &chain);
        } else {
            let place = (source, lane);
            let is_late = evidence.proof.is_late(&place, row.range());
            if is_late || evidence.proof.check_position_in(place, row.range(), chain, row.previous).is_some() {
                return None;
            }
            evidence.record_batch(source, lane, &came);
        }
        match &row.what {
            RowFacts::Beat(beat) => {
                let clock = row.wall().min(row.stamp).min(row.time_of(beat));
                let ends = beat.ends.iter();
                let ends = ends.map(|&(stream, epoch, end, check)| LaneEnd { stream, epoch, end, check });
                let statement = HeartbeatEnds { clock, offset: row.offset_of(beat.at), ends: ends.collect() };
                let span = evidence.span;
                evidence.sources.entry(source).or_default().record_heartbeat(statement, &span);
            }
            RowFacts::Attested { attestation, .. } if source == self.own => {
                let claim = Attestation::read(attestation)?;
                evidence.attested.attests(claim.claim(), evidence.proof.log_keys()).ok()?;
                self.attestation = Some(attestation.clone());
            }
            RowFacts::Attested { .. } | RowFacts::Quiet | RowFacts::Told { .. } => {}
        }
        let placed = Some(PlacedRow { segment: Arc::clone(at), row });
        self.lanes.entry((source, lane)).or_default().push(LaneBatch { came, chain, placed });
        Some(())
    }

    /// Whether every batch that bears on the answer is in the log as the extracts have it.
    fn is_proved(&self, log: &dyn Extracts, names: &BTreeSet<SourceId>) -> Option<()> {
        self.goes_on()?;
        let keys = self.evidence.proof.log_keys();
        if !self.signers.iter().all(|key| keys.count(&PublicKey(*key))) {
            return None;
        }
        if let Some(attestation) = &self.attestation {
            Attestation::read(attestation)?.verify()?;
        }
        for ((source, lane), batches) in &self.lanes {
            let last = batches.len().checked_sub(1)?;
            if !names.contains(source) {
                // The collector's own: the last one binds those before it.
                self.is_in_log(log, source, *lane, batches, last)?;
                continue;
            }
            for at in self.bearing(source, *lane, batches) {
                self.is_in_log(log, source, *lane, batches, at)?;
            }
        }
        Some(())
    }

    /// The batches of a lane that bear on the answer: from the last one before the span up to the end that the bounding
    /// statement names for the lane, the statements, and the last batch, which binds all others.
    fn bearing(&self, source: &SourceId, lane: Lane, batches: &[LaneBatch]) -> BTreeSet<usize> {
        let Some(evidence) = self.evidence.sources.get(source) else { return (0..batches.len()).collect() };
        let span = &self.evidence.span;
        let end = match evidence.until(lane) {
            LaneBound::Everything => Sequence::new(u64::MAX),
            LaneBound::Sequence(end) => end,
            LaneBound::Nothing => Sequence::ZERO,
        };
        let is_counted = |known: &LaneBatch| known.came.range.first < end;
        let meets = |known: &LaneBatch| known.came.meets(span);
        let begin = batches.iter().position(meets).map_or_else(
            || batches.iter().rposition(|known| is_counted(known) && known.came.time_last < span.from),
            |first| first.checked_sub(1),
        );
        let until = batches.iter().rposition(|known| is_counted(known) || meets(known)).map_or(0, |last| last + 1);
        let holds = |offset: Offset| {
            let at = batches.partition_point(|known| known.came.offset_end <= offset);
            batches.get(at).filter(|known| known.came.offset <= offset).map(|_| at)
        };
        let statements = evidence.statements().filter_map(holds);
        (begin.unwrap_or(0)..until).chain(statements).chain(batches.len().checked_sub(1)).collect()
    }

    /// Whether a batch is in the log as its row has it, signed, and behind its predecessor.
    fn is_in_log(
        &self,
        log: &dyn Extracts,
        source: &SourceId,
        lane: Lane,
        batches: &[LaneBatch],
        at: usize,
    ) -> Option<()> {
        let Some(PlacedRow { segment, row }) = &batches[at].placed else { return Some(()) };
        let (end, chain) = match at.checked_sub(1).map(|before| &batches[before]) {
            Some(before) => (before.came.range.end, before.chain),
            None => (Sequence::ZERO, CHAIN_START),
        };
        log.entry(segment, row, &mut |entry| {
            let (head, batch, header) = (&entry.head, &entry.batch, entry.batch.header());
            let is_of_lane = header.source == *source && (header.stream, header.epoch) == (lane.stream, lane.epoch);
            let is_chained = header.first != end || header.previous == chain;
            let is_same = is_of_lane && is_chained && row.is_of(head, batch, &self.own);
            (is_same && self.evidence.proof.is_signed_in_the_end(batch)).then_some(())
        })
    }
}
