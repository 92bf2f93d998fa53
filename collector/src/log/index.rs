//! Where an offset lies: stretches of whole entries (*runs*), each with a sparse index.
//!
//! The index is derived from the log and grows with every commit; it is never evidence about the log. What a finished
//! segment holds is looked into later, and kept beside it ([`super::segment_index`]): until then it may hold anything.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN, Seed};
use afferent_protocol::session::signed::LogId;
use serde::{Deserialize, Serialize};

use super::damage::{Found, LogDamage};
use super::marks::{Marks, NameHash, Wanted};
use super::reader::TimeKind;
use super::segment_index::SegmentIndex;
use crate::limits::INDEX_EVERY_BYTES;
use crate::terms::Terms;

/// A segment file, as far as a reader must know it.
#[derive(Debug)]
pub(super) struct SegmentFile {
    /// Its name.
    pub name: String,
    /// What its entries' checksums are seeded with.
    pub seed: Seed,
}

/// One point of the sparse index, and what lies from there up to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Point {
    pub offset: u64,
    pub position: u32,
    ingest_min: Timestamp,
    ingest_max: Timestamp,
    event_min: Timestamp,
    event_max: Timestamp,
    marks: Marks,
}

impl Point {
    /// Adds an entry to the points of its segment.
    pub fn push(points: &mut Vec<Self>, head: &EntryHead, position: u64, event: (Timestamp, Timestamp), marks: Marks) {
        let point = Self::of(head, position, event, marks);
        match points.last_mut() {
            Some(last) if position < u64::from(last.position) + INDEX_EVERY_BYTES => last.join(&point),
            _ => points.push(point),
        }
    }

    fn of(head: &EntryHead, position: u64, event: (Timestamp, Timestamp), marks: Marks) -> Self {
        let position = u32::try_from(position).expect("segments are shorter than SEGMENT_BYTES_MAX");
        let (event_min, event_max) = event;
        let (ingest_min, ingest_max) = (head.stamp, head.stamp);
        Self { offset: head.ordinal, position, ingest_min, ingest_max, event_min, event_max, marks }
    }

    /// Takes in what lies right behind it.
    fn join(&mut self, next: &Self) {
        self.ingest_min = self.ingest_min.min(next.ingest_min);
        self.ingest_max = self.ingest_max.max(next.ingest_max);
        self.event_min = self.event_min.min(next.event_min);
        self.event_max = self.event_max.max(next.event_max);
        self.marks = self.marks.with(next.marks);
    }

    /// All of them as one.
    fn whole(points: &[Self]) -> Self {
        let (mut whole, rest) = points.split_first().map(|(first, rest)| (*first, rest)).expect("no run is empty");
        rest.iter().for_each(|point| whole.join(point));
        whole
    }

    fn latest(&self, kind: TimeKind) -> Timestamp {
        match kind {
            TimeKind::Ingest => self.ingest_max,
            TimeKind::Event => self.event_max,
        }
    }

    fn fits(&self, wanted: &Wanted) -> bool {
        wanted.fits(&self.marks, (self.ingest_min, self.ingest_max), (self.event_min, self.event_max))
    }
}

/// Where what is known of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// From the heads of its entries: what is in it nobody has looked into.
    Heads,
    /// From the file beside its segment, which may lie.
    File,
    /// From the whole segment itself.
    Segment,
}

/// Whole entries of one file, one after the other, their offsets without a hole.
#[derive(Debug)]
pub(super) struct Run {
    pub file: Arc<SegmentFile>,
    /// The first offset, and the first one after it.
    pub first: u64,
    pub end: u64,
    /// Where its first entry begins in the file, and where its last one ends.
    start: u64,
    pub stop: u64,
    points: Vec<Point>,
    /// All points as one: a log has many runs, and a run many points, and whoever looks for something in all of them keeps
    /// the writer from showing what is new.
    whole: Point,
    /// All names in it, in order, once it was looked into.
    names: Option<Vec<NameHash>>,
    told: Told,
}

impl Run {
    fn begin(file: Arc<SegmentFile>, head: &EntryHead, position: u64, event: (Timestamp, Timestamp)) -> Self {
        let (first, end) = (head.ordinal, head.ordinal);
        let (start, stop) = (position, position);
        let whole = Point::of(head, position, event, Marks::ANY);
        Self { file, first, end, start, stop, points: Vec::new(), whole, names: None, told: Told::Heads }
    }

