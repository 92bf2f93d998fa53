//! Ring logs of agents, as evidence: what an agent still has must be in the log, or still be on its way.

use std::collections::BTreeMap;
use std::io;

use afferent_protocol::batch::ChainHash;
use afferent_protocol::disk::{Disk, DiskFile};
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{Head, LogKind, SegmentHeader};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{Context, PublicKey};

use crate::limits::CERTIFICATE_RING_BATCHES_MAX;

/// A batch in a ring log.
#[derive(Clone, Copy, Debug)]
struct InRing {
    end: Sequence,
    chain: ChainHash,
    signature: [u8; 64],
    found: Found,
}

/// Whether the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    No,
    /// It has.
    Same,
    /// It has another batch with these sequences.
    Other,
}

/// What ring logs hold of one lane.
#[derive(Clone, Debug, Default)]
struct RingLane {
    batches: BTreeMap<Sequence, InRing>,
    /// What is before this was acknowledged, as the ring says.
    acked_end: Sequence,
}

/// The batches of ring logs.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    lanes: BTreeMap<(SourceId, Lane), RingLane>,
    batches: usize,
    /// Batches of the sources that were looked at.
    held_against: usize,
}

/// Why a ring log is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The files cannot be read.
    #[error("reading {file} failed: {error}")]
    Disk {
        /// The file, or the directory.
        file: String,
        /// What the disk says.
        error: io::Error,
    },
    /// There is nothing in it.
    #[error("there is no ring log there; name the folder `ring` of an agent's data directory")]
    Empty,
    /// It has more than is held in memory.
    #[error("there are more than {CERTIFICATE_RING_BATCHES_MAX} batches in the ring logs; give one of them at a time")]
    TooMany,
}

/// What a ring log says about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RingFinding {
    /// The log contradicts it.
    Refuted(String),
    /// It has something that has not come.
    Held(String),
}

impl Rings {
    /// Takes the ring log in a directory, whether or not an agent is at work on it.
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
            lane.batches.insert(batch.first, InRing { end: batch.end(), chain, signature, found: Found::No });
            self.batches += 1;
        }
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// How many of their batches were held against the log.
    pub(super) fn held_against(&self) -> usize {
        self.held_against
    }

    /// The log has this batch.
    pub(super) fn has(&mut self, source: SourceId, lane: Lane, range: SequenceRange, chain: &ChainHash) {
        let Some(known) = self.lanes.get_mut(&(source, lane)) else { return };
        let touching = known.batches.range_mut(..range.end).rev().take_while(|(_, batch)| batch.end > range.first);
        for (first, batch) in touching {
            let is_same = *first == range.first && batch.end == range.end && batch.chain == *chain;
            batch.found = if is_same { Found::Same } else { Found::Other };
        }
    }

    /// What they say once the log was taken, of the sources that `is_about` names. `key` gives the key that the log holds a
    /// source to; `is_removed` whether retention may have removed what the log had of a lane before a sequence.
    pub(super) fn findings(
        &mut self,
        is_about: impl Fn(&SourceId) -> bool,
        key: impl Fn(&SourceId) -> Option<PublicKey>,
        is_removed: impl Fn(&SourceId, Lane, Sequence) -> bool,
    ) -> Vec<RingFinding> {
        let mut findings = Vec::new();
        for ((source, lane), ring) in &self.lanes {
            if !is_about(source) {
                continue;
            }
            self.held_against += ring.batches.len();
            let place = format!("{source} {} {}", lane.stream, lane.epoch);
            let verifier = key(source).and_then(|key| key.verifier());
            for (first, batch) in ring.batches.iter().filter(|(_, batch)| batch.found != Found::Same) {
                let is_signed = verifier
                    .as_ref()
                    .is_some_and(|verifier| verifier.verify_in(Context::Batch, &batch.chain, &batch.signature));
                let (end, was_acked) = (batch.end, *first < ring.acked_end);
                if !is_signed {
                    findings.push(RingFinding::Refuted(format!(
                        "{place}: the ring log has sequences {first} up to {end} under another key than the log names for {source}"
                    )));
                } else if is_removed(source, *lane, end) {
                } else if was_acked {
                    findings.push(RingFinding::Refuted(match batch.found {
                        Found::Other => format!("{place}: sequences {first} up to {end} are others in the ring log"),
                        _ => format!(
                            "{place}: sequences {first} up to {end} are in the ring log, were acknowledged, and are not in the log"
                        ),
                    }));
                } else {
                    findings.push(RingFinding::Held(format!(
                        "{place}: sequences {first} up to {end} are in the ring log, and have not come"
                    )));
                }
            }
        }
        findings
    }
}
