//! Searching where two histories of a lane part.

use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::session::{Action, Check, Control, Lane, Resume};

use super::world::World;
use super::{settle, streaming};

#[test]
fn the_last_common_end_is_found_in_a_few_questions() {
    let mut world = streaming(10_000);
    world.heal();
    world.sender_restarts();
    let lane = world.lane_now(Stream::Critical);
    world.lose_tail(lane, 3000);
    (0..2500).for_each(|_| world.append(Stream::Critical, 2));
    world.heal();
    world.check_complete();
    assert_eq!(world.resealed, [(lane, Sequence::new(14_000))]);
    assert!(world.questions <= 5, "{} questions", world.questions);
}

#[test]
fn an_answer_to_another_question_does_not_end_the_search() {
    let mut world = streaming(40);
    world.heal();
    world.sender_restarts();
    let lane = world.lane_now(Stream::Critical);
    world.lose_tail(lane, 3);
    (0..3).for_each(|_| world.append(Stream::Critical, 2));
    world.link_up();
    world.drive();
    (0..2).for_each(|_| world.deliver_up(0, false));
    (0..2).for_each(|_| world.deliver_down(0, false));
    world.drive();
    assert!(world.questions > 0);
    for (end, check) in [(0, None), (0, Some(1)), (2, None), (2, Some(99)), (80, Some(40))] {
        let resume = Resume { lane, end: Sequence::new(end), check: check.map(Check) };
        world.sender.control(world.now_ms, &Control::Common(resume));
        world.drive();
    }
    assert!(world.resealed.is_empty(), "{:?}", world.resealed);
    world.heal();
    world.check_complete();
    assert_eq!(world.resealed, [(lane, Sequence::new(74))]);
}

#[test]
fn a_sender_that_lost_its_tail_and_wrote_something_else_is_told_apart() {
    for rewritten in [0, 1, 2, 3, 4] {
        let mut world = streaming(10);
        world.heal();
        world.sender_restarts();
        let lane = world.lane_now(Stream::Critical);
        world.lose_tail(lane, 3);
        (0..rewritten).for_each(|_| world.append(Stream::Critical, 2));
        let before = world.receiver.durable[&lane].clone();
        world.link_up();
        for _ in 0..100 {
            world.now_ms += 100;
            settle(&mut world);
        }
        assert_eq!(world.resealed, [(lane, Sequence::new(14))], "{rewritten} batches rewritten");
        assert_eq!(world.receiver.durable[&lane], before);
        world.append(Stream::Critical, 2);
        world.heal();
        world.check_complete();
    }
}

#[test]
fn a_sender_whose_oldest_batch_continues_another_history_is_told_apart() {
    let mut world = streaming(5);
    world.heal();
    world.recycle();
    // The receiver holds another batch at the end than the one that this sender was told it has.
    let lane = world.lane_now(Stream::Critical);
    let held = world.receiver.durable.get_mut(&lane).unwrap();
    held.last_mut().unwrap().chain = [9; 32];
    world.receiver.restart();
    world.append(Stream::Critical, 2);
    for _ in 0..100 {
        world.now_ms += 100;
        settle(&mut world);
    }
    assert_eq!(world.resealed, [(lane, Sequence::new(10))]);
}

/// A sender that has lost the tail of a lane, and asks for the batch that the receiver says it has the end of.
fn asking_for_a_lost_batch() -> (World, Lane, Sequence) {
    let mut world = streaming(10);
    world.heal();
    world.sender_restarts();
    let lane = world.lane_now(Stream::Critical);
    world.lose_tail(lane, 3);
    world.link_up();
    world.drive();
    world.deliver_up(0, false);
    world.deliver_down(0, false);
    let end = Sequence::new(20);
    assert_eq!(world.sender.next(world.now_ms), Action::LookUp { lane, end });
    (world, lane, end)
}

