use std::collections::BTreeMap;
use std::ops::ControlFlow;

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::batch::{Batch, ClockReading};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Body, LifeCycle, Loss, LossReason};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::limits::MESSAGE_PAYLOAD_BYTES_MAX;
use afferent_protocol::segment::{ENTRY_HEAD_LEN, EntryHead, SEGMENT_HEADER_LEN};
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::Nonce;
use proptest::prelude::*;

use super::{Answer, Confirm, Core, OwnIdentity, Reason, Received};
use crate::log::memory_engine::MemoryEngine;
use crate::log::records::Decoder;
use crate::log::{EmbeddedLog, LogSettings};
use crate::simulated::{Agent, clock, greet, identity, source};
use crate::sources::{LaneView, SourceView, SourceViews, Sources};

mod clocks;
mod crowd;
mod engines;
mod guests;
mod ordeal;
mod unknown;

use engines::{TestEngine, TestLog, on_every_engine};

type TestCore = Core<EmbeddedLog<SimDisk>>;

const SETTINGS: LogSettings = LogSettings { segment_bytes: 16 * 1024 };

fn start_at<E: TestEngine>(disk: &E, now: &ClockReading) -> Core<E::Log> {
    let own = OwnIdentity {
        source: source("collector"),
        identity: identity(99),
        epoch: Epoch::new(5),
        challenge: [3; 32],
        endorsements: Vec::new(),
    };
    let mut sources = Sources::of_partition(own.source, E::PARTITION);
    let (log, recovery) = disk.open(&mut sources, now);
    let mut core = Core::new(log, sources, own, &recovery, now);
    core.begin(now).unwrap();
    core
}

fn start<E: TestEngine>(disk: &E) -> Core<E::Log> {
    start_at(disk, &clock(0))
}

/// A core that knows the agent.
fn greeted<E: TestEngine>(disk: &E, agent: &Agent) -> Core<E::Log> {
    let mut core = start(disk);
    greet(&mut core, agent, 0, &clock(0)).unwrap();
    core
}

fn give<L: TestLog>(core: &mut Core<L>, agent: &Agent, payload: &[u8]) -> Received {
    core.receive(agent.name, payload, None, &clock(1))
}

fn refused(received: &Received) -> Option<Reason> {
    received.refusal.as_ref().map(|refusal| refusal.reason)
}

/// All batches of the log, as (source, stream, epoch, first sequence) and end.
fn logged<L: TestLog>(core: &Core<L>) -> Vec<(SourceId, Stream, u64, u64, u64)> {
    let mut found = Vec::new();
    each(core, &mut |_, batch| {
        let header = batch.header();
        found.push((header.source, header.stream, header.epoch.get(), header.first.get(), header.end().get()));
    });
    found
}

