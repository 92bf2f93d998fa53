//! Promise 6: the unified log is immutable. Any reader starts anywhere, as often as it likes, and gets the same bytes.

use afferent_collector::log::LogReader;
use afferent_protocol::ids::Offset;
use afferent_tests::pair::{Agent, Collector, breakdown, sample, talk};
use afferent_tests::rng::Rng;
use afferent_tests::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

/// Every batch from an offset on: its first offset, and its bytes.
fn read_from(reader: &LogReader<CheatingDisk>, from: u64) -> Vec<(u64, Vec<u8>)> {
    let (mut from, mut batches, mut scratch) = (Offset::new(from), Vec::new(), Vec::new());
    loop {
        let chunk = reader.read(from, 10_000, &mut scratch).unwrap();
        if chunk.is_empty() {
            return batches;
        }
        batches.extend(chunk.entries().map(|entry| (entry.head.ordinal, entry.batch.bytes().to_vec())));
        from = chunk.next();
    }
}

#[test]
fn every_reader_gets_the_same_bytes_from_any_offset_now_and_after_restarts() {
    let mut rng = Rng::new(6);
    let honest = |disk: &SimDisk| CheatingDisk::new(disk.clone(), DiskCheat::Honest);
    let agent_disk = SimDisk::new(rng.fork());
    let mut collector_disk = SimDisk::new(rng.fork());
    let mut agent = Agent::open(honest(&agent_disk), 8, &mut rng).unwrap();
    let mut known: Vec<(u64, Vec<u8>)> = Vec::new();
    for round in 0..8 {
        let mut collector = Collector::open(honest(&collector_disk), &mut rng).unwrap();
        agent.link_up();
        for number in 0..40 {
            assert!(agent.accept(&sample(&format!("{round}:{number}:{}", "x".repeat(rng.index(900))))));
            assert!(agent.accept(&breakdown(&format!("E{round}:{number}"))));
        }
        talk(&mut agent, &mut collector);
        agent.core.link_down();
        let reader = collector.core.log().reader();
        let all = read_from(&reader, 0);
        assert!(all.len() > known.len() && all.starts_with(&known), "round {round}: what was there has changed");
        for _ in 0..20 {
            let from = rng.below(reader.durable_end().get());
            let at = all.partition_point(|(first, _)| *first <= from) - 1;
            assert_eq!(read_from(&reader, from), all[at..], "round {round}, from {from}");
        }
        known = all;
        collector_disk = if rng.coin() { collector_disk.power_cut() } else { collector_disk.process_end() };
    }
}
