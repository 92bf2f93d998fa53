//! How far a source had come: only its own statements count.

use afferent_protocol::event::{Loss, LossReason};

use super::*;
use crate::certificate::lanes::ReceivedBatch;
use crate::core::Notice;

/// A machine with thirty seconds of samples and no statement yet.
fn at_work() -> (World, Machine) {
    let (mut world, mut press) = (World::new(), Machine::new("press", 1));
    press.greet(&mut world);
    press.works(&mut world, 30);
    (world, press)
}

fn of(world: &mut World) -> Certificate {
    of_press(&world.end())
}

#[test]
fn only_the_agents_own_word_makes_a_certificate_complete_and_no_event_of_2031_does() {
    let in_2031 = clock(3600 * 24 * 365 * 8).wall;
    let (mut world, mut press) = at_work();
    let event = Event { time: in_2031, subject: Subject::new("88-C").unwrap(), body: breakdown("E1") };
    let batch = sealed(&mut press.critical, &clock(20), &event);
    world.give(&press.critical, &batch);
    let certificate = of(&mut world);
    assert_eq!((certificate.verdict, &*certificate.causes), (Verdict::Incomplete, &[Cause::Open][..]));
    assert!(says(&certificate.open, "press has never reported which events it has accepted"), "{:?}", certificate.open);
    // The same once the agent has sent a statement.
    press.beats(&mut world, 30);
    let certificate = of(&mut world);
    assert!(certificate.complete, "{}", text::text(&certificate));
    assert_eq!(certificate.sources[0].known_until, Some(clock(30).wall));
}

#[test]
fn a_statement_counts_up_to_the_collectors_clock_and_not_before_all_of_it_has_come() {
    let (mut world, mut press) = at_work();
    // Its clock is years ahead; the collector's clock has the time of arrival.
    press.beats(&mut world, 3600 * 24 * 365 * 8);
    let came = world.seconds;
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, came)).unwrap();
    assert_eq!((certificate.complete, certificate.sources[0].known_until), (true, Some(clock(came).wall)));
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, came + 1)).unwrap();
    assert!(!certificate.complete && says(&certificate.open, "nothing is known after"), "{certificate:?}");

    let (mut world, mut press) = at_work();
    let late = press.samples.samples(5);
    press.beats(&mut world, 40);
    let certificate = of(&mut world);
    assert!(says(
        &certificate.open,
        "samples 0000000000000001: sequences 30 up to 35 were accepted but have not arrived"
    ));
    assert_eq!(certificate.sources[0].awaited.len(), 1);
    assert_eq!(certificate.causes, [Cause::Open]);
    world.give(&press.samples, &late);
    assert!(of(&mut world).complete, "once it has come");
}

#[test]
fn what_no_statement_reaches_is_open_until_an_operator_retires_the_source_and_names_himself() {
    let (mut world, mut press) = at_work();
    press.beats(&mut world, 20);
    let certificate = of(&mut world);
    assert_eq!(certificate.causes, [Cause::Open]);
    assert!(says(&certificate.open, "press: nothing is known after"), "{:?}", certificate.open);
    world.core.retire(source("press"), "ada", "the press was sold", &clock(world.seconds)).unwrap();
    world.core.commit(&clock(world.seconds)).unwrap();
    let certificate = of(&mut world);
    assert!(certificate.complete, "{}", text::text(&certificate));
    let told = text::text(&certificate);
    assert!(told.contains("by ada (unverified): the press was sold"), "{told}");
    // It sends again: it was not the end.
    press.beats(&mut world, 25);
    assert_eq!(of(&mut world).causes, [Cause::Open]);
}

#[test]
fn no_operator_retires_the_collector_or_whom_nobody_knows() {
    let (mut world, _) = at_work();
    for name in ["collector", "nobody"] {
        assert!(world.core.retire(source(name), "ada", "why not", &clock(0)).is_err());
    }
}

