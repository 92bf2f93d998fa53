//! The points of a segment's sparse index: each covers the entries up to the next point.

use std::ops::Range;

use afferent_host::disk::Disk;
use afferent_protocol::ids::Timestamp;
use afferent_protocol::limits::SEGMENT_BYTES_MAX;
use afferent_protocol::scan::{Scan, Step};
use afferent_protocol::segment::EntryHead;
use serde::{Deserialize, Serialize};

use super::files::{SegmentFile, read_whole};
use crate::limits::INDEX_EVERY_BYTES;
use crate::log::marks::{Marks, Wanted};

/// Which time a search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeKind {
    /// When the collector appended it.
    Ingest,
    /// When it happened, by its source's clock.
    Event,
}

/// One point of the sparse index, with a summary of the entries up to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexPoint {
    pub offset: u64,
    pub position: u32,
    pub ingest_min: Timestamp,
    pub ingest_max: Timestamp,
    event_min: Timestamp,
    event_max: Timestamp,
    pub marks: Marks,
}

impl IndexPoint {
    /// Adds an entry to the points of its segment.
    pub fn push(points: &mut Vec<Self>, head: &EntryHead, position: u64, event: (Timestamp, Timestamp), marks: Marks) {
        let point = Self::of(head, position, event, marks);
        match points.last_mut() {
            Some(last) if position < u64::from(last.position) + INDEX_EVERY_BYTES => last.join(&point),
            _ => points.push(point),
        }
    }

    pub fn of(head: &EntryHead, position: u64, event: (Timestamp, Timestamp), marks: Marks) -> Self {
        let position = u32::try_from(position).expect("segments are shorter than SEGMENT_BYTES_MAX");
        let (event_min, event_max) = event;
        let (ingest_min, ingest_max) = (head.stamp, head.stamp);
        Self { offset: head.ordinal, position, ingest_min, ingest_max, event_min, event_max, marks }
    }

    /// Adds the summary of the entries right behind it.
    pub fn join(&mut self, next: &Self) {
        self.ingest_min = self.ingest_min.min(next.ingest_min);
        self.ingest_max = self.ingest_max.max(next.ingest_max);
        self.event_min = self.event_min.min(next.event_min);
        self.event_max = self.event_max.max(next.event_max);
        self.marks = self.marks.with(next.marks);
    }

    /// All points as one.
    pub fn whole(points: &[Self]) -> Self {
        let (mut whole, rest) = points.split_first().map(|(first, rest)| (*first, rest)).expect("no run is empty");
        rest.iter().for_each(|point| whole.join(point));
        whole
    }

    pub fn latest(&self, kind: TimeKind) -> Timestamp {
        match kind {
            TimeKind::Ingest => self.ingest_max,
            TimeKind::Event => self.event_max,
        }
    }

    pub fn fits(&self, wanted: &Wanted) -> bool {
        wanted.fits(&self.marks, (self.ingest_min, self.ingest_max), (self.event_min, self.event_max))
    }
}

impl IndexPoint {
    /// The points of the readable entries of a damaged segment, by their heads.
    pub fn readable<D: Disk>(disk: &D, file: &SegmentFile, offsets: Range<u64>) -> Vec<Self> {
        let (mut bytes, mut points, mut at) = (Vec::new(), Vec::new(), offsets.start);
        if read_whole(disk, &file.name, SEGMENT_BYTES_MAX, &mut bytes).is_err() {
            return points;
        }
        let mut scan = Scan::new(&bytes, file.seed);
        while let Some(step) = scan.step() {
            let Step::Entry(position, entry) = step else { continue };
            let (head, header) = (entry.head, entry.batch.header());
            if head.ordinal >= at && head.end_ordinal() <= offsets.end {
                let event = (header.time_first, header.time_last);
                Self::push(&mut points, &head, position.get(), event, Marks::ANY);
                at = head.end_ordinal();
            }
        }
        points
    }
}
