//! Builds the indexes and the extracts of finished segments, one after the other, and publishes the indexes to readers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::Identity;

use super::damage;
use super::extract;
use super::files::SegmentFile;
use super::forget;
use super::index::Shared;
use super::segment_index::{self, IndexError, SegmentIndex};
use crate::log::upkeep::{Indexed, Indexing, UpkeepError};
use crate::turns::{Commits, Turns};

/// Builds indexes and extracts. It reads durable entries, as any reader does, and the writer never waits for it.
pub struct Indexer<D> {
    disk: Arc<D>,
    shared: Arc<Shared>,
    /// First offsets of the segments that cannot have an index.
    passed: Vec<u64>,
    /// Name and key that sign extracts; `None` builds no extracts.
    signer: Option<(SourceId, Identity)>,
    /// The segments, by their first offsets, whose extracts were checked.
    extracted: BTreeMap<u64, Arc<SegmentFile>>,
    turns: Turns,
}

impl<D: Disk> Indexer<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        let turns = Turns::new(Commits::default());
        Self { disk, shared, passed: Vec::new(), signer: None, extracted: BTreeMap::new(), turns }
    }

    /// Builds extracts for certificates too: in the collector's name, signed with its key.
    pub fn signing(self, own: SourceId, identity: Identity) -> Self {
        Self { signer: Some((own, identity)), ..self }
    }

    /// Builds the missing files of the next segment.
    pub fn step(&mut self) -> Indexed {
        let shared = Arc::clone(&self.shared);
        self.turns.wait();
        let _tending = shared.lock_files();
        let Some((file, offsets, left)) = self.shared.unindexed(&self.passed) else { return self.extract() };
        let first = offsets.start;
        match self.make(&file, offsets) {
            Ok(()) => Indexed::Made { segment: file.name.clone(), left },
            Err(error) => {
                self.passed.push(first);
                Indexed::Failed(UpkeepError(error.to_string()))
            }
        }
    }

    fn make(&mut self, file: &Arc<SegmentFile>, offsets: Range<u64>) -> Result<(), IndexError> {
        let segment = segment_index::read_sound(&*self.disk, file, offsets.start, offsets.end).inspect_err(|_| {
            let found = damage::find(&*self.disk, file, offsets.start, offsets.end, None);
            found.into_iter().for_each(|damage| self.shared.damaged(damage));
        })?;
        self.turns.wait();
        let index = SegmentIndex::of(&segment, file)?;
        self.turns.wait();
        let written = index.write(&*self.disk, &file.name);
        self.shared.looked_into(index);
        if written.is_ok() {
            self.shared.is_beside(offsets.start);
        }
        if let Some(signer) = &self.signer {
            self.extracted.insert(offsets.start, Arc::clone(file));
            extract::write(&*self.disk, &file.name, &segment, signer)?;
        }
        written
    }

    /// Builds the next missing extract, of a segment that has its index.
    fn extract(&mut self) -> Indexed {
        let Some(signer) = &self.signer else { return Indexed::UpToDate };
        let is_new = |file: &Arc<SegmentFile>, first: u64| {
            self.extracted.get(&first).is_none_or(|seen| !Arc::ptr_eq(seen, file))
        };
        let (disk, key) = (&*self.disk, signer.1.public_key());
        let mut whole = self.shared.whole_segments();
        whole.retain(|(file, offsets)| is_new(file, offsets.start));
        let mut left = whole.len();
        for (file, offsets) in whole {
            left -= 1;
            self.extracted.insert(offsets.start, Arc::clone(&file));
            if extract::is_written_by(disk, &file, (offsets.start, offsets.end), &signer.0, &key) {
                continue;
            }
            let segment = segment_index::read_sound(disk, &file, offsets.start, offsets.end);
            return match segment.and_then(|segment| extract::write(disk, &file.name, &segment, signer)) {
                Ok(()) => Indexed::Made { segment: file.name.clone(), left },
                Err(error) => Indexed::Failed(UpkeepError(error.to_string())),
            };
        }
        Indexed::UpToDate
    }

    /// Removes indexes and extracts whose segment is gone, and unfinished segments; returns how many.
    pub fn tidy(&self) -> usize {
        let _tending = self.shared.lock_files();
        let Ok(files) = self.disk.list() else { return 0 };
        let is_there = |segment: &str| files.iter().any(|(name, _)| name == segment);
        let segment_of = |name: &str| segment_index::segment_of(name).or_else(|| extract::segment_of(name));
        let is_orphan = |name: &str| segment_of(name).is_some_and(|segment| !is_there(&segment));
        let orphans = files.iter().filter(|(name, _)| is_orphan(name) || forget::is_unfinished(name));
        orphans.filter(|(name, _)| self.disk.remove(name).is_ok()).count()
    }
}

impl<D: Disk + Send + Sync> Indexing for Indexer<D> {
    fn yield_to(&mut self, commits: Commits) {
        self.turns = Turns::new(commits);
    }

    fn tidy(&mut self) -> usize {
        Indexer::tidy(self)
    }

    fn step(&mut self) -> Indexed {
        Indexer::step(self)
    }
}
