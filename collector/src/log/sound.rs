//! A finished segment that is as it was written: its entries follow each other without a hole from its first offset up
//! to the one that the next segment begins with.

use afferent_protocol::disk::Disk;
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::{Entry, Head, SegmentHeader};

use super::files;
use super::index::SegmentFile;

/// The bytes of a sound segment.
#[derive(Debug)]
pub(super) struct SoundSegment {
    pub header: SegmentHeader,
    bytes: Vec<u8>,
    end: u64,
}

impl SoundSegment {
    /// Reads a whole segment, whose offsets are `first` up to `end`, from the file that has `name` now; `None` when it is
    /// not sound.
    pub fn read<D: Disk>(disk: &D, name: &str, file: &SegmentFile, first: u64, end: u64) -> Option<Self> {
        let mut bytes = Vec::new();
        let has_bad_places = files::read_whole(disk, name, SEGMENT_BYTES_MAX, &mut bytes).ok()?;
        let Head::Present { header, copies: 2 } = SegmentHeader::decode(&bytes) else { return None };
        let is_of_file = header.seed() == file.seed && files::name(first, header.generation) == file.name;
        let segment = Self { header, bytes, end };
        let follow = segment
            .entries()
            .try_fold(first, |end, (_, entry)| (entry.head.ordinal == end).then_some(entry.head.end_ordinal()));
        (!has_bad_places && is_of_file && follow == Some(end)).then_some(segment)
    }

    /// The file's length.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Its entries up to its end, and where each begins. Up to the first place that has none.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Entry<'_>)> {
        let mut scan = Scan::new(&self.bytes, self.header.seed());
        let mut is_ended = false;
        std::iter::from_fn(move || match scan.step()? {
            Step::Entry(position, entry) if !is_ended => {
                is_ended = entry.head.end_ordinal() >= self.end;
                Some((position.get(), entry))
            }
            _ => None,
        })
    }
}
