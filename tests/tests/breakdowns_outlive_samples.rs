//! Promise 3: breakdowns outlive samples. A full ring gives up samples first, and breakdowns are sent first.

use afferent_protocol::batch::split;
use afferent_protocol::ids::Stream;
use afferent_tests::oracle::{LogView, find_in_ring};
use afferent_tests::pair::{Agent, Collector, breakdown, greet, sample, talk};
use afferent_tests::rng::Rng;
use afferent_tests::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

fn honest(disk: &SimDisk) -> CheatingDisk {
    CheatingDisk::new(disk.clone(), DiskCheat::Honest)
}

#[test]
fn a_ring_full_of_samples_keeps_every_breakdown() {
    let mut rng = Rng::new(3);
    let (agent_disk, collector_disk) = (SimDisk::new(rng.fork()), SimDisk::new(rng.fork()));
    let mut agent = Agent::open(honest(&agent_disk), 8, &mut rng).unwrap();
    let text = "x".repeat(1000);
    for number in 0..2000 {
        assert!(agent.accept(&sample(&text)), "sample {number}");
        if number % 20 == 0 {
            assert!(agent.accept(&breakdown(&format!("E{number}"))), "breakdown {number}");
        }
    }
    assert!(agent.core.ring().status().counters.evicted_segments > 10, "the ring was never full");
    let files = agent_disk.durable_files();
    for number in (0..2000).step_by(20) {
        let code = format!("E{number}");
        let found = find_in_ring(&files, Stream::Critical, 1, |_, event| *event == breakdown(&code));
        assert!(found.is_some(), "breakdown {number} was given up while there were samples");
    }
    let mut collector = Collector::open(honest(&collector_disk), &mut rng).unwrap();
    agent.link_up();
    talk(&mut agent, &mut collector);
    let view = LogView::unified(&collector_disk.durable_files(), &Default::default()).unwrap();
    assert!(!view.losses.is_empty() && view.losses.iter().all(|(_, _, loss)| loss.stream == Stream::Samples));
}

#[test]
fn after_an_outage_breakdowns_go_first() {
    let mut rng = Rng::new(4);
    let (agent_disk, collector_disk) = (SimDisk::new(rng.fork()), SimDisk::new(rng.fork()));
    let mut agent = Agent::open(honest(&agent_disk), 8, &mut rng).unwrap();
    for _ in 0..50 {
        assert!(agent.accept(&sample("before")));
    }
    assert!(agent.accept(&breakdown("E42")));
    let mut collector = Collector::open(honest(&collector_disk), &mut rng).unwrap();
    agent.link_up();
    let messages = greet(&mut agent, &mut collector);
    let first = split(&messages[0]).next().unwrap().unwrap();
    assert_eq!(first.header().stream, Stream::Critical);
}
