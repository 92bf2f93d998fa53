//! What a start found in the log's directory, and repaired.

use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Position};
use afferent_protocol::limits::BATCH_BYTES_MAX;
use afferent_protocol::segment::{Entry, EntryHead, SEGMENT_HEADER_LEN, STOP_LEN, entry_len};
use afferent_protocol::session::signed::LogId;

use super::files::{Damage, Segment, SegmentFile, Survey, survey};
use super::found::OpenError;
use super::index::Runs;
use super::segment_index::SegmentIndex;
use super::walk::{LogEnd, Visit, walk};
use crate::limits::COMMIT_PART_BYTES_MAX;
use crate::log::history::Rebuild;
use crate::log::report::Recovery;

/// Bytes that are rewritten at once.
const PIECE_BYTES: u64 = 64 * 1024;

/// The segment that is being written.
pub(super) struct Active<F> {
    pub file: F,
    pub about: Arc<SegmentFile>,
    /// Its length.
    pub len: u64,
    /// The position of the next entry.
    pub at: u64,
}

/// The state that opening found, from which the log continues.
pub(super) struct RecoveredLog<F> {
    pub log_id: LogId,
    pub term: u64,
    pub generation_next: u64,
    pub runs: Runs,
    pub end: u64,
    pub active: Option<Active<F>>,
    /// All damage, for people; at most as many ranges as are worth reading.
    pub damage: Vec<Damage>,
}

/// How a start reads the segments before the newest one, and which callback takes the result.
pub(super) enum Reads<'r> {
    /// Every batch.
    Everything(&'r mut dyn FnMut(&EntryHead, &Batch<'_>)),
    /// Their indexes, where valid ones exist; else every batch.
    Indexes(&'r mut dyn Rebuild),
}

/// Collects what the walk over the log finds.
struct RecoveryVisitor<'d, 'r, D> {
    disk: &'d D,
    reads: Reads<'r>,
    runs: Runs,
    batches: u64,
}

impl<D: Disk> Visit for RecoveryVisitor<'_, '_, D> {
    fn entry(&mut self, file: &Arc<SegmentFile>, position: Position, entry: &Entry<'_>) {
        let header = entry.batch.header();
        self.runs.push(file, &entry.head, position.get(), (header.time_first, header.time_last));
        self.batches += 1;
        match &mut self.reads {
            Reads::Everything(each) => each(&entry.head, &entry.batch),
            Reads::Indexes(rebuild) => rebuild.batch(&entry.head, &entry.batch),
        }
    }

    fn knows(&mut self, segment: &Segment) -> bool {
        let Reads::Indexes(rebuild) = &mut self.reads else { return false };
        let read = SegmentIndex::read(self.disk, &segment.file, segment.len, segment.first, segment.limit);
        let Some(mut index) = read.filter(|_| segment.begun.is_some()) else { return false };
        rebuild.history(&std::mem::take(&mut index.history));
        self.batches += index.batches;
        self.runs.push_indexed(&segment.file, index);
        true
    }
}

/// Reads everything that no index covers, and makes the log's end safe to continue from.
pub(super) fn open<D: Disk>(
    disk: &D,
    entropy: &mut dyn FnMut() -> u64,
    reads: Reads<'_>,
) -> Result<(RecoveredLog<D::File>, Recovery), OpenError> {
    let mut survey = survey(disk)?;
    let mut found = RecoveryVisitor { disk, reads, runs: Runs::default(), batches: 0 };
    if let Reads::Indexes(rebuild) = &mut found.reads {
        rebuild.begins(Offset::new(survey.segments.first().map_or(0, |segment| segment.first)));
    }
    let walked = walk(disk, &survey, &mut found)?;
    let RecoveryVisitor { runs, batches, .. } = found;
    for name in &survey.blank {
        disk.remove(name).map_err(|error| OpenError::disk(&format!("removing {name}, which was never used"), error))?;
    }
    // A name that a crash left undurable must not vanish once its batches are acked.
    disk.sync_directory().map_err(|error| OpenError::disk("making its file names durable", error))?;
    if let Some(last) = runs.last() {
        write_again(disk, &last.file.name, last.stop)?;
    }
    // The newest header may be what kept the leftovers of a failed commit from counting: the next start must decide the
    // same as this one.
    if let Some(newest) = survey.segments.last() {
        write_again(disk, &newest.file.name, SEGMENT_HEADER_LEN as u64)?;
    }
    let active = reopen(disk, &survey, walked.log_end)?;
    let log_id = survey.log_id.unwrap_or_else(|| {
        let (high, low) = (entropy(), entropy());
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    });
    let mut damage = std::mem::take(&mut survey.damage);
    damage.extend(walked.damage);
    let recovery = Recovery {
        is_new: survey.segments.is_empty() && survey.end_min == 0,
        end: Offset::new(walked.end),
        batches,
        torn: walked.torn,
        holes: walked.holes,
    };
    let (generation_next, term) = (survey.generation_next, entropy());
    Ok((RecoveredLog { log_id, term, generation_next, runs, end: walked.end, active, damage }, recovery))
}

/// The last segment, when it can be continued.
fn reopen<D: Disk>(disk: &D, survey: &Survey, log_end: LogEnd) -> Result<Option<Active<D::File>>, OpenError> {
    let (LogEnd::Clean(at), Some(segment)) = (log_end, survey.segments.last()) else { return Ok(None) };
    // A segment without entries or header is not continued: its header may not be on disk.
    if segment.begun.is_none() || at.get() <= SEGMENT_HEADER_LEN as u64 {
        return Ok(None);
    }
    let name = &segment.file.name;
    let file = disk.open(name).map_err(|error| OpenError::disk(&format!("opening {name}"), error))?;
    Ok(Some(Active { file, about: Arc::clone(&segment.file), len: segment.len, at: at.get() }))
}

/// Rewrites unchanged what the last sync may have covered, and syncs.
///
/// A process that died between write and sync leaves entries that can be read and are not on disk. After a failed sync
/// the kernel may even take them for written, so that a second sync alone does nothing. They count from now on (their
/// sender gets an ack for them as duplicates), so that they must be as durable as all others.
fn write_again<D: Disk>(disk: &D, name: &str, stop: u64) -> Result<(), OpenError> {
    const WINDOW: u64 = (COMMIT_PART_BYTES_MAX + entry_len(BATCH_BYTES_MAX)) as u64;
    let failed = |error| OpenError::disk(&format!("making the end of {name} durable"), error);
    let file = disk.open(name).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let from = stop.saturating_sub(WINDOW).max(SEGMENT_HEADER_LEN as u64);
    let to = (stop + STOP_LEN as u64).min(len);
    let mut bytes = vec![0; PIECE_BYTES as usize];
    // The header goes first.
    for at in std::iter::once(0).chain((from..to).step_by(PIECE_BYTES as usize)) {
        let piece = if at == 0 { SEGMENT_HEADER_LEN as u64 } else { PIECE_BYTES.min(to - at) };
        let piece = &mut bytes[..piece as usize];
        // An unreadable piece was reported as damage.
        if file.read_at(piece, at).is_ok() {
            file.write_at(piece, at).map_err(failed)?;
        }
    }
    file.sync().map_err(failed)
}
