//! Promise 4: only the collector's durable ack trims the ring.

use afferent_protocol::batch::{Batch, split};
use afferent_protocol::ids::{Sequence, SequenceRange, SourceId};
use afferent_protocol::session::signed::{Nonce, Place};
use afferent_protocol::session::{Check, Control, Lane, Resume, Welcome};
use afferent_protocol::sign::Identity;
use afferent_tests::pair::{AGENT, Agent, Collector, breakdown, collector_identity, greet, talk};
use afferent_tests::rng::Rng;
use afferent_tests::said;
use afferent_tests::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

fn held(agent: &Agent) -> u64 {
    agent.core.ring().held().iter().map(|held| held.end.since(held.first)).sum()
}

fn pair(seed: u64) -> (Agent, Collector) {
    let mut rng = Rng::new(seed);
    let mut disk = || CheatingDisk::new(SimDisk::new(rng.fork()), DiskCheat::Honest);
    let (agent_disk, collector_disk) = (disk(), disk());
    let mut agent = Agent::open(agent_disk, 6, &mut rng).unwrap();
    for number in 0..10 {
        assert!(agent.accept(&breakdown(&format!("E{number}"))));
    }
    agent.link_up();
    (agent, Collector::open(collector_disk, &mut rng).unwrap())
}

#[test]
fn what_was_sent_and_not_acked_stays() {
    let (mut agent, mut collector) = pair(1);
    let messages = greet(&mut agent, &mut collector);
    assert!(!messages.is_empty());
    assert_eq!(held(&agent), 10, "sending alone let go of something");
    messages.iter().for_each(|message| drop(collector.take(message)));
    agent.messages();
    assert_eq!(held(&agent), 10, "the collector has taken them and not written them");
    collector.answers().iter().for_each(|answer| agent.hear(&answer.message));
    agent.messages();
    assert_eq!(held(&agent), 0, "after the ack nothing is held");
}

/// What a collector that has the last of these batches on disk acks.
fn ack_of(batch: &Batch<'_>) -> Resume {
    let lane = Lane { stream: batch.header().stream, epoch: batch.header().epoch };
    Resume { lane, end: batch.header().end(), check: Some(Check::of(&batch.chain_hash())) }
}

/// Everything that would do harm if it were believed: with the right check, which anybody can compute who has seen the
/// batch, and with a wrong one.
fn lies(right: Resume) -> Vec<Control> {
    let wrong = Resume { check: right.check.map(|check| Check(check.0 ^ 1)), ..right };
    let nothing = Resume { end: Sequence::ZERO, check: None, ..right };
    let range = SequenceRange { first: Sequence::ZERO, end: right.end };
    [right, wrong, nothing]
        .into_iter()
        .flat_map(|resume| {
            let lanes = || [resume].into_iter().collect();
            let welcome = |session| Control::Welcome(Welcome { session, lanes: lanes() });
            [Control::Ack(lanes()), Control::Common(resume), welcome(1), welcome(2), welcome(u32::MAX)]
        })
        .chain([Control::Nack { lane: right.lane, from: right.end }, Control::Again { lane: right.lane, range }])
        .collect()
}

#[test]
fn nothing_that_a_stranger_says_lets_go_of_anything() {
    let (mut agent, mut collector) = pair(2);
    let messages = greet(&mut agent, &mut collector);
    let batch = split(messages.last().unwrap()).last().unwrap().unwrap();
    let (name, nonce, place) = (SourceId::new(AGENT).unwrap(), agent.core.nonce(), collector.core.place());
    let (stranger, collectors) = (Identity::from_seed(&[66; 32]), collector_identity());
    for lie in lies(ack_of(&batch)) {
        // Unsigned; signed by somebody, over the nonce of this connection; signed by the collector, over another one, as
        // somebody who has recorded it may send it again; signed by the collector for another agent.
        let other = SourceId::new("press-89").unwrap();
        let forged = [
            lie.encode().to_vec(),
            said::down(&name, &stranger, nonce, place, lie.clone()),
            said::down(&name, &collectors, Nonce([77; 16]), place, lie.clone()),
            said::down(&other, &collectors, nonce, place, lie.clone()),
        ];
        for message in forged {
            agent.hear(&message);
            agent.messages();
            assert_eq!(held(&agent), 10, "{lie:?}");
        }
    }
    // The control: what the collector itself says over this connection.
    let ack = Control::Ack([ack_of(&batch)].into_iter().collect());
    agent.hear(&said::down(&name, &collectors, nonce, place, ack));
    agent.messages();
    assert_eq!(held(&agent), 0);
}

#[test]
fn a_contradiction_of_the_collector_itself_makes_the_agent_ask_and_not_let_go() {
    let (mut agent, mut collector) = pair(4);
    let messages = greet(&mut agent, &mut collector);
    let batch = split(messages.last().unwrap()).last().unwrap().unwrap();
    let (name, nonce, place) = (SourceId::new(AGENT).unwrap(), agent.core.nonce(), collector.core.place());
    let right = ack_of(&batch);
    let wrong = Resume { check: right.check.map(|check| Check(check.0 ^ 1)), ..right };
    agent.hear(&said::down(&name, &collector_identity(), nonce, place, Control::Ack([wrong].into_iter().collect())));
    let answers = agent.messages();
    assert!(
        answers.iter().any(|message| matches!(said::said(message), Some(Control::Hello(_)))),
        "it says hello again"
    );
    assert_eq!(held(&agent), 10);
    // The collector has nothing of it: all of it arrives, in the epoch that it is in.
    answers.iter().for_each(|message| drop(collector.take(message)));
    collector.answers().iter().for_each(|answer| agent.hear(&answer.message));
    talk(&mut agent, &mut collector);
    assert_eq!(held(&agent), 0);
    let view = collector.core.sources().view(&name).unwrap();
    assert_eq!(view.lanes.iter().map(|lane| (lane.epoch, lane.events)).collect::<Vec<_>>(), [(right.lane.epoch, 10)]);
}

#[test]
fn an_ack_out_of_another_term_or_another_log_lets_go_of_nothing() {
    let (mut agent, mut collector) = pair(5);
    let messages = greet(&mut agent, &mut collector);
    let batch = split(messages.last().unwrap()).last().unwrap().unwrap();
    let (name, nonce, here) = (SourceId::new(AGENT).unwrap(), agent.core.nonce(), collector.core.place());
    let ack = Control::Ack([ack_of(&batch)].into_iter().collect());
    let elsewhere = [Place { term: here.term ^ 1, ..here }, Place { log_id: [7; 16], ..here }];
    for place in elsewhere {
        agent.hear(&said::down(&name, &collector_identity(), nonce, place, ack.clone()));
        assert_eq!(held(&agent), 10, "{place:?}");
    }
    // The control: it asks whom it talks with, and the same collector, where it was, has all of it.
    agent.now_ms += 60_000;
    talk(&mut agent, &mut collector);
    assert_eq!(held(&agent), 0);
}

#[test]
fn a_lost_ack_costs_nothing() {
    let (mut agent, mut collector) = pair(3);
    let messages = greet(&mut agent, &mut collector);
    messages.iter().for_each(|message| drop(collector.take(message)));
    assert!(!collector.answers().is_empty(), "the ack that is lost");
    agent.core.link_down();
    agent.link_up();
    let before = collector.core.durable_end();
    talk(&mut agent, &mut collector);
    assert_eq!(held(&agent), 0);
    assert_eq!(collector.core.durable_end(), before, "nothing came twice");
}