#[test]
fn an_unknown_subject_and_an_empty_span_have_no_certificate() {
    let entries = history();
    let late = certified(&entries, About::Source(source("press")), seconds(50, 70)).unwrap();
    assert_eq!(late.causes, [Cause::Open]);
    let nobody = certified(&entries, About::Source(source("nobody")), span());
    assert_eq!(nobody, Err(CertificateError::Unknown("nobody".into())));
    let backwards = Span { from: span().until, until: span().from };
    assert_eq!(certified(&entries, About::Source(source("press")), backwards), Err(CertificateError::Span));
}

fn loss(first: u64, end: u64, reason: LossReason) -> Loss {
    let (first, end) = (Sequence::new(first), Sequence::new(end));
    Loss { stream: Stream::Samples, epoch: Epoch::new(1), first, end, reason, chain: [0; 32] }
}

#[test]
fn what_was_declared_lost_is_named_with_its_reason_and_what_was_not_is_missing() {
    let (mut world, mut press) = at_work();
    press.samples.samples(10);
    world.greet(&press.samples, 40);
    press.works(&mut world, 5);
    press.beats(&mut world, 45);
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, 44)).unwrap();
    let parts = [(0, 30, Fate::Present), (30, 40, Fate::Missing), (40, 45, Fate::Present)];
    assert_eq!((&*lane_of(&certificate, Stream::Samples), &*certificate.causes), (&parts[..], &[Cause::Missing][..]));

    press.says(&mut world, 46, Body::Loss(loss(32, 40, LossReason::Evicted)));
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, 44)).unwrap();
    let lost = Fate::Lost { reason: LossReason::Evicted, declared: clock(46).wall };
    let parts = [(0, 30, Fate::Present), (30, 32, Fate::Missing), (32, 40, lost), (40, 45, Fate::Present)];
    assert_eq!(lane_of(&certificate, Stream::Samples), parts);
    assert_eq!(certificate.causes, [Cause::Missing, Cause::DeclaredLoss]);
    assert!(text::text(&certificate).contains("sequences 32 up to 40: LOST (evicted)"));
}

#[test]
fn a_loss_behind_the_last_batch_of_an_epoch_is_a_hole() {
    let whole = {
        let (mut world, mut press) = at_work();
        press.beats(&mut world, 45);
        of(&mut world)
    };
    assert!(whole.complete, "the control");
    let (mut world, mut press) = at_work();
    // Ten seconds were accepted and are gone from the ring; it continues in a new epoch.
    press.says(&mut world, 40, Body::Loss(loss(30, 500, LossReason::Vanished)));
    press.samples.next = 500;
    press.beats(&mut world, 45);
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, 35)).unwrap();
    assert_eq!(certificate.causes, [Cause::DeclaredLoss], "{}", text::text(&certificate));
    let lost = Fate::Lost { reason: LossReason::Vanished, declared: clock(40).wall };
    assert!(lane_of(&certificate, Stream::Samples).contains(&(30, 500, lost)));
}

#[test]
fn a_statement_of_where_the_disk_ends_hides_nothing_that_was_lost_behind_it() {
    let (mut world, mut press) = at_work();
    // Events behind sequence 30 are gone from the disk: the lane ends there now.
    press.says(&mut world, 40, Body::Loss(loss(30, 500, LossReason::Vanished)));
    press.beats(&mut world, 45);
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, 42)).unwrap();
    assert_eq!(certificate.causes, [Cause::DeclaredLoss], "{}", text::text(&certificate));

    // The control: events accepted and lost behind the bounding statement do not count.
    let (mut world, mut press) = at_work();
    press.beats(&mut world, 35);
    press.says(&mut world, 40, Body::Loss(loss(30, 500, LossReason::Vanished)));
    press.beats(&mut world, 45);
    let certificate = certified(&world.end(), About::Source(source("press")), seconds(0, 35)).unwrap();
    assert!(certificate.complete, "{}", text::text(&certificate));
}

