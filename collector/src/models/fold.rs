//! Passes a part of the log through several models at once.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use afferent_protocol::batch::Header;
use afferent_protocol::ids::{Offset, Timestamp};

use super::order::corrected;
use super::snapshot::{BatchMark, Snapshot};
use super::{AnyModel, CountedFrom, LoggedEvent, ModelId, NameNumbers};
use crate::limits::MODEL_CHUNK_EVENTS;
use crate::log::events::{Entry, Item};
use crate::log::records::Decoder;
use crate::terms::Terms;

/// A model in a fold.
pub struct FoldMember {
    /// Name and version of the model.
    pub id: ModelId,
    /// The model.
    pub model: Box<dyn AnyModel>,
    /// The error that stopped the model; it gets no more events then.
    pub failed: Option<String>,
    /// The first offset that the model counts from.
    pub counts_from: CountedFrom,
}

impl FoldMember {
    /// A running member.
    pub fn new(id: ModelId, model: Box<dyn AnyModel>) -> Self {
        Self { id, model, failed: None, counts_from: CountedFrom::default() }
    }

    /// Passes events to the model. A model that panics is stopped; the others continue.
    pub fn apply(&mut self, seen: &[LoggedEvent<'_>]) {
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return };
        if self.failed.is_some() {
            return;
        }
        // After a panic the state is never read again, so that it need not be consistent.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.model.apply_all(seen)));
        if let Err(panic) = outcome {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            let error = format!("stopped by a panic between offsets {} and {}: {said}", first.offset, last.offset);
            tracing::error!(model = %self.id, %error, "a model has failed; the other models and the log continue");
            self.failed = Some(error);
        }
    }
}

impl FoldMember {
    /// See [`super::Model::sort`]. A panic stops the model, as with events.
    pub fn sort(&mut self, is_sorting: bool) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.model.sort(is_sorting)));
        if outcome.is_err() && self.failed.is_none() {
            self.failed = Some("stopped by a panic when it was recomputed".to_owned());
        }
    }
}

/// Takes the models, some events, and the head of their batch.
pub(super) type EachChunk<'f> = dyn FnMut(&mut [FoldMember], &[LoggedEvent<'_>], &Header) + 'f;

/// Several models at the same offset of the log.
pub struct Fold {
    /// The models.
    pub members: Vec<FoldMember>,
    next: Offset,
    time: Timestamp,
    mark: Option<BatchMark>,
    unreadable: u64,
    names: NameNumbers,
    decoder: Decoder,
}

impl Fold {
    /// Models that have seen all events before `next`, the last of which was ingested at `time`.
    pub fn new(mut members: Vec<FoldMember>, next: Offset, time: Timestamp) -> Self {
        members.iter_mut().for_each(|member| member.counts_from = CountedFrom::at(next));
        let (mark, names, decoder) = (None, NameNumbers::default(), Decoder::default());
        Self { members, next, time, mark, unreadable: 0, names, decoder }
    }

    /// Declares the first offset of the log: retention has removed earlier ones. Call it before any entry is passed.
    pub fn begin_at(&mut self, first: Offset) {
        self.next = first;
        self.members.iter_mut().for_each(|member| member.counts_from = CountedFrom::at(first));
    }

    /// Models at the offset of a snapshot.
    pub fn after(members: Vec<FoldMember>, snapshot: &Snapshot) -> Self {
        let mut fold = Self { mark: snapshot.mark, ..Self::new(members, snapshot.place.offset, snapshot.time) };
        fold.members.iter_mut().for_each(|member| member.counts_from = snapshot.counts_from);
        fold
    }

    /// The snapshot of a member: its state and what it has seen.
    pub fn snapshot(&self, member: &FoldMember, terms: &Terms) -> Snapshot {
        let (place, counts_from) = (terms.place(self.next), member.counts_from);
        Snapshot { place, time: self.time, mark: self.mark, counts_from, state: member.model.save() }
    }

    /// The first offset that was not passed.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Ingest time of the last event that was passed.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Events that could not be read since the fold was made.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The model of this name.
    pub fn member(&self, id: &ModelId) -> Option<&FoldMember> {
        self.members.iter().find(|member| member.id == *id)
    }

    /// Adds a model at the same offset, in place of one of the same name.
    pub fn join(&mut self, member: FoldMember) {
        match self.members.iter_mut().find(|known| known.id == member.id) {
            Some(known) => *known = member,
            None => self.members.push(member),
        }
    }

    /// Passes the events of an entry that were not passed yet, up to `end`.
    pub fn entry(&mut self, entry: &Entry<'_>, end: Offset) {
        self.entry_through(entry, end, &mut |members, seen, _| {
            members.iter_mut().for_each(|member| member.apply(seen));
        });
    }

