//! What all destinations are held to: the log itself, as its API returns it, and the orders of an operator.

use std::collections::HashMap;

use afferent_tests::process::{Load, Rig, wait_for};
pub use afferent_tests::process::{order_forward as order, report_forward as report, wait_delivered};
use serde_json::Value;

/// How often a destination may have an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Once.
    Once,
    /// Once or more.
    AtLeastOnce,
}

/// An event at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub source: String,
    pub id: String,
    pub subject: String,
}

impl Arrived {
    /// From a CloudEvent in JSON.
    pub fn of(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Self { source: text("source"), id: text("id"), subject: text("subject") }
    }
}

/// Lines that must be accepted between two kills.
const LINES_BETWEEN: u64 = 50;

/// Waits until some lines more are accepted.
pub fn accepted_more(load: &Load) {
    let before = load.accepted();
    wait_for("more lines are accepted", || (load.accepted() >= before + LINES_BETWEEN).then_some(()));
}

/// Waits until a forward reports an error with this text.
pub fn wait_error(rig: &Rig, name: &str, text: &str) -> Value {
    wait_for(&format!("{name} reports {text:?}: {:?}", report(rig, name)), || {
        report(rig, name).filter(|report| report["last_error"].as_str().is_some_and(|error| error.contains(text)))
    })
}

/// Holds what a destination has against the events of the log that it should have.
///
/// # Panics
/// When an event is missing, is there although the log does not hold it, is there more often than promised, or when the
/// events of one subject are in another order (each at its first arrival).
pub fn check(logged: &[Value], arrived: &[Arrived], promise: Promise) {
    let key = |event: &Arrived| (event.source.clone(), event.id.clone());
    let expected: HashMap<_, usize> =
        logged.iter().enumerate().map(|(at, event)| (key(&Arrived::of(event)), at)).collect();
    assert_eq!(expected.len(), logged.len(), "source and id tell the events of the log apart");
    let mut seen = HashMap::<_, usize>::new();
    let mut last = HashMap::<&str, usize>::new();
    for event in arrived {
        let at = expected.get(&key(event)).unwrap_or_else(|| panic!("the log does not hold {event:?}"));
        let times = seen.entry(key(event)).or_default();
        *times += 1;
        if *times == 1 {
            let before = last.insert(&event.subject, *at);
            assert!(before.is_none_or(|before| before < *at), "{event:?} is behind {:?}", logged[before.unwrap_or(0)]);
        }
    }
    let missing: Vec<_> = logged.iter().map(Arrived::of).filter(|event| !seen.contains_key(&key(event))).collect();
    assert!(missing.is_empty(), "{} events are missing, as {:?}", missing.len(), missing.first());
    let doubles = seen.values().filter(|times| **times > 1).count();
    assert!(promise == Promise::AtLeastOnce || doubles == 0, "{doubles} events are there more than once");
}

/// How many events arrived more than once.
pub fn doubles(arrived: &[Arrived]) -> usize {
    let mut times = HashMap::<_, usize>::new();
    arrived.iter().for_each(|event| *times.entry((&event.source, &event.id)).or_default() += 1);
    times.values().filter(|times| **times > 1).count()
}

/// A configuration of a README, of its blocks the one at `index`, with these texts replaced.
///
/// # Panics
/// When the README has no such block, or one of the texts does not occur in it.
pub fn configuration(readme: &str, index: usize, replaced: &[(&str, &str)]) -> String {
    let block = readme.split("```toml\n").nth(index + 1).expect("the README has the block");
    let block = block.split("```").next().expect("split gives at least one").to_owned();
    replaced.iter().fold(block, |block, (named, here)| {
        assert!(block.contains(named), "the configuration does not contain {named:?}:\n{block}");
        block.replace(named, here)
    })
}
