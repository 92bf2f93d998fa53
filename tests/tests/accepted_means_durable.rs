//! Promise 1: accepted means durable. Whatever operation of the disk the power goes in, what was accepted is there.

use afferent_protocol::ids::Stream;
use afferent_tests::oracle::find_in_ring;
use afferent_tests::pair::{Agent, breakdown, sample};
use afferent_tests::rng::Rng;
use afferent_tests::sim_disk::{CheatingDisk, DiskCheat, SimDisk};

/// Events that each run pushes.
const EVENTS: u64 = 40;

/// Pushes events until the power goes in the `stop`-th operation, and counts those that were accepted and are not on the
/// disk afterwards.
fn accepted_and_gone(stop: u64, cheat: DiskCheat) -> usize {
    let mut rng = Rng::new(stop);
    let disk = SimDisk::new(rng.fork());
    disk.stop_after(stop);
    let mut accepted = Vec::new();
    if let Ok(mut agent) = Agent::open(CheatingDisk::new(disk.clone(), cheat), 6, &mut rng) {
        for number in 0..EVENTS {
            let text = format!("{number}:{}", "x".repeat(rng.index(900)));
            let event = if rng.coin() { breakdown(&text) } else { sample(&text) };
            let is_accepted = agent.accept(&event);
            if disk.is_stopped() {
                break;
            }
            if is_accepted {
                accepted.push((event.stream(), text));
            }
        }
    }
    let files = disk.power_cut().durable_files();
    let is_gone = |(stream, text): &&(Stream, String)| {
        let event = if *stream == Stream::Critical { breakdown(text) } else { sample(text) };
        find_in_ring(&files, *stream, 1, |_, found| *found == event).is_none()
    };
    accepted.iter().filter(is_gone).count()
}

#[test]
fn what_was_accepted_survives_a_power_cut_in_any_operation() {
    for stop in 0..120 {
        assert_eq!(accepted_and_gone(stop, DiskCheat::Honest), 0, "the power goes in operation {stop}");
    }
}

#[test]
fn control_a_disk_whose_sync_does_nothing_is_found_out() {
    let gone: usize = (0..120).map(|stop| accepted_and_gone(stop, DiskCheat::NoSync)).sum();
    assert!(gone > 0, "nothing was lost without a single sync: this test sees nothing");
}
