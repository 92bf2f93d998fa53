//! Promise 2: once, in order, or declared. The simulated plant, seed after seed, holds every promise under every fault.
//!
//! `SEEDS=3000` sets how many seeds are run, `FIRST=…` where they begin, `SEED=…` runs one of them and shows its trace;
//! after `FAILURES=3` failures it gives up. `PLANTED=AckBeforeSync` beside `SEED` plants a bug.

use std::time::Instant;

use afferent_tests::faults::Fault;
use afferent_tests::planted::Planted;
use afferent_tests::runner::{run_many, run_seed};

/// Seeds of a run that says nothing else.
const SEEDS_DEFAULT: u64 = 2500;
/// A fault that fired less often was not tested, where there were as many seeds as this can be asked of.
const FIRED_MIN: u64 = 100;
/// So many.
const SEEDS_MIN: u64 = 1000;
/// Failures after which a run is given up.
const FAILURES_MAX: u64 = 3;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_accepted_event_arrives_once_and_in_order_or_is_declared_whatever_fails() {
    if let Some(seed) = number("SEED") {
        let planted = std::env::var("PLANTED").ok();
        let planted = planted.map(|name| Planted::named(&name).unwrap_or_else(|| panic!("PLANTED={name} is no bug")));
        let outcome = run_seed(seed, planted.unwrap_or(Planted::Nothing));
        println!("{}trace {:016x}", outcome.trace, outcome.hash);
        outcome.result.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        return;
    }
    let first = number("FIRST").unwrap_or(0);
    let seeds = number("SEEDS").unwrap_or(SEEDS_DEFAULT);
    let started = Instant::now();
    let failures_max = number("FAILURES").unwrap_or(FAILURES_MAX) as usize;
    let summary = run_many(first, first + seeds, Planted::Nothing, failures_max);
    let seconds = started.elapsed().as_secs_f64();
    println!("{} seeds in {seconds:.1} s, {:.1} a second", summary.seeds, summary.seeds as f64 / seconds);
    println!("{} events accepted, {} certificates complete", summary.accepted, summary.certified);
    println!("faults fired:\n{}", summary.counts);
    for failure in &summary.failures {
        println!("{}\n", failure.tell());
    }
    assert!(summary.failures.is_empty(), "{} of {} seeds failed", summary.failures.len(), summary.seeds);
    if seeds < SEEDS_MIN {
        println!("fewer than {SEEDS_MIN} seeds: not asked whether every fault has fired {FIRED_MIN} times");
        return;
    }
    assert!(summary.certified >= FIRED_MIN, "vacuous: {} certificates were complete", summary.certified);
    let rare = summary.counts.rarer_than(FIRED_MIN);
    assert!(rare.is_empty(), "vacuous: in {} seeds hardly ever fired {rare:?}", summary.seeds);
    let rare: Vec<_> = Fault::NEMESES.iter().filter(|fault| summary.fired_in.of(**fault) < FIRED_MIN).collect();
    assert!(rare.is_empty(), "vacuous: fewer than {FIRED_MIN} of {} seeds have {rare:?}", summary.seeds);
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..8 {
        let (one, other) = (run_seed(seed, Planted::Nothing), run_seed(seed, Planted::Nothing));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
}
