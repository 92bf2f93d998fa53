//! The keys of a log: those that its reader trusts, and those that they have endorsed.

use afferent_protocol::batch::Batch;
use afferent_protocol::endorsement::{Endorsement, Role};
use afferent_protocol::sign::{PublicKey, Verifier};
use serde::Serialize;

/// Keys of one log, at most: successors and further collectors of a plant's whole life.
const KEYS_MAX: usize = 64;

/// The keys that a log is verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Keys that the reader names.
    Named(Vec<PublicKey>),
    /// The key of the collector that answers.
    Answering(PublicKey),
    /// A key in a file beside the log: anyone who can write there can have chosen it.
    Beside(PublicKey),
    /// The key that the collector has pinned for itself in this log: the writer of the log chose it.
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
    /// The key that succeeds it.
    successor: Option<PublicKey>,
    /// Whether its successor has signed something: from then on its own signatures do not count.
    is_succeeded: bool,
    /// Whether it is trusted because a later key has recorded that this one had endorsed it.
    is_earlier: bool,
}

/// The keys whose signatures count in a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogKeys {
    keys: Vec<LogKey>,
    origin: KeyOrigin,
    /// Endorsements that the endorsed keys have recorded.
    handed: Vec<Endorsement>,
}

impl LogKeys {
    /// The keys that are trusted before the log is read.
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

    /// The origin of the first key.
    pub fn origin(&self) -> KeyOrigin {
        self.origin
    }

    /// Adds the key that the collector has pinned for itself: it counts when no key does yet, and none was named.
    pub fn add_pinned(&mut self, key: PublicKey) {
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

    /// A key of the log has recorded, in this batch of its own, which key had endorsed it. Where the reader has named
    /// the later key, the batches of the earlier one count as well, up to where the later one begins.
    pub fn add_predecessor(&mut self, endorsement: &Endorsement, batch: &Batch<'_>) {
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

    /// Whether some keys are trusted because of a later one.
    pub fn go_back(&self) -> bool {
        self.keys.iter().any(|known| known.is_earlier)
    }

    /// Whether the reader trusts this key because it was named, or because of an earlier key.
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

    /// Whether this key's signatures count, or have counted.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key)
    }

    /// Whether this key's signatures count now.
    pub fn count(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key == *key && !known.is_succeeded)
    }

    /// Whether a key that still counts has signed the batch. The first batch of a successor ends its predecessor.
    pub fn have_signed(&mut self, batch: &Batch<'_>) -> bool {
        let mut counting = self.keys.iter().rev().filter(|known| !known.is_succeeded);
        let signer = counting.find(|known| known.verifier.verify(batch).is_some()).map(|known| known.key);
        if let Some(signer) = signer {
            let succeeded = self.keys.iter_mut().filter(|known| known.successor == Some(signer));
            succeeded.for_each(|known| known.is_succeeded = true);
        }
        signer.is_some()
    }

    /// Whether a key that counts, or has counted, has signed the batch.
    pub fn have_ever_signed(&self, batch: &Batch<'_>) -> bool {
        self.keys.iter().rev().any(|known| known.verifier.verify(batch).is_some())
    }

    /// All keys, in the order in which they came to count.
    pub fn list(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|known| known.key).collect()
    }
}
