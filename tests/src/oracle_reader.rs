//! An independent reader of every format, made from `protocol/README.md` alone: the oracle of the promises.
//!
//! It uses nothing of the code under test: its own places of fields, its own varints, its own CRC. It is slow and plain
//! on purpose. A change of the formats that it does not follow is a change that no other reader would follow.

mod batch;
mod body;
mod line;
mod message;
mod segment;
mod signature;
mod statement;
mod witness;

use std::collections::BTreeMap;

pub use batch::{ReadBatch, read_batch};
pub use body::ReadEvent;
pub use line::{ReadLine, read_line};
pub use message::{
    ReadMessage, attestation_text, endorsement_text, read_clock, read_control, read_fragment, read_message,
};
pub use segment::{ReadEntry, ReadHeader, ReadSegment, ReadTail, read_segment};
pub use signature::is_signed;
pub use statement::{
    ReadAttestation, ReadEndorsement, check_attestations, read_attestation, read_endorsement, running,
};

pub use witness::read_witness;

/// One epoch of one stream of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The source.
    pub source: String,
    /// 0 critical, 1 samples.
    pub stream: u8,
    /// The epoch.
    pub epoch: u64,
}

/// The remainder of each byte, one bit at a time.
const REMAINDERS: [u32; 256] = {
    let mut remainders = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        remainders[byte] = crc;
        byte += 1;
    }
    remainders
};

/// CRC-32C, one byte at a time: the simulated plant reads megabytes.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| crc >> 8 ^ REMAINDERS[usize::from(crc as u8 ^ byte)];
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

/// Two hexadecimal digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text as JSON has it, with no more escapes than it must.
pub fn quote(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\0'..=' ' if character != ' ' => format!("\\u{:04x}", u32::from(character)),
        other => other.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// All entries of the segments of one log, in order, every segment read as far as it is whole.
///
/// `files` are the bytes of all files of a unified log's partition. What is wrong comes back beside the entries, as
/// sentences: files that are no segments, corrupt stretches, torn tails in front of other segments, holes and repetitions
/// of offsets. A torn tail in the last segment is in order.
pub fn read_unified<'a>(files: impl IntoIterator<Item = (String, &'a [u8])>) -> (Vec<ReadEntry>, Vec<String>) {
    let mut problems = vec![];
    let mut segments = vec![];
    for (name, bytes) in files {
        match read_segment(bytes) {
            Ok(Some(segment)) => segments.push((name, segment)),
            Ok(None) => {}
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    segments.sort_by_key(|(_, segment)| (segment.header.first_ordinal, segment.header.generation));
    let mut entries: Vec<ReadEntry> = vec![];
    let mut end = segments.first().map_or(0, |(_, segment)| segment.header.first_ordinal);
    let last = segments.len().saturating_sub(1);
    for (at, (name, segment)) in segments.into_iter().enumerate() {
        problems.extend(segment.corrupt.iter().map(|(from, to)| format!("{name}: corrupt from {from} to {to}")));
        if let (ReadTail::Torn { at: position, .. }, true) = (&segment.tail, at < last) {
            problems.push(format!("{name}: torn at {position}, and segments follow"));
        }
        for entry in segment.entries {
            if entry.ordinal != end {
                problems.push(format!("{name}: offset {} follows {end}", entry.ordinal));
            }
            end = entry.ordinal + u64::from(entry.batch.count);
            entries.push(entry);
        }
    }
    (entries, problems)
}

/// The whole, distinct batches of a ring log, per lane in the order of their sequences.
pub fn read_ring<'a>(files: impl IntoIterator<Item = (String, &'a [u8])>) -> BTreeMap<LaneKey, Vec<ReadEntry>> {
    let mut lanes: BTreeMap<LaneKey, Vec<ReadEntry>> = BTreeMap::new();
    let read = files.into_iter().filter_map(|(_, bytes)| read_segment(bytes).ok().flatten());
    for entry in read.flat_map(|segment| segment.entries) {
        lanes.entry(entry.batch.lane.clone()).or_default().push(entry);
    }
    for entries in lanes.values_mut() {
        entries.sort_by_key(|entry| entry.batch.first);
        entries.dedup_by(|later, earlier| later.batch == earlier.batch);
    }
    lanes
}

/// What is wrong with the order, the chain and the signatures of these batches, as sentences.
///
/// Per lane they must follow each other without a hole and each name the chain hash of the one before, but where
/// `is_declared(lane, first, end)` says that a hole was declared; `key_of` knows every source's public key.
pub fn check_lanes<'a>(
    batches: impl IntoIterator<Item = &'a ReadBatch>,
    key_of: impl Fn(&str) -> Option<[u8; 32]>,
    is_declared: impl Fn(&LaneKey, u64, u64) -> bool,
) -> Vec<String> {
    let mut problems = vec![];
    let mut ends: BTreeMap<LaneKey, (u64, [u8; 32])> = BTreeMap::new();
    for batch in batches {
        let (end, chain) = ends.get(&batch.lane).copied().unwrap_or((0, [0; 32]));
        let name = format!("{:?} at {}", batch.lane, batch.first);
        if batch.first < end {
            problems.push(format!("{name}: after {end}, twice or out of order"));
        } else if batch.first > end {
            if !is_declared(&batch.lane, end, batch.first) {
                problems.push(format!("{name}: a hole from {end} that nobody declared"));
            }
        } else if batch.previous != chain {
            problems.push(format!("{name}: it does not continue the chain"));
        }
        match key_of(&batch.lane.source) {
            Some(key) if batch.is_signed_by(&key) => {}
            Some(_) => problems.push(format!("{name}: the signature is wrong")),
            None => problems.push(format!("{name}: nobody knows the source's key")),
        }
        ends.insert(batch.lane.clone(), (batch.first + u64::from(batch.count), batch.chain));
    }
    problems
}
