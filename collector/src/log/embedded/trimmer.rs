//! Removes the oldest segments.

use std::sync::Arc;

use afferent_host::disk::Disk;
use afferent_protocol::ids::Offset;

use super::files::survey;
use super::found::OpenError;
use super::index::Shared;
use super::{extract, segment_index};
use crate::log::upkeep::{FinishedSegment, Trimmed, Trimming, UpkeepError, Usage};

/// Removes segments. It runs on a thread of its own, and the writer never waits for it.
pub struct Trimmer<D> {
    disk: Arc<D>,
    shared: Arc<Shared>,
}

impl<D: Disk> Trimmer<D> {
    pub(super) fn new(disk: Arc<D>, shared: Arc<Shared>) -> Self {
        Self { disk, shared }
    }

    /// The size of the log on its disk.
    ///
    /// # Errors
    /// When the disk does not list its files.
    pub fn usage(&self) -> Result<Usage, OpenError> {
        let finished = self.shared.finished();
        let files = self.disk.list().map_err(|error| OpenError::disk("listing its files", error))?;
        let bytes_of = |name: &str| files.iter().find(|(file, _)| file == name).map_or(0, |(_, bytes)| *bytes);
        let segments = finished.iter().map(|segment| FinishedSegment {
            end: Offset::new(segment.end),
            bytes: bytes_of(&segment.file.name)
                + bytes_of(&segment_index::name(&segment.file.name))
                + bytes_of(&extract::name(&segment.file.name)),
            newest: segment.newest,
        });
        Ok(Usage { segments: segments.collect(), bytes: files.iter().map(|(_, bytes)| bytes).sum() })
    }

    /// Removes all segments that end at or before an offset, oldest first. Readers in one of them continue to its end.
    /// The log records the removal before the call.
    ///
    /// # Errors
    /// When the disk refuses: the next call removes the rest.
    pub fn remove_before(&self, until: Offset) -> Result<Trimmed, OpenError> {
        let _tending = self.shared.lock_files();
        self.shared.forget_before(until.get());
        let mut trimmed = Trimmed::default();
        // Including segments in which no offset counts.
        let gone = survey(&*self.disk)?.segments.into_iter().filter(|segment| segment.limit <= until.get());
        for segment in gone {
            let name = &segment.file.name;
            let index = segment_index::name(name);
            self.disk.remove(name).map_err(|error| OpenError::disk(&format!("removing {name}"), error))?;
            // It may not exist yet; the next start removes leftovers.
            let _ = self.disk.remove(&index);
            let _ = self.disk.remove(&extract::name(name));
            trimmed.segments += 1;
            trimmed.bytes += segment.len;
        }
        if trimmed.segments > 0 {
            let synced = self.disk.sync_directory();
            synced.map_err(|error| OpenError::disk("syncing the removal of segments", error))?;
        }
        Ok(trimmed)
    }
}

impl<D: Disk + Send + Sync> Trimming for Trimmer<D> {
    fn usage(&self) -> Result<Usage, UpkeepError> {
        Trimmer::usage(self).map_err(|error| UpkeepError(error.to_string()))
    }

    fn remove_before(&self, until: Offset) -> Result<Trimmed, UpkeepError> {
        Trimmer::remove_before(self, until).map_err(|error| UpkeepError(error.to_string()))
    }
}
