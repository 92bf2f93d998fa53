//! The log records every removal first, and no state that is still needed is lost with it.

use afferent_host::disk::simulated::SimDisk;
use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::attestation::Attestation;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{Epoch, Offset, Stream, Timestamp};
use afferent_protocol::segment::{EntryHead, Head, SEGMENT_HEADER_LEN, SegmentHeader};

use super::{AgeClock, AttestedLog, Disagrees, Examined, Rules};
use crate::certificate::tests::heartbeat;
use crate::certificate::{About, Certificate, CheckMaterial, Evidence, Span, Verdict, verify};
use crate::core::{Confirm, Core, NotAttested, OwnIdentity, Reason, Received, Removal, RemovalKind};
use crate::log::records::Decoder;
use crate::log::{EmbeddedLog, Indexed, LogSettings, Trust, inspect};
use crate::simulated::{Agent, clock, greet, identity, source};
use crate::sources::Sources;

mod at_work;

type Log = EmbeddedLog<SimDisk>;

const SETTINGS: LogSettings = LogSettings { segment_bytes: 8192 };

/// A collector at work; an event comes every ten seconds.
struct World {
    disk: SimDisk,
    core: Core<Log>,
    seconds: u64,
}

impl World {
    fn start(disk: &SimDisk, seconds: u64) -> Self {
        let own = OwnIdentity {
            source: source("collector"),
            identity: identity(99),
            epoch: Epoch::new(5),
            challenge: [3; 32],
            endorsements: Vec::new(),
        };
        let mut sources = Sources::new(own.source);
        let now = clock(seconds);
        let (log, recovery) =
            Log::open_by_indexes(disk.clone(), SETTINGS, &mut || 7, now.wall, &mut sources).expect("it always opens");
        sources.find_unattested(&log.reader());
        let mut core = Core::new(log, sources, own, &recovery, &now);
        core.begin(&now).unwrap();
        Self { disk: disk.clone(), core, seconds }
    }

    fn restart(&mut self) {
        let (disk, seconds) = (self.disk.after_power_cut(), self.seconds + 10);
        *self = Self::start(&disk, seconds);
        self.commit();
    }

    fn commit(&mut self) {
        self.core.commit(&clock(self.seconds)).unwrap();
    }

    fn give(&mut self, agent: &Agent, payload: &[u8]) -> Received {
        self.seconds += 10;
        let received = self.core.receive(agent.name, payload, None, &clock(self.seconds));
        self.commit();
        received
    }

    fn greet(&mut self, agent: &Agent) {
        self.seconds += 10;
        greet(&mut self.core, agent, 0, &clock(self.seconds)).unwrap();
    }

    fn index(&self) {
        let mut indexer = self.core.log().indexer();
        while matches!(indexer.step(), Indexed::Made { .. }) {}
    }

    /// Where the log would begin if it had only its newest `left` segments.
    fn until(&self, left: usize) -> Offset {
        let segments = self.core.log().trimmer().usage().unwrap().segments;
        segments[segments.len() - 1 - left].end
    }

    fn say(&mut self, until: Offset) -> Result<(), NotAttested> {
        self.seconds += 10;
        let removal = Removal { what: RemovalKind::All, until, rule: "older than 1d".to_owned() };
        let said = self.core.remove(&removal, &clock(self.seconds));
        self.commit();
        said
    }

    fn trim(&mut self, left: usize) -> Offset {
        let until = self.until(left);
        self.say(until).unwrap();
        assert!(self.core.log().trimmer().remove_before(until).unwrap().segments > 0);
        until
    }

    fn first(&self) -> Offset {
        self.core.log().reader().first()
    }

    fn certificate(&self, about: About, span: Span) -> Certificate {
        let means = CheckMaterial { trust: Trust::Named(vec![identity(99).public_key()]), ..CheckMaterial::default() };
        let mut evidence = Evidence::new(about, span, source("collector"), means).unwrap();
        inspect::dump(&self.disk, &mut |head, batch| evidence.ahead(head, batch)).unwrap();
        inspect::dump(&self.disk, &mut |head, batch| evidence.batch(head, batch)).unwrap();
        evidence.certificate().unwrap()
    }

    fn of_press(&self, from: u64, until: u64) -> Certificate {
        let span = Span { from: clock(from).wall, until: clock(until).wall };
        self.certificate(About::Source(source("press")), span)
    }

    fn is_sound(&self) -> bool {
        verify::verify(&self.disk, &source("collector")).unwrap().is_sound()
    }

    fn names(&self) -> Vec<String> {
        self.disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect()
    }
}

/// Two lanes that continue, and one of an earlier life of the press, whose batches are all in the oldest segments.
struct Agents {
    old: Agent,
    press: Agent,
    lathe: Agent,
    last_of_old: Vec<u8>,
}

