//! Retention: removes entries that are too old, or too many, from the log. Off unless configured.
//!
//! The steps of a removal: [`Rules`] give the offset up to which; the collector logs the removal, and re-logs the state
//! that would be lost with it ([`crate::core::Removal`]); once that is on disk, segments are removed, or rewritten
//! without their samples. The next start finishes what a crash interrupts, because the log has the removal.
//!
//! No single clock can hasten it: see `clock`. The removed entries must agree with their attestations, which also give
//! their age: see `evidence`. Else retention waits, and health reports it.
//!
//! Removing waits for no reader: a reader that is behind gets an event about the entries that it has missed.

mod clock;
mod evidence;
mod rules;
#[cfg(test)]
mod tests;

use afferent_host::clock::SystemClock;
pub use afferent_host::stop::Stop;
use clock::{AgeClock, Judged};
pub use evidence::{AttestedLog, Disagrees, Examined};
pub use rules::{Age, AgeError, Cut, Rules};

use std::sync::Arc;
use std::time::Duration;

use afferent_protocol::attestation::Attestation;
use afferent_protocol::ids::{Offset, Stream, Timestamp};
use tokio::runtime::Handle;

use crate::core::{Removal, RemovalKind};
use crate::intake::{Health, WeakIntake};
use crate::log::{EmptyError, Emptying, ReadLog, Trimming, Usage};
use crate::sources::SourceViews;
use crate::supervise::{Part, Supervisor};

/// The parts that retention works with.
pub struct Settings {
    /// The rules of what is kept.
    pub rules: Rules,
    /// Time between two runs.
    pub every: Duration,
    /// Removes segments.
    pub trimming: Box<dyn Trimming>,
    /// Reads the log, to check its attestations before a removal.
    pub log: Arc<dyn ReadLog>,
    /// The log and the keys whose attestations count.
    pub attested: AttestedLog,
    /// The newest attestation in the log at the start.
    pub newest: Option<Attestation>,
    /// The sources, for the clocks of those that are synchronised.
    pub sources: SourceViews,
    /// The log records a removal of everything before this offset.
    pub trimmed_until: Offset,
    /// Empties segments of their samples.
    pub emptying: Box<dyn Emptying>,
    /// The log records a removal of the samples before this offset.
    pub emptied_until: Offset,
    /// The way to the log's writer.
    pub intake: WeakIntake,
    /// Counts what was removed.
    pub health: Arc<Health>,
}

/// Starts its thread, which ends with the collector.
///
/// # Errors
/// When the system refuses a new thread.
pub fn spawn(settings: Settings, stopping: Stop, supervisor: &Supervisor) -> std::io::Result<()> {
    let (runtime, mut state) = (Handle::current(), RetentionLoop::new(settings));
    // Its end need not be awaited: the next start does the rest.
    supervisor.thread(Part::Retention, move || state.run(stopping.clone(), &runtime)).map(drop)
}

struct RetentionLoop {
    settings: Settings,
    clock: SystemClock,
    age: AgeClock,
    examined: Examined,
}

/// The clock is not plausible.
const CLOCK: &str = "clock";
/// The entries to remove do not agree with their attestations.
const UNATTESTED: &str = "attestations";

impl RetentionLoop {
    fn new(settings: Settings) -> Self {
        let clock = SystemClock::new();
        let age = AgeClock::new(settings.newest.map(|newest| newest.time), clock.read().monotonic_us);
        Self { settings, clock, age, examined: Examined::default() }
    }

    fn run(&mut self, mut stopping: Stop, runtime: &Handle) {
        self.remove_before(self.settings.trimmed_until);
        self.forget_samples(self.settings.emptied_until, &stopping);
        if self.settings.rules.is_off() {
            return;
        }
        while !stopping.is_requested() {
            self.apply_rules(runtime, &stopping);
            let every = self.settings.every;
            runtime.block_on(async {
                tokio::select! {
                    () = stopping.requested() => {}
                    () = tokio::time::sleep(every) => {}
                }
            });
        }
    }

    /// Removes what the rules ask for now.
    fn apply_rules(&mut self, runtime: &Handle, stopping: &Stop) {
        let usage = match self.settings.trimming.usage() {
            Ok(usage) => usage,
            Err(error) => return tracing::error!(%error, "retention cannot read the log; it retries later"),
        };
        let now = self.now();
        if let Some(Cut { until, rule }) = self.cut(&usage, now)
            && self.log_removal(Removal { what: RemovalKind::All, until, rule }, runtime)
        {
            self.remove_before(until);
        }
        let what = RemovalKind::Events(Stream::Samples);
        if let Some(Cut { until, rule }) = self.settings.rules.cut_samples(&usage, now)
            && until > self.settings.emptied_until
            && let Some(until) = self.agreed(&usage, until, self.settings.rules.samples_age.clone(), now, &rule)
            && self.log_removal(Removal { what, until, rule }, runtime)
        {
            self.settings.emptied_until = until;
        }
        // Also retries what failed the last time.
        self.forget_samples(self.settings.emptied_until, stopping);
    }

