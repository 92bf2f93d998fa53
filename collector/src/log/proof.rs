//! Whether a batch is what it should be: signed, chained, in order, readable. An emptied one has nothing to read, and its
//! signature and its chain are those of the chain hash that it has kept.

use std::collections::BTreeMap;
use std::fmt;

use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::codec::records;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Offset, Sequence, SourceId, Stream};
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
    /// Its records are gone, and retention was not to remove them.
    Emptied,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no key was pinned for its source before it",
            Self::Signature => "it is not signed with the key of its source",
            Self::Chain => "it does not continue the chain of the batch before it",
            Self::Order => "its sequences are there already",
            Self::Body => "its records cannot be decoded",
            Self::Emptied => "its records are gone, and retention was not to remove them",
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
    /// Retention was to remove what is before this offset, as the collector says.
    trimmed_until: Offset,
    /// And the samples before this one.
    emptied_until: Offset,
    /// End and chain hash of each lane's last batch.
    lanes: BTreeMap<(SourceId, Lane), (Sequence, ChainHash)>,
}

/// A key that a batch pins.
type Pin = (SourceId, PublicKey);

/// What a batch says about what others are worth.
struct Said {
    pins: Vec<Pin>,
    trimmed_until: Offset,
    emptied_until: Offset,
    /// Whether all of it could be decoded.
    is_readable: bool,
}

impl Proof {
    /// Nothing was seen yet. `own` is the collector's name: only what it wrote tells which keys are pinned, its own
    /// included.
    pub fn new(own: SourceId) -> Self {
        Self {
            own,
            knows_own: false,
            keys: BTreeMap::new(),
            trimmed_until: Offset::ZERO,
            emptied_until: Offset::ZERO,
            lanes: BTreeMap::new(),
        }
    }

    /// As [`Proof::new`]; but the collector is held to this key, whatever the log says.
    pub fn with_key(own: SourceId, key: PublicKey) -> Self {
        let keys = BTreeMap::from([(own, key.verifier())]);
        Self { knows_own: true, keys, ..Self::new(own) }
    }

    /// Takes the keys that a batch of the collector pins, before the batches are proved: where retention has removed the
    /// beginning of the log, they are told anew behind what they prove. Those of sources that have one stay.
    pub fn ahead(&mut self, batch: &Batch<'_>) {
        let header = batch.header();
        if header.source != self.own || header.stream != Stream::Critical {
            return;
        }
        let Said { pins, trimmed_until, emptied_until, .. } = self.said(batch);
        let own = self.own;
        if !self.keys.contains_key(&own) {
            self.pin(pins.iter().filter(|(source, _)| *source == own));
        }
        if self.is_signed(batch) {
            let new: Vec<Pin> = pins.into_iter().filter(|(source, _)| !self.keys.contains_key(source)).collect();
            self.pin(new.iter());
            self.trimmed_until = self.trimmed_until.max(trimmed_until);
            self.emptied_until = self.emptied_until.max(emptied_until);
        }
    }

    /// Retention was to remove what is before this offset, as the batches say that were taken so far.
    pub fn trimmed_until(&self) -> Offset {
        self.trimmed_until
    }

    /// Retention was to empty the samples batches before this offset, as the batches say that were taken so far.
    pub fn emptied_until(&self) -> Offset {
        self.emptied_until
    }

    fn is_signed(&self, batch: &Batch<'_>) -> bool {
        let verifier = self.keys.get(&batch.header().source);
        verifier.and_then(|verifier| verifier.as_ref()?.verify(batch)).is_some()
    }

    /// What is wrong with the next batch.
    pub fn doubts(&mut self, batch: &Batch<'_>) -> Vec<Doubt> {
        let header = batch.header();
        let mut doubts = Vec::new();
        let Said { pins, trimmed_until, emptied_until, is_readable } = self.said(batch);
        if !is_readable {
            doubts.push(Doubt::Body);
        }
        let own = self.own;
        if !self.knows_own {
            self.pin(pins.iter().filter(|(source, _)| *source == own));
        }
        if self.is_signed(batch) {
            self.pin(pins.iter().filter(|(source, _)| *source != own));
            self.trimmed_until = self.trimmed_until.max(trimmed_until);
            self.emptied_until = self.emptied_until.max(emptied_until);
        } else {
            doubts.push(if self.keys.contains_key(&header.source) { Doubt::Signature } else { Doubt::NoKey });
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

    /// Decodes the batch.
    fn said(&self, batch: &Batch<'_>) -> Said {
        let header = batch.header();
        let mut scratch = vec![0; header.decoded_len as usize];
        let is_own = header.source == self.own && header.stream == Stream::Critical;
        let (trimmed_until, emptied_until) = (Offset::ZERO, Offset::ZERO);
        let mut said = Said { pins: Vec::new(), trimmed_until, emptied_until, is_readable: false };
        let Ok(records) = records(batch, &mut scratch) else { return said };
        for record in records {
            let Ok(record) = record else { return said };
            match record.event.body {
                Body::LifeCycle(LifeCycle::KeyPinned { source, key }) if is_own => {
                    said.pins.extend(SourceId::new(source).map(|source| (source, PublicKey(key))));
                }
                Body::LifeCycle(LifeCycle::Trimmed { until, .. }) if is_own => {
                    said.trimmed_until = said.trimmed_until.max(until);
                }
                Body::LifeCycle(LifeCycle::Emptied { stream: Stream::Samples, until, .. }) if is_own => {
                    said.emptied_until = said.emptied_until.max(until);
                }
                _ => {}
            }
        }
        said.is_readable = true;
        said
    }

    fn pin<'p>(&mut self, pins: impl Iterator<Item = &'p Pin>) {
        let pins: Vec<_> = pins.map(|(source, key)| (*source, key.verifier())).collect();
        self.keys.extend(pins);
    }
}
