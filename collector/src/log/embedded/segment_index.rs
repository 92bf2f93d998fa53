//! The index of one finished segment: a file beside it, derived from the segment's bytes alone.
//!
//! ```text
//! 0        8            12      16
//! ├────────┼────────────┼───────┼──────────────────────────┤
//! │ magic  │ body bytes │ crc32c│ body: postcard of Index  │      numbers little-endian
//! └────────┴────────────┴───────┴──────────────────────────┘
//! ```
//!
//! Only a sound segment has one: its entries follow each other without a hole from its first offset up to the one that
//! the next segment begins with. Every start reads a damaged segment, so that every start reports its damage.
//!
//! An index counts as far as the segment confirms it: the same header, the same length, and at the position of the last
//! entry an entry that ends with the segment's last offset. Damage in between is found by readers of that range and by
//! `log verify`, which reads everything and no index.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{ENTRY_HEAD_LEN, Entry, EntryHead, SEGMENT_HEADER_LEN, SegmentHeader};
use serde::{Deserialize, Serialize};

use super::files::SegmentFile;
use super::points::IndexPoint;
use super::sound::SoundSegment;
use crate::limits::{INDEX_EVERY_BYTES, INDEX_NAMES_MAX};
use crate::log::history::{Historian, SegmentHistory};
use crate::log::marks::{Marks, NameHash, checksum};
use crate::log::records::Decoder;

const MAGIC: [u8; 8] = *b"AFFIDX5\n";
const HEAD_LEN: usize = 16;

/// The index of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentIndex {
    pub log_id: [u8; 16],
    pub generation: u64,
    /// The segment's length in bytes.
    pub len: u64,
    /// Its first offset, and its exclusive end.
    pub first: u64,
    pub end: u64,
    /// The positions in the file where its last entry begins and ends.
    pub last: u64,
    pub stop: u64,
    pub batches: u64,
    pub points: Vec<IndexPoint>,
    /// All machines and sources in it, in order; `None` when there are too many to list.
    pub names: Option<Vec<NameHash>>,
    pub history: SegmentHistory,
}

/// Why a segment has no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is damaged, which every start reports.
    #[error("{0} is damaged; it is read completely at every start")]
    Unsound(String),
    /// The disk refuses.
    #[error("cannot write the index {name} ({error}); the next start reads the segment completely")]
    Disk {
        /// The index's file.
        name: String,
        /// The disk's error.
        error: io::Error,
    },
}

/// The name of a segment's index.
pub(super) fn name(segment: &str) -> String {
    format!("{}.idx", segment.strip_suffix(".seg").unwrap_or(segment))
}

/// The name of the segment whose index this file would be.
pub(super) fn segment_of(name: &str) -> Option<String> {
    Some(format!("{}.seg", name.strip_suffix(".idx")?))
}

impl SegmentIndex {
    /// Reads a whole segment whose offsets are `first` up to `end`.
    pub fn derive<D: Disk>(disk: &D, file: &SegmentFile, first: u64, end: u64) -> Result<Self, IndexError> {
        read_sound(disk, file, first, end).and_then(|segment| Self::of(&segment, file))
    }

    /// Derives the index from a sound segment.
    pub fn of<F: DiskFile>(segment: &SoundSegment<F>, file: &SegmentFile) -> Result<Self, IndexError> {
        let mut index = Self::begin(&segment.header, segment.len());
        let mut names = Vec::new();
        let (mut historian, mut decoder) = (Historian::default(), Decoder::default());
        let read = segment.each(&mut |position, entry| {
            let marks = Marks::of_batch(&entry.batch, &mut decoder, &mut |name| names.push(name));
            if names.len() > 2 * INDEX_NAMES_MAX {
                (names.sort_unstable(), names.dedup()).1
            }
            historian.push(&entry.head, &entry.batch);
            let header = entry.batch.header();
            IndexPoint::push(&mut index.points, &entry.head, position, (header.time_first, header.time_last), marks);
            index.end = entry.head.end_ordinal();
            (index.last, index.stop) = (position, position + entry.head.entry_len() as u64);
            index.batches += 1;
        });
        read.ok_or_else(|| IndexError::Unsound(file.name.clone()))?;
        names.sort_unstable();
        names.dedup();
        // It has grown by every name of every batch.
        names.shrink_to_fit();
        index.names = (names.len() <= INDEX_NAMES_MAX).then_some(names);
        index.history = historian.finish();
        Ok(index)
    }

    fn begin(header: &SegmentHeader, len: u64) -> Self {
        let (first, start) = (header.first_ordinal, SEGMENT_HEADER_LEN as u64);
        Self {
            log_id: header.log_id,
            generation: header.generation,
            len,
            first,
            end: first,
            last: start,
            stop: start,
            batches: 0,
            points: Vec::new(),
            names: None,
            history: SegmentHistory::default(),
        }
    }

