//! The ids of posted events in a file of redb: derived from the log, and brought up to date at every start.
//!
//! The file records up to which offset it is complete. The collector reads the rest of the log at its start, in the
//! background; until then it takes no posts. An id counts only after the log has shown the event itself, as long as it
//! is kept: a file that contradicts the log is removed, and rebuilt by the next start.
//!
//! A thread of its own writes the file, after the log: an id is known from its commit on, first by `unwritten` and then
//! by the file. Ids that a crash leaves out of the file are behind the offset that the file records.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use afferent_host::files;
use afferent_protocol::event::Body;
use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::Place;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::unwritten::{IdsOfWrite, Unwritten};
use super::{EventKey, PostRefusal, PostedIds};
use crate::cloud_event::posted::Posted;
use crate::limits::{POSTED_IDS_CACHE_BYTES, POSTED_IDS_SYNC_EVERY, POSTED_IDS_UNWRITTEN_MAX};
use crate::log::address::Partition;
use crate::log::events::{self, Item, Walk};
use crate::log::records::Decoder;
use crate::log::{Kinds, NameHash, ReadLog, ReadLogError, Wanted};
use crate::supervise::{Part, Supervisor};
use crate::terms::Terms;

const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const PLACE: TableDefinition<'_, &str, u64> = TableDefinition::new("place");
const END: &str = "end";
/// The term of that offset, and the two halves of the log's id.
const TERM: [&str; 3] = ["term", "log.0", "log.1"];
/// Ids per write while the file catches up.
const CATCH_UP_IDS: usize = 10_000;

#[derive(Debug)]
enum State {
    CatchingUp { percent: u8 },
    Ready(Arc<Database>),
    Broken(String),
}

/// The ids of posted events.
pub struct RedbIds {
    path: PathBuf,
    log: Arc<dyn ReadLog>,
    state: Arc<Mutex<State>>,
    unwritten: Arc<Unwritten>,
    /// The thread that writes.
    thread: Option<JoinHandle<()>>,
    scratch: Vec<u8>,
    decoder: Decoder,
}

