//! The embedded engine, as the collector opens it.

use std::path::Path;
use std::sync::Arc;

use afferent_host::disk::{Disk, FsDisk};

use super::writing::{EmbeddedLog, LogSettings};
use crate::log::address::Partition;
use crate::log::engine::{Engine, EngineError, OpenedLog, Opening};
use crate::log::history::Rebuild;
use crate::log::upkeep::Upkeep;

/// A log in segment files.
pub struct SegmentFiles<D> {
    disk: D,
    settings: LogSettings,
}

impl SegmentFiles<FsDisk> {
    /// Opens the engine in this directory, which it creates when it is missing.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn in_directory(directory: &Path, settings: LogSettings) -> Result<Self, EngineError> {
        let made = FsDisk::new(directory).map_err(|error| {
            let directory = directory.display();
            EngineError(format!("cannot create {directory}: {error}; check the directory's permissions and its disk"))
        });
        Ok(Self { disk: made?, settings })
    }
}

impl<D> Engine for SegmentFiles<D>
where
    D: Disk + Send + Sync + 'static,
    D::File: Send + Sync,
{
    type Log = EmbeddedLog<D>;

    fn partition(&self) -> Partition {
        Partition::EMBEDDED
    }

    fn open(self, opening: Opening<'_>, rebuild: &mut dyn Rebuild) -> Result<OpenedLog<Self::Log>, EngineError> {
        let Self { disk, settings } = self;
        let Opening { own, identity, now, entropy } = opening;
        let opened = EmbeddedLog::open_by_indexes(disk, settings, entropy, now, rebuild);
        let (log, recovery) = opened.map_err(|error| EngineError(error.to_string()))?;
        let upkeep = Upkeep {
            indexing: Box::new(log.indexer().signing(own, identity.clone())),
            trimming: Box::new(log.trimmer()),
            emptying: Box::new(log.forgetter()),
        };
        let reader = Arc::new(log.reader().of_collector(own));
        Ok(OpenedLog { log, recovery, reader, upkeep })
    }
}
