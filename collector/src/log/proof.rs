//! Whether a batch is what it should be: signed, chained, in order, readable. An emptied one has nothing to read, and its
//! signature and its chain are those of the chain hash that it has kept.

use std::collections::BTreeMap;
use std::fmt;

use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::endorsement::Endorsement;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};
use serde::Serialize;

use super::keys::{LogKeys, Trust};
use super::records::Decoder;
use crate::limits::RANGES_MAX;

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
    /// Its source had another key then, and what named it is not kept.
    KeyGone,
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
            Self::KeyGone => "its source had another key then, and what named it was removed by retention",
        })
    }
}

/// The key that a source is held to; `None` when all that is known is that it had another one than the next.
type SourceKey = Option<(PublicKey, Option<Verifier>)>;

/// What is needed to prove one batch after the other.
#[derive(Debug)]
pub struct Proof {
    own: SourceId,
    log_keys: LogKeys,
    /// The same, as far as the look ahead has come.
    log_keys_ahead: LogKeys,
    sources: BTreeMap<SourceId, SourceKey>,
    /// Retention was to remove what is before this offset, as the collector says.
    trimmed_until: Offset,
    /// And the samples before this one.
    emptied_until: Offset,
    lanes: BTreeMap<(SourceId, Lane), LaneProof>,
}

/// What came of a lane.
#[derive(Debug)]
struct LaneProof {
    /// End and chain hash of its last batch.
    end: Sequence,
    chain: ChainHash,
    /// What is missing before: it may come later, from whoever still has it.
    holes: Vec<Hole>,
}

impl Default for LaneProof {
    fn default() -> Self {
        Self { end: Sequence::ZERO, chain: CHAIN_START, holes: Vec::new() }
    }
}

/// Sequences that are missing between two batches.
#[derive(Clone, Copy, Debug)]
struct Hole {
    range: SequenceRange,
    /// The chain hash of the batch before them.
    before: ChainHash,
    /// The one that the batch behind them names.
    named: ChainHash,
}

impl LaneProof {
    /// What is wrong with the place of the next batch. After a hole nobody knows the batch before; the hole itself is told
    /// by a loss or a gap in the log.
    fn place(&mut self, range: SequenceRange, previous: ChainHash, chain: ChainHash) -> Option<Doubt> {
        if range.first < self.end {
            return self.fill(range, previous, chain);
        }
        let missing = SequenceRange { first: self.end, end: range.first };
        let is_broken = missing.first == missing.end && previous != self.chain;
        // One that is not remembered is not filled without a doubt.
        if missing.first < missing.end && self.holes.len() < RANGES_MAX {
            self.holes.push(Hole { range: missing, before: self.chain, named: previous });
        }
        (self.end, self.chain) = (range.end, chain);
        is_broken.then_some(Doubt::Chain)
    }

    fn fill(&mut self, range: SequenceRange, previous: ChainHash, chain: ChainHash) -> Option<Doubt> {
        let lies_in = |hole: &Hole| hole.range.first <= range.first && range.end <= hole.range.end;
        let Some(at) = self.holes.iter().position(lies_in) else { return Some(Doubt::Order) };
        let Hole { range: missing, before, named } = self.holes.swap_remove(at);
        let is_broken =
            (missing.first == range.first && previous != before) || (missing.end == range.end && chain != named);
        let earlier = Hole { range: SequenceRange { first: missing.first, end: range.first }, before, named: previous };
        let later = Hole { range: SequenceRange { first: range.end, end: missing.end }, before: chain, named };
        self.holes.extend([earlier, later].into_iter().filter(|hole| hole.range.first < hole.range.end));
        is_broken.then_some(Doubt::Chain)
    }
}

/// A key that a batch names for a source.
struct Pin {
    source: SourceId,
    key: PublicKey,
    /// Whether it takes the place of another.
    is_replacement: bool,
}

/// What a batch says about what others are worth.
#[derive(Default)]
struct Said {
    pins: Vec<Pin>,
    endorsements: Vec<Endorsement>,
    trimmed_until: Offset,
    emptied_until: Offset,
    /// Whether all of it could be decoded.
    is_readable: bool,
}

impl Proof {
    /// Nothing was seen yet. `own` is the collector's name: only what it wrote tells which keys are pinned.
    pub fn new(own: SourceId, trust: &Trust) -> Self {
        let log_keys = LogKeys::new(trust);
        Self {
            own,
            log_keys_ahead: log_keys.clone(),
            log_keys,
            sources: BTreeMap::new(),
            trimmed_until: Offset::ZERO,
            emptied_until: Offset::ZERO,
            lanes: BTreeMap::new(),
        }
    }

    /// Takes the keys that a batch of the collector pins, before the batches are proved: where retention has removed the
    /// beginning of the log, they are told anew behind what they prove. Those of sources that have one stay.
    pub fn ahead(&mut self, batch: &Batch<'_>) {
        let header = batch.header();
        if header.source != self.own || header.stream != Stream::Critical {
            return;
        }
        let said = self.said(batch);
        self.find_own(&said);
        said.endorsements.iter().for_each(|endorsement| self.log_keys_ahead.endorsed(endorsement));
        if self.log_keys_ahead.have_signed(batch) {
            for Pin { source, key, is_replacement } in said.pins {
                let key = (!is_replacement).then(|| (key, key.verifier()));
                self.sources.entry(source).or_insert(key);
            }
            self.trimmed_until = self.trimmed_until.max(said.trimmed_until);
            self.emptied_until = self.emptied_until.max(said.emptied_until);
        }
    }

