//! A segment, read by the tables "Segment header" and "Entry" and the rules of "Stop and tail".

use super::batch::{ReadBatch, le, read_batch, time};
use super::crc32c;

/// Bytes of an entry's head, and of a stop.
const HEAD: usize = 56;

/// A segment's header as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadHeader {
    /// 0 ring log, 1 unified log.
    pub kind: u8,
    /// The stream.
    pub stream: u8,
    /// The log.
    pub log_id: [u8; 16],
    /// Which segment of the log.
    pub generation: u64,
    /// The epoch.
    pub epoch: u64,
    /// The first ordinal.
    pub first_ordinal: u64,
    /// When it was begun.
    pub begun: i64,
}

/// A whole entry as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadEntry {
    /// Where it begins in its file.
    pub position: usize,
    /// Sequence or offset of its first event.
    pub ordinal: u64,
    /// The acked end; of a unified log its durable end.
    pub acked_end: u64,
    /// Epoch and end of the other stream; of a unified log the same bytes.
    pub other: (u64, u64),
    /// Of a unified log, what has to be added to the clock of the batch, where that was measured.
    pub clock_offset: Option<i64>,
    /// When it was appended.
    pub stamp: i64,
    /// Its batch.
    pub batch: ReadBatch,
}

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadTail {
    /// In order.
    Clean {
        /// Where.
        at: usize,
    },
    /// With a write that did not finish.
    Torn {
        /// Where.
        at: usize,
        /// How many events it held, if its head is whole.
        claimed: Option<u32>,
    },
}

/// A segment as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadSegment {
    /// Its header.
    pub header: ReadHeader,
    /// Its whole entries.
    pub entries: Vec<ReadEntry>,
    /// Stretches that cannot be read, from and to.
    pub corrupt: Vec<(usize, usize)>,
    /// Its end.
    pub tail: ReadTail,
}

fn read_header(copy: &[u8]) -> Option<ReadHeader> {
    let whole = &copy[..8] == b"AFFSEG1\n"
        && copy[8] == 2
        && copy[9] < 2
        && copy[10] < 2
        && copy[11..16].iter().chain(&copy[68..72]).all(|byte| *byte == 0)
        && le(&copy[64..68]) as u32 == crc32c(&[&copy[..64]]);
    whole.then(|| ReadHeader {
        kind: copy[9],
        stream: copy[10],
        log_id: copy[16..32].try_into().expect("16 bytes"),
        generation: le(&copy[32..40]),
        epoch: le(&copy[40..48]),
        first_ordinal: le(&copy[48..56]),
        begun: le(&copy[56..64]) as i64,
    })
}

/// The head at `at`, if it is one of this segment: length of the batch, its crc, count.
fn read_head(file: &[u8], at: usize, header: &ReadHeader) -> Option<(usize, u32, u32)> {
    let head = file.get(at..at + HEAD)?;
    let (len, count) = (le(&head[4..8]) as usize, le(&head[12..16]) as u32);
    // Before the checksum, because zeros fail here at once.
    if len == 0 || len > 1 << 20 || count == 0 {
        return None;
    }
    let crc = crc32c(&[&header.log_id, &header.generation.to_le_bytes(), &head[4..]]);
    (le(&head[..4]) as u32 == crc).then_some((len, le(&head[8..12]) as u32, count))
}

fn read_entry(file: &[u8], at: usize, header: &ReadHeader) -> Option<ReadEntry> {
    let (len, crc, count) = read_head(file, at, header)?;
    let batch = read_batch(file.get(at + HEAD..at + HEAD + len)?).ok()?;
    let padding = file.get(at + HEAD + len..at + HEAD + len.next_multiple_of(8))?;
    if batch.len != len || batch.crc != crc || batch.count != count || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    let head = &file[at..at + HEAD];
    let (ordinal, acked_end) = (le(&head[16..24]), le(&head[24..32]));
    let other = (le(&head[40..48]), le(&head[48..56]));
    let clock_offset = (header.kind == 1 && other.1 == 1).then_some(other.0 as i64);
    Some(ReadEntry { position: at, ordinal, acked_end, other, clock_offset, stamp: time(&head[32..40]).ok()?, batch })
}

/// Reads a segment file; `None` when it was made and never begun.
pub fn read_segment(file: &[u8]) -> Result<Option<ReadSegment>, String> {
    let head = file.get(..1024).ok_or("shorter than a segment header")?;
    if head.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = match (read_header(&head[..512]), read_header(&head[512..])) {
        (Some(one), Some(other)) if other.generation < one.generation => other,
        (Some(header), _) | (None, Some(header)) => header,
        (None, None) => return Err("the segment header is damaged".to_owned()),
    };
    let (mut entries, mut corrupt, mut at) = (vec![], vec![], 1024);
    let tail = loop {
        if let Some(entry) = read_entry(file, at, &header) {
            at += HEAD + entry.batch.len.next_multiple_of(8);
            entries.push(entry);
            continue;
        }
        let later = (at + 8..file.len()).step_by(8).find(|later| read_entry(file, *later, &header).is_some());
        if let Some(later) = later {
            corrupt.push((at, later));
            at = later;
            continue;
        }
        let stop = &file[at.min(file.len())..(at + HEAD).min(file.len())];
        break if stop.iter().all(|byte| *byte == 0) {
            ReadTail::Clean { at }
        } else {
            ReadTail::Torn { at, claimed: read_head(file, at, &header).map(|(_, _, count)| count) }
        };
    };
    Ok(Some(ReadSegment { header, entries, corrupt, tail }))
}
