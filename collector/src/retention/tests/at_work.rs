//! Runs of the thread itself: rules by age and by size, a clock that is not plausible, a log that was changed.

use std::sync::Arc;

use afferent_host::stop::{self, Stop, StopSender};
use afferent_protocol::attestation::Attestation;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::super::{CLOCK, RetentionLoop, Settings, UNATTESTED};
use super::*;
use crate::intake::{self, Health, Intake, Outbox, WriterThread};
use crate::log::ReadLog;
use crate::sources::{ClockHeard, SourceViews};
use crate::supervise::Supervisor;

/// Retention at work on a log, with the writer that logs removals. This machine's clock is years ahead of the log.
struct AtWork {
    retention: RetentionLoop,
    log: Arc<dyn ReadLog>,
    health: Arc<Health>,
    heard: SourceViews,
    stopping: Stop,
    runtime: Runtime,
    intake: Option<Intake>,
    writer: Option<WriterThread>,
    _switch: StopSender,
}

impl AtWork {
    fn new(world: World, rules: Rules, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let attested = attested(&world);
        let newest = world.core.newest_attestation().and_then(|bytes| Attestation::read(&bytes)?.verify());
        let (log, trimmer, forgetter) =
            (Arc::new(world.core.log().reader()), world.core.log().trimmer(), world.core.log().forgetter());
        let (intake, incoming) = Intake::new();
        let (asked, _) = mpsc::channel(1);
        let health = Arc::new(Health::default());
        let supervisor = Supervisor::new(Arc::clone(&health), stop::channel().1);
        let (writer, _) =
            intake::spawn(world.core, incoming, Outbox::Endpoint(Arc::default()), asked, &supervisor).unwrap();
        let heard = SourceViews::default();
        let mut settings = Settings {
            rules,
            every: crate::limits::RETENTION_EVERY,
            trimming: Box::new(trimmer),
            log: log.clone(),
            attested,
            newest,
            sources: heard.clone(),
            trimmed_until: Offset::ZERO,
            emptying: Box::new(forgetter),
            emptied_until: Offset::ZERO,
            intake: intake.downgrade(),
            health: Arc::clone(&health),
        };
        change(&mut settings);
        let (switch, stopping) = stop::channel();
        let (retention, log) = (RetentionLoop::new(settings), log as Arc<dyn ReadLog>);
        let (intake, writer) = (Some(intake), Some(writer));
        drop(_inside);
        Self { retention, log, health, heard, stopping, runtime, intake, writer, _switch: switch }
    }

    /// Lets it run once; returns the oldest offset then.
    fn look(&mut self) -> Offset {
        self.retention.apply_rules(self.runtime.handle(), &self.stopping);
        self.log.kept().start
    }

    fn warning(&self, kind: &str) -> Option<String> {
        self.health.warnings().get(kind).cloned()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        drop(self.intake.take());
        let ended = self.writer.take().map(|writer| self.runtime.block_on(writer.joined()));
        assert!(ended == Some(Ok(())) || std::thread::panicking(), "the writer ends well: {ended:?}");
    }
}

fn age(text: &str) -> Rules {
    Rules { age: Some(text.parse().unwrap()), ..Rules::default() }
}

fn at_work(rules: Rules) -> AtWork {
    AtWork::new(filled().0, rules, |_| {})
}

#[test]
fn by_age_goes_what_attestations_make_old_and_a_clock_that_is_years_ahead_makes_nothing_older() {
    let mut waits = at_work(age("30d"));
    assert_eq!(waits.look(), Offset::ZERO, "by this machine's clock all of it is years old");
    let warning = waits.warning(CLOCK).expect("it says so");
    assert!(warning.contains("ahead of the time of attestations and agents"), "{warning}");
    // The control: some entries are older than half an hour by the attested time, and some are not.
    let mut goes = at_work(age("30m"));
    let end = goes.log.kept().end;
    let first = goes.look();
    assert!(Offset::ZERO < first && first < end, "{first} of {end}");
    assert_eq!(goes.look(), first, "and nothing more the next time");
}

#[test]
fn nothing_is_old_until_an_agent_says_what_time_it_is() {
    let mut waits = AtWork::new(filled().0, age("30m"), |settings| settings.newest = None);
    assert_eq!(waits.look(), Offset::ZERO);
    let warning = waits.warning(CLOCK).expect("it says so");
    assert!(warning.contains("retention removes nothing by age until one does"), "{warning}");
    let mut press = World::start(&SimDisk::of_seed(9), 0);
    press.greet(&Agent::new("press", Stream::Samples, 1));
    let mut view = press.core.sources().view(&source("press")).unwrap();
    // The true time: this machine's clock, as it is now.
    let now = afferent_host::clock::SystemClock::new().read();
    view.clock_heard = Some(ClockHeard { wall: now.wall, monotonic_us: now.monotonic_us });
    waits.heard.publish(vec![(view.source, Some(view))]);
    assert!(waits.look() > Offset::ZERO);
    assert_eq!(waits.warning(CLOCK), None);
}

#[test]
fn by_size_goes_what_is_too_much_and_no_clock_is_asked() {
    let rules = Rules { bytes: Some(5 * SETTINGS.segment_bytes), ..Rules::default() };
    let mut goes = AtWork::new(filled().0, rules, |settings| settings.newest = None);
    assert!(goes.look() > Offset::ZERO);
    let usage = goes.retention.settings.trimming.usage().unwrap();
    assert!(usage.bytes <= 5 * SETTINGS.segment_bytes, "{} bytes are left", usage.bytes);
    // The control.
    let mut stays = at_work(Rules { bytes: Some(u64::MAX), ..Rules::default() });
    assert_eq!(stays.look(), Offset::ZERO);
}

/// Every file of the log, to be restored.
fn saved(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect()
}

#[test]
fn what_was_changed_since_it_was_attested_stays_by_every_rule_until_it_is_put_back() {
    let by_size = Rules { bytes: Some(5 * SETTINGS.segment_bytes), ..Rules::default() };
    for rules in [age("30m"), by_size] {
        let (world, _) = filled();
        let disk = world.disk.clone();
        let files = saved(&disk);
        let mut retention = AtWork::new(world, rules, |_| {});
        move_stamps_back(&disk);
        assert_eq!(retention.look(), Offset::ZERO);
        let warning = retention.warning(UNATTESTED).expect("health says so");
        assert!(warning.contains("does not match its attestation 0"), "{warning}");
        for (name, bytes) in files {
            let file = disk.open(&name).or_else(|_| disk.create(&name, bytes.len() as u64)).unwrap();
            file.write_at(&bytes, 0).unwrap();
        }
        assert!(retention.look() > Offset::ZERO, "the control: as it was, it goes");
        assert_eq!(retention.warning(UNATTESTED), None);
    }
}

#[test]
fn what_only_somebody_else_has_attested_stays() {
    let stranger = identity(66).public_key();
    let mut stays = AtWork::new(filled().0, age("30m"), |settings| settings.attested.keys = vec![stranger]);
    assert_eq!(stays.look(), Offset::ZERO);
    let warning = stays.warning(UNATTESTED).expect("health says so");
    assert!(warning.contains("attested only up to offset 0"), "{warning}");
}
