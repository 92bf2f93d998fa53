//! The pool of segment files: created, taken, released, abandoned.
//!
//! A file that is taken again loses its header first (zeros, synced): from then on nothing of its old entries counts,
//! and until then all of them do. So a power cut never leaves half of an old segment behind, which would look like
//! damage. What was released stays readable (it is *kept*) as long as possible: new files are made before a kept one is
//! taken, and those are taken in the order of their generation, so that what is found of a lane has no hole.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::ChainHash;
use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::segment::SEGMENT_HEADER_LEN;
use afferent_protocol::session::Lane;

use crate::limits::ring_log::SEGMENTS_MAX;

/// What is known of a segment in use. There is no index of its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub lane: Lane,
    pub generation: u64,
    pub first: Sequence,
    pub end: Sequence,
    /// Where its last whole entry ends.
    pub bytes_end: u64,
    /// Chain hash of its last batch.
    pub chain: ChainHash,
    /// The disk refused a write: never written again.
    pub abandoned: bool,
}

/// What a file of the pool is used for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usage {
    /// There is no such file.
    Missing,
    /// There is one, and it is not this log's: it is left alone.
    Foreign,
    /// Nothing in it is needed. `kept` is its old content, which can be read until the file is taken again.
    Free { kept: Option<Segment>, blank: bool, abandoned: bool },
    /// It holds entries of a lane.
    Taken(Segment),
}

impl Usage {
    /// The segment in the file, in use or kept.
    pub fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Taken(segment) | Self::Free { kept: Some(segment), .. } => Some(segment),
            _ => None,
        }
    }

    /// The generation of what a free file holds, 0 when that is nothing.
    fn kept_generation(&self) -> u64 {
        self.segment().map_or(0, |segment| segment.generation)
    }
}

/// One file of the pool; its index is its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub len: u64,
    pub usage: Usage,
}

/// Why no file could be taken.
#[derive(Debug)]
pub(super) enum Shortage {
    /// The disk refused to make one ready.
    Unwritable(io::Error),
    /// None is free, and none can be made.
    Full(Option<io::Error>),
}

/// The files of a ring log.
#[derive(Debug)]
pub(super) struct Pool<D: Disk> {
    pub disk: D,
    pub slots: Vec<Slot>,
    pub segment_bytes: u64,
    pub pool_bytes: u64,
    /// Whether the names of the files are on disk. A start cannot know: the process before may have ended between
    /// making a file and making its name durable, and everything in a file goes when its name does.
    pub names_are_durable: bool,
    /// Files that were removed since the start: an open file may be one of them.
    pub removals: u64,
}

/// The name of the file with this number.
pub(super) fn file_name(number: usize) -> String {
    format!("ring-{number:04}.seg")
}

/// The number of the file with this name.
pub(super) fn file_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("ring-")?.strip_suffix(".seg")?;
    let number = digits.parse().ok().filter(|number| *number < SEGMENTS_MAX)?;
    (file_name(number) == name).then_some(number)
}

