//! A summary of a stretch of the log, in a few bytes: a reader skips stretches that cannot hold wanted events.
//!
//! A summary may answer "perhaps" where the stretch holds no such event, and never "no" where it holds one.

use afferent_protocol::batch::Batch;
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Body, Kind};
use afferent_protocol::ids::{Stream, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::Decoder;

/// A set of kinds of events, one bit a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u16);

const _: () = assert!(Kind::COUNT <= u16::BITS as usize, "every kind has a bit");

impl Kinds {
    /// All kinds.
    pub const ALL: Self = Self(u16::MAX);
    /// Samples alone.
    pub const SAMPLES: Self = Self::of_kind(Kind::Sample);
    /// Everything but samples.
    pub const NO_SAMPLES: Self = Self(!Self::SAMPLES.0);
    /// Derived events alone.
    pub const DERIVED: Self = Self::of_kind(Kind::Derived);

    /// This kind alone. Its bit is that of its number on the wire, because marks are on disk.
    pub const fn of_kind(kind: Kind) -> Self {
        Self(1 << kind.number())
    }

    /// The kinds whose events can have this CloudEvents type: derived events can have any type but that of samples,
    /// which only samples have.
    pub fn of_type(name: &str) -> Self {
        match Kind::of_type(name) {
            Some(Kind::Sample) => Self::SAMPLES,
            Some(kind) => Self::of_kind(kind) | Self::DERIVED,
            None => Self::DERIVED,
        }
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Kinds {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// A machine's or a source's name, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameHash(u64);

impl NameHash {
    /// The hash of a machine's name: the first level of a subject.
    pub fn machine(subject: &str) -> Self {
        Self::of(b'm', subject.split('/').next().unwrap_or(subject))
    }

    /// The hash of a source's name.
    pub fn source(name: &str) -> Self {
        Self::of(b's', name)
    }

    /// FNV-1a, whose bits are then mixed: it is written to disk, so it must never change.
    fn of(class: u8, name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = name.bytes().fold(step(0xcbf2_9ce4_8422_2325, class), step);
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(mixed ^ (mixed >> 32))
    }

    /// The hash as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its two bits in the filter.
    const fn bits(self) -> [u64; 2] {
        [1 << (self.0 & 63), 1 << ((self.0 >> 8) & 63)]
    }
}

/// The kinds and names in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    kinds: Kinds,
    /// A filter of names: each has one bit in either word.
    names: [u64; 2],
}

impl Marks {
    /// The marks of a stretch that was not read yet.
    pub const ANY: Self = Self { kinds: Kinds::ALL, names: [u64::MAX; 2] };

    /// The marks of a batch; passes every name in it to `each`. A batch that cannot be decoded may hold anything; an
    /// emptied one holds nothing.
    pub fn of_batch(batch: &Batch<'_>, decoder: &mut Decoder, each: &mut impl FnMut(NameHash)) -> Self {
        let header = batch.header();
        let mut marks = Self::default();
        if header.is_emptied() {
            return marks;
        }
        let mut add = |marks: &mut Self, name: NameHash| {
            marks.add(name);
            each(name);
        };
        add(&mut marks, NameHash::source(header.source.as_str()));
        // A reader reports what it cannot decode as an event about its source.
        add(&mut marks, NameHash::machine(header.source.as_str()));
        if header.stream == Stream::Samples {
            // Whatever its records are: admission does not decode them.
            marks.kinds = Kinds::SAMPLES;
        }
        let records = decoder.open(batch);
        let Some(subjects) = records.subjects() else { return Self::ANY };
        subjects.iter().for_each(|subject| add(&mut marks, NameHash::machine(subject.as_str())));
        for record in records {
            let Ok(record) = record else { return Self::ANY };
            marks.kinds = marks.kinds | Kinds::of_kind(record.event.body.kind());
            if let Body::Derived(derived) = record.event.body
                && let Some(source) = producer(derived.json)
            {
                add(&mut marks, NameHash::source(&source));
            }
        }
        marks
    }

    fn add(&mut self, name: NameHash) {
        let [one, two] = name.bits();
        self.names[0] |= one;
        self.names[1] |= two;
    }

    /// Whether it may hold samples. True for every batch of the stream `samples`.
    pub fn may_hold_samples(&self) -> bool {
        self.kinds.meets(Kinds::SAMPLES)
    }

    fn has(&self, name: NameHash) -> bool {
        let [one, two] = name.bits();
        self.names[0] & one != 0 && self.names[1] & two != 0
    }

    /// The marks of both stretches together.
    pub fn with(self, other: Self) -> Self {
        let names = [self.names[0] | other.names[0], self.names[1] | other.names[1]];
        Self { kinds: self.kinds | other.kinds, names }
    }
}

/// The `source` in the JSON of a posted event.
fn producer(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Posted {
        source: String,
    }
    serde_json::from_str(json).ok().map(|posted: Posted| posted.source)
}

/// The events that a reader wants, as far as marks and times can select them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Any of these kinds.
    pub kinds: Kinds,
    /// This machine only.
    pub machine: Option<NameHash>,
    /// Any of these sources; all of them when empty.
    pub sources: Vec<NameHash>,
    /// Ingest times from the first one on and before the second one.
    pub ingest: Option<(Timestamp, Timestamp)>,
    /// Event times from the first one on and before the second one.
    pub event: Option<(Timestamp, Timestamp)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { kinds: Kinds::ALL, machine: None, sources: Vec::new(), ingest: None, event: None }
    }
}

impl Wanted {
    /// Whether it selects everything.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a stretch with these marks, and with these earliest and latest ingest and event times, can hold wanted
    /// events.
    pub fn fits(&self, marks: &Marks, ingest: (Timestamp, Timestamp), event: (Timestamp, Timestamp)) -> bool {
        let meets = |wanted: Option<(Timestamp, Timestamp)>, (first, last): (Timestamp, Timestamp)| {
            wanted.is_none_or(|(from, until)| last >= from && first < until)
        };
        self.kinds.meets(marks.kinds)
            && meets(self.ingest, ingest)
            && meets(self.event, event)
            && self.machine.is_none_or(|machine| marks.has(machine))
            && (self.sources.is_empty() || self.sources.iter().any(|source| marks.has(*source)))
    }

    /// Whether a segment that has exactly these names, in order, can hold wanted events.
    pub fn fits_names(&self, names: &[NameHash]) -> bool {
        let has = |name: &NameHash| names.binary_search(name).is_ok();
        self.machine.as_ref().is_none_or(has) && (self.sources.is_empty() || self.sources.iter().any(has))
    }
}

/// The checksum of files that are derived from the log.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc32c(bytes)
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Breakdown, Severity};

    use super::*;
    use crate::simulated::{Agent, parse};

    fn marks(bytes: &[u8]) -> (Marks, Vec<NameHash>) {
        let mut names = Vec::new();
        let marks = Marks::of_batch(&parse(bytes), &mut Decoder::default(), &mut |name| names.push(name));
        (marks, names)
    }

    fn fits(wanted: &Wanted, marks: &Marks) -> bool {
        let times = (Timestamp::clamped(10), Timestamp::clamped(20));
        wanted.fits(marks, times, times)
    }

    #[test]
    fn a_stretch_holds_its_kinds_machines_sources_and_times_and_says_no_to_others() {
        let batch = Agent::new("press", Stream::Samples, 1).samples(3);
        let (marks, names) = marks(&batch);
        let machine = |name: &str| Wanted { machine: Some(NameHash::machine(name)), ..Wanted::default() };
        let source = |name: &str| Wanted { sources: vec![NameHash::source(name)], ..Wanted::default() };
        assert!(fits(&machine("88-C"), &marks) && fits(&source("press"), &marks));
        let others = (0..1000).filter(|other| fits(&machine(&format!("M{other}")), &marks)).count();
        assert!(others < 20, "two of 128 bits let few others through: {others}");
        assert!(machine("88-C").fits_names(&sorted(&names)) && !machine("88").fits_names(&sorted(&names)));
        assert!(!fits(&Wanted { kinds: Kinds::of_type("afferent.breakdown.v1"), ..Wanted::default() }, &marks));
        for ((from, until), fit) in [((0, 10), false), ((0, 11), true), ((20, 21), true), ((21, 99), false)] {
            let event = Some((Timestamp::clamped(from), Timestamp::clamped(until)));
            assert_eq!(fits(&Wanted { event, ..Wanted::default() }, &marks), fit, "{from}..{until}");
            assert_eq!(fits(&Wanted { ingest: event, ..Wanted::default() }, &marks), fit, "{from}..{until}");
        }
    }

    fn sorted(names: &[NameHash]) -> Vec<NameHash> {
        let mut names = names.to_vec();
        names.sort();
        names
    }

    #[test]
    fn an_emptied_batch_holds_nothing_and_one_of_samples_may_hold_samples_whatever_it_holds() {
        let mut agent = Agent::new("press", Stream::Samples, 1);
        let batch = agent.samples(3);
        let (emptied, names) = marks(&parse(&batch).emptied());
        assert!(!fits(&Wanted::default(), &emptied) && names.is_empty() && !emptied.may_hold_samples());
        let breakdown = Body::Breakdown(Breakdown { code: "E1", severity: Severity::Error, message: "" });
        assert!(marks(&agent.event(breakdown)).0.may_hold_samples(), "what is to be removed is found");
        assert!(marks(&agent.lie(7, 77)).0.may_hold_samples());
        let mut critical = Agent::new("press", Stream::Critical, 1);
        assert!(!marks(&critical.event(breakdown)).0.may_hold_samples());
    }

    #[test]
    fn a_batch_that_cannot_be_decoded_may_hold_anything() {
        let lie = Agent::new("press", Stream::Critical, 1).lie(7, 1);
        let wanted = Wanted { machine: Some(NameHash::machine("any")), ..Wanted::default() };
        assert!(fits(&wanted, &marks(&lie).0));
    }

    #[test]
    fn hashes_never_change_because_they_are_on_disk() {
        assert_eq!(NameHash::machine("88-C/spindle"), NameHash::machine("88-C"));
        assert_ne!(NameHash::machine("88-C"), NameHash::source("88-C"));
        assert_eq!(format!("{:?}", NameHash::machine("88-C")), "NameHash(4976213091806100075)");
    }
}
