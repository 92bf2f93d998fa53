//! Where offsets lie: stretches of whole entries (*runs*), each with a sparse index.
//!
//! The index is derived from the log and grows with every commit; it is never evidence about the log. The content of a
//! finished segment is indexed later, and kept beside it ([`super::segment_index`]): until then a search treats it as
//! holding anything.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use afferent_host::disk::Disk;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::{EntryHead, SEGMENT_HEADER_LEN};
use afferent_protocol::session::signed::LogId;

use super::damage::FoundDamage;
use super::files::SegmentFile;
use super::insides::{Inside, Insides, fitting, held_names};
use super::points::{IndexPoint, TimeKind};
use super::segment_index::SegmentIndex;
use crate::log::address::Partition;
use crate::log::marks::{Marks, NameHash, Wanted};
use crate::log::report::LogDamage;
use crate::terms::Terms;

/// Where the facts about a run come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownFrom {
    /// The heads of its entries: their content was not read yet.
    Heads,
    /// The file beside its segment, which may be wrong.
    File,
    /// The whole segment itself.
    Segment,
}

/// Where the points of a run are kept.
#[derive(Debug)]
enum Points {
    /// In memory: those of the newest segment, and of segments that have no index.
    Here(Vec<IndexPoint>),
    /// In the index beside its segment.
    Beside,
}

/// The part of every run that is in memory.
#[derive(Debug)]
struct Outline {
    file: Arc<SegmentFile>,
    offsets: Range<u64>,
    stop: u64,
    whole: IndexPoint,
}

impl Outline {
    /// Where the entry with `offset` lies, or the run's first entry when `offset` lies before the run.
    fn read_start(&self, points: &[IndexPoint], offset: u64, until: u64) -> ReadStart {
        let behind = points.partition_point(|point| point.offset <= offset);
        let point = &points[behind.max(1) - 1];
        let (wanted, position) = (offset.max(self.offsets.start), u64::from(point.position));
        let after = points.partition_point(|point| point.offset < until.max(wanted + 1));
        let stop = points.get(after).map_or(self.stop, |point| u64::from(point.position));
        ReadStart { file: Arc::clone(&self.file), wanted, offset: point.offset, position, stop }
    }
}

/// Whole entries of one file, with dense offsets.
#[derive(Debug)]
pub(super) struct Run {
    pub file: Arc<SegmentFile>,
    /// The first offset, and the exclusive end.
    pub first: u64,
    pub end: u64,
    /// The positions in the file where its first entry begins and its last one ends.
    start: u64,
    pub stop: u64,
    points: Points,
    /// All points as one: a log has many runs, and a run many points; a search through all of them would keep the
    /// writer from publishing.
    whole: IndexPoint,
    /// All names in it, in order, once they are known, if they are few.
    names: Option<Box<[NameHash]>>,
    known_from: KnownFrom,
}

impl Run {
    fn begin(file: Arc<SegmentFile>, head: &EntryHead, position: u64, event: (Timestamp, Timestamp)) -> Self {
        let (first, end) = (head.ordinal, head.ordinal);
        let (start, stop) = (position, position);
        let whole = IndexPoint::of(head, position, event, Marks::ANY);
        Self {
            file,
            first,
            end,
            start,
            stop,
            points: Points::Here(Vec::new()),
            whole,
            names: None,
            known_from: KnownFrom::Heads,
        }
    }

    fn continues(&self, file: &Arc<SegmentFile>, head: &EntryHead, position: u64) -> bool {
        Arc::ptr_eq(&self.file, file) && self.end == head.ordinal && self.stop == position
    }

    fn push(&mut self, head: &EntryHead, position: u64, event: (Timestamp, Timestamp)) {
        let Points::Here(points) = &mut self.points else { unreachable!("nothing is appended to a finished segment") };
        IndexPoint::push(points, head, position, event, Marks::ANY);
        self.whole.join(&IndexPoint::of(head, position, event, Marks::ANY));
        self.end = head.end_ordinal();
        self.stop = position + head.entry_len() as u64;
    }

    /// Whether it can hold wanted events.
    fn fits(&self, wanted: &Wanted) -> bool {
        self.whole.fits(wanted) && self.names.as_ref().is_none_or(|names| wanted.fits_names(names))
    }

    fn outline(&self) -> Outline {
        let (file, offsets) = (Arc::clone(&self.file), self.first..self.end);
        Outline { file, offsets, stop: self.stop, whole: self.whole }
    }

    /// Whether it can hold samples that retention has not removed.
    fn may_hold_samples(&self) -> bool {
        self.whole.marks.may_hold_samples()
    }

