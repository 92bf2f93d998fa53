//! The snapshots of all models: a directory `NAME@VERSION` each, with a file for every offset.
//!
//! A file's name appears once its content is on disk. Snapshots are derived from the log: an unusable one is moved
//! aside, reported and rebuilt. They thin out with age, so that every offset of the log has a snapshot not far before
//! it, relative to its age.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use afferent_host::files;
use afferent_protocol::ids::Offset;

use super::snapshot::Snapshot;
use super::{Definition, ModelId};
use crate::limits::{MODEL_SNAPSHOT_BYTES_MAX, MODEL_SNAPSHOTS_PER_DOUBLING};
use crate::log::ReadLog;

const SUFFIX: &str = ".snapshot";
/// The directory of the latest unusable snapshot, for diagnosis.
const ASIDE: &str = "aside";

/// The directory of all snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    directory: PathBuf,
}

/// A snapshot cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed: {error}; the state is kept in memory, and recomputed from the log after a restart")]
pub struct SaveError {
    what: String,
    error: io::Error,
}

impl SnapshotFiles {
    /// A store in a directory, which need not exist yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn of(&self, id: &ModelId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// The offsets of a model's snapshots, smallest first.
    pub fn offsets(&self, id: &ModelId) -> Vec<Offset> {
        let Ok(entries) = std::fs::read_dir(self.of(id)) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut offsets: Vec<Offset> =
            names.filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok().map(Offset::new)).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Writes a snapshot durably, and removes surplus ones.
    pub fn save(&self, definition: &Definition, snapshot: &Snapshot) -> Result<(), SaveError> {
        let directory = self.of(&definition.id);
        let failed = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |error| SaveError { what, error }
        };
        files::make_directory(&directory).map_err(failed("making", &directory))?;
        let path = directory.join(file_name(snapshot.place.offset));
        files::replace(&path, &snapshot.encode(definition)).map_err(failed("writing", &path))?;
        self.thin_out(&definition.id, snapshot.place.offset);
        Ok(())
    }

    /// The latest usable snapshot up to `at`. Unusable ones are moved aside.
    pub fn nearest(&self, definition: &Definition, at: Offset, log: &dyn ReadLog) -> Option<Snapshot> {
        let offsets = self.offsets(&definition.id);
        offsets.into_iter().rev().filter(|offset| *offset <= at).find_map(|offset| {
            let path = self.of(&definition.id).join(file_name(offset));
            let snapshot = read(&path).map_err(|error| error.to_string()).and_then(|bytes| {
                let snapshot = Snapshot::decode(&bytes, definition).map_err(|error| error.to_string())?;
                snapshot.check_log(log).map_err(|error| error.to_string())?;
                let is_named = snapshot.place.offset == offset;
                is_named.then_some(snapshot).ok_or_else(|| "its name is that of a different offset".to_owned())
            });
            snapshot.inspect_err(|error| self.set_aside(&definition.id, offset, error)).ok()
        })
    }

    /// Moves an unusable snapshot aside.
    pub fn set_aside(&self, id: &ModelId, offset: Offset, why: &str) {
        let path = self.of(id).join(file_name(offset));
        let aside = self.of(id).join(ASIDE);
        tracing::warn!(
            model = %id, file = %path.display(), why,
            "a snapshot cannot be used; it is kept as {ASIDE}, and the state is recomputed from the log"
        );
        if let Err(error) = std::fs::rename(&path, &aside) {
            tracing::warn!(model = %id, %error, "the snapshot cannot be moved either");
        }
    }

    /// Removes the snapshots after `offset`.
    pub fn forget_after(&self, id: &ModelId, offset: Offset) -> io::Result<()> {
        let mut after = self.offsets(id).into_iter().filter(|known| *known > offset);
        after.try_for_each(|known| std::fs::remove_file(self.of(id).join(file_name(known))))
    }

    fn thin_out(&self, id: &ModelId, newest: Offset) {
        for offset in too_many(&self.offsets(id), newest) {
            // The next save tries again.
            let _ = std::fs::remove_file(self.of(id).join(file_name(offset)));
        }
    }
}

