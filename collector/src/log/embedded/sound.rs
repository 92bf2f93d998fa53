//! A finished segment without damage: its entries follow each other without a hole from its first offset up to the one
//! that the next segment begins with.

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::segment::{Entry, Head, SEGMENT_HEADER_LEN, SegmentHeader};

use super::files::{self, SegmentFile};
use super::window::Window;

/// A sound segment. Its entries are read on demand: it is never in memory as a whole.
#[derive(Debug)]
pub(super) struct SoundSegment<F> {
    pub header: SegmentHeader,
    file: F,
    len: u64,
    end: u64,
}

impl<F: DiskFile> SoundSegment<F> {
    /// Checks a whole segment, whose offsets are `first` up to `end`, in the file that has `name` now; `None` when it
    /// is not sound.
    pub fn read<D: Disk<File = F>>(disk: &D, name: &str, file: &SegmentFile, first: u64, end: u64) -> Option<Self> {
        let opened = disk.open(name).ok()?;
        let len = opened.len().ok().filter(|len| *len <= SEGMENT_BYTES_MAX)?;
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        opened.read_at(&mut bytes, 0).ok()?;
        let Head::Present { header, copies: 2 } = SegmentHeader::decode(&bytes) else { return None };
        let is_of_file = header.seed() == file.seed && files::name(first, header.generation) == file.name;
        let segment = Self { header, file: opened, len, end };
        (is_of_file && header.first_ordinal == first).then_some(())?;
        segment.each(&mut |_, _| {})?;
        Some(segment)
    }

    /// The file's length.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Passes its entries to `take`, in order, each with its position; `None` when one of them cannot be read any more.
    pub fn each(&self, take: &mut dyn FnMut(u64, &Entry<'_>)) -> Option<()> {
        let (mut window, seed) = (Window::new(&self.file, self.len), self.header.seed());
        let (mut at, mut next) = (SEGMENT_HEADER_LEN as u64, self.header.first_ordinal);
        while next < self.end {
            let entry = window.entry(at, seed).ok().flatten()?;
            (entry.head.ordinal == next).then_some(())?;
            take(at, &entry);
            (at, next) = (at + entry.head.entry_len() as u64, entry.head.end_ordinal());
        }
        (next == self.end).then_some(())
    }
}
