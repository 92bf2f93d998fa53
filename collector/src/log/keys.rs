//! The keys of a log: those that its reader trusts, and those that they have endorsed.

use afferent_protocol::batch::Batch;
use afferent_protocol::endorsement::{Endorsement, Role};
use afferent_protocol::sign::{PublicKey, Verifier};
use serde::Serialize;

/// Keys of one log, at most: successors and colleagues of a plant's whole life.
const KEYS_MAX: usize = 64;

/// By which keys a log is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By keys that the reader names.
    Named(Vec<PublicKey>),
    /// By the key of the collector that answers.
    Answering(PublicKey),
    /// By a key that lies beside the log: who can write there has chosen it.
    Beside(PublicKey),
    /// By the key that the collector has pinned for itself in this log: whoever wrote the log chose it.
    Found,
}

/// Where the first key of a log comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// The reader named it.
    Named,
    /// It is that of the collector that answers.
    Answering,
    /// It was found in the log.
    #[default]
    Found,
}

/// One key of the log.
#[derive(Clone, Debug)]
struct LogKey {
    key: PublicKey,
    verifier: Verifier,
    /// The key that is to take its place.
    successor: Option<PublicKey>,
    /// Whether that one has signed something: from then on this one's word counts no more.
    is_succeeded: bool,
    /// It is trusted because one that came later has written down that this one had endorsed it.
    is_earlier: bool,
}

/// The keys whose word counts in a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogKeys {
    keys: Vec<LogKey>,
    origin: KeyOrigin,
    /// By which keys others were endorsed, as those others have written down.
    handed: Vec<Endorsement>,
}

impl LogKeys {
    /// Those that are trusted before the log is read.
    pub fn new(trust: &Trust) -> Self {
        let mut keys = Self::default();
        match trust {
            Trust::Named(named) => {
                keys.origin = KeyOrigin::Named;
                named.iter().for_each(|key| keys.add(*key));
            }
            Trust::Answering(key) => {
                keys.origin = KeyOrigin::Answering;
                keys.add(*key);
            }
            Trust::Beside(key) => keys.add(*key),
            Trust::Found => {}
        }
        keys
    }

    /// Where the first of them comes from.
    pub fn origin(&self) -> KeyOrigin {
        self.origin
    }

    /// The collector has pinned this key for itself: it counts when no key does yet, and none was named.
    pub fn found(&mut self, key: PublicKey) {
        if self.keys.is_empty() && self.origin == KeyOrigin::Found {
            self.add(key);
        }
    }

    /// Takes an endorsement; nothing changes unless a trusted key has made it.
    pub fn endorsed(&mut self, endorsement: &Endorsement) {
        if let Some(by) = self.keys.iter_mut().find(|known| known.key == endorsement.by) {
            if endorsement.role == Role::Successor {
                by.successor = Some(endorsement.key);
            }
            self.add(endorsement.key);
        }
    }

    /// A key of the log has written down, in this batch of its own, which key had endorsed it. Where the reader has named the
    /// later one, what the earlier one had written counts as well, up to where the later one begins.
    pub fn handed(&mut self, endorsement: &Endorsement, batch: &Batch<'_>) {
        let is_written_by = |key: &PublicKey| key.verifier().is_some_and(|key| key.verify(batch).is_some());
        if self.origin != KeyOrigin::Named
            || self.handed.len() >= KEYS_MAX
            || endorsement.role != Role::Successor
            || !is_written_by(&endorsement.key)
        {
            return;
        }
        self.handed.push(*endorsement);
        let leads_back = |keys: &Self, known: &&Endorsement| keys.contains(&known.key) && !keys.contains(&known.by);
        while let Some(Endorsement { key, by, .. }) = self.handed.iter().find(|known| leads_back(self, known)).copied()
        {
            self.add(by);
            let Some(earlier) = self.keys.iter_mut().find(|known| known.key == by) else { return };
            (earlier.successor, earlier.is_earlier) = (Some(key), true);
        }
    }

    /// Whether some are trusted for the sake of a later one.
    pub fn go_back(&self) -> bool {
        self.keys.iter().any(|known| known.is_earlier)
    }

    /// Whether the reader trusts this key for its own sake, or for that of an earlier one.
    pub fn is_named_or_later(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key && !known.is_earlier)
    }

    fn add(&mut self, key: PublicKey) {
        let is_known = self.keys.iter().any(|known| known.key == key);
        if !is_known
            && self.keys.len() < KEYS_MAX
            && let Some(verifier) = key.verifier()
        {
            self.keys.push(LogKey { key, verifier, successor: None, is_succeeded: false, is_earlier: false });
        }
    }

    /// Whether this key's word counts, or has counted.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key)
    }

    /// Whether this key's word counts now.
    pub fn count(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key && !known.is_succeeded)
    }

    /// Whether one of the keys that still count has signed the batch. The first one of a successor ends its predecessor.
    pub fn have_signed(&mut self, batch: &Batch<'_>) -> bool {
        let mut counting = self.keys.iter().rev().filter(|known| !known.is_succeeded);
        let signer = counting.find(|known| known.verifier.verify(batch).is_some()).map(|known| known.key);
        if let Some(signer) = signer {
            let succeeded = self.keys.iter_mut().filter(|known| known.successor == Some(signer));
            succeeded.for_each(|known| known.is_succeeded = true);
        }
        signer.is_some()
    }

    /// Whether one of the keys that count, or have counted, has signed the batch.
    pub fn have_ever_signed(&self, batch: &Batch<'_>) -> bool {
        self.keys.iter().rev().any(|known| known.verifier.verify(batch).is_some())
    }

    /// All of them, in the order in which they came to count.
    pub fn list(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|known| known.key).collect()
    }
}