    fn take_index(&mut self, index: SegmentIndex) {
        assert_eq!((self.first, self.end), (index.first, index.end), "an index is of its segment");
        self.whole = IndexPoint::whole(&index.points);
        let (points, names) = (Points::Here(index.points), held_names(index.names));
        (self.points, self.names, self.known_from) = (points, names, KnownFrom::Segment);
    }

    /// A new file has replaced its own, under the same name.
    fn replace_file(&mut self, index: SegmentIndex) {
        let SegmentFile { name, seed } = &*self.file;
        self.file = Arc::new(SegmentFile { name: name.clone(), seed: *seed });
        self.stop = index.stop;
        self.take_index(index);
    }
}

/// Where a read begins: at an entry at most [`INDEX_EVERY_BYTES`] before the wanted one.
#[derive(Debug)]
pub(super) struct ReadStart {
    pub file: Arc<SegmentFile>,
    /// The wanted offset: the one asked for, or the first one after a hole.
    pub wanted: u64,
    pub offset: u64,
    pub position: u64,
    /// The end of the durable entries of this run.
    pub stop: u64,
}

/// A segment that does not grow any more.
#[derive(Debug)]
pub(super) struct Finished {
    pub file: Arc<SegmentFile>,
    /// The offset that the next segment begins with.
    pub end: u64,
    /// When the newest batch in it was appended.
    pub newest: Timestamp,
}

/// Where wanted events may be.
enum Fitting {
    /// At these offsets.
    Found(Range<u64>),
    /// In this run; its points narrow that down.
    Beside(Outline),
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
        let (start, stop, names) = (SEGMENT_HEADER_LEN as u64, index.stop, held_names(index.names));
        let (file, whole, points) = (Arc::clone(file), IndexPoint::whole(&index.points), Points::Beside);
        self.0.push(Run { file, first, end, start, stop, points, whole, names, known_from: KnownFrom::File });
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

    /// Segments that will not grow, are whole, and have no index yet: file and offsets.
    fn unindexed(&self) -> impl Iterator<Item = (&Arc<SegmentFile>, Range<u64>)> {
        self.finished().filter(|run| run.known_from == KnownFrom::Heads).map(|run| (&run.file, run.first..run.end))
    }

    fn find(&self, offset: u64) -> Option<&Run> {
        self.0.get(self.0.partition_point(|run| run.end <= offset))
    }
}

/// The state that the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    durable_end: AtomicU64,
    runs: RwLock<Runs>,
    /// Loaded contents of runs whose points are not in memory.
    insides: Insides,
    /// Held while the file behind a segment's name changes, and by readers from a lookup to opening the file.
    names: RwLock<()>,
    /// Held while finished segments or the files beside them are changed: by one thread at a time.
    tending: Mutex<()>,
    /// Bytes that all readers together have read.
    bytes_read: AtomicU64,
    terms: RwLock<Arc<Terms>>,
    damage: Mutex<FoundDamage>,
}

impl Shared {
    pub fn new(log_id: LogId, durable_end: u64, runs: Runs) -> Self {
        let (names, tending) = (RwLock::new(()), Mutex::new(()));
        let (durable_end, bytes_read) = (AtomicU64::new(durable_end), AtomicU64::new(0));
        let (terms, damage) = (RwLock::new(Arc::new(Terms::of(log_id, Partition::EMBEDDED))), Mutex::default());
        Self {
            durable_end,
            runs: RwLock::new(runs),
            insides: Insides::default(),
            names,
            tending,
            bytes_read,
            terms,
            damage,
        }
    }

    /// The terms of the log.
    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn publish_terms(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Damage was found.
    pub fn damaged(&self, damage: LogDamage) {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).add(damage);
    }

