//! Ring logs of agents as evidence: the log must have every event that an agent still holds, or the event is on its
//! way.

use std::collections::BTreeMap;
use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{ChainHash, Header};
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{Head, LogKind, SegmentHeader};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{Context, PublicKey};

use crate::limits::CERTIFICATE_RING_BATCHES_MAX;

/// A batch in a ring log.
#[derive(Clone, Copy, Debug)]
struct HeldInRing {
    end: Sequence,
    chain: ChainHash,
    signature: [u8; 64],
    found: BatchMatch,
}

/// Whether the log has a batch of a ring log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchMatch {
    No,
    /// The log has the batch.
    Same,
    /// The log has a different batch with these sequences.
    Other,
}

/// The batches of one lane in ring logs.
#[derive(Clone, Debug, Default)]
struct RingLane {
    batches: BTreeMap<Sequence, HeldInRing>,
    /// Sequences before this one were acknowledged, as the ring log has it.
    acked_end: Sequence,
}

/// The batches of ring logs.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    lanes: BTreeMap<(SourceId, Lane), RingLane>,
    batches: usize,
    /// Number of batches compared with the log.
    held_against: usize,
}

/// Why a ring log cannot serve as evidence.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The files cannot be read.
    #[error("reading {file} failed: {error}")]
    Disk {
        /// The file, or the directory.
        file: String,
        /// The error of the disk.
        error: io::Error,
    },
    /// The directory holds no batches.
    #[error("there is no ring log; give the folder `ring` of an agent's data directory")]
    Empty,
    /// The ring log has more batches than are held in memory.
    #[error("the ring logs have more than {CERTIFICATE_RING_BATCHES_MAX} batches; give one ring log at a time")]
    TooMany,
}

/// The parts of the log that ring logs are compared with.
pub(super) trait RingContext {
    /// Whether the certificate is about the source.
    fn is_about(&self, source: &SourceId) -> bool;
    /// The key that the log has pinned for the source.
    fn key(&self, source: &SourceId) -> Option<PublicKey>;
    /// Whether retention may have removed events of the lane before this sequence.
    fn is_removed(&self, source: &SourceId, lane: Lane, end: Sequence) -> bool;
    /// Whether all of this was sealed again in a different epoch.
    fn is_elsewhere(&self, source: &SourceId, lane: Lane, range: SequenceRange) -> bool;
}

/// A result of comparing a ring log with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RingFinding {
    /// The log contradicts the ring log.
    Refuted(String),
    /// The ring log holds events that have not come.
    Held(String),
}

impl Rings {
    /// Reads the ring log in a directory; an agent may be writing it meanwhile.
    pub fn read<D: Disk>(&mut self, disk: &D) -> Result<(), RingError> {
        let failed = |file: &str| {
            let file = file.to_owned();
            move |error| RingError::Disk { file, error }
        };
        let (before, mut bytes) = (self.batches, Vec::new());
        for (name, len) in disk.list().map_err(failed("the folder"))? {
            if len > SEGMENT_BYTES_MAX {
                continue;
            }
            bytes.resize(len as usize, 0);
            let file = disk.open(&name).map_err(failed(&name))?;
            file.read_at(&mut bytes, 0).map_err(failed(&name))?;
            self.segment(&bytes)?;
        }
        if self.batches == before { Err(RingError::Empty) } else { Ok(()) }
    }

    fn segment(&mut self, bytes: &[u8]) -> Result<(), RingError> {
        let Head::Present { header, .. } = SegmentHeader::decode(bytes) else { return Ok(()) };
        if header.kind != LogKind::Ring {
            return Ok(());
        }
        let mut scan = Scan::new(bytes, header.seed());
        while let Some(step) = scan.step() {
            let Step::Entry(_, entry) = step else { continue };
            if self.batches == CERTIFICATE_RING_BATCHES_MAX {
                return Err(RingError::TooMany);
            }
            let batch = entry.batch.header();
            let lane = self.lanes.entry((batch.source, Lane { stream: batch.stream, epoch: batch.epoch })).or_default();
            lane.acked_end = lane.acked_end.max(Sequence::new(entry.head.acked_end));
            let (chain, signature) = (entry.batch.chain_hash(), batch.signature);
            lane.batches.insert(batch.first, HeldInRing { end: batch.end(), chain, signature, found: BatchMatch::No });
            self.batches += 1;
        }
        Ok(())
    }

    /// Whether there are no batches.
    pub fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// Number of ring log batches that were compared with the log.
    pub(super) fn held_against(&self) -> usize {
        self.held_against
    }

    /// Records that the log has the batch of this header and chain hash.
    pub(super) fn has(&mut self, header: &Header, chain: &ChainHash) {
        let (lane, range) = (Lane { stream: header.stream, epoch: header.epoch }, header.range());
        let Some(known) = self.lanes.get_mut(&(header.source, lane)) else { return };
        let touching = known.batches.range_mut(..range.end).rev().take_while(|(_, batch)| batch.end > range.first);
        for (first, batch) in touching {
            let is_in_place = *first == range.first && batch.end == range.end;
            // The chain hash is of the content alone: it is the same under any key.
            let is_same = is_in_place && batch.chain == *chain && batch.signature == header.signature;
            batch.found = if is_same { BatchMatch::Same } else { BatchMatch::Other };
        }
    }

    /// The findings, once the whole log was read.
    pub(super) fn findings(&mut self, against: &impl RingContext) -> Vec<RingFinding> {
        let mut findings = Vec::new();
        for ((source, lane), ring) in self.lanes.iter().filter(|((source, _), _)| against.is_about(source)) {
            self.held_against += ring.batches.len();
            let place = format!("{source} {} {}", lane.stream, lane.epoch);
            let verifier = against.key(source).and_then(|key| key.verifier());
            for (first, batch) in ring.batches.iter().filter(|(_, batch)| batch.found != BatchMatch::Same) {
                let (first, end) = (*first, batch.end);
                if against.is_removed(source, *lane, end) {
                    continue;
                }
                let is_signed = verifier
                    .as_ref()
                    .is_some_and(|verifier| verifier.verify_in(Context::Batch, &batch.chain, &batch.signature));
                let what = format!("{place}: sequences {first} up to {end}");
                findings.push(match (first < ring.acked_end, is_signed, batch.found) {
                    (true, false, _) => RingFinding::Refuted(format!(
                        "{what} are in the ring log, signed with another key than that of {source} in the log, and \
                         were acknowledged"
                    )),
                    (true, true, BatchMatch::Other) => RingFinding::Refuted(format!("{what} differ in the ring log")),
                    (true, true, _) => RingFinding::Refuted(format!(
                        "{what} are in the ring log and were acknowledged, but are not in the log"
                    )),
                    // The agent has not reused its file yet.
                    (false, ..) if against.is_elsewhere(source, *lane, SequenceRange { first, end }) => continue,
                    (false, true, _) => RingFinding::Held(format!("{what} are in the ring log and have not arrived")),
                    // An agent that has lost its key seals the events that it holds again under a new key.
                    (false, false, _) => RingFinding::Held(format!(
                        "{what} are in the ring log, signed with another key than that of {source} in the log, and \
                         have not arrived; they will after `agents replace {source} --key KEY --why …`"
                    )),
                });
            }
        }
        findings
    }
}
