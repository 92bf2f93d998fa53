//! A reader's place in the log; renders page after page of CloudEvents.

use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use afferent_protocol::batch::{Batch, Header};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Event};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::segment::EntryHead;

use super::filter::UNREADABLE_SEVERITY;
use super::lines::{Facts, LineKind};
use super::{Filter, Lines, ReadLog, ReadLogError};
use crate::cloud_event::posted::Posted;
use crate::cloud_event::{self, HOLE_SOURCE};
use crate::limits::{PAGE_BYTES, PAGE_SCAN_BYTES};
use crate::log::Wanted;
use crate::terms::Terms;

/// How events follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One on every line (NDJSON).
    Lines,
    /// Server-sent events, with the place of each as `id`: its offset, term and log.
    ServerSent,
    /// The elements of a JSON array, with commas between them.
    Elements,
}

/// Why a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// There is more to read now.
    More,
    /// Everything durable was read.
    AtEnd,
    /// Everything that was asked for was read.
    Done,
}

/// A reader's place, and what it wants.
pub struct Reading {
    next: Offset,
    /// Where it ends, if it does not go on forever.
    end: Option<Offset>,
    /// Events that it still wants.
    left: u64,
    /// Bytes of output with which the page is full.
    full_at: usize,
    filter: Filter,
    /// Ingest times from the first one on and before the second one; all of them without.
    ingested: Option<(Timestamp, Timestamp)>,
    wanted: Wanted,
    /// Which of the sources' events it is here for; all of them without.
    share: Option<Share>,
    /// The collector's own name, once a log has told it.
    own: Option<SourceId>,
    /// Events rendered so far.
    rendered: u64,
    format: Format,
    /// The log's terms, and of which offsets' ids what stands behind the offset; where ids are rendered.
    terms: Arc<Terms>,
    term_of: (Range<u64>, String),
    /// What filters ask of the events rendered, where somebody is to look for theirs among them.
    lines: Option<Lines>,
    writer: cloud_event::Writer,
    scratch: Vec<u8>,
    decoded: Vec<u8>,
}

/// Events of some sources, each from an offset of its own on: what a member of a subscription gets.
pub(super) type Share = Box<dyn Fn(&str, Offset) -> bool + Send>;

impl Reading {
    /// Follows the log from `next` on, forever.
    pub fn follow(next: Offset, filter: Filter, format: Format) -> Self {
        let (scratch, decoded) = (Vec::new(), Vec::new());
        Self {
            next,
            end: None,
            left: u64::MAX,
            full_at: 0,
            wanted: filter.wanted(),
            filter,
            ingested: None,
            share: None,
            own: None,
            rendered: 0,
            format,
            terms: Arc::default(),
            term_of: (0..0, String::new()),
            lines: None,
            writer: cloud_event::Writer::new(),
            scratch,
            decoded,
        }
    }

    /// Reads from `next` up to `end`, and `limit` events at most.
    pub fn part(next: Offset, end: Offset, limit: u64, filter: Filter, format: Format) -> Self {
        Self { end: Some(end), left: limit, ..Self::follow(next, filter, format) }
    }

    /// Only what was ingested at `from` or later and before `until`: the collector's clock may have been set between the
    /// offsets, so that they do not tell.
    pub fn ingested(mut self, from: Timestamp, until: Timestamp) -> Self {
        self.ingested = Some((from, until));
        self.wanted.ingest = self.ingested;
        self
    }

    /// Keeps, of every page that is rendered into an empty buffer, what filters ask of its events.
    pub fn with_lines(self) -> Self {
        Self { lines: Some(Lines::default()), ..self }
    }

    /// The lines of the last page; none the second time.
    pub fn take_lines(&mut self) -> Lines {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Only events that this says yes to, by their source and offset.
    pub(super) fn shared(self, share: Share) -> Self {
        Self { share: Some(share), ..self }
    }

    /// Events rendered so far.
    pub fn rendered(&self) -> u64 {
        self.rendered
    }

    /// The first offset that was not looked at yet.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Goes on there: what lies before it was got elsewhere.
    pub fn go_on_at(&mut self, next: Offset) {
        assert!(next >= self.next, "a reader only goes forward");
        self.next = next;
    }

    /// Whether events are left out, so that the offsets of those that come have holes.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_open() || self.ingested.is_some()
    }

    /// Which events it wants.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Renders about [`PAGE_BYTES`] of what comes next into `out`, which may stay empty. Blocks.
    pub fn page(&mut self, log: &dyn ReadLog, out: &mut Vec<u8>) -> Result<Page, ReadLogError> {
        self.page_of(PAGE_BYTES, log, out)
    }

