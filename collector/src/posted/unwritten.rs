//! Ids that the log has and the file of ids has not yet: between the writer's thread and the thread that writes the
//! file.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use afferent_protocol::ids::Offset;

use super::EventKey;

/// Ids on their way to the file. A lookup looks here first and then in the file: an id leaves here after it can be read
/// there.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    ids: Mutex<Ids>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Ids {
    known: HashMap<EventKey, Offset>,
    /// Ids that no write has taken yet, in the order of the log.
    waiting: Vec<(EventKey, Offset)>,
    /// All ids of the log before this offset are here or were.
    end: Offset,
    /// No more ids come.
    is_closed: bool,
}

/// The ids of one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IdsOfWrite {
    /// In the order of the log.
    pub ids: Vec<(EventKey, Offset)>,
    /// The file is complete up to here once it holds them.
    pub end: Offset,
    /// Whether it is the last one.
    pub is_last: bool,
}

impl Unwritten {
    /// These ids are on the log's disk, and no others before `end` that were not passed here.
    pub fn push(&self, ids: &[(EventKey, Offset)], end: Offset) {
        let mut known = self.lock();
        assert!(known.end <= end, "the log's durable end cannot regress");
        assert!(ids.iter().all(|(_, offset)| *offset < end), "an id is kept once its event is durable");
        known.end = end;
        if !ids.is_empty() {
            known.known.extend(ids.iter().copied());
            known.waiting.extend_from_slice(ids);
            self.more.notify_one();
        }
    }

    /// The file is complete up to here.
    pub fn begins_at(&self, end: Offset) {
        let mut known = self.lock();
        known.end = known.end.max(end);
    }

    /// No more ids come.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.more.notify_one();
    }

    /// The offset of an id that is not in the file yet.
    pub fn find(&self, key: EventKey) -> Option<Offset> {
        self.lock().known.get(&key).copied()
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.lock().known.len()
    }

    /// The ids to write next: waits until there are any, or until `until`.
    pub fn take(&self, until: Instant) -> IdsOfWrite {
        let mut known = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !known.waiting.is_empty() || known.is_closed || left == Duration::ZERO {
                let ids = std::mem::take(&mut known.waiting);
                return IdsOfWrite { ids, end: known.end, is_last: known.is_closed };
            }
            known = self.more.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// These can be read in the file.
    pub fn written(&self, ids: &[(EventKey, Offset)]) {
        let mut known = self.lock();
        for (key, _) in ids {
            let was_there = known.known.remove(key);
            assert!(was_there.is_some(), "an id is written once");
        }
    }

    /// Puts ids back that were taken and not written: they are taken again, before all others.
    pub fn put_back(&self, ids: Vec<(EventKey, Offset)>) {
        self.lock().waiting.splice(..0, ids);
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_from_its_commit_until_it_can_be_read_in_the_file() {
        let unwritten = Unwritten::default();
        let [first, second] = ["1", "2"].map(|id| EventKey::new("/wear", id));
        let now = Instant::now();
        assert_eq!(unwritten.take(now), IdsOfWrite::default());
        unwritten.push(&[(first, Offset::new(3))], Offset::new(5));
        let portion = unwritten.take(now);
        assert_eq!(portion, IdsOfWrite { ids: vec![(first, Offset::new(3))], end: Offset::new(5), is_last: false });
        unwritten.push(&[(second, Offset::new(6))], Offset::new(7));
        assert_eq!((unwritten.find(first), unwritten.len()), (Some(Offset::new(3)), 2), "it is taken, and not written");
        unwritten.written(&portion.ids);
        assert_eq!((unwritten.find(first), unwritten.find(second)), (None, Some(Offset::new(6))));
        let portion = unwritten.take(now);
        unwritten.put_back(portion.ids);
        unwritten.push(&[], Offset::new(9));
        unwritten.close();
        let last = unwritten.take(now + Duration::from_secs(3600));
        assert_eq!(last, IdsOfWrite { ids: vec![(second, Offset::new(6))], end: Offset::new(9), is_last: true });
    }
}