    fn continues(&self, file: &Arc<SegmentFile>, head: &EntryHead, position: u64) -> bool {
        Arc::ptr_eq(&self.file, file) && self.end == head.ordinal && self.stop == position
    }

    fn push(&mut self, head: &EntryHead, position: u64, event: (Timestamp, Timestamp)) {
        Point::push(&mut self.points, head, position, event, Marks::ANY);
        self.whole.join(&Point::of(head, position, event, Marks::ANY));
        self.end = head.end_ordinal();
        self.stop = position + head.entry_len() as u64;
    }

    /// The index at or after `at` of the first point that fits.
    fn first_fit(&self, at: usize, wanted: &Wanted) -> Option<usize> {
        if !self.whole.fits(wanted) || self.names.as_ref().is_some_and(|names| !wanted.fits_names(names)) {
            return None;
        }
        (at..self.points.len()).find(|at| self.points[*at].fits(wanted))
    }

    /// Whether it can hold samples that nobody has removed.
    fn may_hold_samples(&self) -> bool {
        self.whole.marks.may_hold_samples()
    }

    fn takes(&mut self, index: SegmentIndex) {
        assert_eq!((self.first, self.end), (index.first, index.end), "an index is of its segment");
        self.whole = Point::whole(&index.points);
        (self.points, self.names, self.told) = (index.points, index.names, Told::Segment);
    }