impl std::fmt::Debug for RedbIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbIds").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why the file cannot catch up with the log.
#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error("{0}")]
    File(#[from] redb::Error),
    #[error("{0}")]
    Log(#[from] ReadLogError),
}

impl RedbIds {
    /// Opens or creates the file, and catches up with the log on a thread of its own, which then writes new ids.
    ///
    /// # Errors
    /// When the system refuses a new thread.
    pub fn open(path: &Path, log: Arc<dyn ReadLog>, supervisor: &Supervisor) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State::CatchingUp { percent: 0 }));
        let unwritten = Arc::<Unwritten>::default();
        let own_log = log.clone_reader();
        let file = File { path: path.to_owned(), log, state: Arc::clone(&state), unwritten: Arc::clone(&unwritten) };
        let thread = Some(supervisor.thread(Part::PostedIds, move || file.run())?);
        let (path, scratch, decoder) = (path.to_owned(), Vec::new(), Decoder::default());
        Ok(Self { path, log: own_log, state, unwritten, thread, scratch, decoder })
    }

    /// The file, once it has caught up.
    #[cfg(test)]
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        match &*lock(&self.state) {
            State::Ready(database) => Some(Arc::clone(database)),
            _ => None,
        }
    }

    /// Whether the log has this event at this offset.
    fn is_there(&mut self, key: EventKey, offset: Offset) -> bool {
        // Retention has removed it: it cannot be checked any more.
        if offset < self.log.kept().start {
            return true;
        }
        let (own, mut found) = (self.log.collector_name(), false);
        let part = offset..Offset::new(offset.get() + 1);
        let read = Walk::over(&*self.log, part).run(&mut self.scratch, &mut |part| {
            if let events::WalkItem::Entry(entry) = part
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
}

/// The state of the thread that writes.
struct File {
    path: PathBuf,
    log: Arc<dyn ReadLog>,
    state: Arc<Mutex<State>>,
    unwritten: Arc<Unwritten>,
}

impl File {
    /// Catches up with the log, and writes new ids, until no more come or the file cannot be written.
    fn run(&self) {
        // After a panic the file is opened again: until then the collector takes no posts, and the file must be closed.
        *lock(&self.state) = State::CatchingUp { percent: 0 };
        // Commits pass on the ids of later entries.
        let end = self.log.kept().end;
        let written = caught_up(&self.path, &*self.log, end, &self.state).map(Arc::new).and_then(|database| {
            self.unwritten.begins_at(end);
            *lock(&self.state) = State::Ready(Arc::clone(&database));
            self.follow(&database, end).map_err(CatchUpError::from)
        });
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the collector no longer accepts posted events");
            *lock(&self.state) = State::Broken(error.to_string());
        }
    }

    /// Writes new ids into a file that is complete up to `synced_end`, and on disk.
    fn follow(&self, database: &Database, mut synced_end: Offset) -> Result<(), redb::Error> {
        let mut synced = Instant::now();
        loop {
            let IdsOfWrite { ids, end, is_last } = self.unwritten.take(synced + POSTED_IDS_SYNC_EVERY);
            if !matches!(*lock(&self.state), State::Ready(_)) {
                // It contradicts the log, and was removed.
                return Ok(());
            }
            let is_due = is_last || synced.elapsed() >= POSTED_IDS_SYNC_EVERY;
            assert!(synced_end <= end, "the file is never ahead of the log");
            if end > synced_end {
                self.write(database, ids, end, is_due)?;
            }
            if is_last {
                return Ok(());
            }
            if is_due {
                (synced, synced_end) = (Instant::now(), end);
            }
        }
    }

    fn write(
        &self,
        database: &Database,
        ids: Vec<(EventKey, Offset)>,
        end: Offset,
        is_due: bool,
    ) -> Result<(), redb::Error> {
        // The log has the ids that a crash leaves out of the file.
        let durability = if is_due { Durability::Immediate } else { Durability::None };
        match write(database, &ids, &self.log.terms().place(end), durability) {
            Ok(()) => {
                self.unwritten.written(&ids);
                Ok(())
            }
            Err(error) => {
                self.unwritten.put_back(ids);
                Err(error)
            }
        }
    }
}

impl Drop for RedbIds {
    /// Waits for the last write, but not for a thread that is still catching up: the next start continues from there.
    fn drop(&mut self) {
        self.unwritten.close();
        let is_writing = matches!(*lock(&self.state), State::Ready(_));
        if let Some(thread) = self.thread.take().filter(|_| is_writing) {
            // The supervisor has reported a panic.
            let _ = thread.join();
        }
    }
}

impl PostedIds for RedbIds {
    fn find(&mut self, key: EventKey) -> Result<Option<Offset>, PostRefusal> {
        let database = match &*lock(&self.state) {
            State::CatchingUp { percent } => return Err(PostRefusal::NotReady { percent: *percent }),
            State::Broken(why) => return Err(PostRefusal::Broken(why.clone())),
            State::Ready(database) => Arc::clone(database),
        };
        if self.unwritten.len() >= POSTED_IDS_UNWRITTEN_MAX {
            // Posts come faster than the disk writes.
            return Err(PostRefusal::NotReady { percent: 99 });
        }
        if let Some(offset) = self.unwritten.find(key) {
            return Ok(Some(offset));
        }
        let wrong = match find(&database, key) {
            Ok(None) => return Ok(None),
            Ok(Some(offset)) if self.is_there(key, offset) => return Ok(Some(offset)),
            Ok(Some(offset)) => format!("it points to offset {offset}, where the log has another event"),
            Err(error) => error.to_string(),
        };
        let _ = std::fs::remove_file(&self.path);
        let why = format!("{wrong}; it was removed, and the next start rebuilds it");
        tracing::error!(why, path = %self.path.display(), "the collector no longer accepts posted events");
        *lock(&self.state) = State::Broken(why.clone());
        Err(PostRefusal::Broken(why))
    }

    fn keep(&mut self, events: &[(EventKey, Offset)], end: Offset) {
        self.unwritten.push(events, end);
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

/// Term and log of a place, as the file stores them.
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

/// Opens the file; rebuilds it if it cannot be read, or is of a different state of the log.
fn open(path: &Path, terms: &Terms, end: Offset) -> Result<(Database, Offset), redb::Error> {
    let create = || {
        // A new file is readable by its owner alone; an existing one is opened.
        if let Err(error) = files::new_file().open(path)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error.into());
        }
        redb::Builder::new().set_cache_size(POSTED_IDS_CACHE_BYTES).create(path)
    };
    // A file has its tables from the beginning.
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
    let shown = path.display();
    tracing::warn!(path = %shown, "the index of posted events is from another state of the log; rebuilding it");
    let _ = std::fs::remove_file(path);
    begun(create()?)
}

/// The file, complete up to `end` of the log.
fn caught_up(path: &Path, log: &dyn ReadLog, end: Offset, state: &Mutex<State>) -> Result<Database, CatchUpError> {
    let terms = log.terms();
    let (database, at) = open(path, &terms, end)?;
    let begun = at.max(log.kept().start);
    let own = log.collector_name();
    let sources = own.iter().map(|own| NameHash::source(own.as_str())).collect();
    let wanted = Wanted { kinds: Kinds::DERIVED, sources, ..Wanted::default() };
    let (mut decoder, mut found, mut written) = (Decoder::default(), Vec::new(), Ok(()));
    let walk = Walk::over(log, begun..end).wanting(&wanted);
    let walked = walk.run(&mut Vec::new(), &mut |part| {
        let at = part.end().min(end);
        // Unreadable entries have no ids to compare.
        if let events::WalkItem::Entry(entry) = part
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