    /// The present time for rules of age: no single clock can make anything older than it is.
    fn now(&mut self) -> Timestamp {
        let clock = self.clock.read();
        let heard: Vec<_> = self.settings.sources.all().iter().filter_map(|view| view.clock_heard).collect();
        let Judged { now, warning } = self.age.judge(&clock, &heard);
        match warning {
            Some(text) => {
                if self.settings.health.warn(CLOCK, text.clone()) {
                    tracing::warn!(text, "the clock is not plausible");
                }
            }
            None => self.settings.health.all_clear(CLOCK),
        }
        now
    }

    /// The segments to remove, as far as they agree with their attestations. A rule by size uses no clock.
    fn cut(&mut self, usage: &Usage, now: Timestamp) -> Option<Cut> {
        let rules = self.settings.rules.clone();
        let by_age = rules.cut_by_age(usage, now).map(|cut| (cut, rules.age.clone()));
        let by_size = rules.cut_by_size(usage).map(|cut| (cut, None));
        let cuts = by_age.into_iter().chain(by_size).filter_map(|(Cut { until, rule }, age)| {
            let until = self.agreed(usage, until, age, now, &rule)?;
            Some(Cut { until, rule })
        });
        cuts.max_by_key(|cut| cut.until)
    }

    /// How far a removal up to `until` may go: as far as the entries agree with their attestations, and are older than
    /// `age` by them as well.
    fn agreed(&mut self, usage: &Usage, until: Offset, age: Option<Age>, now: Timestamp, rule: &str) -> Option<Offset> {
        let Settings { log, attested, health, .. } = &self.settings;
        let ends: Vec<Offset> =
            usage.segments.iter().map(|segment| segment.end).take_while(|end| *end <= until).collect();
        match self.examined.agree(&**log, attested, &ends) {
            Ok(()) => health.all_clear(UNATTESTED),
            Err(disagrees) => {
                let text = format!("retention ({rule}) waits: {disagrees}");
                if health.warn(UNATTESTED, text.clone()) {
                    tracing::error!(text, "the log does not agree with its attestations");
                }
                return None;
            }
        }
        let before = age.map_or(Timestamp::clamped(i64::MAX), |age| age.before(now));
        ends.into_iter().take_while(|end| self.examined.time_of(*end).is_some_and(|time| time < before)).last()
    }

    /// Has the removal logged; returns whether that is on disk.
    fn log_removal(&self, removal: Removal, runtime: &Handle) -> bool {
        let (until, rule) = (removal.until, removal.rule.clone());
        let said = runtime.block_on(async {
            let said = self.settings.intake.upgrade().ok()?.remove(removal).await.ok()?;
            said.await.ok()
        });
        match said {
            // The collector is stopping.
            None => false,
            Some(Ok(())) => {
                tracing::info!(until = until.get(), rule, "retention removes everything before this offset");
                true
            }
            Some(Err(not_attested)) => {
                tracing::debug!(until = until.get(), rule, %not_attested, "retention waits");
                false
            }
        }
    }

    fn forget_samples(&mut self, until: Offset, stopping: &Stop) {
        let (mut segments, mut events) = (0, 0);
        while !stopping.is_requested() {
            match self.settings.emptying.step(until) {
                Ok(None) => break,
                Ok(Some(forgotten)) => {
                    (segments, events) = (segments + 1, events + forgotten.events);
                    self.settings.health.counters.samples_emptied.add(forgotten.events);
                }
                Err(error @ EmptyError::Stays(_)) => {
                    tracing::warn!(%error, "samples stay")
                }
                Err(error) => {
                    tracing::error!(%error, "cannot remove samples");
                    break;
                }
            }
        }
        if segments > 0 {
            tracing::info!(segments, events, until = until.get(), "removed samples from segments that are kept");
        }
    }

    fn remove_before(&self, until: Offset) {
        match self.settings.trimming.remove_before(until) {
            Ok(trimmed) => {
                self.settings.health.counters.segments_trimmed.add(trimmed.segments);
                self.settings.health.counters.bytes_trimmed.add(trimmed.bytes);
                if trimmed.segments > 0 {
                    let (segments, bytes) = (trimmed.segments, trimmed.bytes);
                    tracing::info!(segments, bytes, until = until.get(), "removed segments");
                }
            }
            Err(error) => tracing::error!(%error, "cannot remove segments; retention retries later"),
        }
    }
}
