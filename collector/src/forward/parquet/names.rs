//! Names of files: `day=2026-11-30/type=sample/line1-p0-00…1042-00…2042-0123456789abcdef.parquet`.
//!
//! A name says which offsets of the log the file is about: from the first one, up to before the second one. The last
//! number is the term of the log that the range ends in: names of different logs, and of a log that was restored,
//! differ.

use std::fmt;
use std::ops::Range;

use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::session::signed::Place;

use crate::rfc3339::time_text;

/// The day of events without a time, as Hive writes it.
const NO_DAY: &str = "__HIVE_DEFAULT_PARTITION__";
const SUFFIX: &str = ".parquet";
const DAY_US: i64 = 86_400_000_000;

/// The directory of a file: the day of its events, in days since 1970-01-01, and their kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub day: Option<i64>,
    pub kind: &'static str,
}

impl Group {
    /// Whether events of this time are in it.
    #[inline]
    pub fn has(&self, time: Option<Timestamp>) -> bool {
        match (self.day, time) {
            (Some(day), Some(time)) => (day * DAY_US..(day + 1) * DAY_US).contains(&time.micros()),
            (day, time) => day.is_none() && time.is_none(),
        }
    }

    /// Whether events of this kind are in it.
    #[inline]
    pub fn is_of(&self, kind: &'static str) -> bool {
        std::ptr::eq(self.kind, kind) || self.kind == kind
    }
}

/// The day of a time.
pub(super) fn day_of(time: Timestamp) -> i64 {
    time.micros().div_euclid(DAY_US)
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.day.and_then(|day| Timestamp::new(day * DAY_US)) {
            Some(day) => write!(f, "day={}/type={}", &time_text(day)[..10], self.kind),
            None => write!(f, "day={NO_DAY}/type={}", self.kind),
        }
    }
}

/// The offsets of a part, with the place of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartRange {
    pub from: Offset,
    pub end: Place,
}

impl PartRange {
    /// As far as it is within these offsets.
    pub fn within(&self, offsets: &Range<u64>) -> Self {
        let (from, end) = (self.from.get().max(offsets.start), self.end.offset.get().min(offsets.end));
        assert!(from < end, "a file has an event of the part");
        // The term of a later place stands for everything before it.
        Self { from: Offset::new(from), end: Place { offset: Offset::new(end), ..self.end } }
    }

    /// The name of the part's file in a group's directory.
    pub fn file(&self, forward: &str) -> String {
        let Place { partition, term, offset, .. } = self.end;
        format!("{forward}-p{partition}-{:020}-{:020}-{term:016x}{SUFFIX}", self.from.get(), offset.get())
    }
}

/// A name as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameRead<'n> {
    /// Day and type.
    pub directory: &'n str,
    pub offsets: Range<Offset>,
    pub term: u64,
}

/// Reads the path of a file of this forward and partition below the lake's root; `None` for all others.
pub(super) fn read<'n>(path: &'n str, forward: &str, partition: u32) -> Option<NameRead<'n>> {
    let (directory, name) = path.rsplit_once('/')?;
    let numbers = name.strip_prefix(forward)?.strip_prefix(&format!("-p{partition}-"))?.strip_suffix(SUFFIX)?;
    let [from, end, term] = numbers.split('-').collect::<Vec<_>>().try_into().ok()?;
    let offset = |text: &str| text.parse().ok().map(Offset::new);
    let term = u64::from_str_radix(term, 16).ok()?;
    Some(NameRead { directory, offsets: offset(from)?..offset(end)?, term })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_what_it_says() {
        let end = Place { log_id: [7; 16], partition: 0, term: 0xABC, offset: Offset::new(2042) };
        let range = PartRange { from: Offset::new(1042), end };
        let day = day_of(
            "2026-11-30T12:00:00Z"
                .parse::<jiff::Timestamp>()
                .map(|at| Timestamp::clamped(at.as_microsecond()))
                .unwrap(),
        );
        let path = format!("{}/{}", Group { day: Some(day), kind: "sample" }, range.file("line1"));
        assert_eq!(
            path,
            "day=2026-11-30/type=sample/line1-p0-00000000000000001042-00000000000000002042-0000000000000abc.parquet"
        );
        let read_back = read(&path, "line1", 0).unwrap();
        assert_eq!((read_back.offsets, read_back.term), (Offset::new(1042)..Offset::new(2042), 0xABC));
        assert_eq!(read_back.directory, "day=2026-11-30/type=sample");
        for (path, forward, partition) in
            [(&*path, "line", 0), (&path, "line1", 1), ("x/line1-p0-1-2.parquet", "line1", 0)]
        {
            assert_eq!(read(path, forward, partition), None, "{path} {forward}");
        }
        let group = |day| Group { day, kind: "sample" };
        for micros in [0, 1, DAY_US - 1, DAY_US, 253_402_300_799_999_999] {
            let time = Timestamp::clamped(micros);
            assert!(group(Some(day_of(time))).has(Some(time)) && !group(Some(day_of(time) + 1)).has(Some(time)));
            assert!(!group(None).has(Some(time)) && !group(Some(0)).has(None) && group(None).has(None));
        }
        assert_eq!(Group { day: None, kind: "unreadable" }.to_string(), format!("day={NO_DAY}/type=unreadable"));
    }
}
