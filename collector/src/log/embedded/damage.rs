//! Damage that readers, the indexer, or the rebuilding of an index find while the log is open.

use std::collections::BTreeMap;

use afferent_host::disk::Disk;
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, SourceId};
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step as Scanned};
use afferent_protocol::session::Lane;

use super::files::{SegmentFile, read_whole};
use crate::limits::DAMAGE_WAITING_MAX;
use crate::log::history::{SegmentHistory, Step};
use crate::log::report::{LogDamage, LostSequences};

/// The damage that was found, each damaged range once.
#[derive(Debug, Default)]
pub(super) struct FoundDamage {
    known: BTreeMap<(Offset, Offset), bool>,
    waiting: Vec<LogDamage>,
}

impl FoundDamage {
    pub fn add(&mut self, damage: LogDamage) {
        let place = (damage.first, damage.end);
        let tells_more = !damage.missing.is_empty();
        let is_told = self.known.get(&place).is_some_and(|told_lanes| *told_lanes || !tells_more);
        if is_told || self.known.len() >= DAMAGE_WAITING_MAX || damage.first >= damage.end {
            return;
        }
        let LogDamage { place: file, first, end, .. } = &damage;
        tracing::error!(
            file,
            first = first.get(),
            end = end.get(),
            "the log is damaged: events are no longer readable"
        );
        self.known.insert(place, tells_more);
        self.waiting.push(damage);
    }

    /// Whether this offset is in a known damaged range.
    pub fn has(&self, offset: Offset) -> bool {
        self.known.keys().any(|(first, end)| (*first..*end).contains(&offset))
    }

    pub fn take(&mut self) -> Vec<LogDamage> {
        std::mem::take(&mut self.waiting)
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// Finds what is missing of a segment whose offsets are `first` up to `end`; `before` is its index from when it was
/// whole. Without that only holes between two batches of a lane show.
pub(super) fn find<D: Disk>(
    disk: &D,
    file: &SegmentFile,
    first: u64,
    end: u64,
    before: Option<&SegmentHistory>,
) -> Vec<LogDamage> {
    let mut bytes = Vec::new();
    let mut lanes = Lanes::of(before);
    let (mut at, mut holes) = (first, Vec::new());
    if read_whole(disk, &file.name, SEGMENT_BYTES_MAX, &mut bytes).is_ok() {
        let mut scan = Scan::new(&bytes, file.seed);
        while let Some(step) = scan.step() {
            let Scanned::Entry(_, entry) = step else { continue };
            let head = entry.head;
            if head.ordinal < at || head.end_ordinal() > end {
                continue;
            }
            if head.ordinal > at {
                holes.push((at, head.ordinal));
            }
            at = head.end_ordinal();
            let header = entry.batch.header();
            lanes.has(header.source, Lane { stream: header.stream, epoch: header.epoch }, header.range());
        }
    }
    if at < end {
        holes.push((at, end));
    }
    let missing = lanes.missing();
    let damage = |(index, (first, end)): (usize, (u64, u64))| LogDamage {
        place: file.name.clone(),
        first: Offset::new(first),
        end: Offset::new(end),
        // The lanes are of the whole segment: they are reported with its first hole.
        missing: if index == 0 { missing.clone() } else { Vec::new() },
    };
    holes.into_iter().enumerate().map(damage).collect()
}

/// What lanes should have in a segment, and how much of it can be read.
#[derive(Default)]
struct Lanes {
    /// Ranges that were not found yet, by lane; ends are exclusive.
    expected: BTreeMap<(SourceId, Lane), Vec<SequenceRange>>,
    /// The end of each lane's last batch, when the expected ranges are unknown.
    ends: Option<BTreeMap<(SourceId, Lane), Sequence>>,
    missing: Vec<LostSequences>,
}

impl Lanes {
    fn of(before: Option<&SegmentHistory>) -> Self {
        let Some(history) = before else { return Self { ends: Some(BTreeMap::new()), ..Self::default() } };
        let mut expected: BTreeMap<_, Vec<SequenceRange>> = BTreeMap::new();
        for step in &history.steps {
            let Step::Came(stretch) = step else { continue };
            let lane = Lane { stream: stretch.stream, epoch: stretch.epoch };
            let range = SequenceRange { first: stretch.first, end: stretch.end() };
            expected.entry((stretch.source, lane)).or_default().push(range);
        }
        Self { expected, ..Self::default() }
    }

    fn has(&mut self, source: SourceId, lane: Lane, range: SequenceRange) {
        if let Some(ends) = &mut self.ends {
            let end = ends.insert((source, lane), range.end);
            if let Some(first) = end.filter(|end| *end < range.first) {
                self.missing.push(LostSequences { source, lane, range: SequenceRange { first, end: range.first } });
            }
            return;
        }
        let Some(ranges) = self.expected.get_mut(&(source, lane)) else { return };
        let Some(at) = ranges.iter().position(|known| known.first <= range.first && range.end <= known.end) else {
            return;
        };
        let known = ranges.remove(at);
        let before = SequenceRange { first: known.first, end: range.first };
        if before.first < before.end {
            self.missing.push(LostSequences { source, lane, range: before });
        }
        if range.end < known.end {
            ranges.insert(at, SequenceRange { first: range.end, end: known.end });
        }
    }

    fn missing(mut self) -> Vec<LostSequences> {
        for ((source, lane), ranges) in self.expected {
            self.missing.extend(ranges.into_iter().map(|range| LostSequences { source, lane, range }));
        }
        self.missing
    }
}