/// Passes each durable entry of the log to `take`.
fn each<L: TestLog>(core: &Core<L>, take: &mut dyn FnMut(&EntryHead, &Batch<'_>)) {
    let log = core.log().readable();
    let read = log.read(log.kept().start, &mut Vec::new(), &mut |head, batch| {
        take(head, batch);
        ControlFlow::Continue(())
    });
    read.unwrap();
}

/// All life cycle events of the collector, as text.
fn own_events<L: TestLog>(core: &Core<L>) -> Vec<String> {
    let mut found = Vec::new();
    each(core, &mut |_, batch| {
        if batch.header().source != source("collector") {
            return;
        }
        for record in Decoder::default().open(batch) {
            let Body::LifeCycle(event) = record.unwrap().event.body else { panic!("only life cycle events") };
            found.push(match event {
                LifeCycle::TermBegun { .. } | LifeCycle::Attested { .. } => continue,
                LifeCycle::KeyPinned { source, .. } => format!("pinned {source}"),
                LifeCycle::Refused { source, .. } => format!("refused {source}"),
                LifeCycle::Gap { source, stream, first, end, .. } => format!("gap {source} {stream} {first}..{end}"),
                LifeCycle::DiskTrouble { .. } => "disk".to_owned(),
                other => format!("{other:?}"),
            });
        }
    });
    found
}

fn view<L: TestLog>(core: &Core<L>, name: &str) -> SourceView {
    core.sources().view(&source(name)).unwrap()
}

/// Publishes what has changed; returns whether readers see all sources in that state.
fn shows_all<L: TestLog>(shown: &SourceViews, core: &mut Core<L>) -> bool {
    shown.publish(core.take_changed());
    shown.all().iter().map(|view| SourceView::clone(view)).collect::<Vec<_>>() == core.sources().views()
}

/// The lanes as the log shows them, without the sources' statements about their ring logs.
fn logged_lanes(view: &SourceView) -> Vec<LaneView> {
    let lanes = view.lanes.iter().map(|lane| LaneView { in_ring: None, ..lane.clone() });
    lanes.filter(|lane| lane.batches > 0 || lane.lost_events > 0 || !lane.gaps.is_empty()).collect()
}

fn acked_end(answers: &[Answer]) -> Option<u64> {
    answers.iter().find_map(|answer| match &answer.control {
        Control::Ack(lanes) => Some(lanes[0].end.get()),
        _ => None,
    })
}

fn welcomed_end(answers: &[Answer]) -> Option<u64> {
    answers.iter().find_map(|answer| match &answer.control {
        Control::Welcome(welcome) => Some(welcome.lanes[0].end.get()),
        _ => None,
    })
}

fn a_batch_is_acked_after_the_commit_and_not_before<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &agent);
    let batch = agent.samples(3);
    let received = give(&mut core, &agent, &batch);
    assert_eq!((received.confirm, received.accepted), (Confirm::AfterCommit, 1));
    assert!(core.is_pending());
    assert_eq!(acked_end(&core.commit(&clock(1)).unwrap()), Some(3));
    assert!(!core.is_pending());
    assert_eq!(
        start(&disk.after_power_cut()).sources().view(&agent.name).unwrap().lanes[0].durable_end,
        Sequence::new(3)
    );
    let again = give(&mut core, &agent, &batch);
    assert_eq!((again.confirm, again.duplicates), (Confirm::Now, 1));
    assert_eq!(acked_end(&core.commit(&clock(1)).unwrap()), Some(3), "a lost ack is given again");
}

fn what_a_ring_log_still_holds_is_known_from_its_hello_until_it_has_come<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &agent);
    let (first, second) = (agent.samples(3), agent.samples(4));
    core.receive(agent.name, &agent.hello(0), None, &clock(1));
    core.commit(&clock(1)).unwrap();
    assert_eq!(view(&core, "press").lanes.first().and_then(|lane| lane.in_ring), None, "a claim moves nothing");
    greet(&mut core, &agent, 0, &clock(1)).unwrap();
    let in_ring = |core: &Core<E::Log>| {
        let view = view(core, "press");
        view.lanes.first().and_then(|lane| lane.in_ring).map(|range| (range.first.get(), range.end.get()))
    };
    assert_eq!(in_ring(&core), Some((0, 7)));
    give(&mut core, &agent, &first);
    assert_eq!(in_ring(&core), Some((3, 7)));
    give(&mut core, &agent, &second);
    assert_eq!(in_ring(&core), None);
}

