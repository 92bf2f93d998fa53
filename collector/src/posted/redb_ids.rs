//! The ids of posted events in a file of redb: derived from the log, and brought up to it at every start.
//!
//! The file says up to which offset it is complete. What the log has behind that is read when the collector begins, in the
//! background; until then nothing posted is taken. An entry is believed only after the log has shown the event itself, as
//! long as it is kept: a file that contradicts the log is removed, and recreated by the next start.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use afferent_host::files;
use afferent_protocol::event::Body;
use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::Place;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{EventKey, PostRefusal, PostedIds};
use crate::cloud_event::posted::Posted;
use crate::limits::{POSTED_IDS_CACHE_BYTES, POSTED_IDS_SYNC_EVERY};
use crate::log::address::Partition;
use crate::log::events::{self, Item, Walk};
use crate::log::records::Decoder;
use crate::log::{Kinds, NameHash, ReadLog, ReadLogError, Wanted};
use crate::supervise::{Part, Supervisor};
use crate::terms::Terms;

const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const PLACE: TableDefinition<'_, &str, u64> = TableDefinition::new("place");
const END: &str = "end";
/// The term of that place, and the two halves of the log's id.
const TERM: [&str; 3] = ["term", "log.0", "log.1"];
/// Ids that are written at once while the file catches up.
const CATCH_UP_IDS: usize = 10_000;

#[derive(Debug)]
enum State {
    CatchingUp { percent: u8 },
    Ready(Database),
    Broken(String),
}

/// The ids of posted events.
pub struct RedbIds {
    path: PathBuf,
    log: Arc<dyn ReadLog>,
    state: Arc<Mutex<State>>,
    /// When the file last came to the disk.
    synced: Instant,
    scratch: Vec<u8>,
    decoder: Decoder,
}

impl std::fmt::Debug for RedbIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbIds").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why the file cannot be brought up to the log.
#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error("{0}")]
    File(#[from] redb::Error),
    #[error("{0}")]
    Log(#[from] ReadLogError),
}

impl RedbIds {
    /// Opens the file, or makes it, and catches up with the log on a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn open(path: &Path, log: Arc<dyn ReadLog>, supervisor: &Supervisor) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State::CatchingUp { percent: 0 }));
        let ids = Self {
            path: path.to_owned(),
            log: log.another(),
            state: Arc::clone(&state),
            synced: Instant::now(),
            scratch: Vec::new(),
            decoder: Decoder::default(),
        };
        let path = path.to_owned();
        // What is appended after this has no posted events until the file is ready.
        let end = log.kept().end;
        supervisor.thread(Part::PostedIds, move || {
            let caught_up = caught_up(&path, &*log, end, &state);
            *lock(&state) = match caught_up {
                Ok(database) => State::Ready(database),
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "posted events are not taken");
                    State::Broken(error.to_string())
                }
            };
        })?;
        Ok(ids)
    }

    /// Whether the log has this event at this offset.
    fn is_there(&mut self, key: EventKey, offset: Offset) -> bool {
        // Retention has removed it: nobody can tell any more.
        if offset < self.log.kept().start {
            return true;
        }
        let (own, mut found) = (self.log.own(), false);
        let part = offset..Offset::new(offset.get() + 1);
        let read = Walk::over(&*self.log, part).run(&mut self.scratch, &mut |part| {
            if let events::Part::Entry(entry) = part
                && own == Some(entry.header().source)
            {
                entry.open(&mut self.decoder).each(|item| match item {
                    Item::Event(event) if event.address.offset == offset => {
                        found = key_of(&event.record.event.body) == Some(key);
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                });
            }
            ControlFlow::Break(())
        });
        read.is_ok() && found
    }

    fn write(&mut self, events: &[(EventKey, Offset)], end: Offset, durability: Durability) {
        let mut state = lock(&self.state);
        let State::Ready(database) = &*state else { return };
        if let Err(error) = write(database, events, &self.log.terms().place(end), durability) {
            tracing::error!(%error, path = %self.path.display(), "posted events are not taken any more");
            *state = State::Broken(error.to_string());
        }
    }
}

impl PostedIds for RedbIds {
    fn find(&mut self, key: EventKey) -> Result<Option<Offset>, PostRefusal> {
        let found = match &*lock(&self.state) {
            State::CatchingUp { percent } => return Err(PostRefusal::NotReady { percent: *percent }),
            State::Broken(why) => return Err(PostRefusal::Broken(why.clone())),
            State::Ready(database) => find(database, key),
        };
        let wrong = match found {
            Ok(None) => return Ok(None),
            Ok(Some(offset)) if self.is_there(key, offset) => return Ok(Some(offset)),
            Ok(Some(offset)) => format!("it names offset {offset}, and the log has something else there"),
            Err(error) => error.to_string(),
        };
        let _ = std::fs::remove_file(&self.path);
        let why = format!("{wrong}; it was removed, and the next start recreates it");
        tracing::error!(why, path = %self.path.display(), "posted events are not taken any more");
        *lock(&self.state) = State::Broken(why.clone());
        Err(PostRefusal::Broken(why))
    }

