//! Sender and receiver over a channel that loses, repeats, delays and reorders, with restarts on both sides.

mod receiver;
mod search;
mod world;

use afferent_protocol::ids::{Epoch, Sequence, Stream};
use afferent_protocol::limits::{LANES_MAX, WINDOW_BATCHES_MAX};
use afferent_protocol::session::{Check, Control, Lane, Resume, SenderSettings, Welcome};
use proptest::prelude::*;
use world::World;

#[derive(Clone, Debug)]
enum Op {
    Append(Stream, u8),
    Burst(Stream, u16),
    Evict(Stream),
    Recycle,
    Tick(u16),
    Up {
        at: usize,
        again: bool,
    },
    Down {
        at: usize,
        again: bool,
    },
    LoseUp(usize),
    LoseDown(usize),
    Commit,
    CommitFails,
    LinkDown,
    LinkUp,
    SenderRestarts {
        epochs: bool,
    },
    ReceiverRestarts,
    StrayNack {
        stream: Stream,
        from: u64,
    },
    StrayWelcome(u32),
    StrayAck {
        stream: Stream,
        end: u64,
        check: Option<u64>,
    },
    StrayCommon {
        stream: Stream,
        end: u64,
        check: Option<u64>,
    },
    /// The receiver's log is put back; so many tenths are left.
    RollBack(usize),
    /// Another sender with the same name writes.
    Elsewhere(Stream, u8),
}

fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Critical), Just(Stream::Samples)]
}

fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![4 => Just(0_usize), 1 => 0_usize..6];
    prop_oneof![
        10 => (stream(), 1_u8..20).prop_map(|(stream, count)| Op::Append(stream, count)),
        1 => (stream(), 1_u16..600).prop_map(|(stream, batches)| Op::Burst(stream, batches)),
        2 => stream().prop_map(Op::Evict),
        2 => Just(Op::Recycle),
        8 => (0_u16..3000).prop_map(Op::Tick),
        20 => (at.clone(), prop::bool::weighted(0.1)).prop_map(|(at, again)| Op::Up { at, again }),
        20 => (at.clone(), prop::bool::weighted(0.1)).prop_map(|(at, again)| Op::Down { at, again }),
        3 => at.clone().prop_map(Op::LoseUp),
        3 => at.prop_map(Op::LoseDown),
        12 => Just(Op::Commit),
        1 => Just(Op::CommitFails),
        2 => Just(Op::LinkDown),
        6 => Just(Op::LinkUp),
        1 => any::<bool>().prop_map(|epochs| Op::SenderRestarts { epochs }),
        1 => Just(Op::ReceiverRestarts),
        1 => (stream(), 0_u64..100).prop_map(|(stream, from)| Op::StrayNack { stream, from }),
        1 => any::<u32>().prop_map(Op::StrayWelcome),
        1 => (stream(), 0_u64..100, stray_check())
            .prop_map(|(stream, end, check)| Op::StrayAck { stream, end, check }),
        1 => (stream(), 0_u64..100, stray_check())
            .prop_map(|(stream, end, check)| Op::StrayCommon { stream, end, check }),
    ]
}

/// No check, or one that no batch has.
fn stray_check() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), any::<u64>().prop_map(|check| Some(check | 1 << 63))]
}

/// What happens while the receiver's log is put back now and then.
fn op_with_roll_backs() -> impl Strategy<Value = Op> {
    prop_oneof![40 => op(), 1 => (0_usize..10).prop_map(Op::RollBack)]
}

/// What happens while another sender with the same name writes now and then.
fn op_with_another() -> impl Strategy<Value = Op> {
    prop_oneof![40 => op(), 1 => (stream(), 1_u8..20).prop_map(|(stream, count)| Op::Elsewhere(stream, count))]
}

fn settings() -> impl Strategy<Value = SenderSettings> {
    (prop_oneof![Just(1_usize), Just(450), Just(512 * 1024)], prop_oneof![Just(1_usize), Just(250), Just(128 * 1024)])
        .prop_map(|(window_bytes, message_bytes_max)| SenderSettings {
            window_bytes,
            message_bytes_max,
            ..SenderSettings::default()
        })
}

