//! Many seeds on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::faults::FaultCounts;
use crate::plant::{Failure, Plant, PlantSettings, Report};
use crate::planted::Planted;

/// How many lines of a failed run's trace are shown.
const TAIL_LINES: usize = 60;

/// What became of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How it went.
    pub result: Result<Report, Failure>,
    /// Hash of the whole trace.
    pub hash: u64,
    /// The whole trace.
    pub trace: String,
}

impl Outcome {
    /// What a person needs to find the bug.
    pub fn tell(&self) -> String {
        let failure = self.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let start = self.trace.rmatch_indices('\n').nth(TAIL_LINES).map_or(0, |(at, _)| at + 1);
        let seed = self.seed;
        format!(
            "seed {seed}: {failure}\n\nagain: SEED={seed} cargo test -p afferent-tests --test seeds -- --nocapture\n\n\
             the end of its trace (SEED={seed} shows all of it):\n{}",
            &self.trace[start..]
        )
    }
}

/// Runs one seed. A panic in the cores is a failure like any other.
pub fn run_seed(seed: u64, planted: Planted) -> Outcome {
    run(PlantSettings::of_seed(seed, planted))
}

/// Runs one plant.
pub fn run(settings: PlantSettings) -> Outcome {
    let seed = settings.seed;
    let mut plant = Plant::new(settings);
    let result = catch_unwind(AssertUnwindSafe(|| plant.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure(format!("it panicked: {}", text.unwrap_or_default())))
    });
    Outcome { seed, result, hash: plant.trace().hash(), trace: plant.trace().text().to_owned() }
}

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that ran to their end.
    pub seeds: u64,
    /// Faults that fired in all of them.
    pub counts: FaultCounts,
    /// In how many of them each fault has fired.
    pub fired_in: FaultCounts,
    /// Events that were accepted in all of them.
    pub accepted: u64,
    /// Certificates that called events complete.
    pub certified: u64,
    /// The failures with the lowest seeds.
    pub failures: Vec<Outcome>,
}

/// Runs the seeds `first` up to and not including `end` on all cores, until `failures_max` have failed.
pub fn run_many(first: u64, end: u64, planted: Planted, failures_max: usize) -> Summary {
    let next = AtomicU64::new(first);
    let enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let outcome = run_seed(seed, planted);
            let mut summary = summary.lock().expect("nobody panics while adding up");
            summary.seeds += 1;
            match &outcome.result {
                Ok(report) => {
                    summary.counts.add(&report.counts);
                    summary.fired_in.add_run(&report.counts);
                    summary.accepted += report.accepted as u64;
                    summary.certified += report.certified;
                }
                Err(_) => summary.failures.push(outcome),
            }
            enough.fetch_or(summary.failures.len() >= failures_max, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let mut summary = summary.into_inner().expect("nobody panics while adding up");
    summary.failures.sort_by_key(|outcome| outcome.seed);
    summary
}
