//! Places in the log: whoever remembers one must never find another event there.

use std::collections::BTreeMap;

use afferent_collector::terms::Terms;
use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::{LogId, Place};

use super::ledger::Content;
use super::view::LogView;

/// What stood at each place that ever held, and a reader that goes on from where it was.
#[derive(Debug, Default)]
pub struct Places {
    seen: BTreeMap<(LogId, u64, u64), Content>,
    reader: Reader,
}

/// It reads on behind the place that it remembers, and from the beginning where that does not hold.
#[derive(Debug, Default)]
struct Reader {
    cursor: Place,
    read: Vec<Content>,
}

impl Places {
    /// Takes note of what the log holds now, which is durable up to `end`; a reader whose cursor has a term is refused
    /// where the log was put back.
    ///
    /// # Errors
    /// When a place held something else before, or the reader has read what is not the log.
    pub fn see(&mut self, terms: &Terms, view: &LogView, end: Offset, has_term: bool) -> Result<(), String> {
        let batches = || view.batches.iter().filter(|batch| batch.end_ordinal() <= end.get());
        let all: Vec<Content> = batches().flat_map(|batch| &batch.events).map(|(content, _)| *content).collect();
        for (offset, content) in (0..).zip(&all) {
            let place = terms.place(Offset::new(offset + 1));
            // What comes before the first term has none.
            if place.term == 0 {
                continue;
            }
            let before = self.seen.insert((place.log_id, place.term, offset), *content);
            if before.is_some_and(|before| before != *content) {
                return Err(format!("the place of offset {offset} in the term {:016x} has another event", place.term));
            }
        }
        self.reader.read_on(terms, &all, has_term)
    }
}

impl Reader {
    fn read_on(&mut self, terms: &Terms, all: &[Content], has_term: bool) -> Result<(), String> {
        let end = Offset::new(all.len() as u64);
        let holds = if has_term { terms.check(&self.cursor, end).is_ok() } else { self.cursor.offset <= end };
        if !holds {
            self.read.clear();
        }
        self.read.extend(all.get(self.read.len()..).unwrap_or_default());
        self.cursor = terms.place(Offset::new(self.read.len() as u64));
        if self.read != all {
            return Err(format!("a reader that went on has read what is not in the log, of {} events", all.len()));
        }
        Ok(())
    }
}
