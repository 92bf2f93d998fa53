//! Makes the indexes of finished segments, one after the other, and tells readers what they say.

use std::ops::Range;
use std::sync::Arc;

use afferent_protocol::disk::Disk;

use super::damage;
use super::forget;
use super::index::{SegmentFile, Shared};
use super::segment_index::{self, IndexError, SegmentIndex};

/// What one step has done.
#[derive(Debug)]
pub enum Indexed {
    /// Nothing: every finished segment that can have an index has one.
    UpToDate,
    /// A segment got its index.
    Made {
        /// The segment.
        segment: String,
        /// How many still have none.
        left: usize,
    },
    /// A segment has none on disk; readers have it in memory unless the segment is damaged.
    Failed(IndexError),
}

/// Makes indexes. It reads what is durable, as any reader does, and the writer never waits for it.
pub struct Indexer<D> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    /// First offsets of the segments that cannot have an index.
    passed: Vec<u64>,
}

impl<D: Disk> Indexer<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        Self { disk, shared, passed: Vec::new() }
    }

    /// Makes the next index that is missing.
    pub fn step(&mut self) -> Indexed {
        let shared = Arc::clone(&self.shared);
        let _tending = shared.tend();
        let Some((file, offsets, left)) = self.shared.unindexed(&self.passed) else { return Indexed::UpToDate };
        let first = offsets.start;
        match self.make(&file, offsets) {
            Ok(()) => Indexed::Made { segment: file.name.clone(), left },
            Err(error) => {
                self.passed.push(first);
                Indexed::Failed(error)
            }
        }
    }

    fn make(&self, file: &Arc<SegmentFile>, offsets: Range<u64>) -> Result<(), IndexError> {
        let index = SegmentIndex::derive(&*self.disk, file, offsets.start, offsets.end).inspect_err(|_| {
            let found = damage::find(&*self.disk, file, offsets.start, offsets.end, None);
            found.into_iter().for_each(|damage| self.shared.damaged(damage));
        })?;
        let written = index.write(&*self.disk, &file.name);
        self.shared.looked_into(index);
        written
    }

    /// Removes indexes whose segment is gone, and segments that were not made to their end; gives how many.
    pub fn tidy(&self) -> usize {
        let _tending = self.shared.tend();
        let Ok(files) = self.disk.list() else { return 0 };
        let is_there = |segment: &str| files.iter().any(|(name, _)| name == segment);
        let is_orphan = |name: &str| segment_index::segment_of(name).is_some_and(|segment| !is_there(&segment));
        let orphans = files.iter().filter(|(name, _)| is_orphan(name) || forget::is_unfinished(name));
        orphans.filter(|(name, _)| self.disk.remove(name).is_ok()).count()
    }
}
