//! The log's terms, and which places hold in it.
//!
//! Every opening of a log for writing begins a *term*: a random number that is in the log, durably, before the log
//! takes anything else. Two logs with the same term have the same events before everything of it that both have. So a
//! place (log id, partition, term, offset) *holds* in a log if that log has the term and the term reaches that far in
//! it; in a log that was restored to an earlier state it does not, and a reader that remembers the place learns so at
//! once.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use afferent_protocol::ids::Offset;
use afferent_protocol::session::signed::{LogId, Place};
use serde::{Deserialize, Serialize};

use crate::limits::TERMS_MAX;
use crate::log::address::Partition;

/// One opening of a log for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its number, random.
    pub number: u64,
    /// Its first offset.
    pub first: Offset,
}

/// The terms of one partition of a log, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    log_id: LogId,
    partition: Partition,
    terms: Vec<Term>,
    /// Terms that ended at or before this offset may have been forgotten.
    forgotten_until: Offset,
}

/// Why a place does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is of a different log: this one was recreated, or a different disk is mounted.
    #[error("it is from another log")]
    OtherLog,
    /// It is of a different partition of this log.
    #[error("it is from partition {of}, but this is partition {here}")]
    OtherPartition {
        /// Its partition.
        of: u32,
        /// The partition that it was checked against.
        here: Partition,
    },
    /// The log does not have the term: it was restored to a state from before it.
    #[error("the log was restored to an earlier state, which does not have the term {term:016x}")]
    LostTerm {
        /// The term.
        term: u64,
    },
    /// The term ends before the offset: the log was restored to a state from within it.
    #[error(
        "the log was restored to an earlier state: its term {term:016x} ends at offset {until}, before offset {offset}"
    )]
    Beyond {
        /// The term.
        term: u64,
        /// The term's end here.
        until: Offset,
        /// The offset of the place.
        offset: Offset,
    },
    /// It is too old to be checked.
    #[error("it is older than the oldest term that the log still records")]
    Forgotten,
}

impl Terms {
    /// The empty table of a partition in which no term has begun yet.
    pub fn of(log_id: LogId, partition: Partition) -> Self {
        Self { log_id, partition, ..Self::default() }
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The log's id.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Sets the id of the log.
    pub(crate) fn named(&mut self, log_id: LogId) {
        self.log_id = log_id;
    }

    /// All known terms, in order.
    pub fn iter(&self) -> impl Iterator<Item = Term> + '_ {
        self.terms.iter().copied()
    }

    /// The newest term.
    pub fn newest(&self) -> Option<Term> {
        self.terms.last().copied()
    }

    /// Whether a known term has this number.
    pub fn has(&self, number: u64) -> bool {
        self.terms.iter().any(|term| term.number == number)
    }

    /// Adds a term that begins at this offset. A known term stays as it is.
    pub(crate) fn add_term(&mut self, number: u64, first: Offset) {
        if self.has(number) {
            return;
        }
        let at = self.terms.partition_point(|term| term.first <= first);
        self.terms.insert(at, Term { number, first });
        if self.terms.len() > TERMS_MAX {
            self.terms.remove(0);
            self.forgotten_until = self.terms[0].first;
        }
    }

    /// The end of this term in a log that ends at `end`; `None` when the term is not known.
    fn end_of(&self, number: u64, end: Offset) -> Option<Offset> {
        let at = self.terms.iter().position(|term| term.number == number)?;
        Some(self.terms.get(at + 1).map_or(end, |next| next.first))
    }

    /// The place of this offset. It has the term of the event before it, which is the last event of a reader that
    /// continues there.
    pub fn place(&self, offset: Offset) -> Place {
        let at = self.terms.partition_point(|term| term.first < offset);
        let term = self.terms.get(at.max(1) - 1).filter(|term| term.first < offset || offset == Offset::ZERO);
        let term = term.map_or(0, |term| term.number);
        Place { log_id: self.log_id, partition: self.partition.get(), term, offset }
    }

    /// The text behind the offset in the place after this event, and the offsets that have the same text.
    pub(crate) fn suffix_of(&self, event: Offset) -> (Range<u64>, String) {
        let after = self.terms.partition_point(|term| term.first <= event);
        let first = after.checked_sub(1).map_or(0, |at| self.terms[at].first.get());
        let end = self.terms.get(after).map_or(u64::MAX, |next| next.first.get());
        let next = Offset::new(event.get().saturating_add(1));
        (first..end, PlaceText::suffix(&self.place(next)))
    }

    /// Checks that a place holds in this log, which is durable up to `end`.
    ///
    /// # Errors
    /// When it does not hold: the cause.
    pub fn check(&self, place: &Place, end: Offset) -> Result<(), PlaceError> {
        if place.log_id != self.log_id {
            return Err(PlaceError::OtherLog);
        }
        if place.partition != self.partition.get() {
            return Err(PlaceError::OtherPartition { of: place.partition, here: self.partition });
        }
        let (term, offset) = (place.term, place.offset);
        // Before its first event all states of a log are equal.
        if offset == Offset::ZERO {
            return Ok(());
        }
        match self.end_of(term, end) {
            Some(until) if offset <= until.min(end) => Ok(()),
            Some(until) => Err(PlaceError::Beyond { term, until, offset }),
            // An offset from before the first known term.
            None if term == 0 && self.terms.first().map_or(end, |first| first.first) >= offset => Ok(()),
            None if offset <= self.forgotten_until => Err(PlaceError::Forgotten),
            None => Err(PlaceError::LostTerm { term }),
        }
    }
}

/// A place as people and programs write it: `OFFSET@TERM.LOG`, the offset decimal, the others hexadecimal. In
/// partitions other than 0 the number follows, decimal: `OFFSET@TERM.LOG.PARTITION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaceText(pub Place);

