//! Devices that start twice with the same boot and entropy, and memory that comes back as it was before: two histories
//! under one epoch. Everything arrives once all the same, and what was sealed again says so.

use afferent_firmware::protocol::ids::Stream;
use proptest::prelude::*;

use crate::world::{Fault, World};

const CONSTANTS: Option<([u8; 16], u64)> = Some(([7; 16], 7));

fn world(constants: Option<([u8; 16], u64)>) -> World {
    let mut world = World::new(11);
    world.constants = constants;
    world.cut_power();
    world
}

/// So many alarms and samples, at the same ticks after every boot.
fn run(world: &mut World, alarms: u64, samples: u64) {
    run_away(world, alarms, samples, 0);
}

/// The same, with an agent that comes after so many milliseconds.
fn run_away(world: &mut World, alarms: u64, samples: u64, away: u64) {
    for step in 0..6000 {
        world.is_plugged = step >= away;
        if step % 20 == 0 && step / 20 < samples {
            world.record_sample();
        }
        if step % 500 == 0 && step / 500 < alarms {
            world.record_alarm();
        }
        world.step();
    }
    world.settle_for(20_000);
}

fn resealed(world: &World) -> usize {
    world.receiver.events().iter().filter(|seen| seen.is_resealed()).count()
}

fn arrived(world: &World) -> [usize; 2] {
    Stream::ALL.map(|stream| world.receiver.events_of(stream).len())
}

#[test]
fn two_runs_with_the_same_numbers_are_594_samples_and_13_alarms() {
    for away in [0, 20, 3000, 5999] {
        let mut world = world(CONSTANTS);
        run(&mut world, 7, 300);
        let ends = world.receiver.events().iter().map(|seen| (seen.lane, seen.sequence)).collect::<Vec<_>>();
        world.cut_power();
        run_away(&mut world, 6, 294, away);
        assert_eq!(world.check_once(), [0; 2]);
        assert_eq!(arrived(&world), [13, 594]);
        assert_eq!(world.receiver.pieces, 0, "hellos of lanes do not make a line noisy");
        assert_eq!(world.receiver.conflicts, 0, "the lane was given up before anything was sent in it");
        // What makes it a test: the second run had drawn the epochs of the first.
        assert_eq!(world.device().link_counters().diverged, 2);
        let seen = world.receiver.events();
        assert!(seen.iter().skip(ends.len()).all(|seen| ends.iter().all(|end| end.0 != seen.lane)));
    }
}

#[test]
fn with_other_numbers_nothing_is_sealed_again() {
    // The control of the test before.
    let mut world = world(CONSTANTS);
    run(&mut world, 7, 300);
    world.constants = Some(([8; 16], 8));
    world.cut_power();
    run(&mut world, 6, 294);
    assert_eq!((world.check(), arrived(&world)), ([0; 2], [13, 594]));
    assert_eq!((world.device().link_counters().diverged, resealed(&world)), (0, 0));
}

#[test]
fn a_run_that_repeats_the_one_before_to_the_byte_arrives_as_well() {
    let mut world = world(CONSTANTS);
    for runs in 1..=4 {
        world.cut_power();
        world.is_plugged = false;
        // No bodies of their own: the batches of all runs are the same bytes.
        for step in 0..1000 {
            if step % 100 == 0 {
                world.record_heartbeat();
            }
            world.step();
        }
        world.is_plugged = true;
        world.settle();
        assert_eq!((world.check_once(), arrived(&world)), ([0; 2], [10 * runs, 0]));
    }
    assert!(resealed(&world) > 0);
}

#[test]
fn what_was_recorded_before_the_agent_was_there_says_which_sequences_it_had() {
    let mut world = world(CONSTANTS);
    run(&mut world, 7, 0);
    let old = world.receiver.events()[0].lane;
    world.cut_power();
    world.is_plugged = false;
    (0..3).for_each(|_| {
        world.record_alarm();
        world.step();
    });
    let ticks: Vec<_> = (1..=3).map(|step| step * 1000 - 1000).collect();
    world.is_plugged = true;
    world.settle();
    assert_eq!((world.check_once(), arrived(&world)), ([0; 2], [10, 0]));
    let events = world.receiver.events();
    let new: Vec<_> = events[7..].chunks(2).collect();
    for (number, pair) in new.iter().enumerate() {
        let says = format!("stream: Critical, epoch: {:?}, first: Sequence({number}), reason: Diverged", old.epoch);
        assert!(pair[0].is_resealed() && pair[0].body.contains(&says), "{pair:?} of {says}");
        assert_eq!([pair[0].sequence, pair[1].sequence], [0, 1]);
        assert_eq!([pair[0].tick_us, pair[1].tick_us], [ticks[number]; 2], "the ticks are those of the recording");
    }
}

