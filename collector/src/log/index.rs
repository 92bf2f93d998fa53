//! Where an offset lies: stretches of whole entries (*runs*), each with a sparse index.
//!
//! The index is derived from the log at every start and grows with every commit; it is never evidence about the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use afferent_protocol::ids::Timestamp;
use afferent_protocol::segment::{EntryHead, Seed};

use super::reader::TimeKind;
use crate::limits::INDEX_EVERY_BYTES;

/// A segment file, as far as a reader must know it.
#[derive(Debug)]
pub(super) struct SegmentFile {
    /// Its name.
    pub name: String,
    /// What its entries' checksums are seeded with.
    pub seed: Seed,
}

/// One point of the sparse index, and what lies from there up to the next one.
#[derive(Clone, Copy, Debug)]
struct Point {
    offset: u64,
    position: u32,
    ingest_max: Timestamp,
    event_max: Timestamp,
}

/// Whole entries of one file, one after the other, their offsets without a hole.
#[derive(Debug)]
pub(super) struct Run {
    pub file: Arc<SegmentFile>,
    /// The first offset, and the first one after it.
    pub first: u64,
    pub end: u64,
    /// Where its last entry ends in the file.
    pub stop: u64,
    points: Vec<Point>,
}

impl Run {
    fn begin(file: Arc<SegmentFile>, head: &EntryHead, position: u64) -> Self {
        Self { file, first: head.ordinal, end: head.ordinal, stop: position, points: Vec::new() }
    }

    fn continues(&self, file: &Arc<SegmentFile>, head: &EntryHead, position: u64) -> bool {
        Arc::ptr_eq(&self.file, file) && self.end == head.ordinal && self.stop == position
    }

    fn push(&mut self, head: &EntryHead, position: u64, event_last: Timestamp) {
        let at = u32::try_from(position).expect("segments are shorter than SEGMENT_BYTES_MAX");
        match self.points.last_mut() {
            Some(point) if position < u64::from(point.position) + INDEX_EVERY_BYTES => {
                point.ingest_max = point.ingest_max.max(head.stamp);
                point.event_max = point.event_max.max(event_last);
            }
            _ => {
                let (ingest_max, event_max) = (head.stamp, event_last);
                self.points.push(Point { offset: head.ordinal, position: at, ingest_max, event_max });
            }
        }
        self.end = head.end_ordinal();
        self.stop = position + head.entry_len() as u64;
    }

    /// The last point at or before `offset`.
    fn point(&self, offset: u64) -> &Point {
        let after = self.points.partition_point(|point| point.offset <= offset);
        &self.points[after.max(1) - 1]
    }
}

/// A place to begin reading at: an entry's, at or up to [`INDEX_EVERY_BYTES`] before the one that was looked for.
#[derive(Debug)]
pub(super) struct Place {
    pub file: Arc<SegmentFile>,
    /// The offset to look for: the one asked for, or the first one after a hole.
    pub wanted: u64,
    pub offset: u64,
    pub position: u64,
    /// Where the durable entries of this run end.
    pub stop: u64,
}

/// All runs, in order.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Takes the next entry in order.
    pub fn push(&mut self, file: &Arc<SegmentFile>, head: &EntryHead, position: u64, event_last: Timestamp) {
        if self.0.last().is_none_or(|run| !run.continues(file, head, position)) {
            let end = self.0.last().map_or(0, |run| run.end);
            assert!(end <= head.ordinal, "offsets only go forward");
            self.0.push(Run::begin(Arc::clone(file), head, position));
        }
        self.0.last_mut().expect("one was just pushed").push(head, position, event_last);
    }

    /// The last run.
    pub fn last(&self) -> Option<&Run> {
        self.0.last()
    }

    fn find(&self, offset: u64) -> Option<&Run> {
        self.0.get(self.0.partition_point(|run| run.end <= offset))
    }
}

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    durable_end: AtomicU64,
    runs: RwLock<Runs>,
}

impl Shared {
    pub fn new(durable_end: u64, runs: Runs) -> Self {
        Self { durable_end: AtomicU64::new(durable_end), runs: RwLock::new(runs) }
    }

    pub fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    /// Shows readers what has become durable: first where it lies, then that it is there.
    pub fn publish(&self, durable_end: u64, add: impl FnOnce(&mut Runs)) {
        add(&mut self.runs.write().unwrap_or_else(PoisonError::into_inner));
        let before = self.durable_end.swap(durable_end, Ordering::Release);
        assert!(before <= durable_end, "the durable end never goes back");
    }

    fn with<T>(&self, look: impl FnOnce(&Runs) -> T) -> T {
        look(&self.runs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first offset that there is; the durable end when there is none.
    pub fn first(&self) -> u64 {
        self.with(|runs| runs.0.first().map(|run| run.first)).unwrap_or_else(|| self.durable_end())
    }

    /// Where the entry lies that holds `offset`, or the first one after the hole that it is in; `None` past the end.
    pub fn place(&self, offset: u64) -> Option<Place> {
        self.with(|runs| {
            let run = runs.find(offset)?;
            let point = run.point(offset);
            let (wanted, position) = (offset.max(run.first), u64::from(point.position));
            Some(Place { file: Arc::clone(&run.file), wanted, offset: point.offset, position, stop: run.stop })
        })
    }

    /// Where to go on when the entry that holds `offset` cannot be read: the next point of the index, or the run's end.
    pub fn after_damage(&self, offset: u64) -> u64 {
        self.with(|runs| {
            let Some(run) = runs.find(offset) else { return self.durable_end() };
            let next = run.points.partition_point(|point| point.offset <= offset);
            run.points.get(next).map_or(run.end, |point| point.offset)
        })
    }

    /// The offset of the first point that has something of `time` or later before the next point.
    pub fn point_at_time(&self, kind: TimeKind, time: Timestamp) -> Option<u64> {
        let latest = |point: &Point| match kind {
            TimeKind::Ingest => point.ingest_max,
            TimeKind::Event => point.event_max,
        };
        self.with(|runs| {
            let mut points = runs.0.iter().flat_map(|run| &run.points);
            points.find(|point| latest(point) >= time).map(|point| point.offset)
        })
    }
}
