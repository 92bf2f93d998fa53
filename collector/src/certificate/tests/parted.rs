//! Histories that have parted, rings and logs that were restored, keys that were replaced.

use afferent_protocol::attestation::Attestation;
use afferent_protocol::endorsement::{Endorsement, Role};
use afferent_protocol::event::{Loss, LossReason, ResealReason};

use super::*;
use crate::core::Notice;
use crate::log::records::Decoder;

fn resealed(lane: &Agent, first: u64, reason: ResealReason) -> LifeCycle<'static> {
    let (stream, epoch) = (lane.lane.stream, lane.lane.epoch);
    LifeCycle::Resealed { stream, epoch, first: Sequence::new(first), reason }
}

/// The agent has thirty samples in the log and twenty more in its ring, whose key was lost; it has declared that.
fn with_a_rest() -> (World, Machine) {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.samples.samples(20);
    press.beats(&mut world, 50);
    (world, press)
}

/// The rest, sealed again from `first` on in a new epoch.
fn rest(world: &mut World, press: &Machine, first: u64, until: u64, reason: ResealReason) -> Agent {
    let mut again = Agent::new("press", Stream::Samples, 77);
    world.greet(&again, 0);
    let batch = own_event(&mut again, 51, resealed(&press.samples, first, reason));
    world.give(&again, &batch);
    for second in first..until {
        let event = Event { time: clock(second).wall, subject: Subject::new("88-C").unwrap(), body: breakdown("E") };
        let batch = sealed(&mut again, &clock(51), &event);
        world.give(&again, &batch);
    }
    again
}

fn at(world: &mut World, from: u64, until: u64) -> Certificate {
    certified(&world.end(), About::Source(source("press")), seconds(from, until)).unwrap()
}

#[test]
fn an_epoch_that_was_sealed_again_goes_on_in_the_new_one() {
    let (mut world, mut press) = with_a_rest();
    assert!(says(&at(&mut world, 0, 50).open, "sequences 30 up to 50 were accepted but have not arrived"));
    rest(&mut world, &press, 30, 49, ResealReason::OtherKey);
    press.beats(&mut world, 52);
    assert!(says(&at(&mut world, 0, 50).open, "have not arrived"), "one is still missing");
    let (mut world, mut press) = with_a_rest();
    rest(&mut world, &press, 30, 50, ResealReason::OtherKey);
    press.beats(&mut world, 52);
    let certificate = at(&mut world, 0, 50);
    assert!(certificate.complete, "{}", text::text(&certificate));
}

#[test]
fn what_a_ring_has_in_files_that_are_free_again_and_was_sealed_again_has_come() {
    let unsent = {
        let mut press = Agent::new("press", Stream::Samples, 1);
        press.samples(30);
        vec![press.samples(20)]
    };
    let certificate = |until: u64| {
        let (mut world, mut press) = with_a_rest();
        rest(&mut world, &press, 30, until, ResealReason::OtherKey);
        press.beats(&mut world, 52);
        let mut rings = Rings::default();
        rings.read(&ring_of(&unsent, 30)).unwrap();
        let means = CheckMaterial { rings, ..by_key() };
        certified_by(&world.end(), About::Source(source("press")), seconds(0, 50), means).unwrap()
    };
    assert!(certificate(50).complete, "{}", text::text(&certificate(50)));
    // The control: one of its events has not come under the new epoch either.
    assert!(says(&certificate(49).open, "sequences 30 up to 50 are in the ring log and have not arrived"));
}

#[test]
fn what_another_life_had_accepted_is_open_from_its_last_statement_on() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.beats(&mut world, 30);
    press.works(&mut world, 10);
    // Its directory was restored to its state at 25; the events that it has accepted since come in a new epoch.
    rest(&mut world, &press, 25, 60, ResealReason::Diverged);
    let mut second = Machine::new("press", 9);
    second.greet(&mut world);
    second.beats(&mut world, 70);
    assert!(at(&mut world, 0, 30).complete, "{}", text::text(&at(&mut world, 0, 30)));
    let certificate = at(&mut world, 30, 45);
    assert!(says(&certificate.open, "restored from a copy, or two machines use it"), "{:?}", certificate.open);
    assert!(at(&mut world, 55, 70).complete, "{}", text::text(&at(&mut world, 55, 70)));
}

