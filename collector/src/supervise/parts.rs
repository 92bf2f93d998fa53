//! The state of the parts that were started.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use afferent_host::limits::RESTART_SETTLED;

use super::Part;

/// The state of a part, for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// The part.
    pub part: Part,
    /// Whether it has run for a while.
    pub is_well: bool,
    /// Number of restarts.
    pub restarts: u64,
}

/// The state of all parts that were started.
#[derive(Debug, Default)]
pub struct Parts(Mutex<BTreeMap<Part, State>>);

#[derive(Debug, Default)]
struct State {
    starts: u64,
    restarts: u64,
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    /// The time of its next start; `None` where the process ends.
    again: Option<Instant>,
}

impl Trouble {
    /// Whether it has run again for a while.
    fn is_over(&self, now: Instant) -> bool {
        self.again.is_some_and(|again| now >= again + RESTART_SETTLED)
    }

    fn text(&self, part: Part, now: Instant) -> String {
        let (name, why) = (part.name(), &self.why);
        let then = match self.again {
            None => "the collector stops".to_owned(),
            Some(again) if again > now => format!("it restarts in {} s", (again - now).as_secs() + 1),
            Some(again) => format!("it was restarted {} s ago", (now - again).as_secs()),
        };
        format!("the part `{name}` has failed: {why}; {then}")
    }
}

impl Parts {
    /// The trouble of a part, and its consequence, as a sentence.
    pub fn trouble(&self) -> Option<String> {
        let now = Instant::now();
        let parts = self.lock();
        let mut troubles = parts.iter().filter_map(|(part, state)| Some((*part, state.trouble.as_ref()?)));
        troubles.find(|(_, trouble)| !trouble.is_over(now)).map(|(part, trouble)| trouble.text(part, now))
    }

    /// All parts that were started.
    pub fn reports(&self) -> Vec<PartReport> {
        let now = Instant::now();
        let report = |(part, state): (&Part, &State)| PartReport {
            part: *part,
            is_well: state.trouble.as_ref().is_none_or(|trouble| trouble.is_over(now)),
            restarts: state.restarts,
        };
        self.lock().iter().map(report).collect()
    }

    /// Records a start; returns the number of earlier ones.
    pub(super) fn started(&self, part: Part) -> u64 {
        let mut parts = self.lock();
        let state = parts.entry(part).or_default();
        state.starts += 1;
        state.starts - 1
    }

    /// Records an end, and when the part is started again.
    pub(super) fn ended(&self, part: Part, why: String, again_after: Option<Duration>) {
        let mut parts = self.lock();
        let state = parts.entry(part).or_default();
        state.restarts += u64::from(again_after.is_some());
        state.trouble = Some(Trouble { why, again: again_after.map(|wait| Instant::now() + wait) });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, State>> {
        // The map is consistent at any time, also after a holder's panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
