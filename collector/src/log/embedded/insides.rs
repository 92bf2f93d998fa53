//! The content of a segment: the points of the sparse index, and the names.
//!
//! The newest segment's points are in memory. Those of a finished segment are in its index, beside it; readers load
//! them from there, and the recently used ones stay. So a log costs memory by its segments, not by its bytes.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afferent_host::disk::Disk;

use super::files::SegmentFile;
use super::points::IndexPoint;
use super::segment_index::SegmentIndex;
use crate::limits::{INDEX_NAMES_HELD_MAX, POINTS_CACHE_BYTES, POINTS_CACHE_SEGMENTS_MAX};
use crate::log::marks::{NameHash, Wanted};

/// The points of a run, in order, and the names in it.
#[derive(Debug)]
pub(super) struct Inside {
    pub points: Box<[IndexPoint]>,
    /// `None` where they are unknown.
    names: Option<Box<[NameHash]>>,
}

impl Inside {
    /// The inside of a run of which only the summary is known.
    pub fn coarse(whole: IndexPoint) -> Self {
        Self { points: Box::new([whole]), names: None }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.points) + self.names.as_ref().map_or(0, |names| size_of_val(&**names))
    }

    /// The offsets from `from` on, up to `end`, that can hold wanted events: those of the first consecutive points that
    /// fit.
    pub fn fitting(&self, from: u64, end: u64, wanted: &Wanted) -> Option<Range<u64>> {
        if self.names.as_ref().is_some_and(|names| !wanted.fits_names(names)) {
            return None;
        }
        fitting(&self.points, from, end, wanted)
    }
}

/// As [`Inside::fitting`], where the names are unknown.
pub(super) fn fitting(points: &[IndexPoint], from: u64, end: u64, wanted: &Wanted) -> Option<Range<u64>> {
    let at = points.partition_point(|point| point.offset <= from).max(1) - 1;
    let at = (at..points.len()).find(|at| points[*at].fits(wanted))?;
    let fitting = points[at..].iter().take_while(|point| point.fits(wanted)).count();
    let stop = points.get(at + fitting).map_or(end, |point| point.offset);
    Some(points[at].offset.max(from)..stop)
}

/// The names that stay in memory with every segment: few, or none.
pub(super) fn held_names(names: Option<Vec<NameHash>>) -> Option<Box<[NameHash]>> {
    names.filter(|names| names.len() <= INDEX_NAMES_HELD_MAX).map(Vec::into_boxed_slice)
}

/// The insides of recently used finished segments.
#[derive(Debug, Default)]
pub(super) struct Insides {
    /// In the order of use, the most recent last.
    loaded: Mutex<VecDeque<(Arc<SegmentFile>, Arc<Inside>)>>,
}

impl Insides {
    /// Returns the content of the index beside a segment with these offsets; `None` when there is no valid one.
    ///
    /// # Errors
    /// When the system cannot open files, which shows nothing about the index.
    pub fn of<D: Disk>(
        &self,
        disk: &D,
        file: &Arc<SegmentFile>,
        offsets: &Range<u64>,
    ) -> io::Result<Option<Arc<Inside>>> {
        if let Some(known) = self.used(file) {
            return Ok(Some(known));
        }
        // The lock is free meanwhile: other readers use the loaded insides.
        let Some(index) = SegmentIndex::load(disk, file, offsets)? else { return Ok(None) };
        let (points, names) = (index.points.into_boxed_slice(), index.names.map(Vec::into_boxed_slice));
        let inside = Arc::new(Inside { points, names });
        self.keep(file, &inside);
        Ok(Some(inside))
    }

    /// Drops the loaded inside of a segment.
    pub fn forget(&self, file: &Arc<SegmentFile>) {
        self.loaded().retain(|(known, _)| !Arc::ptr_eq(known, file));
    }

    /// Points that are loaded.
    #[cfg(test)]
    pub fn points(&self) -> usize {
        self.loaded().iter().map(|(_, inside)| inside.points.len()).sum()
    }

    fn used(&self, file: &Arc<SegmentFile>) -> Option<Arc<Inside>> {
        let mut loaded = self.loaded();
        let at = loaded.iter().rposition(|(known, _)| Arc::ptr_eq(known, file))?;
        let used = loaded.remove(at)?;
        let inside = Arc::clone(&used.1);
        loaded.push_back(used);
        Some(inside)
    }

    fn keep(&self, file: &Arc<SegmentFile>, inside: &Arc<Inside>) {
        let mut loaded = self.loaded();
        loaded.retain(|(known, _)| !Arc::ptr_eq(known, file));
        loaded.push_back((Arc::clone(file), Arc::clone(inside)));
        let mut bytes: usize = loaded.iter().map(|(_, inside)| inside.bytes()).sum();
        while loaded.len() > POINTS_CACHE_SEGMENTS_MAX || (bytes > POINTS_CACHE_BYTES && loaded.len() > 1) {
            bytes -= loaded.pop_front().map_or(0, |(_, oldest)| oldest.bytes());
        }
        assert!(!loaded.is_empty() && loaded.len() <= POINTS_CACHE_SEGMENTS_MAX, "the newest stays, and few others");
    }

    fn loaded(&self) -> MutexGuard<'_, VecDeque<(Arc<SegmentFile>, Arc<Inside>)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Stream;

    use super::*;
    use crate::log::embedded::files;
    use crate::log::marks::Marks;
    use crate::simulated::{Agent, parse};
    use afferent_protocol::ids::Timestamp;
    use afferent_protocol::segment::EntryHead;

    fn file() -> Arc<SegmentFile> {
        let seed = files::header([7; 16], 1, 0, Timestamp::default()).seed();
        Arc::new(SegmentFile { name: String::new(), seed })
    }

    #[test]
    fn what_was_used_last_stays_within_so_many_bytes_and_segments() {
        let batch = Agent::new("press", Stream::Samples, 1).samples(1);
        let head = EntryHead::new(parse(&batch).header(), 0, 0, Timestamp::default());
        for (points, segments) in [(1, 2 * POINTS_CACHE_SEGMENTS_MAX), (4096, 40), (100_000, 3)] {
            let insides = Insides::default();
            let files: Vec<_> = (0..segments).map(|_| file()).collect();
            let inside = || {
                let point = IndexPoint::of(&head, 0, (Timestamp::default(), Timestamp::default()), Marks::ANY);
                Arc::new(Inside { points: vec![point; points].into(), names: None })
            };
            for file in &files {
                insides.keep(file, &inside());
                insides.used(&files[0]);
            }
            let bytes: usize = insides.loaded().iter().map(|(_, inside)| inside.bytes()).sum();
            let kept = insides.loaded().len();
            assert!(kept <= POINTS_CACHE_SEGMENTS_MAX && (bytes <= POINTS_CACHE_BYTES || kept == 1), "{kept}, {bytes}");
            // The control: more were loaded than the cache holds.
            assert!(segments > POINTS_CACHE_SEGMENTS_MAX || segments * inside().bytes() > POINTS_CACHE_BYTES);
            assert_eq!(insides.used(&files[0]).is_some(), kept > 1, "it is used again and again");
            insides.forget(&files[0]);
            assert!(insides.used(&files[0]).is_none());
        }
    }
}