    /// Lets go of buffers of more than so many bytes: there may be many who wait until a page is sent.
    pub fn shrink(&mut self, kept_max: usize) {
        for buffer in [&mut self.scratch, &mut self.decoded] {
            if buffer.capacity() > kept_max {
                *buffer = Vec::new();
            }
        }
    }

    /// As [`Reading::page`], about so many bytes.
    pub fn page_of(&mut self, bytes: usize, log: &dyn ReadLog, out: &mut Vec<u8>) -> Result<Page, ReadLogError> {
        let kept = log.kept();
        let end = self.end.map_or(kept.end, |end| end.min(kept.end));
        self.pass_removed(kept.start.min(end), out);
        self.own = log.own();
        if self.format == Format::ServerSent {
            let terms = log.terms();
            if terms != self.terms {
                (self.terms, self.term_of) = (terms, (0..0, String::new()));
            }
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let before = self.next;
        self.full_at = out.len() + bytes;
        let mut scanned = 0;
        let mut read = Ok(());
        while self.next < end && self.left > 0 && out.len() < self.full_at && scanned < PAGE_SCAN_BYTES {
            let stretch = log.stretch(self.next, &self.wanted).filter(|stretch| stretch.start < end);
            let Some(stretch) = stretch else {
                self.next = end;
                break;
            };
            self.next = self.next.max(stretch.start);
            let (from, until) = (self.next, stretch.end.min(end));
            read = log.read_part(from, until, &mut scratch, &mut |head, batch| {
                if head.ordinal > self.next.get() {
                    // Retention may have been here since the page was begun.
                    self.pass_removed(log.kept().start.min(end), out);
                }
                self.entry(head, batch, end, out);
                scanned += head.entry_len();
                let full = out.len() >= self.full_at || scanned >= PAGE_SCAN_BYTES;
                if full || self.next >= until || self.left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            if read.is_err() || self.next == from {
                break;
            }
        }
        self.scratch = scratch;
        match read {
            Err(ReadLogError::Damaged { first, end: hole_end, reason }) if hole_end > self.next => {
                self.hole(first.max(self.next), hole_end.min(end), &reason, out);
            }
            other => other?,
        }
        if self.next >= end {
            self.shrink(0);
        }
        Ok(match self.end {
            _ if self.left == 0 => Page::Done,
            // Durable, and yet not to be had: nobody is to turn in circles over it.
            Some(_) if self.next == before && before < end => Page::Done,
            None if self.next == before => Page::AtEnd,
            Some(end) if self.next >= end => Page::Done,
            _ if self.next >= end => Page::AtEnd,
            _ => Page::More,
        })
    }

    /// Renders what is wanted of one entry, which comes from elsewhere than [`Reading::page`] takes them from.
    pub fn one_entry(&mut self, head: &EntryHead, batch: &Batch<'_>, out: &mut Vec<u8>) {
        self.full_at = usize::MAX;
        self.entry(head, batch, self.end.unwrap_or(Offset::new(u64::MAX)), out);
    }

    /// Whether everything that was asked for was rendered.
    pub fn is_done(&self) -> bool {
        self.left == 0 || self.end.is_some_and(|end| self.next >= end)
    }

    /// Renders what is wanted of an entry, as far as the page goes.
    fn entry(&mut self, head: &EntryHead, batch: &Batch<'_>, end: Offset, out: &mut Vec<u8>) {
        let header = batch.header();
        let entry_end = Offset::new(head.end_ordinal()).min(end);
        if head.ordinal > self.next.get() {
            let hole_end = Offset::new(head.ordinal).min(end);
            self.hole(self.next, hole_end, "the log has a hole here, found when it was opened", out);
        }
        let is_own = self.own == Some(header.source);
        // What retention has removed is no hole and nothing to be told in its place: the offsets go on behind it.
        let has_records = !header.is_emptied();
        let is_here = entry_end > self.next && head.ordinal < end.get();
        let is_in_time = self.ingested.is_none_or(|(from, until)| (from..until).contains(&head.stamp));
        if !is_here || !has_records || !is_in_time || !self.filter.takes_batch(header, is_own) {
            self.next = self.next.max(entry_end);
            return;
        }
        self.writer.own(is_own);
        self.writer.entry(head, header);
        self.decoded.resize(header.decoded_len as usize, 0);
        let mut decoded = std::mem::take(&mut self.decoded);
        let outcome = match codec::records(batch, &mut decoded) {
            Ok(records) if !self.filter.takes_subjects(records.subjects(), header.source.as_str()) => {
                self.next = entry_end;
                Ok(())
            }
            Ok(records) => self.records(head, header, records, entry_end, out),
            Err(error) => Err((0, error)),
        };
        self.decoded = decoded;
        if let Err((index, error)) = outcome {
            self.unreadable(head, batch, index, error, out);
            self.next = entry_end;
        }
    }

    fn records(
        &mut self,
        head: &EntryHead,
        header: &Header,
        records: codec::Records<'_>,
        entry_end: Offset,
        out: &mut Vec<u8>,
    ) -> Result<(), (u32, codec::DecodeError)> {
        let source = header.source.as_str();
        let is_own = self.own == Some(header.source);
        for (index, record) in (0..head.count).zip(records) {
            let record = record.map_err(|error| (index, error))?;
            let offset = Offset::new(head.ordinal + u64::from(index));
            if offset < self.next {
                continue;
            }
            if offset >= entry_end || self.left == 0 || out.len() >= self.full_at {
                return Ok(());
            }
            let event = &record.event;
            if self.filter.takes(event, source, is_own) && self.is_shared(source, is_own, &event.body, offset) {
                self.open(offset, out);
                self.writer.put(out, &record);
                self.close(out, offset, || facts_of(event, source, is_own));
            }
            self.next = Offset::new(offset.get() + 1);
        }
        Ok(())
    }

    /// Whether an event belongs to the share that is read; a posted one by who has made it.
    fn is_shared(&self, source: &str, is_own: bool, body: &Body<'_>, offset: Offset) -> bool {
        let Some(share) = &self.share else { return true };
        match body {
            Body::Derived(derived) if is_own => {
                let posted = Posted::read(derived.json);
                share(posted.as_ref().map_or(source, |posted| &posted.source), offset)
            }
            _ => share(source, offset),
        }
    }

    fn unreadable(
        &mut self,
        head: &EntryHead,
        batch: &Batch<'_>,
        index: u32,
        error: codec::DecodeError,
        out: &mut Vec<u8>,
    ) {
        let offset = Offset::new(head.ordinal + u64::from(index));
        // What was read before stays read: only its first event carries the message.
        let source = batch.header().source;
        let is_shared = self.share.as_ref().is_none_or(|share| share(source.as_str(), offset));
        if offset < self.next || !is_shared || !self.filter.takes_unreadable(batch.header()) {
            return;
        }
        self.open(offset, out);
        self.writer.put_unreadable(out, batch.header(), index, &error.to_string());
        self.close(out, offset, || {
            let (subject, kind) = (source.to_string(), cloud_event::UNREADABLE.to_owned());
            let (source, time) = (subject.clone(), batch.header().time_first);
            Facts { line: LineKind::Batch, time, subject, kind, source, severity: UNREADABLE_SEVERITY }
        });
    }

    /// Says that retention has removed what is before `kept`, if the reader is not past it.
    fn pass_removed(&mut self, kept: Offset, out: &mut Vec<u8>) {
        if self.next < kept {
            let gone = "retention has removed these events; the `trimmed` event of the collector says why";
            self.hole(self.next, kept, gone, out);
        }
    }

    /// Offsets that the log has lost: an event in their place says so.
    fn hole(&mut self, first: Offset, end: Offset, reason: &str, out: &mut Vec<u8>) {
        // Nobody knows whose events they were: they are given out under the name of the log.
        let is_shared = self.share.as_ref().is_none_or(|share| share(HOLE_SOURCE, first));
        if first < end && self.left > 0 && is_shared && self.filter.takes_hole() {
            self.open(first, out);
            cloud_event::put_hole(out, first, end, reason);
            // Who begins within it is told as well.
            self.close(out, Offset::new(end.get() - 1), || {
                let (subject, kind) = (String::new(), cloud_event::UNREADABLE.to_owned());
                let (source, time) = (HOLE_SOURCE.to_owned(), Timestamp::default());
                Facts { line: LineKind::Hole, time, subject, kind, source, severity: UNREADABLE_SEVERITY }
            });
        }
        self.next = end;
    }

    fn open(&mut self, offset: Offset, out: &mut Vec<u8>) {
        match self.format {
            Format::ServerSent => {
                if !self.term_of.0.contains(&offset.get()) {
                    self.term_of = self.terms.suffix_of(offset);
                }
                write!(out, "id: {offset}{}\ndata: ", self.term_of.1).expect("a growing buffer takes any text");
            }
            Format::Elements if self.rendered > 0 => out.extend_from_slice(b",\n"),
            Format::Elements | Format::Lines => {}
        }
    }

    fn close(&mut self, out: &mut Vec<u8>, offset: Offset, facts: impl FnOnce() -> Facts) {
        self.left -= 1;
        self.rendered += 1;
        out.extend_from_slice(match self.format {
            Format::Lines => b"\n",
            Format::ServerSent => b"\n\n",
            Format::Elements => b"",
        });
        if let Some(lines) = &mut self.lines {
            lines.push(offset, out.len(), facts());
        }
    }
}

/// What filters ask of an event; of a posted one what its maker said.
fn facts_of(event: &Event<'_>, source: &str, is_own: bool) -> Facts {
    let posted = match &event.body {
        Body::Derived(derived) if is_own => Posted::read(derived.json),
        _ => None,
    };
    let (source, severity) = match posted {
        Some(posted) => (posted.source.into_owned(), posted.severitynumber),
        None => (source.to_owned(), event.body.severity().number()),
    };
    let (subject, kind) = (event.subject.as_str().to_owned(), cloud_event::type_of(&event.body).to_owned());
    Facts { line: LineKind::Event, time: event.time, subject, kind, source, severity }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::EachEntry;
    use super::super::memory::{MemoryLog, breakdown, sample};
    use super::*;
    use crate::cloud_event::UNREADABLE;

    fn filter(subject: Option<&str>, types: Option<&str>) -> Filter {
        Filter::new(subject, types, None).unwrap()
    }

    /// Reads all pages; gives the offsets and types of their events, and how the last one ended.
    fn read(log: &MemoryLog, mut reading: Reading) -> (Vec<(u64, String)>, Page) {
        let mut out = Vec::new();
        let page = loop {
            match reading.page(log, &mut out).unwrap() {
                Page::More => {}
                page => break page,
            }
        };
        let event = |line: &[u8]| {
            let event: serde_json::Value = serde_json::from_slice(line).unwrap();
            (event["offset"].as_str().unwrap().parse().unwrap(), event["type"].as_str().unwrap().to_owned())
        };
        (out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(event).collect(), page)
    }

    fn offsets(log: &MemoryLog, reading: Reading) -> Vec<u64> {
        read(log, reading).0.into_iter().map(|(offset, _)| offset).collect()
    }

    fn part(from: u64, end: u64, limit: u64, filter: Filter) -> Reading {
        Reading::part(Offset::new(from), Offset::new(end), limit, filter, Format::Lines)
    }

    fn three_batches() -> MemoryLog {
        let log = MemoryLog::beginning_at(10);
        log.append("a", &[sample("x", 1), sample("y", 2), sample("x/z", 3)], 1);
        log.append("b", &[breakdown("x", "E1"), breakdown("y", "E2")], 2);
        log.append("a", &[sample("x", 4)], 3);
        log
    }

    #[test]
    fn any_part_of_the_log_can_be_read_from_within_a_batch_to_within_a_batch() {
        let log = three_batches();
        for from in 10..=16 {
            for end in from..=16 {
                for limit in [1, 2, u64::MAX] {
                    let expected: Vec<u64> = (from..end).take(limit as usize).collect();
                    assert_eq!(offsets(&log, part(from, end, limit, Filter::default())), expected);
                }
            }
        }
    }

    /// A log out of which retention takes the beginning right after a reader has looked where it begins.
    struct Shrinking {
        log: MemoryLog,
        shrunk: MemoryLog,
        looks: AtomicU32,
    }

    impl ReadLog for Shrinking {
        fn another(&self) -> Arc<dyn ReadLog> {
            unreachable!("one reader is enough")
        }

        fn kept(&self) -> Range<Offset> {
            let before = self.looks.fetch_add(1, Ordering::Relaxed) == 0;
            if before { self.log.kept() } else { self.shrunk.kept() }
        }

        fn at_time(&self, time: Timestamp) -> Result<Offset, ReadLogError> {
            self.shrunk.at_time(time)
        }

        fn read(&self, from: Offset, scratch: &mut Vec<u8>, each: &mut EachEntry<'_>) -> Result<(), ReadLogError> {
            self.shrunk.read(from, scratch, each)
        }
    }

    #[test]
    fn what_retention_removes_under_a_reader_is_told_as_removed_and_not_as_damage() {
        let shrunk = MemoryLog::beginning_at(15);
        shrunk.append("a", &[sample("x", 4)], 3);
        let log = Shrinking { log: three_batches(), shrunk, looks: AtomicU32::new(0) };
        let mut out = Vec::new();
        assert_eq!(part(10, 16, 9, Filter::default()).page(&log, &mut out).unwrap(), Page::Done);
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events: Vec<serde_json::Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        let [gone, sample] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&gone["id"], &gone["data"]["count"]), (&"hole-10-15".into(), &5.into()));
        assert!(gone["data"]["reason"].as_str().unwrap().contains("retention"), "{gone}");
        assert_eq!(sample["offset"], "15");
    }

    #[test]
    fn filters_leave_out_and_the_limit_counts_what_comes() {
        let log = three_batches();
        assert_eq!(offsets(&log, part(10, 16, 2, filter(Some("x"), None))), [10, 13]);
        assert_eq!(offsets(&log, part(10, 16, 9, filter(None, Some("breakdown")))), [13, 14]);
        assert_eq!(offsets(&log, part(10, 16, 9, filter(None, Some("sample")))), [10, 11, 12, 15]);
        let of_b = Filter::new(None, None, Some("b")).unwrap();
        assert_eq!(offsets(&log, part(10, 16, 9, of_b)), [13, 14]);
    }

    #[test]
    fn a_follower_reads_the_past_and_then_what_comes() {
        let log = three_batches();
        let mut reading = Reading::follow(Offset::new(14), Filter::default(), Format::ServerSent);
        let mut out = Vec::new();
        assert_eq!(reading.page(&log, &mut out).unwrap(), Page::AtEnd);
        assert_eq!(reading.next(), Offset::new(16));
        out.clear();
        assert_eq!((reading.page(&log, &mut out).unwrap(), out.len()), (Page::AtEnd, 0));
        log.append("c", &[sample("x", 5)], 4);
        reading.page(&log, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("id: 16@0000000000000000.00000000000000000000000000000000\ndata: {")
                && text.ends_with("}\n\n"),
            "{text}"
        );
    }

    #[test]
    fn a_large_batch_comes_in_pages_without_a_seam() {
        let log = MemoryLog::default();
        let events: Vec<_> = (0..5000).map(|value| sample("some/subject/or/other", value)).collect();
        log.append("a", &events, 1);
        let mut reading = part(0, 5000, u64::MAX, Filter::default());
        let mut out = Vec::new();
        assert_eq!(reading.page(&log, &mut out).unwrap(), Page::More);
        assert!(out.len() >= PAGE_BYTES && out.len() < PAGE_BYTES + 1024);
        let expected: Vec<u64> = (0..5000).collect();
        assert_eq!(offsets(&log, part(0, 5000, u64::MAX, Filter::default())), expected);
    }

    #[test]
    fn what_retention_has_removed_is_passed_over_and_is_nothing_in_its_place() {
        let log = three_batches();
        log.empty(0);
        for (from, expected) in [(10, &[13, 14, 15][..]), (11, &[13, 14, 15]), (13, &[13, 14, 15]), (15, &[15])] {
            let (events, page) = read(&log, part(from, 16, 99, Filter::default()));
            let offsets: Vec<u64> = events.iter().map(|(offset, _)| *offset).collect();
            assert_eq!((&offsets[..], page), (expected, Page::Done));
            assert!(events.iter().all(|(_, kind)| kind != UNREADABLE), "{events:?}");
        }
        assert_eq!(offsets(&log, part(10, 16, 9, filter(Some("x"), None))), [13, 15]);
        assert_eq!(offsets(&log, part(10, 16, 9, filter(None, Some(UNREADABLE)))), [0; 0]);
        log.empty(2);
        let mut reading = Reading::follow(Offset::new(10), Filter::default(), Format::Lines);
        let mut out = Vec::new();
        assert_eq!(reading.page(&log, &mut out).unwrap(), Page::AtEnd);
        assert_eq!(reading.next(), Offset::new(16), "the last offsets are passed over as well");
    }

    #[test]
    fn what_the_log_has_lost_is_an_event_in_its_place() {
        let log = three_batches();
        log.skip(4);
        let (events, page) = read(&log, part(10, 20, 99, Filter::default()));
        assert_eq!((events[5].clone(), page), ((15, UNREADABLE.to_owned()), Page::Done));
        assert_eq!(events[6].0, 19);

        let mut log = three_batches();
        log.damaged = Some(13..15);
        let (events, _) = read(&log, part(10, 16, 99, Filter::default()));
        let offsets: Vec<u64> = events.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [10, 11, 12, 13, 15]);
        assert_eq!(events[3].1, UNREADABLE);
    }
}