#[test]
fn two_machines_of_one_name_leave_everything_open_until_an_operator_says_which() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.beats(&mut world, 30);
    world.say(Notice::Conflict { source: source("press"), boots: [[1; 16], [2; 16]], addresses: String::new() });
    press.beats(&mut world, 60);
    assert!(at(&mut world, 0, 30).complete);
    assert!(says(&at(&mut world, 0, 40).open, "two machines use its name"));
    let key = identity(55).public_key();
    world.core.replace_key(source("press"), key, "ada", &clock(world.seconds)).unwrap();
    world.core.commit(&clock(world.seconds)).unwrap();
    assert!(says(&at(&mut world, 0, 40).open, "two machines used its name until its key was replaced"));
}

#[test]
fn a_replaced_key_ends_the_old_one_at_once_and_what_it_had_signed_stays_proved() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.beats(&mut world, 30);
    let (old, new) = (press.critical.identity.clone(), identity(55));
    world.core.replace_key(source("press"), new.public_key(), "ada", &clock(world.seconds)).unwrap();
    world.core.commit(&clock(world.seconds)).unwrap();
    let under_old = press.samples.samples(1);
    assert!(world.core.receive(source("press"), &under_old, None, &clock(world.seconds)).refusal.is_some());
    assert!(at(&mut world, 0, 30).complete, "{}", text::text(&at(&mut world, 0, 30)));
    let same = world.core.replace_key(source("press"), new.public_key(), "ada", &clock(world.seconds));
    assert!(same.is_err() && old.public_key() != new.public_key());
}

#[test]
fn a_log_that_was_put_back_leaves_the_time_that_it_lost_open() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    press.beats(&mut world, 30);
    let (until, opened) = (world.core.durable_end(), world.seconds);
    world.seconds += 100;
    world.restart();
    let (end, time) = (Offset::new(until.get() + 50), clock(opened + 60).wall);
    let source = source("press");
    let before = at(&mut world, opened, opened + 1);
    world.say(Notice::RolledBack { source, term: 7, until, end, time });
    press.beats(&mut world, opened + 110);
    assert!(!says(&before.open, "restored to an earlier"), "the control");
    assert!(at(&mut world, 0, 30).complete, "{}", text::text(&at(&mut world, 0, 30)));
    assert!(says(&at(&mut world, opened + 20, opened + 30).open, "the log was restored to an earlier state"));
}

#[test]
fn a_successor_of_the_logs_key_counts_when_the_key_before_has_endorsed_it() {
    let lived = |endorses: bool| {
        let (mut world, mut press) = (World::new(), Machine::new("press", 1));
        press.greet(&mut world);
        press.works(&mut world, 30);
        let (log_id, by, key) = (world.core.log().log_id(), identity(KEY).public_key(), identity(98).public_key());
        let endorsement = Endorsement { role: Role::Successor, log_id, key, by }.sign(&identity(KEY));
        if endorses {
            world.say(Notice::KeyEndorsed { endorsement });
        }
        world.end();
        world.seconds += 20;
        world.core = start(&world.disk, 98, world.seconds);
        press.greet(&mut world);
        press.beats(&mut world, 30);
        at(&mut world, 0, 30)
    };
    let certificate = lived(true);
    assert!(certificate.complete, "{}", text::text(&certificate));
    assert_eq!(certificate.log.keys.len(), 2);
    assert_eq!(lived(false).verdict, Verdict::Refuted, "the control");
}