/// Five alarms that the agent has and whose acks are lost, of which memory forgets the newest two; then three more.
fn memory_that_forgets(says_common: Option<bool>) -> World {
    let mut world = world(CONSTANTS);
    world.settle();
    world.is_deaf = true;
    for _ in 0..5 {
        world.record_alarm();
        (0..50).for_each(|_| world.step());
    }
    assert_eq!(arrived(&world), [5, 0]);
    world.is_deaf = false;
    world.receiver.says_common = says_common;
    world.forget(2);
    world.is_plugged = false;
    for _ in 0..3 {
        world.record_alarm();
        (0..50).for_each(|_| world.step());
    }
    world.is_plugged = true;
    world.settle();
    world
}

#[test]
fn what_the_agent_has_before_the_histories_part_is_not_sealed_again() {
    let world = memory_that_forgets(None);
    assert_eq!((world.check_once(), arrived(&world)), ([0; 2], [8, 0]));
    assert!(world.receiver.asked > 0 && resealed(&world) == 3, "{} of {}", resealed(&world), world.receiver.asked);
}

#[test]
#[should_panic(expected = "came twice")]
fn with_an_agent_that_knows_of_no_common_end_it_would_be() {
    // A control of the test before.
    memory_that_forgets(Some(false)).check_once();
}

/// Five alarms in memory under an epoch of which the agent has others.
fn a_used_epoch_in_memory(others: u64, says_common: Option<bool>) -> World {
    let mut world = world(CONSTANTS);
    run(&mut world, others, 0);
    world.cut_power();
    world.is_plugged = false;
    for _ in 0..5 {
        world.record_alarm();
        world.step();
    }
    world.receiver.says_common = says_common;
    world.reset();
    world.is_plugged = true;
    world
}

#[test]
fn an_epoch_that_was_used_before_is_sealed_again_from_memory_too() {
    let mut world = a_used_epoch_in_memory(10, None);
    world.settle();
    assert_eq!((world.check_once(), arrived(&world)), ([0; 2], [15, 0]));
    assert_eq!(world.receiver.asked, 5);
}

#[test]
#[should_panic(expected = "missing without a word")]
fn a_device_that_took_the_agents_word_for_it_would_lose_them() {
    // The control of the test before: the same device at an agent that says to have everything.
    let mut world = a_used_epoch_in_memory(10, Some(true));
    world.settle();
    world.check_once();
}

#[test]
fn a_reset_at_any_moment_of_it_neither_loses_nor_doubles() {
    for (ms, others) in (0..600).step_by(13).flat_map(|ms| [(ms, 10), (ms, 2)]) {
        let mut world = a_used_epoch_in_memory(others, None);
        (0..ms).for_each(|_| world.step());
        // What the agent takes of this has no ack by the reset.
        world.is_deaf = true;
        world.record_alarm();
        (0..60).for_each(|_| world.step());
        world.is_deaf = false;
        world.reset();
        world.settle_for(9000);
        world.record_alarm();
        world.settle_for(3000);
        let all = others as usize + 7;
        assert_eq!((world.check_once()[0], arrived(&world)), (0, [all, 0]), "after {ms} ms");
    }
}

fn faults() -> impl Strategy<Value = Vec<(u32, Fault)>> {
    prop::collection::vec((1..400_u32, crate::fault()), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_line_does_runs_with_the_same_numbers_arrive_once(
        runs in prop::collection::vec((faults(), faults(), any::<bool>(), 0..3000_u32), 2..4),
    ) {
        let mut world = world(CONSTANTS);
        for (up, down, keeps, away) in runs {
            if keeps { world.reset() } else { world.cut_power() }
            world.is_plugged = false;
            (0..away).for_each(|step| {
                if step % 100 == 0 { world.record_alarm() }
                world.step();
            });
            world.is_plugged = true;
            world.run_with_faults(&up, &down);
            world.settle();
        }
        world.check_once();
    }
}
