//! One file's two contents.

use std::collections::BTreeSet;
use std::ops::Range;

use super::faults::{DiskFault, DiskFaultCounts};
use super::rng::Rng;

/// Bytes that reach the platter together or not at all.
pub const SECTOR: usize = 512;

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// Sectors that the cache shows, that are not on the platter, and that no sync will write any more.
    lying: BTreeSet<usize>,
    /// The sectors of the last write.
    latest: Option<(usize, usize)>,
}

impl Inode {
    /// A file of durable zeros.
    pub(super) fn zeros(len: usize) -> Self {
        Self { cached: vec![0; len], durable: vec![0; len], ..Self::default() }
    }

    /// A file of durable bytes.
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self { cached: bytes.to_vec(), durable: bytes.to_vec(), ..Self::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        let end = position + bytes.len();
        self.cached[position..end].copy_from_slice(bytes);
        let sectors = position / SECTOR..end.div_ceil(SECTOR);
        for sector in sectors.clone() {
            self.dirty.insert(sector);
            self.lying.remove(&sector);
        }
        self.latest = Some((sectors.start, sectors.end));
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector);
        }
    }

    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
    }

    /// The cache takes the sector from the platter again.
    fn reload(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        self.cached[start..end].copy_from_slice(&self.durable[start..end]);
    }

    /// A sync fails: each dirty sector is on the platter or not, and none is dirty any more.
    pub(super) fn sync_failed(&mut self, rng: &mut Rng) {
        let forgets = rng.coin();
        for sector in std::mem::take(&mut self.dirty) {
            if rng.coin() {
                self.persist(sector);
            } else if forgets {
                self.reload(sector);
            } else {
                self.lying.insert(sector);
            }
        }
    }

    /// The power goes: any subset of the dirty sectors survives.
    pub(super) fn power_cut(&mut self, rng: &mut Rng, counts: &mut DiskFaultCounts) {
        let dirty = std::mem::take(&mut self.dirty);
        let count = dirty.len() as u64;
        let style = rng.below(4);
        let prefix = rng.below(count + 1);
        let mut survived = 0;
        for (at, sector) in dirty.into_iter().enumerate() {
            let survives = match style {
                0 => false,
                1 => rng.coin(),
                2 => (at as u64) < prefix,
                _ => (at as u64) >= prefix,
            };
            if survives {
                self.persist(sector);
                survived += 1;
            }
        }
        if survived < count {
            counts.fired(DiskFault::SectorLost);
        }
        if survived > 0 && survived < count {
            counts.fired(DiskFault::Torn);
        }
        self.lying.clear();
        self.cached.clone_from(&self.durable);
    }

    /// No handle to the file is open any more: the cache may drop what it only pretends.
    pub(super) fn process_end(&mut self, rng: &mut Rng) {
        for sector in std::mem::take(&mut self.lying) {
            if rng.coin() {
                self.reload(sector);
            } else {
                self.lying.insert(sector);
            }
        }
    }

    /// A written byte that is durable: often one of the last write, else any.
    pub(super) fn some_written(&self, rng: &mut Rng) -> Option<usize> {
        let span = match self.latest.filter(|_| rng.per_mille(400)) {
            Some((start, end)) => start * SECTOR..(end * SECTOR).min(self.durable.len()),
            None => 0..self.durable.len(),
        };
        if span.is_empty() {
            return None;
        }
        (0..64).map(|_| span.start + rng.index(span.len())).find(|at| self.durable[*at] != 0)
    }

    /// Changes bytes in the cache and on the platter alike.
    pub(super) fn change(&mut self, range: Range<usize>, with: impl Fn(u8) -> u8) {
        for at in range {
            self.cached[at] = with(self.cached[at]);
            self.durable[at] = self.cached[at];
        }
    }

    /// Flips one durable bit.
    pub(super) fn flip(&mut self, at: usize, bit: u32) {
        self.durable[at] ^= 1 << bit;
        if !self.dirty.contains(&(at / SECTOR)) {
            self.cached[at] = self.durable[at];
        }
    }
}
