//! Looking at a log's files without opening it for writing: `log info|verify|dump`.
//!
//! A log that a collector is writing may show an unfinished write at its end.

use std::sync::Arc;

use afferent_protocol::batch::Batch;
use afferent_protocol::disk::Disk;
use afferent_protocol::ids::{Offset, Position, SourceId, Timestamp};
use afferent_protocol::segment::{Entry, EntryHead};
use serde::Serialize;

use super::files::survey;
use super::index::SegmentFile;
use super::proof::{Doubt, Proof};
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
    /// Those of them whose samples retention has removed.
    pub emptied: u64,
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
    /// Batches whose samples retention has removed.
    pub fn emptied(&self) -> u64 {
        self.segments.iter().map(|segment| segment.emptied).sum()
    }

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

/// Segments, offsets, and damage: everything that checksums tell.
pub fn info<D: Disk>(disk: &D) -> Result<Report, OpenError> {
    look(disk, &mut |_, _| {})
}

/// As [`info`], and for every batch signature, chain, order and body; and whether retention was to remove what is gone
/// from the beginning. `own` is the collector's name: only what it wrote
/// tells which keys are pinned.
pub fn verify<D: Disk>(disk: &D, own: &SourceId) -> Result<Report, OpenError> {
    let (mut proof, mut suspects) = (Proof::new(*own), Vec::new());
    if first(disk)? > Offset::ZERO {
        look(disk, &mut |_, batch| proof.ahead(batch))?;
    }
    let mut emptied = None;
    let mut report = look(disk, &mut |head, batch| {
        let (offset, source) = (Offset::new(head.ordinal), batch.header().source);
        if batch.header().is_emptied() {
            emptied = Some((Offset::new(head.end_ordinal()), Suspect { offset, source, why: Doubt::Emptied }));
        }
        let room = SUSPECTS_TOLD_MAX.saturating_sub(suspects.len());
        suspects.extend(proof.doubts(batch).into_iter().map(|why| Suspect { offset, source, why }).take(room));
    })?;
    // What was to be removed lies before some offset: the last one tells for all.
    suspects.extend(emptied.filter(|(end, _)| *end > proof.emptied_until()).map(|(_, suspect)| suspect));
    report.suspects = suspects;
    let begin = report.segments.first().map_or(Offset::ZERO, |segment| segment.first);
    if begin > proof.trimmed_until() {
        report.holes.insert(0, Hole { first: proof.trimmed_until(), end: begin });
    }
    Ok(report)
}

/// The oldest offset that there is: beyond zero where retention, or somebody else, has removed the beginning.
pub fn first<D: Disk>(disk: &D) -> Result<Offset, OpenError> {
    Ok(survey(disk)?.segments.first().map_or(Offset::ZERO, |segment| Offset::new(segment.first)))
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
            emptied: 0,
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
        segment.emptied += u64::from(entry.batch.header().is_emptied());
        each(&entry.head, &entry.batch);
    };
    let walked = walk(disk, &survey, &mut visit)?;
    let mut damage = std::mem::take(&mut survey.damage);
    damage.extend(walked.damage);
    let batches = segments.iter().map(|segment| segment.batches).sum();
    let (end, torn, holes) = (Offset::new(walked.end), walked.torn, walked.holes);
    Ok(Report { segments, end, batches, torn, holes, damage, suspects: Vec::new() })
}