fn a_failed_commit_acks_nothing_and_the_batch_is_taken_again<E: TestEngine>() {
    for failing in 0..2 {
        let disk = E::empty(1);
        let mut agent = Agent::new("press", Stream::Critical, 1);
        let mut core = greeted(&disk, &agent);
        let lane = agent.lane;
        let (first, end, chain) = (Sequence::new(5), Sequence::new(7), [0; 32]);
        let loss = Loss { stream: Stream::Samples, epoch: lane.epoch, first, end, reason: LossReason::Evicted, chain };
        let batch = agent.loss(loss);
        let before = core.sources().view(&agent.name).unwrap().lanes;
        assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
        disk.fails_in(Some(failing));
        assert!(core.commit(&clock(1)).is_err());
        assert_eq!(core.sources().view(&agent.name).unwrap().lanes, before, "rolled back");
        disk.fails_in(None);
        assert_eq!(acked_end(&core.commit(&clock(1)).unwrap()), None);
        assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
        assert_eq!(acked_end(&core.commit(&clock(1)).unwrap()), Some(1));
        assert!(own_events(&core).contains(&"disk".to_owned()));
        let core = start(&disk.after_power_cut());
        assert_eq!(logged(&core).iter().filter(|batch| batch.0 == agent.name).count(), 1);
        assert_eq!(view(&core, "press").lanes[1].lost_events, 2);
    }
}

fn a_key_is_pinned_in_the_log_before_the_first_batch_and_another_one_is_refused<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = start(&disk);
    let batch = agent.samples(1);
    assert_eq!(refused(&give(&mut core, &agent, &batch)), Some(Reason::NoHello));
    give(&mut core, &agent, &agent.hello(0));
    assert_eq!(refused(&give(&mut core, &agent, &batch)), Some(Reason::NoHello), "a claim pins nothing");
    let answers = core.commit(&clock(1)).unwrap();
    let nack = Control::Nack { lane: agent.lane, from: Sequence::new(u64::MAX) };
    assert!(answers.iter().any(|answer| answer.control == nack), "it is asked to say hello");
    assert_eq!(own_events(&core), ["pinned collector"]);
    assert_eq!(welcomed_end(&greet(&mut core, &agent, 0, &clock(1)).unwrap()), Some(0));
    assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
    core.commit(&clock(1)).unwrap();
    assert_eq!(own_events(&core), ["pinned collector", "pinned press"]);
    assert_eq!(logged(&core).last().unwrap().0, agent.name, "the pin comes before the batch");

    let mut core = start(&disk.after_power_cut());
    let mut thief = Agent::new("press", Stream::Samples, 9);
    thief.identity = identity(200);
    assert_eq!(refused(&give(&mut core, &thief, &thief.hello(0))), Some(Reason::OtherKey));
    let mut forged = agent.hello(10);
    forged[10] ^= 1;
    let crc = crc32c(&forged[8..]).to_le_bytes();
    forged[4..8].copy_from_slice(&crc);
    assert_eq!(refused(&give(&mut core, &thief, &forged)), Some(Reason::Signature), "it would move the lane");
    let stolen = thief.samples(1);
    for _ in 0..50 {
        assert_eq!(refused(&give(&mut core, &thief, &stolen)), Some(Reason::Signature));
    }
    assert_eq!(refused(&core.receive(source("lathe"), &batch, None, &clock(1))), Some(Reason::OtherSource));
    core.commit(&clock(1)).unwrap();
    let refusals = |core: &Core<E::Log>| own_events(core).iter().filter(|event| event.starts_with("refused")).count();
    assert_eq!(refusals(&core), 3, "one of each kind, however often");
    core.receive(agent.name, &stolen, None, &clock(62));
    core.commit(&clock(62)).unwrap();
    assert_eq!(refusals(&core), 4, "again after a minute");
    assert_eq!(view(&core, "press").refused, [("other-key", 1), ("signature", 52)]);
    assert!(disk.after_power_cut().is_sound());
}

