//! The files of the log's directory: their names, their heads, and the offsets that count in each.

use std::io;
use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::ids::{Epoch, Position, Stream, Timestamp};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{Head, LogKind, SEGMENT_HEADER_LEN, Seed, SegmentHeader};

use super::found::OpenError;

/// Bytes per read when a file cannot be read whole: one bad sector costs so many.
pub(super) const RETRY_BYTES: usize = 4096;

/// A segment's name. It repeats the header's numbers, for when the header cannot be read.
pub(super) fn name(first: u64, generation: u64) -> String {
    format!("{first:020}-{generation:010}.seg")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, generation) = name.strip_suffix(".seg")?.split_once('-')?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number(first)?, number(generation)?))
}

/// Whether this is a segment's name.
pub(super) fn is_segment(name: &str) -> bool {
    parse_name(name).is_some()
}

/// A damaged range in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where the range begins.
    pub from: Position,
    /// Where it ends, exclusive.
    pub to: Position,
    /// The kind of damage, for people.
    pub what: &'static str,
}

/// The header of a segment of the unified log.
pub(super) fn header(log_id: [u8; 16], generation: u64, first_ordinal: u64, begun: Timestamp) -> SegmentHeader {
    let (kind, stream, epoch) = (LogKind::Unified, Stream::Critical, Epoch::new(0));
    SegmentHeader { kind, log_id, generation, stream, epoch, first_ordinal, begun }
}

/// A segment file, as far as a reader needs it.
#[derive(Debug)]
pub(super) struct SegmentFile {
    /// Its name.
    pub name: String,
    /// The seed of its entries' checksums.
    pub seed: Seed,
}

/// A segment file of this log.
#[derive(Debug)]
pub(super) struct Segment {
    pub file: Arc<SegmentFile>,
    pub generation: u64,
    pub begun: Option<Timestamp>,
    /// The offset that it begins with.
    pub first: u64,
    /// Offsets from here on do not count in it: a later segment begins there.
    pub limit: u64,
    pub len: u64,
}

/// All segment files, in the order in which they were begun.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The log's id; `None` when there is no readable header.
    pub log_id: Option<[u8; 16]>,
    /// The generation of the next segment.
    pub generation_next: u64,
    pub segments: Vec<Segment>,
    /// Files that were created and never begun.
    pub blank: Vec<String>,
    pub damage: Vec<Damage>,
    /// Offsets below this may belong to events that are lost.
    pub end_min: u64,
}

struct Candidate {
    name: String,
    len: u64,
    named: (u64, u64),
    head: Head,
}

/// The id of the log in this directory, from its newest readable header.
///
/// # Errors
/// When the disk refuses to be read.
pub fn log_id<D: Disk>(disk: &D) -> io::Result<Option<[u8; 16]>> {
    let mut names: Vec<_> = disk.list()?.into_iter().filter(|(name, _)| is_segment(name)).collect();
    names.sort();
    for (name, _) in names.iter().rev() {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        if disk.open(name)?.read_at(&mut bytes, 0).is_ok()
            && let Head::Present { header, .. } = SegmentHeader::decode(&bytes)
        {
            return Ok(Some(header.log_id));
        }
    }
    Ok(None)
}

/// Surveys all files of the directory. It ignores files that are no segments.
pub(super) fn survey<D: Disk>(disk: &D) -> Result<Survey, OpenError> {
    let files = disk.list().map_err(|error| OpenError::disk("listing its files", error))?;
    let mut survey = Survey::default();
    let mut candidates = Vec::new();
    for (name, len) in files {
        let Some(named) = parse_name(&name) else { continue };
        let mut bytes = vec![0; SEGMENT_HEADER_LEN.min(len as usize)];
        let file = disk.open(&name).map_err(|error| OpenError::disk(&format!("opening {name}"), error))?;
        // A head that cannot be read is a damaged head.
        let head = file.read_at(&mut bytes, 0).map_or(Head::Corrupted, |()| SegmentHeader::decode(&bytes));
        survey.generation_next = survey.generation_next.max(named.1.saturating_add(1));
        candidates.push(Candidate { name, len, named, head });
    }
    candidates.sort_by_key(|candidate| candidate.named.1);
    survey.log_id = candidates.iter().find_map(|candidate| match candidate.head {
        Head::Present { header, .. } if header.kind == LogKind::Unified => Some(header.log_id),
        _ => None,
    });
    for candidate in candidates {
        survey.take(disk, candidate)?;
    }
    survey.segments.sort_by_key(|segment| segment.generation);
    let mut limit = u64::MAX;
    for segment in survey.segments.iter_mut().rev() {
        segment.limit = limit;
        limit = limit.min(segment.first);
    }
    Ok(survey)
}

