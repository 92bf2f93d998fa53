//! The link over a simulated line: whatever the line does, everything recorded arrives once and in order, or is
//! declared.

mod receiver;
mod twice;
mod world;

use afferent_firmware::protocol::event::AlarmTransition;
use afferent_firmware::protocol::ids::Stream;
use proptest::prelude::*;
use world::{Fault, World};

fn faults() -> impl Strategy<Value = Vec<(u32, Fault)>> {
    let fault = fault();
    prop::collection::vec((1..400_u32, fault), 0..60)
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (1..=255_u8).prop_map(Fault::Flip),
        3 => (1..200_usize).prop_map(Fault::Drop),
        3 => (1..200_usize).prop_map(Fault::Repeat),
        2 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Fault::Insert),
        1 => (1..5000_u64).prop_map(Fault::Stall),
        1 => Just(Fault::RestartReceiver),
        1 => (1..40_u32).prop_map(Fault::Burst),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_line_does_everything_arrives_once_and_in_order_or_is_declared(
        up in faults(), down in faults(), seed in any::<u64>()
    ) {
        let mut world = World::new(seed);
        world.run_with_faults(&up, &down);
        world.settle();
        world.check();
    }
}

#[test]
fn noise_on_every_hundredth_byte_ends_in_the_same_log() {
    let mut world = World::new(7);
    world.noise_one_in = Some(100);
    for step in 0..60_000 {
        if step % 40 == 0 {
            world.record_sample();
        }
        if step % 1000 == 0 {
            world.record_alarm();
        }
        world.step();
    }
    let events = world.receiver.events().len();
    println!("{events} events arrived within the noise");
    assert!(events > 100, "{events}");
    world.settle();
    world.check();
    // The control: these were well-formed to everything but the checksum, and would have been believed without it.
    assert!(world.receiver.noise_by_checksum > 5, "{}", world.receiver.noise_by_checksum);
}

#[test]
fn samples_themselves_take_85_percent_of_the_line_rate() {
    let mut world = World::new(1);
    world.settle();
    let (possible_before, body_before) = (world.bytes_possible, bodies(&world));
    // A little less than what the line takes: 67 floats of 15 bytes in 100 milliseconds.
    for step in 0..60_000 {
        if step % 100 < 67 {
            world.record_float();
        }
        world.step();
    }
    let line = world.bytes_possible - possible_before;
    let body = bodies(&world) - body_before;
    println!("goodput: {:.1} % of the line rate", body as f64 / line * 100.0);
    assert!(body as f64 / line > 0.85);
    world.settle();
    assert_eq!(world.check(), [0; 2]);
}

#[test]
fn more_samples_than_the_line_takes_cost_the_oldest_and_leave_the_line_busy() {
    let mut world = World::new(2);
    let (possible_before, body_before) = (world.bytes_possible, bodies(&world));
    for _ in 0..60_000 {
        world.record_float();
        world.step();
    }
    let share = (bodies(&world) - body_before) as f64 / (world.bytes_possible - possible_before);
    println!("goodput with a third too many samples: {:.1} % of the line rate", share * 100.0);
    assert!(share > 0.6, "{share}");
    world.settle();
    let lost = world.check();
    assert!(lost[1] > 0 && lost[0] == 0, "{lost:?}");
}

fn bodies(world: &World) -> usize {
    let of_samples = world.receiver.batches.iter().filter(|(lane, _)| lane.stream == Stream::Samples);
    of_samples.map(|(_, bytes)| bytes.len() - 256).sum()
}

#[test]
fn a_pulled_cable_costs_the_oldest_samples_and_no_alarm() {
    let mut world = World::new(3);
    world.settle();
    world.is_plugged = false;
    for step in 0..60_000 {
        if step % 10 == 0 {
            world.record_sample();
        }
        if step % 5000 == 0 {
            world.record_alarm();
        }
        world.step();
    }
    world.is_plugged = true;
    world.settle();
    let lost = world.check();
    assert_eq!(lost[0], 0, "alarms were lost");
    assert!(lost[1] > 0, "the cable was long enough away that samples had to give way");
    assert_eq!(world.receiver.events_of(Stream::Critical).len(), 12);
}

#[test]
fn a_reset_keeps_what_lies_in_uninit_ram_and_begins_new_samples() {
    let mut world = World::new(4);
    world.is_plugged = false;
    (0..5).for_each(|_| world.record_alarm());
    (0..50).for_each(|_| world.step());
    world.reset();
    (0..5).for_each(|_| world.record_alarm());
    world.is_plugged = true;
    world.settle();
    world.check();
    let events = world.receiver.events_of(Stream::Critical);
    assert_eq!(events.len(), 10);
    assert!(events.iter().all(|seen| seen.lane == events[0].lane), "the epoch went on");
    assert_ne!(events[0].boot, events[9].boot);
}

#[test]
fn a_power_cut_of_ram_begins_a_new_epoch() {
    let mut world = World::new(5);
    world.record_alarm();
    world.settle();
    let before = world.receiver.events()[0].lane;
    world.cut_power();
    world.record_alarm();
    world.settle();
    let after = world.receiver.events_of(Stream::Critical);
    assert_eq!(after.len(), 2);
    assert_ne!(after[1].lane, before);
}

#[test]
fn a_receiver_with_another_log_under_the_same_epoch_is_noticed() {
    let mut world = World::new(6);
    world.record_alarm();
    world.settle();
    // Two devices with the same name and the same entropy.
    let mut other = World::new(6);
    other.receiver = std::mem::take(&mut world.receiver);
    (0..3).for_each(|_| other.record_alarm_of("another", AlarmTransition::Raised));
    other.settle();
    assert_eq!(other.device().link_counters().diverged, 1);
    // What the other one had recorded is sealed again, and it continues in a new epoch.
    other.record_alarm();
    other.settle();
    let events = other.receiver.events_of(Stream::Critical);
    assert_eq!(events.len(), 5);
    assert_ne!(events[0].lane, events[4].lane);
}

#[test]
fn heartbeats_leave_room_for_breakdowns_and_never_take_their_place() {
    let mut world = World::new(8);
    world.is_plugged = false;
    world.record_alarm();
    for _ in 0..2000 {
        world.record_heartbeat();
        world.step();
    }
    (0..5).for_each(|_| world.record_alarm());
    world.step();
    world.is_plugged = true;
    world.settle();
    let lost = world.check();
    assert!(lost[0] > 1000, "there were more heartbeats than room: {}", lost[0]);
    let alarms = world.receiver.events_of(Stream::Critical).iter().filter(|seen| seen.body.contains("Alarm")).count();
    assert_eq!(alarms, 6, "every alarm arrived");
}

#[test]
fn batches_tell_utc_once_the_agent_has_told_the_time() {
    let mut world = World::new(9);
    world.receiver.wall_us = 1_700_000_000_000_000;
    world.settle();
    world.record_alarm();
    world.settle();
    let bytes = &world.receiver.batches.last().expect("the alarm came").1;
    let header = afferent_firmware::protocol::batch::Header::decode(bytes).expect("it is whole");
    assert!(header.clock.synchronised);
    let offset_us = header.clock.wall.micros() - header.clock.monotonic_us as i64;
    // Half of what a request and its reply take on the line is the most that it can be wrong by.
    assert!((offset_us - 1_700_000_000_000_000).abs() < 20_000, "{offset_us}");
    assert!(header.time_first.micros() < 1_000_000_000, "event times are ticks");
}