fn a_different_batch_with_known_sequences_is_a_conflict<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &agent);
    let mut copy = Agent::new("press", Stream::Samples, 1);
    let batch = agent.samples(2);
    give(&mut core, &agent, &batch);
    core.commit(&clock(1)).unwrap();
    let other = copy.samples(3);
    assert_eq!(refused(&give(&mut core, &copy, &other)), Some(Reason::Conflict), "another range");
    let mut copy = Agent::new("press", Stream::Samples, 1);
    let other = copy.event(Body::Derived(afferent_protocol::event::Derived { kind: "x", json: "{}" }));
    let follower = copy.samples(1);
    assert_eq!(give(&mut core, &copy, &other).duplicates, 1, "a shorter one inside is not looked at again");
    assert_eq!(refused(&give(&mut core, &copy, &follower)), Some(Reason::Conflict), "same end, other content");
    let answers = core.commit(&clock(1)).unwrap();
    assert!(answers.iter().any(|answer| matches!(answer.control, Control::Nack { .. })), "it is asked to say hello");
    // The chain of a different history.
    let mut copy = Agent::new("press", Stream::Samples, 1);
    let _ = copy.samples(1);
    let _ = copy.samples(1);
    let next = copy.samples(1);
    assert_eq!(refused(&give(&mut core, &copy, &next)), Some(Reason::Conflict), "another chain");
    assert_eq!(view(&core, "press").lanes[0].end, Sequence::new(2));
}

fn a_hole_is_told_once_and_filled_from_behind_it_also_after_a_restart<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &agent);
    let _evicted = agent.samples(10);
    let batch = agent.samples(2);
    assert_eq!(give(&mut core, &agent, &batch).early, 1);
    let answers = core.commit(&clock(1)).unwrap();
    let nack = Control::Nack { lane: agent.lane, from: Sequence::ZERO };
    assert!(answers.iter().any(|answer| answer.control == nack));
    give(&mut core, &agent, &agent.hello(10));
    core.commit(&clock(1)).unwrap();
    assert_eq!(give(&mut core, &agent, &batch).early, 1, "a claim lets no lane go on");
    for _ in 0..2 {
        let answers = greet(&mut core, &agent, 10, &clock(1)).unwrap();
        assert_eq!(welcomed_end(&answers), Some(0), "what is not there is not said to be");
    }
    assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
    core.commit(&clock(1)).unwrap();
    core.commit(&clock(1)).unwrap();
    let expected = ["pinned collector", "pinned press", "gap press samples 0..10"];
    assert_eq!(own_events(&core), expected);
    let before = core.sources().views();
    let mut core = start(&disk.after_power_cut());
    assert_eq!(logged_lanes(&view(&core, "press")), logged_lanes(&before[1]), "rebuilt from the log");
    let mut critical = Agent::new("press", Stream::Critical, 1);
    let (first, end, chain) = (Sequence::ZERO, Sequence::new(10), [0; 32]);
    let epoch = agent.lane.epoch;
    let loss = critical.loss(Loss { stream: Stream::Samples, epoch, first, end, reason: LossReason::Evicted, chain });
    assert_eq!(view(&core, "press").lanes[0].gaps.len(), 1);
    assert_eq!(give(&mut core, &critical, &loss).accepted, 1);
    core.commit(&clock(1)).unwrap();
    let lane = view(&core, "press").lanes.into_iter().find(|lane| lane.stream == Stream::Samples).unwrap();
    assert!(lane.gaps.is_empty() && lane.lost_events == 10 && lane.losses[0].reason == LossReason::Evicted);
    assert_eq!(own_events(&start(&disk.after_power_cut())), expected);
}

fn losses_of_a_device_are_in_no_lane_of_its_agent<E: TestEngine>() {
    let lanes = |of_agent: bool| {
        let disk = E::empty(1);
        let mut critical = Agent::new("press", Stream::Critical, 1);
        let mut core = greeted(&disk, &critical);
        let (first, end, epoch) = (Sequence::ZERO, Sequence::new(10), Epoch::new(2));
        let loss = Loss { stream: Stream::Samples, epoch, first, end, reason: LossReason::DeviceFull, chain: [0; 32] };
        // The agent's other events have a different subject than its name.
        let loss = if of_agent { critical.loss(loss) } else { critical.event(Body::Loss(loss)) };
        assert_eq!(give(&mut core, &critical, &loss).accepted, 1);
        core.commit(&clock(1)).unwrap();
        view(&core, "press").lanes.len()
    };
    assert_eq!((lanes(false), lanes(true)), (1, 2), "the agent's own loss is in a lane of its own");
}

