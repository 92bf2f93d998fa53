//! The control of all simulated promises: every planted bug must be found, or the plant's silence means nothing.

use afferent_tests::planted::Planted;
use afferent_tests::runner::run_many;

/// Seeds in which each bug must show.
const SEEDS_MAX: u64 = 300;

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for planted in Planted::BUGS.iter().copied() {
        let summary = run_many(0, SEEDS_MAX, planted, 1);
        match summary.failures.first() {
            Some(found) => println!("{planted:?}: seed {}: {}", found.seed, found.result.as_ref().unwrap_err()),
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds: {missed:?}");
}