    fn keep(&mut self, events: &[(EventKey, Offset)], end: Offset) {
        let is_due = self.synced.elapsed() >= POSTED_IDS_SYNC_EVERY;
        if !is_due && events.is_empty() {
            return;
        }
        // What a crash leaves out of the file is in the log.
        let durability = if is_due { Durability::Immediate } else { Durability::None };
        self.write(events, end, durability);
        if is_due {
            self.synced = Instant::now();
        }
    }
}

fn find(database: &Database, key: EventKey) -> Result<Option<Offset>, redb::Error> {
    let table = database.begin_read()?.open_table(IDS)?;
    Ok(redb::ReadableTable::get(&table, key.get())?.map(|offset| Offset::new(offset.value())))
}

fn write(
    database: &Database,
    events: &[(EventKey, Offset)],
    place: &Place,
    durability: Durability,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    {
        let mut ids = transaction.open_table(IDS)?;
        for (key, offset) in events {
            ids.insert(key.get(), offset.get())?;
        }
        let mut table = transaction.open_table(PLACE)?;
        table.insert(END, place.offset.get())?;
        for (name, value) in TERM.into_iter().zip(numbers(place)) {
            table.insert(name, value)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Term and log of a place, as the file has them.
fn numbers(place: &Place) -> [u64; 3] {
    let log = u128::from_be_bytes(place.log_id);
    [place.term, (log >> 64) as u64, log as u64]
}

/// The place up to which the file is complete.
fn place_of(table: &impl redb::ReadableTable<&'static str, u64>) -> Result<Option<Place>, redb::Error> {
    let number =
        |name: &'static str| -> Result<Option<u64>, redb::Error> { Ok(table.get(name)?.map(|value| value.value())) };
    let [term, high, low] = [number(TERM[0])?, number(TERM[1])?, number(TERM[2])?];
    let (Some(end), Some(term), Some(high), Some(low)) = (number(END)?, term, high, low) else { return Ok(None) };
    let log_id = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    Ok(Some(Place { log_id, partition: Partition::EMBEDDED.get(), term, offset: Offset::new(end) }))
}

/// Opens the file; one that cannot be read, or is of another state of the log, is rebuilt.
fn open(path: &Path, terms: &Terms, end: Offset) -> Result<(Database, Offset), redb::Error> {
    let create = || {
        // For its owner alone; one that is there is opened.
        if let Err(error) = files::new_file().open(path)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error.into());
        }
        redb::Builder::new().set_cache_size(POSTED_IDS_CACHE_BYTES).create(path)
    };
    // It has its tables from the beginning.
    let begun = |database: Database| -> Result<(Database, Offset), redb::Error> {
        write(&database, &[], &terms.place(Offset::ZERO), Durability::Immediate)?;
        Ok((database, Offset::ZERO))
    };
    let known = |database: &Database| -> Result<Option<Place>, redb::Error> {
        let reading = database.begin_read()?;
        match reading.open_table(PLACE) {
            Ok(table) => place_of(&table),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    if let Ok(database) = create() {
        match known(&database) {
            Ok(Some(place)) if terms.check(&place, end).is_ok() => return Ok((database, place.offset)),
            Ok(None) => return begun(database),
            _ => {}
        }
    }
    tracing::warn!(path = %path.display(), "the index of posted events is of another state of the log; it is rebuilt");
    let _ = std::fs::remove_file(path);
    begun(create()?)
}

/// The file, with everything that the log has before `end`.
fn caught_up(path: &Path, log: &dyn ReadLog, end: Offset, state: &Mutex<State>) -> Result<Database, CatchUpError> {
    let terms = log.terms();
    let (database, at) = open(path, &terms, end)?;
    let begun = at.max(log.kept().start);
    let own = log.own();
    let sources = own.iter().map(|own| NameHash::source(own.as_str())).collect();
    let wanted = Wanted { kinds: Kinds::DERIVED, sources, ..Wanted::default() };
    let (mut decoder, mut found, mut written) = (Decoder::default(), Vec::new(), Ok(()));
    let walk = Walk::over(log, begun..end).wanting(&wanted);
    let walked = walk.run(&mut Vec::new(), &mut |part| {
        let at = part.end().min(end);
        // What cannot be read is no duplicate of anything.
        if let events::Part::Entry(entry) = part
            && own == Some(entry.header().source)
        {
            entry.open(&mut decoder).each(|item| {
                if let Item::Event(event) = item {
                    found.extend(key_of(&event.record.event.body).map(|key| (key, event.address.offset)));
                }
                ControlFlow::Continue(())
            });
        }
        let percent = (at.since(begun) * 100).checked_div(end.since(begun)).unwrap_or(100).min(99) as u8;
        *lock(state) = State::CatchingUp { percent };
        if found.len() >= CATCH_UP_IDS {
            written = write(&database, &found, &terms.place(at), Durability::None);
            found.clear();
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    written?;
    let _all = walked?;
    write(&database, &found, &terms.place(end), Durability::Immediate)?;
    Ok(database)
}

fn key_of(body: &Body<'_>) -> Option<EventKey> {
    let Body::Derived(derived) = body else { return None };
    let posted = Posted::read(derived.json)?;
    Some(EventKey::new(&posted.source, &posted.id))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
