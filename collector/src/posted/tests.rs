//! The index of posted events over a log in memory.

use std::path::Path;
use std::sync::Arc;

use afferent_host::stop;
use afferent_protocol::event::{Body, Derived, Event};
use afferent_protocol::ids::{Offset, SourceId, Subject, Timestamp};

use super::{EventKey, PostRefusal, PostedIds, RedbIds};
use crate::log::memory::MemoryLog;
use crate::supervise::Supervisor;

const OWN: &str = "collector";

/// A log with the terms 7 and 8, the second one from this offset on, and a posted event with each of these ids.
fn log(second_term: u64, ids: &[&str]) -> MemoryLog {
    let mut log = MemoryLog::default();
    log.own = Some(SourceId::new(OWN).unwrap());
    log.terms.add_term(7, Offset::ZERO);
    log.terms.add_term(8, Offset::new(second_term));
    for id in ids {
        let json = format!(r#"{{"source":"/wear","id":"{id}"}}"#);
        let body = Body::Derived(Derived { kind: "com.example.wear.v1", json: &json });
        let event = Event { time: Timestamp::default(), subject: Subject::new("88-C").unwrap(), body };
        log.append(OWN, &[event], 1);
    }
    log
}

/// The offsets of these ids in the index, once it has caught up.
fn found(path: &Path, log: &MemoryLog, ids: &[&str]) -> Vec<Result<Option<u64>, PostRefusal>> {
    let supervisor = Supervisor::new(Arc::default(), stop::channel().1);
    let mut index = RedbIds::open(path, Arc::new(log.clone()), &supervisor).unwrap();
    let mut find = |id: &&str| loop {
        match index.find(EventKey::new("/wear", id)) {
            Err(PostRefusal::NotReady { .. }) => std::thread::yield_now(),
            found => return found.map(|offset| offset.map(Offset::get)),
        }
    };
    ids.iter().map(&mut find).collect()
}

#[test]
fn ids_of_a_term_that_does_not_hold_are_forgotten_and_those_of_the_log_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ids");
    let all = ["first", "second", "third"];
    let before = log(100, &all);
    assert_eq!(found(&path, &before, &all), [Ok(Some(0)), Ok(Some(1)), Ok(Some(2))]);
    assert_eq!(found(&path, &before, &all), [Ok(Some(0)), Ok(Some(1)), Ok(Some(2))], "the control: it is kept");
    // The log was restored to its first event; then the third one was posted again, and the second one not.
    let put_back = log(1, &["first", "third", "fourth"]);
    assert_eq!(found(&path, &put_back, &all), [Ok(Some(0)), Ok(None), Ok(Some(1))]);
}

#[test]
fn ids_are_kept_and_found_while_the_file_takes_nothing_and_are_in_it_after_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ids");
    let all = ["first", "second"];
    let (before, after) = (log(100, &all[..1]), log(100, &all));
    let supervisor = Supervisor::new(Arc::default(), stop::channel().1);
    let mut index = RedbIds::open(&path, Arc::new(before), &supervisor).unwrap();
    let database = loop {
        match index.database() {
            Some(database) => break database,
            None => std::thread::yield_now(),
        }
    };
    // One transaction writes at a time: a second one waits.
    let writing = redb::Database::begin_write(&database).unwrap();
    let key = EventKey::new("/wear", "second");
    index.keep(&[(key, Offset::new(1))], Offset::new(2));
    assert_eq!(index.find(key), Ok(Some(Offset::new(1))), "it is known from its commit on");
    writing.abort().unwrap();
    drop(database);
    drop(index);
    let file = redb::Database::open(&path).unwrap();
    let table = redb::TableDefinition::<'_, u128, u64>::new("ids");
    let reading = redb::ReadableDatabase::begin_read(&file).unwrap();
    let offset = reading.open_table(table).unwrap().get(key.get()).unwrap().map(|offset| offset.value());
    assert_eq!(offset, Some(1), "the last write comes before the end");
    drop((reading, file));
    assert_eq!(found(&path, &after, &all), [Ok(Some(0)), Ok(Some(1))]);
}
