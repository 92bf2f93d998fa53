//! The collector's health: read by `/healthz` and `/metrics`, written by its tasks and threads.

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
        /// When the first of them failed.
        since: Timestamp,
        /// The error of the last one.
        why: String,
        /// How many have failed since then.
        tries: u64,
    },
}

/// Whether agents can reach the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentAccess {
    /// It is not open yet.
    Starting,
    /// The endpoint listens, or the broker is connected and the subscriptions are made.
    Open,
    /// The broker cannot be reached, or the endpoint cannot take connections.
    Closed {
        /// The reason.
        why: String,
    },
}

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds 1.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Subtracts 1, for a counted thing that has ended.
    pub(crate) fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The present count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of the way in.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open now.
    pub connections: Counter,
    /// Connections that were accepted.
    pub connections_taken: Counter,
    /// Connections that were refused at the limit of connections.
    pub connections_refused: Counter,
    /// Connections that did not finish their handshake in time, or broke it.
    pub handshakes_failed: Counter,
    /// Connections that were refused for a missing or wrong login or certificate.
    pub logins_refused: Counter,
    /// Connections that were ended for a newer one with the same identity.
    pub taken_over: Counter,
    /// Connections that were ended because they did not read their messages.
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
    /// Messages of which some part was refused.
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

/// The collector's health.
#[derive(Debug)]
pub struct Health {
    /// The counters of the way in.
    pub counters: Counters,
    /// The state of its tasks and threads.
    pub parts: Parts,
    /// Refused clients.
    pub refused: Ledger,
    storage: Mutex<Storage>,
    agent_access: Mutex<AgentAccess>,
    warnings: Mutex<BTreeMap<&'static str, String>>,
}

impl Default for Health {
    fn default() -> Self {
        let (storage, way) = (Mutex::new(Storage::Working), Mutex::new(AgentAccess::Starting));
        let (counters, parts, refused) = Default::default();
        Self { counters, parts, refused, storage, agent_access: way, warnings: Mutex::default() }
    }
}

impl Health {
    /// Whether events are becoming durable.
    pub fn storage(&self) -> Storage {
        lock(&self.storage).clone()
    }

    /// Whether agents can reach the collector.
    pub fn agent_access(&self) -> AgentAccess {
        lock(&self.agent_access).clone()
    }

    /// `Ok` when all is well; otherwise the problem in words.
    pub fn verdict(&self) -> Result<(), String> {
        if let Some(trouble) = self.parts.trouble() {
            return Err(trouble);
        }
        if let Storage::Failing { why, tries, .. } = self.storage() {
            return Err(format!("nothing becomes durable: {why} ({tries} tries)"));
        }
        match self.agent_access() {
            AgentAccess::Open => Ok(()),
            AgentAccess::Starting => Err("the input from agents is not open yet".to_owned()),
            AgentAccess::Closed { why } => Err(format!("agents cannot reach the log: {why}")),
        }
    }

    /// Warnings for people although events become durable, in words, by kind.
    pub fn warnings(&self) -> BTreeMap<&'static str, String> {
        lock(&self.warnings).clone()
    }

    /// Replaces the last warning of its kind; returns whether the text differs.
    pub fn warn(&self, kind: &'static str, text: String) -> bool {
        lock(&self.warnings).insert(kind, text.clone()).is_none_or(|before| before != text)
    }

    /// Removes the warning of this kind.
    pub fn all_clear(&self, kind: &'static str) {
        lock(&self.warnings).remove(kind);
    }

    pub(crate) fn set_agent_access(&self, way: AgentAccess) {
        *lock(&self.agent_access) = way;
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

/// The data behind these locks is consistent at any time, also when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
