//! Whether a batch is what it should be: signed, chained, in order, readable. An emptied one has nothing to read, and its
//! signature and its chain are those of the chain hash that it has kept.

use std::collections::BTreeMap;
use std::fmt;

use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::codec::records;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Sequence, SourceId, Stream};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};
use serde::Serialize;

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// No key was pinned for its source before it.
    NoKey,
    /// It is not signed with the key that its source is held to.
    Signature,
    /// It does not name the batch before it in its lane.
    Chain,
    /// Its sequences do not follow those before it.
    Order,
    /// Its records cannot be decoded.
    Body,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no key was pinned for its source before it",
            Self::Signature => "it is not signed with the key of its source",
            Self::Chain => "it does not continue the chain of the batch before it",
            Self::Order => "its sequences are there already",
            Self::Body => "its records cannot be decoded",
        })
    }
}

/// What is needed to prove one batch after the other.
#[derive(Debug)]
pub struct Proof {
    own: SourceId,
    /// Whether the collector's key was known beforehand.
    knows_own: bool,
    keys: BTreeMap<SourceId, Option<Verifier>>,
    /// End and chain hash of each lane's last batch.
    lanes: BTreeMap<(SourceId, Lane), (Sequence, ChainHash)>,
}

/// A key that a batch pins.
type Pin = (SourceId, PublicKey);

impl Proof {
    /// Nothing was seen yet. `own` is the collector's name: only what it wrote tells which keys are pinned, its own
    /// included.
    pub fn new(own: SourceId) -> Self {
        Self { own, knows_own: false, keys: BTreeMap::new(), lanes: BTreeMap::new() }
    }

    /// As [`Proof::new`]; but the collector is held to this key, whatever the log says.
    pub fn with_key(own: SourceId, key: PublicKey) -> Self {
        let keys = BTreeMap::from([(own, key.verifier())]);
        Self { own, knows_own: true, keys, lanes: BTreeMap::new() }
    }

    /// What is wrong with the next batch.
    pub fn doubts(&mut self, batch: &Batch<'_>) -> Vec<Doubt> {
        let header = batch.header();
        let mut doubts = Vec::new();
        let (pins, is_readable) = self.pins(batch);
        if !is_readable {
            doubts.push(Doubt::Body);
        }
        let own = self.own;
        if !self.knows_own {
            self.pin(pins.iter().filter(|(source, _)| *source == own));
        }
        let verifier = self.keys.get(&header.source);
        let is_signed = verifier.and_then(|verifier| verifier.as_ref()?.verify(batch)).is_some();
        if is_signed {
            self.pin(pins.iter().filter(|(source, _)| *source != own));
        } else {
            doubts.push(if verifier.is_none() { Doubt::NoKey } else { Doubt::Signature });
        }
        doubts.extend(self.place(batch));
        doubts
    }

    /// What is wrong with the batch's place in its lane.
    fn place(&mut self, batch: &Batch<'_>) -> Option<Doubt> {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let before = self.lanes.insert((header.source, lane), (header.end(), batch.chain_hash()));
        let (end, chain) = before.unwrap_or((Sequence::ZERO, CHAIN_START));
        if header.first < end {
            return Some(Doubt::Order);
        }
        // After a hole nobody knows the batch before; the hole itself is told by a loss or a gap in the log.
        (header.first == end && header.previous != chain).then_some(Doubt::Chain)
    }

    /// Decodes the batch; gives the keys that it pins, and whether all of it could be decoded.
    fn pins(&self, batch: &Batch<'_>) -> (Vec<Pin>, bool) {
        let header = batch.header();
        let mut scratch = vec![0; header.decoded_len as usize];
        let is_own = header.source == self.own && header.stream == Stream::Critical;
        let mut pins = Vec::new();
        let Ok(records) = records(batch, &mut scratch) else { return (pins, false) };
        for record in records {
            let Ok(record) = record else { return (pins, false) };
            if let (true, Body::LifeCycle(LifeCycle::KeyPinned { source, key })) = (is_own, record.event.body)
                && let Ok(source) = SourceId::new(source)
            {
                pins.push((source, PublicKey(key)));
            }
        }
        (pins, true)
    }

    fn pin<'p>(&mut self, pins: impl Iterator<Item = &'p Pin>) {
        let pins: Vec<_> = pins.map(|(source, key)| (*source, key.verifier())).collect();
        self.keys.extend(pins);
    }
}
