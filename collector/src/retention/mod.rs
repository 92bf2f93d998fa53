//! Retention: what is old, or too much, is removed from the log. Off unless configured.
//!
//! The way of a removal: [`Rules`] say up to which offset; the collector appends events that say so, and tells anew what
//! would be forgotten with what goes ([`crate::core::Removal`]); once that is on disk, segments are removed, or rewritten
//! without their samples. Whatever a
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
use afferent_protocol::ids::{Offset, Stream};
use tokio::runtime::Handle;

use crate::clock::SystemClock;
use crate::core::{Removal, Removed};
use crate::intake::{Health, WeakIntake};
use crate::log::{ForgetError, Forgetter, Trimmer};
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
    /// Takes samples out of segments that stay.
    pub forgetter: Forgetter<D>,
    /// Before where the log says that samples were to go already.
    pub emptied_until: Offset,
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
        self.forget_samples(self.settings.emptied_until, &stopping);
        if self.settings.rules.is_off() {
            return;
        }
        while !stopping.is_said() {
            self.look(runtime, &stopping);
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
    fn look(&mut self, runtime: &Handle, stopping: &Stopping) {
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
        let what = Removed::Events(Stream::Samples);
        if let Some(Cut { until, rule }) = self.settings.rules.cut_samples(&usage, now)
            && until > self.settings.emptied_until
            && self.is_said(Removal { what, until, rule }, runtime)
        {
            self.settings.emptied_until = until;
        }
        // What could not be done the last time is tried again.
        self.forget_samples(self.settings.emptied_until, stopping);
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
            Some(Err(not_attested)) => {
                tracing::debug!(until = until.get(), rule, %not_attested, "retention waits");
                false
            }
        }
    }

    fn forget_samples(&mut self, until: Offset, stopping: &Stopping) {
        let (mut segments, mut events) = (0, 0);
        while !stopping.is_said() {
            match self.settings.forgetter.step(until) {
                Ok(None) => break,
                Ok(Some(forgotten)) => {
                    (segments, events) = (segments + 1, events + forgotten.events);
                    self.settings.health.counters.samples_emptied.add(forgotten.events);
                }
                Err(error @ (ForgetError::Unsound(_) | ForgetError::TooLong(_))) => {
                    tracing::warn!(%error, "samples stay")
                }
                Err(error) => {
                    tracing::error!(%error, "samples cannot be removed");
                    break;
                }
            }
        }
        if segments > 0 {
            tracing::info!(segments, events, until = until.get(), "samples were removed from segments that stay");
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