fn apply(world: &mut World, op: &Op) {
    match *op {
        Op::Append(stream, count) => world.append(stream, u64::from(count)),
        Op::Burst(stream, batches) => (0..batches).for_each(|_| world.append(stream, 1)),
        Op::Evict(stream) => world.evict(stream),
        Op::Recycle => world.recycle(),
        Op::Tick(ms) => world.now_ms += u64::from(ms),
        Op::Up { at, again } => world.deliver_up(at, again),
        Op::Down { at, again } => world.deliver_down(at, again),
        Op::LoseUp(at) => drop(world.up.remove(at)),
        Op::LoseDown(at) => drop(world.down.remove(at)),
        Op::Commit => world.receiver.commit(&mut world.down),
        Op::CommitFails => world.receiver.commit_fails(),
        Op::LinkDown => world.link_down(),
        Op::LinkUp => world.link_up(),
        Op::SenderRestarts { epochs } => {
            world.sender_restarts();
            if epochs {
                Stream::ALL.into_iter().for_each(|stream| world.new_epoch(stream));
            }
        }
        Op::ReceiverRestarts => world.receiver.restart(),
        Op::StrayNack { stream, from } => {
            let control = Control::Nack { lane: world.lane_now(stream), from: Sequence::new(from) };
            world.receiver.send(control, &mut world.down);
        }
        Op::StrayWelcome(session) => {
            let control = Control::Welcome(Welcome { session, lanes: heapless::Vec::new() });
            world.receiver.send(control, &mut world.down);
        }
        Op::StrayAck { stream, end, check } => {
            let resume = Resume { lane: world.lane_now(stream), end: Sequence::new(end), check: check.map(Check) };
            world.receiver.send(world::ack(resume), &mut world.down);
        }
        Op::StrayCommon { stream, end, check } => {
            let resume = Resume { lane: world.lane_now(stream), end: Sequence::new(end), check: check.map(Check) };
            world.receiver.send(Control::Common(resume), &mut world.down);
        }
        Op::RollBack(keep) => world.roll_back(keep),
        Op::Elsewhere(stream, count) => world.write_elsewhere(stream, u64::from(count)),
    }
    world.drive();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_batch_arrives_once_in_order_and_nothing_is_let_go_of_before_it_is_durable(
        settings in settings(),
        lists_empty_lanes: bool,
        slow_reads: bool,
        ops in prop::collection::vec(op(), 0..300),
    ) {
        let mut world = World::new(settings, lists_empty_lanes, slow_reads);
        for op in &ops {
            apply(&mut world, op);
            world.check_order();
        }
        let (hellos, sent) = (world.hellos, world.batches_sent);
        let batches: usize = world.log.values().map(|log| log.batches.len()).sum();
        let took_ms = world.heal();
        world.check_complete();
        prop_assert!(world.resealed.is_empty() && world.rewound.is_empty(), "{:?}", world.resealed);
        // Healed, it takes a few hellos and hardly more batches than there are: no storms.
        let lanes = world.log.len();
        prop_assert!(world.hellos - hellos <= 8 + 2 * lanes, "{} hellos in {took_ms} ms", world.hellos - hellos);
        prop_assert!(world.batches_sent - sent <= 3 * batches + 16, "{} of {batches}", world.batches_sent - sent);
    }

    #[test]
    fn what_a_receiver_that_was_put_back_has_lost_comes_again_once_and_with_the_same_sequences(
        settings in settings(),
        slow_reads: bool,
        ops in prop::collection::vec(op_with_roll_backs(), 0..300),
    ) {
        let mut world = World::new(settings, true, slow_reads);
        for op in &ops {
            apply(&mut world, op);
            world.check_order();
        }
        world.heal();
        world.check_complete();
        prop_assert!(world.resealed.is_empty(), "{:?}", world.resealed);
    }

    #[test]
    fn what_a_receiver_has_from_another_sender_costs_nothing_of_what_is_held(
        settings in settings(),
        lists_empty_lanes: bool,
        slow_reads: bool,
        ops in prop::collection::vec(op_with_another(), 0..300),
    ) {
        let mut world = World::new(settings, lists_empty_lanes, slow_reads);
        for op in &ops {
            apply(&mut world, op);
            world.check_order();
        }
        world.heal();
        world.check_complete();
    }
}

fn streaming(batches: u64) -> World {
    let mut world = World::new(SenderSettings::default(), true, false);
    (0..batches).for_each(|_| world.append(Stream::Critical, 2));
    world
}

#[test]
fn a_backlog_of_more_small_batches_than_the_window_has_places_does_not_wait_for_timeouts() {
    let mut world = streaming(20 * WINDOW_BATCHES_MAX as u64);
    let took_ms = world.heal();
    world.check_complete();
    assert!(took_ms < 2000, "took {took_ms} ms, as if it had waited for timeouts");
    assert!(world.batches_sent < 21 * WINDOW_BATCHES_MAX, "sent {} batches", world.batches_sent);
}

#[test]
fn more_epochs_than_a_hello_names_are_drained_one_after_the_other() {
    let mut world = World::new(SenderSettings::default(), false, false);
    for _ in 0..3 * LANES_MAX {
        world.append(Stream::Critical, 3);
        world.append(Stream::Samples, 3);
        world.new_epoch(Stream::Critical);
        world.new_epoch(Stream::Samples);
    }
    world.heal();
    world.check_complete();
    assert_eq!(world.receiver.durable.len(), 6 * LANES_MAX);
}