    /// Looks which keys came before the one that the reader has named.
    pub fn look_back(&mut self, batch: &Batch<'_>) {
        if batch.header().stream == Stream::Critical {
            let said = self.said(batch);
            said.endorsements.iter().for_each(|endorsement| self.log_keys.handed(endorsement, batch));
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

    /// The keys by which the collector's word is judged.
    pub(crate) fn log_keys(&self) -> &LogKeys {
        &self.log_keys
    }

    /// The key that a source is held to.
    pub fn key_of(&self, source: &SourceId) -> Option<PublicKey> {
        Some(self.sources.get(source)?.as_ref()?.0)
    }

    /// Whether the batch is signed with the key that its source is held to at the end of what was taken; one of the
    /// collector with any that it had.
    pub(crate) fn is_signed_in_the_end(&self, batch: &Batch<'_>) -> bool {
        let source = batch.header().source;
        if source == self.own {
            return self.log_keys.have_ever_signed(batch);
        }
        let verifier = self.sources.get(&source).and_then(|key| key.as_ref()?.1.as_ref());
        verifier.and_then(|verifier| verifier.verify(batch)).is_some()
    }

    /// Whether the batch is signed with the key that its source is held to now.
    fn is_signed(&mut self, batch: &Batch<'_>) -> bool {
        let source = batch.header().source;
        if source == self.own { self.log_keys.have_signed(batch) } else { self.is_signed_in_the_end(batch) }
    }

    /// What is wrong with a batch that is not signed as it should be.
    fn unsigned(&self, source: &SourceId) -> Doubt {
        match self.sources.get(source) {
            _ if *source == self.own && !self.log_keys.list().is_empty() => Doubt::Signature,
            None => Doubt::NoKey,
            Some(None) => Doubt::KeyGone,
            Some(Some(_)) => Doubt::Signature,
        }
    }

    fn find_own(&mut self, said: &Said) {
        if let Some(pin) = said.pins.iter().find(|pin| pin.source == self.own) {
            self.log_keys.found(pin.key);
            self.log_keys_ahead.found(pin.key);
        }
    }

    /// What is wrong with the next batch.
    pub fn doubts(&mut self, batch: &Batch<'_>) -> Vec<Doubt> {
        let header = batch.header();
        let mut doubts = Vec::new();
        let said = self.said(batch);
        if !said.is_readable {
            doubts.push(Doubt::Body);
        }
        self.find_own(&said);
        if header.source == self.own {
            // An endorsement is signed by itself: the successor may be the first to write it down.
            said.endorsements.iter().for_each(|endorsement| self.log_keys.endorsed(endorsement));
        }
        if self.is_signed(batch) {
            for Pin { source, key, .. } in said.pins {
                self.sources.insert(source, Some((key, key.verifier())));
            }
            self.trimmed_until = self.trimmed_until.max(said.trimmed_until);
            self.emptied_until = self.emptied_until.max(said.emptied_until);
        } else {
            doubts.push(self.unsigned(&header.source));
        }
        doubts.extend(self.place(batch));
        doubts
    }

    /// What is wrong with the batch's place in its lane.
    fn place(&mut self, batch: &Batch<'_>) -> Option<Doubt> {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        self.place_in((header.source, lane), header.range(), batch.chain_hash(), Some(header.previous))
    }

    /// What is wrong with the place of a lane's next batch. An extract does not repeat the hash of the batch before it where
    /// that is `previous`.
    pub(crate) fn place_in(
        &mut self,
        lane: (SourceId, Lane),
        range: SequenceRange,
        chain: ChainHash,
        previous: Option<ChainHash>,
    ) -> Option<Doubt> {
        let known = self.lanes.entry(lane).or_default();
        let previous = previous.unwrap_or(known.chain);
        known.place(range, previous, chain)
    }

    /// Whether a batch of these sequences lies before others of its lane that have come.
    pub(crate) fn is_late(&self, lane: &(SourceId, Lane), range: SequenceRange) -> bool {
        self.lanes.get(lane).is_some_and(|known| range.first < known.end)
    }

    /// Decodes the batch.
    fn said(&self, batch: &Batch<'_>) -> Said {
        let header = batch.header();
        let mut decoder = Decoder::default();
        let is_own = header.source == self.own && header.stream == Stream::Critical;
        let mut said = Said::default();
        for record in decoder.open(batch) {
            let Ok(record) = record else { return said };
            let Body::LifeCycle(life_cycle) = record.event.body else { continue };
            if is_own {
                said.take(&life_cycle);
            }
        }
        said.is_readable = true;
        said
    }
}

impl Said {
    fn take(&mut self, life_cycle: &LifeCycle<'_>) {
        match *life_cycle {
            LifeCycle::KeyPinned { source, key } | LifeCycle::KeyReplaced { source, key, .. } => {
                let (key, is_replacement) = (PublicKey(key), matches!(life_cycle, LifeCycle::KeyReplaced { .. }));
                self.pins.extend(SourceId::new(source).map(|source| Pin { source, key, is_replacement }));
            }
            LifeCycle::KeyEndorsed { endorsement } => self.endorsements.extend(Endorsement::read(endorsement)),
            LifeCycle::Trimmed { until, .. } => self.trimmed_until = self.trimmed_until.max(until),
            LifeCycle::Emptied { stream: Stream::Samples, until, .. } => {
                self.emptied_until = self.emptied_until.max(until);
            }
            _ => {}
        }
    }
}
