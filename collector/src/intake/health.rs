//! How the collector is: read by `/healthz` and `/metrics`, written by those who know.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use afferent_protocol::ids::Timestamp;

use crate::refused::Ledger;
use crate::supervise::Parts;

/// Whether events are becoming durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// The last commit succeeded.
    Working,
    /// Commits fail; nothing is acked until one succeeds.
    Failing {
        /// Since when.
        since: Timestamp,
        /// What the last one said.
        why: String,
        /// How many have failed since then.
        tries: u64,
    },
}

/// The way by which agents reach the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is not open yet.
    Starting,
    /// The endpoint listens, or the broker was joined and the subscriptions stand.
    Open,
    /// The broker cannot be reached, or the endpoint cannot take connections.
    Closed {
        /// Why.
        why: String,
    },
}

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes back what was counted of something that ended.
    pub(crate) fn less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted on the way in.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open now.
    pub connections: Counter,
    /// Connections that were taken.
    pub connections_taken: Counter,
    /// Connections that were refused because there are too many.
    pub connections_refused: Counter,
    /// Connections that did not finish their handshake in time, or broke it.
    pub handshakes_failed: Counter,
    /// Connections that were refused for who they are or are not.
    pub logins_refused: Counter,
    /// Connections that were ended because another one with the same identity came.
    pub taken_over: Counter,
    /// Connections that were ended because they did not read what was sent to them.
    pub slow_readers: Counter,
    /// Connections that were ended for breaking the protocol.
    pub protocol_errors: Counter,
    /// Publishes that were refused for their topic.
    pub publishes_refused: Counter,
    /// Subscriptions that were refused.
    pub subscriptions_refused: Counter,
    /// Messages that were handed to the writer.
    pub messages: Counter,
    /// Bytes of these.
    pub message_bytes: Counter,
    /// Events that were posted and handed to the writer.
    pub events_posted: Counter,
    /// Requests of the HTTP API that were refused as malformed, oversized or unknown.
    pub requests_refused: Counter,
    /// Messages of which something was refused.
    pub messages_refused: Counter,
    /// Commits that succeeded.
    pub commits: Counter,
    /// Commits that failed.
    pub commits_failed: Counter,
    /// Answers to agents that were signed, whether or not they could be sent.
    pub answers_signed: Counter,
    /// Answers that could not be sent, because the agent was gone or did not read.
    pub answers_dropped: Counter,
    /// Segments that retention has removed.
    pub segments_trimmed: Counter,
    /// Bytes of these.
    pub bytes_trimmed: Counter,
    /// Samples that retention has removed from segments that stay.
    pub samples_emptied: Counter,
    /// Connections to the external broker that were made.
    pub broker_connections: Counter,
}

/// How the collector is.
#[derive(Debug)]
pub struct Health {
    /// What is counted.
    pub counters: Counters,
    /// How its tasks and threads are.
    pub parts: Parts,
    /// Who was refused.
    pub refused: Ledger,
    storage: Mutex<Storage>,
    way: Mutex<Way>,
    warnings: Mutex<BTreeMap<&'static str, String>>,
}

impl Default for Health {
    fn default() -> Self {
        let (storage, way) = (Mutex::new(Storage::Working), Mutex::new(Way::Starting));
        let (counters, parts, refused) = Default::default();
        Self { counters, parts, refused, storage, way, warnings: Mutex::default() }
    }
}

impl Health {
    /// Whether events are becoming durable.
    pub fn storage(&self) -> Storage {
        lock(&self.storage).clone()
    }

    /// Whether agents can reach the collector.
    pub fn way(&self) -> Way {
        lock(&self.way).clone()
    }

    /// Whether all is well; otherwise what is not, in words.
    pub fn verdict(&self) -> Result<(), String> {
        if let Some(trouble) = self.parts.trouble() {
            return Err(trouble);
        }
        if let Storage::Failing { why, tries, .. } = self.storage() {
            return Err(format!("nothing becomes durable: {why} ({tries} tries)"));
        }
        match self.way() {
            Way::Open => Ok(()),
            Way::Starting => Err("the way for agents is not open yet".to_owned()),
            Way::Closed { why } => Err(format!("agents cannot reach the log: {why}")),
        }
    }

    /// What people must know although events become durable: by kind, in words.
    pub fn warnings(&self) -> BTreeMap<&'static str, String> {
        lock(&self.warnings).clone()
    }

    /// Puts a warning in the place of the last one of its kind; tells whether it is another one.
    pub fn warn(&self, kind: &'static str, text: String) -> bool {
        lock(&self.warnings).insert(kind, text.clone()).is_none_or(|before| before != text)
    }

    /// There is nothing to warn of this kind any more.
    pub fn all_clear(&self, kind: &'static str) {
        lock(&self.warnings).remove(kind);
    }

    pub(crate) fn set_way(&self, way: Way) {
        *lock(&self.way) = way;
    }

    pub(crate) fn committed(&self) {
        self.counters.commits.count();
        *lock(&self.storage) = Storage::Working;
    }

    pub(crate) fn commit_failed(&self, now: Timestamp, why: String) {
        self.counters.commits_failed.count();
        let mut storage = lock(&self.storage);
        *storage = match &*storage {
            Storage::Working => Storage::Failing { since: now, why, tries: 1 },
            Storage::Failing { since, tries, .. } => Storage::Failing { since: *since, why, tries: tries + 1 },
        };
    }
}

/// What these locks guard is whole at any time, also when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
