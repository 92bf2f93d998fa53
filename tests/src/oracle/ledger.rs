//! What the producers know: what they pushed, and what they were told is accepted.

use std::collections::BTreeMap;
use std::hash::Hasher;

use afferent_protocol::event::Event;
use afferent_protocol::ids::Stream;
use afferent_protocol::session::Lane;

/// Stands for everything that an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content(u64);

impl Content {
    /// Of this event. The plant's events all differ.
    pub fn of(event: &Event<'_>) -> Self {
        struct Fnv(u64);
        impl Hasher for Fnv {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
            }
        }
        impl std::fmt::Write for Fnv {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.write(text.as_bytes());
                Ok(())
            }
        }
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        std::fmt::Write::write_fmt(&mut hash, format_args!("{event:?}")).expect("hashing does not fail");
        Self(hash.0)
    }
}

/// An event that a producer has pushed.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    /// To which agent.
    pub agent: usize,
    /// Into which stream.
    pub stream: Stream,
    /// Its place among all that were pushed to that agent.
    pub index: u64,
}

/// What the producers know.
#[derive(Debug, Default)]
pub struct Ledger {
    pushed: BTreeMap<Content, Pushed>,
    accepted: BTreeMap<(usize, Lane), BTreeMap<u64, Content>>,
}

impl Ledger {
    /// A producer has pushed it.
    pub fn push(&mut self, content: Content, pushed: Pushed) {
        let known = self.pushed.insert(content, pushed);
        assert!(known.is_none(), "the plant's events all differ");
    }

    /// A producer was told that it is accepted. It must not be told so of two events with one sequence.
    pub fn accept(&mut self, agent: usize, lane: Lane, sequence: u64, content: Content) -> Result<(), String> {
        match self.accepted.entry((agent, lane)).or_default().insert(sequence, content) {
            Some(other) if other != content => {
                Err(format!("agent {agent} {}-{} accepted two events as {sequence}", lane.stream, lane.epoch))
            }
            _ => Ok(()),
        }
    }

    /// The push of this event, if there was one.
    pub fn pushed(&self, content: Content) -> Option<Pushed> {
        self.pushed.get(&content).copied()
    }

    /// What was accepted, by lane and sequence.
    pub fn accepted(&self) -> &BTreeMap<(usize, Lane), BTreeMap<u64, Content>> {
        &self.accepted
    }

    /// How many events were accepted.
    pub fn accepted_count(&self) -> usize {
        self.accepted.values().map(BTreeMap::len).sum()
    }

    /// How many events were pushed.
    pub fn pushed_count(&self) -> usize {
        self.pushed.len()
    }
}
