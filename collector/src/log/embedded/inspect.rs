//! Reading a log's files without opening the log for writing: `log info|dump`.
//!
//! A log that a collector is writing may show an unfinished write at its end.

use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Position, SourceId, Timestamp};
use afferent_protocol::segment::{Entry, EntryHead, SEGMENT_HEADER_LEN};
use serde::Serialize;

use super::files::{Damage, SegmentFile, survey};
use super::found::OpenError;
use super::walk::walk;
use crate::log::proof::Doubt;
use crate::log::report::LostOffsets;

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
    #[serde(serialize_with = "crate::whole::offset")]
    pub first: Offset,
    /// The first offset after its last batch.
    #[serde(serialize_with = "crate::whole::offset")]
    pub end: Offset,
    /// Number of batches that count in it.
    pub batches: u64,
    /// Number of these whose samples retention has removed.
    pub emptied: u64,
}

/// A whole log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InspectReport {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// The first offset after the last batch.
    pub end: Offset,
    /// Number of batches in it.
    pub batches: u64,
    /// Whether an unfinished write is at the end.
    pub torn: bool,
    /// Offsets that were durable once and cannot be read.
    pub holes: Vec<LostOffsets>,
    /// All damaged ranges of the files.
    pub damage: Vec<Damage>,
    /// Whole batches that fail a check; only [`crate::certificate::verify`] looks for them.
    pub suspects: Vec<Suspect>,
    /// Whole batches that do not count; only [`crate::certificate::verify`] looks for them.
    pub uncounted: Vec<Uncounted>,
}

/// Whole batches in a file of the log that do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted {
    /// The file.
    pub file: String,
    /// The number of such batches.
    pub batches: u64,
    /// Whether one of them follows something durable, so that no failed write can have left it.
    pub was_durable: bool,
}

impl InspectReport {
    /// The number of batches whose samples retention has removed.
    pub fn emptied(&self) -> u64 {
        self.segments.iter().map(|segment| segment.emptied).sum()
    }

    /// Whether the files are undamaged, and no batch fails a check.
    pub fn is_sound(&self) -> bool {
        let whole = !self.torn && self.holes.is_empty() && self.damage.is_empty();
        whole && self.suspects.is_empty() && !self.has_lost_batches()
    }

    /// Whether its files have batches that counted once and do not any more; or have batches of which none counts.
    pub fn has_lost_batches(&self) -> bool {
        self.uncounted.iter().any(|uncounted| uncounted.was_durable || self.batches == 0)
    }
}

/// A whole batch that fails a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// Its offset.
    #[serde(serialize_with = "crate::whole::offset")]
    pub offset: Offset,
    /// The source that it names.
    pub source: SourceId,
    /// The check that it fails.
    pub why: Doubt,
}

/// Reports segments, offsets, and damage, as far as checksums show them.
pub fn info<D: Disk>(disk: &D) -> Result<InspectReport, OpenError> {
    look(disk, &mut |_, _| {})
}

/// Whole entries of its segments that do not count, because a later segment begins before them. A failed write leaves
/// such entries, and none of them was written when a later offset was durable already.
pub(crate) fn uncounted_entries<D: Disk>(disk: &D, report: &InspectReport) -> Result<Vec<Uncounted>, OpenError> {
    let (survey, mut bytes, mut all) = (survey(disk)?, Vec::new(), Vec::new());
    for segment in survey.segments.iter().filter(|segment| segment.limit != u64::MAX) {
        let known = report.segments.iter().find(|known| known.file == segment.file.name);
        let used = known.map_or(0, |known| known.used_bytes);
        super::files::read_whole(disk, &segment.file.name, segment.len, &mut bytes)?;
        let mut found = Uncounted { file: segment.file.name.clone(), batches: 0, was_durable: false };
        let mut rest = bytes.get(SEGMENT_HEADER_LEN + used as usize..).unwrap_or_default();
        while let Ok(entry) = Entry::parse(rest, segment.file.seed) {
            found.batches += 1;
            found.was_durable |= entry.head.acked_end > segment.limit;
            rest = rest.get(entry.head.entry_len()..).unwrap_or_default();
        }
        if found.batches > 0 {
            all.push(found);
        }
    }
    Ok(all)
}

/// The oldest offset; above zero where retention, or someone else, has removed the beginning.
pub fn first<D: Disk>(disk: &D) -> Result<Offset, OpenError> {
    Ok(survey(disk)?.segments.first().map_or(Offset::ZERO, |segment| Offset::new(segment.first)))
}

/// Passes every batch that counts to `each`, in order.
pub fn dump<D: Disk>(disk: &D, each: &mut dyn FnMut(&EntryHead, &Batch<'_>)) -> Result<InspectReport, OpenError> {
    look(disk, each)
}

fn look<D: Disk>(disk: &D, each: &mut dyn FnMut(&EntryHead, &Batch<'_>)) -> Result<InspectReport, OpenError> {
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
    Ok(InspectReport { segments, end, batches, torn, holes, damage, ..InspectReport::default() })
}
