//! Inspects the files of a ring log for the command line, without writing.
//!
//! An agent may be writing the files meanwhile. Bytes behind a segment's last entry and
//! its stop have no meaning and are not checked.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::ids::{Position, Sequence};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{EntryHead, Head, SEGMENT_HEADER_LEN, SegmentHeader};
use afferent_protocol::session::Lane;
use afferent_protocol::sign::{PublicKey, Verifier};

use super::pool::file_number;
use crate::limits::VERIFY_LOOKS_MAX;

/// What one file of the ring holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// The file's name.
    pub name: String,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// What the file holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No segment: it is free.
    Blank,
    /// Bytes without a readable header.
    Unreadable,
    /// A segment.
    Segment {
        /// The segment's header.
        header: SegmentHeader,
        /// Number of whole entries.
        entries: u64,
        /// Number of events in the entries.
        events: u64,
        /// The first sequence behind the entries.
        end: Sequence,
        /// The highest acked end that the entries name.
        acked_end: Sequence,
        /// Bytes up to the end of the last entry.
        used_bytes: u64,
        /// How the segment ends.
        tail: Tail,
    },
}

/// Damage that a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the file.
    pub name: String,
    /// The byte position in the file.
    pub position: Position,
    /// What is wrong at this position.
    pub fault: Fault,
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The header is damaged in both copies.
    #[error("both copies of the header are damaged")]
    Header,
    /// One of the copies of the header is damaged.
    #[error("one of the two copies of the header is damaged")]
    HeaderCopy,
    /// A range of bytes that cannot be read, before whole entries.
    #[error("the bytes up to {to} are damaged")]
    Damaged {
        /// Where the next whole entry begins.
        to: Position,
    },
    /// Neither an entry nor a stop at the end.
    #[error("a write did not finish here, or the end is damaged")]
    TornTail,
    /// Sequences are missing, or occur twice with different content.
    #[error("sequence {expected} is expected, {found} found")]
    Sequence {
        /// The next sequence of the lane.
        expected: Sequence,
        /// The first sequence of the batch.
        found: Sequence,
    },
    /// A batch does not name its predecessor's hash.
    #[error("the batch does not name its predecessor: the chain is broken")]
    Chain,
    /// The batch is not signed with the given key.
    #[error("the batch is not signed with this agent's key")]
    Signature,
}

/// The result of verifying a ring log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segments: u64,
    /// Batches.
    pub batches: u64,
    /// Events.
    pub events: u64,
    /// Kinds of damage.
    pub problems: Vec<Problem>,
}

/// What every file of the ring holds, by name.
pub fn status<D: Disk>(disk: &D) -> io::Result<Vec<FileStatus>> {
    let mut files = Vec::new();
    let mut bytes = Vec::new();
    for (name, len) in files_of(disk)? {
        let content = match load(disk, &name, len, &mut bytes)? {
            Head::Blank => Content::Blank,
            Head::Corrupted => Content::Unreadable,
            Head::Present { header, .. } => content_of(&bytes, header),
        };
        files.push(FileStatus { name, bytes: len, content });
    }
    Ok(files)
}

/// Checks headers, checksums, sequences and chains, and with a key the signatures too. Lanes may begin anywhere, for
/// what was acked is gone; a chain across a declared loss shows as missing sequences.
pub fn verify<D: Disk>(disk: &D, key: Option<&PublicKey>) -> io::Result<Verified> {
    let verifier = key.map(PublicKey::verifier);
    let mut verified = Verified::default();
    let mut lanes = Vec::new();
    let mut bytes = Vec::new();
    for (name, len, header) in segments_of(disk, &mut verified)? {
        load(disk, &name, len, &mut bytes)?;
        verified.segment(&name, &bytes, &header, &mut lanes, verifier.as_ref());
    }
    Ok(verified)
}

/// [`verify`], when an agent may be at work: what one look takes for damage and a later one does not find in the same
/// place was being written. Calls `pause` between two looks.
pub fn verify_at_work<D: Disk>(disk: &D, key: Option<&PublicKey>, mut pause: impl FnMut()) -> io::Result<Verified> {
    let mut verified = verify(disk, key)?;
    // Segments are recycled and begin at the same place: two looks can meet two writes there.
    for _ in 1..VERIFY_LOOKS_MAX {
        if verified.problems.is_empty() {
            break;
        }
        pause();
        verified = verify(disk, key)?.confirming(&verified);
    }
    Ok(verified)
}

/// Gives every whole entry, oldest segment first.
pub fn dump<D: Disk>(disk: &D, each: &mut dyn FnMut(&SegmentHeader, &EntryHead, &Batch<'_>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (name, len, header) in segments_of(disk, &mut Verified::default())? {
        load(disk, &name, len, &mut bytes)?;
        let mut scan = Scan::new(&bytes, header.seed());
        while let Some(step) = scan.step() {
            if let Step::Entry(_, entry) = step {
                each(&header, &entry.head, &entry.batch);
            }
        }
    }
    Ok(())
}

