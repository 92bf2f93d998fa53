//! A second engine, for tests: a log in memory, whose commits abort, or end unknown, on command.

use std::sync::{Arc, Mutex, MutexGuard};

use afferent_protocol::batch::Batch;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::{ENTRY_HEAD_LEN, EntryHead};
use afferent_protocol::session::signed::LogId;

use super::address::Partition;
use super::engine::{CommitError, UnifiedLog};
use super::memory::MemoryLog;
use super::read_log::ReadLog;
use super::report::{LogDamage, Recovery};
use crate::terms::Terms;

/// The id of every log in memory.
const LOG_ID: LogId = [5; 16];
/// A partition that is not the embedded engine's: it reveals code that assumes that number.
pub(crate) const PARTITION: Partition = Partition::new(7);

#[derive(Debug, Default)]
struct State {
    /// The durable entries.
    durable: MemoryLog,
    /// Steps until one fails; then all fail until it is set again. A commit takes two.
    fails_in: Option<u64>,
    /// If set, the next commit ends unknown, and the value is whether it is durable.
    unknown: Option<bool>,
    /// Number of openings: writers of earlier ones can write nothing any more.
    openings: u64,
}

/// The store of a log in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryEngine(Arc<Mutex<State>>);

impl MemoryEngine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// All steps fail after so many; `None` ends that.
    pub(crate) fn fails_in(&self, steps: Option<u64>) {
        self.state().fails_in = steps;
    }

    /// The outcome of the next commit that has something to write is unknown to its caller; `None` ends that.
    pub(crate) fn ends_unknown(&self, is_durable: Option<bool>) {
        self.state().unknown = is_durable;
    }

    /// An independent copy of the durable entries.
    pub(crate) fn after_power_cut(&self) -> Self {
        let durable = self.state().durable.copy();
        Self(Arc::new(Mutex::new(State { durable, ..State::default() })))
    }

    /// Opens the log, and passes its batches to `each`. Earlier writers can write nothing any more.
    pub(crate) fn open(&self, term: u64, each: &mut dyn FnMut(&EntryHead, &Batch<'_>)) -> (MemoryWriter, Recovery) {
        let mut state = self.state();
        state.openings += 1;
        let (mut log, opening) = (state.durable.clone(), state.openings);
        log.terms = Terms::of(LOG_ID, PARTITION);
        drop(state);
        let mut batches = 0;
        let read = log.read(log.kept().start, &mut Vec::new(), &mut |head, batch| {
            batches += 1;
            each(head, batch);
            std::ops::ControlFlow::Continue(())
        });
        read.expect("memory does not rot");
        let end = log.kept().end;
        let recovery = Recovery { is_new: batches == 0, end, batches, ..Recovery::default() };
        let engine = self.clone();
        (MemoryWriter { engine, opening, log, term, end, buffer: Vec::new(), is_lost: false }, recovery)
    }
}

/// The writer of a log in memory.
#[derive(Debug)]
pub(crate) struct MemoryWriter {
    engine: MemoryEngine,
    opening: u64,
    log: MemoryLog,
    term: u64,
    /// The offset of the next event.
    end: Offset,
    buffer: Vec<(EntryHead, Vec<u8>)>,
    is_lost: bool,
}

impl MemoryWriter {
    /// A reader of durable entries.
    pub(crate) fn reader(&self) -> MemoryLog {
        self.log.clone()
    }

    /// Drops everything since the last commit; its offsets are used again.
    fn abort(&mut self) {
        self.buffer.clear();
        self.end = self.log.kept().end;
    }

    fn write(&mut self) {
        self.buffer.drain(..).for_each(|(head, batch)| self.log.push(head, batch));
    }
}

impl UnifiedLog for MemoryWriter {
    fn append_measured(&mut self, batch: &Batch<'_>, ingest: Timestamp, clock_offset_us: Option<i64>) -> Offset {
        assert!(!self.is_lost, "nothing is written to a log that was lost");
        let offset = self.end;
        let head = EntryHead::new(batch.header(), offset.get(), self.durable_end().get(), ingest);
        self.buffer.push((head.with_clock_offset_us(clock_offset_us), batch.bytes().to_vec()));
        self.end = Offset::new(head.end_ordinal());
        offset
    }

    fn commit(&mut self) -> Result<Offset, CommitError> {
        assert!(!self.is_lost, "nothing is written to a log that was lost");
        if self.buffer.is_empty() {
            return Ok(self.durable_end());
        }
        let mut state = self.engine.state();
        assert_eq!(state.openings, self.opening, "the log has one writer");
        if state.fails_in.is_some_and(|left| left < 2) {
            state.fails_in = Some(0);
            drop(state);
            self.abort();
            return Err(CommitError::Aborted { reason: "memory fails on command".to_owned() });
        }
        state.fails_in = state.fails_in.map(|left| left - 2);
        let unknown = state.unknown.take();
        drop(state);
        match unknown {
            Some(is_durable) => {
                self.is_lost = true;
                if is_durable {
                    self.write();
                }
                Err(CommitError::Unknown { reason: "memory does not answer".to_owned() })
            }
            None => {
                self.write();
                Ok(self.durable_end())
            }
        }
    }

    fn durable_end(&self) -> Offset {
        self.log.kept().end
    }

    fn buffered_bytes(&self) -> usize {
        self.buffer.iter().map(|(_, batch)| ENTRY_HEAD_LEN + batch.len()).sum()
    }

    fn log_id(&self) -> LogId {
        LOG_ID
    }

    fn partition(&self) -> Partition {
        PARTITION
    }

    fn term(&self) -> u64 {
        self.term
    }

    fn publish_terms(&mut self, terms: Terms) {
        assert_eq!((terms.log_id(), terms.partition()), (LOG_ID, PARTITION), "the table is of this log");
        self.term = terms.newest().map_or(self.term, |term| term.number);
    }

    fn take_damage(&mut self) -> Vec<LogDamage> {
        Vec::new()
    }

    fn has_damage(&self) -> bool {
        false
    }
}
