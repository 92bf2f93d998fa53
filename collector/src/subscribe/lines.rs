//! Rendered events with their facts, so that many readers can select theirs out of one page.

use std::collections::HashMap;

use afferent_protocol::ids::Offset;

use super::Filter;
use super::facts::{Facts, LineKind};
use crate::log::NameHash;

#[derive(Clone, Debug)]
struct PageLine {
    /// The event's offset; of a hole the last one.
    offset: Offset,
    /// Its end in the page, in bytes; it begins at the end of its predecessor.
    end: usize,
    facts: Facts,
}

/// The lines of one page.
#[derive(Clone, Debug, Default)]
pub struct PageLines {
    lines: Vec<PageLine>,
    /// By machine: the lines that may be about it. Unreadable events may be about every machine.
    machines: HashMap<NameHash, Vec<u32>>,
    of_all: Vec<u32>,
}

impl PageLines {
    pub(super) fn push(&mut self, offset: Offset, end: usize, facts: Facts) {
        let at = u32::try_from(self.lines.len()).expect("a page has fewer lines");
        match facts.line {
            LineKind::Event => self.machines.entry(NameHash::machine(&facts.subject)).or_default().push(at),
            LineKind::Batch | LineKind::Hole => self.of_all.push(at),
        }
        self.lines.push(PageLine { offset, end, facts });
    }

    /// Passes the parts of the page, in order, that a reader with all events before `from` wants.
    pub fn wanted(&self, from: Offset, filter: &Filter, each: &mut dyn FnMut(std::ops::Range<usize>)) {
        let Some(machine) = filter.machine() else {
            let first = self.lines.partition_point(|line| line.offset < from);
            return (first..self.lines.len()).for_each(|at| self.look(at, from, filter, each));
        };
        let of_machine = self.machines.get(&machine).map_or(&[][..], Vec::as_slice);
        if self.of_all.is_empty() {
            return of_machine.iter().for_each(|at| self.look(*at as usize, from, filter, each));
        }
        let mut both: Vec<u32> = of_machine.iter().chain(&self.of_all).copied().collect();
        both.sort_unstable();
        both.into_iter().for_each(|at| self.look(at as usize, from, filter, each));
    }

    fn look(&self, at: usize, from: Offset, filter: &Filter, each: &mut dyn FnMut(std::ops::Range<usize>)) {
        let line = &self.lines[at];
        if line.offset >= from && filter.takes_line(&line.facts) {
            let begin = at.checked_sub(1).map_or(0, |before| self.lines[before].end);
            each(begin..line.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Body, Derived, Event};
    use afferent_protocol::ids::{SourceId, Subject, Timestamp};
    use proptest::prelude::*;

    use super::super::{Format, Reading};
    use super::*;
    use crate::log::memory::{MemoryLog, breakdown, sample};

    const JSON: [&str; 2] =
        [r#"{"source":"/wear","id":"1","severitynumber":17}"#, r#"{"source":"b","id":"2","severitynumber":9}"#];

    fn event(kind: u8) -> Event<'static> {
        let subject = ["x", "y", "x/z"][usize::from(kind % 3)];
        match kind / 3 % 3 {
            0 => sample(subject, i64::from(kind)),
            1 => breakdown(subject, "E1"),
            _ => {
                let body = Body::Derived(Derived { kind: "com.example.wear.v1", json: JSON[usize::from(kind % 2)] });
                Event { time: Timestamp::default(), subject: Subject::new(subject).unwrap(), body }
            }
        }
    }

    /// A log with all cases: events of three sources, the collector's among them, a hole, and rot.
    fn log(batches: &[(u8, Vec<u8>)], rot: u64) -> MemoryLog {
        let mut log = MemoryLog::beginning_at(10);
        log.own = Some(SourceId::new("own").unwrap());
        for (at, (source, kinds)) in batches.iter().enumerate() {
            // A stream carries samples alone or everything else.
            let is_sample = kinds[0] / 3 % 3 == 0;
            let events: Vec<_> =
                kinds.iter().filter(|kind| (**kind / 3 % 3 == 0) == is_sample).map(|kind| event(*kind)).collect();
            log.append(["a", "b", "own"][usize::from(source % 3)], &events, at as i64);
            if at == 2 {
                log.skip(3);
            }
        }
        log.damaged = Some(10 + rot..12 + rot);
        log
    }

    fn pages(log: &MemoryLog, mut reading: Reading) -> (Vec<u8>, PageLines) {
        let mut out = Vec::new();
        let (mut lines, mut before) = (PageLines::default(), Offset::ZERO);
        while reading.next() > before {
            before = reading.next();
            reading.page(log, &mut out).unwrap();
            let more = reading.take_lines();
            if lines.lines.is_empty() {
                lines = more;
            } else {
                more.lines.into_iter().for_each(|line| lines.push(line.offset, line.end, line.facts));
            }
        }
        (out, lines)
    }

    /// Event by event. A hole may begin at a different offset for other readers: only its end is compared.
    fn told(bytes: Vec<u8>) -> Vec<String> {
        let end_of_hole = |event: &str| {
            let (_, rest) = event.split_once("\"id\":\"hole-")?;
            rest.split_once('"')?.0.split_once('-').map(|(_, end)| format!("a hole up to {end}"))
        };
        let text = String::from_utf8(bytes).unwrap();
        text.split("\n\n").map(|event| end_of_hole(event).unwrap_or_else(|| event.to_owned())).collect()
    }

    proptest! {
        #[test]
        fn a_reader_that_selects_lines_from_a_page_gets_what_it_would_have_read_itself(
            batches in prop::collection::vec((any::<u8>(), prop::collection::vec(0..18_u8, 1..6)), 1..12),
            rot in 0..60_u64,
            from in 10..40_u64,
            subject in prop::sample::select(vec![None, Some("x"), Some("x/**"), Some("y"), Some("*"), Some("a"), Some("none")]),
            types in prop::sample::select(vec![None, Some("breakdown"), Some("sample,com.example.wear.v1"), Some("unreadable")]),
            sources in prop::sample::select(vec![None, Some("a"), Some("/wear"), Some("own,b")]),
            severity in prop::sample::select(vec![None, Some("error.."), Some("..info")]),
        ) {
            let log = log(&batches, rot);
            let mut filter = Filter::new(subject, types, sources).unwrap();
            if let Some(severity) = severity {
                filter = filter.with_severity(severity).unwrap();
            }
            let first = Offset::new(10);
            let (all, lines) = pages(&log, Reading::follow(first, Filter::default(), Format::ServerSent).with_lines());
            let mut taken = Vec::new();
            lines.wanted(Offset::new(from), &filter, &mut |range| taken.extend_from_slice(&all[range]));
            let (read, _) = pages(&log, Reading::follow(Offset::new(from), filter, Format::ServerSent));
            prop_assert_eq!(told(taken), told(read));
        }
    }
}