/// How far a lane was checked.
struct Checked {
    lane: Lane,
    end: Sequence,
    chain: ChainHash,
}

impl Verified {
    /// Only those problems that the look before has found as well.
    pub(super) fn confirming(mut self, before: &Self) -> Self {
        self.problems.retain(|problem| before.problems.contains(problem));
        self
    }

    fn problem(&mut self, name: &str, position: Position, fault: Fault) {
        self.problems.push(Problem { name: name.to_owned(), position, fault });
    }

    fn segment(
        &mut self,
        name: &str,
        bytes: &[u8],
        header: &SegmentHeader,
        lanes: &mut Vec<Checked>,
        verifier: Option<&Option<Verifier>>,
    ) {
        self.segments += 1;
        let mut scan = Scan::new(bytes, header.seed());
        while let Some(step) = scan.step() {
            match step {
                Step::Entry(position, entry) => {
                    self.batches += 1;
                    self.events += u64::from(entry.head.count);
                    let signed = verifier.is_none_or(|verifier| {
                        verifier.as_ref().is_some_and(|verifier| verifier.verify(&entry.batch).is_some())
                    });
                    if !signed {
                        self.problem(name, position, Fault::Signature);
                    }
                    if let Err(fault) = follow(lanes, &entry.batch) {
                        self.problem(name, position, fault);
                    }
                }
                Step::Corrupt { from, to } => self.problem(name, from, Fault::Damaged { to }),
            }
        }
        if let Tail::Torn { end, .. } = scan.tail() {
            self.problem(name, end, Fault::TornTail);
        }
    }
}

/// Holds a batch against the one before it in its lane.
fn follow(lanes: &mut Vec<Checked>, batch: &Batch<'_>) -> Result<(), Fault> {
    let header = batch.header();
    let lane = Lane { stream: header.stream, epoch: header.epoch };
    let (end, chain) = (header.end(), batch.chain_hash());
    let Some(known) = lanes.iter_mut().find(|known| known.lane == lane) else {
        lanes.push(Checked { lane, end, chain });
        return Ok(());
    };
    // After a write that the disk refused, the same batch is in two segments.
    if known.end == end && known.chain == chain {
        return Ok(());
    }
    let (expected, previous) = (known.end, known.chain);
    (known.end, known.chain) = (end, chain);
    if header.first != expected {
        Err(Fault::Sequence { expected, found: header.first })
    } else if header.previous != previous {
        Err(Fault::Chain)
    } else {
        Ok(())
    }
}

fn content_of(bytes: &[u8], header: SegmentHeader) -> Content {
    let mut scan = Scan::new(bytes, header.seed());
    let first = Sequence::new(header.first_ordinal);
    let (mut entries, mut events, mut end, mut acked_end) = (0, 0, first, Sequence::ZERO);
    while let Some(step) = scan.step() {
        if let Step::Entry(_, entry) = step {
            entries += 1;
            events += u64::from(entry.head.count);
            end = entry.batch.header().end();
            acked_end = acked_end.max(Sequence::new(entry.head.acked_end));
        }
    }
    let tail = scan.tail();
    Content::Segment { header, entries, events, end, acked_end, used_bytes: tail.end().get(), tail }
}

/// The segments, oldest first; problems with headers go to `verified`.
fn segments_of<D: Disk>(disk: &D, verified: &mut Verified) -> io::Result<Vec<(String, u64, SegmentHeader)>> {
    let mut segments = Vec::new();
    let mut bytes = Vec::new();
    for (name, len) in files_of(disk)? {
        match load(disk, &name, len.min(SEGMENT_HEADER_LEN as u64), &mut bytes)? {
            Head::Blank => {}
            Head::Corrupted => verified.problem(&name, Position::ZERO, Fault::Header),
            Head::Present { header, copies } => {
                if copies < 2 {
                    verified.problem(&name, Position::ZERO, Fault::HeaderCopy);
                }
                segments.push((name, len, header));
            }
        }
    }
    segments.sort_by_key(|(_, _, header)| header.generation);
    Ok(segments)
}

/// Names and lengths of the ring's files.
fn files_of<D: Disk>(disk: &D) -> io::Result<Vec<(String, u64)>> {
    let mut files = disk.list()?;
    files.retain(|(name, len)| file_number(name).is_some() && *len <= SEGMENT_BYTES_MAX);
    Ok(files)
}

/// Reads so many bytes of a file, and its header.
fn load<D: Disk>(disk: &D, name: &str, len: u64, bytes: &mut Vec<u8>) -> io::Result<Head> {
    bytes.resize(len as usize, 0);
    disk.open(name)?.read_at(bytes, 0)?;
    Ok(SegmentHeader::decode(bytes))
}
