//! Reasons of refusals.

use std::collections::BTreeMap;

use afferent_protocol::batch::BatchError;
use afferent_protocol::ids::SourceId;
use afferent_protocol::limits::MESSAGE_PAYLOAD_BYTES_MAX;
use serde::Serialize;

use crate::limits::{REFUSED_EVENT_EVERY_US, REFUSED_EVENTS_MAX, SOURCE_LANES_MAX, SOURCES_MAX};

/// Kinds of refusals, as the metrics count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Neither whole batches nor a control message, or one with impossible content.
    Malformed,
    /// More bytes than a message may hold.
    Oversized,
    /// A version, codec or message that only newer software knows.
    Newer,
    /// The batch names a different source than the topic.
    OtherSource,
    /// The collector's own name.
    OwnName,
    /// Batches of a source that has not said hello yet; the collector asks it to.
    NoHello,
    /// A different key than the name is held to, or none.
    OtherKey,
    /// The signature is not by the pinned key.
    Signature,
    /// It contradicts the log: two writers share a name.
    Conflict,
    /// More sources or epochs than are kept.
    TooMany,
    /// More new names than one client address may bring.
    FirstContacts,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Oversized,
        Self::Newer,
        Self::OtherSource,
        Self::OwnName,
        Self::NoHello,
        Self::OtherKey,
        Self::Signature,
        Self::Conflict,
        Self::TooMany,
        Self::FirstContacts,
    ];

    /// Whether it becomes an event. A batch before its hello does not: through a broker, its refusal is how a sender
    /// learns that the collector has restarted. Unknown names do not either: strangers can make up any number of them.
    pub(super) const fn becomes_event(self) -> bool {
        !matches!(self, Self::NoHello | Self::FirstContacts)
    }

    /// The name that metrics and people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Newer => "newer",
            Self::OtherSource => "other-source",
            Self::OwnName => "own-name",
            Self::NoHello => "no-hello",
            Self::OtherKey => "other-key",
            Self::Signature => "signature",
            Self::Conflict => "conflict",
            Self::TooMany => "too-many",
            Self::FirstContacts => "first-contacts",
        }
    }
}

/// A refusal, with its reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// The problem, and the remedy.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }

    pub(super) fn size(bytes: usize) -> Self {
        match bytes {
            0 => Self::new(Reason::Malformed, "a message is empty".to_owned()),
            _ => {
                let message = format!("a message has {bytes} bytes; the limit is {MESSAGE_PAYLOAD_BYTES_MAX}");
                Self::new(Reason::Oversized, message)
            }
        }
    }

    pub(super) fn own_name(agent: &SourceId) -> Self {
        let message = format!("{agent} is the collector's own name; give the agent another name");
        Self::new(Reason::OwnName, message)
    }

    pub(super) fn other_source(agent: &SourceId, claimed: &SourceId) -> Self {
        let message =
            format!("a batch of {claimed} came on the topic of {agent}; an agent may publish only under its own name");
        Self::new(Reason::OtherSource, message)
    }

    pub(super) fn too_many(agent: &SourceId) -> Self {
        Self::new(
            Reason::TooMany,
            format!(
                "no room for another source or another epoch of {agent}: {SOURCES_MAX} sources, or {SOURCE_LANES_MAX} \
                 epochs of this one, have delivered events to this log; connect it to a collector with another log"
            ),
        )
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let reason = match error {
            BatchError::Version(_) => Reason::Newer,
            BatchError::TooLarge { .. } => Reason::Oversized,
            _ => Reason::Malformed,
        };
        Self::new(reason, format!("a batch: {error}"))
    }
}

/// Refusals that became events lately.
#[derive(Debug, Default)]
pub(super) struct RefusedEvents(BTreeMap<(SourceId, Reason), u64>);

impl RefusedEvents {
    /// Whether this refusal becomes an event: now and then per source and reason, and a limited number for all sources
    /// together, because names cost nothing without a login.
    pub fn is_due(&mut self, source: SourceId, reason: Reason, now_us: u64) -> bool {
        self.0.retain(|_, told_us| now_us.saturating_sub(*told_us) < REFUSED_EVENT_EVERY_US);
        if self.0.len() >= REFUSED_EVENTS_MAX || self.0.contains_key(&(source, reason)) {
            return false;
        }
        self.0.insert((source, reason), now_us);
        true
    }
}
