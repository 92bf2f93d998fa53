//! What a reader finds on a disk, read by the oracle's own reader.

use std::collections::BTreeMap;

use afferent_protocol::batch::ChainHash;
use afferent_protocol::event::{Body, LifeCycle, Loss};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};

use super::ledger::Content;
use super::reader::{self, FoundBatch};

/// A batch in the unified log, or in a ring.
#[derive(Clone, Debug)]
pub struct SeenBatch {
    /// Its first offset (unified log) or sequence (ring).
    pub ordinal: u64,
    /// Who wrote it.
    pub source: SourceId,
    /// Its lane.
    pub lane: Lane,
    /// Its first sequence.
    pub first: u64,
    /// The first sequence after it.
    pub end: u64,
    /// The chain hash of the batch before it, as it says.
    pub previous: ChainHash,
    /// Its own.
    pub chain: ChainHash,
    /// What its events say, and whether they are a carrier's own (losses, life cycle, clock steps).
    pub events: Vec<(Content, bool)>,
}

/// A gap that a collector declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenGap {
    /// Where the event stands.
    pub offset: u64,
    /// Whose events are missing.
    pub source: SourceId,
    /// In which lane.
    pub lane: Lane,
    /// The first missing sequence.
    pub first: u64,
    /// The first that is there again.
    pub end: u64,
}

/// Everything that a log's files hold.
#[derive(Debug, Default)]
pub struct LogView {
    /// The batches, in the log's order.
    pub batches: Vec<SeenBatch>,
    /// The losses that sources declared, with the offset of each.
    pub losses: Vec<(u64, SourceId, Loss)>,
    /// The gaps that the collector declared.
    pub gaps: Vec<SeenGap>,
    /// The keys that were pinned.
    pub pins: Vec<(SourceId, PublicKey)>,
    /// What the collector refused: by whom, and why.
    pub refusals: Vec<(SourceId, String)>,
}

impl LogView {
    /// Reads a unified log. `verifiers` are the keys that sources have in truth.
    pub fn unified(files: &[(String, Vec<u8>)], verifiers: &BTreeMap<SourceId, Verifier>) -> Result<Self, String> {
        let mut view = Self::default();
        let mut offset = 0;
        for found in reader::unified(files)? {
            if found.ordinal != offset {
                return Err(format!("the log goes from offset {offset} on to {}", found.ordinal));
            }
            offset += u64::from(found.count);
            if let Some(verifier) = verifiers.get(&found.source)
                && !found.is_signed_by(verifier)
            {
                return Err(format!("the batch at offset {} is not signed by {}", found.ordinal, found.source));
            }
            view.take(&found)?;
        }
        Ok(view)
    }

    fn take(&mut self, found: &FoundBatch<'_>) -> Result<(), String> {
        let mut events = Vec::with_capacity(found.count as usize);
        let source = found.source;
        found.each(|index, event| {
            let offset = found.ordinal + u64::from(index);
            let own = matches!(event.body, Body::Loss(_) | Body::LifeCycle(_) | Body::ClockStep(_));
            events.push((Content::of(event), own));
            match event.body {
                Body::Loss(loss) => self.losses.push((offset, source, loss)),
                Body::LifeCycle(LifeCycle::KeyPinned { source, key }) => {
                    self.pins.extend(SourceId::new(source).ok().map(|source| (source, PublicKey(key))));
                }
                Body::LifeCycle(LifeCycle::Refused { source, reason }) => {
                    self.refusals.extend(SourceId::new(source).ok().map(|source| (source, reason.to_owned())));
                }
                Body::LifeCycle(LifeCycle::Gap { source, stream, epoch, first, end }) => {
                    let lane = Lane { stream, epoch };
                    let gap = |source| SeenGap { offset, source, lane, first: first.get(), end: end.get() };
                    self.gaps.extend(SourceId::new(source).ok().map(gap));
                }
                _ => {}
            }
        })?;
        self.batches.push(SeenBatch {
            ordinal: found.ordinal,
            source,
            lane: found.lane,
            first: found.first,
            end: found.first + u64::from(found.count),
            previous: found.previous,
            chain: found.chain(),
            events,
        });
        Ok(())
    }

    /// A loss of the lane that names this sequence.
    pub fn loss_at(&self, source: SourceId, lane: Lane, sequence: u64) -> Option<&Loss> {
        let of_lane = |loss: &Loss| loss.stream == lane.stream && loss.epoch == lane.epoch;
        let names = |loss: &Loss| loss.first.get() <= sequence && sequence < loss.end.get();
        let found = self.losses.iter().find(|(_, from, loss)| *from == source && of_lane(loss) && names(loss));
        found.map(|(_, _, loss)| loss)
    }

    /// Where each lane ends.
    pub fn ends(&self) -> BTreeMap<(SourceId, Lane), u64> {
        let mut ends = BTreeMap::new();
        for batch in &self.batches {
            let end = ends.entry((batch.source, batch.lane)).or_insert(0);
            *end = batch.end.max(*end);
        }
        for gap in &self.gaps {
            let end = ends.entry((gap.source, gap.lane)).or_insert(0);
            *end = gap.end.max(*end);
        }
        ends
    }
}

/// Where a ring's platter holds the batch that consists of these events: its lane and first sequence.
pub fn find_in_ring(files: &[(String, Vec<u8>)], stream: Stream, contents: &[Content]) -> Option<(Lane, u64)> {
    let alike = |found: &FoundBatch<'_>| found.lane.stream == stream && found.count as usize == contents.len();
    // The newest is found soonest from the end.
    reader::ring(files).iter().rev().filter(|found| alike(found)).find_map(|found| {
        let mut same = true;
        let decoded = found.each(|index, event| same = same && Content::of(event) == contents[index as usize]);
        (decoded.is_ok() && same).then_some((found.lane, found.first))
    })
}
