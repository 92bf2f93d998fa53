//! Checks of a batch: signed, chained, in order, readable. An emptied batch has no records to read; its signature and
//! its chain are checked with the chain hash that it has kept.

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

/// A failed check of a batch.
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
    /// Its records are gone, although retention was not due to remove them.
    Emptied,
    /// Its source had a different key then, and the batch that named it is not kept.
    KeyGone,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "no key was pinned for its source before it",
            Self::Signature => "it is not signed with its source's key",
            Self::Chain => "it does not continue the chain of the batch before it",
            Self::Order => "its sequences are in the log already",
            Self::Body => "its records cannot be decoded",
            Self::Emptied => "its records are gone, but retention did not remove them",
            Self::KeyGone => "its source had another key then, and retention has removed the event that named it",
        })
    }
}

/// The key that a source is held to; `None` when it is only known that it had a different one than the next.
type SourceKey = Option<(PublicKey, Option<Verifier>)>;

/// The state for checking one batch after the other.
#[derive(Debug)]
pub struct Proof {
    own: SourceId,
    log_keys: LogKeys,
    /// The keys of the log at the end of the look ahead.
    log_keys_ahead: LogKeys,
    sources: BTreeMap<SourceId, SourceKey>,
    /// The collector has logged that retention removes everything before this offset.
    trimmed_until: Offset,
    /// And the samples before this one.
    emptied_until: Offset,
    lanes: BTreeMap<(SourceId, Lane), LaneProof>,
}

/// The batches of a lane so far.
#[derive(Debug)]
struct LaneProof {
    /// End and chain hash of its last batch.
    end: Sequence,
    chain: ChainHash,
    /// Missing sequences before: they may come later, from a source that still has them.
    holes: Vec<ChainHole>,
}

impl Default for LaneProof {
    fn default() -> Self {
        Self { end: Sequence::ZERO, chain: CHAIN_START, holes: Vec::new() }
    }
}

/// Sequences that are missing between two batches.
#[derive(Clone, Copy, Debug)]
struct ChainHole {
    range: SequenceRange,
    /// The chain hash of the batch before the hole.
    before: ChainHash,
    /// The chain hash that the batch behind the hole names.
    named: ChainHash,
}

impl LaneProof {
    /// Checks the next batch's position in its lane. After a hole the batch before is unknown; a loss or a gap in the
    /// log declares the hole itself.
    fn check_position(&mut self, range: SequenceRange, previous: ChainHash, chain: ChainHash) -> Option<Doubt> {
        if range.first < self.end {
            return self.fill(range, previous, chain);
        }
        let missing = SequenceRange { first: self.end, end: range.first };
        let is_broken = missing.first == missing.end && previous != self.chain;
        // A hole that is not remembered cannot be filled without a doubt.
        if missing.first < missing.end && self.holes.len() < RANGES_MAX {
            self.holes.push(ChainHole { range: missing, before: self.chain, named: previous });
        }
        (self.end, self.chain) = (range.end, chain);
        is_broken.then_some(Doubt::Chain)
    }

    fn fill(&mut self, range: SequenceRange, previous: ChainHash, chain: ChainHash) -> Option<Doubt> {
        let lies_in = |hole: &ChainHole| hole.range.first <= range.first && range.end <= hole.range.end;
        let Some(at) = self.holes.iter().position(lies_in) else { return Some(Doubt::Order) };
        let ChainHole { range: missing, before, named } = self.holes.swap_remove(at);
        let is_broken =
            (missing.first == range.first && previous != before) || (missing.end == range.end && chain != named);
        let earlier =
            ChainHole { range: SequenceRange { first: missing.first, end: range.first }, before, named: previous };
        let later = ChainHole { range: SequenceRange { first: range.end, end: missing.end }, before: chain, named };
        self.holes.extend([earlier, later].into_iter().filter(|hole| hole.range.first < hole.range.end));
        is_broken.then_some(Doubt::Chain)
    }
}

/// A key that a batch names for a source.
struct Pin {
    source: SourceId,
    key: PublicKey,
    /// Whether it replaces an earlier key.
    is_replacement: bool,
}