impl Survey {
    fn take<D: Disk>(&mut self, disk: &D, candidate: Candidate) -> Result<(), OpenError> {
        let Candidate { name, len, named, head } = candidate;
        if len > SEGMENT_BYTES_MAX {
            self.damaged(&name, 0, len, "a file longer than any segment; it was left unchanged");
            return Ok(());
        }
        match head {
            Head::Present { header, copies } if header.kind == LogKind::Unified => {
                if Some(header.log_id) != self.log_id {
                    self.damaged(&name, 0, len, "a segment of another log; it was left unchanged");
                    return Ok(());
                }
                if copies < 2 {
                    self.damaged(&name, 0, SEGMENT_HEADER_LEN as u64, "one of the two copies of the segment's header");
                }
                if (header.first_ordinal, header.generation) != named {
                    self.damaged(&name, 0, 0, "the name contradicts the header; the header is used");
                }
                self.add(name, len, &header, true);
            }
            Head::Present { .. } => self.damaged(&name, 0, len, "a segment of a ring log; it was left unchanged"),
            Head::Blank | Head::Corrupted => return self.headless(disk, name, len, named),
        }
        Ok(())
    }

    /// Judges a file without a readable header. A header is durable before the first entry is written, so that there
    /// are two cases: a file that holds nothing else was never begun; a file that holds more had its header once.
    fn headless<D: Disk>(&mut self, disk: &D, name: String, len: u64, named: (u64, u64)) -> Result<(), OpenError> {
        let mut bytes = Vec::new();
        let bad = read_whole(disk, &name, len, &mut bytes)?;
        let never_begun = !bad && bytes.iter().skip(SEGMENT_HEADER_LEN).all(|byte| *byte == 0);
        if never_begun {
            self.blank.push(name);
            return Ok(());
        }
        self.damaged(
            &name,
            0,
            SEGMENT_HEADER_LEN as u64,
            "both copies of the segment's header; they were rebuilt from its name",
        );
        if let Some(log_id) = self.log_id {
            self.add(name, len, &header(log_id, named.1, named.0, Timestamp::default()), false);
        } else {
            // The number of its offsets is unknown, but every event has at least one byte.
            self.end_min = self.end_min.max(named.0.saturating_add(len));
            self.damaged(&name, 0, len, "no segment has the log's id, so this one cannot be read");
        }
        Ok(())
    }

    fn add(&mut self, name: String, len: u64, header: &SegmentHeader, has_header: bool) {
        self.generation_next = self.generation_next.max(header.generation.saturating_add(1));
        let file = Arc::new(SegmentFile { name, seed: header.seed() });
        let (generation, first, begun) = (header.generation, header.first_ordinal, has_header.then_some(header.begun));
        self.segments.push(Segment { file, generation, begun, first, limit: u64::MAX, len });
    }

    fn damaged(&mut self, name: &str, from: u64, to: u64, what: &'static str) {
        let (from, to) = (Position::new(from), Position::new(to));
        self.damage.push(Damage { file: name.to_owned(), from, to, what });
    }
}

/// Reads a whole file of at most `len` bytes into `bytes`; returns whether parts could not be read, which are zeros
/// then. A segment can have become shorter since its directory was listed: it was emptied of samples.
pub(super) fn read_whole<D: Disk>(disk: &D, name: &str, len: u64, bytes: &mut Vec<u8>) -> Result<bool, OpenError> {
    let file = disk.open(name).map_err(|error| OpenError::disk(&format!("opening {name}"), error))?;
    let len = file.len().map_or(len, |now| now.min(len));
    bytes.clear();
    bytes.resize(len as usize, 0);
    if file.read_at(bytes, 0).is_ok() {
        return Ok(false);
    }
    let mut bad = false;
    for (index, piece) in bytes.chunks_mut(RETRY_BYTES).enumerate() {
        if file.read_at(piece, (index * RETRY_BYTES) as u64).is_err() {
            piece.fill(0);
            bad = true;
        }
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_first_offset_and_generation_and_sort_by_them() {
        assert_eq!(name(7, 3), "00000000000000000007-0000000003.seg");
        assert_eq!(parse_name(&name(u64::MAX, u64::MAX)), Some((u64::MAX, u64::MAX)));
        for foreign in ["", ".seg", "1.seg", "a-1.seg", "1-+1.seg", "1-1.segx", "-.seg", "1--1.seg"] {
            assert_eq!(parse_name(foreign), None, "{foreign:?}");
        }
    }
}