    /// Another file has taken the place of its own, under the same name.
    fn becomes(&mut self, index: SegmentIndex) {
        let SegmentFile { name, seed } = &*self.file;
        self.file = Arc::new(SegmentFile { name: name.clone(), seed: *seed });
        self.stop = index.stop;
        self.takes(index);
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

/// A segment that nothing is appended to any more.
#[derive(Debug)]
pub(super) struct Finished {
    pub file: Arc<SegmentFile>,
    /// The offset that the next segment begins with.
    pub end: u64,
    /// When the newest batch in it was appended.
    pub newest: Timestamp,
}

/// All runs, in order.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Takes the next entry in order.
    pub fn push(&mut self, file: &Arc<SegmentFile>, head: &EntryHead, position: u64, event: (Timestamp, Timestamp)) {
        if self.0.last().is_none_or(|run| !run.continues(file, head, position)) {
            let end = self.0.last().map_or(0, |run| run.end);
            assert!(end <= head.ordinal, "offsets only go forward");
            self.0.push(Run::begin(Arc::clone(file), head, position, event));
        }
        self.0.last_mut().expect("one was just pushed").push(head, position, event);
    }

    /// Takes a whole segment by its index.
    pub fn push_indexed(&mut self, file: &Arc<SegmentFile>, index: SegmentIndex) {
        assert!(self.0.last().map_or(0, |run| run.end) <= index.first, "offsets only go forward");
        let (first, end) = (index.first, index.end);
        let (start, stop, names, points) = (SEGMENT_HEADER_LEN as u64, index.stop, index.names, index.points);
        let (file, whole) = (Arc::clone(file), Point::whole(&points));
        self.0.push(Run { file, first, end, start, stop, points, whole, names, told: Told::File });
    }

    /// The last run.
    pub fn last(&self) -> Option<&Run> {
        self.0.last()
    }

    /// Segments that will not grow and are whole.
    fn finished(&self) -> impl Iterator<Item = &Run> {
        self.0.windows(2).enumerate().filter_map(|(at, pair)| {
            let [run, next] = pair else { return None };
            let begins = run.start == SEGMENT_HEADER_LEN as u64
                && at.checked_sub(1).is_none_or(|before| !Arc::ptr_eq(&self.0[before].file, &run.file));
            let ends = run.end == next.first && !Arc::ptr_eq(&run.file, &next.file);
            (begins && ends).then_some(run)
        })
    }

    /// Segments that will not grow, are whole, and were not looked into: file and offsets.
    fn unindexed(&self) -> impl Iterator<Item = (&Arc<SegmentFile>, Range<u64>)> {
        self.finished().filter(|run| run.told == Told::Heads).map(|run| (&run.file, run.first..run.end))
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
    /// Held by who changes what a segment's name stands for, and by readers from looking for a place to opening its file.
    names: RwLock<()>,
    /// Held by whoever works on finished segments or on what lies beside them: one at a time.
    tending: Mutex<()>,
    /// Bytes that all readers together have read.
    bytes_read: AtomicU64,
    terms: RwLock<Arc<Terms>>,
    damage: Mutex<Found>,
}

impl Shared {
    pub fn new(log_id: LogId, durable_end: u64, runs: Runs) -> Self {
        let (names, tending) = (RwLock::new(()), Mutex::new(()));
        let (durable_end, bytes_read) = (AtomicU64::new(durable_end), AtomicU64::new(0));
        let (terms, damage) = (RwLock::new(Arc::new(Terms::of_log(log_id))), Mutex::default());
        Self { durable_end, runs: RwLock::new(runs), names, tending, bytes_read, terms, damage }
    }

    /// The terms of the log.
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn publish_terms(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Something was found that is not as it was written.
    pub fn damaged(&self, damage: LogDamage) {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).add(damage);
    }

    /// Whether what cannot be read there was found before.
    pub fn is_damage_known(&self, offset: Offset) -> bool {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).has(offset)
    }

    /// The file that holds an offset, and the offsets that lie in it one after the other.
    pub fn run_of(&self, offset: u64) -> Option<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| runs.find(offset).map(|run| (Arc::clone(&run.file), run.first..run.end)))
    }

    pub fn take_damage(&self) -> Vec<LogDamage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn has_damage(&self) -> bool {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).is_waiting()
    }

    /// To be held by whoever makes, replaces or removes files of finished segments.
    pub fn tend(&self) -> MutexGuard<'_, ()> {
        self.tending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As long as this is held, the name of every place's file stands for that file.
    pub fn fixed_names(&self) -> RwLockReadGuard<'_, ()> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
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

    /// Where the entry lies that holds `offset`, or the first one after the hole that it is in; `None` past the end. It
    /// stops at the index's first point at or after `until`.
    pub fn place(&self, offset: u64, until: u64) -> Option<Place> {
        self.with(|runs| {
            let run = runs.find(offset)?;
            let point = run.point(offset);
            let (wanted, position) = (offset.max(run.first), u64::from(point.position));
            let after = run.points.partition_point(|point| point.offset < until.max(wanted + 1));
            let stop = run.points.get(after).map_or(run.stop, |point| u64::from(point.position));
            Some(Place { file: Arc::clone(&run.file), wanted, offset: point.offset, position, stop })
        })
    }

    /// The next offsets from `from` on, and before the log's end, that can hold what is wanted; a hole can hold anything.
    pub fn stretch(&self, from: u64, wanted: &Wanted) -> Option<Range<u64>> {
        let end = self.durable_end();
        self.with(|runs| {
            let mut from = from;
            for run in &runs.0[runs.0.partition_point(|run| run.end <= from)..] {
                if run.first > from {
                    return Some(from..run.first);
                }
                let at = run.points.partition_point(|point| point.offset <= from).max(1) - 1;
                if let Some(at) = run.first_fit(at, wanted) {
                    let fitting = run.points[at..].iter().take_while(|point| point.fits(wanted)).count();
                    let stop = run.points.get(at + fitting).map_or(run.end, |point| point.offset);
                    return Some(run.points[at].offset.max(from)..stop);
                }
                from = run.end;
            }
            (from < end).then_some(from..end)
        })
    }

    /// A segment that should have an index, and has none; and how many more there are.
    pub fn unindexed(&self, passed: &[u64]) -> Option<(Arc<SegmentFile>, Range<u64>, usize)> {
        self.with(|runs| {
            let mut left = runs.unindexed().filter(|(_, offsets)| !passed.contains(&offsets.start));
            let (file, offsets) = left.next()?;
            Some((Arc::clone(file), offsets, left.count()))
        })
    }

    /// The segments that will not grow and are whole, oldest first: file and offsets.
    pub fn whole(&self) -> Vec<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| runs.finished().map(|run| (Arc::clone(&run.file), run.first..run.end)).collect())
    }

    /// The segments, oldest first, without the newest one.
    pub fn finished(&self) -> Vec<Finished> {
        self.with(|runs| {
            let mut finished: Vec<Finished> = Vec::new();
            for pair in runs.0.windows(2) {
                let [run, next] = pair else { continue };
                let newest = run.whole.ingest_max;
                match finished.last_mut() {
                    Some(last) if Arc::ptr_eq(&last.file, &run.file) => {
                        (last.end, last.newest) = (next.first, last.newest.max(newest));
                    }
                    _ => finished.push(Finished { file: Arc::clone(&run.file), end: next.first, newest }),
                }
            }
            let newest = runs.0.last().map(|run| &run.file);
            finished.retain(|segment| newest.is_none_or(|newest| !Arc::ptr_eq(newest, &segment.file)));
            finished
        })
    }

    /// Shows readers nothing any more of what is before an offset, at which a segment begins.
    pub fn forget_before(&self, until: u64) {
        // Whoever has found a place has its file open.
        let _names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        let gone = runs.0.partition_point(|run| run.end <= until);
        // The newest segment stays, whatever is asked for.
        let gone = gone.min(runs.0.len().saturating_sub(1));
        runs.0.drain(..gone);
    }

    /// The oldest finished segment that ends at or before `until` and can hold samples.
    pub fn with_samples(&self, until: u64, passed: &[u64]) -> Option<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| {
            let mut ended = runs.finished().take_while(|run| run.end <= until);
            let run = ended.find(|run| !passed.contains(&run.first) && run.may_hold_samples())?;
            Some((Arc::clone(&run.file), run.first..run.end))
        })
    }

    /// Puts another file in the place of a segment's, of which `index` tells what it holds; `rename` gives it the name.
    /// Readers open the one or the other, each with its own places. Tells whether the segment is still in the log.
    pub fn replace<E>(
        &self,
        old: &Arc<SegmentFile>,
        index: SegmentIndex,
        rename: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let _names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let at = |runs: &Runs| runs.0.iter().position(|run| Arc::ptr_eq(&run.file, old));
        // Only who tends the segments could remove it from here on.
        if self.with(at).is_none() {
            return Ok(false);
        }
        rename()?;
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = at(&runs) {
            runs.0[at].becomes(index);
        }
        Ok(true)
    }

    /// Takes what was found in a segment.
    pub fn looked_into(&self, index: SegmentIndex) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        let found = runs.0.binary_search_by_key(&index.first, |run| run.first);
        // It may have been removed meanwhile.
        if let Ok(at) = found {
            runs.0[at].takes(index);
        }
    }

    /// The segment that holds an offset, and its offsets, when what is known of it comes from a file beside it.
    pub fn told_by_file(&self, offset: u64) -> Option<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| {
            let run = runs.find(offset).filter(|run| run.told == Told::File)?;
            Some((Arc::clone(&run.file), run.first..run.end))
        })
    }

    /// What a file told of the segment that begins there cannot be held against the segment: it is not as it was written.
    pub fn doubt(&self, first: u64) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = runs.0.binary_search_by_key(&first, |run| run.first) {
            runs.0[at].told = Told::Heads;
        }
    }

    /// A reader has read so much.
    pub fn count_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that all readers together have read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Where to go on when the entry that holds `offset` cannot be read: the next point of the index, or the run's end.
    pub fn after_damage(&self, offset: u64) -> u64 {
        self.with(|runs| {
            let Some(run) = runs.find(offset) else { return self.durable_end() };
            let next = run.points.partition_point(|point| point.offset <= offset);
            run.points.get(next).map_or(run.end, |point| point.offset)
        })
    }

    /// The offsets of the last point that has something that was ingested before `time`, and of what follows it.
    pub fn last_before(&self, time: Timestamp) -> Option<Range<u64>> {
        self.with(|runs| {
            let run = runs.0.iter().rev().find(|run| run.whole.ingest_min < time)?;
            let at = run.points.iter().rposition(|point| point.ingest_min < time)?;
            let end = run.points.get(at + 1).map_or(run.end, |point| point.offset);
            Some(run.points[at].offset..end)
        })
    }

    /// The offset of the first point that has something of `time` or later before the next point.
    pub fn point_at_time(&self, kind: TimeKind, time: Timestamp) -> Option<u64> {
        self.with(|runs| {
            let run = runs.0.iter().find(|run| run.whole.latest(kind) >= time)?;
            run.points.iter().find(|point| point.latest(kind) >= time).map(|point| point.offset)
        })
    }
}
