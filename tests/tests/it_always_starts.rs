//! Promise 5: it always starts. Whatever is done to the files, agent and collector start, and take the next event.

use afferent_tests::pair::{Agent, Collector, breakdown, sample, talk};
use afferent_tests::rng::Rng;
use afferent_tests::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

type Files = Vec<(String, Vec<u8>)>;

/// The files of an agent that holds something, and of a collector that has something.
fn used() -> (Files, Files) {
    let mut rng = Rng::new(5);
    let (agent_disk, collector_disk) = (SimDisk::new(rng.fork()), SimDisk::new(rng.fork()));
    let honest = |disk: &SimDisk| CheatingDisk::new(disk.clone(), DiskCheat::Honest);
    let mut agent = Agent::open(honest(&agent_disk), 6, &mut rng).unwrap();
    let mut collector = Collector::open(honest(&collector_disk), &mut rng).unwrap();
    for number in 0..400 {
        assert!(agent.accept(&sample(&format!("{number}:{}", "x".repeat(rng.index(700))))));
        assert!(agent.accept(&breakdown(&format!("E{number}"))));
        if number == 300 {
            agent.link_up();
            talk(&mut agent, &mut collector);
            agent.core.link_down();
        }
    }
    (agent_disk.durable_files(), collector_disk.durable_files())
}

/// Does something to a file that disks, people and copies do.
fn damage(files: &mut Files, rng: &mut Rng) {
    let at = rng.index(files.len());
    let bytes = &mut files[at].1;
    let place = rng.index(bytes.len().max(1));
    match rng.below(6) {
        0 => bytes.truncate(place),
        1 if !bytes.is_empty() => bytes[place] ^= 1 << rng.below(8),
        2 => bytes[place..].fill(0),
        3 => {
            let end = (place + 512 * (1 + rng.index(64))).min(bytes.len());
            bytes[place..end].fill_with(|| rng.number() as u8);
        }
        4 => {
            let other = rng.index(files.len());
            files[at].1 = files[other].1.clone();
        }
        _ => drop(files.remove(at)),
    }
}

#[test]
fn an_agent_starts_on_any_files_and_accepts() {
    let (files, _) = used();
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut files = files.clone();
        for _ in 0..=rng.below(4) {
            if !files.is_empty() {
                damage(&mut files, &mut rng);
            }
        }
        let disk = SimDisk::of_files(&files, rng.fork());
        let opened = Agent::open(CheatingDisk::new(disk, DiskCheat::Honest), 6, &mut rng);
        let mut agent = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(agent.accept(&breakdown("after")), "seed {seed}: the next breakdown is not accepted");
        assert!(agent.accept(&sample("after")), "seed {seed}: the next sample is not accepted");
    }
}

#[test]
fn a_collector_starts_on_any_files_and_takes_the_next_events() {
    let (_, files) = used();
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut files = files.clone();
        for _ in 0..=rng.below(4) {
            if !files.is_empty() {
                damage(&mut files, &mut rng);
            }
        }
        let disk = SimDisk::of_files(&files, rng.fork());
        let opened = Collector::open(CheatingDisk::new(disk, DiskCheat::Honest), &mut rng);
        let mut collector = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let before = collector.core.durable_end();
        let agent_disk = CheatingDisk::new(SimDisk::new(rng.fork()), DiskCheat::Honest);
        let mut agent = Agent::open(agent_disk, 6, &mut rng).unwrap();
        assert!(agent.accept(&breakdown("after")));
        agent.link_up();
        talk(&mut agent, &mut collector);
        assert!(agent.core.ring().held().iter().all(|held| held.first == held.end), "seed {seed}: not acked");
        assert!(collector.core.durable_end() > before, "seed {seed}: nothing came into the log");
    }
}
