//! Names and counters as types, each with one checked constructor.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{SOURCE_BYTES_MAX, SUBJECT_BYTES_MAX, TIME_MAX, TIME_MIN};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// Wraps a raw count.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw count.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This one moved on by `count`, or `None` past the end of the number space.
            pub const fn checked_add(self, count: u64) -> Option<Self> {
                match self.0.checked_add(count) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// How many lie from `earlier` up to this one; zero when `earlier` is the later one.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// Dense counter of the events of one (source, stream, epoch), from 0.
    Sequence
}
counter! {
    /// Ordinal of an event in a partition of the unified log; never a byte place.
    Offset
}
counter! {
    /// Byte place in a segment file.
    Position
}

/// One incarnation of a stream's log: a random number, drawn again whenever the log cannot show that it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// Wraps a random number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    /// Sixteen hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One independently sequenced log of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Breakdowns, alarms, states, losses, life cycle: drained first, evicted last.
    Critical,
    /// Sensor samples.
    Samples,
}

impl Stream {
    /// Both streams, in the order in which they are drained.
    pub const ALL: [Self; 2] = [Self::Critical, Self::Samples];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stream with this number on the wire.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Critical),
            1 => Some(Self::Samples),
            _ => None,
        }
    }

    /// The name that people and CloudEvents see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Samples => "samples",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A point in time: microseconds since the Unix epoch, UTC, by the clock of its writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let micros = i64::deserialize(deserializer)?;
        Self::new(micros)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{micros} µs is not within the years 1970 to 9999")))
    }
}

impl Timestamp {
    /// A time within [`TIME_MIN`] and [`TIME_MAX`] (the years 1970 to 9999), in microseconds.
    pub const fn new(micros: i64) -> Option<Self> {
        if micros >= TIME_MIN && micros <= TIME_MAX { Some(Self(micros)) } else { None }
    }

    /// The nearest time in range: for clocks, which must not fail.
    pub const fn clamped(micros: i64) -> Self {
        if micros < TIME_MIN {
            Self(TIME_MIN)
        } else if micros > TIME_MAX {
            Self(TIME_MAX)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("is empty")]
    Empty,
    /// More bytes than the limit.
    #[error("has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A character that such a name cannot have.
    #[error("has the character {character:?} at byte {at}; allowed are {allowed}")]
    Character {
        /// The first such character.
        character: char,
        /// Its byte position.
        at: usize,
        /// The characters that it can have, for people.
        allowed: &'static str,
    },
    /// A path with an empty level: it begins or ends with `/`, or has `//`.
    #[error("has an empty level (a '/' at its start, its end, or two in a row)")]
    EmptyLevel,
}

/// Who assigns sequence numbers: an agent's name. ASCII letters, digits, `.`, `_` and `-`; 1 to 63 bytes.
///
/// It appears unchanged in topics and file names, which is why it allows no other characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    bytes: [u8; SOURCE_BYTES_MAX],
    len: u8,
}

impl SourceId {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > SOURCE_BYTES_MAX {
            return Err(NameError::TooLong { bytes: name.len(), bytes_max: SOURCE_BYTES_MAX });
        }
        let mut id = Self { bytes: [0; SOURCE_BYTES_MAX], len: name.len() as u8 };
        for ((at, character), place) in name.char_indices().zip(&mut id.bytes) {
            let taken = character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
            // A leading dot would make a hidden file or a `..` of it.
            if !taken || (at == 0 && character == '.') {
                let allowed = "ASCII letters, digits, '.' (not at the start), '_' and '-'";
                return Err(NameError::Character { character, at, allowed });
            }
            *place = character as u8;
        }
        Ok(id)
    }

    /// A name that is a literal in the program. As a `const` it is checked when the program is compiled.
    ///
    /// # Panics
    /// When [`SourceId::new`] would refuse it.
    pub const fn literal(name: &'static str) -> Self {
        let name = name.as_bytes();
        assert!(!name.is_empty() && name.len() <= SOURCE_BYTES_MAX && name[0] != b'.', "no name of a source");
        let mut id = Self { bytes: [0; SOURCE_BYTES_MAX], len: name.len() as u8 };
        let mut at = 0;
        while at < name.len() {
            let is_taken = name[at].is_ascii_alphanumeric() || matches!(name[at], b'.' | b'_' | b'-');
            assert!(is_taken, "a character that the name of a source cannot have");
            id.bytes[at] = name[at];
            at += 1;
        }
        id
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("checked to be ASCII by the constructor")
    }

    /// The name's bytes, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl core::str::FromStr for SourceId {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl Serialize for SourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl serde::de::Visitor<'_> for Name {
            type Value = SourceId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a name of 1 to {SOURCE_BYTES_MAX} ASCII letters, digits, '.', '_' and '-'")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<SourceId, E> {
                SourceId::new(name).map_err(|e| E::custom(format_args!("the name {name:?} {e}")))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// What an event is about: a path such as `88-C/spindle/temperature`.
