//! Retention: what is old, or too much, is removed from the log. Off unless configured.
//!
//! The way of a removal: [`Rules`] say up to which offset; the collector appends events that say so, and tells anew what
//! would be forgotten with what goes ([`crate::core::Removal`]); once that is on disk, segments are removed. Whatever a
//! crash interrupts, the next start finishes, since the log says what was to go.
//!
//! Removing waits for nobody: a reader that is behind is told in an event what it has missed.

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Age, AgeError, Cut, Rules};

use std::sync::Arc;
use std::time::Duration;

use afferent_protocol::disk::Disk;
use afferent_protocol::ids::Offset;
use tokio::runtime::Handle;

use crate::clock::SystemClock;
use crate::core::{Removal, Removed};
use crate::intake::{Health, WeakIntake};
use crate::log::Trimmer;
use crate::shutdown::Stopping;

/// What retention works with.
pub struct Settings<D> {
    /// What is kept.
    pub rules: Rules,
    /// How often it looks.
    pub every: Duration,
    /// Removes segments.
    pub trimmer: Trimmer<D>,
    /// What the log says was to go already.
    pub trimmed_until: Offset,
    /// The way to the log's writer.
    pub intake: WeakIntake,
    /// Where what was removed is counted.
    pub health: Arc<Health>,
}

/// Starts its thread, which ends with the collector.
///
/// # Errors
/// When the system has no thread to give.
pub fn spawn<D: Disk + Send + Sync + 'static>(settings: Settings<D>, stopping: Stopping) -> std::io::Result<()> {
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("retention".to_owned());
    // Nothing depends on its end: what it leaves undone is done by the next start.
    thread.spawn(move || Loop { settings, clock: SystemClock::new() }.run(stopping, &runtime)).map(drop)
}

struct Loop<D> {
    settings: Settings<D>,
    clock: SystemClock,
}

impl<D: Disk> Loop<D> {
    fn run(&mut self, mut stopping: Stopping, runtime: &Handle) {
        self.remove_before(self.settings.trimmed_until);
        if self.settings.rules.is_off() {
            return;
        }
        while !stopping.is_said() {
            self.look(runtime);
            let every = self.settings.every;
            runtime.block_on(async {
                tokio::select! {
                    () = stopping.wait() => {}
                    () = tokio::time::sleep(every) => {}
                }
            });
        }
    }

    /// Removes what is to go now.
    fn look(&mut self, runtime: &Handle) {
        let usage = match self.settings.trimmer.usage() {
            Ok(usage) => usage,
            Err(error) => return tracing::error!(%error, "retention cannot look at the log; it looks again later"),
        };
        let now = self.clock.read().wall;
        if let Some(Cut { until, rule }) = self.settings.rules.cut(&usage, now)
            && self.is_said(Removal { what: Removed::All, until, rule }, runtime)
        {
            self.remove_before(until);
        }
    }

    /// Has the log say what is to go; gives whether it is on disk.
    fn is_said(&self, removal: Removal, runtime: &Handle) -> bool {
        let (until, rule) = (removal.until, removal.rule.clone());
        let said = runtime.block_on(async {
            let said = self.settings.intake.upgrade().ok()?.remove(removal).await.ok()?;
            said.await.ok()
        });
        match said {
            // The collector is stopping.
            None => false,
            Some(Ok(())) => {
                tracing::info!(until = until.get(), rule, "retention removes what is before this offset");
                true
            }
            Some(Err(not_sealed)) => {
                tracing::debug!(until = until.get(), rule, %not_sealed, "retention waits");
                false
            }
        }
    }

    fn remove_before(&self, until: Offset) {
        match self.settings.trimmer.remove_before(until) {
            Ok(trimmed) => {
                self.settings.health.counters.segments_trimmed.add(trimmed.segments);
                self.settings.health.counters.bytes_trimmed.add(trimmed.bytes);
                if trimmed.segments > 0 {
                    let (segments, bytes) = (trimmed.segments, trimmed.bytes);
                    tracing::info!(segments, bytes, until = until.get(), "segments were removed");
                }
            }
            Err(error) => tracing::error!(%error, "segments cannot be removed; it is tried again later"),
        }
    }
}
