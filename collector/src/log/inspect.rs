//! Looking at a log's files without opening it for writing: `log info|verify|dump`.
//!
//! A log that a collector is writing may show an unfinished write at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::codec::records;
use afferent_protocol::disk::Disk;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Offset, Position, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::segment::{Entry, EntryHead};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};
use serde::Serialize;

use super::files::survey;
use super::index::SegmentFile;
use super::walk::walk;
use super::{Damage, Hole, OpenError};

/// Suspect batches are told one by one up to this many times.
const SUSPECTS_TOLD_MAX: usize = 1000;

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// The file's name.
    pub file: String,
    /// The file's length.
    pub bytes: u64,
    /// Bytes of the entries that count in it.
    pub used_bytes: u64,
    /// When it was begun; `None` when its header cannot be read.
    pub begun: Option<Timestamp>,
    /// The offset that it begins with.
    pub first: Offset,
    /// The first offset after its last batch.
    pub end: Offset,
    /// Batches that count in it.
    pub batches: u64,
}

/// A whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// The first offset after the last batch.
    pub end: Offset,
    /// Batches.
    pub batches: u64,
    /// An unfinished write at the end.
    pub torn: bool,
    /// Offsets that were there once and cannot be read.
    pub holes: Vec<Hole>,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
    /// Batches that are whole and not what they should be; only [`verify`] looks for them.
    pub suspects: Vec<Suspect>,
}

impl Report {
    /// Whether every byte is as it was written, and every batch proved.
    pub fn is_sound(&self) -> bool {
        !self.torn && self.holes.is_empty() && self.damage.is_empty() && self.suspects.is_empty()
    }
}

/// A batch that is whole and cannot be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// Its offset.
    pub offset: Offset,
    /// Whose it says it is.
    pub source: SourceId,
    /// What is wrong with it.
    pub why: Doubt,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// No key was pinned for its source before it.
    NoKey,
    /// It is not signed with the key that its source is held to.
    Signature,
    /// It does not name the batch before it in its lane.
    Chain,
    /// Its sequences do not follow those before it.
    Order,
    /// Its records cannot be decoded.
    Body,
}

/// Segments, offsets, and damage: everything that checksums tell.
pub fn info<D: Disk>(disk: &D) -> Result<Report, OpenError> {
    look(disk, &mut |_, _| {})
}

/// As [`info`], and for every batch signature, chain, order and body. `own` is the collector's name: only what it wrote
/// tells which keys are pinned.
pub fn verify<D: Disk>(disk: &D, own: &SourceId) -> Result<Report, OpenError> {
    let mut proof = Proof { own: *own, keys: BTreeMap::new(), lanes: BTreeMap::new(), suspects: Vec::new() };
    let mut report = look(disk, &mut |head, batch| proof.check(head, batch))?;
    report.suspects = proof.suspects;
    Ok(report)
}

/// Gives every batch that counts, in order.
pub fn dump<D: Disk>(disk: &D, each: &mut dyn FnMut(&EntryHead, &Batch<'_>)) -> Result<Report, OpenError> {
    look(disk, each)
}

fn look<D: Disk>(disk: &D, each: &mut dyn FnMut(&EntryHead, &Batch<'_>)) -> Result<Report, OpenError> {
    let mut survey = survey(disk)?;
    let mut segments: Vec<_> = (survey.segments.iter())
        .map(|segment| SegmentReport {
            file: segment.file.name.clone(),
            bytes: segment.len,
            used_bytes: 0,
            begun: segment.begun,
            first: Offset::new(segment.first),
            end: Offset::new(segment.first),
            batches: 0,
        })
        .collect();
    let mut at = 0;
    let mut visit = |file: &Arc<SegmentFile>, _: Position, entry: &Entry<'_>| {
        while segments[at].file != file.name {
            at += 1;
        }
        let segment = &mut segments[at];
        segment.used_bytes += entry.head.entry_len() as u64;
        segment.end = Offset::new(entry.head.end_ordinal());
        segment.batches += 1;
        each(&entry.head, &entry.batch);
    };
    let walked = walk(disk, &survey, &mut visit)?;
    let mut damage = std::mem::take(&mut survey.damage);
    damage.extend(walked.damage);
    let batches = segments.iter().map(|segment| segment.batches).sum();
    let (end, torn, holes) = (Offset::new(walked.end), walked.torn, walked.holes);
    Ok(Report { segments, end, batches, torn, holes, damage, suspects: Vec::new() })
}

/// What is needed to prove one batch after the other.
struct Proof {
    own: SourceId,
    keys: BTreeMap<SourceId, Option<Verifier>>,
    /// End and chain hash of each lane's last batch.
    lanes: BTreeMap<(SourceId, Lane), (Sequence, ChainHash)>,
    suspects: Vec<Suspect>,
}

impl Proof {
    fn check(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let mut doubts = Vec::new();
        let decoded = self.learn(batch);
        if !decoded {
            doubts.push(Doubt::Body);
        }
        match self.keys.get(&header.source) {
            None => doubts.push(Doubt::NoKey),
            Some(verifier) => {
                if verifier.as_ref().and_then(|verifier| verifier.verify(batch)).is_none() {
                    doubts.push(Doubt::Signature);
                }
            }
        }
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let before = self.lanes.insert((header.source, lane), (header.end(), batch.chain_hash()));
        let (end, chain) = before.unwrap_or((Sequence::ZERO, CHAIN_START));
        if header.first < end {
            doubts.push(Doubt::Order);
        }
        // After a hole nobody knows the batch before; the hole itself is told by a loss or a gap in the log.
        if header.first == end && header.previous != chain {
            doubts.push(Doubt::Chain);
        }
        let (offset, source) = (Offset::new(head.ordinal), header.source);
        let room = SUSPECTS_TOLD_MAX.saturating_sub(self.suspects.len());
        self.suspects.extend(doubts.into_iter().map(|why| Suspect { offset, source, why }).take(room));
    }

    /// Decodes the batch, and takes the keys that it pins; tells whether it could be decoded.
    fn learn(&mut self, batch: &Batch<'_>) -> bool {
        let header = batch.header();
        let mut scratch = vec![0; header.decoded_len as usize];
        let Ok(records) = records(batch, &mut scratch) else { return false };
        let is_own = header.source == self.own && header.stream == Stream::Critical;
        for record in records {
            let Ok(record) = record else { return false };
            if let (true, Body::LifeCycle(LifeCycle::KeyPinned { source, key })) = (is_own, record.event.body)
                && let Ok(source) = SourceId::new(source)
            {
                self.keys.insert(source, PublicKey(key).verifier());
            }
        }
        true
    }
}