///
/// 1 to 255 bytes of UTF-8, levels separated by `/`, none of them empty, no control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Subject<'a>(&'a str);

impl<'a> Subject<'a> {
    /// Checks a path.
    pub fn new(path: &'a str) -> Result<Self, NameError> {
        if path.is_empty() {
            return Err(NameError::Empty);
        }
        if path.len() > SUBJECT_BYTES_MAX {
            return Err(NameError::TooLong { bytes: path.len(), bytes_max: SUBJECT_BYTES_MAX });
        }
        // One pass for what nearly all paths are: printable ASCII. `level_begins` starts as after a '/'.
        let (mut plain, mut empty_level, mut level_begins) = (true, false, true);
        for byte in path.bytes() {
            plain &= byte.is_ascii_graphic() || byte == b' ';
            empty_level |= level_begins && byte == b'/';
            level_begins = byte == b'/';
        }
        empty_level |= level_begins;
        if !plain && let Some((at, character)) = path.char_indices().find(|(_, c)| c.is_control()) {
            let allowed = "all but control characters";
            return Err(NameError::Character { character, at, allowed });
        }
        if empty_level { Err(NameError::EmptyLevel) } else { Ok(Self(path)) }
    }

    /// A path that is a literal in the program. As a `const` it is checked when the program is compiled.
    ///
    /// # Panics
    /// When [`Subject::new`] would refuse it.
    pub const fn literal(path: &'static str) -> Subject<'static> {
        let bytes = path.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= SUBJECT_BYTES_MAX, "no path of an event's subject");
        let (mut at, mut before) = (0, b'/');
        while at < bytes.len() {
            // Control characters: of ASCII, and those from U+0080 to U+009F.
            let is_control = bytes[at].is_ascii_control() || (before == 0xC2 && bytes[at] < 0xA0);
            assert!(!is_control, "a control character in a subject's path");
            assert!(before != b'/' || bytes[at] != b'/', "an empty level in a subject's path");
            before = bytes[at];
            at += 1;
        }
        assert!(before != b'/', "an empty level at the end of a subject's path");
        Subject(path)
    }

    /// The path.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A half-open range of sequences: `first` is in it, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SequenceRange {
    /// The first sequence in it.
    pub first: Sequence,
    /// The first sequence after it.
    pub end: Sequence,
}

impl SequenceRange {
    /// How many sequences it holds.
    pub const fn count(self) -> u64 {
        self.end.since(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_taken_and_refused_as_other_names_are() {
        let names = ["a", "press-88.C_1", "a/b", "+", "", "ä", "a b", "..", ".x", "a\0"];
        let paths =
            ["88-C/spindle", "Halle 3/Öl", "", "/a", "a/", "a//b", "a\nb", "a\u{7f}", "a\u{85}b", "a\u{a0}b", "/"];
        for name in names.into_iter().chain(paths) {
            let source = std::panic::catch_unwind(|| SourceId::literal(name)).ok();
            assert_eq!(source, SourceId::new(name).ok(), "{name:?}");
            let subject = std::panic::catch_unwind(|| Subject::literal(name)).ok();
            assert_eq!(subject, Subject::new(name).ok(), "{name:?}");
        }
    }

    #[test]
    fn source_names_stand_in_topics_and_file_names_as_they_are() {
        for name in ["a", "press-88.C_1", &"x".repeat(63)] {
            assert_eq!(SourceId::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a/b", "+", "a#", "ä", "a b", "..", ".x", "a\0", &"x".repeat(64)] {
            assert!(SourceId::new(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn subjects_are_paths_without_empty_levels_or_control_characters() {
        for path in ["88-C", "88-C/spindle/temperature", "Halle 3/Öl"] {
            assert_eq!(Subject::new(path).unwrap().as_str(), path);
        }
        for path in ["", "/a", "a/", "a//b", "a\nb", "a\u{7f}", "a\u{85}b", &"x".repeat(256)] {
            assert!(Subject::new(path).is_err(), "{path:?} was taken");
        }
    }

    #[test]
    fn times_outside_the_years_1970_to_9999_are_refused() {
        assert!(Timestamp::new(-1).is_none());
        assert!(Timestamp::new(TIME_MAX + 1).is_none());
        assert_eq!(Timestamp::new(TIME_MAX).unwrap().micros(), TIME_MAX);
        assert_eq!(Timestamp::clamped(i64::MIN).micros(), TIME_MIN);
    }
}
