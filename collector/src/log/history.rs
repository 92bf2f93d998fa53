//! What the sources learn from a segment, without its samples: the sequences of every lane in it, and the statements of
//! its critical batches about lanes and keys.
//!
//! Taking it in place of the batches leaves the sources in the state that the batches would have: a test checks that.

use std::collections::{BTreeMap, VecDeque};

use afferent_protocol::batch::{Batch, ChainHash, Header};
use afferent_protocol::event::{Body, Event, LaneEnd, LifeCycle};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;
use serde::{Deserialize, Serialize};

use super::records::Decoder;
use crate::kinds::{self, AtStart};
use crate::limits::HEARTBEATS_KEPT;

/// Number of batches at the end of a stretch whose range and chain hash are kept one by one: as many as a lane
/// remembers.
const RECENT: usize = 16;

/// Consecutive batches of one lane, without a hole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Their source.
    pub source: SourceId,
    /// Their stream.
    pub stream: Stream,
    /// Their epoch.
    pub epoch: Epoch,
    /// The first sequence.
    pub first: Sequence,
    /// The number of batches.
    pub batches: u64,
    /// The latest event time in them.
    pub time_last: Timestamp,
    /// The last of them, with their chain hashes.
    pub recent: Vec<(SequenceRange, ChainHash)>,
}

impl Stretch {
    /// Its exclusive end.
    pub fn end(&self) -> Sequence {
        self.recent.last().map_or(self.first, |(range, _)| range.end)
    }
}

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Consecutive batches.
    Came(Stretch),
    /// A batch, already in a stretch, with a statement about lanes or keys.
    Told(Vec<u8>),
}

/// The last batch of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHeard {
    /// The source.
    pub source: SourceId,
    /// The stream.
    pub stream: Stream,
    /// The epoch.
    pub epoch: Epoch,
    /// Its exclusive end.
    pub end: Sequence,
    /// Its chain hash.
    pub chain: ChainHash,
    /// Its first offset.
    pub offset: Offset,
    /// When it was appended, by the collector's clock.
    pub ingest: Timestamp,
    /// When it was made, by the source's clock.
    pub made: Timestamp,
    /// The measured offset of that clock.
    pub clock_offset_us: Option<i64>,
}

/// What the sources learn from a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHistory {
    /// In order.
    pub steps: Vec<Step>,
    /// The last batch of every source.
    pub heard: Vec<LastHeard>,
    /// The last heartbeats of every source, in order.
    pub beats: Vec<HeartbeatStep>,
}

/// A heartbeat of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatStep {
    /// The agent.
    pub source: SourceId,
    /// When it was made, by the agent's clock.
    pub time: Timestamp,
    /// Whether that clock was synchronised.
    pub synchronised: bool,
    /// The run of the agent.
    pub instance: [u8; 16],
    /// The ends of its lanes.
    pub lanes: Vec<(Stream, Epoch, Sequence)>,
}

impl HeartbeatStep {
    /// The heartbeat in this event, if the event is one of the batch's own source.
    pub(crate) fn of(header: &Header, event: &Event<'_>) -> Option<Self> {
        let Body::LifeCycle(LifeCycle::Heartbeat { instance, lanes }) = event.body else { return None };
        let (source, time, synchronised) = (header.source, event.time, header.clock.synchronised);
        let is_own = event.subject.as_str() == source.as_str();
        let lanes = || lanes.iter().map(|LaneEnd { stream, epoch, end, .. }| (stream, epoch, end)).collect();
        is_own.then(|| Self { source, time, synchronised, instance, lanes: lanes() })
    }
}

/// Takes the content of the log at a start, in order: batches, or whole segments' histories in place of their batches.
pub trait Rebuild {
    /// Called first: the oldest offset. Retention has removed everything before it.
    fn begins(&mut self, first: Offset);
    /// One batch.
    fn batch(&mut self, head: &EntryHead, batch: &Batch<'_>);
    /// All batches of a segment.
    fn history(&mut self, history: &SegmentHistory);
}

/// Builds a history from batches.
#[derive(Debug, Default)]
pub(super) struct Historian {
    steps: Vec<Step>,
    /// The step with the stretch that a lane's next batch may continue.
    open: BTreeMap<(SourceId, Stream, Epoch), usize>,
    heard: BTreeMap<SourceId, LastHeard>,
    beats: BTreeMap<SourceId, VecDeque<HeartbeatStep>>,
    decoder: Decoder,
}

impl Historian {
    /// Takes the next batch.
    pub fn push(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let (source, stream, epoch) = (header.source, header.stream, header.epoch);
        let (range, chain) = (header.range(), batch.chain_hash());
        let steps = &mut self.steps;
        let open = self.open.get(&(source, stream, epoch)).and_then(|at| match steps.get_mut(*at) {
            Some(Step::Came(stretch)) if stretch.end() == range.first => Some(stretch),
            _ => None,
        });
        match open {
            Some(stretch) => {
                stretch.batches += 1;
                stretch.time_last = stretch.time_last.max(header.time_last);
                if stretch.recent.len() == RECENT {
                    stretch.recent.remove(0);
                }
                stretch.recent.push((range, chain));
            }
            None => {
                let recent = vec![(range, chain)];
                let (first, time_last) = (range.first, header.time_last);
                let stretch = Stretch { source, stream, epoch, first, batches: 1, time_last, recent };
                self.open.insert((source, stream, epoch), steps.len());
                steps.push(Step::Came(stretch));
            }
        }
        let (end, offset, ingest, made) = (range.end, Offset::new(head.ordinal), head.stamp, header.clock.wall);
        let clock_offset_us = head.clock_offset_us();
        let last = LastHeard { source, stream, epoch, end, chain, offset, ingest, made, clock_offset_us };
        self.heard.insert(source, last);
        if stream == Stream::Critical && self.has_statements(batch) {
            self.steps.push(Step::Told(batch.bytes().to_vec()));
            // Later batches must be taken after it.
            self.open.clear();
        }
    }

    /// Whether the batch has a statement about lanes or keys, or may have one.
    fn has_statements(&mut self, batch: &Batch<'_>) -> bool {
        let (header, beats) = (batch.header(), &mut self.beats);
        let mut tells = false;
        for record in self.decoder.open(batch) {
            let Ok(record) = record else { return true };
            if let Some(beat) = HeartbeatStep::of(header, &record.event) {
                let of_source = beats.entry(header.source).or_default();
                if of_source.len() == HEARTBEATS_KEPT {
                    of_source.pop_front();
                }
                of_source.push_back(beat);
            }
            tells |= match record.event.body {
                Body::Loss(_) => true,
                Body::LifeCycle(change) => kinds::of_change(change.kind()).at_start == AtStart::Replayed,
                _ => false,
            };
        }
        tells
    }

    pub fn finish(self) -> SegmentHistory {
        let beats = self.beats.into_values().flatten().collect();
        SegmentHistory { steps: self.steps, heard: self.heard.into_values().collect(), beats }
    }
}