fn a_hole_that_was_declared_before_is_no_gap<E: TestEngine>() {
    let disk = E::empty(1);
    let mut critical = Agent::new("press", Stream::Critical, 1);
    let mut core = greeted(&disk, &critical);
    let (first, end, chain, epoch) = (Sequence::ZERO, Sequence::new(10), [0; 32], Epoch::new(2));
    let loss = critical.loss(Loss { stream: Stream::Samples, epoch, first, end, reason: LossReason::Evicted, chain });
    give(&mut core, &critical, &loss);
    let mut samples = Agent::new("press", Stream::Samples, 2);
    greet(&mut core, &samples, 10, &clock(1)).unwrap();
    let _ = samples.samples(10);
    let batch = samples.samples(1);
    assert_eq!(give(&mut core, &samples, &batch).accepted, 1);
    core.commit(&clock(1)).unwrap();
    core.commit(&clock(1)).unwrap();
    assert_eq!(own_events(&core), ["pinned collector", "pinned press"]);
}

#[test]
fn sequences_that_the_disk_lost_are_reported_at_the_next_start() {
    let disk = SimDisk::of_seed(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &agent);
    for _ in 0..80 {
        let batch = agent.samples(3);
        give(&mut core, &agent, &batch);
        core.commit(&clock(1)).unwrap();
    }
    disk.change(&disk.names()[1], SEGMENT_HEADER_LEN + ENTRY_HEAD_LEN + 300, |byte| byte ^ 1);
    drop(core);
    let mut core = start(&disk);
    core.commit(&clock(2)).unwrap();
    let events = own_events(&core);
    assert!(events.contains(&"disk".to_owned()), "{events:?}");
    assert_eq!(events.iter().filter(|event| event.starts_with("gap press samples")).count(), 1, "{events:?}");
    assert_eq!(view(&core, "press").lanes[0].end, Sequence::new(240));
}

fn bad_input_is_refused_with_a_reason_and_the_rest_goes_on<E: TestEngine>() {
    let disk = E::empty(1);
    let mut agent = Agent::new("press", Stream::Critical, 1);
    let mut core = greeted(&disk, &agent);
    assert_eq!(refused(&give(&mut core, &agent, &[])), Some(Reason::Malformed));
    assert_eq!(refused(&give(&mut core, &agent, b"garbage")), Some(Reason::Malformed));
    assert_eq!(refused(&give(&mut core, &agent, b"AFS1garbage")), Some(Reason::Malformed));
    let huge = vec![0; MESSAGE_PAYLOAD_BYTES_MAX + 1];
    assert_eq!(refused(&give(&mut core, &agent, &huge)), Some(Reason::Oversized));
    let nack = agent.up(Nonce::NONE, Control::Nack { lane: agent.lane, from: Sequence::ZERO });
    assert_eq!(refused(&give(&mut core, &agent, &nack)), Some(Reason::Malformed));
    let bare = Control::Nack { lane: agent.lane, from: Sequence::ZERO }.encode();
    assert_eq!(refused(&give(&mut core, &agent, &bare)), Some(Reason::Malformed), "nothing unsigned is heard");
    let own = Agent::new("collector", Stream::Critical, 1);
    assert_eq!(refused(&give(&mut core, &own, &own.hello(0))), Some(Reason::OwnName));

    // Signed by the agent, and lying about its count: 60000 records in a few bytes; then 2 where there is 1.
    for (count, codec, reason) in [(60_000, 1, Reason::Malformed), (2, 1, Reason::Malformed), (1, 77, Reason::Newer)] {
        let lie = agent.lie(count, codec);
        assert_eq!(refused(&give(&mut core, &agent, &lie)), Some(reason), "count {count}, codec {codec}");
    }
    // A batch that retention has emptied is as well signed as the full one, and must not be sent.
    let mut samples = Agent::new("press", Stream::Samples, 2);
    let batch = samples.samples(3);
    let emptied = crate::simulated::parse(&batch).emptied();
    let received = give(&mut core, &samples, &emptied);
    assert_eq!(refused(&received), Some(Reason::Malformed));
    assert!(received.refusal.unwrap().message.contains("has no records"));
    assert_eq!(give(&mut core, &samples, &batch).accepted, 1, "the batch itself is taken");
    let mut message = b"AFB1".to_vec();
    message.extend([0xFF; 400]);
    assert_eq!(refused(&give(&mut core, &agent, &message)), Some(Reason::Newer));
    let good = agent.event(Body::Derived(afferent_protocol::event::Derived { kind: "x", json: "{}" }));
    assert_eq!(give(&mut core, &agent, &good).accepted, 1);
    core.commit(&clock(1)).unwrap();
    assert_eq!(logged(&core).last().unwrap().4, 1);
}

