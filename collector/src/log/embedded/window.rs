//! A part of a file in memory, which moves through the file: a segment is searched without being read whole.

use std::io;

use afferent_host::disk::DiskFile;
use afferent_protocol::limits::BATCH_BYTES_MAX;
use afferent_protocol::segment::{ENTRY_HEAD_LEN, Entry, EntryHead, Seed, entry_len};

use crate::limits::SEGMENT_READ_BYTES;

/// The bytes of a file around the position that was read last.
#[derive(Debug)]
pub(super) struct Window<'f, F> {
    file: &'f F,
    /// The length of the file that counts.
    len: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl<'f, F: DiskFile> Window<'f, F> {
    /// A window over the first `len` bytes of a file.
    pub fn new(file: &'f F, len: u64) -> Self {
        Self { file, len, from: 0, bytes: Vec::new() }
    }

    /// The bytes from a position on: at least `least`, or all that the file has.
    pub fn at(&mut self, position: u64, least: usize) -> io::Result<&[u8]> {
        let left = self.len.saturating_sub(position);
        if left == 0 {
            return Ok(&[]);
        }
        let least = usize::try_from(left).map_or(least, |left| least.min(left));
        let known = position.checked_sub(self.from).and_then(|skip| self.bytes.len().checked_sub(skip as usize));
        if known.is_none_or(|known| known < least) {
            let wanted = least.max(SEGMENT_READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.from = position;
            self.bytes.resize(wanted, 0);
            // After an error the buffer does not count.
            self.file.read_at(&mut self.bytes, position).inspect_err(|_| self.bytes.clear())?;
        }
        Ok(&self.bytes[(position - self.from) as usize..])
    }

    /// The entry at a position; `None` when there is no whole one.
    pub fn entry(&mut self, position: u64, seed: Seed) -> io::Result<Option<Entry<'_>>> {
        let head = EntryHead::decode(self.at(position, ENTRY_HEAD_LEN)?, seed);
        let Some(len) = head.map(|head| head.entry_len()).filter(|len| *len <= entry_len(BATCH_BYTES_MAX)) else {
            return Ok(None);
        };
        Ok(Entry::parse(self.at(position, len)?, seed).ok())
    }

    /// Whether only zeros follow from a position on.
    pub fn is_blank_from(&mut self, position: u64) -> io::Result<bool> {
        let mut at = position;
        while at < self.len {
            let bytes = self.at(at, 1)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use afferent_host::disk::Disk;
    use proptest::prelude::*;

    use super::*;
    use afferent_host::disk::simulated::SimDisk;

    proptest! {
        #[test]
        fn whatever_was_looked_at_before_a_place_has_its_bytes_and_a_window_stays_small(
            looks in prop::collection::vec((0..3_000_000_u64, 0..2_000_000_usize), 1..20),
        ) {
            let disk = SimDisk::of_seed(1);
            let bytes: Vec<u8> = (0..2_500_000_u32).map(|at| (at % 251) as u8).collect();
            let file = disk.create("a", bytes.len() as u64).unwrap();
            file.write_at(&bytes, 0).unwrap();
            let mut window = Window::new(&file, bytes.len() as u64);
            for (position, least) in looks {
                let rest = bytes.get(position as usize..).unwrap_or_default();
                let seen = window.at(position, least).unwrap();
                prop_assert!(seen.len() >= least.min(rest.len()) && rest.starts_with(seen));
                prop_assert!(window.bytes.len() <= least.max(SEGMENT_READ_BYTES).max(2_000_000));
            }
        }
    }
}