/// The statements of a batch that bear on checks of other batches.
#[derive(Default)]
struct Statements {
    pins: Vec<Pin>,
    endorsements: Vec<Endorsement>,
    trimmed_until: Offset,
    emptied_until: Offset,
    /// Whether the whole batch could be decoded.
    is_readable: bool,
}

impl Proof {
    /// Starts before the first batch. `own` is the collector's name: only its batches pin keys.
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

    /// Takes the keys that a batch of the collector pins, before the batches are checked: where retention has removed
    /// the beginning of the log, keys are logged again behind the batches that need them. Sources that have a key keep
    /// it.
    pub fn ahead(&mut self, batch: &Batch<'_>) {
        let header = batch.header();
        if header.source != self.own || header.stream != Stream::Critical {
            return;
        }
        let said = self.statements(batch);
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

    /// Finds the keys that came before the one that the reader has named.
    pub fn look_back(&mut self, batch: &Batch<'_>) {
        if batch.header().stream == Stream::Critical {
            let said = self.statements(batch);
            said.endorsements.iter().for_each(|endorsement| self.log_keys.add_predecessor(endorsement, batch));
        }
    }

    /// Retention was due to remove everything before this offset, as the batches so far record.
    pub fn trimmed_until(&self) -> Offset {
        self.trimmed_until
    }

    /// Retention was due to empty the samples batches before this offset, as the batches so far record.
    pub fn emptied_until(&self) -> Offset {
        self.emptied_until
    }

    /// The keys that the collector's batches are checked with.
    pub(crate) fn log_keys(&self) -> &LogKeys {
        &self.log_keys
    }

    /// The key that a source is held to.
    pub fn key_of(&self, source: &SourceId) -> Option<PublicKey> {
        Some(self.sources.get(source)?.as_ref()?.0)
    }

    /// Whether the batch is signed with the key that its source is held to after the last batch taken; a batch of the
    /// collector with any key that it had.
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

    /// The doubt about a batch whose signature does not verify.
    fn unsigned(&self, source: &SourceId) -> Doubt {
        match self.sources.get(source) {
            _ if *source == self.own && !self.log_keys.list().is_empty() => Doubt::Signature,
            None => Doubt::NoKey,
            Some(None) => Doubt::KeyGone,
            Some(Some(_)) => Doubt::Signature,
        }
    }

    fn find_own(&mut self, said: &Statements) {
        if let Some(pin) = said.pins.iter().find(|pin| pin.source == self.own) {
            self.log_keys.add_pinned(pin.key);
            self.log_keys_ahead.add_pinned(pin.key);
        }
    }

    /// The failed checks of the next batch.
    pub fn doubts(&mut self, batch: &Batch<'_>) -> Vec<Doubt> {
        let header = batch.header();
        let mut doubts = Vec::new();
        let said = self.statements(batch);
        if !said.is_readable {
            doubts.push(Doubt::Body);
        }
        self.find_own(&said);
        if header.source == self.own {
            // An endorsement carries its own signature: the successor may be the first to record it.
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
        doubts.extend(self.check_position(batch));
        doubts
    }

    /// Checks the batch's position in its lane.
    fn check_position(&mut self, batch: &Batch<'_>) -> Option<Doubt> {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        self.check_position_in((header.source, lane), header.range(), batch.chain_hash(), Some(header.previous))
    }

    /// Checks the position of a lane's next batch. An extract does not repeat the hash of the batch before it where
    /// that is `previous`.
    pub(crate) fn check_position_in(
        &mut self,
        lane: (SourceId, Lane),
        range: SequenceRange,
        chain: ChainHash,
        previous: Option<ChainHash>,
    ) -> Option<Doubt> {
        let known = self.lanes.entry(lane).or_default();
        let previous = previous.unwrap_or(known.chain);
        known.check_position(range, previous, chain)
    }

    /// Whether a batch of these sequences comes after later ones of its lane.
    pub(crate) fn is_late(&self, lane: &(SourceId, Lane), range: SequenceRange) -> bool {
        self.lanes.get(lane).is_some_and(|known| range.first < known.end)
    }

    /// Decodes the batch for its statements.
    fn statements(&self, batch: &Batch<'_>) -> Statements {
        let header = batch.header();
        let mut decoder = Decoder::default();
        let is_own = header.source == self.own && header.stream == Stream::Critical;
        let mut said = Statements::default();
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

impl Statements {
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