#[test]
fn where_more_may_be_gone_than_was_named_the_time_since_the_last_statement_is_open() {
    let (mut world, mut press) = at_work();
    press.beats(&mut world, 30);
    press.says(&mut world, 50, Body::Loss(loss(30, 32, LossReason::VanishedAtLeast)));
    press.beats(&mut world, 60);
    let at = |from, until| {
        move |entries: &[ForgedEntry]| certified(entries, About::Source(source("press")), seconds(from, until)).unwrap()
    };
    let entries = world.end();
    assert!(at(0, 30)(&entries).complete, "{}", text::text(&at(0, 30)(&entries)));
    let certificate = at(40, 45)(&entries);
    assert!(says(&certificate.open, "may have lost more than sequences 30 up to 32"), "{certificate:?}");
}

#[test]
fn the_time_of_a_ring_that_was_replaced_is_open_and_no_other() {
    let (mut world, mut press) = at_work();
    press.beats(&mut world, 30);
    // The disk was swapped; the new ring declares it.
    let mut second = Machine::new("press", 7);
    second.greet(&mut world);
    second.says(&mut world, 50, Body::LifeCycle(LifeCycle::RingReplaced { message: "an empty folder" }));
    second.beats(&mut world, 60);
    let entries = world.end();
    let at = |from, until| certified(&entries, About::Source(source("press")), seconds(from, until)).unwrap();
    assert!(at(0, 30).complete, "{}", text::text(&at(0, 30)));
    assert!(at(51, 60).complete, "{}", text::text(&at(51, 60)));
    assert!(says(&at(35, 40).open, "its ring log was lost or replaced (an empty folder)"));
    assert_eq!(at(0, 60).causes, [Cause::Open]);
}

#[test]
fn events_that_an_agent_holds_at_its_hello_are_open() {
    let (mut world, mut press) = at_work();
    press.beats(&mut world, 30);
    let certificate = of(&mut world);
    let views = world.core.sources().views();
    assert!(certificate.clone().with_rings(&views).complete);
    press.samples.samples(70);
    world.greet(&press.samples, 0);
    let certificate = certificate.with_rings(&world.core.sources().views());
    assert_eq!((certificate.verdict, certificate.in_ring.len()), (Verdict::Incomplete, 1));
    assert_eq!((certificate.in_ring[0].first.get(), certificate.in_ring[0].end.get()), (30, 100));
}

#[test]
fn names_that_a_machine_had_before_belong_to_it_and_one_that_is_silent_leaves_it_open() {
    let (mut world, press) = at_work();
    let mut renamed = Machine::new("press-new", 5);
    renamed.samples.identity = press.samples.identity.clone();
    renamed.critical.identity = press.samples.identity.clone();
    renamed.greet(&mut world);
    let at_first =
        |world: &mut World, name: &str| certified(&world.end(), About::Source(source(name)), span()).unwrap();
    renamed.beats(&mut world, 40);
    assert!(at_first(&mut world, "press-new").complete, "nobody has said yet that it had another name");
    world.say(Notice::Alias { source: source("press-new"), former: source("press") });
    for certificate in [at_first(&mut world, "press-new"), at_first(&mut world, "press"), of_machine(&world.end())] {
        assert_eq!(certificate.sources.len(), 2, "{}", text::text(&certificate));
        assert!(says(&certificate.open, "press has never reported"), "{:?}", certificate.open);
    }
    world.core.retire(source("press"), "ada", "it is press-new now", &clock(world.seconds)).unwrap();
    world.core.commit(&clock(world.seconds)).unwrap();
    assert!(at_first(&mut world, "press-new").complete && of_machine(&world.end()).complete);
}

#[test]
fn more_holes_than_are_remembered_are_never_complete() {
    let mut lane = lanes::LaneEvidence::default();
    let header = |first: u64| {
        let mut agent = Agent::new("press", Stream::Samples, 1);
        agent.next = first;
        *Batch::parse(&agent.samples(1)).unwrap().0.header()
    };
    for nth in 0..2 * crate::limits::RANGES_MAX as u64 {
        let header = header(2 * nth + 1);
        let head = afferent_protocol::segment::EntryHead::new(&header, nth, 0, clock(0).wall);
        lane.batch(&ReceivedBatch::of(&head, &header, &[0; 32]), &span(), false);
    }
    assert!(lane.is_too_much());
}
