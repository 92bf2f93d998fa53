//! A reader of the log that gets pages of CloudEvents.

use afferent_protocol::ids::{Offset, Timestamp};

use super::cursor::ReadCursor;
use super::framing::Format;
use super::rendering::PageRenderer;
use super::share::SourceShare;
use super::{Filter, Page, PageLines};
use crate::limits::PAGE_BYTES;
use crate::log::events::Entry;
use crate::log::{ReadLog, ReadLogError};

/// A reader of the log: its filter, its offset, and the framing of its events.
pub struct Reading {
    cursor: ReadCursor,
    rendering: PageRenderer,
}

impl Reading {
    /// Follows the log from `next` on, forever.
    pub fn follow(next: Offset, filter: Filter, format: Format) -> Self {
        Self { cursor: ReadCursor::follow(next, filter), rendering: PageRenderer::new(format) }
    }

    /// Reads from `next` up to `end`, and `limit` events at most.
    pub fn part(next: Offset, end: Offset, limit: u64, filter: Filter, format: Format) -> Self {
        Self { cursor: ReadCursor::part(next, end, limit, filter), rendering: PageRenderer::new(format) }
    }

    /// Only entries ingested at `from` or later and before `until`: the collector's clock may have been set between the
    /// offsets, so that offsets do not suffice.
    pub fn ingested(self, from: Timestamp, until: Timestamp) -> Self {
        Self { cursor: self.cursor.ingested(from, until), ..self }
    }

    /// Keeps the facts of the events of every page that is rendered into an empty buffer.
    pub fn with_lines(self) -> Self {
        Self { rendering: self.rendering.with_lines(), ..self }
    }

    /// The lines of the last page; empty on a second call.
    pub fn take_lines(&mut self) -> PageLines {
        self.rendering.take_lines()
    }

    /// Only events of this share.
    pub(super) fn shared(self, share: SourceShare) -> Self {
        Self { cursor: self.cursor.shared(share), ..self }
    }

    /// Events rendered so far.
    pub fn rendered(&self) -> u64 {
        self.rendering.rendered()
    }

    /// The first offset that was not read yet.
    pub fn next(&self) -> Offset {
        self.cursor.next()
    }

    /// Continues at `next`: earlier events came from shared pages.
    pub fn continue_at(&mut self, next: Offset) {
        self.cursor.continue_at(next);
    }

    /// Whether events are left out, so that the offsets of the rendered ones have holes.
    pub fn is_filtered(&self) -> bool {
        self.cursor.is_filtered()
    }

    /// The filter of the events.
    pub fn filter(&self) -> &Filter {
        self.cursor.filter()
    }

    /// Renders about [`PAGE_BYTES`] of the next events into `out`, which may stay empty. Blocks.
    ///
    /// # Errors
    /// When the disk fails; events rendered before stay in `out`.
    pub fn page(&mut self, log: &dyn ReadLog, out: &mut Vec<u8>) -> Result<Page, ReadLogError> {
        self.page_of(PAGE_BYTES, log, out)
    }

    /// As [`Reading::page`], about this number of bytes.
    ///
    /// # Errors
    /// As [`Reading::page`].
    pub fn page_of(&mut self, bytes: usize, log: &dyn ReadLog, out: &mut Vec<u8>) -> Result<Page, ReadLogError> {
        self.rendering.follow_terms(log);
        let full_at = out.len() + bytes;
        self.cursor.advance(log, &mut self.rendering.to(out, full_at))
    }

    /// Frees buffers of more than this number of bytes: many readers may wait until a page is sent.
    pub fn shrink(&mut self, kept_max: usize) {
        self.cursor.shrink(kept_max);
    }

    /// Renders the wanted events of one entry, which does not come from [`Reading::page`].
    pub fn one_entry(&mut self, entry: Entry<'_>, out: &mut Vec<u8>) {
        self.cursor.one_entry(entry, &mut self.rendering.to(out, usize::MAX));
    }

    /// Whether all requested events were rendered.
    pub fn is_done(&self) -> bool {
        self.cursor.is_done()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use afferent_protocol::ids::Timestamp;

    use super::*;
    use crate::cloud_event::UNREADABLE;
    use crate::log::EachEntry;
    use crate::log::address::Partition;
    use crate::log::memory::{MemoryLog, breakdown, sample};

    fn filter(subject: Option<&str>, types: Option<&str>) -> Filter {
        Filter::new(subject, types, None).unwrap()
    }

    /// Reads all pages; returns the offsets and types of their events, and how the last one ended.
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

    /// A log whose beginning retention removes right after a reader has looked it up.
    struct Shrinking {
        log: MemoryLog,
        shrunk: MemoryLog,
        looks: AtomicU32,
    }

    impl ReadLog for Shrinking {
        fn partition(&self) -> Partition {
            Partition::EMBEDDED
        }

        fn clone_reader(&self) -> Arc<dyn ReadLog> {
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
    fn events_removed_under_a_reader_are_reported_as_removed_and_not_as_damage() {
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
