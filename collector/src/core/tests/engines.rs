//! The engines that must keep the promises of admission, and how tests open them.

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::{Batch, ClockReading};

use super::SETTINGS;
use crate::certificate::verify::verify;
use crate::log::address::Partition;
use crate::log::memory_engine::{self, MemoryEngine, MemoryWriter};
use crate::log::{EmbeddedLog, ReadLog, Recovery, UnifiedLog};
use crate::simulated::source;
use crate::sources::Sources;

/// An engine that fails on command.
pub(super) trait TestEngine: Sized {
    type Log: TestLog;
    /// The partition of its log.
    const PARTITION: Partition;
    /// An engine without a log.
    fn empty(seed: u64) -> Self;
    /// Opens the log, and rebuilds the sources from it.
    fn open(&self, sources: &mut Sources, now: &ClockReading) -> (Self::Log, Recovery);
    /// Aborts all commits after so many steps; `None` ends that.
    fn fails_in(&self, steps: Option<u64>);
    /// The outcome of the next commit that writes something is unknown; `None` ends that. Returns whether the engine
    /// knows such outcomes.
    fn ends_unknown(&self, is_durable: Option<bool>) -> bool;
    /// The engine after a power cut.
    fn after_power_cut(&self) -> Self;
    /// Whether the log still has the bytes that were written, as far as the engine can check.
    fn is_sound(&self) -> bool;
}

/// The half of a log that admission sees, and a reader of it.
pub(super) trait TestLog: UnifiedLog {
    fn readable(&self) -> Box<dyn ReadLog>;
}

impl TestLog for EmbeddedLog<SimDisk> {
    fn readable(&self) -> Box<dyn ReadLog> {
        Box::new(self.reader())
    }
}

impl TestEngine for SimDisk {
    type Log = EmbeddedLog<SimDisk>;
    const PARTITION: Partition = Partition::EMBEDDED;

    fn empty(seed: u64) -> Self {
        Self::of_seed(seed)
    }

    fn open(&self, sources: &mut Sources, now: &ClockReading) -> (Self::Log, Recovery) {
        let each = &mut |head: &_, batch: &Batch<'_>| sources.rebuild(head, batch);
        EmbeddedLog::open(self.clone(), SETTINGS, &mut || 7, now.wall, each).unwrap()
    }

    fn fails_in(&self, steps: Option<u64>) {
        Self::fails_in(self, steps);
    }

    fn ends_unknown(&self, _: Option<bool>) -> bool {
        false
    }

    fn after_power_cut(&self) -> Self {
        Self::after_power_cut(self)
    }

    fn is_sound(&self) -> bool {
        verify(self, &source("collector")).unwrap().is_sound()
    }
}

impl TestLog for MemoryWriter {
    fn readable(&self) -> Box<dyn ReadLog> {
        Box::new(self.reader())
    }
}

impl TestEngine for MemoryEngine {
    type Log = MemoryWriter;
    const PARTITION: Partition = memory_engine::PARTITION;

    fn empty(_: u64) -> Self {
        Self::default()
    }

    fn open(&self, sources: &mut Sources, _: &ClockReading) -> (Self::Log, Recovery) {
        Self::open(self, 7, &mut |head, batch| sources.rebuild(head, batch))
    }

    fn fails_in(&self, steps: Option<u64>) {
        Self::fails_in(self, steps);
    }

    fn ends_unknown(&self, is_durable: Option<bool>) -> bool {
        Self::ends_unknown(self, is_durable);
        true
    }

    fn after_power_cut(&self) -> Self {
        Self::after_power_cut(self)
    }

    fn is_sound(&self) -> bool {
        true
    }
}

/// Runs the same tests on every engine.
macro_rules! on_every_engine {
    ($($promise:ident),* $(,)?) => {
        mod on_segment_files {
            $(#[test] fn $promise() { super::$promise::<afferent_host::disk::simulated::SimDisk>(); })*
        }
        mod in_memory {
            $(#[test] fn $promise() { super::$promise::<crate::log::memory_engine::MemoryEngine>(); })*
        }
    };
}
pub(super) use on_every_engine;