#[test]
fn one_lane_that_gets_on_does_not_hide_that_another_does_not() {
    let mut world = World::new(SenderSettings::default(), true, false);
    world.link_up();
    settle(&mut world);
    world.append(Stream::Critical, 1);
    world.drive();
    world.up.clear();
    for _ in 0..200 {
        world.append(Stream::Samples, 1);
        world.now_ms += 50;
        settle(&mut world);
    }
    assert!(
        world.receiver.durable.contains_key(&world.lane_now(Stream::Critical)),
        "the lost batch was not sent again"
    );
}

#[test]
fn a_ring_that_evicts_faster_than_a_hello_is_answered_still_gets_rid_of_what_it_holds() {
    let mut world = World::new(SenderSettings::default(), true, false);
    (0..10).for_each(|_| world.append(Stream::Samples, 1));
    world.link_up();
    world.drive();
    for _ in 0..200 {
        // A round trip takes longer than the time between two evictions.
        for _ in 0..3 {
            world.append(Stream::Samples, 1);
            world.evict(Stream::Samples);
            world.now_ms += 100;
            world.drive();
        }
        let (up, down) = (world.up.len(), world.down.len());
        (0..up).for_each(|_| world.deliver_up(0, false));
        world.receiver.commit(&mut world.down);
        (0..down).for_each(|_| world.deliver_down(0, false));
    }
    let arrived: usize = world.receiver.durable.values().map(Vec::len).sum();
    assert!(arrived > 300, "only {arrived} batches arrived");
}

#[test]
fn a_receiver_that_lost_its_log_declares_the_gap_and_goes_on() {
    let mut world = streaming(10);
    world.heal();
    world.recycle();
    world.receiver.durable.clear();
    world.receiver.restart();
    (0..3).for_each(|_| world.append(Stream::Critical, 2));
    world.drive();
    for _ in 0..100 {
        world.now_ms += 100;
        settle(&mut world);
    }
    let lane = world.lane_now(Stream::Critical);
    assert_eq!(world.receiver.durable[&lane].len(), 3, "what came after is there");
    assert_eq!(world.receiver.gaps.len(), 1);
    assert_eq!(world.receiver.gaps[0].1.end, Sequence::new(20));
    assert!(world.resealed.is_empty());
}

#[test]
fn a_receiver_that_lost_its_log_gets_all_that_was_not_overwritten() {
    for overwritten in [false, true] {
        let mut world = streaming(10);
        world.heal();
        if overwritten {
            world.recycle();
        }
        world.roll_back(0);
        world.append(Stream::Critical, 2);
        world.heal();
        world.check_complete();
        let arrived = world.receiver.durable[&world.lane_now(Stream::Critical)].len();
        // The control: what was overwritten cannot come again.
        assert_eq!(arrived, if overwritten { 1 } else { 11 });
    }
}

#[test]
fn an_ack_that_fits_nothing_lets_go_of_nothing_and_leads_to_one_hello() {
    let mut world = streaming(50);
    world.link_up();
    settle(&mut world);
    (0..50).for_each(|_| world.append(Stream::Critical, 2));
    world.drive();
    let (hellos, lane) = (world.hellos, world.lane_now(Stream::Critical));
    for end in [102, 150, 200, 1000] {
        let resume = Resume { lane, end: Sequence::new(end), check: Some(Check(u64::MAX)) };
        world.sender.control(world.now_ms, &world::ack(resume));
        world.drive();
    }
    assert_eq!(world.log[&lane].released(), Sequence::new(100));
    assert!(world.resealed.is_empty());
    assert_eq!(world.hellos, hellos + 1);
    world.heal();
    world.check_complete();
}

#[test]
fn a_hello_is_repeated_over_the_answer_once() {
    let mut world = streaming(3);
    world.link_up();
    settle(&mut world);
    assert_eq!(world.hellos, 2);
    world.receiver.restart();
    world.link_down();
    world.link_up();
    settle(&mut world);
    assert_eq!(world.hellos, 4);
    // A receiver that does not believe the answer hears it no third time.
    world.link_down();
    world.link_up();
    for _ in 0..10 {
        world.drive();
        world.up.clear();
        let control = Control::Welcome(Welcome { session: 13, lanes: heapless::Vec::new() });
        world.receiver.send(control, &mut world.down);
        world.deliver_down(0, false);
    }
    assert!(world.hellos <= 7, "{} hellos", world.hellos);
}

