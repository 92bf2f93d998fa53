//! Batches that came too early. They are checked, and wait in memory for those before them.

use std::collections::BTreeMap;

use afferent_protocol::ids::{Sequence, SourceId};
use afferent_protocol::session::{Lane, Offered};

use crate::limits::{EARLY_BATCHES_MAX, EARLY_BYTES_MAX, EARLY_BYTES_TOTAL_MAX};

/// A batch that waits.
#[derive(Clone, Debug)]
pub(super) struct EarlyBatch {
    pub offered: Offered,
    pub bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct EarlyUsage {
    batches: usize,
    bytes: usize,
}

/// The waiting batches of all sources.
#[derive(Debug, Default)]
pub(super) struct Early {
    kept: BTreeMap<(SourceId, Lane, Sequence), EarlyBatch>,
    taken: BTreeMap<SourceId, EarlyUsage>,
    bytes: usize,
}

impl Early {
    /// Keeps a batch if there is room; a dropped one is sent again.
    pub fn keep(&mut self, source: SourceId, lane: Lane, kept: EarlyBatch) {
        let key = (source, lane, kept.offered.range.first);
        let bytes = kept.bytes.len();
        let taken = self.taken.get(&source).copied().unwrap_or_default();
        let fits = taken.batches < EARLY_BATCHES_MAX
            && taken.bytes + bytes <= EARLY_BYTES_MAX
            && self.bytes + bytes <= EARLY_BYTES_TOTAL_MAX;
        if fits && !self.kept.contains_key(&key) {
            self.bytes += bytes;
            self.taken.insert(source, EarlyUsage { batches: taken.batches + 1, bytes: taken.bytes + bytes });
            self.kept.insert(key, kept);
        }
        assert!(self.bytes <= EARLY_BYTES_TOTAL_MAX, "what waits in memory is bounded");
    }

    /// The batch of the lane that begins at `end`; drops those before it, which the log already holds.
    pub fn take(&mut self, source: SourceId, lane: Lane, end: Sequence) -> Option<EarlyBatch> {
        loop {
            let (key, _) = self.kept.range((source, lane, Sequence::ZERO)..=(source, lane, end)).next()?;
            let key = *key;
            let kept = self.remove(&key);
            if key.2 == end {
                return kept;
            }
        }
    }

    /// Forgets a source that has delivered nothing.
    pub fn forget(&mut self, source: &SourceId) {
        if !self.taken.contains_key(source) {
            return;
        }
        let keys: Vec<_> = self.kept.keys().filter(|(of, ..)| of == source).copied().collect();
        keys.iter().for_each(|key| drop(self.remove(key)));
    }

    fn remove(&mut self, key: &(SourceId, Lane, Sequence)) -> Option<EarlyBatch> {
        let kept = self.kept.remove(key)?;
        assert!(self.bytes >= kept.bytes.len(), "what goes was counted when it came");
        self.bytes -= kept.bytes.len();
        if let Some(taken) = self.taken.get_mut(&key.0) {
            taken.batches -= 1;
            taken.bytes -= kept.bytes.len();
            if taken.batches == 0 {
                self.taken.remove(&key.0);
            }
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::{Epoch, SequenceRange, Stream};

    use super::*;

    const LANE: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1) };

    fn kept(first: u64, bytes: usize) -> EarlyBatch {
        let range = SequenceRange { first: Sequence::new(first), end: Sequence::new(first + 1) };
        EarlyBatch { offered: Offered { range, previous: [0; 32], chain: [0; 32] }, bytes: vec![0; bytes].into() }
    }

    #[test]
    fn what_waits_is_limited_in_number_and_bytes_and_room_comes_back() {
        let source = SourceId::new("a").unwrap();
        let mut early = Early::default();
        (0..1000).for_each(|first| early.keep(source, LANE, kept(first, 1)));
        assert_eq!(early.kept.len(), EARLY_BATCHES_MAX);
        assert!(early.take(source, LANE, Sequence::new(5000)).is_none(), "none begins there");
        assert!(early.kept.is_empty() && early.taken.is_empty() && early.bytes == 0, "those before it are dropped");
        (0..100).for_each(|first| early.keep(source, LANE, kept(first, 1 << 20)));
        assert_eq!(early.bytes, EARLY_BYTES_MAX);
        for index in 0..100 {
            let other = SourceId::new(&format!("b{index}")).unwrap();
            (0..8).for_each(|first| early.keep(other, LANE, kept(first, 1 << 20)));
        }
        assert_eq!(early.bytes, EARLY_BYTES_TOTAL_MAX);
        assert_eq!(early.take(source, LANE, Sequence::ZERO).unwrap().bytes.len(), 1 << 20);
    }
}