    /// Decodes the events of an entry as [`Fold::entry`] does, and passes them to `each` together with the models.
    pub(super) fn entry_through(&mut self, entry: &Entry<'_>, end: Offset, each: &mut EachChunk<'_>) -> Passage {
        let (members, mut passed) = (&mut self.members, self.next);
        let part = EntryPart { from: self.next, end };
        let is_whole = part.chunks(&mut self.names, &mut self.decoder, entry, &mut |seen| {
            passed = seen.last().map_or(passed, |seen| Offset::new(seen.offset.get() + 1));
            each(members, seen, entry.header());
        });
        let passage = Passage { part, passed, is_whole };
        self.passed(entry, &passage);
        passage
    }

    /// Passes events that a second fold at the same offset has decoded.
    pub(super) fn chunk(&mut self, seen: &[LoggedEvent<'_>]) {
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return };
        assert!(first.offset >= self.next, "no event goes through a model twice");
        self.members.iter_mut().for_each(|member| member.apply(seen));
        self.next = Offset::new(last.offset.get() + 1);
    }

    /// Records an entry whose events were passed to the models elsewhere.
    pub(super) fn entry_passed(&mut self, entry: &Entry<'_>, end: Offset) {
        self.next = self.next.max(entry.end().min(end));
    }

    /// Skips to `end`: no event before it can be read.
    pub fn skip_to(&mut self, end: Offset) {
        self.unreadable += end.since(self.next);
        self.next = self.next.max(end);
    }

    /// Records an entry whose events may have gone through [`Fold::chunk`].
    pub(super) fn passed(&mut self, entry: &Entry<'_>, passage: &Passage) {
        let Passage { part, passed, is_whole } = *passage;
        let entry_end = entry.end().min(part.end);
        if entry_end <= part.from || entry.first() >= part.end {
            return;
        }
        // Offsets that the log has lost between this entry and the previous one.
        self.unreadable += entry.first().since(part.from);
        if !is_whole {
            self.unreadable += entry_end.since(passed.max(entry.first()));
        }
        let is_emptied = entry.header().is_emptied();
        self.members.iter_mut().for_each(|member| member.counts_from.passed(entry.ingest(), entry_end, is_emptied));
        self.next = entry_end;
        self.time = entry.ingest();
        self.mark = Some(BatchMark { first: entry.first(), crc: entry.header().crc });
    }
}

/// The wanted events of an entry.
#[derive(Clone, Copy)]
struct EntryPart {
    from: Offset,
    end: Offset,
}

/// The result of passing an entry.
pub(super) struct Passage {
    part: EntryPart,
    /// The offset behind the last event that could be read.
    passed: Offset,
    is_whole: bool,
}

impl EntryPart {
    /// Decodes the entry and passes its events in chunks of bounded size; returns whether all of them could be decoded.
    fn chunks(
        self,
        names: &mut NameNumbers,
        decoder: &mut Decoder,
        entry: &Entry<'_>,
        each: &mut dyn FnMut(&[LoggedEvent<'_>]),
    ) -> bool {
        if entry.end() <= self.from || entry.first() >= self.end {
            return true;
        }
        let (batch, ingest, clock_offset_us) = (entry.header(), entry.ingest(), entry.head.clock_offset_us());
        let mut opened = entry.open(decoder);
        names.begin_batch(opened.subjects().unwrap_or_default());
        let mut chunk = Vec::with_capacity(MODEL_CHUNK_EVENTS.min(batch.count as usize));
        let mut is_whole = true;
        opened.each(|item| {
            let event = match item {
                Item::Event(event) => event,
                Item::Unreadable(_) => {
                    is_whole = false;
                    return ControlFlow::Break(());
                }
                Item::Hole(_) | Item::Removed(_) => return ControlFlow::Break(()),
            };
            let offset = event.address.offset;
            if offset < self.from {
                return ControlFlow::Continue(());
            }
            if offset >= self.end {
                return ControlFlow::Break(());
            }
            let (sequence, event) = (event.record.sequence, event.record.event);
            let (machine, subject) = names.of(event.subject);
            let (time, correction) = corrected(event.time, batch, ingest, clock_offset_us);
            chunk.push(LoggedEvent {
                offset,
                ingest,
                batch,
                sequence,
                machine,
                subject,
                event,
                clock_offset_us,
                time,
                correction,
            });
            if chunk.len() == MODEL_CHUNK_EVENTS {
                each(&chunk);
                chunk.clear();
            }
            ControlFlow::Continue(())
        });
        each(&chunk);
        is_whole
    }
}