/// The text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a place; write it as OFFSET@TERM.LOG, the term with 16 and the log with 32 hexadecimal digits, or as \
     OFFSET@TERM.LOG.PARTITION for a partition other than 0"
)]
pub struct PlaceTextError;

impl PlaceText {
    /// The text behind the offset, which is the same for all offsets of a term.
    pub(crate) fn suffix(place: &Place) -> String {
        let log = u128::from_be_bytes(place.log_id);
        match place.partition {
            0 => format!("@{:016x}.{log:032x}", place.term),
            partition => format!("@{:016x}.{log:032x}.{partition}", place.term),
        }
    }
}

impl fmt::Display for PlaceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.offset, Self::suffix(&self.0))
    }
}

impl FromStr for PlaceText {
    type Err = PlaceTextError;

    fn from_str(text: &str) -> Result<Self, PlaceTextError> {
        let (offset, rest) = text.split_once('@').ok_or(PlaceTextError)?;
        let (term, rest) = rest.split_once('.').ok_or(PlaceTextError)?;
        let (log, partition) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_hex = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_decimal(offset) || !is_hex(term, 16) || !is_hex(log, 32) || !is_decimal(partition) {
            return Err(PlaceTextError);
        }
        Ok(Self(Place {
            log_id: u128::from_str_radix(log, 16).map_err(|_| PlaceTextError)?.to_be_bytes(),
            partition: partition.parse().map_err(|_| PlaceTextError)?,
            term: u64::from_str_radix(term, 16).map_err(|_| PlaceTextError)?,
            offset: Offset::new(offset.parse().map_err(|_| PlaceTextError)?),
        }))
    }
}

impl From<PlaceText> for String {
    fn from(text: PlaceText) -> Self {
        text.to_string()
    }
}

impl TryFrom<String> for PlaceText {
    type Error = PlaceTextError;

    fn try_from(text: String) -> Result<Self, PlaceTextError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(begun: &[(u64, u64)]) -> Terms {
        let mut terms = Terms::of([7; 16], Partition::EMBEDDED);
        begun.iter().for_each(|(number, first)| terms.add_term(*number, Offset::new(*first)));
        terms
    }

    #[test]
    fn a_place_names_the_term_of_the_event_before_it() {
        let terms = terms(&[(11, 0), (22, 10), (33, 20)]);
        for (offset, term) in [(0, 11), (1, 11), (10, 11), (11, 22), (20, 22), (21, 33), (99, 33)] {
            assert_eq!(terms.place(Offset::new(offset)).term, term, "{offset}");
        }
    }

    #[test]
    fn a_place_holds_in_every_later_state_of_its_log_and_in_no_state_from_before_it() {
        let later = terms(&[(11, 0), (22, 10), (33, 20)]);
        let back = terms(&[(11, 0), (44, 7)]);
        for offset in 0..=30 {
            let place = later.place(Offset::new(offset));
            assert_eq!(later.check(&place, Offset::new(30)), Ok(()), "{offset}");
            // The common part of the two ends at 7.
            assert_eq!(back.check(&place, Offset::new(90)).is_ok(), offset <= 7, "{offset}");
        }
        let lost = PlaceError::LostTerm { term: 22 };
        assert_eq!(back.check(&later.place(Offset::new(12)), Offset::new(90)), Err(lost));
        let (term, until, offset) = (11, Offset::new(7), Offset::new(9));
        let beyond = PlaceError::Beyond { term, until, offset };
        assert_eq!(back.check(&later.place(offset), Offset::new(90)), Err(beyond));
        let mut other = terms(&[(11, 0)]);
        other.named([8; 16]);
        assert_eq!(other.check(&later.place(Offset::new(1)), Offset::new(9)), Err(PlaceError::OtherLog));
        let elsewhere = Place { partition: 3, ..later.place(Offset::new(1)) };
        let refused = Err(PlaceError::OtherPartition { of: 3, here: Partition::EMBEDDED });
        assert_eq!(later.check(&elsewhere, Offset::new(30)), refused);
    }

    #[test]
    fn terms_are_limited_and_places_of_forgotten_ones_are_told_from_lost_ones() {
        let mut many = Terms::of([7; 16], Partition::EMBEDDED);
        (0..TERMS_MAX as u64 + 5).for_each(|at| many.add_term(1 + at, Offset::new(at * 10)));
        let end = Offset::new(1 << 40);
        let old = Place { log_id: [7; 16], partition: 0, term: 1, offset: Offset::new(5) };
        assert_eq!(many.check(&old, end), Err(PlaceError::Forgotten));
        let lost = Place { term: 1 << 60, offset: Offset::new(900), ..old };
        assert_eq!(many.check(&lost, end), Err(PlaceError::LostTerm { term: 1 << 60 }));
    }

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        let place = Place { log_id: [9; 16], partition: 0, term: 0xABC, offset: Offset::new(1042) };
        let text = PlaceText(place).to_string();
        assert!(text.starts_with("1042@0000000000000abc.0909"), "{text}");
        assert_eq!(text.parse(), Ok(PlaceText(place)));
        let elsewhere = PlaceText(Place { partition: 64, ..place });
        assert_eq!(elsewhere.to_string(), format!("{text}.64"));
        assert_eq!(elsewhere.to_string().parse(), Ok(elsewhere));
        for end in [".", ".-1", ".+1", ".4294967296", ".1.2", ".x"] {
            assert!(format!("{text}{end}").parse::<PlaceText>().is_err(), "{end:?}");
        }
        for wrong in ["", "1042", "@", "1042@", "-1@0000000000000abc.09090909090909090909090909090909", &text[1..5]] {
            assert!(wrong.parse::<PlaceText>().is_err(), "{wrong:?}");
        }
    }
}