#[test]
fn the_newest_key_vouches_for_earlier_keys_as_far_as_it_attests() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    world.end();
    let log_id = world.core.log().log_id();
    for (by, key) in [(KEY, 98), (98, 97)] {
        let (role, successor, before) = (Role::Successor, identity(key).public_key(), identity(by).public_key());
        let endorsement = Endorsement { role, log_id, key: successor, by: before }.sign(&identity(by));
        world.seconds += 20;
        world.core = start_endorsed(&world.disk, key, world.seconds, vec![endorsement]);
        press.greet(&mut world);
        press.beats(&mut world, 30);
        world.end();
    }
    let entries = entries(&world.disk);
    let by = |key: u8, entries: &[ForgedEntry]| {
        let means = CheckMaterial { trust: Trust::Named(vec![identity(key).public_key()]), ..CheckMaterial::default() };
        certified_by(entries, About::Source(source("press")), span(), means).unwrap()
    };
    for key in [KEY, 98, 97] {
        let certificate = by(key, &entries);
        assert!(certificate.complete, "{key}: {}", text::text(&certificate));
        assert_eq!(certificate.log.keys.len(), 3);
    }
    assert_eq!(by(96, &entries).verdict, Verdict::Refuted, "the control: a key of another log");
    // A thief of the previous key, who has cut off the part that the newest key attests, gets nothing accepted by it.
    let newest = identity(97).public_key();
    let is_its = |event: &Event<'_>| match event.body {
        Body::LifeCycle(LifeCycle::Attested { attestation }) => {
            Attestation::read(attestation).is_some_and(|attestation| attestation.claim().key == newest)
        }
        _ => false,
    };
    let attests = |(_, _, bytes, _): &ForgedEntry| {
        let (batch, _) = Batch::parse(bytes).unwrap();
        Decoder::default().open(&batch).any(|record| is_its(&record.unwrap().event))
    };
    let first = entries.iter().position(attests).unwrap();
    let certificate = by(97, &entries[..first]);
    assert!(says(&certificate.open, "no attestation of the given key binds yet"), "{}", text::text(&certificate));
    // Nor by changing the time before.
    let mut changed = entries.clone();
    changed.remove(samples_of(&entries, "press")[0]);
    assert_eq!(by(97, &changed).verdict, Verdict::Refuted);
}

#[test]
fn a_heartbeat_waits_for_the_history_that_it_speaks_of() {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 20);
    press.works(&mut world, 10);
    // A copy of its machine continued from 20 on its own; the events accepted since are still in its ring.
    let mut twin = Machine { samples: Agent::new("press", Stream::Samples, 1), ..Machine::new("press", 8) };
    for count in [20, 4, 6] {
        twin.samples.samples(count);
    }
    world.greet(&twin.critical, 0);
    twin.beats(&mut world, 40);
    let certificate = at(&mut world, 0, 35);
    assert!(
        says(&certificate.open, "sequences 29 up to 30 were accepted but have not arrived"),
        "{:?}",
        certificate.open
    );
    // The control: the same with a heartbeat of the machine itself.
    press.beats(&mut world, 40);
    assert!(at(&mut world, 0, 20).lanes.iter().all(|lane| lane.ranges.iter().all(|range| range.fate == Fate::Present)));
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 20);
    press.works(&mut world, 10);
    press.beats(&mut world, 40);
    assert!(at(&mut world, 0, 35).complete);
}

#[test]
fn a_loss_that_is_declared_after_the_clock_was_set_back_counts_for_the_time_before() {
    let lost = |clock_of_loss: u64| {
        let (mut world, mut press) = (World::new(), Machine::new("press", 1));
        press.greet(&mut world);
        press.works(&mut world, 30);
        press.beats(&mut world, 500);
        press.samples.samples(10);
        press.beats(&mut world, 580);
        let (stream, epoch) = (press.samples.lane.stream, press.samples.lane.epoch);
        let (first, end) = (Sequence::new(30), Sequence::new(40));
        let loss = Loss { stream, epoch, first, end, reason: LossReason::Evicted, chain: press.samples.chain };
        press.says(&mut world, clock_of_loss, Body::Loss(loss));
        at(&mut world, 510, 550)
    };
    assert_eq!(lost(600).causes, [Cause::DeclaredLoss], "the control");
    assert_eq!(lost(100).causes, [Cause::DeclaredLoss]);
}

#[test]
fn a_hole_that_was_filled_behind_its_successors_is_whole() {
    let filled = |with: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>| {
        let (mut world, mut press) = (World::new(), Machine::new("press", 1));
        press.greet(&mut world);
        press.works(&mut world, 10);
        let missing = press.samples.samples(10);
        world.greet(&press.samples, 20);
        press.works(&mut world, 10);
        if let Some(batch) = with(missing) {
            world.give(&press.samples, &batch);
        }
        press.beats(&mut world, 40);
        let entries = world.end();
        assert!(of_press(&entries).refuted.is_empty(), "{:?}", of_press(&entries).refuted);
        (of_press(&entries), entries)
    };
    assert_eq!(filled(&|_| None).0.causes, [Cause::Missing], "the control");
    let (certificate, mut entries) = filled(&Some);
    assert!(certificate.complete, "{}", text::text(&certificate));
    // The entry cannot be replaced there, and cannot occur there twice.
    let twice = entries[samples_of(&entries, "press")[2]].clone();
    entries.push(twice);
    assert!(says(&of_press(&entries).refuted, "its sequences are in the log already"));
}
