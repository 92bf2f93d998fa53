//! Promise 4: only the collector's durable ack trims the ring.

use afferent_protocol::batch::split;
use afferent_protocol::session::{Check, Control, Lane, Resume};
use afferent_tests::pair::{Agent, Collector, breakdown, talk};
use afferent_tests::rng::Rng;
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

/// Goes as far as the agent having sent everything and the collector having written nothing of it.
fn sent(agent: &mut Agent, collector: &mut Collector) -> Vec<Vec<u8>> {
    agent.messages().iter().for_each(|hello| drop(collector.take(hello)));
    collector.answers().iter().for_each(|control| agent.hear(control));
    agent.messages()
}

#[test]
fn what_was_sent_and_not_acked_stays() {
    let (mut agent, mut collector) = pair(1);
    let messages = sent(&mut agent, &mut collector);
    assert!(!messages.is_empty());
    assert_eq!(held(&agent), 10, "sending alone let go of something");
    messages.iter().for_each(|message| drop(collector.take(message)));
    agent.messages();
    assert_eq!(held(&agent), 10, "the collector has taken them and not written them");
    collector.answers().iter().for_each(|control| agent.hear(control));
    agent.messages();
    assert_eq!(held(&agent), 0, "after the ack nothing is held");
}

#[test]
fn an_ack_of_something_else_lets_go_of_nothing_undeclared() {
    let (mut agent, mut collector) = pair(2);
    let messages = sent(&mut agent, &mut collector);
    let batch = split(&messages[0]).next().unwrap().unwrap();
    let lane = Lane { stream: batch.header().stream, epoch: batch.header().epoch };
    let check = Some(Check(Check::of(&batch.chain_hash()).0 ^ 1));
    agent.hear(&Control::Ack(Resume { lane, end: batch.header().end(), check }));
    agent.messages();
    assert_eq!(agent.core.diverged(), 1);
    assert_eq!(agent.core.ring().status().counters.refused_events, 10, "what the lane held is declared as refused");
}

#[test]
fn a_lost_ack_costs_nothing() {
    let (mut agent, mut collector) = pair(3);
    let messages = sent(&mut agent, &mut collector);
    messages.iter().for_each(|message| drop(collector.take(message)));
    assert!(!collector.answers().is_empty(), "the ack that is lost");
    agent.core.link_down();
    agent.link_up();
    let before = collector.core.durable_end();
    talk(&mut agent, &mut collector);
    assert_eq!(held(&agent), 0);
    assert_eq!(collector.core.durable_end(), before, "nothing came twice");
}