#[test]
fn acks_of_another_start_of_the_receiver_lead_to_a_hello_and_release_nothing() {
    for term in [0, 99] {
        let mut world = streaming(5);
        world.link_up();
        settle(&mut world);
        (0..5).for_each(|_| world.append(Stream::Critical, 2));
        world.drive();
        let (hellos, lane) = (world.hellos, world.lane_now(Stream::Critical));
        world.up.clear();
        world.receiver.commit(&mut world.down);
        let (end, check) = (Sequence::new(20), Some(Check(10)));
        world.receiver.assume(lane, &world.log[&lane].batches);
        let control = world::ack(Resume { lane, end, check });
        let down = world::Down { control, link: 1, term, answer: 0, is_proved: true };
        world.now_ms += 1_999;
        for _ in 0..20 {
            world.down.push_back(down.clone());
            world.deliver_down(0, false);
            world.drive();
            world.now_ms += 1;
        }
        // The control: the same ack of the start that has welcomed.
        let (released, more) = if term == 0 { (end, 0) } else { (Sequence::new(10), 1) };
        assert_eq!((world.log[&lane].released(), world.hellos - hellos), (released, more));
    }
}

#[test]
fn a_release_is_carried_out_although_the_link_goes_down_at_once() {
    let mut world = streaming(3);
    world.link_up();
    world.drive();
    world.deliver_up(0, false);
    world.deliver_down(0, false);
    world.drive();
    while !world.up.is_empty() {
        world.deliver_up(0, false);
    }
    world.receiver.commit(&mut world.down);
    while !world.down.is_empty() {
        world.deliver_down(0, false);
    }
    world.link_down();
    world.drive();
    let lane = world.lane_now(Stream::Critical);
    assert_eq!(world.sender.acked_end(lane), Some(Sequence::new(6)));
    assert_eq!(world.log[&lane].released(), Sequence::new(6));
}

#[test]
fn the_same_nack_over_and_over_does_not_make_a_storm() {
    let mut world = streaming(50);
    world.link_up();
    world.drive();
    world.deliver_up(0, false);
    world.deliver_down(0, false);
    world.drive();
    let (hellos, sent) = (world.hellos, world.batches_sent);
    let lane = world.lane_now(Stream::Critical);
    for _ in 0..1000 {
        world.sender.control(world.now_ms, &Control::Nack { lane, from: Sequence::ZERO });
        world.drive();
    }
    assert!(world.hellos - hellos <= 1, "{} hellos", world.hellos - hellos);
    assert!(world.batches_sent - sent <= 100, "{} batches", world.batches_sent - sent);
    world.heal();
    world.check_complete();
}

#[test]
fn a_receiver_that_only_nacks_is_greeted_again() {
    let mut world = streaming(5);
    world.link_up();
    world.drive();
    world.deliver_up(0, false);
    world.deliver_down(0, false);
    world.drive();
    let hellos = world.hellos;
    let lane = world.lane_now(Stream::Critical);
    for _ in 0..3 {
        world.drive();
        world.up.clear();
        world.sender.control(world.now_ms, &Control::Nack { lane, from: Sequence::ZERO });
    }
    world.drive();
    assert_eq!(world.hellos, hellos + 1);
}

#[test]
fn welcomes_of_other_sessions_are_not_taken() {
    let mut world = streaming(5);
    world.link_up();
    world.drive();
    for session in [0, 7, 9, 1000, u32::MAX] {
        let lane = Lane { stream: Stream::Critical, epoch: Epoch::new(0) };
        let resume = Resume { lane, end: Sequence::new(4), check: None };
        let lanes = std::iter::once(resume).collect();
        world.sender.control(0, &Control::Welcome(Welcome { session, lanes }));
        assert!(!world.sender.is_streaming(), "session {session}");
    }
    world.heal();
    world.check_complete();
}

#[test]
fn an_answer_that_takes_longer_than_the_first_timeout_is_still_an_answer() {
    let mut world = streaming(5);
    world.link_up();
    world.drive();
    world.now_ms += 2500;
    world.drive();
    assert_eq!(world.hellos, 2);
    world.deliver_up(0, false);
    world.deliver_down(0, false);
    assert!(world.sender.is_streaming());
    world.heal();
    world.check_complete();
}

/// Everything that is under way arrives, until nothing is.
fn settle(world: &mut World) {
    world.drive();
    for _ in 0..100 {
        while !world.up.is_empty() {
            world.deliver_up(0, false);
        }
        world.receiver.commit(&mut world.down);
        while !world.down.is_empty() {
            world.deliver_down(0, false);
        }
        world.drive();
        if world.up.is_empty() && world.down.is_empty() {
            return;
        }
    }
    panic!("two sides keep each other busy forever");
}
