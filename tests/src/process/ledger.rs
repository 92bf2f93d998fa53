//! What a producer was promised, and whether the unified log keeps it.
//!
//! Every line carries a number that is never sent twice: one that was accepted must be in the log exactly once, one that
//! was sent and not answered may be there once, and no other may be there at all. One producer's numbers stand in the log
//! in the order in which it sent them, stream by stream.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{Producer, Rig};

/// Lines that are sent before answers are read.
const BURST: u64 = 50;
/// One line in so many is a breakdown.
const BREAKDOWN_EVERY: u64 = 25;

/// What was sent and what was accepted.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: HashSet<u64>,
    accepted: HashSet<u64>,
}

impl Ledger {
    /// How many lines were accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.len()
    }

    /// How many lines were sent.
    pub fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Notes lines that are about to be sent.
    pub fn send(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.sent.extend(numbers);
    }

    /// Notes lines that were accepted.
    pub fn accept(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.accepted.extend(numbers);
    }

    /// How many accepted lines the events lack.
    pub fn missing(&self, events: &[serde_json::Value]) -> usize {
        let numbers: HashSet<u64> = events.iter().filter_map(number_of).collect();
        self.accepted.difference(&numbers).count()
    }

    /// Holds the log's events against the ledger.
    ///
    /// # Panics
    /// When an accepted line is missing, anything is there twice or was never sent, the order is not kept, or an offset
    /// is not the one after the one before.
    pub fn check(&self, events: &[serde_json::Value]) {
        let mut seen = HashSet::new();
        let mut last: HashMap<String, u64> = HashMap::new();
        for (offset, event) in events.iter().enumerate() {
            assert_eq!(event["offset"], offset.to_string(), "offsets are dense: {event}");
            // What a stop tore in the middle of its write was never accepted; that nothing accepted is missing is asked below.
            let given_up = event["type"] == "afferent.loss.v1" && event["data"]["reason"] != "torn_tail";
            assert!(!given_up, "nothing had to be given up: {event}");
            let Some(number) = number_of(event) else { continue };
            assert!(self.sent.contains(&number), "the log has what nobody sent: {event}");
            assert!(seen.insert(number), "the log has line {number} twice: {event}");
            let stream = event["stream"].as_str().expect("every event names its stream").to_string();
            let before = last.insert(stream, number);
            assert!(before.is_none_or(|before| before < number), "line {number} stands after line {before:?}");
        }
        let missing: Vec<_> = self.accepted.difference(&seen).take(5).collect();
        assert!(missing.is_empty(), "accepted and not in the log: {missing:?} (of {})", self.accepted.len());
    }
}

/// The number that a line of [`line`] carried, from the event that became of it.
fn number_of(event: &serde_json::Value) -> Option<u64> {
    if event["subject"] != "88-C/load" {
        return None;
    }
    let data = &event["data"];
    data["value"].as_u64().or_else(|| data["code"].as_str()?.parse().ok())
}

/// The line that carries `number`.
pub fn line(number: u64) -> String {
    if number.is_multiple_of(BREAKDOWN_EVERY) {
        format!("{{\"subject\":\"88-C/load\",\"type\":\"breakdown\",\"code\":\"{number}\",\"severity\":\"error\"}}\n")
    } else {
        format!("{{\"subject\":\"88-C/load\",\"value\":{number},\"unit\":\"1\"}}\n")
    }
}

/// A producer that never rests, connects again when the agent is gone, and keeps a ledger.
#[derive(Debug)]
pub struct Load {
    ledger: Arc<Mutex<Ledger>>,
    accepted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// Odd while frozen; a connection's answers count only while it stands where it stood when the connection was made.
    phase: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts it.
    pub fn start(rig: &Rig) -> Self {
        let mut load = Self {
            ledger: Arc::default(),
            accepted: Arc::default(),
            stop: Arc::default(),
            phase: Arc::default(),
            thread: None,
        };
        let (ledger, accepted, stop) = (load.ledger.clone(), load.accepted.clone(), load.stop.clone());
        let phase = load.phase.clone();
        let socket = rig.socket();
        let thread = std::thread::spawn(move || {
            let mut next = 1;
            while !stop.load(Ordering::Relaxed) {
                let begun = phase.load(Ordering::SeqCst);
                if begun.is_multiple_of(2)
                    && let Ok(mut producer) = Producer::connect(&socket)
                {
                    let counts = || phase.load(Ordering::SeqCst) == begun;
                    while !stop.load(Ordering::Relaxed)
                        && burst(&mut producer, &ledger, &accepted, &mut next, counts).is_ok()
                    {}
                }
                std::thread::yield_now();
            }
        });
        load.thread = Some(thread);
        load
    }

    /// From now on no answer counts any more: the power is about to be cut.
    pub fn freeze(&self) {
        let _ledger = self.ledger.lock().expect("nobody panicked with it");
        let before = self.phase.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before % 2, 0, "it was not frozen");
    }

    /// New connections are made, and their answers count.
    pub fn thaw(&self) {
        let before = self.phase.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before % 2, 1, "it was frozen");
    }

    /// How many lines were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Stops it; gives the ledger.
    pub fn stop(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it was started").join().expect("the producer did not panic");
        std::mem::take(&mut *self.ledger.lock().expect("nobody panicked with it"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends some lines and reads answers until all of them are accepted, or the connection breaks.
fn burst(
    producer: &mut Producer,
    ledger: &Mutex<Ledger>,
    count: &AtomicU64,
    next: &mut u64,
    counts: impl Fn() -> bool,
) -> std::io::Result<()> {
    let first = *next;
    *next += BURST;
    let base = producer.accepted();
    ledger.lock().expect("nobody panicked with it").send(first..*next);
    let text: String = (first..*next).map(line).collect();
    producer.send(text.as_bytes())?;
    let mut known = base;
    while known < base + BURST {
        let accepted = producer.answer()?;
        let mut ledger = ledger.lock().expect("nobody panicked with it");
        if !counts() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        ledger.accept(first + (known - base)..first + (accepted - base));
        drop(ledger);
        count.fetch_add(accepted - known, Ordering::Relaxed);
        known = accepted;
    }
    Ok(())
}
