//! A quick look at a ring's platter, at every accept: is what was accepted on it, and under which sequences?
//!
//! It uses the product's own scan: it is taken thousands of times in a run, and only says where to look for an event at
//! the end, when the oracle's own reader does the judging.

use std::collections::BTreeMap;

use afferent_protocol::batch::Batch;
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Event};
use afferent_protocol::ids::{Epoch, Stream};
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{Head, SegmentHeader};
use afferent_protocol::session::Lane;

use super::ledger::Content;
use crate::oracle_reader::read_segment;

/// An agent's ring.
#[derive(Debug)]
pub struct SeenRing {
    /// What its platter holds.
    pub files: Vec<(String, Vec<u8>)>,
    /// The oldest sequence of each lane that the agent could still read, by its own account: what lies before it stands
    /// in a segment that was let go of, to be rewritten.
    pub oldest: BTreeMap<Lane, u64>,
}

/// Where a ring's platter holds the batch that has `count` events beside what the agent says of itself, of which `is_same`
/// knows each: its lane and their sequences.
pub fn find_in_ring(
    files: &[(String, Vec<u8>)],
    stream: Stream,
    count: usize,
    mut is_same: impl FnMut(usize, &Event<'_>) -> bool,
) -> Option<(Lane, Vec<u64>)> {
    for (_, bytes) in files {
        let Head::Present { header, .. } = SegmentHeader::decode(bytes) else { continue };
        if header.stream != stream {
            continue;
        }
        let mut scan = Scan::new(bytes, header.seed());
        let steps = std::iter::from_fn(|| scan.step());
        let found = steps.into_iter().find_map(|step| match step {
            Step::Entry(_, entry) => sequences(&entry.batch, count, &mut is_same),
            Step::Corrupt { .. } => None,
        });
        if let Some(sequences) = found {
            return Some((Lane { stream, epoch: header.epoch }, sequences));
        }
    }
    None
}

fn sequences(batch: &Batch<'_>, count: usize, is_same: &mut impl FnMut(usize, &Event<'_>) -> bool) -> Option<Vec<u64>> {
    let mut scratch = vec![0; batch.header().decoded_len as usize];
    let mut found = Vec::new();
    for record in codec::records(batch, &mut scratch).ok()? {
        let record = record.ok()?;
        if matches!(record.event.body, Body::LifeCycle(_)) {
            continue;
        }
        if found.len() == count || !is_same(found.len(), &record.event) {
            return None;
        }
        found.push(record.sequence.get());
    }
    (found.len() == count).then_some(found)
}

/// Every event that lies whole on a ring's platter, with its lane and sequence.
pub fn events_in_ring(files: &[(String, Vec<u8>)]) -> Vec<(Lane, u64, Content)> {
    let mut found = Vec::new();
    for (_, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        let Ok(Some(segment)) = read_segment(bytes) else { continue };
        for entry in segment.entries {
            let Some(stream) = Stream::from_number(entry.batch.lane.stream) else { continue };
            let lane = Lane { stream, epoch: Epoch::new(entry.batch.lane.epoch) };
            let events = (entry.batch.first..).zip(&entry.batch.events);
            found.extend(events.map(|(sequence, event)| (lane, sequence, Content::of_read(event))));
        }
    }
    found
}
