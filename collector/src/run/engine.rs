//! The engine of the log: only this module chooses one.

use std::path::Path;

use afferent_host::disk::FsDisk;

use crate::config::Config;
use crate::log::{Engine, EngineError, LogSettings, SegmentFiles};

/// Makes the engine. Blocks.
pub(super) type Making = Box<dyn FnOnce() -> Result<Chosen, EngineError> + Send>;
/// The chosen engine; there is one so far.
pub(super) type Chosen = SegmentFiles<FsDisk>;
/// Its log.
pub(super) type ChosenLog = <Chosen as Engine>::Log;

/// Returns how to make the configured engine, for a collector with this data directory.
pub(super) fn chosen(config: &Config, data: &Path) -> Making {
    let directory = data.join("log").join("0");
    let settings = LogSettings { segment_bytes: config.segment_bytes() };
    Box::new(move || SegmentFiles::in_directory(&directory, settings))
}