fn filled() -> (World, Agents) {
    let mut world = World::start(&SimDisk::of_seed(3), 0);
    let mut old = Agent::new("press", Stream::Samples, 1);
    let (mut press, mut lathe) = (Agent::new("press", Stream::Samples, 2), Agent::new("lathe", Stream::Critical, 3));
    world.greet(&old);
    world.greet(&lathe);
    let last_of_old = old.samples(5);
    world.give(&old, &last_of_old);
    world.greet(&press);
    for _ in 0..200 {
        for agent in [&mut press, &mut lathe] {
            let batch = agent.samples(5);
            world.give(agent, &batch);
        }
    }
    world.index();
    (world, Agents { old, press, lathe, last_of_old })
}

#[test]
fn after_the_beginning_is_gone_and_a_restart_everybody_goes_on_where_they_were() {
    let (mut world, mut agents) = filled();
    let ends = |world: &World| {
        let lanes = [
            (source("press"), agents.old.lane),
            (source("press"), agents.press.lane),
            (source("lathe"), agents.lathe.lane),
        ];
        lanes.map(|(name, lane)| world.core.sources().resume(&name, lane))
    };
    let before = ends(&world);
    let until = world.trim(5);
    assert_eq!(world.first(), until);
    assert!(world.names().len() <= 7, "{:?}", world.names());
    world.restart();
    assert_eq!(world.first(), until);
    assert_eq!(ends(&world), before);
    assert_eq!(world.core.sources().key(&source("press")), Some(agents.press.identity.public_key()));
    assert!(world.core.sources().unreported_gaps().is_empty(), "what retention removed is no gap");
    assert!(world.core.sources().views().iter().all(|view| view.lanes.iter().all(|lane| lane.gaps.is_empty())));

    let again = world.give(&agents.old, &agents.last_of_old);
    assert_eq!((again.duplicates, again.confirm, again.refusal), (1, Confirm::Now, None));
    let next = agents.press.samples(5);
    assert_eq!(world.give(&agents.press, &next).accepted, 1);
    assert!(world.is_sound());
}

#[test]
fn an_agent_that_comes_back_with_another_past_is_still_found_out() {
    let (mut world, agents) = filled();
    world.trim(5);
    world.restart();
    let mut clone = Agent::new("press", Stream::Samples, 1);
    let other = clone.samples(4);
    let rest = clone.samples(1);
    assert_eq!(world.give(&agents.old, &other).refusal, None, "it ends within what nobody can tell any more");
    assert_eq!(world.give(&agents.old, &rest).refusal.unwrap().reason, Reason::Conflict);
}

#[test]
fn lanes_that_are_not_logged_again_would_be_forgotten() {
    let (mut world, agents) = filled();
    let until = world.until(5);
    world.core.log().trimmer().remove_before(until).unwrap();
    world.restart();
    let resume = world.core.sources().resume(&source("press"), agents.old.lane);
    assert_eq!(resume.end.get(), 0, "the control: its last batch would be taken a second time");
    assert_eq!(world.core.sources().key(&source("press")), None);
    assert!(!world.is_sound(), "and the log says that its beginning is gone");
}

#[test]
fn a_removal_that_a_crash_interrupts_is_completed_by_the_next_start() {
    let (mut world, _) = filled();
    let until = world.until(5);
    world.say(until).unwrap();
    let files = world.names().len();
    // Some segments are removed already when the disk fails.
    world.disk.fails_in(Some(4));
    world.core.log().trimmer().remove_before(until).unwrap_err();
    world.disk.fails_in(None);
    world.restart();
    assert!(world.first() <= until && world.names().len() > 7 && world.names().len() <= files);
    assert_eq!(world.core.sources().trimmed_until(), until);
    world.core.log().trimmer().remove_before(until).unwrap();
    assert_eq!(world.first(), until);
    assert!(world.is_sound());
}

#[test]
fn nothing_goes_that_no_attestation_binds_and_nothing_before_the_log_says_so() {
    let (mut world, _) = filled();
    let end = world.core.durable_end();
    let NotAttested { attested_until } = world.say(end).unwrap_err();
    assert!(attested_until < end);
    assert_eq!(world.core.sources().trimmed_until(), Offset::ZERO);
    let until = world.until(5);
    world.disk.fails_in(Some(0));
    let removal = Removal { what: RemovalKind::All, until, rule: "older than 1d".to_owned() };
    world.core.remove(&removal, &clock(world.seconds)).unwrap();
    assert!(world.core.commit(&clock(world.seconds)).is_err());
    world.disk.fails_in(None);
    world.core.remove(&removal, &clock(world.seconds)).unwrap();
    world.commit();
    let mut told = Vec::new();
    inspect::dump(&world.disk, &mut |_, batch| {
        for record in Decoder::default().open(batch).readable() {
            if let Body::LifeCycle(change) = record.event.body {
                told.push(change.kind().name());
            }
        }
    })
    .unwrap();
    assert_eq!(told.iter().filter(|name| **name == "trimmed").count(), 1, "said once, also when it was tried twice");
    assert_eq!(told.iter().filter(|name| **name == "lane_kept").count(), 3);
}