#[test]
fn a_log_that_cannot_tell_lets_go_of_what_both_have_and_of_nothing_more() {
    // The control: a receiver with something else in its last three batches.
    for another in [false, true] {
        let (mut world, lane, end) = asking_for_a_lost_batch();
        if another {
            let held = world.receiver.durable.get_mut(&lane).unwrap();
            held.iter_mut().skip(4).for_each(|batch| batch.chain = [9; 32]);
        }
        world.sender.boundary_unknown(lane, end);
        let released = world.log[&lane].released();
        settle(&mut world);
        assert_eq!(released, Sequence::ZERO);
        assert_eq!(world.resealed, [(lane, Sequence::new(if another { 8 } else { 14 }))]);
    }
}

#[test]
fn damage_around_the_receivers_end_is_passed_when_nothing_whole_is_let_go_of() {
    let (mut world, lane, _) = asking_for_a_lost_batch();
    let end = Sequence::new(12);
    world.link_down();
    world.receiver.durable.get_mut(&lane).unwrap().truncate(6);
    world.receiver.restart();
    world.link_up();
    world.drive();
    world.deliver_up(0, false);
    world.deliver_up(0, false);
    while !world.down.is_empty() {
        world.deliver_down(0, false);
    }
    assert_eq!(world.sender.next(world.now_ms), Action::LookUp { lane, end });
    world.sender.boundary_unknown(lane, end);
    let hello = world.sender.next(world.now_ms);
    assert!(matches!(hello, Action::Hello(_)), "{hello:?}");
    let asked = world.sender.next(world.now_ms);
    assert_eq!(asked, Action::Ask { lane, after: Sequence::ZERO, until: end });
    let known = (Sequence::new(8), Check(4));
    let Some(Control::Ask(ends)) = world.sender.asked(world.now_ms, lane, &[known]) else { panic!("it asks") };
    world.sender.control(world.now_ms, &Control::Common(ends[0]));
    assert_eq!(world.sender.next(world.now_ms), Action::Ask { lane, after: known.0, until: end });
    assert_eq!(world.sender.asked(world.now_ms, lane, &[]), None);
    assert_eq!(world.sender.next(world.now_ms), Action::Release { lane, end });
    assert!(world.resealed.is_empty());
}

#[test]
fn a_reseal_is_carried_out_although_the_link_goes_down_at_once() {
    let (mut world, lane, end) = asking_for_a_lost_batch();
    world.sender.looked_up(world.now_ms, lane, end, None);
    let hello = world.sender.next(world.now_ms);
    assert!(matches!(hello, Action::Hello(_)), "{hello:?}");
    assert!(matches!(world.sender.next(world.now_ms), Action::Ask { .. }));
    assert_eq!(world.sender.asked(world.now_ms, lane, &[]), None);
    world.link_down();
    world.drive();
    assert_eq!(world.resealed, [(lane, Sequence::ZERO)]);
}

#[test]
fn a_question_that_is_due_again_waits_for_a_log_that_cannot_be_read() {
    let (mut world, lane, end) = asking_for_a_lost_batch();
    world.sender.looked_up(world.now_ms, lane, end, None);
    let hello = world.sender.next(world.now_ms);
    assert!(matches!(hello, Action::Hello(_)), "{hello:?}");
    let ask = world.sender.next(world.now_ms);
    assert!(matches!(ask, Action::Ask { .. }), "{ask:?}");
    assert!(world.sender.asked(world.now_ms, lane, &[(Sequence::new(8), Check(4))]).is_some());
    // Nobody answers.
    let Action::Wait { until_ms: Some(due_ms) } = world.sender.next(world.now_ms) else { panic!("it waits") };
    world.now_ms = due_ms;
    assert_eq!(world.sender.next(due_ms), ask, "the control: it is due");
    let readable_ms = due_ms + 5;
    world.sender.unread(lane.stream, readable_ms);
    assert_eq!(world.sender.next(due_ms), Action::Wait { until_ms: Some(readable_ms) });
    assert_eq!(world.sender.next(readable_ms), ask);
}