    /// Whether the damage at this offset was found before.
    pub fn is_damage_known(&self, offset: Offset) -> bool {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).has(offset)
    }

    /// The file that holds an offset, and the dense range of offsets around it.
    pub fn run_of(&self, offset: u64) -> Option<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| runs.find(offset).map(|run| (Arc::clone(&run.file), run.first..run.end)))
    }

    pub fn take_damage(&self) -> Vec<LogDamage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn has_damage(&self) -> bool {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).is_waiting()
    }

    /// Takes the lock for creating, replacing or removing files of finished segments.
    pub fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.tending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While the guard is held, no segment's name moves to a new file.
    pub fn fixed_names(&self) -> RwLockReadGuard<'_, ()> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    /// Publishes durable entries to readers: first their index, then the new end.
    pub fn publish(&self, durable_end: u64, add: impl FnOnce(&mut Runs)) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        add(&mut runs);
        let end = runs.last().map_or(durable_end, |run| run.end);
        assert_eq!(end, durable_end, "readers find every durable entry, and nothing behind");
        drop(runs);
        let before = self.durable_end.swap(durable_end, Ordering::Release);
        assert!(before <= durable_end, "the durable end never goes back");
    }

    fn with<T>(&self, look: impl FnOnce(&Runs) -> T) -> T {
        look(&self.runs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The oldest offset; the durable end when the log is empty.
    pub fn first(&self) -> u64 {
        self.with(|runs| runs.0.first().map(|run| run.first)).unwrap_or_else(|| self.durable_end())
    }

    /// The result of `look` over the points of a run. They may have to be loaded first: the runs are not locked
    /// meanwhile.
    fn with_points<D: Disk, T>(
        &self,
        disk: &D,
        find: impl FnOnce(&Runs) -> Option<&Run>,
        look: impl FnOnce(&Outline, &[IndexPoint]) -> T,
    ) -> io::Result<Option<T>> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = find(&runs) else { return Ok(None) };
        let outline = run.outline();
        if let Points::Here(points) = &run.points {
            return Ok(Some(look(&outline, points)));
        }
        drop(runs);
        let inside = self.inside(disk, &outline)?;
        Ok(Some(look(&outline, &inside.points)))
    }

    /// Without a valid index, one point covers the whole run; a caller that needs more rebuilds the index.
    fn inside<D: Disk>(&self, disk: &D, outline: &Outline) -> io::Result<Arc<Inside>> {
        let found = self.insides.of(disk, &outline.file, &outline.offsets)?;
        Ok(found.unwrap_or_else(|| Arc::new(Inside::coarse(outline.whole))))
    }

    /// Where the entry with `offset` lies, or the first one after the hole that `offset` is in; `None` past the end. It
    /// stops at the index's first point at or after `until`.
    ///
    /// # Errors
    /// When the index cannot be opened, which shows nothing about the segment.
    pub fn read_start<D: Disk>(&self, disk: &D, offset: u64, until: u64) -> io::Result<Option<ReadStart>> {
        self.with_points(disk, |runs| runs.find(offset), |run, points| run.read_start(points, offset, until))
    }

    /// The next offsets from `from` on, and before the log's end, that can hold wanted events; a hole can hold
    /// anything.
    pub fn next_range<D: Disk>(&self, disk: &D, from: u64, wanted: &Wanted) -> Option<Range<u64>> {
        let end = self.durable_end();
        let mut from = from;
        while let Some(outline) = self.next_fitting(&mut from, wanted) {
            let outline = match outline {
                Fitting::Found(range) => return Some(range),
                Fitting::Beside(outline) => outline,
            };
            let inside = self.inside(disk, &outline).unwrap_or_else(|_| Arc::new(Inside::coarse(outline.whole)));
            let range = inside.fitting(from, outline.offsets.end, wanted);
            if range.is_some() {
                return range;
            }
            from = outline.offsets.end;
        }
        (from < end).then_some(from..end)
    }

    /// The first run at or after `from` that can hold wanted events, as far as memory shows; moves `from` to it.
    fn next_fitting(&self, from: &mut u64, wanted: &Wanted) -> Option<Fitting> {
        self.with(|runs| {
            for run in &runs.0[runs.0.partition_point(|run| run.end <= *from)..] {
                if run.first > *from {
                    return Some(Fitting::Found(*from..run.first));
                }
                if run.fits(wanted) {
                    let Points::Here(points) = &run.points else { return Some(Fitting::Beside(run.outline())) };
                    if let Some(range) = fitting(points, *from, run.end, wanted) {
                        return Some(Fitting::Found(range));
                    }
                }
                *from = run.end;
            }
            None
        })
    }

    /// Points in memory: of runs, and of recently used finished segments.
    #[cfg(test)]
    pub fn points_held(&self) -> (usize, usize) {
        let held = |run: &Run| if let Points::Here(points) = &run.points { points.len() } else { 0 };
        (self.with(|runs| runs.0.iter().map(held).sum()), self.insides.points())
    }

    /// A finished segment without its index; and how many more there are.
    pub fn unindexed(&self, passed: &[u64]) -> Option<(Arc<SegmentFile>, Range<u64>, usize)> {
        self.with(|runs| {
            let mut left = runs.unindexed().filter(|(_, offsets)| !passed.contains(&offsets.start));
            let (file, offsets) = left.next()?;
            Some((Arc::clone(file), offsets, left.count()))
        })
    }

    /// The segments that will not grow and are whole, oldest first: file and offsets.
    pub fn whole_segments(&self) -> Vec<(Arc<SegmentFile>, Range<u64>)> {
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

    /// Hides everything before an offset, at which a segment begins, from readers.
    pub fn forget_before(&self, until: u64) {
        // A reader between lookup and opening holds this lock, so it has its file open by then.
        let _names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        let gone = runs.0.partition_point(|run| run.end <= until);
        // The newest segment always stays.
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

    /// Replaces a segment's file, with `index` as the index of the new one; `rename` moves the new file to the name.
    /// Readers open the one or the other, each with its matching lookup. Returns whether the segment is still in the
    /// log.
    pub fn replace<E>(
        &self,
        old: &Arc<SegmentFile>,
        index: SegmentIndex,
        rename: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let _names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let at = |runs: &Runs| runs.0.iter().position(|run| Arc::ptr_eq(&run.file, old));
        // From here on only the holder of `tending` could remove it.
        if self.with(at).is_none() {
            return Ok(false);
        }
        rename()?;
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = at(&runs) {
            self.insides.forget(&runs.0[at].file);
            runs.0[at].replace_file(index);
        }
        Ok(true)
    }

    /// The index of the segment that begins at `first` is on the disk beside it: memory need not hold it.
    pub fn is_beside(&self, first: u64) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = runs.0.binary_search_by_key(&first, |run| run.first) {
            runs.0[at].points = Points::Beside;
        }
    }

    /// Takes the index of a segment that was read.
    pub fn looked_into(&self, index: SegmentIndex) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        let found = runs.0.binary_search_by_key(&index.first, |run| run.first);
        // It may have been removed meanwhile.
        if let Ok(at) = found {
            self.insides.forget(&runs.0[at].file);
            runs.0[at].take_index(index);
        }
    }

    /// The segment that holds an offset, and its offsets, when its index comes from a file beside it. `None` once the
    /// segment was read and its points stay in memory.
    pub fn told_by_file(&self, offset: u64) -> Option<(Arc<SegmentFile>, Range<u64>)> {
        self.with(|runs| {
            let run = runs.find(offset)?;
            (run.known_from == KnownFrom::File || matches!(run.points, Points::Beside)).then_some(())?;
            Some((Arc::clone(&run.file), run.first..run.end))
        })
    }

    /// The index file of the segment that begins at `first` cannot be checked against the segment: the segment is
    /// damaged. `readable` are the points of its readable entries.
    pub fn mark_unverifiable(&self, first: u64, readable: Vec<IndexPoint>) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = runs.0.binary_search_by_key(&first, |run| run.first) {
            let run = &mut runs.0[at];
            self.insides.forget(&run.file);
            let readable = if readable.is_empty() { vec![run.whole] } else { readable };
            (run.points, run.names, run.known_from) = (Points::Here(readable), None, KnownFrom::Heads);
        }
    }

    /// Adds to the bytes read.
    pub fn count_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that all readers together have read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The next offset to read when the entry with `offset` cannot be read: the next point of the index, or the run's
    /// end.
    pub fn after_damage<D: Disk>(&self, disk: &D, offset: u64) -> u64 {
        let next = |run: &Outline, points: &[IndexPoint]| {
            let next = points.partition_point(|point| point.offset <= offset);
            points.get(next).map_or(run.offsets.end, |point| point.offset)
        };
        match self.with_points(disk, |runs| runs.find(offset), next) {
            Ok(next) => next.unwrap_or_else(|| self.durable_end()),
            // How far the damage goes is unknown: the next read shows it.
            Err(_) => offset + 1,
        }
    }

    /// The offsets of the last point that holds an entry with ingest time before `time`, and of what follows it.
    pub fn last_before<D: Disk>(&self, disk: &D, time: Timestamp) -> io::Result<Option<Range<u64>>> {
        let find = |runs: &'_ Runs| runs.0.iter().rposition(|run| run.whole.ingest_min < time);
        let last = |run: &Outline, points: &[IndexPoint]| {
            let at = points.iter().rposition(|point| point.ingest_min < time)?;
            let end = points.get(at + 1).map_or(run.offsets.end, |point| point.offset);
            Some(points[at].offset..end)
        };
        Ok(self.with_points(disk, |runs| find(runs).map(|at| &runs.0[at]), last)?.flatten())
    }

    /// The offset of the first point that holds an entry of `time` or later before the next point.
    pub fn point_at_time<D: Disk>(&self, disk: &D, kind: TimeKind, time: Timestamp) -> io::Result<Option<u64>> {
        let find = |runs: &'_ Runs| runs.0.iter().position(|run| run.whole.latest(kind) >= time);
        let first = |_: &Outline, points: &[IndexPoint]| {
            points.iter().find(|point| point.latest(kind) >= time).map(|point| point.offset)
        };
        Ok(self.with_points(disk, |runs| find(runs).map(|at| &runs.0[at]), first)?.flatten())
    }
}
