//! Extracts on the disk: written beside their segments, read, and checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Position, SourceId};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{Entry, EntryHead, Seed};
use afferent_protocol::sign::{Context, Identity, PublicKey, sha256};

use super::{Derived, Directory, HEAD_LEN, MAGIC, Row, Section};
use crate::log::embedded::files::{self, Segment, SegmentFile, Survey};
use crate::log::embedded::found::OpenError;
use crate::log::embedded::segment_index::IndexError;
use crate::log::embedded::sound::SoundSegment;
use crate::log::embedded::walk::{Visit, walk};

/// The name of a segment's extract.
pub(in crate::log::embedded) fn name(segment: &str) -> String {
    format!("{}.ext", segment.strip_suffix(".seg").unwrap_or(segment))
}

/// The name of the segment whose extract this file would be.
pub(in crate::log::embedded) fn segment_of(name: &str) -> Option<String> {
    Some(format!("{}.seg", name.strip_suffix(".ext")?))
}

/// Writes the extract of a segment, if it can have one. It replaces a file that is wrong or unfinished.
pub(in crate::log::embedded) fn write<D: Disk>(
    disk: &D,
    name_of_segment: &str,
    segment: &SoundSegment<D::File>,
    (own, identity): &(SourceId, Identity),
) -> Result<(), IndexError> {
    let name = name(name_of_segment);
    let derived = Derived::of(segment, *own);
    let written = (|| {
        if disk.open(&name).is_ok() {
            disk.remove(&name)?;
        }
        let Some(derived) = derived else { return Ok(()) };
        let bytes = derived.signed(identity);
        let file = disk.create(&name, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.sync_directory()
    })();
    written.map_err(|error| IndexError::Disk { name, error })
}

/// Whether a finished segment has an extract that this key has signed.
pub(in crate::log::embedded) fn is_written_by<D: Disk>(
    disk: &D,
    file: &SegmentFile,
    (first, end): (u64, u64),
    own: &SourceId,
    key: &PublicKey,
) -> bool {
    let len = disk.open(&file.name).and_then(|file| file.len()).unwrap_or(0);
    Extract::read(disk, file, len, (first, end), own).is_some_and(|extract| extract.key == *key)
}

/// The extract of one segment, with a valid signature of its key. The caller decides whether to trust that key.
#[derive(Debug)]
pub struct Extract {
    /// The key that has signed it.
    pub key: PublicKey,
    pub directory: Directory,
    pub segment: SegmentPlace,
    /// Position of its first section.
    begin: u64,
}

impl Extract {
    /// Reads the extract of a segment and checks it against the segment; `None` when there is none, or it does not
    /// match.
    fn read<D: Disk>(
        disk: &D,
        segment: &SegmentFile,
        len: u64,
        (first, end): (u64, u64),
        own: &SourceId,
    ) -> Option<Self> {
        let file = disk.open(&name(&segment.name)).ok()?;
        let file_len = file.len().ok()?;
        let mut head = [0; HEAD_LEN];
        file.read_at(&mut head, 0).ok()?;
        let directory_len = u64::from(u32::from_le_bytes(head[8..12].try_into().expect("four bytes")));
        let begin = HEAD_LEN as u64 + directory_len;
        if head[..8] != MAGIC || begin > file_len || directory_len > 2 * SEGMENT_BYTES_MAX {
            return None;
        }
        let mut bytes = vec![0; directory_len as usize];
        file.read_at(&mut bytes, HEAD_LEN as u64).ok()?;
        let key = PublicKey(head[12..44].try_into().expect("thirty-two bytes"));
        let signature = head[44..].try_into().expect("sixty-four bytes");
        key.verifier()?.verify_in(Context::Extract, &sha256(&bytes), signature).then_some(())?;
        let directory: Directory = postcard::from_bytes(&bytes).ok()?;
        let is_of_segment = directory.len == len
            && directory.own == *own
            && (directory.first.get(), directory.end.get()) == (first, end)
            && files::name(first, directory.generation) == segment.name
            && files::header(directory.log_id, directory.generation, first, Default::default()).seed() == segment.seed;
        let extract = Self { key, directory, segment: Arc::new((segment.name.clone(), segment.seed)), begin };
        (is_of_segment && extract.ends_as_told(disk)).then_some(extract)
    }

    fn is_of(&self, segment: &Segment) -> bool {
        self.segment.0 == segment.file.name && self.directory.end.get() == segment.limit
    }

    /// Whether the extract names the segment's last entry.
    fn ends_as_told<D: Disk>(&self, disk: &D) -> bool {
        let Directory { len, last: (position, chain), end, .. } = self.directory;
        let Some(rest) = len.checked_sub(position).filter(|rest| *rest <= SEGMENT_BYTES_MAX) else { return false };
        let mut bytes = vec![0; (rest as usize).min(files::RETRY_BYTES)];
        let Ok(file) = disk.open(&self.segment.0) else { return false };
        if file.read_at(&mut bytes, position).is_err() {
            return false;
        }
        let Some(head) = EntryHead::decode(&bytes, self.segment.1) else { return false };
        if head.entry_len() > bytes.len() {
            bytes.resize(head.entry_len().min(rest as usize), 0);
            if file.read_at(&mut bytes, position).is_err() {
                return false;
            }
        }
        let is_last = |entry: Entry<'_>| entry.head.end_ordinal() == end.get() && entry.batch.chain_hash() == chain;
        Entry::parse(&bytes, self.segment.1).is_ok_and(is_last)
    }
}

/// An item of a walk over a log by its extracts, in order.
pub enum ExtractItem<'a> {
    /// A segment that has an extract.
    Extract(&'a Extract),
    /// An entry of a segment that has none.
    Entry(&'a EntryHead, &'a Batch<'a>),
}

/// The next step after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Continue.
    On,
    /// Read the segment of this extract all the same.
    Read,
}

/// A log whose finished segments have extracts.
pub trait Extracts {
    /// The oldest offset that is kept.
    fn first(&self) -> Offset;
    /// All extracts, oldest first.
    fn all(&self) -> &[Extract];
    /// Passes all of the log to `each`, in order: extracts where there are any, and else entries. `None` when something
    /// is inconsistent, or `each` returns `None`.
    fn walk(&self, each: &mut dyn FnMut(ExtractItem<'_>) -> Option<Next>) -> Option<()>;
    /// The section of a source in an extract, which may be empty; `None` when it does not match the extract's
    /// directory.
    fn section(&self, extract: &Extract, source: &SourceId) -> Option<Section>;
    /// Passes the entry of a row to `each`.
    fn entry(&self, place: &SegmentPlace, row: &Row, each: &mut dyn FnMut(&Entry<'_>) -> Option<()>) -> Option<()>;
}

/// A segment's name and seed.
pub type SegmentPlace = Arc<(String, Seed)>;

/// The log in a directory, with the extracts beside its segments.
pub struct Beside<'d, D> {
    disk: &'d D,
    survey: Survey,
    extracts: Vec<Extract>,
    /// Entries from here on are not durable yet.
    durable_end: Offset,
}

impl<'d, D: Disk> Beside<'d, D> {
    /// Reads the extracts' directories; `own` is the collector's name.
    ///
    /// # Errors
    /// When the disk refuses to be read.
    pub fn load(disk: &'d D, own: &SourceId, durable_end: Offset) -> Result<Self, OpenError> {
        let survey = files::survey(disk)?;
        let finished = survey.segments.iter().filter(|segment| segment.limit != u64::MAX && segment.begun.is_some());
        let read =
            |segment: &Segment| Extract::read(disk, &segment.file, segment.len, (segment.first, segment.limit), own);
        let extracts = finished.filter_map(read).collect();
        Ok(Self { disk, survey, extracts, durable_end })
    }
}

impl<D: Disk> Extracts for Beside<'_, D> {
    fn first(&self) -> Offset {
        Offset::new(self.survey.segments.first().map_or(0, |segment| segment.first))
    }

    fn all(&self) -> &[Extract] {
        &self.extracts
    }

    fn walk(&self, each: &mut dyn FnMut(ExtractItem<'_>) -> Option<Next>) -> Option<()> {
        let extracts = self.extracts.iter().map(|extract| (extract.directory.first.get(), extract)).collect();
        let mut walker = Walker { extracts, durable_end: self.durable_end.get(), each, next: Some(Next::On) };
        let walked = walk(self.disk, &self.survey, &mut walker).ok()?;
        walker.next.filter(|_| walked.holes.is_empty()).map(drop)
    }

    fn section(&self, extract: &Extract, source: &SourceId) -> Option<Section> {
        let Some(entry) = extract.directory.sections.iter().find(|entry| entry.source == *source) else {
            return Some(Section::default());
        };
        let file = self.disk.open(&name(&extract.segment.0)).ok()?;
        if u64::from(entry.len) > file.len().ok()? {
            return None;
        }
        let mut bytes = vec![0; entry.len as usize];
        file.read_at(&mut bytes, extract.begin + u64::from(entry.begin)).ok()?;
        let section = (sha256(&bytes) == entry.hash).then(|| postcard::from_bytes::<Section>(&bytes).ok())??;
        let is_known = |row: &Row| usize::from(row.lane) < section.lanes.len();
        section.rows.iter().all(is_known).then_some(section)
    }

    fn entry(&self, place: &SegmentPlace, row: &Row, each: &mut dyn FnMut(&Entry<'_>) -> Option<()>) -> Option<()> {
        let (name, seed) = &**place;
        if u64::from(row.len) > SEGMENT_BYTES_MAX {
            return None;
        }
        let mut bytes = vec![0; row.len as usize];
        self.disk.open(name).ok()?.read_at(&mut bytes, u64::from(row.position)).ok()?;
        each(&Entry::parse(&bytes, *seed).ok()?)
    }
}

/// Passes on the items of a walk over a log.
struct Walker<'w> {
    extracts: BTreeMap<u64, &'w Extract>,
    durable_end: u64,
    each: &'w mut dyn FnMut(ExtractItem<'_>) -> Option<Next>,
    next: Option<Next>,
}

impl Visit for Walker<'_> {
    fn entry(&mut self, _: &Arc<SegmentFile>, _: Position, entry: &Entry<'_>) {
        if self.next.is_some() && entry.head.end_ordinal() <= self.durable_end {
            self.next = (self.each)(ExtractItem::Entry(&entry.head, &entry.batch));
        }
    }

    fn knows(&mut self, segment: &Segment) -> bool {
        let Some(extract) = self.extracts.get(&segment.first).filter(|extract| extract.is_of(segment)) else {
            return false;
        };
        self.next = self.next.and_then(|_| (self.each)(ExtractItem::Extract(extract)));
        // Nothing is read after the end.
        self.next != Some(Next::Read)
    }
}