#[test]
fn a_certificate_says_what_retention_has_removed_and_refutes_what_else_is_gone() {
    let (mut world, agents) = filled();
    let end = agents.press.next;
    let mut critical = Agent::new("press", Stream::Critical, 9);
    world.greet(&critical);
    let beat = heartbeat(&mut critical, &[&agents.press], end);
    world.give(&critical, &beat);
    world.seconds += 100;
    world.commit();
    assert!(world.of_press(0, 3).complete, "{:?}", world.of_press(0, 3));
    world.trim(5);
    let kept = world.of_press(end - 20, end - 10);
    assert!(kept.complete, "{kept:?}");
    let gone = world.of_press(0, 3);
    assert_eq!((gone.complete, gone.refuted.len()), (false, 0));
    assert!(gone.open.iter().any(|text| text.contains("retention has removed")), "{:?}", gone.open);
    assert!(world.is_sound());

    let oldest = world.names()[0].clone();
    world.disk.remove(&oldest).unwrap();
    assert_eq!(world.of_press(end - 20, end - 10).verdict, Verdict::Refuted);
    assert!(!world.is_sound());
}

const YEAR_S: u64 = 365 * 86_400;

fn ends(world: &World) -> Vec<Offset> {
    world.core.log().trimmer().usage().unwrap().segments.iter().map(|segment| segment.end).collect()
}

fn attested(world: &World) -> AttestedLog {
    AttestedLog { own: source("collector"), here: world.core.place(), keys: world.core.keys_of_log() }
}

/// Every entry's ingest time, ten years earlier: anyone who can write to the disk can do that, checksums included.
fn move_stamps_back(disk: &SimDisk) {
    for (name, _) in disk.list().unwrap() {
        if name.ends_with(".idx") {
            disk.remove(&name).unwrap();
            continue;
        }
        let (bytes, file) = (disk.bytes(&name), disk.open(&name).unwrap());
        let Head::Present { header, .. } = SegmentHeader::decode(&bytes) else { panic!("{name} has a header") };
        let mut at = SEGMENT_HEADER_LEN;
        while let Some(head) = bytes.get(at..).and_then(|rest| EntryHead::decode(rest, header.seed())) {
            let stamp = Timestamp::clamped(head.stamp.micros() - 10 * YEAR_S as i64 * 1_000_000);
            file.write_at(&EntryHead { stamp, ..head }.encode(header.seed()), at as u64).unwrap();
            at += head.entry_len();
        }
        file.sync().unwrap();
    }
    disk.sync_directory().unwrap();
}

#[test]
fn ingest_times_that_were_moved_ten_years_back_delete_nothing() {
    let (mut world, _) = filled();
    let rules = Rules { age: Some("365d".parse().unwrap()), ..Rules::default() };
    let cut = |world: &World| rules.cut_by_age(&world.core.log().trimmer().usage().unwrap(), clock(world.seconds).wall);
    let all = ends(&world);
    let checked: Vec<Offset> = all[..all.len() - 3].to_vec();
    let mut examined = Examined::default();
    assert_eq!(examined.agree(&world.core.log().reader(), &attested(&world), &checked), Ok(()), "the control");
    for end in &checked {
        let time = examined.time_of(*end).unwrap();
        assert!(time >= clock(0).wall && time <= clock(world.seconds).wall, "it is as old as its attestation says");
    }
    assert_eq!(cut(&world), None);
    let disk = world.disk.after_power_cut();
    move_stamps_back(&disk);
    world = World::start(&disk, world.seconds + 10);
    assert!(cut(&world).is_some_and(|cut| cut.until >= checked[0]), "by the files' own word everything is old");
    let mut examined = Examined::default();
    let refused = examined.agree(&world.core.log().reader(), &attested(&world), &checked);
    assert!(matches!(refused, Err(Disagrees::Hash { number: 0, .. })), "{refused:?}");
}

#[test]
fn a_collector_that_boots_with_a_clock_a_year_ahead_deletes_nothing() {
    let (world, _) = filled();
    let rules = Rules { age: Some("30d".parse().unwrap()), ..Rules::default() };
    let usage = world.core.log().trimmer().usage().unwrap();
    let newest = Attestation::read(&world.core.newest_attestation().unwrap()).unwrap().verify().unwrap();
    let ahead = clock(world.seconds + YEAR_S);
    let judged = AgeClock::new(Some(newest.time), ahead.monotonic_us).judge(&ahead, &[]);
    assert_eq!(rules.cut_by_age(&usage, judged.now), None);
    assert!(judged.warning.is_some());
    assert!(rules.cut_by_age(&usage, ahead.wall).is_some(), "the control: by its own clock");
}

#[test]
fn a_trimmed_log_is_checked_from_the_next_attestation_on_and_goes_on_with_its_hash() {
    let (mut world, _) = filled();
    world.trim(ends(&world).len() / 2);
    world.index();
    world.restart();
    let left = ends(&world);
    let mut examined = Examined::default();
    let checked = &left[..left.len() - 3];
    assert_eq!(examined.agree(&world.core.log().reader(), &attested(&world), checked), Ok(()));
    assert!(world.core.sources().terms().iter().count() >= 2, "the table of terms was logged again");
    // Nothing is removed before an attestation.
    let end = world.core.durable_end();
    let beyond = examined.agree(&world.core.log().reader(), &attested(&world), &[end]);
    assert!(matches!(beyond, Err(Disagrees::Missing { .. })), "{beyond:?}");
}
