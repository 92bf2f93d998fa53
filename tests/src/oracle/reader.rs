//! A small reader of segment files.

use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::codec;
use afferent_protocol::event::Event;
use afferent_protocol::ids::SourceId;
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{Head, LogKind, SegmentHeader};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::Verifier;

/// A batch in a file.
#[derive(Clone, Copy, Debug)]
pub struct FoundBatch<'a> {
    /// Its entry's ordinal.
    pub ordinal: u64,
    /// How many events it has.
    pub count: u32,
    /// Who wrote it.
    pub source: SourceId,
    /// Its lane.
    pub lane: Lane,
    /// Its first sequence.
    pub first: u64,
    /// The chain hash of the batch before it, as it says.
    pub previous: ChainHash,
    batch: Batch<'a>,
}

impl FoundBatch<'_> {
    /// Its chain hash.
    pub fn chain(&self) -> ChainHash {
        self.batch.chain_hash()
    }

    /// Whether the key's owner has signed it.
    pub fn is_signed_by(&self, verifier: &Verifier) -> bool {
        verifier.verify(&self.batch).is_some()
    }

    /// Gives every event, with its place in the batch.
    pub fn each(&self, mut each: impl FnMut(u32, &Event<'_>)) -> Result<(), String> {
        let unreadable = |error| format!("the batch at {} cannot be decoded: {error}", self.ordinal);
        let mut scratch = vec![0; self.batch.header().decoded_len as usize];
        let records = codec::records(&self.batch, &mut scratch).map_err(unreadable)?;
        for (index, record) in records.enumerate() {
            each(index as u32, &record.map_err(unreadable)?.event);
        }
        Ok(())
    }
}

/// The batches of a unified log, in order.
///
/// What a later segment begins anew does not count in an earlier one. At the end of the last one an unfinished write
/// does not count either, although whole entries of it may have survived: a stretch is known to have been durable only
/// when an entry behind it was written at a durable end (its `acked_end`) behind it.
pub fn unified(files: &[(String, Vec<u8>)]) -> Result<Vec<FoundBatch<'_>>, String> {
    let mut segments = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        match SegmentHeader::decode(bytes) {
            Head::Present { header, .. } if header.kind == LogKind::Unified => segments.push((header, name, bytes)),
            // A segment that was being begun when the power went holds nothing.
            _ if bytes.get(1024..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0)) => {}
            head => return Err(format!("{name} has no header: {head:?}")),
        }
    }
    segments.sort_by_key(|(header, ..)| header.generation);
    let mut found = Vec::new();
    let mut end = 0;
    for (at, (header, name, bytes)) in segments.iter().enumerate() {
        let limit = segments[at + 1..].iter().map(|(later, ..)| later.first_ordinal).min();
        let mut entries = Vec::new();
        let mut scan = Scan::new(bytes, header.seed());
        while let Some(step) = scan.step() {
            if let Step::Entry(_, entry) = step {
                entries.push(entry);
            }
        }
        let durable = limit.or_else(|| entries.iter().map(|entry| entry.head.acked_end).max());
        for entry in entries {
            let head = entry.head;
            if limit.is_some_and(|limit| head.end_ordinal() > limit) || (limit.is_none() && head.ordinal != end) {
                break;
            }
            if head.ordinal != end {
                return Err(format!("{name}: offset {} follows {end}", head.ordinal));
            }
            end = head.end_ordinal();
            found.push(batch(head.ordinal, entry.batch));
        }
        if durable.is_some_and(|durable| end < durable) {
            return Err(format!("{name}: the log was durable up to {durable:?} and can be read up to {end}"));
        }
    }
    Ok(found)
}

/// The batches of a ring, in no order.
pub fn ring(files: &[(String, Vec<u8>)]) -> Vec<FoundBatch<'_>> {
    let mut found = Vec::new();
    for (_, bytes) in files {
        let Head::Present { header, .. } = SegmentHeader::decode(bytes) else { continue };
        let mut scan = Scan::new(bytes, header.seed());
        while let Some(step) = scan.step() {
            if let Step::Entry(_, entry) = step {
                found.push(batch(entry.head.ordinal, entry.batch));
            }
        }
    }
    found
}

fn batch(ordinal: u64, batch: Batch<'_>) -> FoundBatch<'_> {
    let header = *batch.header();
    FoundBatch {
        ordinal,
        count: header.count,
        source: header.source,
        lane: Lane { stream: header.stream, epoch: header.epoch },
        first: header.first.get(),
        previous: header.previous,
        batch,
    }
}