fn the_own_events_go_on_in_their_epoch_and_are_proved_by_the_log<E: TestEngine>() {
    let disk = E::empty(1);
    for round in 0..4 {
        let mut core = start(&disk);
        let agent = Agent::new(&format!("press-{round}"), Stream::Samples, 1);
        greet(&mut core, &agent, 0, &clock(1)).unwrap();
    }
    let core = start(&disk);
    let lanes = view(&core, "collector").lanes;
    // The collector's key, a term for each start, and a key for each agent.
    assert_eq!((lanes.len(), lanes[0].end), (1, Sequence::new(1 + 5 + 4)));
    assert!(disk.is_sound());
}

fn an_aborted_commit_gives_its_offsets_back<E: TestEngine>() {
    let engine = E::empty(1);
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&engine, &agent);
    let (before, batch) = (core.durable_end(), agent.samples(3));
    assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
    engine.fails_in(Some(0));
    let error = core.commit(&clock(1)).unwrap_err();
    assert!(!error.is_unknown() && !core.is_lost(), "{error}");
    engine.fails_in(None);
    assert_eq!((core.durable_end(), core.buffered_bytes()), (before, 0));
    assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
    core.commit(&clock(1)).unwrap();
    let mut end = 0;
    each(&core, &mut |head, _| {
        assert_eq!(head.ordinal, end, "offsets are dense");
        end = head.end_ordinal();
    });
    assert_eq!(core.durable_end().get(), end);
}

on_every_engine! {
    a_batch_is_acked_after_the_commit_and_not_before,
    what_a_ring_log_still_holds_is_known_from_its_hello_until_it_has_come,
    a_failed_commit_acks_nothing_and_the_batch_is_taken_again,
    a_key_is_pinned_in_the_log_before_the_first_batch_and_another_one_is_refused,
    a_different_batch_with_known_sequences_is_a_conflict,
    a_hole_is_told_once_and_filled_from_behind_it_also_after_a_restart,
    losses_of_a_device_are_in_no_lane_of_its_agent,
    a_hole_that_was_declared_before_is_no_gap,
    bad_input_is_refused_with_a_reason_and_the_rest_goes_on,
    the_own_events_go_on_in_their_epoch_and_are_proved_by_the_log,
    an_aborted_commit_gives_its_offsets_back,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_payload_makes_admission_panic(
        mut payload in prop::collection::vec(any::<u8>(), 0..600),
        kind in 0..4_u8,
        flips in prop::collection::vec(any::<(u16, u8)>(), 0..4),
    ) {
        let disk = SimDisk::of_seed(1);
        let mut agent = Agent::new("press", Stream::Critical, 1);
        let mut core = greeted(&disk, &agent);
        match kind {
            0 => {}
            1 => payload = agent.hello(3),
            2 => payload = agent.samples(3),
            _ => payload.splice(..0, *b"AFS1").for_each(drop),
        }
        for (at, with) in flips {
            if !payload.is_empty() {
                let at = at as usize % payload.len();
                payload[at] ^= with;
            }
        }
        give(&mut core, &agent, &payload);
        core.commit(&clock(2)).unwrap();
    }
}