fn file_name(offset: Offset) -> String {
    format!("{:020}{SUFFIX}", offset.get())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MODEL_SNAPSHOT_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    file.take(MODEL_SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The surplus offsets for their age, of these, smallest first. Of those of about the same age the oldest stays: it is
/// the one that grows into the next age.
fn too_many(offsets: &[Offset], newest: Offset) -> Vec<Offset> {
    let mut last = None;
    let mut too_many = Vec::new();
    for offset in offsets {
        let age = age_class(newest.since(*offset));
        if last == Some(age) && *offset < newest {
            too_many.push(*offset);
        }
        last = Some(age);
    }
    too_many
}

/// The age class of which one snapshot is kept: each doubling of the age has `MODEL_SNAPSHOTS_PER_DOUBLING` of them.
fn age_class(events: u64) -> u64 {
    let Some(doubling) = events.checked_ilog2() else { return 0 };
    let begin = 1 << doubling;
    let part = u128::from(events - begin) * u128::from(MODEL_SNAPSHOTS_PER_DOUBLING) / u128::from(begin);
    1 + u64::from(doubling * MODEL_SNAPSHOTS_PER_DOUBLING) + part as u64
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Timestamp;
    use afferent_protocol::session::signed::Place;

    use super::super::BuiltIn;
    use super::*;
    use crate::log::memory::{MemoryLog, sample};

    fn snapshot(offset: u64) -> Snapshot {
        Snapshot {
            place: Place { log_id: Default::default(), partition: 0, term: 0, offset: Offset::new(offset) },
            time: Timestamp::default(),
            mark: None,
            counts_from: Default::default(),
            state: vec![7],
        }
    }

    fn store() -> (tempfile::TempDir, SnapshotFiles, Definition) {
        let directory = tempfile::tempdir().unwrap();
        let store = SnapshotFiles::new(directory.path().join("models"));
        (directory, store, Definition::built_in(BuiltIn::Kpi(Default::default())))
    }

    #[test]
    fn snapshots_thin_out_with_age_and_some_of_every_age_stay() {
        let mut kept: Vec<Offset> = Vec::new();
        for newest in 1..=5000 {
            let newest = Offset::new(newest * 100);
            kept.push(newest);
            let surplus = too_many(&kept, newest);
            kept.retain(|offset| !surplus.contains(offset));
        }
        let newest = 500_000;
        assert!(kept.len() <= 2 * 19 + 1, "{} are kept", kept.len());
        assert_eq!(kept.last(), Some(&Offset::new(newest)));
        for age in [1000, 10_000, 100_000, 400_000] {
            let near = kept.iter().any(|offset| (age / 2..=age * 2).contains(&(newest - offset.get())));
            assert!(near, "nothing is kept of an age like {age}: {kept:?}");
        }
    }

    #[test]
    fn the_nearest_one_before_a_place_is_given() {
        let (_directory, store, definition) = store();
        let log = MemoryLog::default();
        for offset in [10, 1000, 2000] {
            store.save(&definition, &snapshot(offset)).unwrap();
        }
        let nearest = |at| store.nearest(&definition, Offset::new(at), &log).map(|found| found.place.offset.get());
        assert_eq!([nearest(9), nearest(10), nearest(1999), nearest(9999)], [None, Some(10), Some(1000), Some(2000)]);
        store.forget_after(&definition.id, Offset::new(1000)).unwrap();
        assert_eq!(nearest(9999), Some(1000));
    }

    #[test]
    fn a_damaged_snapshot_is_set_aside_and_the_one_before_is_taken() {
        let (_directory, store, definition) = store();
        let log = MemoryLog::default();
        store.save(&definition, &snapshot(10)).unwrap();
        store.save(&definition, &snapshot(1000)).unwrap();
        let path = store.of(&definition.id).join(file_name(Offset::new(1000)));
        std::fs::write(&path, b"not what was written").unwrap();
        assert_eq!(store.nearest(&definition, Offset::new(5000), &log), Some(snapshot(10)));
        assert!(!path.exists() && store.of(&definition.id).join(ASIDE).exists());
    }

    #[test]
    fn a_snapshot_under_the_name_of_a_different_offset_is_set_aside() {
        let (_directory, store, definition) = store();
        let log = MemoryLog::default();
        store.save(&definition, &snapshot(1000)).unwrap();
        let [from, to] = [1000, 10].map(|offset| store.of(&definition.id).join(file_name(Offset::new(offset))));
        std::fs::rename(from, &to).unwrap();
        assert_eq!(store.nearest(&definition, Offset::new(500), &log), None, "it has seen what comes later");
        assert!(!to.exists() && store.of(&definition.id).join(ASIDE).exists());
    }

    #[test]
    fn a_snapshot_of_another_log_is_set_aside() {
        use super::super::snapshot::BatchMark;
        let (_directory, store, definition) = store();
        let log = MemoryLog::default();
        log.append("a", &[sample("x", 1)], 1);
        let mut crc = 0;
        log.read(Offset::ZERO, &mut Vec::new(), &mut |_, batch| {
            crc = batch.header().crc;
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        let with = |crc| Snapshot { mark: Some(BatchMark { first: Offset::ZERO, crc }), ..snapshot(1) };
        store.save(&definition, &with(crc)).unwrap();
        assert!(store.nearest(&definition, Offset::new(1), &log).is_some());
        store.save(&definition, &with(crc ^ 1)).unwrap();
        assert!(store.nearest(&definition, Offset::new(1), &log).is_none());
        store.save(&definition, &with(crc)).unwrap();
        log.empty(0);
        assert!(store.nearest(&definition, Offset::new(1), &log).is_some(), "retention has only taken its records out");
    }
}
