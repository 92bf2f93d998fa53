//! A log in memory, for tests.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::event::{Body, Breakdown, Event, Quality, Sample, Severity, Value};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Subject, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::sign::Identity;

use super::address::Partition;
use super::read_log::{EachEntry, ReadLog, ReadLogError};
use crate::terms::Terms;

/// An entry's head, and its batch.
type Stored = (EntryHead, Vec<u8>);

/// Entries, and the offsets that are damaged.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLog {
    entries: Arc<Mutex<Vec<Stored>>>,
    first: u64,
    pub(crate) damaged: Option<Range<u64>>,
    /// The collector's name as a source.
    pub(crate) own: Option<SourceId>,
    pub(crate) terms: Terms,
}

impl MemoryLog {
    /// An empty log with this first offset.
    pub(crate) fn beginning_at(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// An independent copy of the log.
    pub(crate) fn copy(&self) -> Self {
        let entries = self.entries.lock().unwrap().clone();
        Self { entries: Arc::new(Mutex::new(entries)), ..self.clone() }
    }

    /// Appends a batch of `source` with these events, ingested at `ingest_us`.
    pub(crate) fn append(&self, source: &str, events: &[Event<'_>], ingest_us: i64) {
        let mut entries = self.entries.lock().unwrap();
        let mut builder = BatchBuilder::new();
        events.iter().for_each(|event| builder.push(event).unwrap());
        let lineage = Lineage {
            source: SourceId::new(source).unwrap(),
            stream: events[0].stream(),
            epoch: Epoch::new(1),
            first: Sequence::new(entries.len() as u64 * 1000),
            previous: CHAIN_START,
        };
        let mut bytes = Vec::new();
        let clock = ClockReading::default();
        let (header, _) = builder.seal(&lineage, &clock, &Identity::from_seed(&[1; 32]), &mut bytes);
        let offset = entries.last().map_or(self.first, |(head, _)| head.end_ordinal());
        entries.push((EntryHead::new(&header, offset, 0, Timestamp::new(ingest_us).unwrap()), bytes));
    }

    /// Appends a finished batch, which an engine has made durable.
    pub(super) fn push(&self, head: EntryHead, batch: Vec<u8>) {
        let end = self.kept().end;
        assert_eq!(head.ordinal, end.get(), "the entries of a log follow each other");
        self.entries.lock().unwrap().push((head, batch));
    }

    /// Empties an entry of samples, as retention does.
    pub(crate) fn empty(&self, nth: usize) {
        let (head, bytes) = &mut self.entries.lock().unwrap()[nth];
        *bytes = Batch::parse(bytes).unwrap().0.emptied().to_vec();
        *head = EntryHead::new(Batch::parse(bytes).unwrap().0.header(), head.ordinal, head.acked_end, head.stamp);
    }

    /// A copy without the entries before an offset, as retention leaves it.
    pub(crate) fn trimmed(&self, first: u64) -> Self {
        let log = Self { first, ..self.copy() };
        log.entries.lock().unwrap().retain(|(head, _)| head.ordinal >= first);
        log
    }

    /// The unreadable range: from the first damaged entry to the next readable one, as in a segment.
    fn rot(&self, entries: &[Stored]) -> Option<Range<u64>> {
        let damaged = self.damaged.as_ref()?;
        let first = entries.iter().find(|(head, _)| damaged.contains(&head.ordinal))?.0.ordinal;
        let next = entries.iter().find(|(head, _)| head.ordinal >= damaged.end);
        Some(first..next.map_or(self.kept().end.get(), |(head, _)| head.ordinal))
    }

    /// Leaves this many offsets out, as a log does whose entries were damaged before it was opened.
    pub(crate) fn skip(&self, count: u64) {
        let mut entries = self.entries.lock().unwrap();
        let (head, bytes) = entries.pop().expect("something to skip before");
        entries.push((EntryHead { ordinal: head.ordinal + count, ..head }, bytes));
    }
}

impl ReadLog for MemoryLog {
    fn partition(&self) -> Partition {
        self.terms.partition()
    }

    fn collector_name(&self) -> Option<SourceId> {
        self.own
    }

    fn terms(&self) -> Arc<Terms> {
        Arc::new(self.terms.clone())
    }

    fn clone_reader(&self) -> Arc<dyn ReadLog> {
        Arc::new(self.clone())
    }

    fn kept(&self) -> Range<Offset> {
        let end = self.entries.lock().unwrap().last().map_or(self.first, |(head, _)| head.end_ordinal());
        Offset::new(self.first)..Offset::new(end)
    }

    fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        let entries = self.entries.lock().unwrap();
        let found = entries.iter().find(|(head, _)| head.stamp >= time).map(|(head, _)| Offset::new(head.ordinal));
        drop(entries);
        Ok(found.unwrap_or(self.kept().end))
    }

    fn end_at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
        let entries = self.entries.lock().unwrap();
        let last = entries.iter().rfind(|(head, _)| head.stamp < time).map(|(head, _)| Offset::new(head.end_ordinal()));
        drop(entries);
        Ok(last.unwrap_or(self.kept().start))
    }

    fn read(&self, from: Offset, _: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError> {
        // The callback may read the log meanwhile.
        let entries = self.entries.lock().unwrap().clone();
        let rot = self.rot(&entries);
        for (head, bytes) in entries.iter().filter(|(head, _)| head.end_ordinal() > from.get()) {
            if let Some(rot) = rot.clone().filter(|rot| rot.contains(&head.ordinal) || rot.contains(&from.get())) {
                let (first, end) = (Offset::new(rot.start), Offset::new(rot.end));
                return Err(ReadLogError::Damaged { first, end, reason: "bit rot".into() });
            }
            if let ControlFlow::Break(()) = each(head, &Batch::parse(bytes).unwrap().0) {
                break;
            }
        }
        Ok(())
    }
}

/// A sample of this subject.
pub(crate) fn sample(subject: &str, value: i64) -> Event<'_> {
    let body = Body::Sample(Sample { value: Value::Integer(value), unit: "1", quality: Quality::Good });
    Event { time: Timestamp::default(), subject: Subject::new(subject).unwrap(), body }
}

/// A breakdown of this subject.
pub(crate) fn breakdown<'a>(subject: &'a str, code: &'a str) -> Event<'a> {
    let body = Body::Breakdown(Breakdown { code, severity: Severity::Error, message: "" });
    Event { time: Timestamp::default(), subject: Subject::new(subject).unwrap(), body }
}