    /// Writes the index beside its segment. It replaces a file that is wrong or unfinished.
    pub fn write<D: Disk>(&self, disk: &D, segment: &str) -> Result<(), IndexError> {
        let name = name(segment);
        let body = postcard::to_stdvec(self).expect("a growing buffer takes any index");
        let mut bytes = Vec::with_capacity(HEAD_LEN + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&checksum(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let written = (|| {
            if disk.open(&name).is_ok() {
                disk.remove(&name)?;
            }
            let file = disk.create(&name, bytes.len() as u64)?;
            file.write_at(&bytes, 0)?;
            file.sync()?;
            disk.sync_directory()
        })();
        written.map_err(|error| IndexError::Disk { name, error })
    }

    /// Reads the index of a segment, and checks it against the segment; `None` when there is no valid one.
    pub fn read<D: Disk>(disk: &D, file: &Arc<SegmentFile>, len: u64, first: u64, end: u64) -> Option<Self> {
        let index = Self::parse(&read_file(disk, &name(&file.name))?)?;
        (index.is_of(file, len, first, end) && index.ends_as_told(disk, file)).then_some(index)
    }

    /// Reads the index of a segment, checked against it before; `None` when there is no valid one any more.
    ///
    /// # Errors
    /// When the system cannot open files, which shows nothing about the index.
    pub fn load<D: Disk>(disk: &D, file: &SegmentFile, offsets: &Range<u64>) -> io::Result<Option<Self>> {
        let found = match disk.open(&name(&file.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let len = disk.open(&file.name)?.len()?;
        let index = read_open(&found).and_then(|bytes| Self::parse(&bytes));
        Ok(index.filter(|index| index.is_of(file, len, offsets.start, offsets.end)))
    }

    fn is_of(&self, file: &SegmentFile, len: u64, first: u64, end: u64) -> bool {
        self.len == len
            && (self.first, self.end) == (first, end)
            && super::files::name(first, self.generation) == file.name
            && super::files::header(self.log_id, self.generation, first, Default::default()).seed() == file.seed
            && self.is_consistent()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, body) = bytes.split_at_checked(HEAD_LEN)?;
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let is_whole = head[..8] == MAGIC && word(8) as usize == body.len() && word(12) == checksum(body);
        let (index, rest): (Self, _) = postcard::take_from_bytes(is_whole.then_some(body)?).ok()?;
        rest.is_empty().then_some(index)
    }

    /// The invariants that readers rely on, whatever wrote the file.
    fn is_consistent(&self) -> bool {
        let in_order = |pair: &[IndexPoint]| pair[0].offset < pair[1].offset && pair[0].position < pair[1].position;
        let spans = self.points.windows(2).all(in_order)
            && self.points.first().is_some_and(|point| {
                point.offset == self.first && u64::from(point.position) == SEGMENT_HEADER_LEN as u64
            })
            && self
                .points
                .last()
                .is_some_and(|point| point.offset < self.end && u64::from(point.position) <= self.last);
        spans && self.first < self.end && self.last < self.stop && self.stop <= self.len
    }

    /// Whether the segment's last entry is where the index has it, and ends with the last offset.
    fn ends_as_told<D: Disk>(&self, disk: &D, file: &SegmentFile) -> bool {
        let mut bytes = vec![0; (self.stop - self.last).min(SEGMENT_BYTES_MAX) as usize];
        let read = disk.open(&file.name).and_then(|file| file.read_at(&mut bytes, self.last));
        let is_end = |head: &EntryHead| head.end_ordinal() == self.end && head.entry_len() == bytes.len();
        read.is_ok()
            && bytes.len() >= ENTRY_HEAD_LEN
            && Entry::parse(&bytes, file.seed).is_ok_and(|entry| is_end(&entry.head))
    }
}

/// Reads a whole segment whose offsets are `first` up to `end`, if it is sound.
pub(super) fn read_sound<D: Disk>(
    disk: &D,
    file: &SegmentFile,
    first: u64,
    end: u64,
) -> Result<SoundSegment<D::File>, IndexError> {
    let sound = SoundSegment::read(disk, &file.name, file, first, end);
    sound.ok_or_else(|| IndexError::Unsound(file.name.clone()))
}

fn read_file<D: Disk>(disk: &D, name: &str) -> Option<Vec<u8>> {
    read_open(&disk.open(name).ok()?)
}

fn read_open(file: &impl DiskFile) -> Option<Vec<u8>> {
    let len = file.len().ok().filter(|len| *len <= 2 * SEGMENT_BYTES_MAX)?;
    let mut bytes = vec![0; len as usize];
    file.read_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

const _: () = assert!(INDEX_EVERY_BYTES < SEGMENT_BYTES_MAX);