impl<D: Disk> Pool<D> {
    /// Segments in use, with the numbers of their files.
    pub fn taken(&self) -> impl Iterator<Item = (usize, &Segment)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| match &slot.usage {
            Usage::Taken(segment) => Some((number, segment)),
            _ => None,
        })
    }

    /// Segments that can be read, in use and kept, with the numbers of their files.
    pub fn readable(&self) -> impl Iterator<Item = (usize, &Segment)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.usage.segment()?)))
    }

    /// The segment in this file.
    ///
    /// # Panics
    /// When none is: the caller keeps the number only as long as the segment is in use.
    pub fn segment_mut(&mut self, number: usize) -> &mut Segment {
        match &mut self.slots[number].usage {
            Usage::Taken(segment) => segment,
            other => panic!("file {number} holds no segment but is {other:?}"),
        }
    }

    /// Whether the stream has any segment.
    pub fn has_segment(&self, stream: Stream) -> bool {
        self.taken().any(|(_, segment)| segment.lane.stream == stream)
    }

    /// Files that exist and are this log's.
    pub fn files(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.usage, Usage::Free { .. } | Usage::Taken(_))).count()
    }

    /// Bytes of these files.
    pub fn bytes(&self) -> u64 {
        let ours = |slot: &&Slot| matches!(slot.usage, Usage::Free { .. } | Usage::Taken(_));
        self.slots.iter().filter(ours).map(|slot| slot.len).sum()
    }

    /// Free files that can be taken as they are.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| self.is_usable(slot)).count()
    }

    /// A file that the disk has refused, or of a different length than is asked for now, is removed and not taken
    /// again.
    fn is_usable(&self, slot: &Slot) -> bool {
        matches!(slot.usage, Usage::Free { abandoned: false, .. }) && slot.len == self.segment_bytes
    }

    /// Releases a segment's file. Its content stays readable until the file is taken again.
    pub fn release(&mut self, number: usize) {
        if let Usage::Taken(segment) = self.slots[number].usage {
            self.slots[number].usage = Usage::Free { kept: Some(segment), blank: false, abandoned: segment.abandoned };
        }
    }

    /// Takes a kept segment into use again.
    pub fn hold_again(&mut self, number: usize) {
        if let Usage::Free { kept: Some(segment), .. } = self.slots[number].usage {
            self.slots[number].usage = Usage::Taken(segment);
        }
    }

    /// Never to be written again: the disk refused, and what the file holds now is not known.
    pub fn spoil(&mut self, number: usize) {
        match &mut self.slots[number].usage {
            Usage::Free { abandoned, .. } => *abandoned = true,
            Usage::Taken(segment) => segment.abandoned = true,
            Usage::Missing | Usage::Foreign => return,
        }
        if matches!(self.slots[number].usage, Usage::Free { .. }) {
            // Should this fail too, it is tried again when files run short.
            let _ = self.discard(number);
        }
    }

    /// Removes a free file, and before it those whose content is older: what a start finds of a lane has no hole.
    fn discard(&mut self, number: usize) -> io::Result<()> {
        let usage = self.slots[number].usage;
        let last = usage.kept_generation();
        if !matches!(usage, Usage::Free { .. }) {
            return Ok(());
        }
        loop {
            let dirty = |slot: &Slot| match slot.usage {
                Usage::Free { blank: false, .. } if slot.usage.kept_generation() < last => {
                    Some(slot.usage.kept_generation())
                }
                _ => None,
            };
            let older = self.slots.iter().enumerate().filter_map(|(number, slot)| Some((dirty(slot)?, number))).min();
            let next = older.map_or(number, |(_, older)| older);
            self.disk.remove(&file_name(next))?;
            self.removals += 1;
            self.slots[next] = Slot { len: 0, usage: Usage::Missing };
            // When the name comes back after a power cut, so do entries that are not needed: no harm.
            let _ = self.disk.sync_directory();
            if next == number {
                return Ok(());
            }
        }
    }

    /// Removes the free files that cannot be taken as they are.
    pub fn discard_unusable(&mut self) -> io::Result<()> {
        for number in 0..self.slots.len() {
            let slot = self.slots[number];
            if matches!(slot.usage, Usage::Free { .. }) && !self.is_usable(&slot) {
                self.discard(number)?;
            }
        }
        Ok(())
    }

    /// Makes one more file; `false` when the pool has its size.
    pub fn grow(&mut self) -> io::Result<bool> {
        self.grow_beyond(0)
    }

    /// Makes one more file; `false` when the pool has its size and so many segments more.
    pub fn grow_beyond(&mut self, segments: u64) -> io::Result<bool> {
        self.discard_unusable()?;
        if self.bytes() + self.segment_bytes > self.pool_bytes + segments * self.segment_bytes {
            return Ok(false);
        }
        let missing = self.slots.iter().position(|slot| matches!(slot.usage, Usage::Missing));
        let number = missing.unwrap_or(self.slots.len());
        if number >= SEGMENTS_MAX {
            return Ok(false);
        }
        let name = file_name(number);
        let made = match self.disk.create(&name, self.segment_bytes) {
            // Made before, and then neither made durable nor removed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(&name)?;
                self.disk.create(&name, self.segment_bytes)
            }
            made => made,
        };
        drop(made?);
        if let Err(error) = self.disk.sync_directory() {
            // Without its name on disk nothing in it is durable.
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        if number == self.slots.len() {
            self.slots.push(Slot { len: 0, usage: Usage::Missing });
        }
        let usage = Usage::Free { kept: None, blank: true, abandoned: false };
        self.slots[number] = Slot { len: self.segment_bytes, usage };
        let bytes_max = self.pool_bytes + segments * self.segment_bytes;
        assert!(self.bytes() <= bytes_max, "the pool keeps to its size");
        Ok(true)
    }

    /// The usable file whose old content is the oldest.
    fn oldest_free(&self) -> Option<usize> {
        let generation = |slot: &Slot| self.is_usable(slot).then(|| slot.usage.kept_generation());
        let free = self.slots.iter().enumerate().filter_map(|(number, slot)| Some((generation(slot)?, number)));
        free.min().map(|(_, number)| number)
    }

    /// Whether no blank file is free: the next one is to be made, or to lose what is kept in it.
    pub fn takes_kept(&self) -> bool {
        !self.slots.iter().any(|slot| self.is_usable(slot) && matches!(slot.usage, Usage::Free { blank: true, .. }))
    }

    /// Makes a free file ready for a new header: its old content is gone, durably. It stays free until it is begun.
    pub fn take(&mut self) -> Result<(usize, D::File), Shortage> {
        // A file that cannot be removed now is tried again the next time.
        let _ = self.discard_unusable();
        if !self.names_are_durable {
            self.disk.sync_directory().map_err(Shortage::Unwritable)?;
            self.names_are_durable = true;
        }
        if self.takes_kept() {
            match self.grow() {
                Ok(true) => {}
                _ if self.free() > 0 => {}
                Ok(false) => return Err(Shortage::Full(None)),
                Err(error) => return Err(Shortage::Full(Some(error))),
            }
        }
        let number = self.oldest_free().ok_or(Shortage::Full(None))?;
        assert_eq!(self.slots[number].len, self.segment_bytes, "only files of the wanted size are taken");
        let ready = self.wipe(number);
        if ready.is_err() {
            self.spoil(number);
        }
        ready.map(|file| (number, file)).map_err(Shortage::Unwritable)
    }

    /// Gives files back to the file system that a pool which was made smaller does not need any more.
    /// Keeps so many free.
    pub fn shrink(&mut self, kept: usize) {
        while self.bytes() > self.pool_bytes && self.free() > kept {
            let Some(number) = self.oldest_free() else { return };
            if self.discard(number).is_err() {
                return;
            }
        }
    }

    /// Sees to it that so many of the free files are blank, as far as there are so many.
    pub fn keep_blank(&mut self, count: usize) {
        let blank = |slot: &&Slot| matches!(slot.usage, Usage::Free { blank: true, abandoned: false, .. });
        let mut missing = count.min(self.free()).saturating_sub(self.slots.iter().filter(blank).count());
        while missing > 0 {
            missing -= 1;
            if matches!(self.grow(), Ok(true)) {
                continue;
            }
            let dirty = |slot: &Slot| match slot.usage {
                Usage::Free { blank: false, .. } if self.is_usable(slot) => Some(slot.usage.kept_generation()),
                _ => None,
            };
            let oldest = self.slots.iter().enumerate().filter_map(|(number, slot)| Some((dirty(slot)?, number))).min();
            let Some((_, number)) = oldest else { return };
            if self.wipe(number).is_err() {
                self.spoil(number);
            }
        }
    }

    fn wipe(&mut self, number: usize) -> io::Result<D::File> {
        assert!(matches!(self.slots[number].usage, Usage::Free { .. }), "only a free file loses its header");
        let file = self.disk.open(&file_name(number))?;
        if let Usage::Free { kept, blank: blank @ false, .. } = &mut self.slots[number].usage {
            file.write_at(&[0; SEGMENT_HEADER_LEN], 0)?;
            file.sync()?;
            (*kept, *blank) = (None, true);
        }
        Ok(file)
    }
}
