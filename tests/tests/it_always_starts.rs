//! Promise 5: it always starts. Whatever is done to the files, agent and collector start, and take the next event.

use std::path::PathBuf;

use afferent_tests::pair::{Agent, Collector, breakdown, sample, talk};
use afferent_tests::process::Rig;
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

/// The files of the ring, newest first by what was written last.
fn ring_files(rig: &Rig) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(rig.agent_data().join("ring")).expect("the ring's folder is there");
    let mut files: Vec<PathBuf> = listed.map(|file| file.expect("it can be listed").path()).collect();
    let written = |path: &PathBuf| std::fs::metadata(path).and_then(|of| of.modified()).expect("a file has a time");
    files.sort_by_key(|path| std::cmp::Reverse(written(path)));
    files
}

/// Twenty breakdowns that wait for a collector, in an agent that was then killed.
fn killed_with_twenty(name: &str) -> (Rig, Vec<String>) {
    let rig = Rig::new(name);
    let codes: Vec<String> = (0..20).map(|number| format!("HELD-{number}")).collect();
    let agent = rig.start_agent();
    codes.iter().for_each(|code| rig.break_down(code));
    agent.kill();
    (rig, codes)
}

/// Starts both; gives the codes that arrived, and all events of the log, once the next breakdown is there.
fn what_arrives(rig: &Rig) -> (Vec<String>, Vec<serde_json::Value>) {
    let _agent = rig.start_agent();
    rig.break_down("after");
    let _collector = rig.start_collector();
    rig.wait_logged("after");
    let events = rig.events();
    let code = |event: &serde_json::Value| event["data"]["code"].as_str().map(str::to_owned);
    (events.iter().filter_map(code).collect(), events)
}

/// The sequences that were declared as lost in `critical`, and why.
fn lost(events: &[serde_json::Value]) -> Vec<(u64, String)> {
    let losses = events.iter().filter(|event| event["type"] == "afferent.loss.v1");
    losses
        .map(|loss| {
            let number = |name: &str| loss["data"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {loss}"));
            (number("end") - number("first"), loss["data"]["reason"].as_str().expect("a reason").to_owned())
        })
        .collect()
}

/// How many events were declared as vanished.
fn vanished(events: &[serde_json::Value]) -> u64 {
    lost(events).iter().filter(|(_, why)| why.starts_with("vanished")).map(|(count, _)| count).sum()
}

/// The life-cycle events of this change.
fn changes<'a>(events: &'a [serde_json::Value], change: &str) -> Vec<&'a serde_json::Value> {
    events.iter().filter(|event| event["data"]["change"] == change).collect()
}

/// The control: of an agent to which nothing was done everything arrives, and nothing else is said.
fn untouched_it_says_nothing(name: &str) {
    let (rig, codes) = killed_with_twenty(name);
    let (arrived, events) = what_arrives(&rig);
    assert!(codes.iter().all(|code| arrived.contains(code)), "{arrived:?}");
    assert_eq!(lost(&events), []);
    for change in ["ring_replaced", "resealed"] {
        assert!(changes(&events, change).is_empty(), "{change} of a ring that was left alone");
    }
}

fn remove_folder(rig: &Rig, name: &str) {
    std::fs::remove_dir_all(rig.agent_data().join(name)).expect("it can be deleted");
}

#[test]
fn with_its_newest_segment_deleted_an_agent_says_what_has_vanished() {
    let (rig, codes) = killed_with_twenty("no-segment");
    untouched_it_says_nothing("all-segments");
    let newest = ring_files(&rig).remove(0);
    std::fs::remove_file(&newest).expect("it can be deleted");
    let (arrived, events) = what_arrives(&rig);
    let gone = codes.iter().filter(|code| !arrived.contains(code)).count() as u64;
    assert!(gone > 0, "the control: there was something in {}", newest.display());
    assert!(vanished(&events) >= gone, "{gone} are gone, and these were declared: {:?}", lost(&events));
}

#[test]
fn with_its_ring_gone_an_agent_says_what_has_vanished_by_its_witness_and_knows_nothing_without_one() {
    let (rig, codes) = killed_with_twenty("no-ring");
    remove_folder(&rig, "ring");
    let (arrived, events) = what_arrives(&rig);
    assert_eq!(arrived, ["after"]);
    assert!(vanished(&events) >= codes.len() as u64, "these were declared: {:?}", lost(&events));
    assert!(changes(&events, "ring_replaced").is_empty(), "it knows what was in it");

    // The control: without the witness the same ring is one of which nobody can say what was in it.
    let (rig, _) = killed_with_twenty("no-ring-no-witness");
    remove_folder(&rig, "ring");
    remove_folder(&rig, "witness");
    let (arrived, events) = what_arrives(&rig);
    assert_eq!(arrived, ["after"]);
    assert_eq!((vanished(&events), changes(&events, "ring_replaced").len()), (0, 1));
}

#[test]
fn with_its_witness_gone_an_agent_sends_what_its_ring_holds_and_does_not_take_it_for_another_ring() {
    let (rig, codes) = killed_with_twenty("no-witness");
    remove_folder(&rig, "witness");
    let (arrived, events) = what_arrives(&rig);
    assert!(codes.iter().all(|code| arrived.contains(code)), "{arrived:?}");
    assert_eq!(lost(&events), []);
    assert!(changes(&events, "ring_replaced").is_empty());
    // The control: with the ring gone too, it says so, and does not take an old disk for a first start.
    let (rig, _) = killed_with_twenty("neither");
    remove_folder(&rig, "witness");
    remove_folder(&rig, "ring");
    assert_eq!(changes(&what_arrives(&rig).1, "ring_replaced").len(), 1);
    // And of a machine that has never run, nothing is missing.
    let first = Rig::new("first-start");
    let (_, events) = what_arrives(&first);
    assert!(changes(&events, "ring_replaced").is_empty(), "a first start is no replaced ring");
}

#[test]
fn with_an_empty_key_an_agent_captures_and_what_it_held_arrives_under_the_new_key() {
    let (rig, codes) = killed_with_twenty("no-key");
    untouched_it_says_nothing("with-key");
    let path = rig.agent_data().join("identity.key");
    let before = std::fs::read(&path).expect("it has a key");
    std::fs::write(&path, []).expect("it can be written");
    let (arrived, events) = what_arrives(&rig);
    codes.iter().for_each(|code| assert_eq!(arrived.iter().filter(|there| *there == code).count(), 1, "{code}"));
    assert_eq!(lost(&events), []);
    let resealed = changes(&events, "resealed");
    assert!(resealed.iter().all(|event| event["data"]["reason"] == "other_key"), "{resealed:?}");
    assert!(!resealed.is_empty(), "it is not said why there is another epoch");
    let drawn = std::fs::read(&path).expect("it has a key");
    assert!(drawn.len() == before.len() && drawn != before, "another key was drawn");
}
